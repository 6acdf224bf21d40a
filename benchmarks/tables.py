"""RESULTS.md and its figure from the JSON files in results/. Nobody types a number.

python benchmarks/tables.py
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import wilcoxon
from studies import DATASETS, METHODS, REFERENCE, STUDIES
from trust import average

from masg_sam.evaluation.compare import holm
from masg_sam.evaluation.statistics import bootstrap_interval

HERE = Path(__file__).parent
Record = dict[str, Any]
HEAD = """# Results

Written by `python benchmarks/tables.py` from the JSON files in `results/`, which `python benchmarks/run.py` made: see
[how](README.md). Dice, HD95 and surface Dice (2 mm; 2 pixels for pictures) are means over the test cases of the mean
over the classes, ± one standard deviation over the cases. Distances of missed classes are undefined and left out.
Yardstick: a plain pyramid decoder on the same encoder, measured elsewhere, one seed."""
COST = ("steps", "input", "train min", "GB", "predict min")
COLOURS = {"masg-sam": "#0072B2", "plain decoder": "#D55E00"}


def write(results: Path, out: Path) -> None:
    """All sections for which there are results."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*/*.json"))]
    records.sort(key=_order)
    studies = {study: [record for record in records if record["study"] == study] for study in STUDIES}
    sections = [HEAD]
    if studies["defaults"]:
        sections += [_defaults(studies["defaults"]), _classes(studies["defaults"]), _trust(studies["defaults"])]
    for study in ("modules", "controls"):
        if studies[study]:
            sections.append(_methods(study, studies[study]))
    if studies["shots"]:
        _curve(studies["shots"], out.parent / "shots.svg")
        sections.append(_shots("Labels", "![Dice against labelled cases](shots.svg)", studies["shots"]))
    if studies["sparse"]:
        sections.append(_shots("Labelled slices of one scan", "", studies["sparse"]))
    sections.append(_origin(records))
    out.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def _defaults(records: Sequence[Record]) -> str:
    rows = []
    for record in records:
        spread = [
            f"{number(record['mean'][m], d)} ± {number(record['sd'][m], d)}"
            for m, d in (("dice", 3), ("hd95_mm", 1), ("surface_dice", 3))
        ]
        cost = [number(record["train"]["minutes"], 1), number(record["train"]["peak_gb"], 1)]
        predicted = number(record["predict"]["minutes"], 1)
        size = " x ".join(map(str, record["size"]))
        rows.append([*_names(record), *spread, str(record["steps"]), size, *cost, predicted])
    yardsticks = "; ".join(f"{one.title} {one.yardstick:.3f}" for one in DATASETS.values())
    return _section(
        "The three commands with their defaults",
        f"`masg-sam train DATA --out RUN`, `predict`, `evaluate`, nothing set. Yardstick, Dice: {yardsticks}.",
        ["dataset", "method", "seed", "Dice", "HD95 mm", "surface Dice", *COST],
        rows,
    )


def _classes(records: Sequence[Record]) -> str:
    rows = [
        [*_names(record), ", ".join(f"{name} {number(one['dice'])}" for name, one in record["classes"].items())]
        for record in records
    ]
    return _section("Classes", "", ["dataset", "method", "seed", "Dice of each class"], rows)


def _trust(records: Sequence[Record]) -> str:
    rows = []
    for record in records:
        found = record["confidence"]
        if found is not None:
            numbers = [number(found["spearman"], 2), number(found["error"]), f"{found['bias']:+.3f}"]
            rows.append([*_names(record), str(found["cases"]), *numbers, f"{found['worst_fifth']:.0%}"])
    return _section(
        "Confidence against Dice",
        "`predict` says, without labels, which Dice to expect of a case. Rho is Spearman's, over the test cases; the\n"
        "error is the mean absolute difference to the true Dice, the bias the mean signed one; the last column is the\n"
        "part of the worst fifth of the cases by Dice that is in the worst fifth by expected Dice.",
        ["dataset", "method", "seed", "cases", "rho", "error", "bias", "worst fifth found"],
        rows,
    )


def _methods(study: str, records: Sequence[Record]) -> str:
    """Each method's mean over seeds, and the paired difference of the whole method to it."""
    groups = _grouped(records, "dataset", "method")
    rows, p_values, places = [], [], []
    for (dataset, method), runs in groups.items():
        means = [run["mean"]["dice"] for run in runs]
        row = [DATASETS[dataset].title, method, str(len(runs)), _spread(means), _spread(_values(runs, "hd95_mm"), 1)]
        reference = groups.get((dataset, REFERENCE))
        for metric, digits in (("dice", 3), ("hd95_mm", 1), ("boundary_f1", 3)):
            differences = [] if reference is None or method == REFERENCE else paired(reference, runs, metric)
            row.append(_difference(differences, digits))
            if metric == "dice" and any(differences):
                p_values.append(float(wilcoxon([d for d in differences if d]).pvalue))
                places.append(len(rows))
        rows.append([*row, "–"])
    for place, p in zip(places, holm(p_values), strict=True):
        rows[place][-1] = f"{p:.2g}"
    budget = "; ".join(f"{one.title}: `{' '.join(one.budget)}`" for one in DATASETS.values())
    return _section(
        (STUDIES[study].__doc__ or study).strip(),
        f"Equal samples, steps and evaluation for all ({budget}).\n"
        "± is over seeds. Differences are masg-sam minus the method on the same cases, each case's mean over seeds,\n"
        "with the 95 % bootstrap interval over cases; p is of Wilcoxon's signed-rank test on Dice, corrected for\n"
        "all rows (Holm).",
        ["dataset", "method", "seeds", "Dice", "HD95 mm", "Δ Dice", "Δ HD95 mm", "Δ boundary F1", "p"],
        rows,
    )


