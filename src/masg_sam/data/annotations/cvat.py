"""CVAT's XML, "CVAT for images 1.1": https://docs.cvat.ai/docs/other/xml_format."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

from defusedxml import ElementTree

from masg_sam.data.annotations.drawn import Picture, Sheet, as_layout_error, picture_size
from masg_sam.data.annotations.shapes import Shape, ellipse, outline, runs
from masg_sam.errors import LayoutError
from masg_sam.files import refuse_large

PASSED_OVER = ("tag", "attribute")  # they say something of the whole picture


def read_cvat(path: Path) -> Sheet:
    """Pictures and what is drawn on them, by z-order; classes in the order of the task.

    Raises:
        LayoutError: it is no such file, or holds boxes, lines or points, which are no outlines.
    """
    refuse_large(path, LayoutError)
    with as_layout_error(path, "CVAT's XML for images"):
        root = ElementTree.parse(path, forbid_dtd=True).getroot()
        if root.tag != "annotations" or root.find("track") is not None:
            raise ValueError("tracks of a video: export as `CVAT for images 1.1`" if len(root) else "no annotations")
        pictures = tuple(_picture(image, path) for image in root.iterfind("image"))
        names = [label.findtext("name") for label in root.iterfind(".//meta//labels/label")]
    return Sheet("cvat", path, pictures, tuple(name for name in names if name))


def _picture(image: Element, path: Path) -> Picture:
    size = picture_size(image.attrib["height"], image.attrib["width"])
    drawn = sorted(
        (item for item in image if item.tag not in PASSED_OVER), key=lambda item: int(item.get("z_order", 0))
    )
    return Picture(
        image.attrib["name"], size, tuple((item.attrib["label"], _shape(item, size)) for item in drawn), path
    )


def _shape(item: Element, size: tuple[int, int]) -> Shape:
    facts = item.attrib
    if item.tag == "polygon":
        return outline([[float(value) for value in pair.split(",")] for pair in facts["points"].split(";")])
    if item.tag == "mask":
        left, top, width, height = (int(float(facts[key])) for key in ("left", "top", "width", "height"))
        counts = [int(count) for count in facts["rle"].split(",")]
        return runs(counts, (height, width), size[0] * size[1], top=top, left=left)
    if item.tag == "ellipse":
        x, y, half_width, half_height = (float(facts[key]) for key in ("cx", "cy", "rx", "ry"))
        return ellipse(x, y, half_width, half_height, float(facts.get("rotation", 0)))
    raise ValueError(f"a {item.tag}, which is no outline")
