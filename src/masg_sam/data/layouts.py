"""Finds cases in folders as they are: nnU-Net raw, Medical Segmentation Decathlon, images/ with labels/."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masg_sam.data.io import READABLE_SUFFIXES, case_stem, suffix_of
from masg_sam.errors import LayoutError

CHANNEL = re.compile(r"^(?P<name>.+)_(?P<channel>\d{4})$")
LABEL_ENDINGS = ("_segmentation", "_mask", "_label", "_seg", "_gt")
IMAGE_FOLDERS, LABEL_FOLDERS = ("images", "image", "imgs", "img"), ("labels", "label", "masks", "mask")
LISTED = 5  # names in a message


@dataclass(frozen=True)
class Case:
    """One patient, scan or picture.

    Attributes:
        name: file name without channel and suffix.
        images: one file, or one a channel.
        label: where there is one.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None


@dataclass(frozen=True)
class Dataset:
    """Cases of one folder.

    Attributes:
        root: the folder.
        layout: ``nnunet``, ``msd`` or ``folders``.
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
    """
    _must_be_folder(data)
    if (data / "dataset.json").is_file():
        facts = _read_json(data / "dataset.json")
        cases = _decathlon_cases(data, facts) if _is_decathlon(facts) else _nnunet_cases(data)
        layout = "msd" if _is_decathlon(facts) else "nnunet"
        return Dataset(data, layout, cases, class_names(facts, data), _channel_names(facts))
    for root in (data, data / "train", data / "training"):
        pair = _folder_pair(root)
        if pair is not None:
            return Dataset(root, "folders", _paired(*pair), {}, ())
    if (data / "imagesTr").is_dir():
        return Dataset(data, "nnunet", _nnunet_cases(data), {}, ())
    names = sorted(item.name for item in data.iterdir() if not item.name.startswith("."))[:LISTED]
    raise LayoutError(
        "no labelled cases in a layout we know",
        path=data,
        found=", ".join(names) or "an empty folder",
        expected="dataset.json with imagesTr/ and labelsTr/ (nnU-Net, Decathlon), or images/ and labels/",
        mend="put images and labels into two folders, images/ and labels/, with the same file names",
    )


def find_images(paths: Path | Sequence[Path]) -> tuple[Case, ...]:
    """Find images to segment; labels are not needed.

    Args:
        paths: files, folders of files, or a dataset, of which the test images are taken, else the training images.

    Raises:
        LayoutError: nothing to read, or two cases of one name.
    """
    cases: list[Case] = []
    files: list[Path] = []
    for path in [paths] if isinstance(paths, Path) else paths:
        if not path.exists():
            raise LayoutError("no such file or folder", path=path, mend="check the path")
        if path.is_file():
            files.append(path)
        else:
            cases += _group_channels(_readable(_images_folder(path)))
    cases += _group_channels(files)
    if not cases:
        raise LayoutError(
            "no images",
            path=paths if isinstance(paths, Path) else paths[0],
            expected=f"files ending in {', '.join(READABLE_SUFFIXES)}",
            mend="name the images or their folder",
        )
    _unique(cases)
    return tuple(cases)


def find_labels(path: Path) -> tuple[dict[str, Path], dict[int, str]]:
    """Find masks by case name, and the class names that ``dataset.json`` beside or above them gives.

    Args:
        path: a mask, a folder of masks, or a dataset.

    Raises:
        LayoutError: no masks there.
    """
    if not path.exists():
        raise LayoutError("no such file or folder", path=path, mend="check the path")
    folder = path.parent if path.is_file() else _labels_folder(path)
    files = [path] if path.is_file() else _readable(folder)
    if not files:
        raise LayoutError("no masks", path=path, expected=f"files ending in {', '.join(READABLE_SUFFIXES)}")
    found: dict[str, Path] = {}
    for file in files:
        name = _label_name(file)
        if name in found:
            raise LayoutError("two masks of one case", path=file, found=found[name].name, mend="remove one of them")
        found[name] = file
    for place in (folder, folder.parent):
        if (place / "dataset.json").is_file():
            return found, class_names(_read_json(place / "dataset.json"), place)
    return found, {}


