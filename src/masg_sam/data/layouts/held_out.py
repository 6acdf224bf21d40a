"""Test and validation cases that lie beside the training cases of a dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from masg_sam.data.layouts.case import Case, Dataset, folders_must_open
from masg_sam.data.layouts.folders import (
    IMAGE_FOLDERS,
    LABEL_FOLDERS,
    group_channels,
    images_in,
    match,
    one_of,
    plain_cases,
    readable,
)

NUMBERED = {"test": "Ts", "validation": "Val"}  # imagesTs, labelsVal ...
NAMED = {"test": ("test", "testing"), "validation": ("val", "valid", "validation")}
TRAINING = ("train", "training")


@folders_must_open()
def find_held_out(dataset: Dataset) -> dict[str, tuple[Case, ...]]:
    """Cases that no training sees: ``test`` and ``validation``, as far as there are any.

    Labels are given where they are there, and nothing is said of those that are not.

    Raises:
        LayoutError: two labels of one case, two cases of one name, or a folder that cannot be read.
    """
    found = {}
    for part in NUMBERED:
        images, labels = _places(dataset, part)
        if images is not None and images_in(images):
            cases = _cases(images, labels, dataset)
            found[part] = tuple(replace(case, channels=dataset.packed) for case in cases)
    return found


def _places(dataset: Dataset, part: str) -> tuple[Path | None, Path | None]:
    root = dataset.root
    if dataset.layout in ("nnunet", "msd"):
        ending = NUMBERED[part]
        return one_of(root, [f"images{ending}"]), one_of(root, [f"labels{ending}"])
    if dataset.layout != "folders":
        return None, None
    base = one_of(root.parent if root.name in TRAINING else root, NAMED[part])
    return (None, None) if base is None else (one_of(base, IMAGE_FOLDERS), one_of(base, LABEL_FOLDERS))


def _cases(images: Path, labels: Path | None, dataset: Dataset) -> tuple[Case, ...]:
    """Those of a folder; in a plain one without labels a case has as many files as in training."""
    labels = labels if labels is not None and readable(labels) else None
    if dataset.layout != "folders":
        grouped = group_channels(images_in(images), most=dataset.packed)
        found = grouped if labels is None else match(grouped, labels, images)
    elif labels is None:
        found = group_channels(images_in(images), max(len(case.images) for case in dataset.cases))
    else:
        found = plain_cases(images, labels)
    return tuple(case for case in found if case.images)
