"""Masks of any tool, read class by class: one file a case, or one a class; their classes paired by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from masg_sam.data.dataset_json import class_names, composed, plain
from masg_sam.data.io import LabelSource, case_stem, label_on_grid, label_path, read_label, suffix_of
from masg_sam.data.labels import MOST_CODES, LabelMap
from masg_sam.data.layouts import find_labels, folders_must_open, labels_folder
from masg_sam.data.volume import Volume
from masg_sam.errors import LabelError, LayoutError, few
from masg_sam.files import read_json

MaskFiles = LabelSource | dict[str, LabelSource]  # one for all classes, or a file for each class's plain name
SEGMENTATIONS = "segmentations"  # between case and class files, in TotalSegmentator's own dataset
BLACK_AND_WHITE = {0, 1, 255}


@folders_must_open()
def find_masks(path: Path, names: Mapping[int, str] | None = None) -> tuple[dict[str, MaskFiles], dict[int, str]]:
    """Find masks by case, and the names of their values.

    Args:
        path: a mask, a folder of masks, a dataset, or a folder with a folder a case of a file a class.
        names: of the values, instead of those of a ``dataset.json`` beside or above the masks.

    Raises:
        LayoutError: no masks there, two of one case or class, or a folder that cannot be read.
    """
    if path.is_dir() and labels_folder(path) == path and (cases := _class_folders(path)):
        return dict(cases), {}
    found, own = find_labels(path)
    return dict(found), dict(own if names is None else names)


def read_names(path: Path) -> dict[int, str]:
    """Class names of label values from JSON: a ``dataset.json``, or its ``labels`` alone.

    Raises:
        LayoutError: it is no such file.
    """
    facts = read_json(path, LayoutError)
    return class_names(facts if "labels" in facts else {"labels": facts}, path)


class ClassReader:
    """Reads the masks of a case in the order of the labels' classes.

    Classes are paired by name where both sides have names (case, spaces, hyphens and underscores make no
    difference), else by value; one class on either side is the same class.

    Args:
        label_map: of the labels.
        named: whether the names of ``label_map`` were given, and not made up.
        masks: as :func:`find_masks` returns them.
        names: of the masks' values; empty where they have none.
        folder: of the masks, for messages.

    Raises:
        LabelError: no class of the labels is among the masks' classes.
    """

    def __init__(
        self,
        label_map: LabelMap,
        named: bool,
        masks: Mapping[str, MaskFiles],
        names: Mapping[int, str],
        folder: Path,
    ) -> None:
        self.label_map, self.names = label_map, dict(names)
        self.notes: list[str] = []
        self.own: LabelMap | None = None  # of the masks, where it is not that of the labels
        self.lookup = _lookup(range(label_map.num_classes + 1))
        by_class = {name for files in masks.values() if isinstance(files, dict) for name in files}
        if by_class and not named:
            raise LabelError(
                "a file a class, and labels without class names",
                path=folder,
                found=few(sorted(by_class)),
                expected="labels whose classes have the names of the files",
                mend='write a dataset.json with {"labels": {"background": 0, "liver": 1}} beside the labels',
            )
        if by_class:
            self._compare(by_class, folder)
        elif named and names and LabelMap.from_names(names) != label_map:
            self.own = LabelMap.from_names(names)
            self.lookup = by_name(self.own, label_map)
            alone = label_map.num_classes == self.own.num_classes == 1
            if alone and plain(self.own.names[0]) != plain(label_map.names[0]):
                self.notes.append(f"{self.own.names[0]} of the masks is taken for {label_map.names[0]} of the labels")
            else:
                self._compare({plain(name) for name in self.own.names}, folder)

    def read(self, files: MaskFiles, truth: Volume) -> Iterator[np.ndarray]:
        """Masks of the classes 1..K of one case, each ``Z x Y x X`` of bool.

        Raises:
            InputError: a file that cannot be read, on another grid, or with values that name no class.
        """
        if not isinstance(files, dict):
            encoded = self._encode(_on_grid(files, truth, self.names))
            yield from (encoded == k for k in range(1, self.label_map.num_classes + 1))
            return
        for name in self.label_map.names:
            file = files.get(plain(name))
            yield np.zeros(truth.shape, bool) if file is None else _on_grid(file, truth, {}).data[0] > 0

    def _encode(self, mask: Volume) -> np.ndarray:
        return self.lookup[encode_mask(mask, self.own or self.label_map)]

    def _compare(self, found: set[str], folder: Path) -> None:
        """Note the classes that only one side has."""
        wanted = {plain(name): name for name in self.label_map.names}
        missing = [name for plain, name in wanted.items() if plain not in found]
        if len(missing) == len(wanted):
            raise LabelError(
                "none of the labels' classes is among those of the masks",
                path=folder,
                found=few(sorted(found)),
                expected=few(list(wanted.values())),
                mend="give the masks' classes the labels' names, in a dataset.json beside them or with --names",
            )
        if missing:
            self.notes.append(f"classes that the masks do not have count as missed: {few(missing)}")
        if extra := sorted(found - wanted.keys()):
            self.notes.append(f"classes of the masks without a label left out: {few(extra)}")


def encode_mask(mask: Volume, label_map: LabelMap) -> np.ndarray:
    """A mask by the labels' map; where there is one class, 0/1 and 0/255 mean the same, but for what is ignored."""
    values = set(np.unique(mask.data).tolist())
    either = {*BLACK_AND_WHITE, *label_map.values} - {label_map.ignore}
    if label_map.num_classes == 1 and len(values - {0}) <= 1 and values <= either:
        return (mask.data[0] > 0).astype(np.uint8)
    return label_map.encode(mask)


