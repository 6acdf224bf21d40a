"""Readers and writers, one a format, behind one contract.

A reader returns a :class:`~masg_sam.data.volume.Volume` in one anatomical order (LPS, never resampled) and
remembers the file's own grid; :func:`write_label` puts a mask back on exactly that grid. Whatever is wrong
with a file becomes a typed error that names it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from masg_sam.data.io.formats import MASK_FORMATS, STACK, check_format, mask_suffixes
from masg_sam.data.io.grid import is_loose, merge_channels, on_grid, same_grid, same_shape
from masg_sam.data.io.kinds import (
    READABLE_SUFFIXES,
    SLICER_SUFFIX,
    SUFFIXES,
    case_stem,
    format_of,
    is_there,
    suffix_of,
)
from masg_sam.data.io.orientation import Orientation
from masg_sam.data.io.tilt import TiltedOrientation
from masg_sam.data.io.values import finite, one_grey_channel, storable, whole_numbers
from masg_sam.data.volume import Volume
from masg_sam.errors import GeometryError, ImageError, InputError, OutputError
from masg_sam.files import moved_into_place

__all__ = [
    "MASK_FORMATS",
    "READABLE_SUFFIXES",
    "SLICER_SUFFIX",
    "LabelReader",
    "LabelSource",
    "case_stem",
    "check_format",
    "check_suffix",
    "file_slice",
    "format_of",
    "is_loose",
    "is_there",
    "label_names",
    "label_on_grid",
    "label_path",
    "mask_suffix",
    "merge_channels",
    "read_channels",
    "read_image",
    "read_label",
    "same_file_axes",
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
    """What each format module offers."""

    def read(self, path: Path, *, label: bool = False, channels: int | None = 1) -> Volume:
        """Read stored values, float32 or an integer type, ``C x Z x Y x X`` in LPS order.

        Of four dimensions, NIfTI alone takes the last one for the channels, where it is as long as ``channels``.
        """

    def write(self, mask: np.ndarray, like: Volume, path: Path, names: Mapping[int, str]) -> None:
        """Write a mask ``Z x Y x X`` on the grid of the file of this format that ``like`` was read from."""

    def write_new(self, voxels: np.ndarray, affine: np.ndarray, path: Path) -> None:
        """Write a mask ``x x y x z`` in the order of a file of another format, with its affine to LPS mm."""

    def mask_suffix(self, volume: Volume) -> str:
        """The ending a mask of this volume gets."""

    def orientation(self, volume: Volume) -> Orientation | None:
        """Between the file's axes and ours; ``None`` where they are the same."""


def read_image(path: Path, channels: int | None = 1) -> Volume:
    """Read an image.

    Args:
        path: the file.
        channels: how many a NIfTI file of four dimensions may hold; ``None`` for any number. More than that, or time
            points, are refused.

    Returns:
        A volume of float32.

    Raises:
        ImageError: unreadable, empty, four-dimensional, or with values that are not finite.
        GeometryError: an affine that places no voxels.
    """
    volume = _read(Path(path), channels=channels)
    return replace(volume, data=finite(volume.data, volume.path))


def read_channels(paths: Sequence[Path], channels: int | None = 1) -> Volume:
    """Read all channels of a case: a file each, or all of them in one.

    Args:
        paths: one file, or one a channel.
        channels: as in :func:`read_image`, of the one file.

    Raises:
        ImageError, GeometryError: as :func:`read_image`, and where channels do not lie on one grid.
    """
    return merge_channels([read_image(path, channels if len(paths) == 1 else 1) for path in paths])


def read_label(source: LabelSource, like: Volume | None = None, names: Mapping[int, str] | None = None) -> Volume:
    """Read a label or mask.

    Args:
        source: a file, or a label that has a reader of its own. A DICOM segmentation or structure set marks voxels of
            another file and names its classes: it is what ``like`` and ``names`` are for.
        like: the image that it was drawn on; without it, that is looked for around the file.
        names: the class of each value; structures of other names are left out. Without it, structures are numbered
            as in the file.

    Returns:
        A volume of one channel and an integer type.

    Raises:
        ImageError, GeometryError: as :func:`read_image`.
        LabelError: fractional values, or colours; DICOM that is no label, or whose images are not to be found.
    """
    path = Path(source) if isinstance(source, str | Path) else None
    if path is not None and path.exists() and format_of(path) == "dicom":
        from masg_sam.data.io.dicom.labels import read_structures

        return read_structures(path, like, names)
    volume = source.read() if path is None else _read(path, label=True)  # type: ignore[union-attr]
    data = one_grey_channel(whole_numbers(volume.data, volume.path), volume.path)
    return replace(volume, data=np.ascontiguousarray(data))


def label_path(label: LabelSource) -> Path:
    """The file that a label comes from."""
    return label if isinstance(label, Path) else label.path


def label_names(labels: Iterable[LabelSource]) -> dict[int, str]:
    """The class names that labels carry themselves, numbered from 1; empty unless all are DICOM.

    Raises:
        InputError: a DICOM file that cannot be read, or is no label.
    """
    found = list(labels)
    files = [label for label in found if isinstance(label, Path) and format_of(label) == "dicom"]
    if not files or len(files) < len(found):
        return {}
    from masg_sam.data.io.dicom.labels import structure_names

    return structure_names(files)


