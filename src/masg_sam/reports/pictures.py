"""Slices as data URIs: the image, masks over it, and what is wrong in them."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from masg_sam.colours import BLUE, ORANGE, PURPLE, colour_of
from masg_sam.data.io import file_slice
from masg_sam.data.slices import in_plane, spread_slices
from masg_sam.data.volume import Volume
from masg_sam.inference.overlay import slice_picture, upright
from masg_sam.reports.content import CasePictures, Slice

MOST_PIXELS = 384  # of a picture's longest side; larger ones are scaled down
OPACITY = 115  # of 255
FALSE_ALARM, MISSED, WRONG_CLASS = ORANGE, BLUE, PURPLE


def legend(names: Sequence[str]) -> dict[str, str]:
    """Class name to colour."""
    return {name: colour_of(k) for k, name in enumerate(names, start=1)}


def case_pictures(
    name: str, caption: str, volume: Volume, masks: Mapping[str, np.ndarray], axis: int, most: int
) -> CasePictures:
    """Draw some slices of a case.

    Args:
        name: of the case.
        caption: what is to be said of it.
        volume: its image.
        masks: layer name to classes ``Z x Y x X``; with ``prediction`` and ``label``, the layer ``error`` is added.
        axis: of ``Z x Y x X``, along which the slices lie.
        most: slices to draw, spread through those that hold something.
    """
    others = tuple(i for i in range(3) if i != axis)
    held = sum((mask > 0).sum(axis=others) for mask in masks.values())  # voxels in each slice
    numbers = spread_slices(held > 0, most)
    rows, columns = in_plane(volume.spacing, axis)
    slices = []
    for number in numbers:
        cut = {layer: upright(np.moveaxis(mask, axis, 0)[number], axis) for layer, mask in masks.items()}
        layers = {layer: _png(_painted(mask)) for layer, mask in cut.items()}
        if {"prediction", "label"} <= cut.keys():
            layers["error"] = _png(_wrong(cut["prediction"], cut["label"]))
        picture = slice_picture(volume, number, axis)
        slices.append(Slice(file_slice(volume, axis, number), photograph(picture), layers))
        shape = picture.shape
    fullest = int(np.argmax(held[list(numbers)]))
    return CasePictures(name, caption, shape[1] * columns / (shape[0] * rows), slices, fullest)


def photograph(picture: np.ndarray) -> str:
    """A picture ``rows x columns x 3`` in 0..1 as JPEG."""
    image = Image.fromarray((np.clip(picture, 0, 1) * 255).round().astype(np.uint8))
    image.thumbnail((MOST_PIXELS, MOST_PIXELS), Image.Resampling.LANCZOS)
    return _uri(image, "JPEG", quality=82)


def _painted(mask: np.ndarray) -> np.ndarray:
    """Classes in their colours, see-through elsewhere: ``rows x columns x 4`` of uint8."""
    return _coloured(mask, {int(value): colour_of(int(value)) for value in np.unique(mask[mask > 0])})


def _wrong(prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
    """False alarms, missed voxels, and voxels given to another class."""
    kind = np.zeros(label.shape, np.uint8)
    kind[(prediction > 0) & (label == 0)] = 1
    kind[(prediction == 0) & (label > 0)] = 2
    kind[(prediction > 0) & (label > 0) & (prediction != label)] = 3
    return _coloured(kind, {1: FALSE_ALARM, 2: MISSED, 3: WRONG_CLASS}, 220)


def _coloured(mask: np.ndarray, colours: Mapping[int, str], opacity: int = OPACITY) -> np.ndarray:
    result = np.zeros((*mask.shape, 4), np.uint8)
    for value, colour in colours.items():
        result[mask == value] = [*(round(255 * part) for part in to_rgb(colour)), opacity]
    return result


def _png(picture: np.ndarray) -> str:
    image = Image.fromarray(picture)
    image.thumbnail((MOST_PIXELS, MOST_PIXELS), Image.Resampling.NEAREST)
    return _uri(image, "PNG", optimize=True)


def _uri(image: Image.Image, kind: str, **options: object) -> str:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"
