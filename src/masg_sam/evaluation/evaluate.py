"""Masks against labels: pairs the files, reads one case at a time, and scores every class."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from masg_sam.data.io import LabelSource, is_loose, label_on_grid, read_label
from masg_sam.data.labels import IGNORED, LabelMap, fit_label_map
from masg_sam.data.layouts import find_labels
from masg_sam.data.layouts.folders import CHANNEL
from masg_sam.data.volume import Volume
from masg_sam.errors import ConfigError, LabelError, LayoutError, few
from masg_sam.evaluation.masks import ClassReader, MaskFiles, find_masks
from masg_sam.evaluation.metrics import ClassScores, score
from masg_sam.evaluation.scores import CaseScores, Evaluation

__all__ = ["CaseScores", "Evaluation", "evaluate"]


@dataclass(frozen=True)
class Matched:
    """Masks and labels by case, and what their values mean.

    Attributes:
        pairs: mask and label of every labelled case.
        labels: the classes.
        reader: of the masks.
        names: of the labels' values; empty where they have none.
        extra: cases of masks without a label.
    """

    pairs: dict[str, tuple[MaskFiles, LabelSource]]
    labels: LabelMap
    reader: ClassReader
    names: Mapping[int, str]
    extra: list[str]

    def read_label(self, case: str) -> Volume:
        """A label; on the grid of its mask where its own file does not tell the whole grid."""
        mask, truth = self.pairs[case]
        label = read_label(truth, names=self.names or None)
        if isinstance(mask, dict) or not is_loose(label):
            return label
        whole = read_label(mask)
        return label_on_grid(whole, label) if np.less_equal(label.shape, whole.shape).all() else label


def evaluate(
    predictions: Path, labels: Path, *, tolerance_mm: float = 2.0, names: Mapping[int, str] | None = None
) -> Evaluation:
    """Compare a folder of masks with a folder of labels, one case at a time.

    Where both name their classes, classes are paired by name, whatever their values: masks of any tool will do.

    Args:
        predictions: a mask, a folder of masks, a dataset, or a folder with a folder a case that holds a file a
            class (``case/liver.nii.gz``), as TotalSegmentator writes it.
        labels: a label, a folder of labels, or a dataset that has them.
        tolerance_mm: of the surface Dice and the boundary F1; pixels in pictures.
        names: of the masks' values, for masks without a ``dataset.json``.

    Raises:
        InputError: a label without its mask, masks on another grid, values that name no class, a file that
            cannot be read, or a tolerance below 0.
    """
    check_tolerance(tolerance_mm)
    return score_pairs(match(predictions, labels, names), tolerance_mm)


def check_tolerance(tolerance_mm: float) -> None:
    """Refuse what is no distance.

    Raises:
        ConfigError: below 0, or not finite.
    """
    if not (math.isfinite(tolerance_mm) and tolerance_mm >= 0):
        raise ConfigError("the tolerance is no distance", found=tolerance_mm, expected="0 mm or more")


def score_pairs(found: Matched, tolerance_mm: float = 2.0) -> Evaluation:
    """Score what :func:`match` brought together; as :func:`evaluate`, which says what it raises."""
    cases, pictures, sides = [], [], []
    for case, (mask, _) in found.pairs.items():
        label = found.read_label(case)
        pictures.append(label.is_picture)
        sides.append(min(label.spacing))
        cases.append(CaseScores(case, _score_case(found.reader.read(mask, label), label, found.labels, tolerance_mm)))
    unit = "pixels" if all(pictures) else "mm"
    notes = [*found.reader.notes, *_notes(found, pictures), *_surface_notes(cases, max(sides), tolerance_mm, unit)]
    return Evaluation(cases, tolerance_mm, notes, unit)


def match(predictions: Path, labels: Path, names: Mapping[int, str] | None = None) -> Matched:
    """Bring masks and labels together; as :func:`evaluate`, which says what it takes and raises."""
    masks, mask_names = find_masks(predictions, names)
    truths, truth_names = find_labels(labels)
    one_each = predictions.is_file() and labels.is_file() and len(masks) == len(truths) == 1
    pairs = _pairs(masks, truths, one_each, predictions)
    label_map = LabelMap.from_names(truth_names) if truth_names else _fit(pairs, mask_names, labels)
    reader = ClassReader(label_map, bool(truth_names), masks, mask_names, predictions)
    extra = [] if one_each else [case for case in masks if case not in pairs]
    return Matched(pairs, label_map, reader, truth_names, extra)


def _score_case(
    masks: Iterator[np.ndarray], truth: Volume, label_map: LabelMap, tolerance: float
) -> dict[str, ClassScores]:
    """Scores of the classes; voxels that nobody labelled count on neither side."""
    label = label_map.encode(truth)
    labelled = label != IGNORED if (label == IGNORED).any() else None
    scores = {
        name: score(mask, label == k, truth.spacing, tolerance, truth.voxel_ml, labelled)
        for k, (name, mask) in enumerate(zip(label_map.names, masks, strict=True), start=1)
    }
    if truth.is_picture:
        return {name: replace(one, prediction_ml=None, label_ml=None) for name, one in scores.items()}
    return scores


def _fit(pairs: Mapping[str, tuple[MaskFiles, LabelSource]], mask_names: Mapping[int, str], labels: Path) -> LabelMap:
    """What the values of labels without names mean; names are borrowed from the masks, where they have some.

    A mask's names alone do not say what the labels hold: those of a model trained on JPEG masks call 255 the
    class, and its labels are grey all the same.
    """
    truths = [truth for _, truth in pairs.values()]
    values = {value for path in truths for value in np.unique(read_label(path).data).tolist()}
    if mask_names and values <= {0, *mask_names}:
        return LabelMap.from_names(mask_names)
    files = truths if values - {0} else [mask for mask, _ in pairs.values() if not isinstance(mask, dict)]
    try:
        found, _ = fit_label_map((read_label(path) for path in files), {})
    except LabelError as error:
        if error.path is not None:
            raise
        raise LabelError(
            error.problem, path=labels, found=error.found, expected=error.expected, mend=error.mend
        ) from error
    borrowed = LabelMap.from_names(mask_names).names
    return replace(found, names=borrowed) if found.num_classes == len(borrowed) == 1 else found


def _pairs(
    masks: Mapping[str, MaskFiles], truths: Mapping[str, LabelSource], one_each: bool, folder: Path
) -> dict[str, tuple[MaskFiles, LabelSource]]:
    """Mask and label of every labelled case; two single files belong together whatever they are called."""
    if one_each:
        (case, truth), (mask,) = next(iter(truths.items())), masks.values()
        return {case: (mask, truth)}
    own = {case: _mask_name(case, masks, truths) for case in truths}
    missing = [case for case, name in own.items() if name not in masks]
    if missing:
        raise LayoutError(
            f"{len(missing)} of {len(truths)} labelled cases have no mask",
            path=folder,
            found=f"none for {few(missing)}",
            expected="a mask of the same name for each label",
            mend="predict them, or give a folder with the labels you want compared",
        )
    return {own[case]: (masks[own[case]], truth) for case, truth in truths.items()}


def _mask_name(case: str, masks: Container[str], truths: Container[str]) -> str:
    """The name that a case's mask has: without channel 0000, where the label is called like the image of that."""
    numbered = CHANNEL.fullmatch(case)
    if case in masks or numbered is None or int(numbered["channel"]) or numbered["name"] in truths:
        return case
    return str(numbered["name"])


