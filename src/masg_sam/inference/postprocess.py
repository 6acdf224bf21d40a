"""What is mended in a mask after the network, with rules learned from the training labels alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from masg_sam.inference.planes import floored_log


def likeliest_class(probability: Tensor) -> Tensor:
    """The class of each voxel, ``B x r x c`` of int64, from ``B x K+1 x r x c``.

    :meth:`torch.Tensor.argmax` says the same, on a CPU in seven times the time.
    """
    return probability.max(1).indices


def margin(probability: Tensor) -> Tensor:
    """How much likelier the likeliest class is than the next one: the difference of their logarithms, from 0 on.

    Args:
        probability: of each class, background included, ``B x K+1 x r x c``.

    Returns:
        ``B x r x c`` of float16; limited, as the logarithms are, so that no single voxel decides.
    """
    first, second = floored_log(torch.topk(probability, 2, dim=1).values).unbind(1)
    return (first - second).half()


def keep_likeliest(
    mask: np.ndarray,
    evidence: np.ndarray,
    single: tuple[bool, ...],
    told: Sequence[Sequence[Any]] = (),
) -> np.ndarray:
    """Keep one piece of each class whose training labels were all in one piece: that with the most evidence.

    Between pieces of like size that is the one the network is surer of, and a large piece outweighs a small one.

    Args:
        mask: classes ``Z x Y x X``; not changed.
        evidence: of each voxel for its class, the same shape, see :func:`margin`.
        single: for each class 1..K, whether it comes in one piece.
        told: for each class, places that a user gave it, as indices of the mask: pieces that reach into them stay too.

    Returns:
        The mended mask, 26-connected pieces in a volume and 8-connected ones in a picture.
    """
    result = mask.copy()
    neighbourhood = np.ones((3, 3, 3))
    for value, (alone, places) in enumerate(zip_longest(single, told, fillvalue=()), start=1):
        region = mask == value
        if not alone or not region.any():
            continue
        pieces, count = ndimage.label(region, structure=neighbourhood)
        if count > 1:
            likeliest = np.bincount(pieces[region], weights=evidence[region])[1:].argmax() + 1
            stay = [np.array([likeliest]), *(np.unique(pieces[place]) for place in places)]
            result[region & ~np.isin(pieces, np.concatenate(stay))] = 0
    return result
