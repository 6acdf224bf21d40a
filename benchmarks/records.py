"""The JSON files of the runs, grouped, ordered and paired."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_sets import DATASETS
from studies import METHODS, REFERENCE, STUDIES

from masg_sam.evaluation.paired import Difference, differences
from masg_sam.evaluation.statistics import mean

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


def labelled(record: Record) -> int:
    """How many cases a run was trained on."""
    return len(record["trained_on"])


def values(runs: Sequence[Record], metric: str) -> list[float]:
    """The mean of a metric in each run where it is defined."""
    return [value for run in runs if (value := run["mean"][metric]) is not None]


def costs(runs: Sequence[Record], what: str) -> float | None:
    """Mean cost of the training, or of both where one follows another; ``None`` where it was not noted."""
    trainings = [[run[step].get(what) for step in ("teach", "train") if step in run] for run in runs]
    return mean(None if None in parts else sum(parts) for parts in trainings)


def commits(records: Sequence[Record]) -> str:
    """The commits of some runs, each once; a run whose steps began at several has several."""
    return ", ".join(dict.fromkeys(one for record in records for one in record["commit"].split(", ")))


def scores(runs: Sequence[Record], metric: str, name: str | None = None) -> dict[str, dict[Hashable, float | None]]:
    """A metric by case, and in each case by seed and class.

    Args:
        runs: of one dataset and method, one a seed.
        metric: of the records' cases.
        name: of one class; ``None`` for all.
    """
    cases: dict[str, dict[Hashable, float | None]] = defaultdict(dict)
    for run in runs:
        for case, classes in run["cases"].items():
            wanted = classes if name is None else {name: classes[name]}
            cases[case] |= {(run["seed"], key): one[metric] for key, one in wanted.items()}
    return cases


def worst(runs: Sequence[Record]) -> tuple[float | None, float | None]:
    """Dice of the worst case, and the mean of the worst tenth of the cases (one at least); means over seeds first."""
    means = (mean(one.values()) for one in scores(runs, "dice").values())
    dice = sorted(value for value in means if value is not None)
    if not dice:
        return None, None
    return dice[0], mean(dice[: max(1, round(len(dice) / 10))])


def without_distance(runs: Sequence[Record]) -> int:
    """Scores of a class in a case that have a Dice and no distance, as one of the masks is empty."""
    scored = [one for run in runs for case in run["cases"].values() for one in case.values()]
    return sum(one["dice"] is not None and one["hd95_mm"] is None for one in scored)


def against_reference(
    groups: Mapping[tuple[Any, ...], Sequence[Record]], dataset: str, metric: str, name: str | None = None
) -> dict[str, Difference]:
    """The whole method minus each other method of a dataset; p values corrected for these together.

    Args:
        groups: records by dataset and method.
        dataset: of these.
        metric: of the records' cases.
        name: of one class; ``None`` for their mean.
    """
    found = {method: scores(runs, metric, name) for (of, method), runs in groups.items() if of == dataset}
    if REFERENCE not in found:
        return {}
    others = [method for method in found if method != REFERENCE]
    return dict(zip(others, differences(found, [(REFERENCE, other) for other in others]), strict=True))


def holds(
    groups: Mapping[tuple[Any, ...], Sequence[Record]],
    dataset: str,
    method: str,
    pair: Difference | None,
    metric: str,
    name: str | None = None,
) -> bool:
    """Whether a difference of :func:`against_reference` holds over the cases, with the same sign for every seed."""
    if pair is None or pair.mean is None or not pair.holds:
        return False
    seeds = seed_by_seed(groups, dataset, method, metric, name)
    return all(one is None or one * pair.mean > 0 for one in seeds)


def seed_by_seed(
    groups: Mapping[tuple[Any, ...], Sequence[Record]],
    dataset: str,
    method: str,
    metric: str = "dice",
    name: str | None = None,
) -> list[float | None]:
    """Mean difference of the whole method to another one with each seed that both have, in their order."""
    found = []
    for ours, theirs in shared(groups, dataset, method):
        pair = {(dataset, REFERENCE): [ours], (dataset, method): [theirs]}
        found.append(against_reference(pair, dataset, metric, name)[method].mean)
    return found


def shared(
    groups: Mapping[tuple[Any, ...], Sequence[Record]], dataset: str, method: str
) -> list[tuple[Record, Record]]:
    """The runs of the whole method and of another one with each seed that both have, in their order."""
    ours, theirs = ({run["seed"]: run for run in groups.get((dataset, one), [])} for one in (REFERENCE, method))
    return [(ours[seed], theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())]


def _order(record: Record) -> tuple[Any, ...]:
    place = (list(STUDIES).index(record["study"]), list(DATASETS).index(record["dataset"]))
    number_of = (labelled(record) if record["study"] == "shots" else 0, record["every"] or 0)
    return (*place, *number_of, list(METHODS).index(record["method"]), record["seed"])
