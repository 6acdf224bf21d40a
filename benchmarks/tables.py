"""RESULTS.md, its figure and the README's tables from the JSON files in results/. Nobody types a number.

python benchmarks/tables.py
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from data_sets import DATASETS
from matplotlib.figure import Figure
from mdtable import difference, number, section, spread
from records import Record, commits, costs, grouped, paired, read, values, worst
from scipy.stats import wilcoxon
from short import put
from studies import PLAIN, REFERENCE, STUDIES
from trust import average

from masg_sam.evaluation.compare import holm

HERE = Path(__file__).parent
HEAD = """# Results

Written by `python benchmarks/tables.py` from the JSON files in `results/`, which `python benchmarks/run.py` made: see
[how](README.md). Dice, HD95 and surface Dice (2 mm; 2 pixels for pictures) are means over the test cases of the mean
over the classes, ± one standard deviation over the cases. HD95 is in mm, of pictures in pixels; distances of missed
classes are undefined and left out. Minutes are of the wall clock, CPU minutes of all cores together: others may have
shared the machine."""
COST = ("steps", "input", "train min", "CPU min", "GB", "predict min")
METHOD_HEADS = (
    *("dataset", "method", "seeds", "Dice", "worst tenth", "HD95", "boundary F1"),
    *("Δ Dice", "Δ HD95", "Δ boundary F1", "p", "steps", "train min", "CPU min", "predict min", "commit"),
)
P = METHOD_HEADS.index("p")
COLOURS = {REFERENCE: "#0072B2", PLAIN: "#D55E00"}
PAIRED = """± is over seeds. The worst tenth is the mean Dice of the worst tenth of the cases. Differences are
masg-sam minus the method on the same cases, each case's mean over seeds, with the 95 % bootstrap interval over cases;
p is of Wilcoxon's signed-rank test on Dice, corrected for all rows (Holm). Both are of the trainings shown, and say
nothing of another seed."""
PEERS = """nnU-Net v2 plans and preprocesses the same labelled cases (not counted), trains on all of them for the wall
clock that `masg-sam train` took with its defaults, its learning rate falling to zero until then, and predicts as it
does by default: `3d_fullres` for scans, `2d` for pictures, and `2d` for scans as "nnU-Net 2d". masg-sam is the run
above."""
UNLABELLED = """Trained twice with the defaults: on the labelled scans, and then on them and on the masks that the
first model gave to scans without labels. Minutes are of both trainings. **Self-training uses more images than any
other row.**"""


def write(results: Path, out: Path) -> None:
    """All sections for which there are results."""
    records = read(results)
    studies = {study: [record for record in records if record["study"] == study] for study in STUDIES}
    sections = [HEAD]
    if found := studies["defaults"]:
        sections += [whole("The three commands with their defaults", found), classes(found), trust(found)]
    if studies["peers"]:
        same = {(record["dataset"], record["seed"]) for record in studies["peers"]}
        own = [r for r in studies["defaults"] if r["method"] == REFERENCE and (r["dataset"], r["seed"]) in same]
        sections.append(methods(title("peers"), PEERS, [*own, *studies["peers"]]))
    for study in ("modules", "controls", "clip"):
        if studies[study]:
            sections.append(methods(title(study), budget(studies[study]), studies[study]))
    if studies["terms"]:
        sections.append(terms(studies["terms"]))
    if studies["shots"]:
        curve(studies["shots"], out.parent / "shots.svg")
        sections.append(shots("Labels", "![Dice against labelled cases](shots.svg)", studies["shots"]))
    if studies["sparse"]:
        sections.append(shots("Labelled slices of one scan", "", studies["sparse"]))
    if studies["unlabelled"]:
        sections.append(methods(title("unlabelled"), UNLABELLED, studies["unlabelled"]))
    if studies["published"]:
        sections.append(whole(title("published"), studies["published"]))
    sections.append(origin(records))
    out.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def title(study: str) -> str:
    """What a study asks."""
    return (STUDIES[study].__doc__ or study).strip()


def budget(records: Sequence[Record]) -> str:
    """What all methods of a study share."""
    sets = dict.fromkeys(record["dataset"] for record in records)
    flags = "; ".join(f"{DATASETS[name].title}: `{' '.join(DATASETS[name].budget)}`" for name in sets)
    return f"Equal samples, steps and evaluation for all ({flags})."


def whole(heading: str, records: Sequence[Record]) -> str:
    """Runs with nothing set: scores and cost of each."""
    rows = []
    for record in records:
        scores = [
            f"{number(record['mean'][m], d)} ± {number(record['sd'][m], d)}"
            for m, d in (("dice", 3), ("hd95_mm", 1), ("surface_dice", 3))
        ]
        cost = [number(record["train"].get(what), 1) for what in ("minutes", "cpu_minutes", "peak_gb")]
        predicted = number(record["predict"]["minutes"], 1)
        size = " x ".join(map(str, record["size"]))
        rows.append([*names(record), *scores, str(record["steps"]), size, *cost, predicted, record["commit"]])
    return section(
        heading,
        "`masg-sam train DATA --out RUN`, `predict`, `evaluate`, nothing set. Compare rows of one commit: what\n"
        "changed between commits stands in [what was tried](../docs/explanation/what-was-tried.md).",
        ["dataset", "method", "seed", "Dice", "HD95", "surface Dice", *COST, "commit"],
        rows,
    )


def classes(records: Sequence[Record]) -> str:
    """Dice of each class, and of the worst cases."""
    rows = []
    for record in records:
        each = ", ".join(f"{name} {number(one['dice'])}" for name, one in record["classes"].items())
        rows.append([*names(record), each, *map(number, worst([record]))])
    heads = ["dataset", "method", "seed", "Dice of each class", "worst case", "worst tenth"]
    return section("Classes and worst cases", "Of a case, the mean Dice of its classes.", heads, rows)


def trust(records: Sequence[Record]) -> str:
    """How well the expected Dice fits the true one."""
    rows = []
    for record in records:
        found = record["confidence"]
        if found is not None:
            numbers = [number(found["spearman"], 2), number(found["error"]), f"{found['bias']:+.3f}"]
            rows.append([*names(record), str(found["cases"]), *numbers, f"{found['worst_fifth']:.0%}"])
    return section(
        "Confidence against Dice",
        "`predict` says, without labels, which Dice to expect of a case. Rho is Spearman's, over the test cases; the\n"
        "error is the mean absolute difference to the true Dice, the bias the mean signed one; the last column is the\n"
        "part of the worst fifth of the cases by Dice that is in the worst fifth by expected Dice.",
        ["dataset", "method", "seed", "cases", "rho", "error", "bias", "worst fifth found"],
        rows,
    )


def methods(heading: str, text: str, records: Sequence[Record]) -> str:
    """Each method's mean over seeds, its cost, and the paired difference of the whole method to it."""
    groups = grouped(records, "dataset", "method")
    rows, p_values, places = [], [], []
    for (dataset, method), runs in sorted(groups.items(), key=lambda item: list(DATASETS).index(item[0][0])):
        cost = [number(costs(runs, what), 1) for what in ("minutes", "cpu_minutes")]
        cost += [number(average(run["predict"]["minutes"] for run in runs), 1), commits(runs)]
        scores = [spread(values(runs, "dice")), number(worst(runs)[1])]
        scores += [spread(values(runs, "hd95_mm"), 1), spread(values(runs, "boundary_f1"))]
        row = [DATASETS[dataset].title, method, str(len(runs)), *scores]
        reference = groups.get((dataset, REFERENCE))
        for metric, digits in (("dice", 3), ("hd95_mm", 1), ("boundary_f1", 3)):
            differences = [] if reference is None or method == REFERENCE else paired(reference, runs, metric)
            row.append(difference(differences, digits))
            if metric == "dice" and any(differences):
                p_values.append(float(wilcoxon([d for d in differences if d]).pvalue))
                places.append(len(rows))
        rows.append([*row, "–", number(average(run["steps"] for run in runs), 0), *cost])
    for place, p in zip(places, holm(p_values), strict=True):
        rows[place][P] = f"{p:.2g}"
    return section(heading, f"{text}\n{PAIRED}", METHOD_HEADS, rows)


