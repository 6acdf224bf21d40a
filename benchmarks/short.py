"""The two short tables of the README: what the defaults reach, and what each module is worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from data_sets import DATASETS
from mdtable import number, spread, table
from records import Record, commits, costs, grouped, paired, values
from studies import METHODS, NNUNET, PLAIN, REFERENCE
from trust import average

from masg_sam.evaluation.statistics import bootstrap_interval


def headline(records: Sequence[Record]) -> str:
    """What a user gets who sets nothing; means over the seeds.

    Args:
        records: of all studies; those of ``defaults`` and ``peers`` count.
    """
    groups = grouped((one for one in records if one["study"] in ("defaults", "peers")), "dataset", "method")
    rows = []
    for dataset in DATASETS:
        runs, plain, *peers = (groups.get((dataset, method), []) for method in (REFERENCE, PLAIN, *NNUNET))
        if runs:
            better = max(peers, key=lambda made: max(values(made, "dice"), default=0.0))
            dice = [spread(values(of, "dice")) for of in (runs, plain, better)]
            cost = [
                number(costs(runs, "cpu_minutes"), 0),
                number(average(run["train"].get("peak_gb") for run in runs), 1),
            ]
            named = [DATASETS[dataset].title, ", ".join(runs[0]["classes"])]
            rows.append([*named, *dice, str(len(runs)), *cost, commits([*runs, *plain])])
    heads = ["labelled", "classes", "Dice", "plain decoder", "nnU-Net", "seeds", "CPU minutes", "GB", "commit"]
    return table(heads, rows)


def ablation(records: Sequence[Record]) -> str:
    """Dice of each method on each dataset, and how far it is from the whole method's.

    Args:
        records: of all studies; those of ``modules`` count.
    """
    groups = grouped((one for one in records if one["study"] == "modules"), "method", "dataset")
    datasets = [name for name in DATASETS if (REFERENCE, name) in groups]
    methods = [name for name in METHODS if any((name, dataset) in groups for dataset in datasets)]
    rows = [
        [method, *(_against(groups.get((method, name), []), groups[REFERENCE, name]) for name in datasets)]
        for method in methods
    ]
    return table(["method", *(DATASETS[name].title for name in datasets)], rows)


def _against(runs: Sequence[Record], whole: Sequence[Record]) -> str:
    """Mean Dice, and its distance from the whole method's; a star where the interval of that is away from zero."""
    if not runs:
        return "–"
    differences = paired(runs, whole, "dice")
    interval = bootstrap_interval(differences)
    if runs is whole or interval is None:
        return number(average(values(runs, "dice")))
    star = "*" if interval[0] > 0 or interval[1] < 0 else ""
    return f"{number(average(values(runs, 'dice')))} ({np.mean(differences):+.3f}{star})"


TABLES: dict[str, Callable[[Sequence[Record]], str]] = {"results": headline, "modules": ablation}


def marks(name: str) -> tuple[str, str]:
    """What stands before and after a table."""
    return f"<!-- {name}: written by benchmarks/tables.py -->", f"<!-- end of {name} -->"


def put(page: Path, records: Sequence[Record]) -> None:
    """Replace what stands between the marks of each table in a page, where it has them."""
    text = page.read_text(encoding="utf-8")
    for name, make in TABLES.items():
        opened, closed = marks(name)
        before, start, rest = text.partition(opened)
        _, end, after = rest.partition(closed)
        if end:
            text = f"{before}{start}\n{make(records)}\n{end}{after}"
    page.write_text(text, encoding="utf-8")
