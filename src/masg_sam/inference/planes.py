"""One opinion from three: the planes a volume is cut in, put together voxel by voxel."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

LEAST_PROBABILITY = 1e-4  # no plane rules a class out
OWN_WEIGHT = 4.0  # of the model's own plane, another one's being 1; chosen on the validation scans of LA
LEAST_DEPTH = 16  # slices; across fewer there is no picture to read


class OtherPlanes:
    """What the planes across the model's own one say of a volume: the sum of their log probabilities.

    It takes as much memory as the volume in half precision for each class, background included.

    Args:
        classes: foreground classes K.
        shape: voxels of the volume along ``Z, Y, X``.
        axis: along which the slices of the model's own plane lie.
    """

    def __init__(self, classes: int, shape: tuple[int, int, int], axis: int) -> None:
        self.axis, self.planes = axis, 0
        self.logs = torch.zeros(classes + 1, *shape, dtype=torch.float16)

    def add(self, batches: Iterable[Tensor], axis: int) -> None:
        """Take in one plane.

        Args:
            batches: class probabilities of its slices in their order, ``B x K+1 x rows x columns``.
            axis: along which they lie.
        """
        done, slices = 0, self.logs.movedim(axis + 1, 0)  # S x K+1 x rows x columns
        for batch in batches:
            slices[done : done + len(batch)] += _log(batch).cpu().half()
            done += len(batch)
        self.planes += 1

    def join(self, probability: Tensor, start: int, alone: Tensor) -> Tensor:
        """The geometric mean of all planes.

        Args:
            probability: of slices of the model's own plane, ``B x K+1 x rows x columns``.
            start: number of the first of them.
            alone: slices in which only their own plane counts, ``B`` of bool.
        """
        others = self.logs.movedim(self.axis + 1, 0)[start : start + len(probability)].to(probability)
        mean = (OWN_WEIGHT * _log(probability) + others) / (OWN_WEIGHT + self.planes)
        joined = mean.softmax(1)
        joined[alone] = probability[alone]
        return joined


def _log(probability: Tensor) -> Tensor:
    return probability.log().clamp(min=math.log(LEAST_PROBABILITY))
