"""What a ``dataset.json`` says, as nnU-Net and the Medical Segmentation Decathlon write it."""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from masg_sam.errors import LayoutError
from masg_sam.files import read_json

log = logging.getLogger(__name__)
IGNORE = "ignore"  # nnU-Net's name for voxels that nobody labelled
FILE = "dataset.json"
MOST_VALUE, MOST_CLASSES = 2**16 - 1, 254  # what a mask file and our uint8 masks can hold, beside what is ignored
USUAL_AT_0 = ("background", "bg", "clear label", "no label", "unlabeled", "unknown", "void", "none", "other")
WHOLE = re.compile(r"[0-9]{1,9}")


def read_dataset_json(folder: Path) -> dict[str, Any]:
    """Its content; empty where the folder has none.

    Raises:
        LayoutError: it is no JSON object.
    """
    path = folder / FILE
    return read_json(path, LayoutError) if path.is_file() else {}


def class_names(facts: dict[str, Any], path: Path) -> dict[int, str]:
    """Label value to name, without the background; all of ``labels`` may be name to value, or value to name.

    The name ``ignore``, as nnU-Net has it, stands for voxels that nobody labelled.

    Args:
        facts: what the file says.
        path: the file, or its folder, for messages.

    Raises:
        LayoutError: ``labels`` is missing or broken, holds regions, names two classes alike, or a background that is
            not 0.
    """
    path, labels = path if path.suffix in (".json", ".tsv") else path / FILE, facts.get("labels")
    if not isinstance(labels, dict):
        raise LayoutError(
            "`labels` is missing",
            path=path,
            found=labels,
            expected='{"background": 0, "liver": 1}',
            mend="add it",
        )
    names = _by_value(path, labels)
    _must_differ(path, names)
    _must_keep_background(path, names)
    names.pop(0, None)
    count = sum(name.lower() != IGNORE for name in names.values())
    if not 1 <= count <= MOST_CLASSES:
        raise LayoutError(
            f"`labels` names {count} classes beside the background",
            path=path,
            expected=f"1 to {MOST_CLASSES}",
        )
    return dict(sorted(names.items()))


def _must_keep_background(path: Path, names: Mapping[int, str]) -> None:
    """Refuse a background that is not 0, which it is in every label file; and tell of another name for 0."""
    elsewhere = [value for value, name in names.items() if value and plain(name) == "background"]
    if elsewhere:
        raise LayoutError(
            "0 is the background, and no other value is",
            path=path,
            found=f"{elsewhere[0]}: {names[elsewhere[0]]}",
            expected='"background": 0',
            mend="name the class as what it is, or write 0 for it in the labels too",
        )
    if plain(names.get(0, "background")) not in USUAL_AT_0:
        log.warning("%s: %s has the value 0, which is background: it is no class to learn", path, names[0])


def plain(name: str) -> str:
    """A class name as it is compared: case, spaces, hyphens and underscores make no difference."""
    return re.sub(r"[\s_-]+", " ", composed(name)).strip().lower()


def composed(name: str) -> str:
    """A name with each letter and its marks as one character, which macOS takes apart in file names."""
    return unicodedata.normalize("NFC", name)


def channel_names(facts: dict[str, Any]) -> tuple[str, ...]:
    """``channel_names``, or ``modality`` as it was called before; empty where there are none."""
    names = facts.get("channel_names") or facts.get("modality")
    if not isinstance(names, dict):
        return ()
    return tuple(str(names[key]) for key in sorted(names, key=lambda key: (len(key), key)))


def training_pairs(facts: dict[str, Any], folder: Path) -> list[tuple[Path, Path]]:
    """Image and label of each entry of ``training``; empty where it is a mere count or missing.

    Raises:
        LayoutError: an entry is not a pair, or leads out of the folder.
    """
    entries = facts.get("training")
    if not isinstance(entries, list):
        return []
    pairs = []
    for entry in entries:
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("image", "label")):
            raise LayoutError(
                "an entry of `training` is not a pair",
                path=folder / FILE,
                found=entry,
                expected='{"image": "./imagesTr/...", "label": "./labelsTr/..."}',
                mend="name one image file and one label file",
            )
        pairs.append((_inside(folder, entry["image"]), _inside(folder, entry["label"])))
    return pairs


def _by_value(path: Path, labels: dict[str, Any]) -> dict[int, str]:
    names: dict[int, str] = {}
    turned = _values_first(labels)
    for key, entry in labels.items():
        value, name = _value_and_name(path, key, entry, turned)
        if value in names:
            raise LayoutError("two classes of one value", path=path, found=f"{value}: {names[value]}, {name}")
        names[value] = name
    return names


def _values_first(labels: dict[str, Any]) -> bool:
    """Whether ``labels`` is value to name: then there are more numbers on that side, as the background is a word.

    Where all is numbers, the names are those that JSON writes as text.
    """
    before, after = (sum(bool(WHOLE.fullmatch(str(part))) for part in side) for side in (labels, labels.values()))
    return before > after or (before == after and any(isinstance(entry, str) for entry in labels.values()))


def _must_differ(path: Path, names: Mapping[int, str]) -> None:
    known: dict[str, int] = {}
    for value, name in names.items():
        first = known.setdefault(plain(name), value)
        if first != value:
            raise LayoutError(
                "two classes of one name",
                path=path,
                found=f"{first}: {names[first]}, {value}: {name}",
                expected="names that differ in more than case, spaces, hyphens and underscores",
                mend="rename one of them",
            )


def _value_and_name(path: Path, key: str, entry: object, value_first: bool) -> tuple[int, str]:
    if isinstance(entry, list):
        raise LayoutError(
            "region-based labels are not supported",
            path=path,
            found=f"{key}: {entry}",
            expected="one whole number a class",
            mend="give each class a value of its own",
        )
    number, name = (key, entry) if value_first else (entry, key)
    if not WHOLE.fullmatch(str(number)) or int(str(number)) > MOST_VALUE:
        raise LayoutError(
            "an entry of `labels` has no value from 0 to 65535",
            path=path,
            found=f"{key}: {entry}",
            expected='"liver": 1 in all of them, or "1": "liver" in all',
            mend="number the classes from 1, and write all entries one way round",
        )
    return int(str(number)), str(name)


def _inside(folder: Path, name: str) -> Path:
    """A path of dataset.json, which may not lead out of its folder."""
    path = folder / name
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
        path.is_file()
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, links in a circle
        inside = False
    if not inside:
        kind = "link" if os.path.islink(path) else "path"
        raise LayoutError(
            f"a {kind} leads out of the dataset, or nowhere",
            path=folder / FILE,
            found=name,
            mend="copy the file into the dataset, and name it from there",
        )
    return path
