"""What was found in a volume, put together from the class probabilities of its slices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from masg_sam.data.slices import from_slices
from masg_sam.data.task import Task
from masg_sam.inference.postprocess import keep_likeliest, likeliest_class, margin
from masg_sam.inference.signals import Agreement, Certainty, joined, ratio


@dataclass(frozen=True)
class Segmentation:
    """What was found in a volume.

    Attributes:
        mask: classes 0..K, ``Z x Y x X`` of uint8, on the volume's own grid.
        certainty: how sure the network was, before post-processing; where prompts reach, together with them.
        kept: part of each class's voxels that post-processing kept, ``K``; NaN where there were none.
        planes: agreement of the model's own plane with all planes together, before any correction; ``None`` where it
            has but one.
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
        planes: agreement of the model's own plane with all planes together; ``None`` where it has but one.
    """

    mask: np.ndarray
    evidence: np.ndarray
    certainty: Certainty
    planes: Agreement | None = None

    @classmethod
    def of(cls, probability: Tensor, planes: Agreement | None = None) -> Slices:
        """The likeliest class everywhere; from ``B x K+1 x rows x columns``, background first."""
        mask = likeliest_class(probability)
        numbers = mask.to(torch.uint8).cpu().numpy()
        return cls(numbers, margin(probability).cpu().numpy(), Certainty.of(probability, mask), planes)

    def with_corrected(self, where: np.ndarray, corrected: Slices) -> Slices:
        """The same, but for the slices ``where`` (``B`` of bool), which are those of ``corrected`` in their order."""
        mask, evidence = self.mask.copy(), self.evidence.copy()
        mask[where], evidence[where] = corrected.mask, corrected.evidence
        return Slices(mask, evidence, self.certainty.with_corrected(where, corrected.certainty), self.planes)


def assemble(parts: Iterable[Slices], task: Task, told: Sequence[Sequence[Any]] = ()) -> Segmentation:
    """Masks of slices as the mask of their volume, and what is mended in it.

    Args:
        parts: all slices of the task's plane in their order; read once.
        task: classes and plane.
        told: as :func:`~masg_sam.inference.postprocess.keep_likeliest` takes it.
    """
    slices = list(parts)
    maps = [part.mask for part in slices], [part.evidence for part in slices]
    found, sure = (from_slices(np.concatenate(one), task.axis) for one in maps)
    kept = keep_likeliest(found, sure, task.single, told)
    counts = [np.bincount(mask.ravel(), minlength=task.labels.num_classes + 1)[1:] for mask in (kept, found)]
    planes = [part.planes for part in slices if part.planes is not None]
    certainty = joined([part.certainty for part in slices])
    return Segmentation(kept, certainty, ratio(*counts), joined(planes) if planes else None)