def paired(first: Sequence[Record], second: Sequence[Record], metric: str) -> list[float]:
    """Differences on the cases where the metric is defined for both; each case's mean over seeds and classes."""
    means = [_by_case(runs, metric) for runs in (first, second)]
    pairs = ((means[0][case], means[1].get(case)) for case in means[0])
    return [a - b for a, b in pairs if a is not None and b is not None]


def _by_case(runs: Sequence[Record], metric: str) -> dict[str, float | None]:
    cases: dict[str, list[float | None]] = defaultdict(list)
    for run in runs:
        for case, classes in run["cases"].items():
            cases[case].append(average(one[metric] for one in classes.values()))
    return {case: average(values) for case, values in cases.items()}


def _shots(title: str, before: str, records: Sequence[Record]) -> str:
    rows = []
    for (dataset, method, shots, every), runs in _grouped(records, "dataset", "method", "shots", "every").items():
        number_of = f"{shots}" + (f", every {every}th slice" if every else "")
        rows.append([DATASETS[dataset].title, method, number_of, str(len(runs)), _spread(_values(runs, "dice"))])
    text = "± is over seeds, which draw the cases too. Steps and input as in the comparison of methods."
    return _section(
        title,
        "\n\n".join(part for part in (before, text) if part),
        ["dataset", "method", "labelled cases", "seeds", "Dice"],
        rows,
    )


def _curve(records: Sequence[Record], path: Path) -> None:
    """Dice against the number of labelled cases, one panel a dataset, with the spread over seeds."""
    datasets = list(dict.fromkeys(record["dataset"] for record in records))
    figure = Figure(figsize=(4.2 * len(datasets), 3.4), layout="constrained")
    for axes, dataset in zip(figure.subplots(1, len(datasets), squeeze=False)[0], datasets, strict=True):
        for method, colour in COLOURS.items():
            own = [r for r in records if (r["dataset"], r["method"]) == (dataset, method)]
            groups = _grouped(own, "shots")
            shots = [key[0] for key in groups]
            means = [np.mean(_values(runs, "dice")) for runs in groups.values()]
            spread = [np.std(_values(runs, "dice")) for runs in groups.values()]
            axes.errorbar(shots, means, spread, marker="o", capsize=3, color=colour, label=method)
        axes.set(title=DATASETS[dataset].title.split(",")[0], xlabel="labelled cases", ylabel="Dice", xscale="log")
        axes.set_xticks(shots, [str(n) for n in shots])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def _origin(records: Sequence[Record]) -> str:
    groups = _grouped(records, "study", "commit", "machine", "quick")
    lines = [
        f"- {study}: {len(runs)} run{'s' if len(runs) > 1 else ''} at commit {commit}, {machine}"
        + (" (cut down with --quick)" if quick else "")
        for (study, commit, machine, quick), runs in groups.items()
    ]
    return "\n".join(["## Where the runs come from", "", *lines])


def _grouped(records: Iterable[Record], *keys: str) -> dict[tuple[Any, ...], list[Record]]:
    groups: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for record in records:
        groups[tuple(record[key] for key in keys)].append(record)
    return dict(groups)


def _order(record: Record) -> tuple[Any, ...]:
    place = (list(STUDIES).index(record["study"]), list(DATASETS).index(record["dataset"]))
    number_of = (record["shots"] or 0, record["every"] or 0)
    return (*place, *number_of, list(METHODS).index(record["method"]), record["seed"])


def _names(record: Record) -> list[str]:
    return [DATASETS[record["dataset"]].title, record["method"], str(record["seed"])]


def _values(runs: Sequence[Record], metric: str) -> list[float]:
    return [value for run in runs if (value := run["mean"][metric]) is not None]


def _spread(values: Sequence[float | None], digits: int = 3) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    spread = f" ± {np.std(known, ddof=1):.{digits}f}" if len(known) > 1 else ""
    return f"{np.mean(known):.{digits}f}{spread}"


def _difference(differences: Sequence[float], digits: int) -> str:
    interval = bootstrap_interval(differences)
    if interval is None:
        return "–"
    return f"{np.mean(differences):+.{digits}f} ({interval[0]:+.{digits}f} to {interval[1]:+.{digits}f})"


def _section(title: str, text: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    table = ["| " + " | ".join(row) + " |" for row in (heads, ["---"] * len(heads), *rows)]
    return "\n\n".join(part for part in (f"## {title}", text, "\n".join(table)) if part)


def number(value: float | None, digits: int = 3) -> str:
    """A number, or a dash where it is not defined."""
    return "–" if value is None else f"{value:.{digits}f}"


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of the JSON files")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md", help="file to write")
    arguments = parser.parse_args()
    write(arguments.results, arguments.out)


if __name__ == "__main__":
    main()
