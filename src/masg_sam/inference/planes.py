"""One opinion from three: the planes a volume is cut in, put together voxel by voxel."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

LEAST_PROBABILITY = 1e-4
LEAST_DEPTH = 16  # slices; across fewer there is no picture to read


def plane_weights(shape: tuple[int, int, int]) -> tuple[float, ...]:
    """How much each plane counts, in sum 1: as the square of the voxels in a slice, for slices that show more are read
    better. Chosen on validation scans, see docs/explanation/what-was-tried.md.

    Args:
        shape: voxels of the volume along ``Z, Y, X``.

    Returns:
        Of the slices along ``Z, Y, X``.
    """
    weights = (min(shape) / np.array(shape)) ** 2  # the fewer the slices, the more voxels in each
    return tuple(float(weight) for weight in weights / weights.sum())


class OtherPlanes:
    """What the planes across the model's own one say of a volume: the weighted sum of their log probabilities.

    It takes as much memory as the volume in half precision for each class, background included.

    Args:
        classes: foreground classes K.
        shape: voxels of the volume along ``Z, Y, X``.
        axis: along which the slices of the model's own plane lie.
    """

    def __init__(self, classes: int, shape: tuple[int, int, int], axis: int) -> None:
        self.axis, self.weights = axis, plane_weights(shape)
        self.logs = torch.zeros(classes + 1, *shape, dtype=torch.float16)

    def add(self, batches: Iterable[Tensor], axis: int) -> None:
        """Take in one plane.

        Args:
            batches: class probabilities of its slices in their order, ``B x K+1 x rows x columns``.
            axis: along which they lie.
        """
        done, slices = 0, self.logs.movedim(axis + 1, 0)  # S x K+1 x rows x columns
        for batch in batches:
            slices[done : done + len(batch)] += (self.weights[axis] * floored_log(batch)).cpu().half()
            done += len(batch)

    def join(self, probability: Tensor, start: int) -> Tensor:
        """The weighted geometric mean of all planes.

        Args:
            probability: of slices of the model's own plane, ``B x K+1 x rows x columns``.
            start: number of the first of them.
        """
        others = self.logs.movedim(self.axis + 1, 0)[start : start + len(probability)].to(probability)
        return (self.weights[self.axis] * floored_log(probability) + others).softmax(1)


def floored_log(probability: Tensor) -> Tensor:
    """The logarithm, but for no probability below :data:`LEAST_PROBABILITY`: no single opinion rules a class out."""
    return probability.log().clamp(min=math.log(LEAST_PROBABILITY))