def class_names(facts: dict[str, Any], root: Path) -> dict[int, str]:
    """Foreground classes of a ``dataset.json``, written either way: name to value, or value to name."""
    labels = facts.get("labels")
    path = root / "dataset.json"
    if not isinstance(labels, dict) or not labels:
        raise LayoutError(
            "`labels` is missing", path=path, found=labels, expected='{"background": 0, "liver": 1}', mend="add it"
        )
    result: dict[int, str] = {}
    for key, value in labels.items():
        if isinstance(value, list):
            raise LayoutError(
                "region-based labels are not supported",
                path=path,
                found=f"{key}: {value}",
                expected="one whole number a class",
                mend="give each class a value of its own",
            )
        name, number = (value, key) if str(key).lstrip("-").isdigit() else (key, value)
        if not str(number).lstrip("-").isdigit():
            raise LayoutError("`labels` is not name and number", path=path, found=f"{key}: {value}")
        if str(name).lower() == "ignore":
            raise LayoutError("an ignore label is not supported", path=path, found=f"{key}: {value}", mend="remove it")
        if int(number) in result:
            raise LayoutError("two classes of one value", path=path, found=f"{result[int(number)]}, {name}")
        if int(number) != 0:
            result[int(number)] = str(name)
    if not result:
        raise LayoutError("`labels` names no class but the background", path=path, found=labels)
    return result


def _is_decathlon(facts: dict[str, Any]) -> bool:
    training = facts.get("training")
    return isinstance(training, list) and bool(training) and isinstance(training[0], dict)


def _decathlon_cases(root: Path, facts: dict[str, Any]) -> tuple[Case, ...]:
    cases = []
    for item in facts["training"]:
        if not isinstance(item, dict) or not {"image", "label"} <= item.keys():
            raise LayoutError(
                "an entry of `training` is not a pair",
                path=root / "dataset.json",
                found=item,
                expected='{"image": ..., "label": ...}',
            )
        image, label = (_inside(root, str(item[key])) for key in ("image", "label"))
        for file in (image, label):
            if not file.is_file():
                raise LayoutError("a file that dataset.json names is missing", path=file, mend="copy it there")
        cases.append(Case(case_stem(image), (image,), label))
    return _sorted(cases)


def _inside(root: Path, name: str) -> Path:
    """A path of dataset.json, which may not lead out of its folder."""
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()):
        raise LayoutError("path leads out of the dataset", path=root / "dataset.json", found=name)
    return path


def _nnunet_cases(root: Path) -> tuple[Case, ...]:
    images, labels = root / "imagesTr", root / "labelsTr"
    for folder in (images, labels):
        if not folder.is_dir():
            raise LayoutError("folder is missing", path=folder, expected="imagesTr/ and labelsTr/ beside dataset.json")
    return _match(_group_channels(_readable(images)), labels, images)


def _paired(images: Path, labels: Path) -> tuple[Case, ...]:
    return _match(_group_channels(_readable(images)), labels, images)


def _match(cases: list[Case], labels: Path, images: Path) -> tuple[Case, ...]:
    """Give each case its label; nothing may be left over on either side."""
    _unique(cases)
    found: dict[str, Path] = {}
    for file in _readable(labels):
        name = case_stem(file) if any(case_stem(file) == case.name for case in cases) else _label_name(file)
        if name in found:
            raise LayoutError("two labels of one case", path=file, found=found[name].name, mend="remove one of them")
        found[name] = file
    alone = [case.name for case in cases if case.name not in found]
    extra = [name for name in found if name not in {case.name for case in cases}]
    for names, kind, folder in ((alone, "images without a label", images), (extra, "labels without an image", labels)):
        if names:
            raise LayoutError(
                f"{len(names)} {kind}",
                path=folder,
                found=", ".join(sorted(names)[:LISTED]) + (" ..." if len(names) > LISTED else ""),
                expected="an image and a label of the same name for each case",
                mend="rename them alike, or take them out of the folder",
            )
    if not cases:
        raise LayoutError("no images", path=images, expected=f"files ending in {', '.join(READABLE_SUFFIXES)}")
    return _sorted(Case(case.name, case.images, found[case.name]) for case in cases)


