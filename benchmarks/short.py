"""The two short tables of the README: what the defaults reach, and what each module is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_sets import DATASETS, SCANS
from mdtable import difference, number, spread, table
from records import Record, against_reference, commits, costs, grouped, holds, values
from studies import METHODS, NNUNET, PLAIN, REFERENCE

from masg_sam.evaluation.paired import Difference
from masg_sam.evaluation.statistics import mean


def headline(records: Sequence[Record]) -> str:
    """What a user gets who sets nothing; means over the seeds.

    Args:
        records: of all studies; those of ``defaults`` and ``peers`` count.
    """
    groups = grouped((one for one in records if one["study"] in ("defaults", "peers")), "dataset", "method")
    rows = []
    for dataset in DATASETS:
        runs, plain, *peers = (groups.get((dataset, method), []) for method in (REFERENCE, PLAIN, *NNUNET))
        if not runs:
            continue
        peer = next((made for made in peers if made), [])
        cost = [number(costs(runs, "cpu_minutes"), 0), number(mean(run["train"].get("peak_gb") for run in runs), 1)]
        pair = against_reference(groups, dataset, "dice").get(PLAIN)
        cells = [spread(values(runs, "dice")), spread(values(plain, "dice")), difference(pair, 3), _peer(peer)]
        seeds = "/".join(dict.fromkeys(str(len(made)) for made in (runs, plain, peer) if made))
        rows.append([DATASETS[dataset].title, *cells, seeds, *cost, commits([*runs, *plain, *peer])])
    heads = ("labelled", "Dice", "plain decoder", "difference", "nnU-Net", "seeds", "CPU minutes", "GB", "commit")
    return table(heads, rows)


def _peer(runs: Sequence[Record]) -> str:
    """Dice, and what was trained how far: a budget in minutes buys few steps."""
    if not runs:
        return "–"
    kind = "2-D" if runs[0]["method"] == NNUNET[1] or runs[0]["dataset"] not in SCANS else "3-D"
    return f"{spread(values(runs, 'dice'))} ({kind}, {mean(run['steps'] for run in runs):.0f} steps)"


def ablation(records: Sequence[Record]) -> str:
    """Dice of each method on each dataset, and how far it is from the whole method's.

    Args:
        records: of all studies; those of ``modules`` count.
    """
    groups = grouped((one for one in records if one["study"] == "modules"), "dataset", "method")
    datasets = [name for name in DATASETS if (name, REFERENCE) in groups]
    apart = {name: against_reference(groups, name, "dice") for name in datasets}
    rows = [
        [method, *(_against(groups, name, method, apart[name].get(method)) for name in datasets)]
        for method in METHODS
        if any((name, method) in groups for name in datasets)
    ]
    return table(["method", *(DATASETS[name].title for name in datasets)], rows)


def _against(
    groups: Mapping[tuple[Any, ...], Sequence[Record]], dataset: str, method: str, pair: Difference | None
) -> str:
    """Dice with its deviation over seeds, and how far it is from the whole method's; a star where that holds."""
    runs = groups.get((dataset, method), [])
    if not runs:
        return "–"
    dice = spread(values(runs, "dice"))
    if pair is None or pair.mean is None:
        return dice
    return f"{dice} ({-pair.mean:+.3f}{'*' * holds(groups, dataset, method, pair, 'dice')})"


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
