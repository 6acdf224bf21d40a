"""RESULTS.md, its figure and the README's tables from the JSON files in results/. Nobody types a number.

python benchmarks/tables.py
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from data_sets import DATASETS, PUBLISHED, SCANS
from matplotlib import rc_context
from matplotlib.figure import Figure
from mdtable import difference, number, section, spread
from records import (
    Record,
    against_reference,
    commits,
    costs,
    grouped,
    holds,
    labelled,
    read,
    scores,
    seed_by_seed,
    shared,
    values,
    without_distance,
    worst,
)
from short import put
from studies import ALONE, NONE, PLAIN, REFERENCE, STUDIES

from masg_sam.evaluation.statistics import mean, median

HERE = Path(__file__).parent
HEAD = """# Results

Written by `python benchmarks/tables.py` from the JSON files in `results/`, which `python benchmarks/run.py` made: see
[how](README.md), also for what differs between the commits of the rows. Scores are of the test cases; of a case, the
mean over its classes. HD95 is in mm, of pictures in pixels; where a class was missed there is none, and it is left out
and counted. Surface Dice has a tolerance of about a voxel, or more where voxels are fine:
{tolerances}. Minutes are of the wall clock, CPU minutes of all cores together: other
work often shared the machine, which makes both longer."""
COST = ("steps", "input", "train min", "CPU min", "GB", "predict min")
RUN_HEADS = (
    *("dataset", "method", "seed", "Dice", "worst case", "HD95", "median HD95", "missed", "surface Dice"),
    *(*COST, "commit"),
)
METHOD_HEADS = (
    *("dataset", "method", "seeds", "Dice", "worst tenth", "HD95", "surface Dice"),
    *("Δ Dice", "seed by seed", "Δ HD95", "Δ surface Dice", "p"),
    *("steps", "train min", "CPU min", "predict min", "commit"),
)
METRICS = (("dice", 3), ("hd95_mm", 1), ("surface_dice", 3))
COLOURS = {REFERENCE: "#0072B2", PLAIN: "#D55E00"}
PAIRED = """After ±, where there are several seeds, the standard deviation over them. The worst tenth is the mean Dice
of the worst tenth of the cases. Δ is masg-sam minus the method, seed by seed and class by class where both have a
value, averaged in each case, with the 95 % bootstrap interval (BCa) over the cases. p is of Wilcoxon's signed-rank test
on the differences of Dice, corrected (Holm) for the rows of the same dataset in this table. A star marks differences
that hold as [`masg-sam compare`](../docs/how-to/compare.md) has it: p below 0.05, the interval away from zero, mean and
ranks on one side; and which have the same sign with every seed. All of this is over test cases: a star of one seed says
nothing of the next one. How much that changes stands in "seed by seed", the Δ Dice of each."""
PEERS = """nnU-Net v2 plans and preprocesses the same labelled cases (not counted), trains on all of them for about the
wall clock that `masg-sam train` took with its defaults when it was run (see "train min"), with a learning rate that
decays to zero over that time, and predicts as it does by default: `3d_fullres` for scans, `2d` for pictures, and `2d`
for scans as "nnU-Net 2d". It starts from random weights, and its own default is 250 times 1000 steps: this says what a
CPU can do in minutes, and not what nnU-Net can."""
UNLABELLED = """Trained twice with the defaults: on the labelled scans, and then on them and on the masks that the
first model gave to scans without labels. Minutes are of both trainings. **Self-training uses more images than any
other row.**"""
ADDED = """To SAM's decoder with its second pass and none of the three: runs of the table above, Δ being the module
alone minus none. Where two modules do the same, leaving one of them out shows less than each is worth, and this shows
more."""
ADDED_HEADS = ("dataset", "with", "seeds", "Dice without all three", "Dice", "Δ Dice", "Δ HD95", "Δ surface Dice")
PLAIN_TEXT = """The plain decoder is a feature pyramid on the same encoder; samples, steps and planes are the same."""


def write(results: Path, out: Path) -> None:
    """All sections for which there are results."""
    records = read(results)
    studies = {study: [record for record in records if record["study"] == study] for study in STUDIES}
    sections = [head(records)]
    if found := studies["defaults"]:
        sections.append(whole("The three commands with their defaults", found))
        sections.append(methods("The whole method and the plain decoder, both with the defaults", PLAIN_TEXT, found))
        sections += [classes("The same, class by class", found), trust(found)]
    if studies["peers"]:
        same = {(record["dataset"], record["seed"]) for record in studies["peers"]}
        own = [r for r in studies["defaults"] if r["method"] == REFERENCE and (r["dataset"], r["seed"]) in same]
        sections.append(methods(title("peers"), PEERS, [*own, *studies["peers"]]))
    for study in ("modules", "controls", "clip"):
        if studies[study]:
            sections.append(methods(title(study), budget(studies[study]), studies[study]))
    if any(record["method"] in ALONE for record in studies["modules"]):
        sections.append(additions(studies["modules"]))
    if studies["modules"]:
        sections.append(classes("Modules, class by class", studies["modules"]))
    if studies["terms"]:
        sections.append(terms(studies["terms"]))
    if studies["shots"]:
        curve(studies["shots"], out.parent / "shots.svg")
        sections.append(shots("Labels", "![Dice against labelled cases](shots.svg)", studies["shots"]))
    if studies["sparse"]:
        sections.append(shots("Labelled slices of one scan", "", studies["sparse"]))
    if found := [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("prompts-*.json"))]:
        sections.append(prompts(found))
    if studies["unlabelled"]:
        sections.append(methods(title("unlabelled"), UNLABELLED, studies["unlabelled"]))
    if studies["published"]:
        sections.append(whole(title("published"), studies["published"]))
    sections.append(origin(records))
    out.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def title(study: str) -> str:
    """What a study asks."""
    return (STUDIES[study].__doc__ or study).strip()


def head(records: Sequence[Record]) -> str:
    """What all sections share."""
    sets = dict.fromkeys(record["dataset"] for record in records)
    units = {name: "mm" if name in SCANS or name in PUBLISHED else "pixels" for name in sets}
    tolerances = ", ".join(f"{DATASETS[n].title.split(',')[0]} {DATASETS[n].tolerance:g} {units[n]}" for n in sets)
    return HEAD.replace("{tolerances}", tolerances)


def budget(records: Sequence[Record]) -> str:
    """What all methods of a study share, as it was typed."""
    typed = {one["dataset"]: one["command"] for one in records if one["method"] == REFERENCE}
    flags = "; ".join(f"{DATASETS[name].title}: `{what.partition(' --out RUN ')[2]}`" for name, what in typed.items())
    return (
        "Samples, steps, input and evaluation are the same for all, smaller than the defaults, in one plane and\n"
        f"without learning which Dice to expect ({flags})."
    )


def whole(heading: str, records: Sequence[Record]) -> str:
    """Runs with nothing set: scores and cost of each."""
    rows = []
    for record in records:
        scored = [f"{number(record['mean'][m], d)} ± {number(record['sd'][m], d)}" for m, d in METRICS]
        scored[2:2] = [number(median(scores_of([record], "hd95_mm")), 1), str(without_distance([record]))]
        scored[1:1] = [number(worst([record])[0])]
        cost = [number(record["train"].get(what), 1) for what in ("minutes", "cpu_minutes", "peak_gb")]
        predicted = number(record["predict"]["minutes"], 1)
        size = " x ".join(map(str, record["size"]))
        rows.append([*names(record), *scored, str(record["steps"]), size, *cost, predicted, record["commit"]])
    return section(
        heading,
        "`masg-sam train DATA --out RUN`, `predict`, `evaluate`, nothing set. After ± the standard deviation over the\n"
        "test cases.",
        [
            *("dataset", "method", "seed", "Dice", "worst case", "HD95", "median HD95", "missed", "surface Dice"),
            *COST,
            "commit",
        ],
        rows,
    )


def classes(heading: str, records: Sequence[Record]) -> str:
    """Each class of each method, and the paired differences of the whole method to the others."""
    groups = grouped(records, "dataset", "method")
    rows = []
    for dataset in dict.fromkeys(record["dataset"] for record in records):
        if (dataset, REFERENCE) not in groups:
            continue
        for name in groups[dataset, REFERENCE][0]["classes"]:
            dice, hd95, surface = (against_reference(groups, dataset, metric, name) for metric, _ in METRICS)
            for method, pair in dice.items():
                means = [mean_of(runs, "dice", name) for runs in zip(*shared(groups, dataset, method), strict=True)]
                star = "*" * holds(groups, dataset, method, pair, "dice", name)
                wins = [sum(sign * change > 0 for change in pair.cases.values()) for sign in (1, -1)]
                scored = [*map(number, means), difference(pair, 3) + star, f"{wins[0]} / {wins[1]}"]
                borders = [difference(hd95[method], 1), difference(surface[method], 3)]
                rows.append([DATASETS[dataset].title, name, method, *scored, *borders])
    return section(
        heading,
        "Dice of masg-sam and of the method named, the paired difference as above with the number of cases in which\n"
        "masg-sam is better or worse, and the differences of HD95 and surface Dice; all of the seeds that both have.\n"
        "p is corrected for the methods of a class. Anterior and posterior hippocampus touch each other.",
        ["dataset", "class", "against", "masg-sam", "it", "Δ Dice", "better / worse", "Δ HD95", "Δ surface Dice"],
        rows,
    )


def trust(records: Sequence[Record]) -> str:
    """How well the expected Dice fits the true one."""
    rows = []
    for record in records:
        found = record["confidence"]
        if found is not None:
            numbers = [number(found["spearman"], 2), number(found["error"]), number(deviation(record))]
            numbers += [f"{found['bias']:+.3f}", f"{found['worst_fifth']:.0%}"]
            rows.append([*names(record), str(found["cases"]), *numbers])
    return section(
        "Confidence against Dice",
        "`predict` says, without labels, which Dice to expect of a case. Rho is Spearman's, over the test cases; the\n"
        "error is the mean absolute difference to the true Dice, beside that of the mean true Dice, which nobody\n"
        "knows beforehand; the bias is the mean signed difference; the last column is the part of the worst fifth of\n"
        "the cases by Dice that is in the worst fifth by expected Dice, 20 % by chance.",
        ["dataset", "method", "seed", "cases", "rho", "error", "error of the mean", "bias", "worst fifth found"],
        rows,
    )


def methods(heading: str, text: str, records: Sequence[Record]) -> str:
    """Each method's mean over seeds, its cost, and the paired difference of the whole method to it."""
    groups = grouped(records, "dataset", "method")
    rows = []
    for dataset in dict.fromkeys(record["dataset"] for record in records):
        apart = {metric: against_reference(groups, dataset, metric) for metric, _ in METRICS}
        for method in [one for of, one in groups if of == dataset]:
            runs = groups[dataset, method]
            cost = [number(costs(runs, what), 1) for what in ("minutes", "cpu_minutes")]
            cost += [number(mean(run["predict"]["minutes"] for run in runs), 1), commits(runs)]
            scored = [spread(values(runs, metric), digits) for metric, digits in METRICS]
            scored.insert(1, number(worst(runs)[1]))
            pairs = [(apart[metric].get(method), metric, digits) for metric, digits in METRICS]
            changes = [
                difference(pair, digits) + "*" * holds(groups, dataset, method, pair, metric)
                for pair, metric, digits in pairs
            ]
            seeds = [] if method == REFERENCE else seed_by_seed(groups, dataset, method)
            changes.insert(
                1, ", ".join("–" if one is None else f"{one:+.3f}" for one in seeds) if len(seeds) > 1 else "–"
            )
            p = pairs[0][0].p_holm if pairs[0][0] else None
            changes.append("–" if p is None else f"{p:.2g}")
            steps = number(mean(run["steps"] for run in runs), 0)
            rows.append([DATASETS[dataset].title, method, str(len(runs)), *scored, *changes, steps, *cost])
    return section(heading, f"{text}\n{PAIRED}", METHOD_HEADS, rows)


