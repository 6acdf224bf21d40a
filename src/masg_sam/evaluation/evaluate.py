"""Masks against labels: every case and class, then the whole set."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from masg_sam.data.io import read_label, same_grid
from masg_sam.data.labels import LabelMap, fit_label_map
from masg_sam.data.layouts import find_labels
from masg_sam.data.volume import Volume
from masg_sam.errors import LabelError, LayoutError
from masg_sam.evaluation.metrics import METRICS, STATES, ClassScores, score

SHOWN = ("dice", "iou", "hd95_mm", "surface_dice")
HEADS = {"dice": "Dice", "iou": "IoU", "hd95_mm": "HD95 mm", "surface_dice": "surface Dice"}
WORST, LISTED = 3, 5
BOOTSTRAPS = 2000
RULES = (
    "Means are over cases of the mean over the classes defined in each; undefined values (null) are left out. "
    "Both masks empty: undefined. One empty: overlaps and surface Dice 0, distances undefined."
)


@dataclass(frozen=True)
class CaseScores:
    """One case: its name and the scores of each class."""

    case: str
    classes: dict[str, ClassScores]

    def mean(self, metric: str) -> float | None:
        """Mean over the classes for which the metric is defined."""
        return _mean(getattr(scores, metric) for scores in self.classes.values())


@dataclass
class Evaluation:
    """The scores of a set of masks.

    Attributes:
        cases: in the order of their names.
        tolerance_mm: of the surface Dice.
        notes: what a reader should know, in words.
    """

    cases: list[CaseScores]
    tolerance_mm: float
    notes: list[str] = field(default_factory=list)

    @property
    def class_names(self) -> list[str]:
        """Classes, in order."""
        return list(self.cases[0].classes)

    def values(self, metric: str, name: str | None = None) -> list[float | None]:
        """A metric of every case, for one class or averaged over the classes."""
        if name is None:
            return [case.mean(metric) for case in self.cases]
        return [getattr(case.classes[name], metric) for case in self.cases]

    def counts(self, name: str) -> dict[str, int]:
        """How often a class was present in both masks, in none, or in one."""
        found = Counter(case.classes[name].state for case in self.cases)
        return {state: found[state] for state in STATES}

    def interval(self, metric: str = "dice") -> tuple[float, float] | None:
        """95 % bootstrap interval of the mean over cases."""
        values = np.array([v for v in self.values(metric) if v is not None])
        if len(values) < 2:
            return None
        chosen = np.random.default_rng(0).integers(len(values), size=(BOOTSTRAPS, len(values)))
        low, high = np.percentile(values[chosen].mean(1), (2.5, 97.5))
        return float(low), float(high)

    def to_json(self) -> dict[str, Any]:
        """One object: ``mean``, ``classes``, ``cases``, and their spread; undefined is null."""
        statistics = {"mean": _mean, "sd": _sd, "median": _median}
        return {
            name: {metric: take(self.values(metric)) for metric in METRICS} for name, take in statistics.items()
        } | {
            "interval": {metric: self.interval(metric) for metric in SHOWN},
            "classes": {name: self._class_json(name) for name in self.class_names},
            "cases": [
                {"case": case.case, "classes": {k: v.to_dict() for k, v in case.classes.items()}} for case in self.cases
            ],
            "tolerance_mm": self.tolerance_mm,
            "rules": RULES,
            "notes": self.notes,
        }

    def write_csv(self, path: Path) -> None:
        """One row a case and class, moved into place whole."""
        place = path.with_name(f".{path.name}.writing")
        with open(place, "w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            first = next(iter(self.cases[0].classes.values())).to_dict()
            writer.writerow(["case", "class", *first])
            for case in self.cases:
                for name, scores in case.classes.items():
                    row = ("" if value is None else value for value in scores.to_dict().values())
                    writer.writerow([case.case, name, *row])
        os.replace(place, path)

    def table(self) -> Group:
        """For the terminal: each class and all, the worst cases, and what was empty."""
        table = Table(title=f"{len(self.cases)} case{'s' if len(self.cases) > 1 else ''}: mean ± sd")
        table.add_column("class")
        for metric in SHOWN:
            table.add_column(HEADS[metric], justify="right")
        for name in self.class_names:
            table.add_row(name, *(_spread(self.values(metric, name), metric) for metric in SHOWN))
        if len(self.class_names) > 1:
            table.add_section()
            table.add_row("all", *(_spread(self.values(metric), metric) for metric in SHOWN), style="bold")
        return Group(table, *(Text(line, style="dim") for line in self._remarks()))

    def _class_json(self, name: str) -> dict[str, Any]:
        facts: dict[str, Any] = {metric: _mean(self.values(metric, name)) for metric in METRICS}
        facts["sd"] = {metric: _sd(self.values(metric, name)) for metric in METRICS}
        facts["median"] = {metric: _median(self.values(metric, name)) for metric in METRICS}
        return facts | {"counts": self.counts(name)}

    def _remarks(self) -> Iterable[str]:
        interval = self.interval()
        if interval is not None:
            yield f"Dice over cases: 95 % interval {interval[0]:.3f} to {interval[1]:.3f}"
        defined = [(value, case.case) for case in self.cases if (value := case.mean("dice")) is not None]
        if len(defined) > WORST:
            yield "lowest Dice: " + ", ".join(f"{case} {value:.3f}" for value, case in sorted(defined)[:WORST])
        for name in self.class_names:
            counts = self.counts(name)
            empty = [f"{state.replace('_', ' ')} in {counts[state]}" for state in STATES[1:] if counts[state]]
            if empty:
                yield f"{name}: {', '.join(empty)} of {len(self.cases)} cases"
        yield from self.notes


def evaluate(predictions: Path, labels: Path, *, tolerance_mm: float = 2.0) -> Evaluation:
    """Compare a folder of masks with a folder of labels, one case at a time.

    Args:
        predictions: a mask, a folder of masks, or a dataset.
        labels: a label, a folder of labels, or a dataset that has them.
        tolerance_mm: of the surface Dice; pixels in pictures.

    Raises:
        InputError: a label without its mask, masks on another grid, values that name no class.
    """
    masks, mask_names = find_labels(predictions)
    truths, truth_names = find_labels(labels)
    pairs = _pairs(masks, truths, predictions)
    names = truth_names or mask_names
    label_map = _label_map((truths[case] for case in pairs), names, labels)
    notes = [f"{len(extra)} masks have no label and were left out"] if (extra := masks.keys() - truths.keys()) else []
    cases = []
    for case, mask in pairs.items():
        truth, found = read_label(truths[case]), read_label(mask)
        same_grid(truth, found)
        cases.append(CaseScores(case, _score_case(found, truth, label_map, tolerance_mm)))
    return Evaluation(cases, tolerance_mm, notes)


def _score_case(found: Volume, truth: Volume, label_map: LabelMap, tolerance: float) -> dict[str, ClassScores]:
    prediction, label = _encode_mask(found, label_map), label_map.encode(truth)
    return {
        name: score(prediction == k, label == k, truth.spacing, tolerance)
        for k, name in enumerate(label_map.names, start=1)
    }


def _encode_mask(mask: Volume, label_map: LabelMap) -> np.ndarray:
    """A mask by the labels' map; where there is one class, 0/1 and 0/255 mean the same."""
    values = set(np.unique(mask.data).tolist())
    if label_map.num_classes == 1 and len(values - {0}) <= 1 and values <= {0, 1, 255, *label_map.values}:
        return (mask.data[0] > 0).astype(np.uint8)
    return label_map.encode(mask)


