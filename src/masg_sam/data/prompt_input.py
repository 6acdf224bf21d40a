"""Prompts as the network takes them: the kinds of points, and rough masks as logits; in training and from a user."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

PADDING, NEGATIVE, POSITIVE, BOX_START, BOX_END = -1, 0, 1, 2, 3
SLOTS = 3  # points a slice has at least, padding among them: the decoder attends to each, so always as in training
MASK_STRIDE = 4  # of rough masks, in input pixels
ROUGH_LOGIT = 6.0  # how sure a rough mask is taken to be
BLUR = 1.0  # deviation in pixels of the rough mask: nobody draws its border exactly


def rough_logits(masks: np.ndarray) -> np.ndarray:
    """Rough masks as the network takes them: means of 4 x 4 pixels, blurred, as logits.

    Args:
        masks: part of each input pixel that is of the class, ``S x H x W`` in 0..1; H and W are multiples of 4.

    Returns:
        ``S x H/4 x W/4`` of float32, -6..6.
    """
    slices, rows, columns = masks.shape
    cells = masks.reshape(slices, rows // MASK_STRIDE, MASK_STRIDE, columns // MASK_STRIDE, MASK_STRIDE)
    parts = cells.mean((2, 4)).astype(np.float32)
    return (ndimage.gaussian_filter(parts, (0, BLUR, BLUR)) - 0.5) * (2 * ROUGH_LOGIT)