def additions(records: Sequence[Record]) -> str:
    """What each module by itself adds to SAM's decoder: the paired difference to none of them, with the same seeds."""
    groups = grouped(records, "dataset", "method")
    rows = []
    for dataset, method in [key for key in groups if key[1] in ALONE and (key[0], NONE) in groups]:
        seeds = {run["seed"] for run in groups[dataset, method]} & {run["seed"] for run in groups[dataset, NONE]}
        ours, theirs = ([run for run in groups[dataset, one] if run["seed"] in seeds] for one in (method, NONE))
        pair = {(dataset, REFERENCE): ours, (dataset, NONE): theirs}
        row = [DATASETS[dataset].title, method, str(len(seeds))]
        row += [spread(values(runs, "dice")) for runs in (theirs, ours)]
        for metric, digits in METRICS:
            found = against_reference(pair, dataset, metric)[NONE]
            row.append(difference(found, digits) + "*" * holds(pair, dataset, NONE, found, metric))
        rows.append(row)
    return section("What each module adds by itself", ADDED, ADDED_HEADS, rows)


def terms(records: Sequence[Record]) -> str:
    """Attention, diversity and drift at the end of training, with and without the terms that shape them."""
    rows = []
    for (dataset, method), runs in grouped(records, "dataset", "method").items():
        found = [run["diagnostics"] for run in runs if run.get("diagnostics")]
        levels = sorted({name for one in found for name in one if name.startswith("hae/attention_")})
        shares = ", ".join(number(mean(one[level] for one in found), 2) for level in levels)
        means = [number(mean(one.get(name) for one in found)) for name in ("hae/diversity", "hae/drift")]
        rows.append([DATASETS[dataset].title, method, str(len(runs)), spread(values(runs, "dice")), shares, *means])
    return section(
        title("terms"),
        f"{budget(records)} All three numbers are of the last training batch: the mean attention to each level, fine\n"
        "to coarse; the diversity loss (similarity of the levels plus missing entropy: low is diverse); and the mean\n"
        "cosine distance between SAM's embedding and the enhanced one.",
        ["dataset", "method", "seeds", "Dice", "attention to levels", "diversity loss", "drift"],
        rows,
    )


