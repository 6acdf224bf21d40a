"""Teaches a trained model how far to trust it: its own training cases, changed until it errs.

A few labels leave none to hold back. So blocks of the training cases are turned, scaled, blurred, made noisy and
unevenly bright, from hardly to far beyond what training showed, and the true Dice of each is set against what the
prediction says of itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from monai.transforms import RandAdjustContrast, RandAffined, RandBiasField, RandGaussianNoise, RandGaussianSmooth
from monai.utils import convert_to_numpy
from torch import Tensor

from masg_sam.data.borders import without_frame
from masg_sam.data.check import CaseSummary, read_case
from masg_sam.data.labels import IGNORED, LabelMap
from masg_sam.data.layouts import Case
from masg_sam.data.slices import empty_voxels
from masg_sam.data.task import Task
from masg_sam.data.volume import Volume
from masg_sam.inference.familiarity import Familiarity, intensity_percentiles
from masg_sam.inference.predictor import Predictor
from masg_sam.inference.quality import Calibration, Quality

BLOCK_SLICES = 16
DEEP_SLICES = 64  # of a block that is looked at in three planes, for a thin one shows them nothing
FEWEST_VOXELS = 20  # of a class, in its label or in the mask, to count
# What the hardest block may suffer.
TURN, SCALE, BLUR, NOISE, BIAS, GAMMA = math.pi / 4, 0.45, 2.0, 0.6, 0.6, 1.0
CHANCE = 0.6  # of each change


def calibrate(
    predictor: Predictor,
    cases: Sequence[Case],
    summaries: Sequence[CaseSummary],
    labels: LabelMap,
    blocks: int,
    seed: int,
) -> Quality | None:
    """Segment changed blocks of the training cases and learn from the result.

    Args:
        predictor: holds the trained network.
        cases: the training cases; those used are read again, one at a time.
        summaries: of all of them: voxel size, and voxels of each class.
        labels: what their label values mean.
        blocks: how many; half as many where volumes are looked at in three planes, which takes longer.
        seed: of everything random.

    Returns:
        What was learned; ``None`` where no class was found in any block.
    """
    task = predictor.task
    length, blocks = (DEEP_SLICES, math.ceil(blocks / 2)) if task.across else (BLOCK_SLICES, blocks)
    signals: list[dict[str, float]] = []
    dice: list[float] = []
    classes: list[int] = []
    embeddings, percentiles = [], []
    chosen = [cases[i] for i in np.linspace(0, len(cases) - 1, min(len(cases), blocks)).round().astype(int)]
    for i, case in enumerate(chosen):
        volume, truth = read_case(case)
        label = labels.encode(truth)
        volume, label = without_frame(volume, label, task.in_colour)  # noise would hide the frame
        percentiles.append(intensity_percentiles(volume, task))
        for block in range(i, blocks, len(chosen)):
            rng = np.random.default_rng((seed, block))
            image, target = change(
                *cut_block(volume, label, task.axis, length, rng), block / max(blocks - 1, 1), task, rng
            )
            found = predictor.segment(image)
            said = predictor.signals(image, found)
            embeddings.append(said.embedding)
            by_class = said.by_class()
            for k, true in class_dice(found.mask, target, labels.num_classes):
                signals.append({name: float(values[k]) for name, values in by_class.items()})
                classes.append(k)
                dice.append(true)
    if not dice:
        return None
    spacings = [] if task.pictures else [case.spacing for case in summaries]
    always = tuple(all(case.voxels[k] for case in summaries) for k in range(labels.num_classes))
    familiarity = Familiarity.fit(spacings, percentiles, embeddings)
    calibration = Calibration.fit(signals, dice, classes, labels.num_classes)
    return Quality(calibration, familiarity, always)


def class_dice(mask: np.ndarray, target: np.ndarray, classes: int) -> Iterator[tuple[int, float]]:
    """Number, from 0, and Dice of each class that was found and is not too small to count.

    Args:
        mask: what was found, ``Z x Y x X``.
        target: what is true; 255 for what nobody labelled, which does not count.
        classes: foreground classes K.
    """
    mask = np.where(target == IGNORED, 0, mask)
    for k in range(classes):
        one, two = mask == k + 1, target == k + 1
        if one.any() and max(one.sum(), two.sum()) >= FEWEST_VOXELS:
            yield k, 2 * int((one & two).sum()) / int(one.sum() + two.sum())


def cut_block(
    volume: Volume, label: np.ndarray, axis: int, length: int, rng: np.random.Generator
) -> tuple[Volume, np.ndarray]:
    """Neighbouring slices around one that holds a class.

    Args:
        volume: an image.
        label: its classes, ``Z x Y x X``.
        axis: of ``Z x Y x X``, along which the slices lie.
        length: slices, or all where there are fewer.
        rng: source of chance.
    """
    length = min(length, label.shape[axis])
    others = tuple(i for i in range(3) if i != axis)
    held = np.flatnonzero(((label > 0) & (label != IGNORED)).any(axis=others))
    middle = int(rng.choice(held)) if len(held) else label.shape[axis] // 2
    start = int(np.clip(middle - length // 2, 0, label.shape[axis] - length))
    numbers = np.arange(start, start + length)
    return replace(volume, data=volume.data.take(numbers, axis + 1)), label.take(numbers, axis)


def change(
    volume: Volume, label: np.ndarray, strength: float, task: Task, rng: np.random.Generator
) -> tuple[Volume, np.ndarray]:
    """Turn and scale within the slices, then blur, noise, uneven brightness and contrast, each by chance.

    Where a scan is empty, as beside a body that was cut out, it stays so.

    Args:
        volume: an image.
        label: its classes, ``Z x Y x X``.
        strength: 0 for none, 1 for the hardest.
        task: which way the slices lie.
        rng: source of chance.
    """
    image, target = _turned(volume.data, label, strength, task.axis, rng)
    low, high = np.percentile(image, (0.5, 99.5))
    spread = max(float(np.clip(image, low, high).std()), 1e-6)
    z, y, x = ((0.0, 0.0) if axis == task.axis else (BLUR * strength, BLUR * strength) for axis in range(3))
    changes = (
        RandGaussianSmooth(z, y, x, prob=CHANCE),
        RandBiasField(coeff_range=(0.0, BIAS * strength), prob=0.0 if low < 0 else CHANCE),
        RandAdjustContrast(prob=CHANCE, gamma=(max(1 - GAMMA * strength / 2, 0.5), 1 + GAMMA * strength)),
        RandGaussianNoise(prob=CHANCE, std=NOISE * strength * spread, sample_std=False),
    )
    result: np.ndarray | Tensor = torch.from_numpy(image)
    for one in changes if strength else ():
        one.set_random_state(int(rng.integers(2**31)))
        result = one(result)
    data = np.where(empty_voxels(image), image, convert_to_numpy(result)).astype(np.float32)
    return replace(volume, data=data), target


def _turned(
    image: np.ndarray, label: np.ndarray, strength: float, axis: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Turn and scale within the slices; the border is repeated outwards."""
    rotate = [TURN * strength if i == axis else 0.0 for i in range(3)]
    scale = [0.0 if i == axis else SCALE * strength for i in range(3)]
    turn = RandAffined(
        ("image", "label"),
        prob=1.0,
        rotate_range=rotate,
        scale_range=scale,
        mode=("bilinear", "nearest"),
        padding_mode="border",
    )
    turn.set_random_state(int(rng.integers(2**31)))
    changed = turn({"image": torch.from_numpy(image.copy()), "label": torch.from_numpy(label.copy())[None].float()})
    arrays = [convert_to_numpy(changed[name]) for name in ("image", "label")]
    return arrays[0], arrays[1][0].round().astype(label.dtype)
