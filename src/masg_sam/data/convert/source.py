"""What is converted, what each layout says of itself, and what several of them share."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from masg_sam.data.dataset_json import IGNORE
from masg_sam.data.labels import LabelMap
from masg_sam.data.layouts import Case, Dataset
from masg_sam.errors import LayoutError

TRAINING, TEST = "training", "test"
SCAN, PICTURE = ".nii.gz", ".png"


@dataclass(frozen=True)
class Source:
    """What is converted.

    Attributes:
        dataset: its training cases.
        labels: what the label values mean.
        channels: names of the channels.
        pictures: whether the images are pictures.
        parts: cases by ``training``, ``test`` and ``validation``.
    """

    dataset: Dataset
    labels: LabelMap
    channels: tuple[str, ...]
    pictures: bool
    parts: dict[str, tuple[Case, ...]]

    @property
    def usual_suffix(self) -> str:
        """What every tool reads."""
        return PICTURE if self.pictures else SCAN


class Target(Protocol):
    """A layout to write.

    Attributes:
        labels: the label values it gets.
        parts: of the source that it has a place for.
        as_stored: whether pictures are read there without palette and transparency.
    """

    labels: LabelMap
    parts: tuple[str, ...]
    as_stored: bool

    def suffix(self, path: Path) -> str:
        """The ending that a file of the source gets."""

    def images(self, part: str, case: Case) -> list[str]:
        """Paths of the images of a case, without ending."""

    def label(self, part: str, case: Case) -> str:
        """Path of its label, without ending."""

    def facts(self) -> dict[str, str]:
        """Files that describe the whole, by path."""


def file_count(source: Source, case: Case) -> int:
    """A file a channel, also where one file held them all; colours stay together."""
    return 1 if source.pictures and len(case.images) == 1 else len(source.channels)


def numbered(name: str, count: int) -> list[str]:
    """A name, or one a file with the number of its channel."""
    return [name] if count == 1 else [f"{name}_{i:04d}" for i in range(count)]


def exact(labels: LabelMap) -> LabelMap:
    """The values as they are; masks of grey levels become 0 and 1."""
    return labels if labels.threshold is None else replace(labels, values=(1,), threshold=None)


def consecutive(labels: LabelMap) -> LabelMap:
    """Values 1..K; what nobody labelled comes last."""
    count = labels.num_classes
    return LabelMap(tuple(range(1, count + 1)), labels.names, None, None if labels.ignore is None else count + 1)


def named_values(labels: LabelMap) -> dict[str, int]:
    """Name to value, with the background, and what nobody labelled."""
    named = {"background": 0} | dict(zip(labels.names, labels.values, strict=True))
    return named if labels.ignore is None else named | {IGNORE: labels.ignore}


def must_be_scans(source: Source, layout: str) -> None:
    """Refuse pictures.

    Raises:
        LayoutError: the images are pictures.
    """
    if source.pictures:
        raise LayoutError(
            f"pictures have no place in {layout}",
            path=source.dataset.root,
            found="pictures",
            expected="scans",
            mend="convert to nnunet or folders",
        )


def to_json(facts: dict[str, Any]) -> str:
    """As it stands in a file."""
    return json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
