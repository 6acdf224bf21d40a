"""A series read as a volume, or a single image without a place as a picture."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from masg_sam.data.io.dicom.frames import frames_of
from masg_sam.data.io.dicom.grid import DicomGrid
from masg_sam.data.io.dicom.pixels import frame_pixels
from masg_sam.data.io.dicom.series import Series
from masg_sam.data.io.dicom.stack import Stack, stack_of
from masg_sam.data.io.limits import must_fit
from masg_sam.data.io.orientation import Orientation, must_place_voxels, spacing_of
from masg_sam.data.io.tilt import TiltedOrientation
from masg_sam.data.volume import Geometry, Volume
from masg_sam.errors import GeometryError, ImageError

log = logging.getLogger(__name__)


def read_series(series: Series) -> Volume:
    """Read a series: Hounsfield units of CT, grey levels of everything else, RGB in three channels.

    Slices are sorted by their positions. A tilted stack is put upright by whole pixels; a mask goes back onto the
    original slices. One image without a position (X-ray, ultrasound, photograph) is a picture, whose pixel spacing
    is not used.

    Raises:
        ImageError: a damaged file, or a film.
        GeometryError: slices without a place, of different kinds, twice at one place, or missing.
    """
    must_fit(series.place.source, series.shape)
    frames = frames_of(series)
    if not frames:
        return _picture(series)
    stack = stack_of(frames, series.path)
    must_place_voxels(series.path, stack.affine)
    order = tuple((frame.file, frame.number) for frame in stack.frames)
    orientation, upright = _orientation(series, stack)
    ours = orientation.to_ours(_voxels(series, order))
    placed = orientation.affine(upright, Orientation(orientation.axes).file_shape(ours.shape[1:]))
    shape = (*stack.frames[0].shape[::-1], len(stack.frames))
    tilt = stack.tilt if stack.shifts.any() else 0.0
    grid = DicomGrid(series.files, order, stack.affine, orientation, tilt, series.place)
    return Volume(ours, spacing_of(placed), placed, Geometry("dicom", shape, grid), series.path)


def _orientation(series: Series, stack: Stack) -> tuple[Orientation, np.ndarray]:
    """Between the files' order and ours, and the affine of the files' order once it is upright."""
    if not stack.shifts.any():
        return Orientation.nearest(stack.affine), stack.affine
    least = stack.shifts.min(axis=0)
    normal = stack.frames[0].normal
    upright = stack.affine.copy()
    upright[:3, 2] = normal * (stack.affine[:3, 2] @ normal)
    upright[:3, 3] += stack.affine[:3, :2] @ least
    axes = Orientation.nearest(upright).axes
    log.info("%s: tilted by %.1f degrees; put upright for the network, the mask goes back", series.path, stack.tilt)
    return TiltedOrientation(axes, stack.shifts - least, stack.frames[0].shape[::-1], stack.affine), upright


def _voxels(series: Series, order: Sequence[tuple[int, int]]) -> np.ndarray:
    """All frames, ``column x row x slice x C``."""
    places = {place: number for number, place in enumerate(order)}
    voxels: np.ndarray | None = None
    for number, file in enumerate(series.files):
        for frame, pixels in enumerate(frame_pixels(file, series.place.shown(file))):
            if voxels is None:
                must_fit(series.place.source, (len(order), *pixels.shape))
                voxels = np.empty((len(order), *pixels.shape), np.float32)
            if pixels.shape != voxels.shape[1:]:
                raise _mixed(series, file.name, pixels.shape, voxels.shape[1:])
            voxels[places[number, frame]] = pixels
    if voxels is None:
        raise ImageError("a series without images", path=series.path, mend="name another")
    return voxels.transpose(2, 1, 0, 3)


def _picture(series: Series) -> Volume:
    count, rows, columns = series.shape
    if count > 1:
        raise _no_places(series)
    data = _voxels(series, [(0, 0)]).transpose(3, 2, 1, 0)  # C x 1 x Y x X
    grid = DicomGrid(series.files, ((0, 0),), None, None, 0.0, series.place)
    return Volume(data, (1.0, 1.0, 1.0), None, Geometry("dicom", (columns, rows, 1), grid), series.path)


def _mixed(series: Series, name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> ImageError:
    return ImageError(
        f"slice {name} is unlike the others",
        path=series.path,
        found=" x ".join(map(str, found)) + " (rows, columns, channels)",
        expected=" x ".join(map(str, expected)),
        mend="take it out of the series",
    )


def _no_places(series: Series) -> GeometryError:
    one_file = len(series.files) == 1
    return GeometryError(
        "several images that do not say where they lie",
        path=series.path,
        found=f"{series.shape[0]} frames" if one_file else f"{len(series.files)} files",
        expected="ImagePositionPatient of each slice, or one picture",
        mend="a film: save each frame as a picture"
        if one_file
        else "pictures: name each file; slices: export them again",
    )
