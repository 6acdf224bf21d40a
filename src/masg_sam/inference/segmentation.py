"""What was found in a volume, put together from the class probabilities of its slices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from masg_sam.data.slices import from_slices
from masg_sam.data.task import Task
from masg_sam.inference.postprocess import keep_likeliest, margin
from masg_sam.inference.signals import Agreement, Certainty, joined, ratio


@dataclass(frozen=True)
class Segmentation:
    """What was found in a volume.

    Attributes:
        mask: classes 0..K, ``Z x Y x X`` of uint8, on the volume's own grid.
        certainty: how sure the network was, before post-processing.
        kept: part of each class's voxels that post-processing kept, ``K``; NaN where there were none.
        planes: agreement of the model's own plane with all planes together; ``None`` where it has but one.
    """

    mask: np.ndarray
    certainty: Certainty
    kept: np.ndarray
    planes: Agreement | None = None

    @property
    def confidence(self) -> tuple[float | None, ...]:
        """Mean probability of each class over the voxels given to it; ``None`` where there are none."""
        means = ratio(self.certainty.inside.sum(0), self.certainty.voxels.sum(0))
        return tuple(None if np.isnan(value) else round(float(value), 4) for value in means)


@dataclass(frozen=True)
class Slices:
    """What was found in some consecutive slices.

    Attributes:
        mask: classes, ``B x rows x columns`` of uint8.
        evidence: of each voxel for its class, as :func:`~masg_sam.inference.postprocess.margin` gives it.
        certainty: of these slices.
    """

    mask: np.ndarray
    evidence: np.ndarray
    certainty: Certainty

    @classmethod
    def of(cls, probability: Tensor) -> Slices:
        """The likeliest class everywhere; from ``B x K+1 x rows x columns``, background first."""
        mask = likeliest(probability)
        numbers = mask.to(torch.uint8).cpu().numpy()
        return cls(numbers, margin(probability).cpu().numpy(), Certainty.of(probability, mask))


def likeliest(probability: Tensor) -> Tensor:
    """The class of each voxel, ``B x rows x columns`` of int64, from ``B x K+1 x rows x columns``.

    :meth:`torch.Tensor.argmax` says the same, on a CPU in seven times the time.
    """
    return probability.max(1).indices


def assemble(
    parts: Iterable[Slices],
    task: Task,
    agreement: Sequence[Agreement],
    clicked: Sequence[Sequence[tuple[int, ...]]] = (),
) -> Segmentation:
    """Masks of slices as the mask of their volume, and what is mended in it.

    Args:
        parts: all slices of the task's plane in their order; read once.
        task: classes and plane.
        agreement: of the own plane with all; read after the slices, which may fill it. Empty where there is but one.
        clicked: as :func:`~masg_sam.inference.postprocess.keep_likeliest` takes it.
    """
    masks, evidence, certainty = zip(*((part.mask, part.evidence, part.certainty) for part in parts), strict=True)
    found, sure = (from_slices(np.concatenate(maps), task.axis) for maps in (masks, evidence))
    kept = keep_likeliest(found, sure, task.single, clicked)
    counts = [np.bincount(mask.ravel(), minlength=task.labels.num_classes + 1)[1:] for mask in (kept, found)]
    return Segmentation(kept, joined(certainty), ratio(*counts), joined(agreement) if agreement else None)
