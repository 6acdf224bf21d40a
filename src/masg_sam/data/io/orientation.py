"""Between a file's own axis order and ours, without resampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from masg_sam.errors import GeometryError

OFF_TIES = np.array([[1, -3e-3, 2e-3, 0], [3e-3, 1, -1e-3, 0], [-2e-3, 1e-3, 1, 0], [0, 0, 0, 1]])
LONGEST = 1e5  # mm of a voxel
SMALLEST_ANGLE = 1e-6  # determinant of the unit axes below which they lie in one plane


@dataclass(frozen=True)
class Orientation:
    """Which of our axes each axis of the file is, and whether it runs backwards.

    Attributes:
        axes: 3 x 2, for each of the file's axes ours (0 is X) and 1 or -1, as nibabel has it.
    """

    axes: np.ndarray

    @classmethod
    def nearest(cls, affine: np.ndarray) -> Orientation:
        """The one that brings the file's axes nearest to X, Y, Z of the world of ``affine``.

        Axes just between two, at 45 degrees, go by the world turned a hair: so the same way in every axis order.
        """
        return cls(io_orientation(OFF_TIES @ affine))

    @property
    def is_ours(self) -> bool:
        """Whether the file's axes are ours already."""
        return bool(np.array_equal(self.axes, [[0, 1], [1, 1], [2, 1]]))

    def to_ours(self, voxels: np.ndarray) -> np.ndarray:
        """``x x y x z (x C)`` of the file to our ``C x Z x Y x X``."""
        turned = apply_orientation(voxels, self.axes)
        return turned.transpose(2, 1, 0)[None] if turned.ndim == 3 else turned.transpose(3, 2, 1, 0)

    def to_file(self, mask: np.ndarray) -> np.ndarray:
        """Our ``Z x Y x X`` to ``x x y x z`` of the file."""
        back = np.empty_like(self.axes)
        for source, (target, direction) in enumerate(self.axes):
            back[int(target)] = (source, direction)
        return apply_orientation(mask.transpose(2, 1, 0), back)

    def slice_in_file(self, axis: int, number: int, length: int) -> int:
        """Number, in the file's own order, of our slice ``number`` along axis 0, 1 or 2 of ``Z, Y, X``."""
        directions = {int(ours): direction for ours, direction in self.axes}
        return number if directions[2 - axis] > 0 else length - 1 - number

    def voxel(self, index: Sequence[int], shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The file's voxel ``(i, j, k)`` as our ``(z, y, x)``, in a volume of our ``shape``."""
        at = [0, 0, 0]
        for number, (ours, direction) in zip(index, self.axes, strict=True):
            axis = 2 - int(ours)
            at[axis] = number if direction > 0 else shape[axis] - 1 - number
        return at[0], at[1], at[2]

    def file_shape(self, shape: tuple[int, int, int]) -> tuple[int, ...]:
        """The file's lengths along ``i, j, k``, of a volume of our ``shape``."""
        return tuple(shape[2 - int(ours)] for ours, _ in self.axes)

    def file_affine(self, affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """Affine of the file's array, from that of ours and our ``shape``; the inverse of :meth:`affine`."""
        return affine @ np.linalg.inv(inv_ornt_aff(self.axes, self.file_shape(shape)))

    def affine(self, affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Affine of the turned array, from that of the file and its shape ``x, y, z``."""
        return affine @ inv_ornt_aff(self.axes, shape)


def spacing_of(affine: np.ndarray) -> tuple[float, float, float]:
    """Voxel size along ``Z, Y, X`` of an affine of ``x, y, z``."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return float(z), float(y), float(x)


def must_place_voxels(path: Path, affine: np.ndarray) -> None:
    """Refuse an affine that holds NaN, an axis without length or of a hundred metres, or axes in one plane.

    Raises:
        GeometryError: the affine is such a one.
    """
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    usable = np.isfinite(affine).all() and lengths.min() > 0 and lengths.max() < LONGEST
    if usable and abs(np.linalg.det(affine[:3, :3] / lengths)) > SMALLEST_ANGLE:
        return
    raise GeometryError(
        "affine places no voxels",
        path=path,
        found=np.array2string(affine[:3], precision=3, separator=", ").replace("\n", ""),
        expected="three independent axes with a length in mm",
        mend="restore the header (spacing, directions; sform or qform of NIfTI) from the scanner's files",
    )