def shots(heading: str, before: str, records: Sequence[Record]) -> str:
    """Dice against the number of labels."""
    rows = []
    for (dataset, method, _, every), runs in grouped(records, "dataset", "method", "shots", "every").items():
        number_of = f"{labelled(runs[0])}" + (f", every {every}th slice" if every else "")
        rows.append([DATASETS[dataset].title, method, number_of, str(len(runs)), spread(values(runs, "dice"))])
    text = "± is over seeds, which draw the cases too. Steps and input as in the comparison of methods."
    return section(
        heading,
        "\n\n".join(part for part in (before, text) if part),
        ["dataset", "method", "labelled cases", "seeds", "Dice"],
        rows,
    )


def prompts(records: Sequence[Record]) -> str:
    """Dice after clicks and with boxes, over the cases."""
    most = min(len(case["clicks"]) for record in records for case in record["cases"].values()) - 1
    rows = []
    for record in records:
        cases = list(record["cases"].values())
        clicks = [[case["clicks"][i] for case in cases] for i in range(most + 1)]
        worst_of = (min((one for one in clicks[i] if one is not None), default=None) for i in (0, most))
        means = [number(one) for one in (*map(mean, clicks), mean(case["boxes"] for case in cases), *worst_of)]
        times = [number(record["network_seconds"], 1), number(record["seconds"], 2)]
        rows.append([record["name"], str(len(cases)), *means, *times, record["commit"]])
    return section(
        "What prompts are worth",
        "Written by `python benchmarks/prompts.py`, of the whole method as trained for the comparison of modules,\n"
        "with seed 0. A simulated user clicks into the middle of the largest piece that is wrong in the whole scan,\n"
        f"up to {most} times; or gives a box for each class in each slice, its sides moved by up to a tenth. Dice,\n"
        "mean over the cases; the worst case without and with all clicks; median seconds of the network, which is\n"
        "asked once a case, and of each answer to prompts.",
        [
            *("dataset", "cases", "no prompt", "1 click", *(f"{i} clicks" for i in range(2, most + 1)), "boxes"),
            *("worst case", "the same, clicked", "network s", "prompts s", "commit"),
        ],
        rows,
    )


