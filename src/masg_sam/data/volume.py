"""What the rest of the package sees of a scan: one array in one anatomical order, with spacing in mm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Geometry:
    """How a file's own voxel grid maps to ours, kept so that a mask can be written back exactly on it.

    Attributes:
        format: name of the reader-writer in :mod:`masg_sam.data.io` that read the file.
        shape: the file's own array shape, in the file's own order, without channels.
        header: what that reader-writer needs to write the same grid again; opaque to everybody else.
    """

    format: str
    shape: tuple[int, ...]
    header: Any


@dataclass(frozen=True)
class Volume:
    """A scan or picture in memory.

    Volumes lie in the anatomical order nearest to the patient's axes: Z towards the head, Y towards the
    back, X towards the patient's left (LPS). Pictures have one slice and no affine.

    Attributes:
        data: ``C x Z x Y x X``; images are float32, labels are ``1 x Z x Y x X`` of an integer type.
        spacing: voxel size in mm along ``Z, Y, X``; all ones for a picture.
        affine: 4 x 4, array indices ``(x, y, z)`` of ``data`` to LPS millimetres; ``None`` for a picture.
        geometry: the file's own grid.
        path: where it was read from.
    """

    data: np.ndarray
    spacing: tuple[float, float, float]
    affine: np.ndarray | None
    geometry: Geometry
    path: Path

    @property
    def is_picture(self) -> bool:
        """Whether this is a 2-D picture (PNG, JPEG, TIFF) and not a scan with millimetres."""
        return self.affine is None

    @property
    def voxel_ml(self) -> float | None:
        """Volume of a voxel in millilitres, leaning ones too; ``None`` for a picture."""
        return None if self.affine is None else abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along ``Z, Y, X``."""
        z, y, x = self.data.shape[1:]
        return z, y, x
