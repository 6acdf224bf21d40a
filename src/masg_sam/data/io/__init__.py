"""Readers and writers, one a format, behind one contract.

A reader returns a :class:`~masg_sam.data.volume.Volume` in one anatomical order (LPS, never resampled) and
remembers the file's own grid; :func:`write_label` puts a mask back on exactly that grid. Whatever is wrong
with a file becomes a typed error that names it.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from masg_sam.data.io.grid import is_loose, merge_channels, on_grid, same_grid
from masg_sam.data.io.orientation import Orientation
from masg_sam.data.io.values import finite, one_grey_channel, storable, whole_numbers
from masg_sam.data.volume import Volume
from masg_sam.errors import GeometryError, ImageError, InputError, OutputError
from masg_sam.files import moved_into_place

SEGMENTATION = ".seg.nrrd"  # of 3D Slicer
SUFFIXES = {
    SEGMENTATION: "itk",
    ".nii.gz": "nifti",
    ".nii": "nifti",
    ".nrrd": "itk",
    ".nhdr": "itk",
    ".mha": "itk",
    ".mhd": "itk",
    ".png": "picture",
    ".jpg": "picture",
    ".jpeg": "picture",
    ".bmp": "picture",
    ".tif": "picture",
    ".tiff": "picture",
}
READABLE_SUFFIXES = tuple(SUFFIXES)

__all__ = [
    "READABLE_SUFFIXES",
    "SEGMENTATION",
    "LabelReader",
    "LabelSource",
    "case_stem",
    "file_slice",
    "is_loose",
    "mask_suffix",
    "merge_channels",
    "on_grid",
    "read_image",
    "read_label",
    "same_grid",
    "suffix_of",
    "voxel_from_file",
    "write_label",
]


class LabelReader(Protocol):
    """A label that is more than the voxels of a file: drawn, or with names of its own.

    Attributes:
        path: the file it comes from, for messages.
    """

    @property
    def path(self) -> Path: ...

    def read(self) -> Volume:
        """Read or paint it: an integer type, ``1 x Z x Y x X`` in LPS order."""


LabelSource = Path | LabelReader


class ReaderWriter(Protocol):
    """What each format module offers.

    Attributes:
        MASK_SUFFIXES: endings of the files that it writes masks to.
    """

    MASK_SUFFIXES: tuple[str, ...]

    def read(self, path: Path, *, label: bool = False) -> Volume:
        """Read stored values, float32 or an integer type, ``C x Z x Y x X`` in LPS order."""

    def write(self, mask: np.ndarray, like: Volume, path: Path) -> None:
        """Write a mask ``Z x Y x X`` on the grid of the file ``like`` was read from."""

    def mask_suffix(self, volume: Volume) -> str:
        """The ending a mask of this volume gets."""

    def orientation(self, volume: Volume) -> Orientation | None:
        """Between the file's axes and ours; ``None`` where they are the same."""


def suffix_of(path: Path) -> str | None:
    """The known ending of a file name, ``.nii.gz`` as one; ``None`` if there is none."""
    name = path.name.lower()
    return next((suffix for suffix in READABLE_SUFFIXES if name.endswith(suffix)), None)


def case_stem(path: Path) -> str:
    """File name without its known ending."""
    suffix = suffix_of(path)
    return path.name[: -len(suffix)] if suffix else path.stem


def read_image(path: Path) -> Volume:
    """Read an image.

    Returns:
        A volume of float32.

    Raises:
        ImageError: unreadable, empty, four-dimensional, or with values that are not finite.
        GeometryError: an affine that places no voxels.
    """
    volume = _read(Path(path))
    return replace(volume, data=finite(volume.data, volume.path))