def curve(records: Sequence[Record], path: Path) -> None:
    """Dice against the number of labelled cases, one panel a dataset, with the spread over seeds."""
    datasets = list(dict.fromkeys(record["dataset"] for record in records))
    figure = Figure(figsize=(4.2 * len(datasets), 3.4), layout="constrained")
    for axes, dataset in zip(figure.subplots(1, len(datasets), squeeze=False)[0], datasets, strict=True):
        for method, colour in COLOURS.items():
            own = [r for r in records if (r["dataset"], r["method"]) == (dataset, method)]
            groups = grouped(own, "shots")
            numbers = [labelled(runs[0]) for runs in groups.values()]
            means = [np.mean(values(runs, "dice")) for runs in groups.values()]
            deviation = [np.std(values(runs, "dice")) for runs in groups.values()]
            axes.errorbar(numbers, means, deviation, marker="o", capsize=3, color=colour, label=method)
        axes.set(title=DATASETS[dataset].title.split(",")[0], xlabel="labelled cases", ylabel="Dice", xscale="log")
        axes.set_xticks(numbers, [str(n) for n in numbers])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    with rc_context({"svg.hashsalt": "shots"}):  # or the file would be another one each time
        figure.savefig(path, metadata={"Date": None})


def origin(records: Sequence[Record]) -> str:
    """Commits and machines."""
    groups = grouped(records, "study", "commit", "machine", "quick")
    lines = [
        f"- {study}: {len(runs)} run{'s' if len(runs) > 1 else ''} at commit {commit}, {machine}"
        + (" (cut down with --quick)" if quick else "")
        for (study, commit, machine, quick), runs in groups.items()
    ]
    return "\n".join(["## Where the runs come from", "", *lines])


def scores_of(runs: Sequence[Record], metric: str) -> list[float | None]:
    """Of each case, the mean over seeds and classes."""
    return [mean(one.values()) for one in scores(runs, metric).values()]


def mean_of(runs: Sequence[Record], metric: str, name: str) -> float | None:
    """Of one class, over seeds and cases."""
    return mean(value for one in scores(runs, metric, name).values() for value in one.values())


def deviation(record: Record) -> float | None:
    """Mean absolute deviation of the cases' Dice from their mean."""
    dice = [value for value in scores_of([record], "dice") if value is not None]
    return float(np.abs(np.array(dice) - np.mean(dice)).mean()) if dice else None


def names(record: Record) -> list[str]:
    """Dataset, method and seed."""
    return [DATASETS[record["dataset"]].title, record["method"], str(record["seed"])]


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of the JSON files")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md", help="file to write")
    parser.add_argument(
        "--readme", type=Path, default=HERE.parent / "README.md", help="file that gets the short tables"
    )
    arguments = parser.parse_args()
    write(arguments.results, arguments.out)
    put(arguments.readme, read(arguments.results))


if __name__ == "__main__":
    main()
