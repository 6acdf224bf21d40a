"""A stack whose gantry was tilted, put upright and back by whole pixels, so that nothing is blurred or lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from masg_sam.data.io.grid import same_grid
from masg_sam.data.io.orientation import Orientation, spacing_of
from masg_sam.data.volume import Volume


@dataclass(frozen=True)
class TiltedOrientation(Orientation):
    """Between the slices of a tilted stack and an upright volume in our order.

    Each slice is moved aside in its plane by whole pixels; the volume is wide enough for all. Positions are right to
    half a pixel, and the way back is exact.

    Attributes:
        shifts: ``S x 2``, columns and rows by which each slice is moved, the least being 0.
        plane: columns and rows of a slice.
        leaning: 4 x 4, ``(column, row, slice)`` to LPS mm, as the files have it.
    """

    shifts: np.ndarray
    plane: tuple[int, int]
    leaning: np.ndarray

    def to_ours(self, voxels: np.ndarray) -> np.ndarray:
        """``x x y x z (x C)`` of the files to our ``C x Z x Y x X``; the least value fills what lies beside."""
        return self._upright(voxels, voxels.min())

    def label_to_ours(self, label: Volume, image: Volume) -> Volume:
        """A label on the leaning grid of its image, put upright as the image was; background lies beside it.

        Raises:
            GeometryError: it lies on another grid.
        """
        plain = Orientation.nearest(self.leaning)
        stack = plain.to_ours(np.broadcast_to(np.uint8(0), (*self.plane, len(self.shifts))))
        placed = plain.affine(self.leaning, (*self.plane, len(self.shifts)))
        same_grid(replace(image, data=stack, spacing=spacing_of(placed), affine=placed), label)
        return replace(image, data=self._upright(plain.to_file(label.data[0]), 0), path=label.path)

    def to_file(self, mask: np.ndarray) -> np.ndarray:
        """Our ``Z x Y x X`` to ``x x y x z`` of the files."""
        wide = super().to_file(mask)
        return np.stack([wide[(*self._window(number), number)] for number in range(len(self.shifts))], axis=2)

    def slice_in_file(self, axis: int, number: int, length: int) -> int:
        """Number in the file's order; of a slice across all others, where it meets the middle one."""
        at = super().slice_in_file(axis, number, length)
        own = next(own for own, (ours, _) in enumerate(self.axes) if 2 - int(ours) == axis)
        if own == 2:
            return at
        return int(np.clip(at - self.shifts[len(self.shifts) // 2, own], 0, self.plane[own] - 1))

    def voxel(self, index: Sequence[int], shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The file's voxel ``(column, row, slice)`` as our ``(z, y, x)``."""
        column, row, number = index
        right, down = self.shifts[number]
        return super().voxel((column + int(right), row + int(down), number), shape)

    def file_shape(self, shape: tuple[int, int, int]) -> tuple[int, ...]:
        """Columns, rows, slices of the files."""
        return (*self.plane, len(self.shifts))

    def file_affine(self, affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """Affine of the leaning stack."""
        return self.leaning

    def _upright(self, voxels: np.ndarray, beside: float) -> np.ndarray:
        wide = np.full((*self._wide(), *voxels.shape[2:]), beside, voxels.dtype)
        for number in range(len(self.shifts)):
            wide[(*self._window(number), number)] = voxels[:, :, number]
        return super().to_ours(wide)

    def _wide(self) -> tuple[int, int]:
        columns, rows = (int(n) for n in np.add(self.plane, self.shifts.max(axis=0)))
        return columns, rows

    def _window(self, number: int) -> tuple[slice, slice]:
        (right, down), (columns, rows) = self.shifts[number], self.plane
        return slice(right, right + columns), slice(down, down + rows)
