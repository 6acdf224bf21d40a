"""From the values that stand in label files to classes 0..K, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from masg_sam.data.dataset_json import IGNORE, MOST_VALUE
from masg_sam.data.volume import Volume
from masg_sam.errors import ConfigError, LabelError

MOST_CLASSES = 32  # without names; more values than that are rather grey levels
NEAR = 40  # grey levels around 0 and 255 that compression noise may reach
NEAR_PART = 0.98  # of all pixels that must lie there, for a noisy mask to count as black and white
MIDDLE_PART = 0.005  # of all pixels; a single grey level between with more of them is a class of its own
THRESHOLD = 128  # of a mask that is black and white
NOISY_VALUES = 8  # as many in pictures may be noise around fewer classes
RARE_PART = 0.001  # of all pixels: noise, where most values have fewer
LOSSY = (".jpg", ".jpeg")
IGNORED = 255  # stands for voxels that nobody labelled, once labels are encoded
MOST_CODES = 256  # that an encoded label can hold: background, classes, ignored


@dataclass(frozen=True)
class LabelMap:
    """The classes, and the values that stand for them in files.

    Attributes:
        values: label value of each foreground class, ascending.
        names: name of each foreground class.
        threshold: set for grey masks of one class: at or above it is foreground.
        ignore: label value of voxels that nobody labelled; ``None`` where all are.
    """

    values: tuple[int, ...]
    names: tuple[str, ...]
    threshold: int | None = None
    ignore: int | None = None

    @classmethod
    def from_names(cls, names: Mapping[int, str]) -> LabelMap:
        """Classes by label value; the one named ``ignore`` is none, but what nobody labelled."""
        ignore = next((value for value, name in names.items() if name.lower() == IGNORE), None)
        values = tuple(value for value in sorted(names) if value != ignore)
        return cls(values, tuple(names[value] for value in values), ignore=ignore)

    @property
    def num_classes(self) -> int:
        """Foreground classes K."""
        return len(self.values)

    def encode(self, label: Volume) -> np.ndarray:
        """Classes 0..K, and 255 for what nobody labelled, ``Z x Y x X`` of uint8.

        Raises:
            LabelError: a value that names no class.
        """
        data = label.data[0]
        if self.threshold is not None:
            return (data >= self.threshold).astype(np.uint8)
        known, strange = np.array((0, *self.values)), Counter[int]()
        found = np.empty(data.shape, np.uint8)
        for one, place in zip(data, found, strict=True):  # slice by slice, for indices take eight bytes each
            index = np.searchsorted(known, one).clip(max=len(known) - 1)
            place[:] = index
            wrong = known[index] != one
            if self.ignore is not None:
                ignored = one == self.ignore
                place[ignored], wrong = IGNORED, wrong & ~ignored
            if wrong.any():
                values, counts = np.unique(one[wrong], return_counts=True)
                strange.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        self.must_know(strange, label.path)
        return found

    def encode_to_draw(self, label: Volume) -> np.ndarray:
        """As :meth:`encode`; what nobody labelled is background."""
        classes = self.encode(label)
        classes[classes == IGNORED] = 0
        return classes

    def must_know(self, voxels: Mapping[int, int], path: Path) -> None:
        """Refuse label values that name no class.

        Args:
            voxels: how many hold each value.
            path: of the label.

        Raises:
            LabelError: there are such values.
        """
        known = {0, *self.values, self.ignore}
        wrong = [(value, voxels[value]) for value in sorted(voxels) if value not in known]
        if wrong and self.threshold is None:
            pairs = zip(self.values, self.names, strict=True)
            raise LabelError(
                "label values that name no class",
                path=path,
                found=", ".join(f"{value} ({count} voxels)" for value, count in wrong[:5])
                + (" ..." if len(wrong) > 5 else ""),
                expected="0, " + ", ".join(f"{value} ({name})" for value, name in pairs),
                mend="add them to `labels` in dataset.json (BIDS: to dseg.tsv), or mend the label",
            )

    def class_of(self, value: int) -> int:
        """Class 0..K of a label value; 0 for one that :meth:`encode` would refuse."""
        if self.threshold is not None:
            return int(value >= self.threshold)
        return self.values.index(value) + 1 if value in self.values else 0

    def renamed(self, names: Sequence[str] | None) -> LabelMap:
        """The same classes under other names; ``None`` for the same names.

        Args:
            names: of the label values, ascending.

        Raises:
            ConfigError: too few or too many, empty ones, or the same twice.
        """
        if names is None:
            return self
        if len(names) != self.num_classes or len(set(names)) < len(names) or not all(name.strip() for name in names):
            raise ConfigError(
                "data.class_names does not go with the labels",
                found=list(names),
                expected=f"{self.num_classes} different names, for the values {', '.join(map(str, self.values))}",
                mend="name each class once, from the lowest value up",
            )
        return replace(self, names=tuple(names))

    def decode(self, mask: np.ndarray) -> np.ndarray:
        """Classes 0..K back to the values of the label files, in the smallest integer type that holds them."""
        return np.array((0, *self.values), np.min_scalar_type(max(self.values)))[mask]


def fit_label_map(labels: Iterable[Volume], class_names: Mapping[int, str]) -> tuple[LabelMap, list[str]]:
    """Decide what the values in a set of labels mean.

    Args:
        labels: read one at a time.
        class_names: label value to name, as the layout gives it, ``ignore`` among them where there is one; empty
            when it gives none.

    Returns:
        The map, and what a user should be told of how it was found, in words. Named classes that no label
        shows stay in the map.

    Raises:
        LabelError: values outside ``class_names``, colours, noise that cannot be told apart, or nothing but
            background in every label.
    """
    if class_names:
        return _named(labels, LabelMap.from_names(class_names))
    found = _Values.count(labels)
    if not found.foreground:
        raise _all_empty()
    if found.foreground == [255] or (found.may_be_noisy and _is_black_and_white(found.totals)):
        return LabelMap((255,), ("foreground",), THRESHOLD), [_grey_note(found.totals)]
    if not _are_classes(found):
        raise _not_classes(found)
    values = tuple(found.foreground)
    names = ("foreground",) if len(values) == 1 else tuple(f"class {value}" for value in values)
    return LabelMap(values, names), [_stray_note(values)] if _is_stray(values) else []


@dataclass
class _Values:
    """How many voxels hold each value, over all labels.

    Attributes:
        totals: voxels by value.
        pictures: whether the labels are pictures, which may have been compressed with loss.
        lossy: whether one of them is a JPEG.
        folder: where they lie.
        strange: the first of them with a value that no class can have.
    """

    totals: Counter[int]
    pictures: bool = False
    lossy: bool = False
    folder: Path | None = None
    strange: Path | None = None

    @classmethod
    def count(cls, labels: Iterable[Volume]) -> _Values:
        found = cls(Counter())
        for label in labels:
            values = count_values(label)
            found.totals.update(values)
            if found.strange is None and not 0 <= min(values) <= max(values) <= MOST_VALUE:
                found.strange = label.path
            found.pictures |= label.is_picture
            found.lossy |= label.path.suffix.lower() in LOSSY
            found.folder = label.path.parent
        return found

    @property
    def foreground(self) -> list[int]:
        return sorted(value for value in self.totals if value)

    @property
    def may_be_noisy(self) -> bool:
        return self.lossy or (self.pictures and len(self.totals) >= NOISY_VALUES)


def count_values(label: Volume) -> dict[int, int]:
    """Voxels by label value."""
    data = label.data
    if data.dtype == np.uint8:  # by far the most labels; counting is many times faster than sorting
        counts = np.bincount(data.ravel(), minlength=1)
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    values, counts = np.unique(data, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _named(labels: Iterable[Volume], label_map: LabelMap) -> tuple[LabelMap, list[str]]:
    shown = False
    for label in labels:
        encoded = label_map.encode(label)
        shown = bool(((encoded > 0) & (encoded != IGNORED)).any()) or shown
    if not shown:
        raise _all_empty()
    return label_map, []


def _is_black_and_white(totals: Counter[int]) -> bool:
    """Whether grey values are 0 and 255, or crowd at both with a thin tail between."""
    if min(totals) < 0 or max(totals) > 255:
        return False
    middle = [count for value, count in totals.items() if NEAR < value < 255 - NEAR]
    if max(totals) < 255 - NEAR or max(middle, default=0) > MIDDLE_PART * totals.total():
        return False
    return sum(middle) <= (1 - NEAR_PART) * totals.total()


def _are_classes(found: _Values) -> bool:
    """Whether the values look like class numbers, not like grey levels or compressed classes."""
    values = found.foreground
    if len(values) > MOST_CLASSES or values[0] < 0 or values[-1] > MOST_VALUE:
        return False
    rare = sum(count < RARE_PART * found.totals.total() for count in found.totals.values())
    strewn = found.may_be_noisy and values[-1] > MOST_CLASSES and 2 * rare > len(values)
    return not strewn and not (found.lossy and len(values) > 1)


def _not_classes(found: _Values) -> LabelError:
    values = found.foreground
    return LabelError(
        "label values are no class numbers",
        path=found.strange or found.folder,
        found=f"{len(values)} values from {values[0]} to {values[-1]}"
        + (", in files compressed with loss" if found.lossy else ""),
        expected=f"at most {MOST_CLASSES} whole numbers from 1 to {MOST_VALUE}, one a class",
        mend="save masks without loss (PNG or NIfTI, not JPEG); name more classes than that in dataset.json "
        "(BIDS: in dseg.tsv)",
    )


def _grey_note(totals: Counter[int]) -> str:
    if totals.keys() <= {0, 255}:
        return "masks hold 0 and 255: 255 is the class"
    part = 100 * sum(count for value, count in totals.items() if value not in (0, 255)) / totals.total()
    return (
        f"masks hold {len(totals)} grey values, as JPEG leaves them; {part:.1f} % of the pixels are neither "
        f"0 nor 255; {THRESHOLD} and above is the class"
    )


def _is_stray(values: Sequence[int]) -> bool:
    """Whether 255 is beside other values, and no last one of classes that are drawn in even steps of grey."""
    return values[-1] == 255 and len(values) > 1 and abs(values[0] * len(values) - 255) >= len(values)


def _stray_note(values: Sequence[int]) -> str:
    return (
        f"masks hold 255 beside {', '.join(map(str, values[:-1]))}, and each becomes a class: if some masks have 0 and "
        '255, or 255 is what nobody labelled ("ignore" in dataset.json), or edges are grey, mend them first'
    )


def _all_empty() -> LabelError:
    return LabelError(
        "every label is empty",
        found="background only",
        expected="at least one labelled voxel",
        mend="check that the right files were exported, and that the label values are not all 0",
    )