def _label_map(truths: Iterable[Path], names: Mapping[int, str], labels: Path) -> LabelMap:
    """Named classes as they are named; without names, whatever values the labels hold."""
    if names:
        return LabelMap(tuple(sorted(names)), tuple(names[value] for value in sorted(names)))
    try:
        return fit_label_map((read_label(path) for path in truths), {})[0]
    except LabelError as error:
        if error.path is None:
            raise LabelError(error.problem, path=labels, found=error.found, expected=error.expected) from error
        raise


def _pairs(masks: Mapping[str, Path], truths: Mapping[str, Path], predictions: Path) -> dict[str, Path]:
    """Case name to mask, for every label."""
    if len(masks) == 1 and len(truths) == 1:
        return {next(iter(truths)): next(iter(masks.values()))}
    missing = [case for case in truths if case not in masks]
    if missing:
        raise LayoutError(
            f"{len(missing)} of {len(truths)} labelled cases have no mask",
            path=predictions,
            found="none for " + ", ".join(missing[:LISTED]) + (" ..." if len(missing) > LISTED else ""),
            expected="a mask of the same name for each label",
            mend="predict them, or give a folder with the labels you want compared",
        )
    return {case: masks[case] for case in truths}


def _defined(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean(values: Iterable[float | None]) -> float | None:
    known = _defined(values)
    return float(np.mean(known)) if known else None


def _sd(values: Iterable[float | None]) -> float | None:
    known = _defined(values)
    return float(np.std(known, ddof=1)) if len(known) > 1 else None


def _median(values: Iterable[float | None]) -> float | None:
    known = _defined(values)
    return float(np.median(known)) if known else None


def _spread(values: list[float | None], metric: str) -> str:
    mean, sd = _mean(values), _sd(values)
    digits = 2 if metric.endswith("_mm") else 3
    if mean is None:
        return "–"
    return f"{mean:.{digits}f}" + (f" ± {sd:.{digits}f}" if sd is not None else "")
