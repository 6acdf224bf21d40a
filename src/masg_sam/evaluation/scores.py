"""The scores of a set of masks: by case and class, summed up, and written out."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from masg_sam.errors import InputError
from masg_sam.evaluation import statistics
from masg_sam.evaluation.metrics import LESIONS, METRICS, STATES, ClassScores
from masg_sam.files import write_text

if TYPE_CHECKING:
    from rich.console import Group

SHOWN = ("dice", "iou", "hd95_mm", "surface_dice")
WORST = 3
RULES = (
    "Means are over cases of the mean over the classes defined in each; undefined values (null) are left out. "
    "Both masks empty: undefined. One empty: overlaps, surface Dice and boundary F1 are 0, distances undefined."
)
STATISTICS = {"mean": statistics.mean, "sd": statistics.sd, "median": statistics.median}


@dataclass(frozen=True)
class CaseScores:
    """One case: its name and the scores of each class."""

    case: str
    classes: dict[str, ClassScores]

    def mean(self, metric: str) -> float | None:
        """Mean over the classes for which the metric is defined."""
        return statistics.mean(getattr(scores, metric) for scores in self.classes.values())


@dataclass
class Evaluation:
    """The scores of a set of masks.

    Attributes:
        cases: in the order of their names; at least one.
        tolerance_mm: of the surface Dice and the boundary F1.
        notes: what a reader should know, in words.
        unit: of the distances and the tolerance, ``mm``, or ``pixels`` where the masks are pictures.
    """

    cases: list[CaseScores]
    tolerance_mm: float
    notes: list[str] = field(default_factory=list)
    unit: str = "mm"

    @classmethod
    def read_json(cls, path: Path) -> Evaluation:
        """Read what :meth:`write_json` or ``masg-sam evaluate --json`` wrote.

        Raises:
            InputError: the file cannot be read, or is no evaluation of ours.
        """
        try:
            found = TypeAdapter(cls).validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            where = ""
            if isinstance(error, ValidationError):
                first = error.errors()[0]
                where = f"{'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}"
            raise InputError(
                "is no evaluation",
                path=path,
                found=where or error,
                expected="what `masg-sam evaluate --json` prints",
                mend="evaluate again, or name the folder of masks and give --labels",
            ) from error
        if not found.cases or any(list(case.classes) != found.class_names for case in found.cases):
            raise InputError(
                "cases without classes, or of different classes",
                path=path,
                expected="the same classes in every case",
                mend="evaluate again",
            )
        return found

    @property
    def class_names(self) -> list[str]:
        """Classes, in order."""
        return list(self.cases[0].classes)

    def values(self, metric: str, name: str | None = None) -> list[float | None]:
        """A metric of every case, for one class or averaged over the classes."""
        if name is None:
            return [case.mean(metric) for case in self.cases]
        return [getattr(case.classes[name], metric) for case in self.cases]

    def counts(self, name: str) -> dict[str, int | None]:
        """How often a class was present in both masks, in none, or in one; and its lesions, where they are known."""
        found = Counter(case.classes[name].state for case in self.cases)
        known = {key: statistics.defined(getattr(case.classes[name], key) for case in self.cases) for key in LESIONS}
        lesions = {key: int(sum(counts)) if counts else None for key, counts in known.items()}
        return {state: found[state] for state in STATES} | lesions

    def interval(self, metric: str = "dice") -> tuple[float, float] | None:
        """95 % bootstrap interval of the mean over cases."""
        return statistics.bootstrap_interval(self.values(metric))

    def worst(self, number: int = WORST) -> list[tuple[str, float]]:
        """The cases of the lowest mean Dice, with it; the lowest first."""
        scored = [(case.case, dice) for case in self.cases if (dice := case.mean("dice")) is not None]
        return sorted(scored, key=lambda item: item[1])[:number]

    def to_json(self) -> dict[str, Any]:
        """One object: ``mean``, ``classes``, ``cases``, and their spread; undefined is null."""
        summary: dict[str, Any] = {
            name: {metric: take(self.values(metric)) for metric in METRICS} for name, take in STATISTICS.items()
        }
        intervals = {metric: self.interval(metric) for metric in SHOWN}
        return summary | {
            "n": {metric: len(statistics.defined(self.values(metric))) for metric in METRICS},
            "interval": {metric: list(ends) if ends else None for metric, ends in intervals.items()},
            "classes": {name: self._class_json(name) for name in self.class_names},
            "cases": [
                {"case": case.case, "classes": {k: v.to_dict() for k, v in case.classes.items()}} for case in self.cases
            ],
            "worst": [{"case": case, "dice": dice} for case, dice in self.worst()],
            "tolerance_mm": self.tolerance_mm,
            "unit": self.unit,
            "rules": RULES,
            "notes": self.notes,
        }

    def write_json(self, path: Path) -> None:
        """:meth:`to_json` as a file, moved into place whole.

        Raises:
            OutputError: the place cannot be written to.
        """
        write_text(path, json.dumps(self.to_json(), indent=1, allow_nan=False, ensure_ascii=False) + "\n")

    def write_csv(self, path: Path) -> None:
        """One row a case and class, undefined values empty, moved into place whole.

        Raises:
            OutputError: the place cannot be written to.
        """
        stream = io.StringIO(newline="")
        writer = csv.writer(stream)
        first = next(iter(self.cases[0].classes.values())).to_dict()
        writer.writerow(["case", "class", *first])
        for case in self.cases:
            for name, scores in case.classes.items():
                row = ("" if value is None else value for value in scores.to_dict().values())
                writer.writerow([case.case, name, *row])
        write_text(path, stream.getvalue())

    def table(self) -> Group:
        """For the terminal: each class and all, the worst cases, and what was empty."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        number = f"{len(self.cases)} case{'s' if len(self.cases) > 1 else ''}"
        tolerance = f"surface Dice within {self.tolerance_mm:g} {self.unit}"
        table = Table(title=f"{number}: mean ± sd; {tolerance}")
        table.add_column("class")
        for head in ("Dice", "IoU", f"HD95 {self.unit}", "surface Dice"):
            table.add_column(head, justify="right")
        for name in self.class_names:
            table.add_row(Text(name), *(_spread(self.values(metric, name), metric) for metric in SHOWN))
        if len(self.class_names) > 1:
            table.add_section()
            table.add_row("all", *(_spread(self.values(metric), metric) for metric in SHOWN), style="bold")
        return Group(table, *(Text(line, style="dim") for line in self._remarks()))

    def _class_json(self, name: str) -> dict[str, Any]:
        facts: dict[str, Any] = {metric: statistics.mean(self.values(metric, name)) for metric in METRICS}
        for key, take in (("sd", statistics.sd), ("median", statistics.median)):
            facts[key] = {metric: take(self.values(metric, name)) for metric in METRICS}
        facts["n"] = {metric: len(statistics.defined(self.values(metric, name))) for metric in METRICS}
        return facts | {"counts": self.counts(name)}

    def _remarks(self) -> Iterable[str]:
        interval = self.interval()
        if interval is not None:
            yield f"mean Dice: 95 % interval {interval[0]:.3f} to {interval[1]:.3f} (bootstrap over cases)"
        if len(self.cases) > WORST:
            yield "lowest Dice: " + ", ".join(f"{case} {dice:.3f}" for case, dice in self.worst())
        for name in self.class_names:
            counts = self.counts(name)
            empty = [f"{state.replace('_', ' ')} in {counts[state]}" for state in STATES[1:] if counts[state]]
            if empty:
                yield f"{name}: {', '.join(empty)} of {len(self.cases)} cases"
        yield from self.notes


def _spread(values: list[float | None], metric: str) -> str:
    mean, sd = statistics.mean(values), statistics.sd(values)
    digits = 2 if metric.endswith("_mm") else 3
    if mean is None:
        return "–"
    return f"{mean:.{digits}f}" + (f" ± {sd:.{digits}f}" if sd is not None else "")
