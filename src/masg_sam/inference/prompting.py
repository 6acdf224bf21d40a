"""Clicks, boxes and rough masks of a user, in voxels of the volume, as the network takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from masg_sam.data.prompt_input import (
    BOX_END,
    BOX_START,
    MASK_STRIDE,
    NEGATIVE,
    PADDING,
    POSITIVE,
    SLOTS,
    rough_logits,
)
from masg_sam.data.slices import pad_to, resize_images
from masg_sam.data.task import Task
from masg_sam.errors import InputError
from masg_sam.models.sam.prompts import Prompts


@dataclass(frozen=True)
class Click:
    """A point on a class, or (``inside=False``) a point that is not of it.

    Attributes:
        at: voxel ``(z, y, x)`` of the volume as this package holds it; z is 0 in a picture.
        name: the class.
        inside: whether the point is of the class.
    """

    at: tuple[int, int, int]
    name: str
    inside: bool = True


@dataclass(frozen=True)
class Box:
    """A rectangle around a class in one slice: opposite corners, voxels ``(z, y, x)``."""

    start: tuple[int, int, int]
    end: tuple[int, int, int]
    name: str


@dataclass(frozen=True)
class RoughMask:
    """A mask to start from: ``Z x Y x X`` of 0 and 1, the volume's shape; several of a class are taken together."""

    mask: np.ndarray
    name: str


UserPrompt = Click | Box | RoughMask


def must_be_within(prompts: Sequence[UserPrompt], task: Task, shape: tuple[int, int, int]) -> None:
    """Make sure that prompts are of known classes and lie in the volume, each click and box in a slice.

    Args:
        prompts: what the user gave.
        task: classes and plane.
        shape: voxels of the volume along ``Z, Y, X``.

    Raises:
        InputError: one that does not.
    """
    for prompt in prompts:
        if prompt.name not in task.labels.names:
            expected = f"one of {', '.join(task.labels.names)}"
            raise InputError("prompt for an unknown class", found=prompt.name, expected=expected)
        if isinstance(prompt, RoughMask):
            if prompt.mask.shape != shape:
                raise InputError("rough mask of another shape", found=prompt.mask.shape, expected=f"{shape} (Z, Y, X)")
            continue
        places = [prompt.at] if isinstance(prompt, Click) else [prompt.start, prompt.end]
        for at in places:
            _must_lie_in_a_slice(at, task, shape)
        if len({at[task.axis] for at in places}) > 1:
            raise InputError("box over several slices", found=prompt, expected=f"one {task.plane} slice")


def _must_lie_in_a_slice(at: Sequence[float], task: Task, shape: tuple[int, int, int]) -> None:
    if len(at) != len(shape):
        raise InputError("a prompt is no place in the volume", found=at, expected="three numbers, z, y, x")
    if not all(0 <= i < n for i, n in zip(at, shape, strict=True)):
        raise InputError("prompt outside the volume", found=at, expected=f"z, y, x within {shape}")
    if at[task.axis] != int(at[task.axis]):
        raise InputError("a prompt between two slices", found=at, expected=f"a whole number of {task.plane} slices")


class PromptBook:
    """The prompts of a volume as the network takes them, looked up slice by slice.

    Args:
        prompts: what the user gave.
        task: classes and plane.
        shape: voxels of the volume along ``Z, Y, X``.
        working: rows and columns of a slice at the network's pixel size.
        canvas: rows and columns of the padded input.
    """

    def __init__(
        self,
        prompts: Sequence[UserPrompt],
        task: Task,
        shape: tuple[int, int, int],
        working: tuple[int, int],
        canvas: tuple[int, int],
    ) -> None:
        self.task, self.shape, self.working, self.canvas = task, shape, working, canvas
        self.points: dict[int, list[tuple[float, float, int, int]]] = {}
        self.masks: dict[int, np.ndarray] = {}  # by class
        must_be_within(prompts, task, shape)
        for prompt in prompts:
            self._add(prompt)

    def groups(self, slices: range) -> list[tuple[list[int], Prompts | None]]:
        """Which of consecutive slices go through the network together, with their prompts.

        Those of a group have equally many points: the decoder attends to padding too, and no slice's answer may depend
        on what comes with it.

        Args:
            slices: their numbers.

        Returns:
            For each group the places of its slices within ``slices``, and their prompts; ``None`` where they have none.
        """
        lengths = [max(SLOTS, len(self.points.get(index, []))) if self.touches(index) else 0 for index in slices]
        found: list[tuple[list[int], Prompts | None]] = []
        for length in sorted(set(lengths)):
            places = [place for place, own in enumerate(lengths) if own == length]
            found.append((places, self._prompts([slices[place] for place in places], length) if length else None))
        return found

    def touches(self, number: int) -> bool:
        """Whether a slice has a prompt."""
        return bool(self.masks) or number in self.points

    def _prompts(self, slices: list[int], length: int) -> Prompts:
        points = torch.zeros(len(slices), length, 2)
        kinds = torch.full((len(slices), length), PADDING)
        classes = torch.zeros_like(kinds)
        for row, index in enumerate(slices):
            for column, (x, y, kind, number) in enumerate(self.points.get(index, [])):
                points[row, column] = torch.tensor([x, y])
                kinds[row, column], classes[row, column] = kind, number
        return Prompts(points, kinds, classes, *self._dense(slices))

    def _dense(self, slices: list[int]) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        if not self.masks:
            return None, None
        count = self.task.labels.num_classes
        rows, columns = self.canvas
        masks = torch.zeros(len(slices), count, rows // MASK_STRIDE, columns // MASK_STRIDE)
        given = torch.zeros(len(slices), count)
        for number, mask in self.masks.items():
            block = torch.from_numpy(np.moveaxis(mask, self.task.axis, 0)[slices])
            inside = resize_images(block[:, None].float(), self.working)
            masks[:, number - 1] = torch.from_numpy(rough_logits(pad_to(inside, self.canvas)[:, 0].numpy()))
            given[:, number - 1] = 1
        return masks, given

    def _add(self, prompt: UserPrompt) -> None:
        number = self.task.labels.names.index(prompt.name) + 1
        if isinstance(prompt, RoughMask):
            self.masks[number] = self.masks.get(number, False) | (prompt.mask > 0)
        elif isinstance(prompt, Click):
            self._place(prompt.at, POSITIVE if prompt.inside else NEGATIVE, number)
        else:
            self._place(np.minimum(prompt.start, prompt.end).tolist(), BOX_START, number)
            self._place(np.maximum(prompt.start, prompt.end).tolist(), BOX_END, number)

    def _place(self, at: Sequence[float], kind: int, number: int) -> None:
        """From a voxel to input pixels: scale to the working shape, then the padding of the canvas."""
        inside = [(i, n) for axis, (i, n) in enumerate(zip(at, self.shape, strict=True)) if axis != self.task.axis]
        pixels = []
        for (i, n), work, whole in zip(inside, self.working, self.canvas, strict=True):
            pixels.append((i + 0.5) * work / n - 0.5 + (whole - work) // 2)
        self.points.setdefault(int(at[self.task.axis]), []).append((pixels[1], pixels[0], kind, number))
