"""Finds cases in folders as they are: nnU-Net raw, Medical Segmentation Decathlon, images/ with labels/."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from glob import escape
from itertools import pairwise
from pathlib import Path

from masg_sam.data.annotations.find import find_drawn, find_drawn_labels
from masg_sam.data.annotations.slicer import with_segments
from masg_sam.data.dataset_json import channel_names, class_names, read_dataset_json, training_pairs
from masg_sam.data.io import READABLE_SUFFIXES, LabelSource, case_stem, suffix_of
from masg_sam.errors import LayoutError, few

CHANNEL = re.compile(r"(?P<name>.+)_(?P<channel>\d{4})")
MOST_CHANNELS = 8  # more files than that with one name are numbered pictures
LABEL_ENDINGS = ("_segmentation", "_mask", "_label", "_seg", "_gt")
IMAGE_FOLDERS, LABEL_FOLDERS = ("images", "image", "imgs", "img"), ("labels", "label", "masks", "mask")


@dataclass(frozen=True)
class Case:
    """One patient, scan or picture.

    Attributes:
        name: file name without channel and suffix.
        images: one file, or one a channel.
        label: where there is one: a file, or what an annotation tool made of it.
    """

    name: str
    images: tuple[Path, ...]
    label: LabelSource | None


@dataclass(frozen=True)
class Dataset:
    """Cases of one folder.

    Attributes:
        root: the folder.
        layout: ``nnunet``, ``msd``, ``folders``, or the annotation tool: ``coco``, ``cvat``, ``labelme``.
        cases: in natural order of their names.
        class_names: foreground label value to name; empty when the layout names none.
        channel_names: of the image channels; empty when the layout names none.
    """

    root: Path
    layout: str
    cases: tuple[Case, ...]
    class_names: dict[int, str]
    channel_names: tuple[str, ...]


def find_training_cases(data: Path) -> Dataset:
    """Find the labelled cases of a folder.

    Raises:
        LayoutError: no layout we know, a broken ``dataset.json``, or an image without its label.
        LabelError: classes of an annotation tool that ``dataset.json`` does not name.
    """
    found = _find_training_cases(data)
    files = {case.name: case.label for case in found.cases if isinstance(case.label, Path)}
    labels, names = with_segments(files, found.class_names)
    cases = tuple(replace(case, label=labels.get(case.name, case.label)) for case in found.cases)
    return replace(found, cases=cases, class_names=names)


def _find_training_cases(data: Path) -> Dataset:
    if not data.is_dir():
        problem = "a file where a dataset's folder is expected" if data.exists() else "no such folder"
        raise LayoutError(problem, path=data, mend="name the folder that holds images and labels")
    facts = read_dataset_json(data)
    names = class_names(facts, data) if facts else {}
    if pairs := training_pairs(facts, data):
        return Dataset(data, "msd", _listed_cases(pairs), names, channel_names(facts))
    if (data / "imagesTr").is_dir() and (data / "labelsTr").is_dir():
        cases = _match(_group_channels(_readable(data / "imagesTr")), data / "labelsTr", data / "imagesTr")
        return Dataset(data, "nnunet", cases, names, channel_names(facts))
    for root in (data, data / "train", data / "training"):
        pair = _folder_pair(root)
        if not (pair and _readable(pair[1])) and root.is_dir() and (drawn := find_drawn(root, names)):
            cases = _in_order([Case(case_stem(image), (image,), label) for image, label in drawn.pairs])
            return Dataset(root, drawn.kind, cases, drawn.class_names, channel_names(facts))
        if pair:
            return Dataset(root, "folders", _plain_cases(*pair), names, channel_names(facts))
    raise _no_layout(data)


def find_images(paths: Path | Sequence[Path]) -> tuple[Case, ...]:
    """Find images to segment; labels are not needed.

    Args:
        paths: files, folders of files, or a dataset; of that, the test images, else the training images.

    Raises:
        LayoutError: nothing to read, channels that are missing, or two cases of one name.
    """
    given = [paths] if isinstance(paths, Path) else list(paths)
    for path in given:
        _must_exist(path)
    cases = _group_channels([path for path in given if path.is_file()])
    for folder in (path for path in given if path.is_dir()):
        cases += _group_channels(_readable(_images_folder(folder)))
    if not cases:
        raise _nothing_readable(given[0] if given else Path(), "images")
    return _in_order(cases)


def find_labels(path: Path) -> tuple[dict[str, LabelSource], dict[int, str]]:
    """Find masks by case name, and the names of their values that ``dataset.json`` beside or above them gives.

    Args:
        path: a mask, a folder of masks, what an annotation tool exported, or a dataset; of that, the test labels,
            else the training labels.

    Raises:
        LayoutError: no masks there, or two of one case.
        LabelError: classes of an annotation tool that ``dataset.json`` does not name.
    """
    _must_exist(path)
    folder = path.parent if path.is_file() else labels_folder(path)
    facts, place = next(
        ((facts, at) for at in (folder, folder.parent) if (facts := read_dataset_json(at))), ({}, folder)
    )
    names = class_names(facts, place) if facts else {}
    for root in (path / "test", path, path / "train") if folder in (path, path.parent) else ():
        if root.exists() and (drawn := find_drawn_labels(root, names)):
            return dict(drawn[0]), drawn[1]
    found = _by_case([path] if path.is_file() else _readable(folder), set())
    if not found:
        raise _nothing_readable(path, "masks")
    return with_segments(found, names)


def _listed_cases(pairs: Iterable[tuple[Path, Path]]) -> tuple[Case, ...]:
    """Cases that dataset.json lists; the first nnU-Net left the channel out of their names."""
    cases = []
    for image, label in pairs:
        stem = case_stem(image)
        numbered = f"{escape(stem)}_[0-9][0-9][0-9][0-9]{image.name[len(stem) :]}"
        channels = [image] if image.is_file() else sorted(image.parent.glob(numbered))
        if not channels or not label.is_file():
            missing = label if channels else image
            raise LayoutError("a file that dataset.json names is missing", path=missing, mend="copy it there")
        cases.append(Case(stem, tuple(channels), label))
    return _in_order(cases)


def _plain_cases(images: Path, labels: Path) -> tuple[Case, ...]:
    """Where labels carry the same number at the end, it counts pictures and not channels."""
    files = _readable(images)
    alone = [Case(case_stem(file), (file,), None) for file in files]
    names = set(_by_case(_readable(labels), {case.name for case in alone}))
    return _match(alone if names >= {case.name for case in alone} else _group_channels(files), labels, images)


def _match(cases: Sequence[Case], labels: Path, images: Path) -> tuple[Case, ...]:
    """Give each case its label; nothing may be left over on either side."""
    if not cases:
        raise _nothing_readable(images, "images")
    names = {case.name for case in cases}
    found = _by_case(_readable(labels), names)
    _none_left(sorted(names - found.keys(), key=_natural), "images without a label", images)
    _none_left(sorted(found.keys() - names, key=_natural), "labels without an image", labels)
    return _in_order([replace(case, label=found[case.name]) for case in cases])


def _none_left(names: Sequence[str], kind: str, folder: Path) -> None:
    if names:
        raise LayoutError(
            f"{len(names)} {kind}",
            path=folder,
            found=few(names),
            expected="an image and a label of the same name for each case",
            mend=f"rename them alike (a label may end in {', '.join(LABEL_ENDINGS)}), or take them out",
        )


def _by_case(files: Iterable[Path], names: set[str]) -> dict[str, Path]:
    """Label files by case; of ``names``, those that end in ``_mask`` or the like are taken as they are."""
    found: dict[str, Path] = {}
    for file in files:
        stem = case_stem(file)
        ending = next((e for e in LABEL_ENDINGS if stem.lower().endswith(e) and len(stem) > len(e)), "")
        name = stem if stem in names else stem[: len(stem) - len(ending)]
        if name in found:
            raise LayoutError(
                "two labels of one case",
                path=file,
                found=f"also {found[name].name}",
                mend="remove one of them",
            )
        found[name] = file
    return found


def _group_channels(files: Sequence[Path]) -> list[Case]:
    """Files of one case together, where all names end in a channel number that counts from 0000."""
    groups: dict[tuple[Path, str], list[tuple[int, Path]]] = {}
    for file in files:
        if found := CHANNEL.fullmatch(case_stem(file)):
            groups.setdefault((file.parent, found["name"]), []).append((int(found["channel"]), file))
    count = sum(len(group) for group in groups.values())
    most = max((len(group) for group in groups.values()), default=0)
    from_zero = all(min(group)[0] == 0 for group in groups.values())
    if count < len(files) or not from_zero or most > MOST_CHANNELS:
        return [Case(case_stem(file), (file,), None) for file in files]
    return [_grouped(folder, name, sorted(group), most) for (folder, name), group in groups.items()]


def _grouped(folder: Path, name: str, group: Sequence[tuple[int, Path]], channels: int) -> Case:
    if [number for number, _ in group] != list(range(channels)):
        raise LayoutError(
            f"channels of case {name} are missing or double",
            path=folder,
            found=", ".join(file.name for _, file in group),
            expected=", ".join(f"_{number:04d}" for number in range(channels)),
            mend="complete the channels of each case, one file a channel",
        )
    return Case(name, tuple(file for _, file in group), None)


def _images_folder(path: Path) -> Path:
    options = [path / "imagesTs", path / "imagesTr"]
    options += [root / name for root in (path / "test", path, path / "train") for name in IMAGE_FOLDERS]
    return next((option for option in options if option.is_dir() and _readable(option)), path)


def labels_folder(path: Path) -> Path:
    """Where a dataset keeps its labels: of the test cases, else of the training cases; else the folder itself."""
    options = [path / "labelsTs", path / "labelsTr"]
    options += [root / name for root in (path / "test", path, path / "train") for name in LABEL_FOLDERS]
    return next((option for option in options if option.is_dir() and _readable(option)), path)


def _folder_pair(root: Path) -> tuple[Path, Path] | None:
    images = next((root / name for name in IMAGE_FOLDERS if (root / name).is_dir()), None)
    labels = next((root / name for name in LABEL_FOLDERS if (root / name).is_dir()), None)
    return (images, labels) if images and labels else None


def _readable(folder: Path) -> list[Path]:
    """Files we can read, in natural order; not hidden ones, as macOS leaves them."""
    found = (item for item in folder.iterdir() if not item.name.startswith(".") and suffix_of(item))
    return sorted(found, key=lambda item: _natural(item.name))


def _in_order(cases: Sequence[Case]) -> tuple[Case, ...]:
    """By natural order of their names, which must differ."""
    ordered = tuple(sorted(cases, key=lambda case: _natural(case.name)))
    double = [(a, b) for a, b in pairwise(ordered) if a.name == b.name]
    if double:
        raise LayoutError(
            f"cases of the same name: {few([case.name for case, _ in double])}",
            path=double[0][1].images[0],
            found=f"also {double[0][0].images[0]}",
            expected="one file a name, whatever its suffix and folder",
            mend="rename or take apart",
        )
    return ordered


def _must_exist(path: Path) -> None:
    if not path.exists():
        raise LayoutError("no such file or folder", path=path, mend="check the path")


def _nothing_readable(path: Path, kind: str) -> LayoutError:
    return LayoutError(
        f"no {kind} there",
        path=path,
        expected=f"files ending in {', '.join(READABLE_SUFFIXES)}",
        mend=f"name the {kind}, or their folder",
    )


def _no_layout(data: Path) -> LayoutError:
    names = sorted(item.name for item in data.iterdir() if not item.name.startswith("."))
    return LayoutError(
        "no labelled cases in a layout we know",
        path=data,
        found=few(names) or "an empty folder",
        expected="imagesTr/ and labelsTr/ (nnU-Net, Decathlon; with dataset.json), images/ and labels/, "
        "or images/ and what COCO, CVAT or LabelMe export",
        mend="put images and labels into two folders, images/ and labels/, with the same file names",
    )


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts 2 before 10."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]
