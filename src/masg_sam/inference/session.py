"""One volume that is corrected again and again: the network answers once, prompts count in moments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from masg_sam.data.slices import in_plane
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
        slices: class probabilities of consecutive slices of the task's plane, ``B x K+1 x rows x columns``, and how far
            that plane agrees with all, where there are several.
        volume: its image; only its shape and spacing are kept.
        task: classes and plane.
    """

    def __init__(self, slices: Iterable[tuple[Tensor, Agreement | None]], volume: Volume, task: Task) -> None:
        self.task, self.shape, self.spacing = task, volume.shape, volume.spacing
        rows, columns = in_plane(volume.shape, task.axis)
        count = task.labels.num_classes + 1
        self.logs = torch.empty(volume.shape[task.axis], count, rows, columns, dtype=torch.float16)
        self.found: list[Slices] = []
        done = 0
        for probability, planes in slices:
            self.found.append(Slices.of(probability, planes))
            self.logs[done : done + len(probability)] = floored_log(probability).cpu()
            done += len(probability)

    def segment(self, prompts: Iterable[UserPrompt] = ()) -> Segmentation:
        """The mask with all of these prompts; those of earlier calls are forgotten.

        Args:
            prompts: clicks, boxes, rough masks; none are needed.

        Raises:
            InputError: a prompt outside the volume, or for a class that the model does not know.
        """
        given = tuple(prompts)
        if not given:
            return assemble(self.found, self.task)
        must_be_within(given, self.task, self.shape)
        corrections = Corrections(given, self.task, self.shape, self.spacing)
        sizes = np.sum([part.certainty.voxels.sum(0) for part in self.found], axis=0)
        logs, touched = corrections.apply(self.logs, sizes)
        return assemble(self._parts(logs, touched), self.task, corrections.told())

    def _parts(self, logs: Tensor, touched: np.ndarray) -> Iterator[Slices]:
        """All slices; those that no prompt reaches as they were."""
        done = 0
        for part in self.found:
            own = slice(done, done + len(part.mask))
            where, done = touched[own], own.stop
            if where.any():
                corrected = Slices.of(logs[own][torch.from_numpy(where)].float().softmax(1))
                yield part.with_corrected(where, corrected)
            else:
                yield part
