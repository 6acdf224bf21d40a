"""Evaluations of the same cases side by side: which differences hold, and which may be chance."""

from __future__ import annotations

import csv
import io
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from masg_sam.errors import ConfigError, InputError, few
from masg_sam.evaluation import statistics
from masg_sam.evaluation.paired import Difference, Scores, differences
from masg_sam.evaluation.scores import Evaluation
from masg_sam.files import write_text

if TYPE_CHECKING:
    from rich.console import Group

HIGHER_IS_BETTER = {
    "dice": True,
    "iou": True,
    "hd95_mm": False,
    "hd_mm": False,
    "assd_mm": False,
    "surface_dice": True,
    "boundary_f1": True,
    "precision": True,
    "recall": True,
}
SPELLED = {"dice": "Dice", "iou": "IoU", "hd95": "HD95", "hd": "HD", "assd": "ASSD", "surface dice": "surface Dice"}


@dataclass(frozen=True)
class Comparison:
    """Every pair of methods, and the methods ranked.

    Attributes:
        metric: which one was compared.
        class_name: the class that was compared; ``None`` for the mean over classes.
        unit: of the distances, ``mm`` or ``pixels``.
        values: method to case to value, undefined ones ``None``.
        means: method to its mean over cases.
        ranks: method to its mean rank over the cases defined for all, 1 being best, ties shared.
        pairs: in the order the methods were given.
        notes: method to what a reader of its evaluation should know, in words.
    """

    metric: str
    class_name: str | None
    unit: str
    values: dict[str, dict[str, float | None]]
    means: dict[str, float | None]
    ranks: dict[str, float | None]
    pairs: list[Difference]
    notes: dict[str, list[str]]

    def to_json(self) -> dict[str, Any]:
        """Plain values; undefined is null."""
        facts = asdict(self)
        for pair, plain in zip(self.pairs, facts["pairs"], strict=True):
            plain["interval"] = list(pair.interval) if pair.interval else None
            plain["holds"] = pair.holds
        return facts

    def in_words(self) -> list[str]:
        """One sentence a pair, saying whether the difference holds."""
        return [self._sentence(pair) for pair in self.pairs]

    def table(self) -> Group:
        """Methods from the best rank to the worst, for the terminal; the sentences beneath."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(self.title))
        for head in ("method", "mean", "mean rank"):
            table.add_column(head, justify="left" if head == "method" else "right")
        for method in sorted(self.ranks, key=lambda name: (self.ranks[name] is None, self.ranks[name])):
            mean, rank = self.means[method], self.ranks[method]
            table.add_row(Text(method), "–" if mean is None else f"{mean:.4g}", "–" if rank is None else f"{rank:.2f}")
        return Group(table, *(Text(sentence) for sentence in self.in_words()), "")

    @property
    def title(self) -> str:
        """Metric with its unit, and the class where one was compared."""
        distance = self.metric.endswith("_mm")
        name = f"{self._name}, {self.unit}" if distance else self._name
        return name + (f", {self.class_name}" if self.class_name else "")

    def rows(self) -> list[dict[str, Any]]:
        """One row a pair, for CSV; undefined is empty."""
        facts = {"metric": self.metric, "class": self.class_name or "all"}
        return [
            facts
            | {"first": pair.first, "second": pair.second, "cases": len(pair.cases), "undefined": pair.undefined}
            | {"difference": pair.mean, "low": pair.interval and pair.interval[0]}
            | {"high": pair.interval and pair.interval[1], "p": pair.p, "p_holm": pair.p_holm}
            | {"rank_biserial": pair.rank_biserial, "holds": pair.holds}
            for pair in self.pairs
        ]

    @property
    def _name(self) -> str:
        name = self.metric.removesuffix("_mm").replace("_", " ")
        return SPELLED.get(name, name)

    def _sentence(self, pair: Difference) -> str:
        if pair.mean is None or pair.p_holm is None:
            return f"{pair.first} and {pair.second} have no case with a defined {self._name} in common."
        facts = [
            f"{len(pair.cases)} case{'s' if len(pair.cases) > 1 else ''}",
            f"corrected p = {pair.p_holm:.2g}",
        ]
        if pair.interval:
            facts.insert(0, f"95 % interval {pair.interval[0]:+.3g} to {pair.interval[1]:+.3g}")
        if pair.too_few:
            facts.append("too few for a difference to hold")
        elif pair.significant and pair.disagrees:
            facts.append("but most cases say otherwise than their mean, or the interval includes zero")
        if pair.undefined:
            facts.append(f"{pair.undefined} defined for one of the two only and left out")
        unit = f" {self.unit}" if self.metric.endswith("_mm") else ""
        found = f"{pair.mean:+.3g}{unit} ({', '.join(facts)})"
        if not pair.holds:
            return f"{pair.first} and {pair.second} cannot be told apart by {self._name}: {found}."
        better = (pair.mean > 0) == HIGHER_IS_BETTER[self.metric]
        subject = f"{self._name} of {self.class_name}" if self.class_name else self._name
        return f"{pair.first} is {'better' if better else 'worse'} than {pair.second} in {subject}: {found}."


def compare(evaluations: Mapping[str, Evaluation], metric: str = "dice", class_name: str | None = None) -> Comparison:
    """Compare two or more evaluations of the same cases.

    A case's value is its mean over the classes defined in it, its difference and its rank the mean over the classes
    defined for all that are compared. A missed class has no distance, so distances flatter a method that misses; read
    them with the counts of the evaluations.

    Args:
        evaluations: method to its evaluation.
        metric: a key of :data:`HIGHER_IS_BETTER`.
        class_name: compare this class alone.

    Raises:
        InputError: fewer than two evaluations, or other cases, classes or tolerances in one of them.
        ConfigError: a metric that cannot be compared.
    """
    check_comparable(evaluations, [metric])
    _must_match(evaluations)
    scores = {name: _by_case(evaluation, metric, class_name) for name, evaluation in evaluations.items()}
    values = {name: {case: statistics.mean(one.values()) for case, one in own.items()} for name, own in scores.items()}
    return Comparison(
        metric,
        class_name,
        next(iter(evaluations.values())).unit,
        values,
        {name: statistics.mean(column.values()) for name, column in values.items()},
        _mean_ranks(scores, HIGHER_IS_BETTER[metric]),
        differences(scores, list(combinations(scores, 2))),
        {name: evaluation.notes for name, evaluation in evaluations.items()},
    )


def check_comparable(methods: Mapping[str, object], metrics: Sequence[str]) -> None:
    """See before anything is evaluated that there is something to compare, and by what.

    Raises:
        ConfigError: a metric that cannot be compared.
        InputError: fewer than two methods.
    """
    for metric in metrics:
        if metric not in HIGHER_IS_BETTER:
            expected = "one of " + ", ".join(HIGHER_IS_BETTER)
            raise ConfigError("this metric cannot be compared", found=metric, expected=expected)
    if len(methods) < 2:
        raise InputError("nothing to compare", found=f"{len(methods)} methods", expected="two or more")


def write_csv(comparisons: Sequence[Comparison], path: Path) -> None:
    """One row a comparison and pair, undefined values empty, moved into place whole.

    Raises:
        OutputError: the place cannot be written to.
    """
    rows = [row for comparison in comparisons for row in comparison.rows()]
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, stream.getvalue())


def _mean_ranks(scores: Mapping[str, Scores], higher_is_better: bool) -> dict[str, float | None]:
    """Over the cases with a class that is defined for all; in each, by the mean over such classes."""
    from scipy.stats import rankdata

    rows = []
    for cases in zip(*(own.values() for own in scores.values()), strict=True):
        classes = zip(*(case.values() for case in cases), strict=True)  # of each class, the methods' values
        if defined := [row for row in classes if None not in row]:
            rows.append(np.mean(np.array(defined, dtype=float), axis=0))
    if not rows:
        return dict.fromkeys(scores)
    signed = -np.array(rows) if higher_is_better else np.array(rows)
    return dict(zip(scores, rankdata(signed, axis=1).mean(0).tolist(), strict=True))


def _by_case(evaluation: Evaluation, metric: str, class_name: str | None) -> dict[str, dict[Hashable, float | None]]:
    """Cases and classes in the order of their names, which two evaluations share."""
    names = sorted(evaluation.class_names) if class_name is None else [class_name]
    cases = sorted(evaluation.cases, key=lambda case: case.case)
    return {case.case: {name: getattr(case.classes[name], metric) for name in names} for case in cases}


def _must_match(evaluations: Mapping[str, Evaluation]) -> None:
    (name, first), *others = evaluations.items()
    for other, evaluation in others:
        for kind, a, b in (
            ("cases", [case.case for case in first.cases], [case.case for case in evaluation.cases]),
            ("classes", first.class_names, evaluation.class_names),
            ("tolerances", [f"{first.tolerance_mm:g}"], [f"{evaluation.tolerance_mm:g}"]),
            ("units", [first.unit], [evaluation.unit]),
        ):
            if apart := sorted(set(a) ^ set(b)):
                raise InputError(
                    f"{name} and {other} were evaluated on different {kind}",
                    found=f"{few(apart)} in one only",
                    expected=f"the same {kind} in all",
                    mend="evaluate both with the same labels and --tolerance",
                )