def _group_channels(files: Iterable[Path]) -> list[Case]:
    """Files of one case together, where all names end in a channel number."""
    files = sorted(files, key=lambda file: _natural(file.name))
    matches = [CHANNEL.match(case_stem(file)) for file in files]
    if not files or not all(matches):
        return [Case(case_stem(file), (file,), None) for file in files]
    groups: dict[tuple[Path, str], dict[int, Path]] = {}
    for file, match in zip(files, matches, strict=True):
        if match is not None:
            groups.setdefault((file.parent, match["name"]), {})[int(match["channel"])] = file
    if any(0 not in channels for channels in groups.values()):
        return [Case(case_stem(file), (file,), None) for file in files]
    most = max(len(channels) for channels in groups.values())
    for (folder, name), channels in groups.items():
        if sorted(channels) != list(range(most)):
            raise LayoutError(
                f"channels of case {name} are missing",
                path=folder,
                found=", ".join(f"_{i:04d}" for i in sorted(channels)),
                expected=", ".join(f"_{i:04d}" for i in range(most)),
            )
    return [Case(name, tuple(c[i] for i in sorted(c)), None) for (_, name), c in groups.items()]


def _images_folder(path: Path) -> Path:
    if (path / "dataset.json").is_file() or (path / "imagesTr").is_dir():
        options = [path / "imagesTs", path / "imagesTr"]
    else:
        roots = (path / "test", path, path / "train")
        options = [root / name for root in roots for name in IMAGE_FOLDERS]
    return next((option for option in options if option.is_dir() and _readable(option)), path)


def _labels_folder(path: Path) -> Path:
    options = [path / "labelsTs", path / "labelsTr"]
    options += [root / name for root in (path / "test", path, path / "train") for name in LABEL_FOLDERS]
    return next((option for option in options if option.is_dir() and _readable(option)), path)


def _folder_pair(root: Path) -> tuple[Path, Path] | None:
    images = next((root / name for name in IMAGE_FOLDERS if (root / name).is_dir()), None)
    labels = next((root / name for name in LABEL_FOLDERS if (root / name).is_dir()), None)
    return (images, labels) if images and labels else None


def _label_name(file: Path) -> str:
    """The case a label belongs to: without ``_mask`` and the like."""
    stem = case_stem(file)
    ending = next((e for e in LABEL_ENDINGS if stem.lower().endswith(e) and len(stem) > len(e)), "")
    return stem[: len(stem) - len(ending)]


def _readable(folder: Path) -> list[Path]:
    """Files we can read; not hidden ones, nor the resource forks that macOS leaves."""
    files = (item for item in folder.iterdir() if not item.name.startswith("."))
    return sorted((f for f in files if suffix_of(f) and not f.name.startswith("._")), key=lambda f: _natural(f.name))


def _channel_names(facts: dict[str, Any]) -> tuple[str, ...]:
    names = facts.get("channel_names") or facts.get("modality") or {}
    if not isinstance(names, dict):
        return ()
    return tuple(str(names[key]) for key in sorted(names, key=_natural))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise LayoutError("cannot be read as JSON", path=path, found=error, mend="mend or rewrite it") from error
    if not isinstance(facts, dict):
        raise LayoutError("is not a JSON object", path=path, found=type(facts).__name__, expected="{...}")
    return facts


def _must_be_folder(data: Path) -> None:
    if not data.exists():
        raise LayoutError("no such folder", path=data, mend="check the path")
    if not data.is_dir():
        raise LayoutError("a file where a dataset's folder is expected", path=data, mend="name the folder")


def _unique(cases: Sequence[Case]) -> None:
    names = [case.name for case in cases]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise LayoutError(
            "cases of the same name",
            path=next(case.images[0] for case in cases if case.name == double[0]),
            found=", ".join(double[:LISTED]),
            expected="one file a name, whatever its suffix and folder",
            mend="rename or take apart",
        )


def _sorted(cases: Iterable[Case]) -> tuple[Case, ...]:
    return tuple(sorted(cases, key=lambda case: _natural(case.name)))


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts 2 before 10."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part]
