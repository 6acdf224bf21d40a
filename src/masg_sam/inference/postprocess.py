"""What is mended in a mask after the network, with rules learned from the training labels alone."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def keep_largest(mask: np.ndarray, single: tuple[bool, ...]) -> np.ndarray:
    """Keep the largest piece of each class whose training labels were all in one piece.

    Args:
        mask: classes ``Z x Y x X``; not changed.
        single: for each class 1..K, whether it comes in one piece.

    Returns:
        The mended mask, 26-connected pieces in a volume and 8-connected ones in a picture.
    """
    result = mask.copy()
    neighbourhood = np.ones((3, 3, 3))
    for value, alone in enumerate(single, start=1):
        region = mask == value
        if not alone or not region.any():
            continue
        pieces, count = ndimage.label(region, structure=neighbourhood)
        if count > 1:
            largest = np.bincount(pieces.ravel())[1:].argmax() + 1
            result[region & (pieces != largest)] = 0
    return result
