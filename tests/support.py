"""Plain functions that tests share: files to write, the command to call."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from transformers import SamVisionConfig

from masg_sam.data.intensity import Intensity


def write_scan(path: Path, data: np.ndarray, affine: np.ndarray | None = None) -> None:
    """An array ``x, y, z`` as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.diag([1.0, 1.0, 2.0, 1.0]) if affine is None else affine), path)


def blobs(seed: int, classes: int = 1, shape: tuple[int, int, int] = (40, 36, 6)) -> tuple[np.ndarray, np.ndarray]:
    """A noisy volume ``x, y, z`` with one bright ball a class, and its label."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))
    image, label = rng.normal(100, 10, shape), np.zeros(shape, np.uint8)
    for k in range(1, classes + 1):
        centre = np.array([shape[0] * k / (classes + 1), shape[1] / 2 + rng.uniform(-3, 3), shape[2] / 2])
        inside = (((grid - centre[:, None, None, None]) / np.array([5, 7, 4])[:, None, None, None]) ** 2).sum(0) < 1
        image[inside] += 100 * k
        label[inside] = k
    return image.astype(np.int16), label


def tiny_vision_config(**sizes: Any) -> SamVisionConfig:
    """A small ViT in the real format: 4 blocks of width 32 at 64 pixels."""
    values: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "mlp_dim": 64,
        "image_size": 64,
        "window_size": 3,
        "global_attn_indexes": [1, 3],
    }
    return SamVisionConfig(**(values | sizes))


def masg_sam(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """The command as a user calls it, in a process of its own."""
    command = [sys.executable, "-c", "from masg_sam.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, **options)  # type: ignore[call-overload]


class Unchanged(Intensity):
    """Voxels as they are."""

    def __call__(self, data: np.ndarray) -> np.ndarray:
        return data
