"""The three commands with their defaults on four public datasets, beside a plain decoder with the same budget.

    python benchmarks/defaults.py run --data DATA            # resumable; one JSON file a run
    python benchmarks/defaults.py table                      # writes RESULTS.md from the JSON files

A run is `masg-sam train`, `predict` and `evaluate` as separate processes, as a user types them. The test part
is only predicted and scored: nothing here chooses anything.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

HERE = Path(__file__).parent
RESULTS, TABLE = HERE / "results", HERE / "RESULTS.md"


@dataclass(frozen=True)
class Protocol:
    """A dataset: what is trained on, predicted, and compared with, relative to the data folder."""

    title: str
    train: str
    images: str
    labels: str
    yardstick: str


PROTOCOLS = {
    "la4": Protocol("LA, 4 scans", "la4", "la4/imagesTs", "la4/labelsTs", "0.885"),
    "kvasir20": Protocol(
        "Kvasir, 20 images", "kvasir20/train", "kvasir20/test/images", "kvasir20/test/labels", "0.812"
    ),
    "hippocampus": Protocol(
        "Hippocampus, 5 volumes", "hippocampus", "hippocampus/imagesTs", "hippocampus/labelsTs", "0.834"
    ),
    "openkbp5": Protocol("OpenKBP, 5 volumes", "openkbp5", "openkbp5/imagesTs", "openkbp5/labelsTs", "0.270"),
}
METHODS: dict[str, list[str]] = {
    "masg-sam": [],
    "plain decoder": ["--model.decoder.kind", "fpn"],
}


def run_one(data: Path, work: Path, name: str, method: str, seed: int) -> dict[str, Any]:
    """Train, predict, evaluate; returns the record of the run."""
    protocol, place = PROTOCOLS[name], work / f"{name}-{method.replace(' ', '-')}-{seed}"
    run, masks = place / "run", place / "masks"
    command = [sys.executable, "-c", "from masg_sam.cli import main; main()"]
    resume = ["--resume"] if (run / "last.safetensors").exists() else []
    flags = [*METHODS[method], *(["--training.seed", str(seed)] if seed else [])]
    train = ["train", str(data / protocol.train), "--out", str(run), *flags, *resume]
    trained = None
    if not (run / "model.json").exists():
        trained = measure([*command, *train])
    predicted = measure([*command, "predict", str(run), str(data / protocol.images), "--out", str(masks)])
    scores = subprocess.run(
        [*command, "evaluate", str(masks), str(data / protocol.labels), "--json"],
        check=True,
        capture_output=True,
    )
    report = json.loads(scores.stdout)
    settings = json.loads((run / "run.json").read_text(encoding="utf-8"))
    return {
        "dataset": name,
        "method": method,
        "seed": seed,
        "command": " ".join(["masg-sam train", protocol.train, "--out RUN", *flags]),
        "steps": settings["steps"],
        "size": settings["task"]["size"],
        "facts": settings["facts"],
        "train": trained,
        "predict": predicted,
        "mean": report["mean"],
        "sd": report.get("sd"),
        "classes": report["classes"],
        "cases": len(report["cases"]),
        "confidence": confidence(masks / "predictions.jsonl", report),
        "commit": commit(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
    }


def confidence(predictions: Path, report: dict[str, Any]) -> dict[str, float] | None:
    """The Dice that prediction expected of each case against the true one, each the mean over its classes.

    Returns:
        Spearman's rho, mean absolute and signed error, and the part of the worst fifth by Dice that is in the worst
        fifth by expected Dice; ``None`` where nothing was expected.
    """
    lines = (json.loads(line) for line in predictions.read_text(encoding="utf-8").splitlines())
    expected = {line["case"]: average(line["expected_dice"].values()) for line in lines}
    true = {case["case"]: average(one["dice"] for one in case["classes"].values()) for case in report["cases"]}
    pairs = [(expected[case], dice) for case, dice in true.items() if None not in (dice, expected.get(case))]
    if len(pairs) < 3:
        return None
    said, was = np.array(pairs).T
    fifth = math.ceil(len(pairs) / 5)
    worst = set(np.argsort(said, kind="stable")[:fifth]) & set(np.argsort(was, kind="stable")[:fifth])
    return {
        "cases": len(pairs),
        "spearman": float(spearmanr(said, was).statistic),
        "error": float(np.abs(said - was).mean()),
        "bias": float((said - was).mean()),
        "worst_fifth": len(worst) / fifth,
    }


def average(values: Iterable[float | None]) -> float | None:
    """Mean of what is defined."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def measure(command: list[str]) -> dict[str, float]:
    """Minutes of wall clock and peak memory of a process, which must succeed."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed with status {os.waitstatus_to_exitcode(status)}: {' '.join(command)}")
    return {
        "minutes": round((time.monotonic() - started) / 60, 2),
        "peak_gb": round(usage.ru_maxrss / 2**20, 2),
    }


def commit() -> str:
    """The commit, marked when the tree differs from it."""
    result = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True)
    return result.stdout.strip()


def run(arguments: argparse.Namespace) -> None:
    """Every run that has no JSON file yet."""
    RESULTS.mkdir(exist_ok=True)
    for seed in arguments.seeds:
        for name in arguments.datasets:
            for method in arguments.methods:
                path = RESULTS / f"{name}-{method.replace(' ', '-')}-{seed}.json"
                if path.exists():
                    continue
                record = run_one(arguments.data.resolve(), arguments.work.resolve(), name, method, seed)
                place = path.with_suffix(".writing")
                place.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
                os.replace(place, path)
                sys.stderr.write(f"{name}, {method}, seed {seed}: Dice {record['mean']['dice']:.4f}\n")


def table(_: argparse.Namespace) -> None:
    """RESULTS.md from the JSON files."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    lines = [
        "# Results",
        "",
        __doc__.strip().split("\n\n")[0] + " Written by `python benchmarks/defaults.py table`.",
        "",
    ]
    lines += [
        "Dice, HD95 and surface Dice (2 mm; 2 pixels for pictures) are means over the test cases, ± one standard",
        "deviation over the cases. Yardstick: a plain pyramid decoder measured elsewhere (256 px, 15 min on LA).",
        "",
        "| dataset | method | seed | Dice | HD95 mm | surface Dice | steps | input | train min | GB | predict min |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [row(record) for record in sorted(records, key=order)]
    lines += ["", "## Classes", "", "| dataset | method | seed | Dice of each class |", "|---|---|---|---|"]
    for record in sorted(records, key=order):
        parts = [f"{name} {number(values.get('dice'))}" for name, values in record["classes"].items()]
        lines.append(
            f"| {PROTOCOLS[record['dataset']].title} | {record['method']} | {record['seed']} | {', '.join(parts)} |"
        )
    lines += ["", "## Confidence against Dice", ""]
    lines += [
        "`predict` says, without labels, which Dice to expect of a case. Rho is Spearman's, over the test cases; the",
        "error is the mean absolute difference to the true Dice, the bias the mean signed one; the last column is the",
        "part of the worst fifth of the cases by Dice that is in the worst fifth by expected Dice.",
        "",
        "| dataset | method | seed | cases | rho | error | bias | worst fifth found |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [trust_row(record) for record in sorted(records, key=order) if record.get("confidence")]
    lines += ["", "## How each was run", ""]
    for record in sorted(records, key=order):
        lines.append(
            f"- `{record['command']}` at commit {record['commit']}, {record['machine']}, {record['cases']} test cases"
        )
    for name, protocol in PROTOCOLS.items():
        lines.append(f"- yardstick of {name}: Dice {protocol.yardstick}")
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def order(record: dict[str, Any]) -> tuple[int, int, int]:
    """Datasets and methods in the order they are listed above."""
    return list(PROTOCOLS).index(record["dataset"]), list(METHODS).index(record["method"]), record["seed"]


def row(record: dict[str, Any]) -> str:
    """One line of the main table."""
    mean, sd = record["mean"], record.get("sd") or {}
    spread = [
        f"{number(mean.get(m), d)} ± {number(sd.get(m), d)}"
        for m, d in (("dice", 3), ("hd95_mm", 1), ("surface_dice", 3))
    ]
    trained = record["train"] or {}
    cells = [
        PROTOCOLS[record["dataset"]].title,
        record["method"],
        str(record["seed"]),
        *spread,
        str(record["steps"]),
    ]
    cells += [
        " x ".join(map(str, record["size"])),
        number(trained.get("minutes"), 1),
        number(trained.get("peak_gb"), 1),
    ]
    return "| " + " | ".join([*cells, number(record["predict"]["minutes"], 1)]) + " |"


def trust_row(record: dict[str, Any]) -> str:
    """One line of the table of confidence."""
    found = record["confidence"]
    cells = [PROTOCOLS[record["dataset"]].title, record["method"], str(record["seed"]), str(found["cases"])]
    cells += [number(found["spearman"], 2), number(found["error"]), f"{found['bias']:+.3f}"]
    return "| " + " | ".join([*cells, f"{found['worst_fifth']:.0%}"]) + " |"


def number(value: float | None, digits: int = 3) -> str:
    """A number, or a dash where it is not defined."""
    return "–" if value is None else f"{value:.{digits}f}"


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    runner = verbs.add_parser("run", help="make the runs that are missing")
    runner.add_argument("--data", type=Path, required=True, help="folder with la4, kvasir20, hippocampus, openkbp5")
    runner.add_argument("--work", type=Path, default=Path("runs/benchmarks"), help="where runs and masks go")
    runner.add_argument("--datasets", nargs="+", default=list(PROTOCOLS), choices=list(PROTOCOLS))
    runner.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    runner.add_argument("--seeds", nargs="+", type=int, default=[0])
    runner.set_defaults(verb=run)
    verbs.add_parser("table", help="write RESULTS.md").set_defaults(verb=table)
    arguments = parser.parse_args()
    arguments.verb(arguments)


if __name__ == "__main__":
    main()