def terms(records: Sequence[Record]) -> str:
    """Attention, diversity and drift at the end of training, with and without the terms that shape them."""
    rows = []
    for (dataset, method), runs in grouped(records, "dataset", "method").items():
        found = [run["diagnostics"] for run in runs if run.get("diagnostics")]
        levels = sorted({name for one in found for name in one if name.startswith("hae/attention_")})
        shares = ", ".join(number(average(one[level] for one in found), 2) for level in levels)
        means = [number(average(one.get(name) for one in found)) for name in ("hae/diversity", "hae/drift")]
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
    for (dataset, method, shots, every), runs in grouped(records, "dataset", "method", "shots", "every").items():
        number_of = f"{shots}" + (f", every {every}th slice" if every else "")
        rows.append([DATASETS[dataset].title, method, number_of, str(len(runs)), spread(values(runs, "dice"))])
    text = "± is over seeds, which draw the cases too. Steps and input as in the comparison of methods."
    return section(
        heading,
        "\n\n".join(part for part in (before, text) if part),
        ["dataset", "method", "labelled cases", "seeds", "Dice"],
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
            numbers = [key[0] for key in groups]
            means = [np.mean(values(runs, "dice")) for runs in groups.values()]
            deviation = [np.std(values(runs, "dice")) for runs in groups.values()]
            axes.errorbar(numbers, means, deviation, marker="o", capsize=3, color=colour, label=method)
        axes.set(title=DATASETS[dataset].title.split(",")[0], xlabel="labelled cases", ylabel="Dice", xscale="log")
        axes.set_xticks(numbers, [str(n) for n in numbers])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
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
