"""Folders of images and of labels: nnU-Net raw, and images/ with labels/."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from masg_sam.data.io.kinds import READABLE_SUFFIXES, dicom_files, format_of, suffix_of
from masg_sam.data.layouts.case import Case, case_name, in_order, natural
from masg_sam.errors import LayoutError

CHANNEL = re.compile(r"(?P<name>.+)_(?P<channel>\d{4})")
MOST_CHANNELS = 8  # more files than that with one name are numbered pictures, where nobody knows better
LABEL_ENDINGS = ("_segmentation", "_mask", "_label", "_seg", "_gt")
IMAGE_FOLDERS, LABEL_FOLDERS = ("images", "image", "imgs", "img"), ("labels", "label", "masks", "mask")


def plain_cases(images: Path, labels: Path) -> tuple[Case, ...]:
    """Cases of plain folders. Where labels carry the same number at the end, it counts pictures and not channels."""
    files = images_in(images)
    alone = [Case(case_name(file), (file,), None) for file in files]
    names = {case.name for case in alone}
    numbered = not names.isdisjoint(by_case(readable(labels), names))
    return match(alone if numbered else group_channels(files), labels, images)


def match(cases: Sequence[Case], labels: Path, images: Path) -> tuple[Case, ...]:
    """Give each case its label, where there is one; a label without an image is a case of its own.

    Raises:
        LayoutError: no images, or two of one name.
    """
    if not cases:
        raise nothing_readable(images, "images")
    found = by_case(readable(labels), {case.name for case in cases})
    pairs = [replace(case, label=found.pop(case.name, None)) for case in cases]
    return in_order([*pairs, *(Case(name, (), label) for name, label in found.items())])


def by_case(files: Iterable[Path], names: set[str]) -> dict[str, Path]:
    """Label files by case; of ``names``, those that end in ``_mask`` or the like are taken as they are."""
    found: dict[str, Path] = {}
    for file in files:
        stem = case_name(file)
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


def group_channels(files: Sequence[Path], channels: int | None = None, most: int = 0) -> list[Case]:
    """Files of one case together, where all names end in a channel number that counts from 0000.

    Args:
        files: of one folder, or from anywhere.
        channels: that a case is known to have: so many files, or all in one, are a case, and others are numbered
            pictures; where it is not known, more than eight are.
        most: channels that a case may have, where that may be more than eight.
    """
    groups: dict[tuple[Path, str], list[tuple[int, Path]]] = {}
    for file in files:
        if found := CHANNEL.fullmatch(case_name(file)):
            groups.setdefault((file.parent, found["name"]), []).append((int(found["channel"]), file))
    count = sum(len(group) for group in groups.values())
    longest = max((len(group) for group in groups.values()), default=0)
    from_zero = all(min(group)[0] == 0 for group in groups.values())
    fit = longest <= max(MOST_CHANNELS, most) if channels is None else longest in (1, channels)
    if count < len(files) or not from_zero or not fit:
        return [Case(case_name(file), (file,), None) for file in files]
    return [_grouped(folder, name, sorted(group), longest) for (folder, name), group in groups.items()]


def _grouped(folder: Path, name: str, group: Sequence[tuple[int, Path]], channels: int) -> Case:
    case = Case(name, tuple(file for _, file in group), None)
    if [number for number, _ in group] == list(range(channels)):
        return case
    fault = LayoutError(
        f"channels of case {name} are missing or double",
        path=folder,
        found=", ".join(file.name for file in case.images),
        expected=", ".join(f"_{number:04d}" for number in range(channels)),
        mend="complete the channels of each case, one file a channel",
    )
    return replace(case, fault=fault)


def images_folder(path: Path) -> Path:
    """Where a dataset keeps its images: of the test cases, else of the training cases; else the folder itself."""
    options = [path / "imagesTs", path / "imagesTr"]
    options += [root / name for root in (path / "test", path, path / "train") for name in IMAGE_FOLDERS]
    return next((option for option in options if option.is_dir() and images_in(option)), path)


def labels_folder(path: Path) -> Path:
    """Where a dataset keeps its labels: of the test cases, else of the training cases; else the folder itself."""
    options = [path / "labelsTs", path / "labelsTr"]
    options += [root / name for root in (path / "test", path, path / "train") for name in LABEL_FOLDERS]
    return next((option for option in options if option.is_dir() and readable(option)), path)


def folder_pair(root: Path) -> tuple[Path, Path] | None:
    """``images/`` and ``labels/`` of a folder, by any of their names; ``None`` unless it has both.

    Of several for labels, the first that holds some.
    """
    images, labels = one_of(root, IMAGE_FOLDERS), [root / name for name in LABEL_FOLDERS if (root / name).is_dir()]
    if images is None or not labels:
        return None
    return images, next((folder for folder in labels if readable(folder)), labels[0])


def one_of(root: Path, names: Iterable[str]) -> Path | None:
    """The first of these folders that there is."""
    return next((root / name for name in names if (root / name).is_dir()), None)


def readable(folder: Path) -> list[Path]:
    """Files we can read, in natural order; not hidden ones, as macOS leaves them."""
    found = (item for item in folder.iterdir() if not item.name.startswith(".") and suffix_of(item))
    return sorted(found, key=lambda item: natural(item.name))


def images_in(folder: Path) -> list[Path]:
    """Images in natural order: files, archives, and folders of DICOM; the folder itself where it is a series."""
    visible = [item for item in folder.iterdir() if not item.name.startswith(".")]
    files = [item for item in visible if item.is_file() or (item.is_symlink() and not item.exists())]
    dicom = [item for item in files if format_of(item) == "dicom" and suffix_of(item) != ".zip"]
    found = [item for item in files if suffix_of(item) and item not in dicom]
    whole = _separate(dicom)
    found += [folder] if whole is None else whole
    if whole is not None:
        found += [item for item in visible if item.is_dir() and next(dicom_files(item), None)]
    return sorted(found, key=lambda item: natural(item.name))


def _separate(dicom: Sequence[Path]) -> list[Path] | None:
    """DICOM files that are an image each; ``None`` where they are the slices of a series."""
    if not dicom:
        return []
    from masg_sam.data.io.dicom.series import separate_images

    return separate_images(dicom)


def nothing_readable(path: Path, kind: str) -> LayoutError:
    """The error for a place without images or masks."""
    return LayoutError(
        f"no {kind} there",
        path=path,
        expected=f"files ending in {', '.join(READABLE_SUFFIXES)}, or folders of DICOM",
        mend=f"name the {kind}, or their folder",
    )
