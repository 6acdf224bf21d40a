"""Smaller versions of a dataset: fewer labelled cases, fewer labelled slices, fewer test cases."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from studies import Run

from masg_sam.data.io import read_label, suffix_of, write_label
from masg_sam.data.layouts import Case, Dataset, find_training_cases

QUICK_CASES = 2


def few_labels(run: Run, source: Path, place: Path) -> Path:
    """The training data of a run: the source itself, or a copy in nnU-Net's layout with fewer labels.

    The seed draws the cases, so that the spread over seeds holds the luck of the draw.
    """
    if run.shots is None and run.every is None:
        return source
    if (place / "dataset.json").exists():
        return place
    dataset = find_training_cases(source)
    shots = run.shots or len(dataset.cases)
    order = np.random.default_rng(run.seed).permutation(len(dataset.cases))[:shots]
    for number in sorted(order.tolist()):
        _copy(dataset.cases[number], place, run.every, _ignore(dataset))
    describe(dataset, place, run.every is not None)
    return place


def few_images(source: Path, place: Path) -> Path:
    """The first two files of a folder."""
    place.mkdir(parents=True, exist_ok=True)
    for path in sorted(path for path in source.iterdir() if suffix_of(path))[:QUICK_CASES]:
        shutil.copy(path, place / path.name)
    names = source.parent / "dataset.json"
    if names.exists():
        shutil.copy(names, place / names.name)
    return place


def _copy(case: Case, place: Path, every: int | None, ignore: int) -> None:
    """One case; with `every`, all slices but every n-th get the value of what nobody labelled."""
    images, labels = place / "imagesTr", place / "labelsTr"
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    for channel, path in enumerate(case.images):
        shutil.copy(path, images / f"{case.name}_{channel:04d}{suffix_of(path)}")
    label = case.label
    if label is None:
        raise SystemExit(f"{case.name} has no label")
    target = labels / f"{case.name}{suffix_of(label)}"
    if every is None:
        shutil.copy(label, target)
        return
    volume = read_label(label)
    mask = volume.data[0].copy()
    hidden = np.arange(len(mask)) % every != every // 2
    mask[hidden] = ignore
    write_label(mask, volume, target)


def describe(dataset: Dataset, place: Path, sparse: bool = False) -> None:
    """Write `dataset.json` with the names of classes and channels, where the classes have names."""
    names = {name: value for value, name in dataset.class_names.items()}
    if not names:
        return
    labels = {"background": 0} | names | ({"ignore": _ignore(dataset)} if sparse else {})
    channels = {str(i): name for i, name in enumerate(dataset.channel_names)}
    facts = {"channel_names": channels, "labels": labels}
    (place / "dataset.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


def _ignore(dataset: Dataset) -> int:
    return max(dataset.class_names, default=1) + 1
