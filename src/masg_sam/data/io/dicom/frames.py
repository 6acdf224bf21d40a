"""The slices of a series, one a frame: where each lies, as its file says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from masg_sam.data.io.dicom.headers import PER_FRAME, frame_count, frame_values, reading
from masg_sam.data.io.dicom.series import Series
from masg_sam.errors import GeometryError, few

NOT_SQUARE = 1e-3  # of direction cosines, that may be rounding


@dataclass(frozen=True)
class Frame:
    """One slice.

    Attributes:
        file: number of its file in the series.
        number: in that file, from 0.
        position: centre of its first voxel, LPS mm.
        along_row: unit vector in which the column number grows.
        along_column: unit vector in which the row number grows.
        spacing: mm between rows, between columns.
        thickness: mm; 1 where the file does not say.
        shape: rows, columns.
        name: for messages.
    """

    file: int
    number: int
    position: np.ndarray
    along_row: np.ndarray
    along_column: np.ndarray
    spacing: np.ndarray
    thickness: float
    shape: tuple[int, int]
    name: str

    @property
    def normal(self) -> np.ndarray:
        """Unit vector across the slice."""
        return np.cross(self.along_row, self.along_column)


def frames_of(series: Series) -> list[Frame]:
    """The slices, file by file; none where no file says where its slices lie, as in photographs and X-rays.

    Raises:
        GeometryError: only some slices have a place, or a place that cannot be used.
        ImageError: a damaged file.
    """
    lost = list(_without_place(series))
    if len(lost) == len(series.files):
        return []
    if lost:
        raise GeometryError(
            f"{len(lost)} of {len(series.files)} files do not say where their slices lie",
            path=series.path,
            found=few(lost),
            expected="ImagePositionPatient and ImageOrientationPatient",
            mend="export the original images, or take these files out of the series",
        )
    return [frame for number in range(len(series.files)) for frame in _of_file(series, number)]


def _without_place(series: Series) -> Iterator[str]:
    for file, header in zip(series.files, series.headers, strict=True):
        shown = series.place.shown(file)
        with reading(shown):
            count = frame_count(header)
            placed = count == 1 or len(header.get(PER_FRAME) or []) == count
            if not placed or frame_values(header, 0, "ImagePositionPatient", 3) is None:
                yield shown.name


def _of_file(series: Series, number: int) -> list[Frame]:
    header, shown = series.headers[number], series.place.shown(series.files[number])
    count = frame_count(header)
    with reading(shown):
        shape = (int(header.Rows), int(header.Columns))
        names = [shown.name if count == 1 else f"{shown.name} frame {i + 1}" for i in range(count)]
        return [_frame(series, header, number, i, shape, name) for i, name in enumerate(names)]


def _frame(series: Series, header: Dataset, file: int, number: int, shape: tuple[int, int], name: str) -> Frame:
    position = frame_values(header, number, "ImagePositionPatient", 3)
    turn = frame_values(header, number, "ImageOrientationPatient", 6)
    spacing = frame_values(header, number, "PixelSpacing", 2)
    if position is None or turn is None or spacing is None:
        lacking = [("ImagePositionPatient", position), ("ImageOrientationPatient", turn), ("PixelSpacing", spacing)]
        raise _unplaced(series, name, "no " + ", ".join(word for word, value in lacking if value is None))
    axes = turn.reshape(2, 3)
    if np.abs(axes @ axes.T - np.eye(2)).max() > NOT_SQUARE or spacing.min() <= 0:
        raise _unplaced(series, name, f"directions {turn.tolist()}, pixel spacing {spacing.tolist()} mm")
    thickness = frame_values(header, number, "SliceThickness", 1)
    known = 1.0 if thickness is None or thickness[0] <= 0 else float(thickness[0])
    row, column = (axis / np.linalg.norm(axis) for axis in axes)
    return Frame(file, number, position, row, column, spacing, known, shape, name)


def _unplaced(series: Series, name: str, found: str) -> GeometryError:
    return GeometryError(
        f"slice {name} has no usable place",
        path=series.path,
        found=found,
        expected="a position, two directions at right angles, and pixels with a size in mm",
        mend="export the original images again, or convert them to NIfTI with a tool that knows where they lie",
    )
