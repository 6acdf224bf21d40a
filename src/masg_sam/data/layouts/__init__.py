"""Finds cases as they are laid out: nnU-Net raw, Medical Segmentation Decathlon, BIDS, images/ with labels/, lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from masg_sam.data.annotations.find import find_drawn, find_drawn_labels
from masg_sam.data.annotations.slicer import with_segments
from masg_sam.data.dataset_json import channel_names, class_names, read_dataset_json, training_pairs
from masg_sam.data.io import LabelSource, label_names, read_image
from masg_sam.data.io.kinds import format_of, is_there
from masg_sam.data.layouts.bids import find_bids, is_bids
from masg_sam.data.layouts.case import (
    Case,
    Dataset,
    case_name,
    fault_of,
    folders_must_open,
    in_order,
    place_of,
)
from masg_sam.data.layouts.folders import (
    LABEL_ENDINGS,
    by_case,
    folder_pair,
    group_channels,
    images_folder,
    images_in,
    labels_folder,
    match,
    nothing_readable,
    plain_cases,
    readable,
)
from masg_sam.data.layouts.held_out import TRAINING, find_held_out
from masg_sam.data.layouts.listed import decathlon_cases, is_list, read_list
from masg_sam.errors import InputError, LayoutError, few

__all__ = [
    "Case",
    "Dataset",
    "fault_of",
    "find_held_out",
    "find_images",
    "find_labels",
    "find_training_cases",
    "folders_must_open",
    "labels_folder",
    "look_for_cases",
]


def find_training_cases(data: Path) -> Dataset:
    """Find the labelled cases of a folder or list.

    Raises:
        LayoutError: no layout we know, a broken ``dataset.json``, or an image without its label.
    """
    dataset = look_for_cases(data)
    for case in dataset.cases:
        if case.fault is not None:
            raise case.fault
    _none_left([case for case in dataset.cases if not case.label], "images without a label")
    _none_left([case for case in dataset.cases if not case.images], "labels without an image")
    return dataset


@folders_must_open()
def look_for_cases(data: Path) -> Dataset:
    """Find the labelled cases of a folder or list, and with them those that lack something.

    What is wrong with a case, :func:`fault_of` says.

    Raises:
        LayoutError: no layout we know, a broken ``dataset.json``, or a folder that cannot be read.
        InputError: a label with names of its own that cannot be read, or that ``dataset.json`` does not name.
    """
    dataset = _look_in(data)
    files = {case.name: case.label for case in dataset.cases if isinstance(case.label, Path)}
    labels, names = with_segments(files, dataset.class_names)
    names = names or label_names(files.values())
    cases = [
        replace(case, label=labels.get(case.name, case.label), label_names=names, channels=dataset.packed)
        for case in dataset.cases
    ]
    return replace(dataset, class_names=names, cases=tuple(cases))


def _look_in(data: Path) -> Dataset:
    if is_list(data):
        facts = read_dataset_json(data.parent)
        return Dataset(data, "list", read_list(data), _class_names(facts, data.parent), channel_names(facts))
    if not data.is_dir():
        problem = "a file where a dataset's folder is expected" if data.exists() else "no such folder"
        raise LayoutError(
            problem, path=data, mend="name the folder that holds images and labels, or a CSV or JSON list"
        )
    facts = read_dataset_json(data)
    names = _class_names(facts, data)
    if pairs := training_pairs(facts, data):
        return Dataset(data, "msd", decathlon_cases(pairs), names, channel_names(facts))
    if (data / "imagesTr").is_dir() and (data / "labelsTr").is_dir():
        channels = channel_names(facts)
        cases = match(
            group_channels(images_in(data / "imagesTr"), most=len(channels)), data / "labelsTr", data / "imagesTr"
        )
        return Dataset(data, "nnunet", cases, names, channels)
    for root in (data, *(data / name for name in TRAINING)):
        if root != data and (own := read_dataset_json(root)):
            facts, names = own, _class_names(own, root)
        pair = folder_pair(root)
        if not (pair and readable(pair[1])) and root.is_dir() and (drawn := find_drawn(root, names)):
            cases = in_order([Case(case_name(image), (image,), label) for image, label in drawn.pairs])
            return Dataset(root, drawn.kind, cases, drawn.class_names, channel_names(facts))
        if pair:
            return Dataset(root, "folders", plain_cases(*pair), names, channel_names(facts))
    found = find_bids(data) if is_bids(data) else None
    if found is not None and (labelled := tuple(case for case in found.cases if case.label)):
        return replace(found, cases=labelled)
    raise _no_layout(data)


@folders_must_open()
def find_images(paths: Path | Sequence[Path], channels: int | None = None) -> tuple[Case, ...]:
    """Find images to segment; labels are not needed.

    Args:
        paths: files, folders of files, or a dataset; of that, the test images, else the training images; of BIDS and
            of CSV and JSON lists all images. A folder of one DICOM series is one image, whether it is named or lies
            among other images.
        channels: that a case has, where it is known: without it, up to eight files that are numbered from 0000 are
            the channels of one case.

    Raises:
        LayoutError: nothing to read, channels that are missing, two cases of one name, or a folder that cannot be
            read.
    """
    given = [paths] if isinstance(paths, Path) else list(paths)
    for path in given:
        _must_exist(path)
    cases = _numbered([path for path in given if not path.is_dir() and not is_list(path)], channels)
    for path in given:
        if is_list(path):
            cases += read_list(path)
        elif path.is_dir() and is_bids(path):
            cases += find_bids(path).cases
        elif path.is_dir():
            cases += _numbered(images_in(images_folder(path)), channels)
    cases = [replace(case, label=None) for case in cases if case.images or case.fault]
    if not cases:
        raise nothing_readable(given[0] if given else Path(), "images")
    for case in cases:
        if case.fault is not None:
            raise case.fault
    return in_order(cases)


def _numbered(files: Sequence[Path], channels: int | None) -> list[Case]:
    """Files of one case together; pictures that hold all channels each are numbered cases."""
    cases = group_channels(files, channels)
    first = next((case.images[0] for case in cases if len(case.images) == channels), None)
    if channels in (None, 1) or first is None or format_of(first) != "picture":
        return cases
    try:
        whole = read_image(first).data.shape[0] == channels
    except InputError:  # told where the case is read
        return cases
    return group_channels(files, 1) if whole else cases


@folders_must_open()
def find_labels(path: Path) -> tuple[dict[str, LabelSource], dict[int, str]]:
    """Find masks by case name, and the names of their values.

    ``dataset.json`` beside or above them gives the names, else the masks themselves where they carry them.

    Args:
        path: a mask, a folder of masks, what an annotation tool exported, or a dataset; of that, the test labels, else
            the training labels; of BIDS and of CSV and JSON lists all labels.

    Raises:
        LayoutError: no masks there, two of one case, or a folder that cannot be read.
    """
    _must_exist(path)
    if is_list(path) or is_bids(path):
        dataset = look_for_cases(path)
        for case in dataset.cases:
            if case.label is None and case.fault is not None:
                raise case.fault
        return {case.name: case.label for case in dataset.cases if case.label}, dataset.class_names
    folder = path.parent if path.is_file() else labels_folder(path)
    place = next((place for place in (folder, folder.parent) if read_dataset_json(place)), folder)
    names = _class_names(read_dataset_json(place), place)
    for root in (path / "test", path, path / "train") if folder in (path, path.parent) else ():
        if root.exists() and (drawn := find_drawn_labels(root, names)):
            return dict(drawn[0]), drawn[1]
    found = by_case([path] if path.is_file() else readable(folder), set())
    if not found:
        raise nothing_readable(path, "masks")
    labels, names = with_segments(found, names)
    return labels, names or label_names(found.values())


def _class_names(facts: dict[str, object], folder: Path) -> dict[int, str]:
    return class_names(facts, folder) if facts else {}


def _none_left(halves: Sequence[Case], kind: str) -> None:
    if halves:
        raise LayoutError(
            f"{len(halves)} {kind}",
            path=place_of(halves[0]).parent,
            found=few([case.name for case in halves]),
            expected="an image and a label of the same name for each case",
            mend=f"rename them alike (a label may end in {', '.join(LABEL_ENDINGS)}), or take them out",
        )


def _must_exist(path: Path) -> None:
    if not is_there(path):
        raise LayoutError("no such file or folder", path=path, mend="check the path, and that you may read its folder")


def _no_layout(data: Path) -> LayoutError:
    names = sorted(item.name for item in data.iterdir() if not item.name.startswith("."))
    return LayoutError(
        "no labelled cases in a layout we know",
        path=data,
        found=few(names) or "an empty folder",
        expected="imagesTr/ and labelsTr/ (nnU-Net, Decathlon; with dataset.json), images/ and labels/, "
        "or sub-*/anat/ with labels in derivatives/ (BIDS)",
        mend="put images and labels into two folders, images/ and labels/, with the same file names, "
        "or list them in a CSV file with the columns image and label",
    )