def read_label(source: LabelSource) -> Volume:
    """Read a label or mask.

    Args:
        source: a file, or a label that has a reader of its own.

    Returns:
        A volume of one channel and an integer type.

    Raises:
        ImageError, GeometryError: as :func:`read_image`.
        LabelError: fractional values, or colours.
    """
    volume = _read(Path(source), label=True) if isinstance(source, str | Path) else source.read()
    data = one_grey_channel(whole_numbers(volume.data, volume.path), volume.path)
    return replace(volume, data=np.ascontiguousarray(data))


def write_label(mask: np.ndarray, like: Volume, path: Path) -> Path:
    """Write a mask on exactly the grid of the file that ``like`` was read from.

    Args:
        mask: label values 0..65535, ``Z x Y x X`` in our order.
        like: the image that was segmented.
        path: where to write; its folder is made when missing.

    Returns:
        ``path``.

    Raises:
        GeometryError: the mask has another shape than the image.
        LabelError: values that no mask file can hold.
        OutputError: a suffix that does not fit the image's format, or a place that cannot be written to.
    """
    path, writer = Path(path), _format(like.geometry.format)
    if mask.shape != like.shape:
        raise GeometryError("mask of another shape than its image", path=path, found=mask.shape, expected=like.shape)
    _must_suit(path, like, writer.MASK_SUFFIXES)
    stored = storable(mask, path)
    with moved_into_place(path) as place:
        writer.write(stored, like, place)
    return path


def mask_suffix(volume: Volume) -> str:
    """The ending of the file a mask of this volume is written to."""
    return _format(volume.geometry.format).mask_suffix(volume)


def file_slice(volume: Volume, axis: int, number: int) -> int:
    """The number that the file's own order, and so a viewer, gives to our slice ``number`` along ``axis``."""
    orientation = _format(volume.geometry.format).orientation(volume)
    return number if orientation is None else orientation.slice_in_file(axis, number, volume.shape[axis])


def voxel_from_file(volume: Volume, index: Sequence[int]) -> tuple[int, int, int]:
    """Our voxel ``(z, y, x)`` for one as the file, and so a viewer, counts it.

    Args:
        volume: as it was read from the file.
        index: ``i, j, k`` from 0, the fastest axis first; ``column, row`` of a picture.

    Raises:
        InputError: outside the volume.
    """
    orientation = _format(volume.geometry.format).orientation(volume)
    shape = volume.shape[::-1] if orientation is None else orientation.file_shape(volume.shape)
    whole = (*index, 0)[:3] if volume.is_picture else tuple(index)
    if len(whole) != 3 or not all(0 <= number < length for number, length in zip(whole, shape, strict=True)):
        raise InputError(
            "voxel outside the volume",
            path=volume.path,
            found=tuple(index),
            expected=f"within {' x '.join(map(str, shape))}, counted from 0",
        )
    return whole[::-1] if orientation is None else orientation.voxel(whole, volume.shape)


def _read(path: Path, label: bool = False) -> Volume:
    if not path.exists():
        raise ImageError("no such file", path=path, mend="check the path")
    if not path.is_file():
        raise ImageError("a folder where a file is expected", path=path, mend="name the file itself")
    suffix = suffix_of(path)
    if suffix is None:
        raise ImageError(
            "format not known",
            path=path,
            found=path.suffix or "no suffix",
            expected=", ".join(READABLE_SUFFIXES),
            mend="convert it to one of these",
        )
    if path.stat().st_size == 0:
        raise ImageError("file is empty", path=path, found="0 bytes", mend="copy or export it again")
    return _format(SUFFIXES[suffix]).read(path, label=label)


def _must_suit(path: Path, like: Volume, suffixes: tuple[str, ...]) -> None:
    if suffix_of(path) not in suffixes:
        raise OutputError(
            f"a mask of {like.path.name} cannot be written in this format",
            path=path,
            found=suffix_of(path) or path.suffix or "no suffix",
            expected=" or ".join(suffixes),
            mend="change the suffix",
        )


def _format(name: str) -> ReaderWriter:
    return importlib.import_module(f"masg_sam.data.io.{name}")  # type: ignore[return-value]
