"""Seconds a training step of the whole method, of it without each module, and of the plain decoder, in turns.

    python benchmarks/speed.py --data DATA --datasets la4 hippocampus

Every round trains each method for a few steps with the defaults, so that other work on the machine slows all alike;
the ratio is of the same round. The first steps, in which memory is laid out, do not count.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from commands import MASG_SAM
from data_sets import DATASETS, OWN
from mdtable import table
from studies import METHODS, PLAIN, REFERENCE

COMPARED = (PLAIN, REFERENCE, "without HAE", "without BFE", "without DSF")
WARM_UP = 3  # steps
HEADS = ("dataset", "method", "seconds a step", "times the plain decoder's", "least", "most")


def seconds(data: Path, method: str, steps: int) -> float:
    """Median of a step of one short training."""
    with tempfile.TemporaryDirectory() as folder:
        own = ["--training.steps", str(WARM_UP + steps), "--training.calibration", "0", "--training.trackers", "[]"]
        command = [*MASG_SAM, "train", str(data), "--out", f"{folder}/run", *METHODS[method], *own]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        lines = (Path(folder) / "run/log.jsonl").read_text(encoding="utf-8").splitlines()
    return statistics.median(json.loads(line)["seconds"] for line in lines[WARM_UP:])


def rows(title: str, rounds: list[dict[str, float]]) -> list[list[str]]:
    """For the table: medians over the rounds, and the ratio's spread."""
    found = []
    for method in rounds[0]:
        ratios = [one[method] / one[PLAIN] for one in rounds]
        middle = [statistics.median(one[method] for one in rounds), statistics.median(ratios)]
        found.append([title, method, *(f"{value:.2f}" for value in (*middle, min(ratios), max(ratios)))])
    return found


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with la4, kvasir20, hippocampus, openkbp5")
    parser.add_argument("--datasets", nargs="+", default=list(OWN), choices=list(OWN))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10, help="that count in each training")
    given = parser.parse_args()
    lines = []
    for name in given.datasets:
        data = given.data / DATASETS[name].train
        rounds = [{method: seconds(data, method, given.steps) for method in COMPARED} for _ in range(given.rounds)]
        lines += rows(DATASETS[name].title, rounds)
    sys.stdout.write(table(HEADS, lines) + "\n")


if __name__ == "__main__":
    main()
