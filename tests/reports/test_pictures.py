"""Pictures of slices: which, in which colours, and what is wrong in them."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masg_sam.colours import colour_of
from masg_sam.data.volume import Geometry, Volume
from masg_sam.reports.pictures import case_pictures, legend

RED, BLUE, PINK = (0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2), (0xCC, 0x79, 0xA7)


def volume(shape: tuple[int, int, int] = (6, 8, 10), spacing: tuple[float, float, float] = (3.0, 2.0, 1.0)) -> Volume:
    data = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    return Volume(data, spacing, None, Geometry("picture", shape[1:], None), Path("x.png"))


def opened(uri: str) -> np.ndarray:
    head, content = uri.split(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def masks(shape: tuple[int, int, int] = (6, 8, 10)) -> dict[str, np.ndarray]:
    """In slice 2: one voxel right, one a false alarm, one missed, one of another class."""
    prediction, label = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    prediction[2, 0, :4] = [1, 1, 0, 2]
    label[2, 0, :4] = [1, 0, 1, 1]
    return {"prediction": prediction, "label": label}


def test_slices_are_spread_through_what_was_found():
    mask = np.zeros((20, 4, 4), np.uint8)
    mask[5:16, 1, 1] = 1
    mask[10, 1, :2] = 1
    scan = volume((20, 4, 4))

    def numbers(masks, most):
        return [one.number for one in case_pictures("p", "", scan, masks, 0, most).slices]

    assert numbers({"a": mask, "b": np.roll(mask, 2, 0)}, 2) == [5, 17]
    assert case_pictures("p", "", scan, {"a": mask}, 0, 3).shown == 1  # the fullest is shown first


def test_errors_have_their_colours():
    found = case_pictures("p", "", volume(), masks(), 0, 4)
    assert [one.number for one in found.slices] == [2]
    error = opened(found.slices[0].layers["error"])
    assert error[0, 0, 3] == 0  # right: see-through
    assert [tuple(error[0, i, :3]) for i in (1, 2, 3)] == [RED, BLUE, PINK]
    assert (error[1:, :, 3] == 0).all()


def test_classes_have_the_colours_of_the_legend():
    prediction = opened(case_pictures("p", "", volume(), masks(), 0, 4).slices[0].layers["prediction"])
    colours = legend(["a", "b"])
    assert [f"#{''.join(f'{part:02X}' for part in prediction[0, i, :3])}" for i in (0, 3)] == list(colours.values())
    assert colours["b"] == colour_of(2)
    assert prediction[0, 2, 3] == 0


def test_without_a_label_there_is_no_error_layer():
    found = case_pictures("p", "", volume(), {"prediction": masks()["prediction"]}, 0, 4)
    assert list(found.slices[0].layers) == ["prediction"]


@pytest.mark.parametrize(("axis", "aspect"), [(0, (10 * 1) / (8 * 2)), (1, (10 * 1) / (6 * 3)), (2, (8 * 2) / (6 * 3))])
def test_aspect_is_in_millimetres(axis, aspect):
    assert case_pictures("p", "", volume(), masks(), axis, 2).aspect == pytest.approx(aspect)


def test_the_slice_that_holds_most_is_shown_first():
    mask = np.zeros((6, 8, 10), np.uint8)
    mask[1:5, 2, 2] = 1
    mask[3, 2:5] = 1
    found = case_pictures("p", "", volume(), {"prediction": mask}, 0, 6)
    assert found.slices[found.shown].number == 3


def test_large_pictures_are_scaled_down():
    shape = (1, 900, 600)
    found = case_pictures("p", "", volume(shape), {"prediction": np.ones(shape, np.uint8)}, 0, 1)
    assert opened(found.slices[0].image).shape == (384, 256, 3)
    assert opened(found.slices[0].layers["prediction"]).shape == (384, 256, 4)