def by_name(first: LabelMap, second: LabelMap) -> np.ndarray:
    """For each class of the first map, the second one's class of that name, or 0; single classes are the same."""
    places = {plain(name): k for k, name in enumerate(second.names, start=1)}
    found = [places.get(plain(name), 0) for name in first.names]
    alone = first.num_classes == second.num_classes == 1
    return _lookup([0, *([1] if alone else found)])


def _lookup(classes: Iterable[int]) -> np.ndarray:
    """Class of the masks to class of the labels; voxels that a mask leaves to nobody are background."""
    table = np.zeros(MOST_CODES, np.uint8)
    known = list(classes)
    table[: len(known)] = known
    return table


def _on_grid(source: LabelSource, truth: Volume, names: Mapping[int, str]) -> Volume:
    return label_on_grid(truth, read_label(source, truth, names or None))


def _class_folders(path: Path) -> dict[str, dict[str, LabelSource]]:
    """``case/class.nii.gz`` or ``case/segmentations/class.nii.gz``; nothing where the folder itself holds masks."""
    folders = [item for item in sorted(path.iterdir()) if item.is_dir() and not item.name.startswith(".")]
    if any(suffix_of(item) for item in path.iterdir() if item.is_file()):
        return {}
    if any(item.name.lower().startswith(("images", "labels", "imgs", "masks")) for item in folders):
        return {}
    cases: dict[str, dict[str, LabelSource]] = {}
    for folder in folders:
        inner = folder / SEGMENTATIONS if (folder / SEGMENTATIONS).is_dir() else folder
        files = [item for item in sorted(inner.iterdir()) if item.is_file() and suffix_of(item)]
        if files:
            cases[composed(folder.name)] = _by_class(files)
    return cases


def _by_class(files: Iterable[Path]) -> dict[str, LabelSource]:
    found: dict[str, LabelSource] = {}
    for file in files:
        other = found.setdefault(plain(case_stem(file)), file)
        if other is not file:
            raise LayoutError(
                "two masks of one class",
                path=file,
                found=f"also {label_path(other).name}",
                expected="one file a class, whatever its suffix",
                mend="remove one of them",
            )
    return found
