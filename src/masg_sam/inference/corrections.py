"""What a user says of a mask, made to count: clicks, boxes and rough masks move the network's log probabilities.

A network that was trained on few labels hears its prompts and mostly follows the image. Here each of them holds, or
nearly so, and reaches as far as the class is large. Clicks are joined by a Gaussian process, as in interactive
segmentation by Gaussian processes (Zhou et al., CVPR 2023), with nearness as its only kernel. What the constants rest
on stands in docs/explanation/what-was-tried.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from masg_sam.data.task import Task
from masg_sam.data.volume import Volume
from masg_sam.inference.prompting import Box, Click, RoughMask, UserPrompt

SURE = 2.0  # log odds that a prompt asks for
NOISE = 0.1  # variance of what clicks say, that of the process being 1: near ones that disagree are blended
REACH = 0.5  # deviation of the kernel, in radii of a ball (in pictures a disc) as large as the class
LEAST_RADIUS = 1 / 40  # of the longest side of a slice, for a class that was hardly found
FOLLOWED = 3.5  # deviations that the kernel is followed to
SPANNED = 0.7  # a class reaches at least this part of the height and of the width of its box
EXCLUDED = -20.0  # log probability of a class outside of its boxes

Voxel = tuple[int, int, int]
Place = tuple[slice, slice, slice]
EVERYWHERE: Place = (slice(None), slice(None), slice(None))


class Corrections:
    """The prompts of a volume, as changes of its class probabilities.

    Args:
        prompts: clicks, boxes and rough masks, each within the volume.
        volume: its image.
        task: classes and plane.
    """

    def __init__(self, prompts: Sequence[UserPrompt], volume: Volume, task: Task) -> None:
        self.task, self.flat = task, volume.is_picture
        self.shape, self.spacing = np.array(volume.shape), np.array(volume.spacing)
        self.clicks = [prompt for prompt in prompts if isinstance(prompt, Click)]
        self.boxes = [prompt for prompt in prompts if isinstance(prompt, Box)]
        self.masks = [prompt for prompt in prompts if isinstance(prompt, RoughMask)]
        in_plane = np.delete(self.shape * self.spacing, task.axis)
        self.least_radius = LEAST_RADIUS * float(in_plane.max())

    def apply(self, logs: Tensor, sizes: Sequence[float] | np.ndarray) -> tuple[Tensor, np.ndarray]:
        """Log probabilities moved to where the prompts want them; the given ones stay as they are.

        Args:
            logs: of all slices of the task's plane, ``S x K+1 x rows x columns`` of float16.
            sizes: voxels of each class 1..K by these.

        Returns:
            The same, and which slices may have changed, ``S`` of bool.
        """
        result, touched = logs.clone(), np.zeros(len(logs), bool)
        volume = result.movedim(1, 0).movedim(1, self.task.axis + 1)  # K+1 x Z x Y x X, in the same memory
        for number, place, move in list(self._moves(volume, sizes)):  # each found from what the network said
            volume[number][place] += move.half()
            touched[place[self.task.axis]] = True
        for number, name in enumerate(self.task.labels.names, start=1):
            touched[self._keep_in_boxes(result, number, [box for box in self.boxes if box.name == name])] = True
        return result, touched

    def clicked(self) -> list[list[Voxel]]:
        """For each class 1..K the voxels ``z, y, x`` that were clicked on as being of it."""
        names = self.task.labels.names
        return [[self._voxel(c.at) for c in self.clicks if c.inside and c.name == name] for name in names]

    def _moves(self, logs: Tensor, sizes: Sequence[float] | np.ndarray) -> Iterator[tuple[int, Place, Tensor]]:
        """Class, place and change of its log probability, for rough masks and clicks."""
        for number, name in enumerate(self.task.labels.names, start=1):
            drawn = [mask.mask > 0 for mask in self.masks if mask.name == name]
            if drawn:
                yield number, EVERYWHERE, self._mask_move(np.any(drawn, axis=0))
            if any(click.name == name for click in self.clicks):
                yield number, *self._click_move(logs, number, name, self._reach(sizes[number - 1]))

    def _reach(self, voxels: float) -> float:
        """How far a class of so many voxels lets a prompt speak: mm, in pictures pixels."""
        if self.flat:
            radius = math.sqrt(voxels / math.pi)
        else:
            radius = float((3 * voxels * self.spacing.prod() / (4 * math.pi)) ** (1 / 3))
        return REACH * max(radius, self.least_radius)

    def _mask_move(self, mask: np.ndarray) -> Tensor:
        """By how much a rough mask moves its class: towards it, the more the farther from its border."""
        reach, far = self._reach(int(mask.sum())), float(np.linalg.norm(self.shape * self.spacing))
        inside = np.full(mask.shape, far) if mask.all() else ndimage.distance_transform_edt(mask, self.spacing)
        outside = ndimage.distance_transform_edt(~mask, self.spacing) if mask.any() else np.full(mask.shape, far)
        return torch.from_numpy((SURE * (inside - outside) / reach).astype(np.float32))

    def _click_move(self, logs: Tensor, number: int, name: str, reach: float) -> tuple[Place, Tensor]:
        """Where and by how much clicks move a class; those on other classes hold it where it is."""
        clicks = [click for click in self.clicks if click.name == name or click.inside]
        at = np.array([self._voxel(click.at) for click in clicks])  # n x 3
        lacks = [_lack(logs[:, z, y, x], number, c.inside) for c, (z, y, x) in zip(clicks, at, strict=True)]
        wanted = [lack if click.name == name else 0.0 for click, lack in zip(clicks, lacks, strict=True)]
        deviation = reach / self.spacing  # in voxels
        kernel = np.exp(-0.5 * (((at[:, None] - at) / deviation) ** 2).sum(-1))
        weights = np.linalg.solve(kernel + NOISE * np.eye(len(at)), wanted)
        first = np.maximum(np.ceil(at.min(0) - FOLLOWED * deviation), 0).astype(int)
        end = np.minimum(np.floor(at.max(0) + FOLLOWED * deviation) + 1, self.shape).astype(int)
        axes = [np.arange(a, b) - at[:, i, None] for i, (a, b) in enumerate(zip(first, end, strict=True))]
        bells = [np.exp(-0.5 * (steps / deviation[i]) ** 2) for i, steps in enumerate(axes)]  # n x voxels of the axis
        move = np.einsum("n,nz,ny,nx->zyx", weights, *bells, optimize=True)
        z, y, x = (slice(a, b) for a, b in zip(first.tolist(), end.tolist(), strict=True))
        return (z, y, x), torch.from_numpy(move)

    def _keep_in_boxes(self, slices: Tensor, number: int, boxes: Sequence[Box]) -> list[int]:
        """In a slice with boxes, a class lies within them, and reaches most of their height and width.

        Args:
            slices: log probabilities ``S x K+1 x rows x columns``, changed in place.
            number: of the class.
            boxes: of the class.

        Returns:
            Numbers of the slices with boxes.
        """
        windows: dict[int, list[tuple[slice, slice]]] = {}
        for box in boxes:
            corners = np.sort([self._voxel(box.start), self._voxel(box.end)], axis=0)  # 2 x 3
            (top, left), (bottom, right) = np.delete(corners, self.task.axis, axis=1)
            window = slice(top, bottom + 1), slice(left, right + 1)
            windows.setdefault(int(corners[0, self.task.axis]), []).append(window)
        for index, places in windows.items():
            result = torch.full_like(slices[index, number], EXCLUDED)
            for rows, columns in places:
                inside = slices[index, :, rows, columns].float()
                odds = _odds(inside, number)
                lift = max(_lift(odds.amax(0)), _lift(odds.amax(1)))
                result[rows, columns] = torch.maximum(result[rows, columns], (inside[number] + lift).half())
            slices[index, number] = result
        return list(windows)

    def _voxel(self, at: Sequence[float]) -> Voxel:
        """The voxel that a place, which may lie between two, is in."""
        z, y, x = (min(math.floor(i + 0.5), int(n) - 1) for i, n in zip(at, self.shape, strict=True))
        return z, y, x


def _odds(logs: Tensor, number: int) -> Tensor:
    """Log odds of a class against the likeliest other one, from log probabilities ``K+1 x ...``."""
    return logs[number] - torch.cat([logs[:number], logs[number + 1 :]]).amax(0)


def _lack(logs: Tensor, number: int, inside: bool) -> float:
    """What the class lacks to be :data:`SURE` at a voxel, or to be as surely absent; 0 where it is."""
    odds = float(_odds(logs.float(), number))
    return max(SURE - odds, 0.0) if inside else min(-SURE - odds, 0.0)


def _lift(odds: Tensor) -> float:
    """What lets at least :data:`SPANNED` of the rows, or columns, hold a class: their best log odds are given."""
    last = odds.sort(descending=True).values[math.ceil(SPANNED * len(odds)) - 1]
    return max(0.0, 0.01 - float(last))
