"""What a user says of a mask, made to count: clicks, boxes and rough masks move the network's log probabilities.

A network that was trained on few labels hears its prompts and mostly follows the image. Here rough masks come first,
then boxes, then clicks, so that each holds over what came before. Clicks are joined by a Gaussian process, as in
interactive segmentation by Gaussian processes (Zhou et al., CVPR 2023), with nearness as its only kernel. What the
constants rest on stands in docs/explanation/what-was-tried.md.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from masg_sam.data.task import Task
from masg_sam.inference.prompting import Box, Click, RoughMask, UserPrompt

SURE = 2.0  # log odds that a click asks for, and a rough mask at the depth of its reach
NOISE = 0.1  # variance of what clicks say, that of the process being 1: near ones that disagree are blended
REACH = 0.5  # deviation of the kernel, in radii of a ball (in one slice a disc) as large as the class
LEAST_RADIUS = 1 / 40  # of the longest side of a slice, for a class that was hardly found
FOLLOWED = 3.5  # deviations that the kernel is followed to
MASK_REACH = 0.3  # in radii of the piece that was drawn
MOST = 10.0  # log odds that a rough mask moves its class by: more than the network is ever sure of
SPANNED = 0.7  # a class reaches at least this part of the height and of the width of its box
EXCLUDED = -15.0  # log probability of a class outside of its boxes, less than the network ever says

Voxel = tuple[int, int, int]
Shape = tuple[int, int, int]


class Corrections:
    """The prompts of a volume, as changes of its class probabilities.

    Args:
        prompts: clicks, boxes and rough masks, each within the volume.
        task: classes and plane.
        shape: voxels of the volume along ``Z, Y, X``.
        spacing: mm along the same axes; ones for a picture.
    """

    def __init__(
        self, prompts: Sequence[UserPrompt], task: Task, shape: Shape, spacing: tuple[float, float, float]
    ) -> None:
        self.names, self.axis = task.labels.names, task.axis
        self.shape, self.spacing = np.array(shape), np.array(spacing)
        self.clicks = [prompt for prompt in prompts if isinstance(prompt, Click)]
        self.boxes = [prompt for prompt in prompts if isinstance(prompt, Box)]
        self.masks = [prompt for prompt in prompts if isinstance(prompt, RoughMask)]
        self.least_radius = LEAST_RADIUS * float(np.delete(self.shape * self.spacing, task.axis).max())

    def apply(self, logs: Tensor, sizes: Sequence[float] | np.ndarray) -> tuple[Tensor, np.ndarray]:
        """Log probabilities moved to where the prompts want them; the given ones stay as they are.

        Args:
            logs: of all slices of the task's plane, ``S x K+1 x rows x columns`` of float16.
            sizes: voxels of each class 1..K by these.

        Returns:
            The same, and which slices a prompt reaches, ``S`` of bool.
        """
        result, touched = logs.clone(), np.zeros(len(logs), bool)
        volume = result.movedim(1, 0).movedim(1, self.axis + 1)  # K+1 x Z x Y x X, in the same memory
        for number, name in enumerate(self.names, start=1):
            if drawn := [mask.mask > 0 for mask in self.masks if mask.name == name]:
                self._follow_mask(volume[number], np.any(drawn, axis=0))
                touched[:] = True
        touched[self._keep_in_boxes(result)] = True
        if self.clicks:
            for i in np.flatnonzero(touched):  # masks and boxes add up to odds that no click overrules
                result[i] = result[i].float().log_softmax(0).clamp(min=EXCLUDED).half()
        self._hear_clicks(volume, sizes, touched)
        return result, touched

    def told(self) -> list[list[Any]]:
        """For each class 1..K the places ``z, y, x`` that the user gave it, as indices of an array ``Z x Y x X``."""
        places: dict[str, list[Any]] = defaultdict(list)
        for click in self.clicks:
            if click.inside:
                places[click.name].append(self._voxel(click.at))
        for box in self.boxes:
            places[box.name].append(self._window(box))
        for mask in self.masks:
            places[mask.name].append(mask.mask > 0)
        return [places[name] for name in self.names]

    def _radii(self, voxels: Sequence[float] | np.ndarray) -> np.ndarray:
        """Of balls of so many voxels in mm, in a single slice of discs; none too small to speak of."""
        extended = self.shape > 1
        size = np.asarray(voxels) * self.spacing[extended].prod()
        radii = np.sqrt(size / math.pi) if extended.sum() < 3 else np.cbrt(3 * size / (4 * math.pi))
        return np.maximum(radii, self.least_radius)

    def _follow_mask(self, logs: Tensor, mask: np.ndarray) -> None:
        """Move a class ``Z x Y x X`` towards a rough mask, by the square of the depth in it, or of the way to it."""
        if mask.all() or not mask.any():
            logs += MOST if mask.any() else -MOST
            return
        reach = MASK_REACH * self._radii(mask.sum())
        margin = np.ceil(reach * math.sqrt(MOST / SURE) / self.spacing).astype(int) + 1  # beyond it all is moved alike
        place = tuple(
            slice(max(int(ends.min()) - edge, 0), int(ends.max()) + edge + 1)
            for ends, edge in zip(np.nonzero(mask), margin, strict=True)
        )
        near = mask[place]
        pieces, count = ndimage.label(near, np.ones((3, 3, 3)))
        radii = self._radii(np.bincount(pieces.ravel(), minlength=count + 1))
        inside = ndimage.distance_transform_edt(near, self.spacing) / (MASK_REACH * radii[pieces])
        outside = ndimage.distance_transform_edt(~near, self.spacing) / reach
        move = (SURE * (inside**2 - outside**2)).clip(-MOST, MOST)
        kept = logs[place] + torch.from_numpy(move).half()
        logs -= MOST
        logs[place] = kept

    def _keep_in_boxes(self, slices: Tensor) -> list[int]:
        """In a slice with boxes, a class lies within them, and reaches most of their height and width.

        Args:
            slices: log probabilities ``S x K+1 x rows x columns``, changed in place.

        Returns:
            Numbers of the slices with boxes.
        """
        windows: dict[tuple[int, int], list[tuple[slice, slice]]] = defaultdict(list)  # by slice and class
        for box in self.boxes:
            window = list(self._window(box))
            index = window.pop(self.axis).start
            windows[index, self.names.index(box.name) + 1].append((window[0], window[1]))
        before = {index: slices[index].float() for index, _ in windows}
        for (index, number), places in windows.items():
            result = torch.full_like(before[index][number], EXCLUDED)
            for rows, columns in places:
                inside = before[index][:, rows, columns]
                odds = _odds(inside, number)
                lifted = inside[number] + max(_lift(odds.amax(0)), _lift(odds.amax(1)))
                result[rows, columns] = torch.maximum(result[rows, columns], lifted)
            slices[index, number] = result.half()
        return list(before)

    def _hear_clicks(self, logs: Tensor, sizes: Sequence[float] | np.ndarray, touched: np.ndarray) -> None:
        """Move log probabilities ``K+1 x Z x Y x X`` around clicks, and mark the slices that these reach."""
        at = np.array([self._voxel(click.at) for click in self.clicks]).reshape(-1, 3)
        deviations = REACH * self._radii(sizes)[:, None] / self.spacing  # K x 3, in voxels
        weights = {}
        for number, name in enumerate(self.names, start=1):
            if not any(click.name == name for click in self.clicks):
                continue
            deviation = deviations[number - 1]
            heard = [i for i, click in enumerate(self.clicks) if click.name == name or click.inside]
            lacks = [  # clicks on other classes hold this one where it is
                _lack(logs[:, z, y, x], number, self.clicks[i].inside) if self.clicks[i].name == name else 0.0
                for i, (z, y, x) in zip(heard, at[heard].tolist(), strict=True)
            ]
            kernel = np.exp(-0.5 * (((at[heard, None] - at[heard]) / deviation) ** 2).sum(-1))
            weights[number] = deviation, heard, np.linalg.solve(kernel + NOISE * np.eye(len(heard)), lacks)
        for number, (deviation, heard, moves) in weights.items():  # now that all lacks are known
            for i, weight in zip(heard, moves.tolist(), strict=True):
                if abs(weight) > 1e-3:
                    self._move_around(logs[number], at[i], weight, deviation, touched)

    def _move_around(
        self, logs: Tensor, at: np.ndarray, weight: float, deviation: np.ndarray, touched: np.ndarray
    ) -> None:
        """Add a bell of a height around a voxel to a class ``Z x Y x X``."""
        first = np.maximum(np.ceil(at - FOLLOWED * deviation), 0).astype(int)
        end = np.minimum(np.floor(at + FOLLOWED * deviation) + 1, self.shape).astype(int)
        z, y, x = (
            torch.exp(-0.5 * ((torch.arange(a, b) - middle) / width) ** 2)
            for a, b, middle, width in zip(first, end, at, deviation, strict=True)
        )
        bell = weight * z[:, None, None] * y[:, None] * x
        logs[first[0] : end[0], first[1] : end[1], first[2] : end[2]] += bell.half()
        touched[first[self.axis] : end[self.axis]] = True

    def _window(self, box: Box) -> tuple[slice, slice, slice]:
        """A box's voxels, one of them along the task's axis."""
        corners = np.sort([self._voxel(box.start), self._voxel(box.end)], axis=0).tolist()  # 2 x 3
        z, y, x = (slice(start, end + 1) for start, end in zip(*corners, strict=True))
        return z, y, x

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
    return max(0.0, 0.05 - float(last))
