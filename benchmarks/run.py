"""Makes the runs of a study that have no result yet; one JSON file a run.

    python benchmarks/run.py --data DATA --study defaults
    python benchmarks/run.py --data DATA --study modules controls shots sparse --seeds 0 1 2

A run is `masg-sam train`, `predict` and `evaluate` as separate processes, as a user types them. It can be stopped at
any time and started again. The test part is only predicted and scored: nothing here chooses anything.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from studies import DATASETS, FROM_SCRATCH, STUDIES, Run
from subsets import few_images, few_labels
from trust import confidence

HERE = Path(__file__).parent
RESULTS = HERE / "results"
MASG_SAM = [sys.executable, "-c", "from masg_sam.cli import main; main()"]
UNET = [sys.executable, str(HERE / "unet.py")]
KEPT = ("dice", "iou", "hd95_mm", "surface_dice", "boundary_f1")


def run_one(run: Run, data: Path, work: Path, quick: bool) -> dict[str, Any]:
    """Train, predict, evaluate; returns the record of the run."""
    dataset, place = DATASETS[run.dataset], work / run.study / run.key
    folder, masks = place / "run", place / "masks"
    images, labels = data / dataset.images, data / dataset.labels
    if quick:
        images = few_images(images, place / "images")
    training = few_labels(run, data / dataset.train, place / "data")
    program = UNET if run.method == FROM_SCRATCH else MASG_SAM
    flags = run.flags(quick)
    resume = ["--resume"] if (folder / "last.safetensors").exists() else []
    trained = once(place / "train.json", [*program, "train", str(training), "--out", str(folder), *flags, *resume])
    predicted = once(place / "predict.json", [*program, "predict", str(folder), str(images), "--out", str(masks)])
    report = evaluate(masks, labels, images if quick else None)
    settings = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return {
        "study": run.study,
        "dataset": run.dataset,
        "method": run.method,
        "seed": run.seed,
        "shots": run.shots,
        "every": run.every,
        "quick": quick,
        "command": " ".join(["masg-sam train", dataset.train, "--out RUN", *flags]),
        "steps": settings["steps"],
        "size": settings["task"]["size"],
        "trained_on": settings["cases"],
        "facts": settings["facts"],
        "train": trained,
        "predict": predicted,
        "mean": report["mean"],
        "sd": report["sd"],
        "classes": report["classes"],
        "cases": {
            one["case"]: {name: {k: scores[k] for k in KEPT} for name, scores in one["classes"].items()}
            for one in report["cases"]
        },
        "confidence": confidence(masks / "predictions.jsonl", report),
        "commit": commit(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
    }


def once(note: Path, command: list[str]) -> dict[str, float]:
    """Run a command if its note is not there yet; the note holds what it cost, for a run that is continued."""
    if not note.exists():
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps(measure(command)), encoding="utf-8")
    return json.loads(note.read_text(encoding="utf-8"))


def evaluate(masks: Path, labels: Path, images: Path | None) -> dict[str, Any]:
    """The scores of a folder of masks; with `images`, of those cases only."""
    if images is not None:
        labels = few_images(labels, masks.parent / "labels")
    command = [*MASG_SAM, "evaluate", str(masks), str(labels), "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def measure(command: list[str]) -> dict[str, float]:
    """Minutes of wall clock and peak memory of a process, which must succeed."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed with status {os.waitstatus_to_exitcode(status)}: {' '.join(command)}")
    return {
        "minutes": round((time.monotonic() - started) / 60, 2),
        "cpu_minutes": round((usage.ru_utime + usage.ru_stime) / 60, 2),
        "peak_gb": round(usage.ru_maxrss / 2**20, 2),
    }


def commit() -> str:
    """The commit, marked when the tree differs from it."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with la4, kvasir20, hippocampus, openkbp5")
    parser.add_argument("--study", nargs="+", required=True, choices=list(STUDIES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS), choices=list(DATASETS))
    parser.add_argument("--methods", nargs="+", help="only these")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmarks"), help="where runs and masks go")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON files go")
    parser.add_argument("--quick", action="store_true", help="two steps, two test cases: to see that it works")
    arguments = parser.parse_args()
    for study in arguments.study:
        for run in STUDIES[study](arguments.seeds):
            path = arguments.results / run.study / f"{run.key}.json"
            unwanted = run.dataset not in arguments.datasets or (
                arguments.methods and run.method not in arguments.methods
            )
            if unwanted or path.exists():
                continue
            record = run_one(run, arguments.data.resolve(), arguments.work.resolve(), arguments.quick)
            path.parent.mkdir(parents=True, exist_ok=True)
            place = path.with_suffix(".writing")
            place.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            os.replace(place, path)
            sys.stderr.write(f"{study}: {run.key}: Dice {record['mean']['dice'] or 0:.4f}\n")


if __name__ == "__main__":
    main()
