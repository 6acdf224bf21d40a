"""One volume that is corrected again and again: the network answers once, prompts count in moments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from masg_sam.data.task import Task
from masg_sam.data.volume import Volume
from masg_sam.inference.corrections import Corrections
from masg_sam.inference.planes import floored_log
from masg_sam.inference.prompting import UserPrompt, must_be_within
from masg_sam.inference.segmentation import Segmentation, assemble
from masg_sam.inference.signals import Agreement

BATCH = 8  # slices that are put together at a time


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
        self.logs = torch.cat([floored_log(batch).half().cpu() for batch in slices])
        self.agreement = tuple(agreement)

    def segment(self, prompts: Sequence[UserPrompt] = ()) -> Segmentation:
        """The mask with all of these prompts; those of earlier calls are forgotten.

        Args:
            prompts: clicks, boxes, rough masks; none are needed.

        Raises:
            InputError: a prompt outside the volume, or for a class that the model does not know.
        """
        must_be_within(prompts, self.task, self.volume.shape)
        corrections = Corrections(prompts, self.volume, self.task)
        logs = corrections.apply(self.logs)
        slices = (part.float().softmax(1) for part in logs.split(BATCH))
        return assemble(slices, self.task, self.agreement, corrections.clicked())
