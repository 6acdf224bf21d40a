"""What a run does with its data, decided from the data: plane, pixel size, input size, steps."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage

from masg_sam.config import Config, DataConfig, ModelConfig
from masg_sam.data.check import CaseSummary
from masg_sam.data.intensity import Intensity
from masg_sam.data.labels import IGNORED, LabelMap
from masg_sam.data.slices import in_plane, round_up
from masg_sam.data.task import PLANES, Task, choose_plane
from masg_sam.errors import ConfigError

log = logging.getLogger(__name__)
LOCATED = ("clip", "vectors", "shuffled")  # sources of class texts that are somewhere
LEAST_SIDE, MOST_SIDE = 128, 224  # pixels of the longest side of a scan's slices, when the user names none
PICTURE_SIDE = 320  # the same of pictures; see docs/explanation/what-was-tried.md
ZOOM = 1.5  # a small slice is enlarged by this much, for SAM's decoder is coarse
MOST_ZOOM, MOST_ACROSS = 3.0, 512  # beyond them finer pixels show nothing new, or cost too much
LEAST_WIDTH = 10.0  # input pixels across the smallest class; see docs/explanation/what-was-tried.md
MEGAPIXELS = {1: 160.0, 3: 200.0}  # seen by a run, by the planes it cuts; see docs/explanation/what-was-tried.md
LONGEST_VOXEL = 2.1  # by its shortest side, up to which volumes are cut in three planes
LEAST_DEPTH, MOST_VOXELS = 24, 2**24  # of such a volume; a larger one would take minutes
FEWEST_STEPS, MOST_STEPS = 200, 600  # in each plane
MOST_WINDOWS = 2.0  # times these, where the input is a window on the slice
NEIGHBOUR_MM, MOST_REACH = 2.0, 3  # how far away a slice's neighbours are; no more slices than so many
SINGLE_PART = 0.99  # of a label's voxels in its largest piece, to count as one piece
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # of names like left_lung, LeftLung, lungL
SIDES = {"left", "right", "l", "r", "lt", "rt", "lh", "rh"}


@dataclass(frozen=True)
class Grid:
    """How slices are laid on the network's input.

    Attributes:
        plane: the slices' plane.
        pixel: side of an input pixel in mm, 0 for pictures.
        size: rows and columns of the input; a slice that is larger is seen window by window.
        windows: of that size to a slice, by area; 1 where it holds the whole slice.
        across: the size in the other planes that volumes are cut in.
    """

    plane: str
    pixel: float
    size: tuple[int, int]
    windows: float = 1.0
    across: dict[str, tuple[int, int]] = field(default_factory=dict)


def check_settings(config: ModelConfig) -> None:
    """Refuse settings of the network that would have no effect beside the others.

    Raises:
        ConfigError: a setting of another encoder, or of another source of class texts.
    """
    encoder, dsf = config.encoder, config.dsf
    unused: list[tuple[str, Any, str, str]] = []
    if encoder.name == "mobile-sam":
        unused.append(("encoder.taps", encoder.taps, "an encoder that is a ViT", "none"))
        unused.append(("encoder.checkpointing", encoder.checkpointing, "an encoder that is a ViT", "false"))
    if dsf.text not in LOCATED:
        unused.append(("dsf.location", dsf.location, f"model.dsf.text {' or '.join(LOCATED)}", "none"))
    for name, value, expected, without in unused:
        if value:
            raise ConfigError(
                f"setting model.{name} would have no effect",
                found=value,
                expected=expected,
                mend=f"--model.{name} {without}, or change the other",
            )


def plan_grid(cases: Sequence[CaseSummary], labels: Sequence[np.ndarray], config: Config) -> Grid:
    """Choose plane, pixel size and input size for the training cases.

    Scans keep one pixel size in mm, so that an organ has the same size in every scan. Their longest side is
    enlarged by 1.5, within 128 to 224 pixels. Where that leaves the smallest class fewer than 10 pixels wide, pixels
    are made finer, and the input is a window on the slice. Pictures are scaled to 320 pixels on the longest side,
    that of what a black frame holds.

    Args:
        cases: what the check found of each case.
        labels: classes of each case, ``Z x Y x X``.
        config: ``data.size``, ``data.pixel`` and ``data.plane`` overrule; of pictures ``data.size`` alone.
    """
    wanted = config.data.size
    if all(case.picture for case in cases):
        _tell_unused(config.data)
        longest = float(wanted or PICTURE_SIDE)
        shapes = np.array([case.content or case.shape[1:] for case in cases])
        sides = longest * shapes / shapes.max(1, keepdims=True)
        return Grid(PLANES[0], 0.0, _canvas(sides))
    best = choose_plane([case.shape for case in cases], [case.spacing for case in cases])
    plane = best if config.data.plane == "auto" else config.data.plane
    axis = PLANES.index(plane)
    spacings = np.array([in_plane(case.spacing, axis) for case in cases])  # cases x 2, mm
    extents = _extents(cases, axis)
    native = float(np.median(spacings.min(1)))
    longest = float(np.median(extents.max(1)))
    side = wanted or int(np.clip(ZOOM * longest / native, LEAST_SIDE, MOST_SIDE))
    whole = longest / side  # mm
    fine = min(class_widths(labels, spacings, axis), default=np.inf) / LEAST_WIDTH
    pixel = config.data.pixel or min(whole, max(fine, native / MOST_ZOOM, longest / MOST_ACROSS))
    step = max(whole, pixel)
    others = [other for other in PLANES if other != plane] if plan_planes(cases, config) == 3 else []
    across = {other: _canvas(_extents(cases, PLANES.index(other)) / step) for other in others}
    return Grid(plane, pixel, _canvas(extents / step), max(whole / pixel, 1.0) ** 2, across)


def plan_planes(cases: Sequence[CaseSummary], config: Config) -> int:
    """Three where all training volumes are deep enough for them, not too large, and of voxels that are not too long."""
    if config.data.planes is not None:
        return config.data.planes
    short = all(max(case.spacing) <= LONGEST_VOXEL * min(case.spacing) for case in cases)
    deep = all(min(case.shape) >= LEAST_DEPTH for case in cases)
    small = all(np.prod(case.shape) <= MOST_VOXELS for case in cases)
    return 3 if short and deep and small else 1


def class_widths(labels: Sequence[np.ndarray], spacings: np.ndarray, axis: int) -> list[float]:
    """How wide each class is in the slices that show it: the median square root of its area, in mm.

    Args:
        labels: classes of each case, ``Z x Y x X``.
        spacings: mm along rows and columns of each case's slices, ``cases x 2``.
        axis: along which the slices lie.
    """
    others = tuple(i for i in range(3) if i != axis)
    found: dict[int, list[np.ndarray]] = {}
    for label, area in zip(labels, spacings.prod(1), strict=True):
        for k in set(np.unique(label).tolist()) - {0, IGNORED}:
            pixels = (label == k).sum(others)
            found.setdefault(k, []).append(np.sqrt(pixels[pixels > 0] * area))
    return [float(np.median(np.concatenate(found[k]))) for k in sorted(found)]


def plan_steps(config: Config, task: Task, windows: float = 1.0) -> int:
    """Steps of a run: a fixed number of pixels seen, so that a run takes minutes at any input size.

    Where the input is a window on the slice, a run sees up to twice as many: each shows only a part.

    Args:
        config: ``training.steps`` overrules.
        task: planes and input sizes.
        windows: of the input's size to a slice, by area.
    """
    if config.training.steps is not None:
        return config.training.steps
    planes = len(task.views)
    pixels = config.training.batch_size * sum(view.size[0] * view.size[1] for view in task.views)
    steps = np.clip(MEGAPIXELS[planes] * 1e6 / pixels, FEWEST_STEPS, MOST_STEPS)
    return planes * int(steps * min(windows, MOST_WINDOWS))


def plan_reach(thickness: float) -> int:
    """How many slices away a slice's neighbours are: the next ones, or those 2 mm away where slices are thinner.

    Args:
        thickness: distance of two slices, mm.
    """
    return int(np.clip(round(NEIGHBOUR_MM / thickness), 1, MOST_REACH))


def plan_mirror(config: Config, labels: LabelMap, pictures: bool) -> bool:
    """Whether flips are allowed: for pictures, unless a class name tells left from right."""
    if config.data.flips is not None:
        return config.data.flips
    words = (word.lower() for name in labels.names for word in WORD.findall(name))
    return pictures and SIDES.isdisjoint(words)


def single_pieces(labels: Sequence[np.ndarray], classes: int) -> tuple[bool, ...]:
    """For each class, whether every label that has it has it in one connected piece.

    Labels that are whole decide: between slices that nobody labelled, one organ is several pieces, and one slice of
    several lesions may show one. A class that no whole label shows is none of one piece.

    Args:
        labels: encoded labels ``Z x Y x X``.
        classes: foreground classes K.
    """
    whole = [label for label in labels if not (label == IGNORED).any()]
    found = ({_is_single(label == k) for label in whole} - {None} for k in range(1, classes + 1))
    return tuple(verdicts == {True} for verdicts in found)


def make_task(
    grid: Grid,
    labels: LabelMap,
    modality: str,
    channels: tuple[str, ...],
    intensity: Intensity,
    cases: Sequence[CaseSummary],
    single: tuple[bool, ...],
    config: Config,
) -> Task:
    """Put the plan together; 2.5-D needs volumes of one channel with at least three slices."""
    axis = PLANES.index(grid.plane)
    deep = any(case.shape[axis] >= 3 for case in cases) and len(channels) == 1
    pictures = all(case.picture for case in cases)
    return Task(
        labels=labels,
        modality=modality,
        channels=channels,
        intensity=intensity,
        plane=grid.plane,
        reach=plan_reach(float(np.median([case.spacing[axis] for case in cases]))) if deep else 0,
        pixel=grid.pixel,
        size=grid.size,
        single=single,
        pictures=pictures,
        mirror=plan_mirror(config, labels, pictures),
        across=grid.across,
    )


def _tell_unused(config: DataConfig) -> None:
    """Warn of settings for scans where there are pictures; a recipe may carry them from set to set."""
    for name in ("pixel", "plane", "planes"):
        if getattr(config, name) != getattr(DataConfig(), name):
            log.warning("setting data.%s has no effect on pictures", name)


def _extents(cases: Sequence[CaseSummary], axis: int) -> np.ndarray:
    """Height and width of each case's slices along ``axis`` in mm, ``cases x 2``."""
    return np.array([np.multiply(in_plane(case.shape, axis), in_plane(case.spacing, axis)) for case in cases])


def _canvas(sides: np.ndarray) -> tuple[int, int]:
    """The multiples of 32 that nine slices in ten fit into, with a pixel of slack for rounding; ``cases x 2``."""
    rows, columns = np.percentile(sides, 90, axis=0) - 0.5
    return round_up(rows), round_up(columns)


def _is_single(mask: np.ndarray) -> bool | None:
    """``None`` of an empty mask."""
    if not mask.any():
        return None
    pieces, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    return bool(count == 1 or np.bincount(pieces.ravel())[1:].max() >= SINGLE_PART * mask.sum())
