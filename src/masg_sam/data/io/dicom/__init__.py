"""DICOM through pydicom: series of slices, multi-frame files, pictures, in folders, files and archives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from masg_sam.data.io.dicom.grid import DicomGrid, slices_of_files, source_datasets
from masg_sam.data.io.dicom.read import read_series
from masg_sam.data.io.dicom.series import Series, find_series, one_series
from masg_sam.data.io.kinds import SEGMENTATION_SUFFIX, STRUCTURES_SUFFIX
from masg_sam.data.io.orientation import Orientation
from masg_sam.data.volume import Volume

__all__ = [
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


def read(path: Path, *, label: bool = False, channels: int | None = 1) -> Volume:
    """Read the one image series of a folder, file or archive, or the one that is chosen.

    Raises:
        ImageError, GeometryError: as :func:`one_series` and :func:`read_series`.
    """
    return read_series(one_series(path))


def write(mask: np.ndarray, like: Volume, path: Path, names: Mapping[int, str]) -> None:
    """Write a mask as a segmentation or, by its ending, as a structure set.

    Raises:
        OutputError: images that neither can refer to.
    """
    if path.name.lower().endswith(STRUCTURES_SUFFIX):
        from masg_sam.data.io.dicom.rtstruct import write_rtstruct as write_as
    else:
        from masg_sam.data.io.dicom.segmentation import write_segmentation as write_as
    write_as(mask, like, path, names)


def mask_suffix(volume: Volume) -> str:
    """A segmentation of a scan, PNG of a picture."""
    return ".png" if volume.is_picture else SEGMENTATION_SUFFIX


def orientation(volume: Volume) -> Orientation | None:
    """Between the files' slices and ours; none for a picture."""
    return volume.geometry.header.orientation
