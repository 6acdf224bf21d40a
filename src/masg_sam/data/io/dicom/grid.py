"""What a volume read from DICOM remembers of its files, for masks to be written on their very slices."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from masg_sam.data.io.dicom.headers import reading
from masg_sam.data.io.dicom.place import Place
from masg_sam.data.io.orientation import Orientation
from masg_sam.data.volume import Volume


@dataclass(frozen=True)
class DicomGrid:
    """The slices of a series as its files have them; the header of a volume's geometry.

    Attributes:
        files: in slice order; one where a file holds all frames.
        frames: of each slice, the number of its file in ``files`` and of its frame in that file, both from 0.
        affine: 4 x 4, ``(column, row, slice)`` to LPS mm; its third axis leans where the gantry was tilted.
            ``None`` for a picture.
        orientation: between the slices and our order; puts a tilted stack upright. ``None`` for a picture.
        tilt: degrees by which the stack leans; 0 if upright.
        place: where the files lie; holds what was unpacked.
    """

    files: tuple[Path, ...]
    frames: tuple[tuple[int, int], ...]
    affine: np.ndarray | None
    orientation: Orientation | None
    tilt: float
    place: Place = field(repr=False, compare=False)


def source_datasets(volume: Volume, pixels: bool = False) -> list[Dataset]:
    """The files of a volume's slices, in slice order; one dataset where a file holds all frames.

    Args:
        volume: as this package read it.
        pixels: read the voxels too.

    Raises:
        ImageError: a file is no longer there, or damaged.
    """
    grid: DicomGrid = volume.geometry.header
    datasets: list[Dataset] = []
    for file in grid.files:
        with reading(grid.place.shown(file)):
            datasets.append(dcmread(file, stop_before_pixels=not pixels))
    return datasets


def slices_of_files(mask: np.ndarray, volume: Volume) -> np.ndarray:
    """A mask on the slices as the files have them.

    Args:
        mask: ``Z x Y x X``, on the grid of ``volume``.
        volume: as this package read it.

    Returns:
        ``slice x row x column``, slice ``i`` being that of ``frames[i]``.
    """
    orientation = volume.geometry.header.orientation
    return mask if orientation is None else np.ascontiguousarray(orientation.to_file(mask).transpose(2, 1, 0))
