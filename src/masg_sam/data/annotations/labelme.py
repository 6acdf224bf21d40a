"""LabelMe's JSON, one file a picture: https://github.com/wkentaro/labelme."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from masg_sam.data.annotations.drawn import Picture, as_layout_error, picture_size
from masg_sam.data.annotations.shapes import Pixels, Shape, ellipse, outline, rectangle
from masg_sam.errors import LayoutError
from masg_sam.files import read_json


def read_labelme(path: Path) -> Picture:
    """What is drawn on the picture that is named like the file.

    Raises:
        LayoutError: it is no such file, or holds lines or points, which are no outlines.
    """
    facts = read_json(path, LayoutError, "save it again with LabelMe")
    with as_layout_error(path, "LabelMe's JSON"):
        size = picture_size(facts["imageHeight"], facts["imageWidth"])
        shapes = tuple((str(entry["label"]), _shape(entry, size)) for entry in facts["shapes"])
    return Picture(path.stem, size, shapes, path)


def _shape(entry: dict[str, Any], size: tuple[int, int]) -> Shape:
    kind = entry.get("shape_type") or "polygon"
    points = [[float(value) for value in point] for point in entry["points"]]
    if kind in ("polygon", "rotation") or (kind == "rectangle" and len(points) == 4):
        return outline(points)
    if kind == "rectangle":
        (left, top), (right, bottom) = points
        return rectangle(left, top, right, bottom)
    if kind == "circle":
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        return ellipse(x, y, radius, radius)
    if kind == "mask":
        return _mask(entry["mask"], points, size)
    raise ValueError(f"a {kind}, which is no outline")


def _mask(text: str, points: Sequence[Sequence[float]], size: tuple[int, int]) -> Pixels:
    """A PNG of the box between two corners."""
    with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=("PNG",)) as image:
        if image.width * image.height > size[0] * size[1]:
            raise ValueError(f"a mask of {image.width} x {image.height} pixels")
        flat = (np.asarray(image.convert("L")) > 0).ravel()
        shape = (image.height, image.width)
    turns = np.flatnonzero(np.diff(flat, prepend=False, append=False))
    counts = np.diff(turns, prepend=0, append=len(flat))
    outline(points)  # where it lies is looked at like any corner
    return Pixels(counts, shape, int(points[0][1]), int(points[0][0]))
