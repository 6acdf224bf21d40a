"""NIfTI through nibabel."""

from __future__ import annotations

import gzip
import logging
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform
from nibabel.spatialimages import HeaderDataError

from masg_sam.data.volume import Geometry, Volume
from masg_sam.errors import GeometryError, ImageError

log = logging.getLogger(__name__)
LPS = np.array([[0, -1], [1, -1], [2, 1]])  # nibabel's world is RAS
MOST_BYTES = 4 * 2**30
DAMAGE = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, OverflowError, zlib.error)
DAMAGE += (gzip.BadGzipFile, TypeError, KeyError, MemoryError)


def read(path: Path) -> Volume:
    """Read a NIfTI file; trailing axes of length one are dropped, four dimensions are refused."""
    try:
        image = nib.load(path)
        header = image.header
        shape = tuple(int(n) for n in image.shape)
    except DAMAGE as error:
        raise _damaged(path, error) from error
    shape = _three_axes(path, shape)
    affine = _affine(path, image, shape)
    data = _voxels(path, image, shape)
    orientation = ornt_transform(io_orientation(affine), LPS)
    ours = apply_orientation(data, orientation)  # x, y, z in LPS order
    placed = affine @ inv_ornt_aff(orientation, shape)  # our x, y, z to RAS
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ placed
    spacing = np.sqrt((placed[:3, :3] ** 2).sum(0))
    stored = {"header": header.copy(), "affine": image.affine.copy(), "orientation": orientation}
    z, y, x = (float(v) for v in spacing[::-1])
    return Volume(ours.transpose(2, 1, 0)[None], (z, y, x), lps, Geometry("nifti", shape, stored), path)


def write(mask: np.ndarray, like: Volume, path: Path) -> None:
    """Write a mask with the image's own header: its sform and qform, their codes, its axis order."""
    stored: dict[str, Any] = like.geometry.header
    back = _inverse(stored["orientation"])
    data = np.ascontiguousarray(apply_orientation(mask.transpose(2, 1, 0), back)).reshape(like.geometry.shape)
    header = stored["header"].copy()
    header.set_data_dtype(mask.dtype)
    header.set_slope_inter(1, 0)
    header["cal_min"], header["cal_max"] = 0, 0
    header.set_data_shape(data.shape)
    image = nib.Nifti1Image(data, None, header) if header["sizeof_hdr"] == 348 else nib.Nifti2Image(data, None, header)
    nib.save(image, path)


def mask_suffix(volume: Volume) -> str:
    """Masks are compressed, whatever the image was."""
    return ".nii.gz"


def _inverse(orientation: np.ndarray) -> np.ndarray:
    """Undo an orientation: axis ``i`` of the result comes from where axis ``i`` went."""
    back = np.empty_like(orientation)
    for source, (target, flip) in enumerate(orientation):
        back[int(target)] = (source, flip)
    return back


def _three_axes(path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
    trimmed = shape[:3] if all(n == 1 for n in shape[3:]) else shape
    if len(trimmed) > 3:
        raise ImageError(
            "more than three dimensions",
            path=path,
            found=" x ".join(map(str, shape)),
            expected="one volume",
            mend="save each time point or channel as a file of its own (channels: NAME_0000, NAME_0001, ...)",
        )
    trimmed = trimmed + (1,) * (3 - len(trimmed))
    if min(trimmed) < 1:
        raise ImageError("image has no voxels", path=path, found=" x ".join(map(str, shape)))
    if np.prod(trimmed, dtype=np.float64) * 4 > MOST_BYTES:
        raise ImageError(
            "header claims more voxels than can be meant",
            path=path,
            found=" x ".join(map(str, trimmed)),
            expected=f"at most {MOST_BYTES // 2**30} GB as float32",
            mend="the header is damaged, or crop the volume",
        )
    return trimmed


def _affine(path: Path, image: Any, shape: tuple[int, ...]) -> np.ndarray:
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise GeometryError(
            "affine places no voxels",
            path=path,
            found=np.array2string(affine[:3], precision=3, separator=", ").replace("\n", ""),
            expected="three independent axes with a length in mm",
            mend="restore the header (sform or qform), from the scanner's files for instance",
        )
    sform, qform = (image.header.get_sform(coded=True), _qform(image.header))
    if sform[1] and qform[1] and qform[0] is not None:
        corner = np.append(np.array(shape) - 1, 1)
        apart = max(np.abs((sform[0] - qform[0]) @ point)[:3].max() for point in (corner, np.array([0, 0, 0, 1])))
        if apart > 0.1:
            log.warning("%s: sform and qform differ by up to %.2f mm; the sform is used", path, apart)
    return affine


def _qform(header: Any) -> tuple[np.ndarray | None, int]:
    try:
        return header.get_qform(coded=True)
    except (HeaderDataError, ValueError, np.linalg.LinAlgError):
        return None, 0


def _voxels(path: Path, image: Any, shape: tuple[int, ...]) -> np.ndarray:
    stored = image.get_data_dtype()
    if stored.fields is not None or np.issubdtype(stored, np.complexfloating):
        raise ImageError(
            "voxels are not single numbers", path=path, found=stored, expected="a number each", mend="convert the file"
        )
    slope, intercept = image.header.get_slope_inter()
    plain = slope in (None, 1.0) and intercept in (None, 0.0)
    try:
        if plain and np.issubdtype(stored, np.integer):
            return np.asarray(image.dataobj).reshape(shape)
        return image.get_fdata(dtype=np.float32, caching="unchanged").reshape(shape)
    except DAMAGE as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: BaseException) -> ImageError:
    return ImageError(
        "cannot be read as NIfTI",
        path=path,
        found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no detail'}",
        expected="a whole NIfTI file",
        mend="the file is truncated or damaged, or has the wrong suffix: copy or export it again",
    )
