"""COCO's JSON of instances: https://cocodataset.org/#format-data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from masg_sam.data.annotations.drawn import Picture, Sheet, as_layout_error, picture_size
from masg_sam.data.annotations.shapes import Shape, outline, runs
from masg_sam.data.io.picture import DAMAGE
from masg_sam.errors import LayoutError
from masg_sam.files import read_json


def read_coco(path: Path) -> Sheet:
    """Pictures and what is drawn on them; classes in the order of their numbers.

    Raises:
        LayoutError: it is no such file, or holds boxes without outlines.
    """
    facts = read_json(path, LayoutError, "export it again, as COCO with segmentations")
    with as_layout_error(path, "COCO's JSON of instances"):
        names = {entry["id"]: str(entry["name"]) for entry in facts["categories"]}
        images = {entry["id"]: _picture(entry) for entry in facts["images"]}
        if len(images) < len(facts["images"]):
            raise ValueError("two images of one id")
        drawn: dict[Any, list[tuple[str, Shape]]] = {number: [] for number in images}
        for entry in facts["annotations"]:
            drawn[_image_of(entry, images)] += _drawn(entry, images, names)
        pictures = (Picture(*images[number], tuple(drawn[number]), path) for number in images)
        return Sheet("coco", path, tuple(pictures), tuple(names[number] for number in sorted(names)))


def _picture(entry: dict[str, Any]) -> tuple[str, tuple[int, int]]:
    return str(entry["file_name"]), picture_size(entry["height"], entry["width"])


def _image_of(entry: dict[str, Any], images: Mapping[Any, tuple[str, tuple[int, int]]]) -> Any:
    return _known(entry, "image_id", images, f"annotation {entry.get('id')}", "is on image {}, which `images`")


def _drawn(
    entry: dict[str, Any], images: Mapping[Any, tuple[str, tuple[int, int]]], names: Mapping[Any, str]
) -> list[tuple[str, Shape]]:
    """Class and shapes of an annotation."""
    picture, size = images[entry["image_id"]]
    place = f"annotation {entry.get('id')} on {picture}"
    category = _known(entry, "category_id", names, place, "is of category {}, which `categories`")
    if not entry.get("segmentation"):
        raise ValueError(f"{place} has a box and no outline")
    try:
        return [(names[category], shape) for shape in _shapes(entry["segmentation"], size)]
    except DAMAGE as error:
        raise ValueError(f"{place}: {error}") from error


def _known(entry: dict[str, Any], key: str, listed: Mapping[Any, Any], place: str, problem: str) -> Any:
    """What an annotation refers to, which must be listed."""
    if key not in entry:
        raise ValueError(f"{place} has no `{key}`")
    if entry[key] not in listed:
        raise ValueError(f"{place} {problem.format(entry[key])} does not list")
    return entry[key]


def _shapes(found: Any, size: tuple[int, int]) -> list[Shape]:
    """Polygons, the parts of one object, or run lengths down the columns."""
    if isinstance(found, list):
        return [outline(ring) for ring in found]
    counts = found["counts"]
    if [int(length) for length in found["size"]] != [*size]:
        raise ValueError(f"a mask of {found['size']} on a picture of {size[0]} x {size[1]}")
    plain = unpacked(counts, size[0] * size[1]) if isinstance(counts, str) else counts
    return [runs(plain, size, size[0] * size[1], by_column=True)]


def unpacked(text: str, most: int) -> list[int]:
    """Run lengths from the text that COCO packs them into: five bits a character, differences to the last but one.

    Raises:
        ValueError: characters that are none of it, or ends within a number.
    """
    counts: list[int] = []
    number = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("run lengths that are not packed as COCO does")
        number |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            number -= (1 << shift) if bits & 16 else 0
            counts.append(number + (counts[-2] if len(counts) > 2 else 0))
            number = shift = 0
    if shift or max(counts, default=0) > most:
        raise ValueError("run lengths that end too soon, or are longer than the picture")
    return counts
