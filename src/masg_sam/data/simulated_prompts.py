"""Prompts as a user would give them, made from the label of a training sample."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from masg_sam.data.labels import IGNORED
from masg_sam.data.prompt_input import (
    BOX_END,
    BOX_START,
    MASK_STRIDE,
    NEGATIVE,
    PADDING,
    POSITIVE,
    SLOTS,
    rough_logits,
)


def simulate_prompt(
    label: np.ndarray, num_classes: int, probability: float, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Clicks, a box or a rough mask for one class of the slice, or nothing at all.

    Args:
        label: classes ``H x W``.
        num_classes: foreground classes K.
        probability: of any prompt.
        rng: source of chance.

    Returns:
        ``points`` 3 x 2 (x, y in pixels), ``kinds`` 3, ``classes`` 3, ``masks`` K x H/4 x W/4 as logits and
        ``has_mask`` K, as :class:`masg_sam.models.sam.prompts.Prompts` takes them.
    """
    height, width = label.shape
    points = np.zeros((SLOTS, 2), np.float32)
    kinds = np.full(SLOTS, PADDING, np.int64)
    classes = np.zeros(SLOTS, np.int64)
    masks = np.zeros((num_classes, height // MASK_STRIDE, width // MASK_STRIDE), np.float32)
    has_mask = np.zeros(num_classes, np.float32)
    present = [k for k in range(1, num_classes + 1) if (label == k).any()]
    if present and rng.random() < probability:
        chosen = int(rng.choice(present))
        inside = label == chosen
        form = rng.integers(3)
        if form == 0:
            points, kinds = _clicks(inside, label != IGNORED, rng)
        elif form == 1:
            points[:2], kinds[:2] = _box(inside, rng), (BOX_START, BOX_END)
        else:
            masks[chosen - 1], has_mask[chosen - 1] = _rough_mask(inside, rng), 1.0
        classes = np.where(kinds == PADDING, 0, chosen)
    arrays = {"points": points, "kinds": kinds, "classes": classes, "masks": masks, "has_mask": has_mask}
    return {name: torch.from_numpy(value) for name, value in arrays.items()}


def _clicks(inside: np.ndarray, labelled: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One or two clicks on the class, and sometimes one just outside, where somebody said so."""
    points = np.zeros((SLOTS, 2), np.float32)
    kinds = np.full(SLOTS, PADDING, np.int64)
    for i in range(int(rng.integers(1, SLOTS))):
        points[i], kinds[i] = _pick(inside, rng), POSITIVE
    ring = ndimage.binary_dilation(inside, iterations=8) & ~inside & labelled
    if rng.random() < 0.5 and ring.any():
        points[-1], kinds[-1] = _pick(ring, rng), NEGATIVE
    return points, kinds


def _pick(region: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    rows, columns = np.nonzero(region)
    i = int(rng.integers(len(rows)))
    return int(columns[i]), int(rows[i])


def _box(inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The bounding box, each side moved by up to a tenth of the box."""
    rows, columns = np.nonzero(inside)
    corners = np.array([[columns.min(), rows.min()], [columns.max(), rows.max()]], np.float32)
    extent = np.maximum(corners[1] - corners[0], 4)
    return corners + rng.uniform(-0.1, 0.1, (2, 2)).astype(np.float32) * extent


def _rough_mask(inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grown or shrunk, and moved, as :func:`~masg_sam.data.prompt_input.rough_logits` gives it."""
    steps = int(rng.integers(-3, 6))
    if steps:
        change = ndimage.binary_dilation if steps > 0 else ndimage.binary_erosion
        inside = change(inside, iterations=abs(steps))
    moved = ndimage.shift(inside.astype(np.uint8), rng.integers(-4, 5, 2), order=0) > 0
    return rough_logits(moved[None])[0]
