"""From stored voxel values to the range the network reads; fitted once and kept with the model."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np
from scipy import ndimage

from masg_sam.data.borders import is_colour
from masg_sam.data.labels import IGNORED
from masg_sam.data.volume import Volume

SAM_MEAN, SAM_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
MOST_VOXELS = 200_000  # sampled from a volume when percentiles are taken
PADDED = 0.1  # part of the voxels that have the corner's value, for it to be that of no tissue
CORNER = 4  # voxels along each axis that have it too; of the noise of air they have not
NEAR = 1e-3  # of the range of the values, is the same value
FARTHEST = 3.0  # deviations, of background; SAM knows nothing darker than -2.1, and scans are padded with -1000 too
SPAN = 1.73  # a uniform distribution from -1.73 to 1.73 has unit deviation
KNOTS = 33
MARGIN = 8  # voxels around the labels that count as their surroundings
GROUP_VOXELS = 50_000
Kind = Literal["curve", "scan", "colour"]


@dataclass(frozen=True)
class Intensity:
    """How the voxels of a volume become network input of about zero mean and unit deviation.

    Attributes:
        kind: ``curve`` maps stored values by one fixed curve for every scan (CT, whose values mean the same
            everywhere); ``scan`` takes clip, mean and deviation from each volume's own non-background voxels (MR,
            X-ray, ultrasound, grey pictures); ``colour`` is SAM's own normalisation of 8-bit RGB.
        curve: stored values at evenly spaced levels of the curve, ascending, one row a channel.
    """

    kind: Kind
    curve: tuple[tuple[float, ...], ...] = ()

    def __call__(self, data: np.ndarray) -> np.ndarray:
        """Normalise ``C x Z x Y x X``; float32 in and out."""
        if self.kind == "colour":
            return _scale(data, np.array(SAM_MEAN), np.array(SAM_STD))
        if self.kind == "curve":
            levels = np.linspace(-SPAN, SPAN, len(self.curve[0]))
            found = np.empty(data.shape, np.float32)
            for channel, curve in enumerate(self.curve):
                for number, one in enumerate(data[channel]):  # slice by slice, for it computes in float64
                    found[channel, number] = np.interp(one, curve, levels)
            return found
        found = np.empty(data.shape, np.float32)
        for channel, place in zip(data, found, strict=True):
            _own_range(channel, place)
        return found


def fit_intensity(cases: Iterable[tuple[Volume, np.ndarray]], modality: str) -> Intensity:
    """Choose the kind from the modality and fit what it needs.

    One window that holds bone leaves soft tissues alike. So the curve of CT gives each range of values contrast
    by how much tissue lies there: half of it is a straight window, half the distribution of the values in and
    around the classes, each class counting alike.

    Args:
        cases: volumes with their encoded labels ``Z x Y x X``.
        modality: ``CT``, ``MRI``, ``endoscopy`` ...
    """
    iterator = iter(cases)
    first = next(iterator)
    if is_colour(first[0]):  # so are all others then, or they are grey pictures of three channels, and this one is dark
        return Intensity("colour" if all(is_colour(volume) for volume, _ in iterator) else "scan")
    if not is_ct(modality):
        return Intensity("scan")
    return Intensity("curve", _fit_curves(chain([first], iterator)))


def is_ct(modality: str) -> bool:
    """Whether a modality's name says computed tomography."""
    return modality.strip().lower() in ("ct", "cta", "cbct", "computed tomography", "cect", "ldct")


def _fit_curves(cases: Iterable[tuple[Volume, np.ndarray]]) -> tuple[tuple[float, ...], ...]:
    """One ascending row of stored values a channel."""
    rng = np.random.default_rng(0)
    groups: dict[int, list[np.ndarray]] = {}
    for volume, label in cases:
        held = (label > 0) & (label != IGNORED)
        if not held.any():
            continue
        around = ndimage.binary_dilation(held, iterations=MARGIN) & ~held
        for value in (*([0] if around.any() else []), *np.unique(label[held])):
            inside = around if value == 0 else label == value
            values = volume.data[:, inside]
            groups.setdefault(int(value), []).append(values[:, rng.integers(values.shape[1], size=GROUP_VOXELS)])
    balanced = np.concatenate([part for parts in groups.values() for part in _evenly(parts)], axis=1)  # C x N
    return tuple(_curve(channel) for channel in balanced)


