"""One volume that is corrected again and again: the network answers once, prompts count in moments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from masg_sam.data.task import Task
from masg_sam.data.volume import Volume
from masg_sam.inference.corrections import Corrections
from masg_sam.inference.planes import floored_log
from masg_sam.inference.prompting import UserPrompt, must_be_within
from masg_sam.inference.segmentation import Segmentation, Slices, assemble
from masg_sam.inference.signals import Agreement


class Session:
    """What the network said of a volume, to be corrected.

    Memory holds the volume in half precision for each class, background included; twice while it is corrected.

    Args:
        slices: class probabilities of consecutive slices of the task's plane, ``B x K+1 x rows x columns``.
        volume: its image.
        task: classes and plane.
        agreement: of the own plane with all, which reading the slices may fill.
    """

    def __init__(
        self, slices: Iterable[Tensor], volume: Volume, task: Task, agreement: Sequence[Agreement] = ()
    ) -> None:
        self.volume, self.task = volume, task
        logs, found = [], []
        for probability in slices:
            logs.append(floored_log(probability).half().cpu())
            found.append(Slices.of(probability))
        self.logs, self.found, self.agreement = torch.cat(logs), found, tuple(agreement)

    def segment(self, prompts: Sequence[UserPrompt] = ()) -> Segmentation:
        """The mask with all of these prompts; those of earlier calls are forgotten.

        Args:
            prompts: clicks, boxes, rough masks; none are needed.

        Raises:
            InputError: a prompt outside the volume, or for a class that the model does not know.
        """
        must_be_within(prompts, self.task, self.volume.shape)
        corrections = Corrections(prompts, self.volume, self.task)
        sizes = sum(part.certainty.voxels.sum(0) for part in self.found)
        logs, touched = corrections.apply(self.logs, sizes)
        return assemble(self._parts(logs, touched), self.task, self.agreement, corrections.clicked())

    def _parts(self, logs: Tensor, touched: np.ndarray) -> Iterator[Slices]:
        """All slices; those that no prompt reaches as they were."""
        done = 0
        for part in self.found:
            own = slice(done, done + len(part.mask))
            yield Slices.of(logs[own].float().softmax(1)) if touched[own].any() else part
            done = own.stop
