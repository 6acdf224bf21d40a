"""A dataset in nnU-Net's raw layout, whatever layout it came in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from masg_sam.data.check import check_training, guess_modality
from masg_sam.data.io import read_image, read_label, suffix_of, write_label
from masg_sam.data.labels import IGNORED, LabelMap
from masg_sam.data.layouts import Case, Dataset, find_images, find_training_cases

NIFTI = ".nii.gz"
RGB = ("R", "G", "B")


def write_training(source: Path, place: Path) -> dict[str, Any]:
    """Images and labels of all training cases, and the ``dataset.json``, which is written last.

    Labels hold 0..K, whatever values stand in the files; voxels that nobody labelled get K+1 and nnU-Net's name for
    them, ``ignore``.

    Returns:
        What ``dataset.json`` says.
    """
    dataset = find_training_cases(source)
    checked = check_training(dataset)
    for case in dataset.cases:
        _write_images(case, place / "imagesTr")
        _write_label(case, checked.label_map, place / "labelsTr")
    pictures = checked.cases[0].picture
    channels = _channel_names(dataset, checked.cases[0].channels, guess_modality(dataset, checked), pictures)
    facts = {
        "channel_names": {str(number): name for number, name in enumerate(channels)},
        "labels": label_values(checked.label_map),
        "numTraining": len(dataset.cases),
        "file_ending": ".png" if pictures else NIFTI,
    }
    if pictures:
        facts["overwrite_image_reader_writer"] = "NaturalImage2DIO"
    (place / "dataset.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return facts


def write_images(source: Path, place: Path) -> list[str]:
    """Images to segment, named as nnU-Net wants them; returns the cases."""
    cases = find_images(source)
    for case in cases:
        _write_images(case, place)
    return [case.name for case in cases]


def label_values(label_map: LabelMap) -> dict[str, int]:
    """Class names to 0..K, and ``ignore`` to K+1 where some voxels have no label."""
    values = {"background": 0} | {name: k for k, name in enumerate(label_map.names, start=1)}
    return values if label_map.ignore is None else values | {"ignore": len(values)}


def _channel_names(dataset: Dataset, count: int, modality: str, pictures: bool) -> Sequence[str]:
    """nnU-Net normalises a channel named CT by Hounsfield units; a picture's colours are channels of one file."""
    if pictures:
        return RGB if count == len(RGB) else ("grey",)
    names = dataset.channel_names or (modality,) * count
    return ["CT" if modality == "CT" else name for name in names]


def _write_images(case: Case, place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for channel, path in enumerate(case.images):
        name = f"{case.name}_{channel:04d}"
        volume = read_image(path)
        if not volume.is_picture:
            _copy_nifti(path, place / f"{name}{NIFTI}")
            continue
        pixels = np.moveaxis(volume.data[:, 0], 0, -1).astype(np.uint8)  # rows x columns x channels
        Image.fromarray(pixels.squeeze()).save(place / f"{name}.png")


def _copy_nifti(path: Path, target: Path) -> None:
    if suffix_of(path) != NIFTI:
        raise SystemExit(f"{path}: nnU-Net is compared on {NIFTI} files only; convert it")
    shutil.copy(path, target)


def _write_label(case: Case, label_map: LabelMap, place: Path) -> None:
    if case.label is None:
        raise SystemExit(f"{case.name} has no label")
    volume = read_label(case.label)
    mask = label_map.encode(volume)
    mask[mask == IGNORED] = label_map.num_classes + 1
    write_label(mask, volume, place / f"{case.name}{'.png' if volume.is_picture else NIFTI}")
