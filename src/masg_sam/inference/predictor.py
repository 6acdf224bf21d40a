"""Segments volumes with a trained network, a few slices at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from masg_sam.data.slices import canvas_shape, from_slices, in_plane, network_batches, unpad, working_shape
from masg_sam.data.task import Task
from masg_sam.data.volume import Volume
from masg_sam.errors import ImageError
from masg_sam.inference.postprocess import keep_largest
from masg_sam.inference.prompting import PromptBook, UserPrompt
from masg_sam.inference.smoothing import smooth_slices
from masg_sam.models.masg_sam import MasgSamNetwork
from masg_sam.models.sam.layers import resize

SMOOTHING_MM = 1.0  # deviation of the smoothing across slices; chosen on the validation scans of LA


@dataclass(frozen=True)
class Segmentation:
    """What was found in a volume.

    Attributes:
        mask: classes 0..K, ``Z x Y x X`` of uint8, on the volume's own grid.
        confidence: mean probability of each class over the voxels given to it; ``None`` where there are none.
    """

    mask: np.ndarray
    confidence: tuple[float | None, ...]


class Predictor:
    """Runs a network over the slices of a volume.

    Memory holds the volume, its mask and one batch of slices, however many slices there are.

    Args:
        network: trained, in evaluation mode.
        task: how voxels become its input.
        device: ``cpu``, ``cuda`` ...
        batch_size: slices at a time.
    """

    def __init__(self, network: MasgSamNetwork, task: Task, device: str = "cpu", batch_size: int = 8) -> None:
        self.network, self.task = network.to(device, memory_format=torch.channels_last).eval(), task
        self.device, self.batch_size = device, batch_size

    @torch.inference_mode()
    def segment(self, volume: Volume, prompts: Sequence[UserPrompt] = ()) -> Segmentation:
        """Segment one volume.

        Args:
            volume: its image, with the channels of the training images.
            prompts: clicks, boxes, rough masks; none are needed.

        Raises:
            ImageError: the number of channels is not that of the training images.
        """
        self._check(volume)
        sigma = 0.0 if volume.is_picture else SMOOTHING_MM / volume.spacing[self.task.axis]
        masks: list[np.ndarray] = []
        tally = _Tally(self.task.labels.num_classes)
        for probabilities in smooth_slices(self._probabilities(volume, prompts), sigma):
            probability, mask = probabilities.max(1)
            tally.add(mask, probability)
            masks.append(mask.to(torch.uint8).cpu().numpy())
        mask = from_slices(np.concatenate(masks), self.task.axis)
        return Segmentation(keep_largest(mask, self.task.single), tally.means())

    def _probabilities(self, volume: Volume, prompts: Sequence[UserPrompt]) -> Iterator[Tensor]:
        """Of each class in each slice, on the volume's own grid: ``B x K+1 x rows x columns``."""
        working = working_shape(volume, self.task)
        canvas = canvas_shape(working, self.task)
        native = in_plane(volume.shape, self.task.axis)
        book = PromptBook(prompts, self.task, volume.shape, working, canvas) if prompts else None
        done = 0
        for batch in network_batches(volume, self.task, self.batch_size):
            given = book.batch(range(done, done + len(batch))) if book is not None else None
            logits = self.network(batch.to(self.device), given.to(self.device) if given else None).logits
            logits = unpad(resize(logits.float(), canvas), working)  # B x K+1 x r x c
            yield resize(logits, native).softmax(1)
            done += len(batch)

    def _check(self, volume: Volume) -> None:
        wanted = len(self.task.channels)
        found = volume.data.shape[0]
        if found != wanted:
            raise ImageError(
                "another number of channels than the training images",
                path=volume.path,
                found=f"{found} channel{'s' if found > 1 else ''}",
                expected=f"{wanted} ({', '.join(self.task.channels)})",
                mend="give every channel as in training (nnU-Net: one file each, _0000, _0001, ...)",
            )


class _Tally:
    """Adds up probabilities by class."""

    def __init__(self, classes: int) -> None:
        self.sums = torch.zeros(classes + 1, dtype=torch.float64)
        self.counts = torch.zeros(classes + 1, dtype=torch.float64)

    def add(self, mask: Tensor, probability: Tensor) -> None:
        index = mask.flatten().cpu()
        self.counts += torch.bincount(index, minlength=len(self.counts))
        self.sums += torch.bincount(index, probability.flatten().double().cpu(), minlength=len(self.sums))

    def means(self) -> tuple[float | None, ...]:
        pairs = zip(self.sums[1:].tolist(), self.counts[1:].tolist(), strict=True)
        return tuple(round(total / count, 4) if count else None for total, count in pairs)
