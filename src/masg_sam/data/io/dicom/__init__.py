"""DICOM through pydicom: series of slices, multi-frame files, pictures, in folders, files and archives."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from masg_sam.data.io.dicom.grid import DicomGrid, slices_of_files, source_datasets
from masg_sam.data.io.dicom.masks import write_nifti, write_picture
from masg_sam.data.io.dicom.read import read_series
from masg_sam.data.io.dicom.series import Series, find_series, one_series
from masg_sam.data.io.orientation import Orientation
from masg_sam.data.volume import Volume
from masg_sam.errors import LabelError, OutputError

__all__ = [
    "MASK_SUFFIXES",
    "DicomGrid",
    "Series",
    "find_series",
    "mask_suffix",
    "one_series",
    "orientation",
    "read",
    "read_series",
    "slices_of_files",
    "source_datasets",
    "write",
]

SCAN_MASKS, PICTURE_MASKS = (".nii.gz", ".nii"), (".png",)
MASK_SUFFIXES = (*SCAN_MASKS, *PICTURE_MASKS)


def read(path: Path, *, label: bool = False) -> Volume:
    """Read the one image series of a folder, file or archive, or the one that is chosen.

    Raises:
        ImageError, GeometryError: as :func:`one_series` and :func:`read_series`.
        LabelError: a label is wanted.
    """
    if label:
        raise LabelError(
            "DICOM where a label is expected",
            path=path,
            expected="a mask in another format, NIfTI for instance",
            mend="convert it; the images may stay DICOM",
        )
    return read_series(one_series(path))


def write(mask: np.ndarray, like: Volume, path: Path) -> None:
    """Write a mask on the series' own slices as NIfTI, that of a picture as PNG.

    Raises:
        OutputError: a picture's ending for a scan, or the other way round.
    """
    suffixes = PICTURE_MASKS if like.is_picture else SCAN_MASKS
    if not path.name.lower().endswith(suffixes):
        kind = "picture" if like.is_picture else "scan"
        raise OutputError(f"a mask of a {kind} in another format", path=path, expected=" or ".join(suffixes))
    (write_picture if like.is_picture else write_nifti)(mask, like, path)


def mask_suffix(volume: Volume) -> str:
    """NIfTI of a scan, PNG of a picture."""
    return (PICTURE_MASKS if volume.is_picture else SCAN_MASKS)[0]


def orientation(volume: Volume) -> Orientation | None:
    """Between the files' slices and ours; none for a picture."""
    return volume.geometry.header.orientation
