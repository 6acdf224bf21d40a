"""From the values that stand in label files to classes 0..K, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from masg_sam.data.volume import Volume
from masg_sam.errors import LabelError

MOST_CLASSES = 64
NEAR = 40  # grey levels around 0 and 255 that compression noise may reach
NEAR_PART = 0.95  # of all pixels that must lie there, for a noisy mask to count as black and white


@dataclass(frozen=True)
class LabelMap:
    """The classes, and the values that stand for them in files.

    Attributes:
        values: label value of each foreground class, ascending.
        names: name of each foreground class.
        threshold: set for grey masks of one class: at or above it is foreground.
    """

    values: tuple[int, ...]
    names: tuple[str, ...]
    threshold: int | None = None

    @property
    def num_classes(self) -> int:
        """Foreground classes K."""
        return len(self.values)

    def encode(self, label: Volume) -> np.ndarray:
        """Classes 0..K, ``Z x Y x X`` of uint8.

        Raises:
            LabelError: a value that names no class.
        """
        data = label.data[0]
        if self.threshold is not None:
            return (data >= self.threshold).astype(np.uint8)
        known = np.array((0, *self.values))
        index = np.searchsorted(known, data).clip(max=len(known) - 1)
        wrong = known[index] != data
        if wrong.any():
            values, counts = np.unique(data[wrong], return_counts=True)
            found = ", ".join(f"{v} ({n} voxels)" for v, n in list(zip(values, counts, strict=True))[:5])
            pairs = zip(self.values, self.names, strict=True)
            raise LabelError(
                "label values that name no class",
                path=label.path,
                found=found + (" ..." if len(values) > 5 else ""),
                expected="0, " + ", ".join(f"{value} ({name})" for value, name in pairs),
                mend="add them to `labels` in dataset.json, or mend the label",
            )
        return index.astype(np.uint8)

    def decode(self, mask: np.ndarray) -> np.ndarray:
        """Classes 0..K back to the values of the label files."""
        return np.array((0, *self.values))[mask]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LabelMap:
        """The inverse of :meth:`to_dict`."""
        return cls(tuple(values["values"]), tuple(values["names"]), values["threshold"])


def fit_label_map(labels: Iterable[Volume], class_names: Mapping[int, str]) -> tuple[LabelMap, list[str]]:
    """Decide what the values in a set of labels mean.

    Args:
        labels: read one at a time.
        class_names: foreground label value to name, as the layout gives it; empty when it gives none.

    Returns:
        The map, and what a user should be told, in words.

    Raises:
        LabelError: values outside ``class_names``, colours, noise that cannot be told apart, or nothing but
            background in every label.
    """
    if class_names:
        return _named(labels, dict(sorted(class_names.items())))
    totals: Counter[int] = Counter()
    last: Volume | None = None
    for last in labels:
        values, counts = np.unique(last.data, return_counts=True)
        totals.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    foreground = sorted(value for value in totals if value)
    if not foreground or last is None:
        raise _all_empty()
    if foreground[0] >= 0 and foreground == [255]:
        return LabelMap((255,), ("foreground",), 128), ["masks hold 0 and 255: 255 is the class"]
    if _is_noisy(totals):
        part = sum(n for v, n in totals.items() if v not in (0, 255)) / totals.total()
        note = (
            f"masks hold {len(totals)} grey values, as JPEG leaves them; {100 * part:.1f} % of the pixels are "
            "neither 0 nor 255; 128 and above is the class"
        )
        return LabelMap((255,), ("foreground",), 128), [note]
    if foreground[0] < 0 or len(foreground) > MOST_CLASSES or foreground[-1] > 65535:
        raise LabelError(
            "labels hold too many values to be classes",
            path=last.path.parent,
            found=f"{len(foreground)} values from {foreground[0]} to {foreground[-1]}",
            expected=f"at most {MOST_CLASSES}, one whole number a class",
            mend="save masks without loss (PNG or NIfTI, not JPEG), or add dataset.json with `labels`",
        )
    names = ("foreground",) if len(foreground) == 1 else tuple(f"class {value}" for value in foreground)
    return LabelMap(tuple(foreground), names), []


def _named(labels: Iterable[Volume], names: dict[int, str]) -> tuple[LabelMap, list[str]]:
    label_map = LabelMap(tuple(names), tuple(names.values()))
    seen: set[int] = set()
    for label in labels:
        seen.update(np.unique(label_map.encode(label)).tolist())
    if not seen - {0}:
        raise _all_empty()
    missing = [name for i, name in enumerate(label_map.names, start=1) if i not in seen]
    if not missing:
        return label_map, []
    return label_map, [f"no label shows {', '.join(missing)}: the model cannot learn it"]


def _is_noisy(totals: Counter[int]) -> bool:
    """Whether grey values crowd at both ends of 0..255 with a thin tail between."""
    if min(totals) < 0 or max(totals) > 255 or len(totals) < 3 or max(totals) < 255 - NEAR:
        return False
    near = sum(n for v, n in totals.items() if v <= NEAR or v >= 255 - NEAR)
    high = sum(n for v, n in totals.items() if v >= 255 - NEAR)
    few_between = near >= NEAR_PART * totals.total()
    return few_between and high > 0 and len(totals) > 2 and _no_middle_class(totals)


def _no_middle_class(totals: Counter[int]) -> bool:
    """No single grey level between the ends may stand out as a class of its own."""
    middle = [n for v, n in totals.items() if NEAR < v < 255 - NEAR]
    return max(middle, default=0) < 0.005 * totals.total()


def _all_empty() -> LabelError:
    return LabelError(
        "every label is empty",
        found="background only",
        expected="at least one labelled voxel",
        mend="check that the right files were exported, and that the label values are not all 0",
    )
