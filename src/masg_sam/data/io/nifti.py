"""NIfTI through nibabel."""

from __future__ import annotations

import logging
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError

from masg_sam.data.io.limits import DEFLATE_RATIO, damaged, must_be_one_volume, must_fit
from masg_sam.data.io.orientation import Orientation, must_place_voxels, spacing_of
from masg_sam.data.volume import Geometry, Volume
from masg_sam.errors import GeometryError, ImageError

log = logging.getLogger(__name__)

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
LENGTH_BITS, MM = 7, {1: 1000.0, 2: 1.0, 3: 1e-3}  # of xyzt_units: metres, millimetres, micrometres
SCANNER = 1  # the code of an affine in the scanner's coordinates
SHEARED = 1e-4  # of unit axes, that no qform can say
FORMS_APART = 0.1  # of a voxel, between sform and qform at a corner, before a warning is due
DAMAGE: tuple[type[Exception], ...] = (
    *(ImageFileError, HeaderDataError, OSError, EOFError, ValueError, OverflowError, zlib.error),
    *(TypeError, KeyError, IndexError, MemoryError, np.linalg.LinAlgError),
)


def read(path: Path, *, label: bool = False, channels: int | None = 1) -> Volume:
    """Read a NIfTI file; trailing axes of length one are dropped, and a fourth one holds the channels.

    Raises:
        ImageError: damaged, or more than one volume and another number of them than ``channels``.
        GeometryError: an affine that places no voxels.
    """
    try:
        with ImageOpener(str(path)) as stream:
            image = _open(path, stream)
            ratio = DEFLATE_RATIO if path.suffix.lower() == ".gz" else 1
            must_fit(path, image.shape, image.get_data_dtype().itemsize, ratio)
            must_be_one_volume(path, image.shape, channels)
            affine = _lps_affine(path, image, stream)
            shape = (*image.shape, 1, 1)[:3]
            packed = math.prod(image.shape[3:])
            voxels = _voxels(path, image).reshape((*shape, packed) if packed > 1 else shape)
            stream.read(1)  # past the voxels, gzip compares its checksum
    except DAMAGE as error:
        raise damaged(path, error, "NIfTI") from error
    orientation = Orientation.nearest(affine)
    placed = orientation.affine(affine, shape)
    geometry = Geometry("nifti", shape if packed > 1 else image.shape, (image.header.copy(), orientation))
    return Volume(orientation.to_ours(voxels), spacing_of(placed), placed, geometry, path)


def write(mask: np.ndarray, like: Volume, path: Path, names: Mapping[int, str]) -> None:
    """Write a mask with the image's own header: its sform and qform, their codes, its axis order."""
    stored, orientation = like.geometry.header
    header = stored.copy()
    header.set_data_dtype(mask.dtype)
    header["cal_min"], header["cal_max"] = 0, 0
    header.extensions.clear()
    voxels = np.ascontiguousarray(orientation.to_file(mask)).reshape(like.geometry.shape)
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    nib.save(kind(voxels, None, header), path)  # without an affine, the header's forms stay as they are


def write_new(voxels: np.ndarray, affine: np.ndarray, path: Path) -> None:
    """Write a mask ``x x y x z`` with its affine to LPS mm; axes that are not at right angles have an sform only."""
    image = nib.Nifti1Image(voxels, RAS_TO_LPS @ affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(RAS_TO_LPS @ affine, SCANNER)
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.abs(axes.T @ axes - np.eye(3)).max() < SHEARED:
        image.set_qform(RAS_TO_LPS @ affine, SCANNER)
    nib.save(image, path)


def orientation(volume: Volume) -> Orientation:
    """Between the file's axes and ours."""
    return volume.geometry.header[1]


def mask_suffix(volume: Volume) -> str:
    """Masks are compressed, whatever the image was."""
    return ".nii.gz"


def _open(path: Path, stream: Any) -> Any:
    """Header and a proxy of the voxels, not mapped: a file may be replaced while its image is in use."""
    for kind in (nib.Nifti1Image, nib.Nifti2Image):
        if kind.path_maybe_image(path)[0]:
            return kind.from_file_map(kind.make_file_map({"image": stream}), mmap=False)
    raise ImageFileError("no NIfTI header at the beginning of the file")


def _lps_affine(path: Path, image: Any, stream: ImageOpener) -> np.ndarray:
    """The sform where its code is above 0, else the qform, else the spacing alone, as the NIfTI standard prefers.

    In millimetres, whatever unit of length the header names; where it names none, its numbers are millimetres.
    """
    _must_have_spacing(path, image, stream)
    mm = MM.get(int(image.header["xyzt_units"]) & LENGTH_BITS, 1.0)
    affine = np.diag([mm, mm, mm, 1.0]) @ RAS_TO_LPS @ np.asarray(image.affine, dtype=np.float64)
    must_place_voxels(path, affine)
    _warn_of_forms(path, image, mm)
    return affine


def _must_have_spacing(path: Path, image: Any, stream: ImageOpener) -> None:
    """Nibabel mends a spacing of zero in silence, so look at the header as it stands in the file."""
    if image.header["sform_code"] > 0:
        return
    stream.seek(0)
    raw = type(image.header).from_fileobj(stream, check=False)
    spacing = raw["pixdim"][1 : 1 + min(len(image.shape), 3)]
    if not spacing.all():
        raise GeometryError(
            "a voxel size of zero",
            path=path,
            found=" x ".join(f"{value:g}" for value in spacing) + " mm",
            expected="voxel sizes in mm, or an sform",
            mend="restore pixdim in the header, from the scanner's files for instance",
        )


def _warn_of_forms(path: Path, image: Any, mm: float) -> None:
    sform, _ = image.header.get_sform(coded=True)
    try:
        qform, _ = image.header.get_qform(coded=True)
    except (HeaderDataError, ValueError):
        return  # a qform that is no rotation, beside an sform that holds
    if sform is None or qform is None:
        return
    corners = np.array([(0, 0, 0, 1), (*(n - 1 for n in (*image.shape, 1, 1)[:3]), 1)]).T
    apart = np.abs((sform - qform) @ corners)[:3].max()
    if apart > FORMS_APART * np.linalg.norm(sform[:3, :3], axis=0).min():
        log.warning("%s: sform and qform differ by up to %.2f mm; the sform is used", path, apart * mm)


def _voxels(path: Path, image: Any) -> np.ndarray:
    stored = image.get_data_dtype()
    if stored.fields is not None or np.issubdtype(stored, np.complexfloating):
        raise ImageError(
            "voxels are not single numbers",
            path=path,
            found=stored,
            expected="a number each",
            mend="convert the file",
        )
    slope, intercept = image.dataobj.slope, image.dataobj.inter
    if (slope, intercept) == (1, 0) and np.issubdtype(stored, np.integer):
        return np.asarray(image.dataobj)
    return image.get_fdata(dtype=np.float32, caching="unchanged")
