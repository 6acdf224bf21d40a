"""What a prediction says of its own quality, without a label: how sure, and how steady.

Everything is kept as sums over each slice and class, so that slices, classes and whole cases can be summed up alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Sums = TypeVar("Sums", "Certainty", "Agreement")
NAMES = ("soft_dice", "edge", "steady", "prompted", "kept", "planes")


@dataclass(frozen=True)
class Certainty:
    """How sure the network is; all arrays ``S x K`` of float64, one row a slice, one column a class.

    Attributes:
        voxels: given to the class.
        inside: sum of the class's probability over them.
        mass: sum of the class's probability over the whole slice.
        edge: voxels on both sides of the class's border.
        edge_entropy: sum of the entropy over those, 1 for a voxel where all classes are equally likely.
    """

    voxels: np.ndarray
    inside: np.ndarray
    mass: np.ndarray
    edge: np.ndarray
    edge_entropy: np.ndarray

    @classmethod
    def of(cls, probability: Tensor, mask: Tensor) -> Certainty:
        """Sum up a batch of slices.

        Args:
            probability: ``B x K+1 x r x c``, background first.
            mask: its classes, ``B x r x c``.
        """
        entropy = torch.special.entr(probability).sum(1) / np.log(probability.shape[1])  # B x r x c
        columns = []
        for k in range(1, probability.shape[1]):
            chosen = (mask == k).to(probability.dtype)
            edge = F.max_pool2d(chosen, 3, 1, 1) + F.max_pool2d(-chosen, 3, 1, 1)
            maps = (chosen, chosen * probability[:, k], probability[:, k], edge, edge * entropy)
            columns.append(torch.stack([one.sum((1, 2)) for one in maps]))  # 5 x B
        return cls(*_float64(torch.stack(columns, -1)))

    def with_corrected(self, where: np.ndarray, corrected: Certainty) -> Certainty:
        """The same, but for the slices ``where`` (``S`` of bool), which are those of ``corrected`` in their order."""
        changed = {item.name: getattr(self, item.name).copy() for item in fields(self)}
        for name, values in changed.items():
            values[where] = getattr(corrected, name)
        return Certainty(**changed)

    def doubt(self) -> np.ndarray:
        """Voxels of each slice that are expected to be wrong, ``S``: probability outside and lack of it inside."""
        return (self.mass - self.inside + self.voxels - self.inside).sum(1)


@dataclass(frozen=True)
class Agreement:
    """How much of a mask stands when it is asked for again; arrays ``S x K`` over the slices asked.

    Attributes:
        voxels: given to the class at first.
        again: given to the class the second time.
        both: given to it both times.
    """

    voxels: np.ndarray
    again: np.ndarray
    both: np.ndarray

    @classmethod
    def of(cls, first: Tensor, second: Tensor, classes: int) -> Agreement:
        """Compare two masks of the same slices, each ``B x r x c`` of classes 0..K."""
        count, batch = classes + 1, len(first)
        slices = torch.arange(batch, device=first.device)[:, None, None]
        pairs = (slices * count + first.long()) * count + second.long()  # B x r x c
        table = torch.bincount(pairs.flatten(), minlength=batch * count**2).view(batch, count, count)  # first x second
        both = table.diagonal(dim1=1, dim2=2)
        return cls(*(_float64(item[:, 1:]) for item in (table.sum(2), table.sum(1), both)))

    def dice(self) -> np.ndarray:
        """Of each class over all slices, ``K``; NaN where neither has it."""
        return ratio(2 * self.both.sum(0), (self.voxels + self.again).sum(0))


def _float64(values: Tensor) -> np.ndarray:
    """On the processor: Apple's GPUs have no such numbers."""
    return values.cpu().numpy().astype(np.float64)


@dataclass(frozen=True)
class Signals:
    """What was seen while a case was segmented.

    Attributes:
        certainty: of every slice.
        steady: agreement with the same slices turned, scaled and recoloured; of the slices asked.
        prompted: agreement with the mask when it is prompted with its own boxes; ``None`` without prompts.
        kept: part of each class's voxels that post-processing kept, ``K``; NaN where there were none.
        embedding: SAM's image embedding, mean and deviation of each channel over the slices asked, ``2 D``.
        asked: numbers of the slices asked.
        planes: agreement of the model's own plane with all planes together; ``None`` where it has but one.
    """

    certainty: Certainty
    steady: Agreement
    prompted: Agreement | None
    kept: np.ndarray
    embedding: np.ndarray
    asked: tuple[int, ...]
    planes: Agreement | None = None

    def by_class(self) -> dict[str, np.ndarray]:
        """Each signal for each class, 0..1 and ``K`` of them, 1 being good; NaN where it is not defined."""
        total = {item.name: getattr(self.certainty, item.name).sum(0) for item in fields(Certainty)}
        found = {
            "soft_dice": ratio(2 * total["inside"], total["voxels"] + total["mass"]),
            "edge": 1 - ratio(total["edge_entropy"], total["edge"]),
            "steady": self.steady.dice(),
            "prompted": np.full_like(self.kept, np.nan) if self.prompted is None else self.prompted.dice(),
            "kept": self.kept,
            "planes": np.full_like(self.kept, np.nan) if self.planes is None else self.planes.dice(),
        }
        return {name: found[name] for name in NAMES}


def joined(parts: Sequence[Sums]) -> Sums:
    """Batches of slices after each other, one at least."""
    kind = type(parts[0])
    return kind(*(np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(kind)))


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """``part / whole``; NaN where the whole is nothing."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)
