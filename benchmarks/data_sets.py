"""Where each dataset lies, and the budget of the studies that compare methods on it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Dataset:
    """Where a dataset lies below the data folder, and what is compared with.

    Attributes:
        title: in tables.
        train, images, labels: training data, test images and test labels.
        budget: flags of the studies that compare methods: small enough for many runs on two cores.
        protocol: name of the file in ``protocols/`` that says how the download becomes that layout; ``None`` where
            it lies so already.
        unlabelled: images without labels, for self-training; ``None`` where there are none.
        tolerance: of the surface Dice, mm, of pictures pixels: about a voxel or more, where scores say something.
    """

    title: str
    train: str
    images: str
    labels: str
    budget: tuple[str, ...] = ()
    protocol: str | None = None
    unlabelled: str | None = None
    tolerance: float = 2.0


DATASETS = {
    "la4": Dataset(
        "LA, 4 scans",
        "la4",
        "la4/imagesTs",
        "la4/labelsTs",
        ("--data.size", "192", "--data.planes", "1", "--training.steps", "250"),
        unlabelled="la4/imagesUn",
    ),
    "kvasir20": Dataset(
        "Kvasir, 20 images",
        "kvasir20/train",
        "kvasir20/test/images",
        "kvasir20/test/labels",
        ("--data.size", "224", "--training.steps", "250"),
    ),
    "hippocampus": Dataset(
        "Hippocampus, 5 volumes",
        "hippocampus",
        "hippocampus/imagesTs",
        "hippocampus/labelsTs",
        ("--data.size", "96", "--data.planes", "1", "--training.steps", "250"),
        tolerance=1.0,  # as in the Decathlon
    ),
    "openkbp5": Dataset(
        "OpenKBP, 5 volumes",
        "openkbp5",
        "openkbp5/imagesTs",
        "openkbp5/labelsTs",
        ("--data.size", "192", "--data.planes", "1", "--training.steps", "350"),
        tolerance=5.0,  # voxels are 3.9 to 5.1 mm wide
    ),
    "synapse": Dataset(
        "Synapse, 10 % of the slices",
        "synapse",
        "synapse/imagesTs",
        "synapse/labelsTs",
        protocol="synapse",
    ),
    "promise12": Dataset(
        "PROMISE12, 3 scans",
        "promise12",
        "promise12/imagesTs",
        "promise12/labelsTs",
        protocol="promise12",
    ),
}
PUBLISHED = tuple(name for name, dataset in DATASETS.items() if dataset.protocol)
OWN = tuple(name for name in DATASETS if name not in PUBLISHED)
SCANS = tuple(name for name in OWN if name != "kvasir20")
