"""The JSON files of the runs, grouped, ordered and paired."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from data_sets import DATASETS
from studies import METHODS, STUDIES
from trust import average

Record = dict[str, Any]


def read(results: Path) -> list[Record]:
    """All records, in the order of the studies, datasets and methods."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*/*.json"))]
    return sorted(found, key=_order)


def grouped(records: Iterable[Record], *keys: str) -> dict[tuple[Any, ...], list[Record]]:
    """Records by the values of some keys."""
    groups: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for record in records:
        groups[tuple(record[key] for key in keys)].append(record)
    return dict(groups)


def values(runs: Sequence[Record], metric: str) -> list[float]:
    """The mean of a metric in each run where it is defined."""
    return [value for run in runs if (value := run["mean"][metric]) is not None]


def costs(runs: Sequence[Record], what: str) -> float | None:
    """Mean cost of the training, or of both where one follows another; ``None`` where it was not noted."""
    trainings = [[run[step].get(what) for step in ("teach", "train") if step in run] for run in runs]
    return average(None if None in parts else sum(parts) for parts in trainings)


def commits(records: Sequence[Record]) -> str:
    """The commits of some runs."""
    return ", ".join(dict.fromkeys(record["commit"] for record in records))


def by_case(runs: Sequence[Record], metric: str) -> dict[str, float | None]:
    """A metric of each case, its mean over seeds and over the classes in which it is defined."""
    cases: dict[str, list[float | None]] = defaultdict(list)
    for run in runs:
        for case, classes in run["cases"].items():
            cases[case].append(average(one[metric] for one in classes.values()))
    return {case: average(found) for case, found in cases.items()}


def worst(runs: Sequence[Record]) -> tuple[float | None, float | None]:
    """Dice of the worst case, and the mean of the worst tenth of the cases (one at least)."""
    dice = sorted(value for value in by_case(runs, "dice").values() if value is not None)
    if not dice:
        return None, None
    return dice[0], average(dice[: max(1, round(len(dice) / 10))])


def paired(first: Sequence[Record], second: Sequence[Record], metric: str) -> list[float]:
    """Differences on the cases where the metric is defined for both; each case's mean over seeds and classes."""
    means = [by_case(runs, metric) for runs in (first, second)]
    pairs = ((means[0][case], means[1].get(case)) for case in means[0])
    return [a - b for a, b in pairs if a is not None and b is not None]


def _order(record: Record) -> tuple[Any, ...]:
    place = (list(STUDIES).index(record["study"]), list(DATASETS).index(record["dataset"]))
    number_of = (record["shots"] or 0, record["every"] or 0)
    return (*place, *number_of, list(METHODS).index(record["method"]), record["seed"])
