"""Readers and writers, one a format, behind one contract.

A reader returns a :class:`~masg_sam.data.volume.Volume` in one anatomical order (LPS, never resampled) and
remembers the file's own grid; :func:`write_label` puts a mask back on exactly that grid. Whatever is wrong
with a file becomes a typed error that names it.
"""

from __future__ import annotations

import importlib
import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from masg_sam.data.volume import Volume
from masg_sam.errors import GeometryError, ImageError, LabelError

log = logging.getLogger(__name__)

SUFFIXES = {
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
MOST_VOXELS = 2**31  # of one file; more is taken for a damaged header
TOLERANCE = 1e-3  # of spacing and position, relative to a voxel


class ReaderWriter(Protocol):
    """What each format module offers."""

    def read(self, path: Path) -> Volume:
        """Read a file as stored values, float32 or an integer type, ``C x Z x Y x X`` in LPS order."""

    def write(self, mask: np.ndarray, like: Volume, path: Path) -> None:
        """Write a mask ``Z x Y x X`` on the grid of the file ``like`` was read from."""

    def mask_suffix(self, volume: Volume) -> str:
        """The ending a mask of this volume gets."""


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
    data = np.ascontiguousarray(volume.data, dtype=np.float32)
    bad = int(data.size - np.isfinite(data).sum())
    if bad:
        raise ImageError(
            "voxels that are not numbers",
            path=path,
            found=f"{bad} NaN or infinite of {data.size}",
            expected="finite values",
            mend="replace them, by the value of the background for instance, and save again",
        )
    return replace(volume, data=data)


def read_label(path: Path) -> Volume:
    """Read a label or mask.

    Returns:
        A volume of one channel and an integer type.

    Raises:
        ImageError, GeometryError: as :func:`read_image`.
        LabelError: fractional values, or colours.
    """
    volume = _read(Path(path))
    data = volume.data
    if data.shape[0] != 1:
        data = _grey(data, Path(path))
    if not np.issubdtype(data.dtype, np.integer):
        whole = np.rint(data)
        if not np.isfinite(data).all() or np.abs(whole - data).max(initial=0) > 1e-3:
            raise LabelError(
                "label values are not whole numbers",
                path=path,
                found=f"values between {np.nanmin(data):g} and {np.nanmax(data):g}",
                expected="one whole number a class, 0 for the background",
                mend="threshold probabilities, or save the label with an integer type",
            )
        data = whole.astype(np.int32)
    return replace(volume, data=np.ascontiguousarray(data))


def write_label(mask: np.ndarray, like: Volume, path: Path) -> Path:
    """Write a mask on exactly the grid of the file that ``like`` was read from.

    Args:
        mask: label values ``Z x Y x X`` in our order.
        like: the image that was segmented.
        path: where to write; its folder is made when missing.

    Returns:
        ``path``.
    """
    if mask.shape != like.shape:
        raise GeometryError("mask of another shape than its image", path=path, found=mask.shape, expected=like.shape)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = mask.astype(np.uint8 if mask.max(initial=0) < 256 else np.uint16)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
        place = Path(folder) / path.name
        _format(like.geometry.format).write(mask, like, place)
        os.replace(place, path)
    return path


def mask_suffix(volume: Volume) -> str:
    """The ending of the file a mask of this volume is written to."""
    return _format(volume.geometry.format).mask_suffix(volume)


def merge_channels(volumes: Sequence[Volume]) -> Volume:
    """Put files with one channel each together.

    Raises:
        GeometryError: they do not lie on the same grid.
    """
    first = volumes[0]
    for other in volumes[1:]:
        same_grid(first, other)
    if len(volumes) == 1:
        return first
    return replace(first, data=np.concatenate([volume.data for volume in volumes]))


def same_grid(image: Volume, other: Volume) -> None:
    """Make sure that two files lie on the same grid.

    Raises:
        GeometryError: shape, spacing or position differ by more than a thousandth of a voxel.
    """
    mend = "resample one onto the other (a label with nearest neighbour), or take the matching file"
    if image.shape != other.shape:
        raise GeometryError(
            f"not on the grid of {image.path.name}",
            path=other.path,
            found=f"{_shape(other)} voxels",
            expected=f"{_shape(image)} voxels",
            mend=mend,
        )
    if image.affine is None or other.affine is None:
        return
    voxel = min(image.spacing)
    if np.abs(np.subtract(image.spacing, other.spacing)).max() > TOLERANCE * voxel:
        raise GeometryError(
            f"spacing differs from {image.path.name}",
            path=other.path,
            found=f"{_round(other.spacing)} mm (Z, Y, X)",
            expected=f"{_round(image.spacing)} mm",
            mend=mend,
        )
    z, y, x = image.shape
    corners = np.array([(i, j, k, 1) for i in (0, x - 1) for j in (0, y - 1) for k in (0, z - 1)]).T
    apart = np.abs((image.affine - other.affine) @ corners)[:3].max()
    if apart > max(TOLERANCE * voxel * 10, 1e-3):
        raise GeometryError(
            f"lies elsewhere than {image.path.name}",
            path=other.path,
            found=f"corners up to {apart:.3g} mm away",
            expected="the same affine",
            mend=mend,
        )


def _read(path: Path) -> Volume:
    if not path.exists():
        raise ImageError("no such file", path=path, mend="check the path")
    if path.is_dir():
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
    volume = _format(SUFFIXES[suffix]).read(path)
    if volume.data.size == 0:
        raise ImageError("image has no voxels", path=path, found=f"shape {volume.data.shape}")
    return volume


def _format(name: str) -> ReaderWriter:
    return importlib.import_module(f"masg_sam.data.io.{name}")  # type: ignore[return-value]


def _grey(data: np.ndarray, path: Path) -> np.ndarray:
    """A label saved as RGB with equal channels, up to the colour noise of JPEG."""
    wide = data.astype(np.int32)
    spread = wide.max(0) - wide.min(0)
    if (spread > 24).mean() > 0.001:
        raise LabelError(
            "a coloured label",
            path=path,
            found=f"{data.shape[0]} channels that differ",
            expected="one channel with one whole number a class",
            mend="map each colour to a number and save as grey PNG",
        )
    return np.median(wide, axis=0, keepdims=True).astype(np.int32)


def _shape(volume: Volume) -> str:
    return " x ".join(map(str, volume.shape))


def _round(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:g}" for value in values)
