"""The voxels that a segmentation's frames and a structure set's contours fall on, in an image's own slices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from masg_sam.data.volume import Volume
from masg_sam.errors import GeometryError

OFF = 0.1  # of a voxel, that rounding in other tools' headers may move a frame or a contour


@dataclass(frozen=True)
class Canvas:
    """The grid of an image, empty.

    Attributes:
        affine: 4 x 4, voxel ``(x, y, z)`` of the file's own order to LPS mm.
        shape: voxels along ``x, y, z``.
        to_ours: turns ``x x y x z`` of the file into our ``1 x Z x Y x X``.
        path: of the image, for messages.
    """

    affine: np.ndarray
    shape: tuple[int, int, int]
    to_ours: Callable[[np.ndarray], np.ndarray]
    path: Path

    @classmethod
    def of(cls, volume: Volume) -> Canvas:
        """The slices of a DICOM series as they lie, leaning ones too; any other scan in our order.

        Raises:
            GeometryError: a picture, which lies nowhere.
        """
        if volume.affine is None:
            raise GeometryError(
                "a picture has no place in a patient",
                path=volume.path,
                expected="the series that the segmentation refers to",
                mend="give the label of a picture as PNG",
            )
        if volume.geometry.format == "dicom":
            grid, (x, y, z) = volume.geometry.header, volume.geometry.shape
            return cls(grid.affine, (x, y, z), grid.orientation.to_ours, volume.path)
        z, y, x = volume.shape
        return cls(volume.affine, (x, y, z), lambda voxels: voxels.transpose(2, 1, 0)[None], volume.path)

    def empty(self) -> np.ndarray:
        """A mask ``x x y x z`` of nothing."""
        return np.zeros(self.shape, bool)

    def index(self, points: np.ndarray) -> np.ndarray:
        """Voxels ``N x 3``, fractional, of points ``N x 3`` in LPS mm."""
        inverse = np.linalg.inv(self.affine)
        return points @ inverse[:3, :3].T + inverse[:3, 3]

    def paint_frame(self, mask: np.ndarray, frame: np.ndarray, corner: np.ndarray, steps: np.ndarray) -> bool:
        """Paint the voxels of one frame.

        Args:
            mask: ``x x y x z`` of bool, changed in place.
            frame: ``row x column`` of bool.
            corner: of its first voxel, LPS mm.
            steps: ``3 x 2``, mm from column to column and from row to row.

        Returns:
            Whether every voxel of it falls on one of ours.
        """
        start = self.index(corner[None])[0]
        turn = np.linalg.inv(self.affine)[:3, :3] @ steps
        whole, first = np.rint(turn), np.rint(start)
        ends = np.array(frame.shape[::-1]) - 1
        off = np.abs(start - first).max() + (np.abs(turn - whole) * ends).max()
        rows, columns = np.nonzero(frame)
        places = (first + np.outer(columns, whole[:, 0]) + np.outer(rows, whole[:, 1])).astype(int)
        if off > OFF or (places < 0).any() or (places >= self.shape).any():
            return False
        mask[tuple(places.T)] = True
        return True