def _evenly(parts: list[np.ndarray]) -> list[np.ndarray]:
    """The same number of voxels from every class, however many cases show it."""
    return [part[:, : GROUP_VOXELS // len(parts)] for part in parts]


def _curve(values: np.ndarray) -> tuple[float, ...]:
    """Half straight window, half distribution, inverted at evenly spaced levels."""
    low, high = np.percentile(values, (0.5, 99.5))
    high = max(high, low + 1.0)
    grid = np.linspace(low, high, 4 * KNOTS)
    distribution = np.searchsorted(np.sort(values), grid, side="right") / len(values)
    level = (grid - low) / (high - low) / 2 + distribution / 2
    level = (level - level[0]) / (level[-1] - level[0])
    return tuple(np.interp(np.linspace(0, 1, KNOTS), level, grid).round(3).tolist())


def thinned(channel: np.ndarray, most: int) -> np.ndarray:
    """About so many voxels of a larger volume, evenly through it and through every slice.

    Args:
        channel: ``Z x Y x X``.
        most: voxels.
    """
    return channel.ravel()[:: even_stride(channel.shape, most)]


def even_stride(shape: tuple[int, ...], most: int) -> int:
    """How far apart voxels lie of which about so many are taken from ``... x Y x X``, evenly, as one row.

    It shares no factor with the sides of a slice, or all would lie in a few columns.
    """
    stride, area = max(1, math.prod(shape) // most), math.prod(shape[-2:])
    while math.gcd(stride, area) > 1:
        stride += 1
    return stride


def _own_range(channel: np.ndarray, found: np.ndarray) -> None:
    """Clip to the 0.5 and 99.5 percentile of what is not background, then standardise by the same voxels.

    Background stays apart from what is clipped, but no more than :data:`FARTHEST` deviations from the mean.

    Args:
        channel: ``Z x Y x X``.
        found: the same of float32, to write to: a scan fills enough memory without copies.
    """
    sample = thinned(channel, MOST_VOXELS)
    background, inside = _without_background(channel, sample)
    low, high = np.percentile(inside, (0.5, 99.5))
    inside = np.clip(inside, low, high)
    mean, deviation = inside.mean(), max(float(inside.std()), 1e-6)
    background = np.clip(background, mean - FARTHEST * deviation, mean + FARTHEST * deviation)
    np.subtract(channel, np.float32(mean), out=found)
    np.clip(found, np.float32(min(low, background) - mean), np.float32(max(high, background) - mean), out=found)
    found /= np.float32(deviation)


def _without_background(channel: np.ndarray, sample: np.ndarray) -> tuple[float, np.ndarray]:
    """The value around what was cut out or padded, and the sampled voxels of other values; all where that is none.

    It is the corner's where all voxels near the corner have it, and many others; else the lowest. It need not be the
    lowest: resampling leaves values below zero beside a brain without its skull, and scans that were standardised
    before have half of their tissue there. Nor do all such voxels have exactly one value after resampling.
    """
    low, high = np.percentile(sample, (0.5, 99.5))
    corner, near = float(channel.flat[0]), NEAR * (high - low)
    padded = np.abs(sample - corner) <= near
    if padded.mean() < PADDED or (np.abs(channel[:CORNER, :CORNER, :CORNER] - corner) > near).any():
        corner = float(sample.min())
        padded = sample == corner
    return corner, sample if padded.all() else sample[~padded]


def _scale(data: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    shape = (-1, 1, 1, 1)
    return ((data - mean.reshape(shape)) / std.reshape(shape)).astype(np.float32)