def _notes(found: Matched, pictures: list[bool]) -> list[str]:
    notes = []
    if found.extra:
        count = len(found.extra)
        notes.append(f"{count} mask{'s' if count > 1 else ''} without a label left out: {few(found.extra)}")
    if any(pictures) and not all(pictures):
        notes.append(f"{sum(pictures)} of the cases are pictures: their distances are pixels, not mm")
    return notes


def _surface_notes(cases: list[CaseScores], side: float, tolerance: float, unit: str) -> list[str]:
    """What surface scores do not say, where they say less than they seem to.

    Args:
        cases: with their scores.
        side: the shortest of a voxel, in the case where that is longest.
        tolerance: of the surface Dice.
        unit: of both.
    """
    notes = []
    if 0 < tolerance < side:
        notes.append(
            f"the tolerance of {tolerance:g} {unit} is less than the narrowest side of a voxel ({side:.3g} {unit}): "
            "only surfaces that coincide count; see --tolerance"
        )
    unknown = sum(
        any(one.state == "both_present" and one.surface_dice is None for one in case.classes.values()) for case in cases
    )
    if unknown:
        notes.append(
            f"unlabelled voxels touch the masks in {unknown} of {len(cases)} cases: no distances, surface scores and "
            "lesion counts there"
        )
    return notes
