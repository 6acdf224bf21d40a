"""The commands of a run: what a user would type, step by step."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from data_sets import DATASETS
from self_training import LIST
from studies import FROM_SCRATCH, NNUNET, REFERENCE, SELF_TRAINED, VECTORS, Run
from subsets import few_images

HERE = Path(__file__).parent
MASG_SAM = [sys.executable, "-c", "from masg_sam.cli import main; main()"]
QUICK_MINUTES = 0.2


@dataclass(frozen=True)
class Place:
    """Where studies read and write, and what holds for all their runs.

    Attributes:
        data: folder of the datasets.
        work: runs and masks.
        results: JSON files.
        quick: cut down.
        config: recipe of the runs through masg-sam's training; ``None`` for its defaults.
        vectors: class vectors from a file; ``None`` where none are given.
        minutes: budget of the peers; ``None`` for what masg-sam took.
        nnunet: nnU-Net's environment.
    """

    data: Path
    work: Path
    results: Path
    quick: bool = False
    config: Path | None = None
    vectors: Path | None = None
    minutes: float | None = None
    nnunet: Path = Path("nnunet")

    def folder(self, run: Run) -> Path:
        """Where a run works."""
        return self.work / run.study / run.key

    def result(self, run: Run) -> Path:
        """The JSON file of a run."""
        return self.results / run.study / f"{run.key}.json"


def steps(run: Run, place: Place, training: Path, images: Path) -> dict[str, list[str]]:
    """Each step's name and command, in order.

    Args:
        run: what is run.
        place: where.
        training: training data.
        images: test images.
    """
    if run.method in NNUNET:
        return nnunet_steps(run, place, training, images)
    if run.method == SELF_TRAINED:
        return self_training_steps(run, place, training, images)
    own = place.folder(run)
    program = [sys.executable, str(HERE / "unet.py")] if run.method == FROM_SCRATCH else MASG_SAM
    return {
        "train": train_step(run, place, program, training, own / "run"),
        "predict": [*program, "predict", str(own / "run"), str(images), "--out", str(own / "masks")],
    }


def train_step(run: Run, place: Place, program: list[str], training: Path, folder: Path) -> list[str]:
    """One training; goes on where it was interrupted."""
    recipe = ["--config", str(place.config)] if place.config else []
    flags = [str(place.vectors) if flag == VECTORS else flag for flag in run.flags(place.quick)]
    resume = ["--resume"] if (folder / "last.safetensors").exists() else []
    return [*program, "train", str(training), "--out", str(folder), *recipe, *flags, *resume]


def self_training_steps(run: Run, place: Place, training: Path, images: Path) -> dict[str, list[str]]:
    """Train as in `defaults`, segment what nobody labelled, and train anew on all of it."""
    own, unlabelled = place.folder(run), DATASETS[run.dataset].unlabelled
    if unlabelled is None:
        raise SystemExit(f"{run.dataset} has no images without labels")
    others = few_images(place.data / unlabelled, own / "others") if place.quick else place.data / unlabelled
    guesses, joined, folder, masks = (own / name for name in ("guesses", "joined", "run", "masks"))
    teacher = place.folder(teacher_of(run)) / "run"
    join = str(HERE / "self_training.py")
    return {
        "teach": train_step(run, place, MASG_SAM, training, teacher),
        "guess": [*MASG_SAM, "predict", str(teacher), str(others), "--out", str(guesses)],
        "join": [sys.executable, join, str(training), str(others), str(guesses), "--out", str(joined)],
        "train": train_step(run, place, MASG_SAM, joined / LIST, folder),
        "predict": [*MASG_SAM, "predict", str(folder), str(images), "--out", str(masks)],
    }


def teacher_of(run: Run) -> Run:
    """The run whose training self-training starts from, and shares."""
    return replace(run, study="defaults", method=REFERENCE)


def nnunet_steps(run: Run, place: Place, training: Path, images: Path) -> dict[str, list[str]]:
    """The same of nnU-Net: planning and preprocessing are a step before the minutes of the training."""
    program = [sys.executable, str(HERE / "nnunet.py")]
    folder, masks = (str(place.folder(run) / name) for name in ("run", "masks"))
    env = ["--env", str(place.nnunet)]
    flat = ["--configuration", "2d"] if run.method == "nnU-Net 2d" else []
    budget = ["--minutes", str(minutes(run, place)), "--seed", str(run.seed)]
    return {
        "prepare": [*program, "prepare", str(training), "--out", folder, *env, *flat],
        "train": [*program, "train", folder, *env, *budget],
        "predict": [*program, "predict", folder, str(images), "--out", masks, *env],
    }


def minutes(run: Run, place: Place) -> float:
    """The wall clock that masg-sam took with its defaults on the same dataset and seed, unless told otherwise."""
    if place.minutes or place.quick:
        return place.minutes or QUICK_MINUTES
    path = place.result(replace(run, study="defaults", method=REFERENCE))
    if not path.exists():
        raise SystemExit(f"no {path}: run --study defaults first, or give --minutes")
    return json.loads(path.read_text(encoding="utf-8"))["train"]["minutes"]


def typed(run: Run, place: Place, train: str) -> str:
    """What a user would type to train, without the paths of this machine."""
    if run.method in NNUNET:
        return f"nnUNetv2_train (benchmarks/nnunet.py), {minutes(run, place)} minutes"
    recipe = ["--config", place.config.name] if place.config else []
    train = f"{train} and its self-trained masks" if run.method == SELF_TRAINED else train
    return " ".join(["masg-sam train", train, "--out RUN", *recipe, *run.flags(place.quick)])


def link_vectors(vectors: Path, names: Path | None, work: Path) -> Path:
    """Vectors and their names side by side under one name, as masg-sam reads them."""
    names, target = names or vectors.with_suffix(".json"), work / "vectors" / f"vectors{vectors.suffix}"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(vectors, target)
    if vectors.suffix == ".npy":
        shutil.copy(names, target.with_suffix(".json"))
    return target
