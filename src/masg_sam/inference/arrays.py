"""An array as a volume: which axes it has, and what its voxels measure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from masg_sam.data.io.values import eight_bits
from masg_sam.data.task import Task
from masg_sam.data.volume import Geometry, Volume
from masg_sam.errors import InputError

NAME = Path("array")  # for messages
SCAN_AXES, PICTURE_AXES = "Z x Y x X or C x Z x Y x X", "Y x X, Y x X x C or C x 1 x Y x X"


def array_volume(image: np.ndarray, spacing: Sequence[float] | None, task: Task) -> Volume:
    """What a model is to segment.

    Args:
        image: for scans ``Z x Y x X`` or ``C x Z x Y x X``, for pictures ``Y x X``, ``Y x X x C`` or
            ``C x 1 x Y x X``; colours as :func:`~masg_sam.data.io.values.eight_bits` takes them.
        spacing: mm along ``Z, Y, X`` of a scan; not read for a picture.
        task: whether the model is one of scans or of pictures.

    Raises:
        InputError: other axes, no finite numbers, or a scan without three positive numbers as spacing.
    """
    array = np.asarray(image)
    data = _picture_axes(array) if task.pictures else _scan_axes(array)
    if data.ndim != 4 or not data.size or data.dtype.kind not in "buif":
        raise _unusable(array, task)
    data = eight_bits(data, NAME) if task.intensity.kind == "colour" else data
    data = data.astype(np.float32)
    if not np.isfinite(data).all():
        raise _unusable(array, task)
    geometry = Geometry("array", data.shape[1:], None)
    if task.pictures:
        return Volume(data, (1.0, 1.0, 1.0), None, geometry, NAME)
    z, y, x = _millimetres(spacing)
    return Volume(data, (z, y, x), np.diag([x, y, z, 1.0]), geometry, NAME)


def _scan_axes(array: np.ndarray) -> np.ndarray:
    return array[None] if array.ndim == 3 else array


def _picture_axes(array: np.ndarray) -> np.ndarray:
    """Of three axes the last one is that of the channels, as in every picture."""
    if array.ndim == 2:
        return array[None, None]
    return np.moveaxis(array, -1, 0)[:, None] if array.ndim == 3 else array


def _millimetres(spacing: Sequence[float] | None) -> list[float]:
    mm = [] if spacing is None else np.ravel(np.asarray(spacing, float)).tolist()
    if len(mm) != 3 or not all(0 < length < np.inf for length in mm):
        raise InputError(
            "a scan needs its voxel size",
            found="no spacing" if spacing is None else f"spacing {mm}",
            expected="three positive numbers: mm along Z, Y, X",
            mend="give them as the scan's header has them: spacing=(5.0, 0.8, 0.8), for instance",
        )
    return mm


def _unusable(array: np.ndarray, task: Task) -> InputError:
    return InputError(
        "image array cannot be used",
        found=f"shape {array.shape} of {array.dtype}",
        expected=f"finite numbers, {PICTURE_AXES if task.pictures else SCAN_AXES}",
    )
