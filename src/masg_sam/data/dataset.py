"""Training samples: which slice, how it is changed, and which prompt comes with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from masg_sam.data.augment import Augmentation
from masg_sam.data.borders import without_frame
from masg_sam.data.labels import IGNORED
from masg_sam.data.simulated_prompts import simulate_prompt
from masg_sam.data.slices import cut_around, resize_images, resize_labels, to_slices, with_neighbours, working_shape
from masg_sam.data.task import Task
from masg_sam.data.volume import Volume
from masg_sam.errors import LabelError

AROUND = 1.7  # of the window, is cut out of a larger slice: what turning and scaling may bring in
FOREGROUND_PART = 0.7  # of the samples, aimed at a class


@dataclass(frozen=True)
class TrainingCase:
    """A case in memory, at the network's pixel size.

    Attributes:
        name: of the case.
        images: ``S x C x r x c`` float32, normalised.
        labels: ``S x r x c`` uint8, classes 0..K, and 255 for what nobody labelled.
    """

    name: str
    images: Tensor
    labels: Tensor


def prepare_case(name: str, volume: Volume, label: np.ndarray, task: Task) -> TrainingCase:
    """Normalise and resample one labelled case; of a picture what is inside of its black frame.

    Args:
        name: of the case.
        volume: its image.
        label: classes ``Z x Y x X`` of uint8.
        task: how images become network input.
    """
    volume, label = without_frame(volume, label, task.in_colour)
    shape = working_shape(volume, task)
    images = torch.from_numpy(np.ascontiguousarray(to_slices(task.intensity(volume.data), task.axis)))
    labels = torch.from_numpy(np.ascontiguousarray(np.moveaxis(label, task.axis, 0)))
    return TrainingCase(name, resize_images(images, shape), resize_labels(labels, shape))


class TrainingSamples(TorchDataset):
    """An endless list of samples; item ``i`` is the same in every run with the same seed.

    That is what makes a resumed run equal to an undisturbed one: there is no state to lose.

    Args:
        cases: labelled cases in memory.
        task: classes and input size.
        length: number of samples, steps times batch size.
        seed: of everything random.
        prompts: part of the samples that come with a prompt.

    Raises:
        LabelError: every label vanished when it was brought to the network's pixel size.
    """

    def __init__(
        self,
        cases: Iterable[TrainingCase],
        task: Task,
        length: int,
        seed: int,
        prompts: float,
    ) -> None:
        self.cases, self.task, self.length, self.seed = list(cases), task, length, seed
        self.prompts = prompts
        self.around = (round(AROUND * task.size[0]), round(AROUND * task.size[1]))
        self.augmentation = Augmentation(task.size, task.mirror, task.intensity.kind == "colour")
        classes = range(1, task.labels.num_classes + 1)
        holding = {k: [_slices_with(case.labels, k) for case in self.cases] for k in classes}
        self.holding = {k: lists for k, lists in holding.items() if any(map(len, lists))}
        self.labelled = [np.flatnonzero((case.labels != IGNORED).flatten(1).any(1).numpy()) for case in self.cases]
        if not self.holding:
            raise LabelError(
                "no labelled pixel is left at the network's pixel size",
                found=f"pixels of {task.pixel:.2f} mm" if task.pixel else f"pictures of {max(task.size)} pixels",
                mend="set a larger --data.size",
            )

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One sample: ``image`` C x H x W, ``label`` H x W, and the parts of its prompt."""
        rng = np.random.default_rng((self.seed, index))
        case, number, aim = self._choose(rng)
        reach = self.task.reach
        image = with_neighbours(case.images, number, reach) if reach else case.images[number]
        label = case.labels[number]
        if any(length > most for length, most in zip(label.shape, self.task.size, strict=True)):
            middle = _middle_of_window(label, aim, self.task.size, rng)
            image, label = (cut_around(one, middle, self.around) for one in (image, label))
        image, label = self.augmentation(image, label, int(rng.integers(2**31)))
        prompt = simulate_prompt(label.numpy(), self.task.labels.num_classes, self.prompts, rng)
        return {"image": image, "label": label} | prompt

    def _choose(self, rng: np.random.Generator) -> tuple[TrainingCase, int, int | None]:
        """A slice that holds a class drawn at random, and that class; or any labelled slice of any case."""
        aim, lists = None, self.labelled
        if rng.random() < FOREGROUND_PART:
            aim = int(rng.choice(list(self.holding)))
            lists = self.holding[aim]
        number = int(rng.choice([i for i, found in enumerate(lists) if len(found)]))
        return self.cases[number], int(rng.choice(lists[number])), aim


class AlternatingPlanes(TorchDataset):
    """Samples of several planes, batch by batch: all samples of a batch are of one plane, and so of one size.

    Args:
        planes: samples of each.
        batch_size: samples that follow each other in one plane.
    """

    def __init__(self, planes: Sequence[TrainingSamples], batch_size: int) -> None:
        self.planes, self.batch_size = list(planes), batch_size

    def __len__(self) -> int:
        return len(self.planes[0])

    def __getitem__(self, index: int) -> dict[str, Any]:
        """As of :class:`TrainingSamples`."""
        return self.planes[self.plane_of(index)][index]

    def plane_of(self, index: int) -> int:
        """Which of the planes an item is of."""
        return index // self.batch_size % len(self.planes)


def _middle_of_window(
    label: Tensor, aim: int | None, size: tuple[int, int], rng: np.random.Generator
) -> tuple[int, int]:
    """Where to look: a pixel of the class aimed at comes into the middle half of the window, where it can."""
    shape = (label.shape[0], label.shape[1])
    if aim is None:
        at = rng.random(2) * shape
    else:
        found = torch.nonzero(label == aim).numpy()
        at = found[rng.integers(len(found))] + (rng.random(2) - 0.5) * np.array(size) / 2
    # A window looks past the edge of the slice no more than it has to.
    half = [min(length, most) / 2 for length, most in zip(shape, size, strict=True)]
    row, column = (int(np.clip(v, h, n - h)) for v, h, n in zip(at, half, shape, strict=True))
    return row, column


def _slices_with(labels: Tensor, value: int) -> np.ndarray:
    return np.flatnonzero((labels == value).flatten(1).any(1).numpy())
