from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from masg_sam.data.borders import BLACK, content_box, is_colour, without_frame
from masg_sam.data.labels import IGNORED
from masg_sam.data.volume import Geometry, Volume

WHOLE = (slice(0, 100), slice(0, 200))


def picture(data: np.ndarray, scan: bool = False) -> Volume:
    data = np.asarray(data, np.float32)
    return Volume(
        data, (1.0, 1.0, 1.0), np.eye(4) if scan else None, Geometry("picture", data.shape[1:], None), Path("x")
    )


def box(one: Volume) -> tuple[slice, slice]:
    return content_box(one, is_colour(one))


def framed(rows: slice = slice(4, 98), columns: slice = slice(40, 150)) -> np.ndarray:
    """Tissue in a frame of what compression makes of black, 100 x 200."""
    rng = np.random.default_rng(0)
    data = rng.uniform(0, BLACK - 1, (3, 1, 100, 200))
    data[..., rows, columns] = rng.uniform(60, 200, data[..., rows, columns].shape)
    return data


def test_what_is_inside_of_a_black_frame() -> None:
    assert box(picture(framed())) == (slice(4, 98), slice(40, 150))


def test_a_frame_that_leaves_most_of_the_longer_side_is_let_be() -> None:
    """85 % of 200 columns are 170; rows do not count, for they are the shorter side."""
    assert box(picture(framed(columns=slice(10, 180)))) == (slice(4, 98), slice(10, 180))
    assert box(picture(framed(columns=slice(10, 181)))) == WHOLE
    assert box(picture(framed(slice(30, 70), slice(0, 200)))) == WHOLE


def test_a_caption_is_not_content() -> None:
    """Letters on 15 of 100 rows, in the black beside the tissue."""
    data = framed()
    data[..., 20:35, 160:195] = 255
    assert box(picture(data)) == (slice(4, 98), slice(40, 150))


def test_a_round_image_is_held_whole() -> None:
    """Lines at the edge of a circle of radius 45 around (50, 100) are lit in part only."""
    y, x = np.mgrid[:100, :200]
    data = np.where((y - 50) ** 2 + (x - 100) ** 2 < 45**2, 120, 0)[None].repeat(3, 0)[:, None]
    assert box(picture(data)) == (slice(6, 95), slice(56, 145))


def test_a_fan_of_ultrasound_is_let_be() -> None:
    """It is narrow at its tip, and how bright its edge is hangs on the gain."""
    y, x = np.mgrid[:100, :200]
    radius, angle = np.hypot(y - 2, x - 100), np.arctan2(x - 100, y - 2)
    fan = (radius < 95) & (radius > 8) & (np.abs(angle) < np.radians(35))
    data = np.where(fan, 90, 0)[None].repeat(3, 0)[:, None]
    assert box(picture(data)) == WHOLE


def test_bright_spots_on_black_are_no_framed_picture() -> None:
    data = np.zeros((3, 1, 100, 200))
    data[..., 10:90:2, 20:100:2] = 250
    data[..., 10:90:2, 21:100:2] = 250  # half of the lines between 20 and 100
    assert box(picture(data)) == WHOLE


@pytest.mark.parametrize("shade", [0, BLACK])
def test_a_picture_that_is_black_all_over(shade: int) -> None:
    assert box(picture(np.full((3, 1, 100, 200), shade))) == WHOLE


def test_only_colour_pictures_are_looked_at() -> None:
    data = framed()
    for other in (picture(data[:1]), picture(data, scan=True), picture(data * 100)):
        assert not is_colour(other) and box(other) == WHOLE
    assert is_colour(picture(data))


def test_a_colour_picture_in_a_format_of_scans() -> None:
    """Where the model says that images are colours, the file's format does not matter, nor one voxel beyond 255."""
    data = framed()
    data[0, 0, 50, 60] = 300
    assert content_box(picture(data, scan=True), True) == (slice(4, 98), slice(40, 150))
    assert content_box(picture(data.repeat(2, 1)), True) == WHOLE  # several slices are no picture


def test_a_label_in_the_frame_stays() -> None:
    label = np.zeros((1, 100, 200), np.uint8)
    label[0, 50, 60] = 1
    cut, inside = without_frame(picture(framed()), label, True)
    assert cut.data.shape == (3, 1, 94, 110) and inside.shape == (1, 94, 110) and inside[0, 46, 20] == 1
    label[0, 99, 10] = 2
    label[0, 0, 199] = IGNORED
    cut, inside = without_frame(picture(framed()), label, True)
    assert cut.data.shape == (3, 1, 96, 140) and inside[0, 95, 0] == 2
