"""What is run: datasets, methods, and the studies that put them together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Dataset:
    """Where a dataset lies below the data folder, and what is compared with.

    Attributes:
        title: in tables.
        train, images, labels: training data, test images and test labels.
        yardstick: Dice of a plain pyramid decoder on the same encoder, measured elsewhere.
        budget: flags of the studies that compare methods: small enough for many runs on two cores.
    """

    title: str
    train: str
    images: str
    labels: str
    yardstick: float
    budget: tuple[str, ...]


DATASETS = {
    "la4": Dataset(
        "LA, 4 scans",
        "la4",
        "la4/imagesTs",
        "la4/labelsTs",
        0.885,
        ("--data.size", "192", "--training.steps", "250"),
    ),
    "kvasir20": Dataset(
        "Kvasir, 20 images",
        "kvasir20/train",
        "kvasir20/test/images",
        "kvasir20/test/labels",
        0.812,
        ("--data.size", "224", "--training.steps", "250"),
    ),
    "hippocampus": Dataset(
        "Hippocampus, 5 volumes",
        "hippocampus",
        "hippocampus/imagesTs",
        "hippocampus/labelsTs",
        0.834,
        ("--data.size", "96", "--training.steps", "250"),
    ),
    "openkbp5": Dataset(
        "OpenKBP, 5 volumes",
        "openkbp5",
        "openkbp5/imagesTs",
        "openkbp5/labelsTs",
        0.270,
        ("--data.size", "192", "--training.steps", "350"),
    ),
}

NO_MODULES = (
    *("--model.hae.enabled", "false"),
    *("--model.bfe.enabled", "false"),
    *("--model.dsf.enabled", "false"),
)
METHODS: dict[str, tuple[str, ...]] = {
    "masg-sam": (),
    "without HAE": ("--model.hae.enabled", "false"),
    "without BFE": ("--model.bfe.enabled", "false"),
    "without DSF": ("--model.dsf.enabled", "false"),
    "without all three": NO_MODULES,
    "plain decoder": ("--model.decoder.kind", "fpn"),
    "SAMed-style": (
        *NO_MODULES,
        *("--model.encoder.tuning", "lora", "--model.encoder.lora_rank", "4"),
        *("--model.decoder.passes", "1", "--data.prompts", "0"),
    ),
    "U-Net": (),  # benchmarks/unet.py
    "random vectors": ("--model.dsf.text", "random"),
    "learned vectors": ("--model.dsf.text", "learned"),
    "shuffled names": ("--model.dsf.text", "shuffled"),
}
REFERENCE = "masg-sam"
FROM_SCRATCH = "U-Net"
SHOTS = {"la4": (1, 2, 4), "kvasir20": (1, 5, 10, 20)}
SPARSE = {"la4": (5, 10, 20)}  # every n-th slice of one scan is labelled
# What a run is cut down to with --quick.
QUICK = ("--data.size", "64", "--training.steps", "2", "--training.batch_size", "2")


@dataclass(frozen=True)
class Run:
    """One training with its prediction and evaluation.

    Attributes:
        study: name of the study.
        dataset, method: keys of :data:`DATASETS` and :data:`METHODS`.
        seed: of the weights, the samples, and the choice of cases where there are fewer shots.
        shots: labelled cases; ``None`` for all.
        every: only every n-th slice of the first case is labelled; ``None`` for all.
    """

    study: str
    dataset: str
    method: str
    seed: int
    shots: int | None = None
    every: int | None = None

    @property
    def key(self) -> str:
        """File name of the result."""
        parts = [self.dataset, self.method.replace(" ", "-")]
        parts += [f"{self.shots}-shots"] if self.shots else []
        parts += [f"every-{self.every}"] if self.every else []
        return "-".join([*parts, str(self.seed)])

    def flags(self, quick: bool = False) -> list[str]:
        """What is added to ``masg-sam train DATA --out RUN``."""
        own = [*METHODS[self.method], *(("--training.seed", str(self.seed)) if self.seed else ())]
        if quick:
            return [*own, *QUICK, "--training.calibration", "1"]
        if self.study == "defaults":
            return own
        return [*own, *DATASETS[self.dataset].budget, "--training.calibration", "0"]


def defaults(seeds: list[int]) -> Iterator[Run]:
    """The three commands as they are, beside a plain decoder on the same steps."""
    yield from _all("defaults", DATASETS, ("masg-sam", "plain decoder"), seeds)


def modules(seeds: list[int]) -> Iterator[Run]:
    """What each module is worth, and what other methods reach on the same samples and steps."""
    methods = (
        REFERENCE,
        "without HAE",
        "without BFE",
        "without DSF",
        "without all three",
        "plain decoder",
        "SAMed-style",
        FROM_SCRATCH,
    )
    yield from _all("modules", DATASETS, methods, seeds)


def controls(seeds: list[int]) -> Iterator[Run]:
    """Whether it is the words that help: the same network with vectors that mean nothing, or something else."""
    methods = (REFERENCE, "random vectors", "learned vectors", "shuffled names", "without DSF")
    yield from _all("controls", ("hippocampus", "openkbp5"), methods, seeds)


def shots(seeds: list[int]) -> Iterator[Run]:
    """Dice against the number of labelled cases; the seed also draws the cases."""
    for seed in seeds:
        for dataset, numbers in SHOTS.items():
            for number in numbers:
                for method in (REFERENCE, "plain decoder"):
                    yield Run("shots", dataset, method, seed, shots=number)


def sparse(seeds: list[int]) -> Iterator[Run]:
    """One scan, of which only every n-th slice is labelled."""
    for seed in seeds:
        for dataset, steps in SPARSE.items():
            for every in steps:
                yield Run("sparse", dataset, REFERENCE, seed, shots=1, every=every)


STUDIES = {study.__name__: study for study in (defaults, modules, controls, shots, sparse)}


def _all(study: str, datasets: object, methods: tuple[str, ...], seeds: list[int]) -> Iterator[Run]:
    """Every dataset with every method; a whole seed before the next, so that a stopped study is of use."""
    for seed in seeds:
        for dataset in datasets:  # type: ignore[attr-defined]
            for method in methods:
                yield Run(study, dataset, method, seed)
