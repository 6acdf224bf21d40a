"""COCO's JSON of instances: https://cocodataset.org/#format-data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from masg_sam.data.annotations.drawn import Picture, Sheet, as_layout_error, picture_size
from masg_sam.data.annotations.shapes import Shape, outline, runs
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
            size = images[entry["image_id"]][1]
            shapes = _shapes(entry.get("segmentation"), size)
            drawn[entry["image_id"]] += [(names[entry["category_id"]], shape) for shape in shapes]
        pictures = (Picture(*images[number], tuple(drawn[number]), path) for number in images)
        return Sheet("coco", path, tuple(pictures), tuple(names[number] for number in sorted(names)))


def _picture(entry: dict[str, Any]) -> tuple[str, tuple[int, int]]:
    return str(entry["file_name"]), picture_size(entry["height"], entry["width"])


def _shapes(found: Any, size: tuple[int, int]) -> list[Shape]:
    """Polygons, the parts of one object, or run lengths down the columns."""
    if not found:
        raise ValueError("an object with a box and no outline")
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