def label_on_grid(image: Volume, label: Volume) -> Volume:
    """A label as it lies on the voxels of its image, which a reader may have put upright.

    One that 3D Slicer cropped is filled up; a TIFF stack without a voxel size lies where its image of that shape lies;
    a picture and a scan go together where the scan's axes are ours in its file too, as of what ITK writes for pictures.

    Raises:
        GeometryError: it does not lie on the grid of the image's file.
    """
    if label.geometry is image.geometry:  # drawn on it
        return label
    orientation = _format(image.geometry.format).orientation(image)
    if isinstance(orientation, TiltedOrientation):
        return orientation.label_to_ours(label, image)
    if (image.affine is None) != (label.affine is None) and _is_as_stored(image) and _is_as_stored(label):
        same_shape(image, label)
        return label
    return on_grid(image, label)


def write_label(mask: np.ndarray, like: Volume, path: Path, names: Mapping[int, str] | None = None) -> Path:
    """Write a mask on exactly the grid of the file that ``like`` was read from, in the format of the suffix.

    Args:
        mask: label values 0..65535, ``Z x Y x X`` in our order.
        like: the image that was segmented.
        path: where to write; its folder is made when missing.
        names: class name of each value, for formats that hold names; numbers where it is left out.

    Returns:
        ``path``.

    Raises:
        GeometryError: the mask has another shape than the image.
        LabelError: values that no mask file can hold.
        OutputError: a suffix that does not fit the image's format, or a place that cannot be written to.
    """
    path = Path(path)
    if mask.shape != like.shape:
        raise GeometryError("mask of another shape than its image", path=path, found=mask.shape, expected=like.shape)
    check_suffix(path, like)
    stored = storable(mask, path)
    with moved_into_place(path) as place:
        _write(stored, like, place, names)
    return path


def check_suffix(path: Path, like: Volume) -> None:
    """Make sure that a mask of an image can be written to a file of this name.

    Raises:
        OutputError: the suffix is of a format that does not fit the image.
    """
    suffixes = mask_suffixes(like)
    if suffix_of(path) not in suffixes:
        kind = "picture" if like.is_picture else "scan"
        raise OutputError(
            f"a mask of the {kind} {like.path.name} cannot be written in this format",
            path=path,
            found=suffix_of(path) or path.suffix or "no suffix",
            expected=" or ".join(suffixes),
            mend="change the suffix",
        )


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


def same_file_axes(volume: Volume, other: Volume) -> bool:
    """Whether two files store their voxels in one order, as tools that do not turn them need it."""
    ours, theirs = (_format(one.geometry.format).orientation(one) for one in (volume, other))
    if ours is None or theirs is None or volume.geometry.shape != other.geometry.shape:
        return ours is theirs and volume.geometry.shape == other.geometry.shape
    return bool(np.array_equal(ours.axes, theirs.axes))


def _read(path: Path, label: bool = False, channels: int | None = 1) -> Volume:
    _must_be_there(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ImageError("neither a file nor a folder", path=path, found="a device or a pipe", mend="copy it to a file")
    kind = format_of(path)
    if kind is None:
        raise ImageError(
            "format not known",
            path=path,
            found=path.suffix or "no suffix",
            expected=", ".join(READABLE_SUFFIXES),
            mend="convert it to one of these",
        )
    if path.is_file() and path.stat().st_size == 0:
        raise ImageError("file is empty", path=path, found="0 bytes", mend="copy or export it again")
    return _format(kind).read(path, label=label, channels=channels)


def _is_as_stored(volume: Volume) -> bool:
    orientation = _format(volume.geometry.format).orientation(volume)
    return orientation is None or orientation.is_ours


def _must_be_there(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise ImageError(
            "a link to nothing",
            path=path,
            found=os.readlink(path),
            expected="a link to a file that is there",
            mend="fetch the file (datalad get, git annex get), or copy it there",
        )
    if not is_there(path):
        raise ImageError("no such file", path=path, mend="check the path")


def _write(mask: np.ndarray, like: Volume, path: Path, names: Mapping[int, str] | None) -> None:
    own = like.geometry.format
    name = STACK if own == STACK else SUFFIXES[suffix_of(path) or ""]
    if name == own or like.is_picture:
        named = {int(value): f"class {value}" for value in np.unique(mask) if value} if names is None else names
        _format(name).write(mask, like, path, named)
        return
    orientation = _format(own).orientation(like)
    if orientation is None or like.affine is None:
        raise GeometryError("an array has no file to lie on", path=path, mend="read the image from a file")
    voxels = np.ascontiguousarray(orientation.to_file(mask))
    _format(name).write_new(voxels, orientation.file_affine(like.affine, like.shape), path)


def _format(name: str) -> ReaderWriter:
    return importlib.import_module(f"masg_sam.data.io.{name}")  # type: ignore[return-value]
