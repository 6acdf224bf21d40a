"""A case and a dataset, whatever the layout they were found in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from masg_sam.data.dataset_json import composed
from masg_sam.data.io import LabelSource, label_path
from masg_sam.data.io.kinds import case_stem
from masg_sam.errors import LayoutError, few


@dataclass(frozen=True)
class Case:
    """One patient, scan or picture.

    Attributes:
        name: file name without channel and suffix.
        images: one file, or one a channel; of DICOM a folder or archive, or ``FOLDER#...``; none where only the
            label was found.
        label: where there is one: a file, or what an annotation tool made of it.
        fault: what keeps the case from being read, known before its files are opened.
        label_names: class name of each value, for labels that mark classes by their names.
        source: where its images came from, if they will not stay where they are.
        channels: how many its image may hold where it is one file of four dimensions, as ``dataset.json`` names them.
    """

    name: str
    images: tuple[Path, ...]
    label: LabelSource | None
    fault: LayoutError | None = None
    label_names: Mapping[int, str] = field(default_factory=dict)
    source: str | None = None
    channels: int = 1


@dataclass(frozen=True)
class Dataset:
    """Cases of one folder or list.

    Attributes:
        root: the folder, or the file of a list.
        layout: ``nnunet``, ``msd``, ``folders``, ``bids``, ``list``, or the annotation tool: ``coco``, ``cvat``,
            ``labelme``.
        cases: in natural order of their names.
        class_names: foreground label value to name, as the layout or the labels themselves give it; empty when
            neither does.
        channel_names: of the image channels; empty when the layout names none.
    """

    root: Path
    layout: str
    cases: tuple[Case, ...]
    class_names: dict[int, str]
    channel_names: tuple[str, ...]

    @property
    def packed(self) -> int:
        """Channels that one file of a case may hold: as many as the layout names."""
        return max(1, len(self.channel_names))

    def name_channels(self, count: int) -> tuple[str, ...]:
        """Names of so many channels: those of the layout, or made up where it names other ones or none."""
        if len(self.channel_names) == count:
            return self.channel_names
        return ("red", "green", "blue") if count == 3 else tuple(f"channel {i + 1}" for i in range(count))


def case_name(path: Path) -> str:
    """Of a file: without its ending, and as any system would write its letters.

    Raises:
        LayoutError: letters that are no UTF-8, as old archives leave them.
    """
    name = composed(case_stem(path))
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise LayoutError(
            "a file name that is no text",
            path=path,
            found=ascii(name),
            expected="letters in UTF-8",
            mend="rename the file; convmv does it for many",
        )
    return name


@contextmanager
def folders_must_open() -> Iterator[None]:
    """Say of a folder that cannot be read that it cannot.

    Raises:
        LayoutError: the system refused a folder, or a file of it.
    """
    try:
        yield
    except OSError as error:
        raise LayoutError(
            "cannot be read",
            path=error.filename,
            found=error.strerror,
            expected="a folder that you may list, and files in it that you may read",
            mend="change its permissions, or name another one",
        ) from error


def fault_of(case: Case) -> LayoutError | None:
    """What keeps a case from being a whole pair of image and label; ``None`` for nothing."""
    if case.fault is not None:
        return case.fault
    if not case.images:
        return LayoutError(
            "no image for this label",
            path=None if case.label is None else label_path(case.label),
            expected=f"an image of the name {case.name}",
            mend="add it, or take the label out",
        )
    if case.label is None:
        return LayoutError(
            "no label for this case",
            path=case.images[0],
            expected=f"a label of the name {case.name}",
            mend="add it, or take the image out",
        )
    return None


def in_order(cases: Sequence[Case], mend: str = "rename or take apart") -> tuple[Case, ...]:
    """By natural order of their names, which must differ.

    Raises:
        LayoutError: two cases of one name.
    """
    ordered = tuple(sorted(cases, key=lambda case: natural(case.name)))
    double = [(a, b) for a, b in pairwise(ordered) if a.name == b.name]
    if double:
        first, second = double[0]
        raise LayoutError(
            f"cases of the same name: {few([case.name for case, _ in double])}",
            path=place_of(second),
            found=f"also {place_of(first)}",
            expected="one file a name, whatever its suffix and folder",
            mend=mend,
        )
    return ordered


def place_of(case: Case) -> Path:
    """Its first image, or without one its label."""
    return label_path(case.label) if case.label is not None and not case.images else case.images[0]


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts 2 before 10."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]
