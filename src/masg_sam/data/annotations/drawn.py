"""Labels that are drawn: which shapes lie on which picture, and the classes that they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from masg_sam.data.annotations.shapes import Shape
from masg_sam.data.dataset_json import IGNORE, MOST_CLASSES, plain
from masg_sam.data.io.picture import DAMAGE, MOST_PIXELS, UPRIGHT, shown_as
from masg_sam.data.volume import Geometry, Volume
from masg_sam.errors import GeometryError, LabelError, LayoutError, few

BACKGROUND = ("background", "_background_")  # shapes that take others away
IGNORED = (IGNORE, "__ignore__")


@dataclass(frozen=True)
class Picture:
    """What is drawn on one picture.

    Attributes:
        name: of the picture, as the tool wrote it.
        size: its rows and columns.
        shapes: class name and shape, what lies on top last.
        path: the annotation file.
    """

    name: str
    size: tuple[int, int]
    shapes: tuple[tuple[str, Shape], ...]
    path: Path


@dataclass(frozen=True)
class Sheet:
    """What one export of an annotation tool holds.

    Attributes:
        kind: ``coco``, ``cvat`` or ``labelme``.
        path: the annotation file, or the folder of them.
        pictures: in the order of the file.
        names: classes in the order of the tool.
    """

    kind: str
    path: Path
    pictures: tuple[Picture, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class DrawnLabel:
    """A label that is drawn, for :func:`masg_sam.data.io.read_label`.

    Attributes:
        path: the annotation file.
        size: rows and columns of the picture.
        shapes: label value and shape, what lies on top last.
        picture: that it is drawn on; ``None`` where it is not known.
    """

    path: Path
    size: tuple[int, int]
    shapes: tuple[tuple[int, Shape], ...]
    picture: Path | None = None

    def read(self) -> Volume:
        """Paint it: ``1 x 1 x Y x X`` of uint16, 0 where nothing is drawn.

        Raises:
            LayoutError: an outline with more corners than can be meant.
            GeometryError: the tool showed the picture otherwise than it is stored.
        """
        _must_be_upright(self.picture, self.path)
        canvas = np.zeros(self.size, np.uint16)
        with as_layout_error(self.path, "an annotation file"):
            for value, shape in self.shapes:
                shape.paint(canvas, value)
        return Volume(canvas[None, None], (1.0, 1.0, 1.0), None, Geometry("picture", self.size, None), self.path)


def drawn_values(sheet: Sheet, given: Mapping[int, str]) -> dict[str, int]:
    """The label value of each class that is drawn; see :func:`class_values`.

    Classes that the tool lists and nobody drew are left out: Roboflow lists a group of that kind first.
    """
    drawn = {name for picture in sheet.pictures for name, _ in picture.shapes}
    return class_values(
        [name for name in dict.fromkeys(sheet.names + tuple(sorted(drawn))) if name in drawn], given, sheet.path
    )


def class_values(names: Sequence[str], given: Mapping[int, str], path: Path) -> dict[str, int]:
    """The label value of each class: as given, else from 1 in their order; 0 for what is called background.

    Args:
        names: of the classes.
        given: name of each label value, from ``dataset.json``; empty where there is none.
        path: where they come from, for messages.

    Raises:
        LabelError: a class that ``dataset.json`` does not name, or more classes than a mask can hold.
    """
    known = {_plain(name): value for value, name in given.items()}
    values = {name: 0 for name in names if name.lower() in BACKGROUND and _plain(name) not in known}
    named = {name: _plain(name) for name in names if name not in values}
    if unknown := [name for name, one in named.items() if one not in known] if known else []:
        raise LabelError(
            "classes that dataset.json does not name",
            path=path,
            found=few(unknown),
            expected=few(list(known)),
            mend="add them to `labels` in dataset.json, or take dataset.json away",
        )
    numbers = {one: k for k, one in enumerate(dict.fromkeys(named.values()), start=1)}
    if len(numbers) > MOST_CLASSES:
        raise LabelError(f"{len(numbers)} classes", path=path, expected=f"at most {MOST_CLASSES}", mend="take some out")
    return values | {name: (known or numbers)[one] for name, one in named.items()}


def value_names(values: Mapping[str, int]) -> dict[int, str]:
    """Name of each label value, without the background; what nobody labelled is ``ignore``."""
    names: dict[int, str] = {}
    for name, value in values.items():
        names.setdefault(value, IGNORE if _plain(name) == IGNORE else name)  # as it was written first
    return {value: name for value, name in names.items() if value}


def drawn_label(picture: Picture, values: Mapping[str, int], file: Path | None) -> DrawnLabel:
    """The label of a picture and its file, once the values of the classes are known."""
    return DrawnLabel(picture.path, picture.size, tuple((values[name], shape) for name, shape in picture.shapes), file)


def picture_size(height: Any, width: Any) -> tuple[int, int]:
    """Rows and columns from what a file says.

    Raises:
        ValueError: they are no picture's.
    """
    rows, columns = int(height), int(width)
    if not (rows > 0 and columns > 0 and rows * columns <= MOST_PIXELS):
        raise ValueError(f"a picture of {rows} x {columns} pixels")
    return rows, columns


@contextmanager
def as_layout_error(path: Path, kind: str) -> Iterator[None]:
    """Whatever a broken file makes go wrong is said of the file.

    Raises:
        LayoutError: something did.
    """
    try:
        yield
    except DAMAGE as error:
        raise LayoutError(
            f"cannot be read as {kind}",
            path=path,
            found=f"{type(error).__name__}: {str(error)[:200]}",
            expected="what the tool exports, as it is",
            mend="export it again, with polygons or masks",
        ) from error


def _must_be_upright(picture: Path | None, label: Path) -> None:
    """Tools draw on a picture as it is shown; its pixels are read as they are stored."""
    if picture is None or (found := shown_as(picture)) == UPRIGHT:
        return
    raise GeometryError(
        "a picture that is shown turned, with a label that is drawn on it",
        path=picture,
        found=f"EXIF orientation {found}",
        expected=f"pixels stored as they are shown, since {label.name} is drawn on what is shown",
        mend="apply the rotation to the pixels (export the picture upright), and draw or export its label again",
    )


def _plain(name: str) -> str:
    return IGNORE if name.lower() in IGNORED else plain(name)
