"""What is run: methods, and the studies that put them and the datasets together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from data_sets import DATASETS, OWN, PUBLISHED, SCANS

NO_HAE = ("--model.hae.enabled", "false")
NO_BFE = ("--model.bfe.enabled", "false")
NO_DSF = ("--model.dsf.enabled", "false")
NO_MODULES = (*NO_HAE, *NO_BFE, *NO_DSF)
VECTORS = "VECTORS"  # stands for the user's file of vectors
PUBMED_CLIP = "flaviagiammarino/pubmed-clip-vit-base-patch32"
METHODS: dict[str, tuple[str, ...]] = {
    "masg-sam": (),
    "without HAE": NO_HAE,
    "without BFE": NO_BFE,
    "without DSF": NO_DSF,
    "without all three": NO_MODULES,
    "HAE alone": (*NO_BFE, *NO_DSF),
    "BFE alone": (*NO_HAE, *NO_DSF),
    "DSF alone": (*NO_HAE, *NO_BFE),
    "BFE at stride 4": ("--model.bfe.stride", "4"),
    "plain decoder": ("--model.decoder.kind", "fpn"),
    "longer plain decoder": ("--model.decoder.kind", "fpn"),
    "SAMed-style": (
        *NO_MODULES,
        *("--model.encoder.tuning", "lora", "--model.encoder.lora_rank", "4", "--training.encoder_lr", "5e-3"),
        *("--model.decoder.passes", "1", "--data.prompts", "0"),
    ),
    "U-Net": (),  # benchmarks/unet.py
    "random vectors": ("--model.dsf.text", "random"),
    "learned vectors": ("--model.dsf.text", "learned"),
    "shuffled names": ("--model.dsf.text", "shuffled"),
    "CLIP vectors": ("--model.dsf.text", "vectors", "--model.dsf.location", VECTORS),
    "CLIP texts": ("--model.dsf.text", "clip"),
    "PubMedCLIP texts": ("--model.dsf.text", "clip", "--model.dsf.location", PUBMED_CLIP),
    "without diversity term": ("--model.hae.diversity_weight", "0"),
    "without drift term": ("--model.hae.drift_weight", "0"),
    "self-training": (),  # benchmarks/self_training.py
    "nnU-Net": (),  # benchmarks/nnunet.py: 3-D for scans, 2-D for pictures
    "nnU-Net 2d": (),
}
REFERENCE = "masg-sam"
PLAIN = "plain decoder"
NONE, ALONE = "without all three", ("HAE alone", "BFE alone", "DSF alone")
LONGER, MORE_STEPS = "longer plain decoder", 1.7  # for about the CPU time of the whole method
FROM_SCRATCH = "U-Net"
GIVEN_VECTORS = "CLIP vectors"
SELF_TRAINED = "self-training"
NNUNET = ("nnU-Net", "nnU-Net 2d")
WHOLE = ("defaults", "peers", "unlabelled", "published")  # studies of whole methods, with nothing set
SHOTS: dict[str, tuple[int | None, ...]] = {"la4": (1, 2, None), "kvasir20": (1, 5, 10, None)}  # None: all there are
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
        if self.study in WHOLE:
            return own
        budget = list(DATASETS[self.dataset].budget)
        if self.method == LONGER:
            steps = budget.index("--training.steps") + 1
            budget[steps] = str(round(MORE_STEPS * int(budget[steps])))
        return [*own, *budget, "--training.calibration", "0"]


def defaults(seeds: list[int]) -> Iterator[Run]:
    """The three commands as they are, beside a plain decoder on the same steps."""
    yield from _all("defaults", OWN, ("masg-sam", PLAIN), seeds)


def modules(seeds: list[int]) -> Iterator[Run]:
    """What each module is worth, and what other methods reach on the same samples and steps."""
    methods = (
        REFERENCE,
        "without HAE",
        "without BFE",
        "without DSF",
        NONE,
        *ALONE,
        "BFE at stride 4",
        PLAIN,
        LONGER,
        "SAMed-style",
        FROM_SCRATCH,
    )
    yield from _all("modules", OWN, methods, seeds)


def controls(seeds: list[int]) -> Iterator[Run]:
    """Whether it is the words that help: the same network with vectors that mean nothing, or something else."""
    methods = (REFERENCE, "random vectors", "learned vectors", "shuffled names", "without DSF", GIVEN_VECTORS)
    yield from _all("controls", ("hippocampus", "openkbp5"), methods, seeds)
    yield from _all("controls", ("la4",), (REFERENCE, "random vectors", GIVEN_VECTORS), seeds)


def clip(seeds: list[int]) -> Iterator[Run]:
    """What other text encoders make of the same class names; CLIP and PubMedCLIP come from the model hub."""
    methods = (REFERENCE, "CLIP texts", "PubMedCLIP texts", "random vectors")
    yield from _all("clip", ("hippocampus", "openkbp5"), methods, seeds)


def terms(seeds: list[int]) -> Iterator[Run]:
    """What the two loss terms of HAE do to its attention, its diversity and its drift."""
    methods = (REFERENCE, "without diversity term", "without drift term")
    yield from _all("terms", ("la4", "openkbp5"), methods, seeds)


def shots(seeds: list[int]) -> Iterator[Run]:
    """Dice against the number of labelled cases; the seed also draws the cases."""
    for seed in seeds:
        for dataset, numbers in SHOTS.items():
            for number in numbers:
                for method in (REFERENCE, PLAIN):
                    yield Run("shots", dataset, method, seed, shots=number)


def sparse(seeds: list[int]) -> Iterator[Run]:
    """One scan, of which only every n-th slice is labelled."""
    for seed in seeds:
        for dataset, steps in SPARSE.items():
            for every in steps:
                yield Run("sparse", dataset, REFERENCE, seed, shots=1, every=every)


def peers(seeds: list[int]) -> Iterator[Run]:
    """Whole methods of others, trained for the minutes that masg-sam took with its defaults."""
    for seed in seeds:
        yield from _all("peers", OWN, ("nnU-Net",), [seed])
        yield from _all("peers", SCANS, ("nnU-Net 2d",), [seed])


def unlabelled(seeds: list[int]) -> Iterator[Run]:
    """What scans without labels add: a second training, which takes the first one's masks of them for labels."""
    datasets = [name for name, dataset in DATASETS.items() if dataset.unlabelled]
    yield from _all("unlabelled", datasets, (REFERENCE, SELF_TRAINED), seeds)


def published(seeds: list[int]) -> Iterator[Run]:
    """Few-shot settings of other papers, whose data need registration."""
    yield from _all("published", PUBLISHED, (REFERENCE, PLAIN), seeds)


STUDIES = {
    study.__name__: study
    for study in (defaults, peers, modules, terms, controls, clip, shots, sparse, unlabelled, published)
}


def _all(study: str, datasets: Iterable[str], methods: tuple[str, ...], seeds: list[int]) -> Iterator[Run]:
    """Every dataset with every method; a whole seed before the next, so that a stopped study is of use."""
    for seed in seeds:
        for dataset in datasets:
            for method in methods:
                yield Run(study, dataset, method, seed)
