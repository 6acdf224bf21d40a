"""Makes the runs of a study that have no result yet; one JSON file a run.

    python benchmarks/run.py --data DATA --study defaults
    python benchmarks/run.py --data DATA --study modules controls shots sparse --seeds 0 1 2

A run is `masg-sam train`, `predict` and `evaluate` as separate processes, as a user types them. It can be stopped at
any time and started again, and several times at once: each takes runs that no other has in hand. The test part is only
predicted and scored: nothing here chooses anything.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nnunet
from commands import HERE, Place, link_vectors, minutes, steps, teacher_of, typed
from data_sets import DATASETS
from outcomes import outcome
from processes import Cost, end_with_steps, held, once
from published import prepare
from studies import GIVEN_VECTORS, METHODS, NNUNET, STUDIES, Run
from subsets import few_images, few_labels

from masg_sam.data.layouts import find_training_cases


def run_one(run: Run, place: Place) -> dict[str, Any]:
    """Train, predict, evaluate; returns the record of the run."""
    own, dataset = place.folder(run), DATASETS[run.dataset]
    root, images, labels = parts(run, place)
    training = few_labels(run, root / dataset.train, own / "data")
    commands = steps(run, place, training, images)
    cost = {step: done(step, command, run, place) for step, command in commands.items()}
    return asked(run, place, cost) | cost | outcome(own, labels, dataset.tolerance)


def parts(run: Run, place: Place) -> tuple[Path, Path, Path]:
    """Folder of the datasets, test images, test labels."""
    dataset, own, root = DATASETS[run.dataset], place.folder(run), place.data
    if dataset.protocol:
        with held(place.work / "in-hand", wait=True):
            root = prepare(dataset.protocol, place.data / run.dataset, place.work / "data" / run.dataset).parent
    images, labels = root / dataset.images, root / dataset.labels
    if place.quick:
        images, labels = few_images(images, own / "images"), few_images(labels, own / "labels")
    return root, images, labels


def done(step: str, command: list[str], run: Run, place: Place) -> Cost:
    """What a step cost, now or before; a teacher is trained in its own folder, for whoever needs it next."""
    if step != "teach":
        return once(place.folder(run) / f"{step}.json", command, commit())
    first = place.folder(teacher_of(run))
    with held(first / "in-hand", wait=True):
        return once(first / "train.json", command, commit())


def asked(run: Run, place: Place, cost: dict[str, Cost]) -> dict[str, Any]:
    """What was to be run, and where; the commits are those of which the code was when its steps began."""
    return {
        "study": run.study,
        "dataset": run.dataset,
        "method": run.method,
        "seed": run.seed,
        "shots": run.shots,
        "every": run.every,
        "quick": place.quick,
        "command": typed(run, place, DATASETS[run.dataset].train),
        "commit": ", ".join(dict.fromkeys(one.get("commit", "unknown") for one in cost.values())),
        "machine": machine(),
    }


def rescore(given: argparse.Namespace, place: Place) -> None:
    """Score the masks of finished runs again, where they still lie in the work folder; their cost stays."""
    for run in chosen(given):
        path, own = place.result(run), place.folder(run)
        if not path.exists():
            continue
        if not (own / "predict.json").exists():
            sys.stderr.write(f"{run.study}: {run.key}: its masks are no longer there\n")
            continue
        labels = parts(run, place)[2]
        before = json.loads(path.read_text(encoding="utf-8"))
        write(before | outcome(own, labels, DATASETS[run.dataset].tolerance), path)


def commit() -> str:
    """The commit, marked when the tree differs from it."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True).stdout.strip()


def machine() -> str:
    """Its kind, and the threads of a run where they were limited."""
    threads = os.environ.get("OMP_NUM_THREADS")
    limit = f", {threads} thread{'s' if threads != '1' else ''} a run" if threads else ""
    return f"{os.cpu_count()} cores{limit}, {platform.machine()}"


def twin(run: Run, place: Place) -> dict[str, Any] | None:
    """The record of the very same command in another study, so that none is run twice."""
    for study in STUDIES:
        other = replace(run, study=study)
        if study == run.study or not place.result(other).exists() or other.flags() != run.flags():
            continue
        record = json.loads(place.result(other).read_text(encoding="utf-8"))
        if record["command"] == typed(run, place, DATASETS[run.dataset].train):
            return record | {"study": run.study}
    return None


def chosen(given: argparse.Namespace) -> Iterator[Run]:
    """The runs that were asked for."""
    for study in given.study:
        for run in STUDIES[study](given.seeds):
            if run.dataset in given.datasets and (not given.methods or run.method in given.methods):
                yield run


def wanted(given: argparse.Namespace, place: Place) -> Iterator[Run]:
    """Those that have no result yet."""
    table = named_vectors(place.vectors)
    for run in chosen(given):
        if place.result(run).exists():
            continue
        if run.method == GIVEN_VECTORS and not covered(place.data / DATASETS[run.dataset].train, table):
            sys.stderr.write(f"{run.study}: {run.key}: left out, no vectors of its classes are given\n")
            continue
        yield run


def named_vectors(path: Path | None) -> dict[str, Any]:
    """The vectors of a file by name; none without a file."""
    if path is None:
        return {}
    from masg_sam.models.text import read_vectors  # with it comes PyTorch, which the runner needs for nothing else

    return read_vectors(path)


def covered(data: Path, table: dict[str, Any]) -> bool:
    """Whether there is a vector for each class of a dataset."""
    names = find_training_cases(data).class_names.values() if table else ()
    return bool(names) and all(" ".join(name.replace("_", " ").lower().split()) in table for name in names)


def write(record: dict[str, Any], path: Path) -> None:
    """A JSON file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    place = path.with_suffix(".writing")
    place.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(place, path)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with la4, kvasir20, hippocampus, openkbp5")
    parser.add_argument("--study", nargs="+", required=True, choices=list(STUDIES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS), choices=list(DATASETS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), metavar="METHOD", help="only these, by name")
    parser.add_argument("--work", type=Path, help="where runs and masks go; else runs/benchmarks, or runs/quick")
    parser.add_argument(
        "--results", type=Path, help="where the JSON files go; else results/ here, with --quick in --work"
    )
    parser.add_argument("--config", type=Path, help="recipe that all runs of masg-sam start from")
    parser.add_argument("--clip-vectors", type=Path, help="class vectors (.npy, .npz, .csv) for `controls`")
    parser.add_argument("--clip-names", type=Path, help="their names, where the .npy has no .json of its name")
    parser.add_argument("--minutes", type=float, help="training time of the peers; else what masg-sam took")
    parser.add_argument("--nnunet", type=Path, help="environment of nnU-Net, made when missing; else in --work")
    parser.add_argument("--quick", action="store_true", help="two steps, two test cases: to see that it works")
    parser.add_argument(
        "--rescore", action="store_true", help="score the masks in --work anew, for results that are there"
    )
    given = parser.parse_args()
    given.work = (given.work or Path("runs") / ("quick" if given.quick else "benchmarks")).resolve()
    given.results = (given.results or (given.work / "results" if given.quick else HERE / "results")).resolve()
    return given


def main() -> None:
    """Parse and go."""
    given = parse()
    vectors = link_vectors(given.clip_vectors, given.clip_names, given.work) if given.clip_vectors else None
    place = Place(
        given.data.resolve(),
        given.work,
        given.results,
        given.quick,
        given.config and given.config.resolve(),
        vectors,
        given.minutes,
        (given.nnunet or given.work / "nnunet").absolute(),
    )
    if given.rescore:
        rescore(given, place)
        return
    runs = list(wanted(given, place))
    if not runs:
        sys.stderr.write("nothing to do: no such run, or all have a result\n")
    for run in runs:
        if run.method in NNUNET:
            minutes(run, place)  # stops here, before 5 GB are installed, where they are not known
            with held(place.work / "in-hand", wait=True):
                nnunet.install(place.nnunet)
        with held(place.folder(run) / "in-hand") as free:
            if not free or place.result(run).exists():
                continue
            record = twin(run, place) or run_one(run, place)
            write(record, place.result(run))
        sys.stderr.write(f"{run.study}: {run.key}: Dice {record['mean']['dice'] or 0:.4f}\n")


if __name__ == "__main__":
    end_with_steps()
    main()
