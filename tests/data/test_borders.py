from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from masg_sam.data.borders import content_box, is_colour
from masg_sam.data.volume import Geometry, Volume

WHOLE = (slice(0, 100), slice(0, 200))


def picture(data: np.ndarray, scan: bool = False) -> Volume:
    data = np.asarray(data, np.float32)
    return Volume(
        data, (1.0, 1.0, 1.0), np.eye(4) if scan else None, Geometry("picture", data.shape[1:], None), Path("x")
    )


def framed(rows: slice = slice(4, 98), columns: slice = slice(40, 150)) -> np.ndarray:
    """Tissue in a frame of what compression makes of black, 100 x 200."""
    rng = np.random.default_rng(0)
    data = rng.uniform(0, 11, (3, 1, 100, 200))
    data[..., rows, columns] = rng.uniform(60, 200, data[..., rows, columns].shape)
    return data


def test_what_is_inside_of_a_black_frame() -> None:
    assert content_box(picture(framed())) == (slice(4, 98), slice(40, 150))


def test_a_frame_that_leaves_most_of_the_longer_side_is_let_be() -> None:
    """85 % of 200 columns are 170; rows do not count, for they are the shorter side."""
    assert content_box(picture(framed(columns=slice(10, 180)))) == (slice(4, 98), slice(10, 180))
    assert content_box(picture(framed(columns=slice(10, 181)))) == WHOLE
    assert content_box(picture(framed(slice(30, 70), slice(0, 200)))) == WHOLE


def test_a_caption_is_not_content() -> None:
    """Letters on 15 of 100 rows, in the black beside the tissue."""
    data = framed()
    data[..., 20:35, 160:195] = 255
    assert content_box(picture(data)) == (slice(4, 98), slice(40, 150))


def test_a_round_image() -> None:
    """A circle of radius 45 around (50, 100): lines of which no more than a fifth is lit are left out."""
    y, x = np.mgrid[:100, :200]
    data = np.where((y - 50) ** 2 + (x - 100) ** 2 < 45**2, 120, 0)[None].repeat(3, 0)[:, None]
    rows, columns = content_box(picture(data))
    assert rows == slice(10, 91)  # more than 40 columns are lit up to sqrt(45^2 - 20^2) = 40.3 rows from the middle
    assert columns == slice(57, 144)  # more than 20 rows up to sqrt(45^2 - 10^2) = 43.9 columns


def test_bright_spots_on_black_are_no_framed_picture() -> None:
    data = np.zeros((3, 1, 100, 200))
    data[..., 10:90:2, 20:100:2] = 250
    data[..., 10:90:2, 21:100:2] = 250  # half of the lines between 20 and 100
    assert content_box(picture(data)) == WHOLE


@pytest.mark.parametrize("shade", [0, 12])
def test_a_picture_that_is_black_all_over(shade: int) -> None:
    assert content_box(picture(np.full((3, 1, 100, 200), shade))) == WHOLE


def test_only_colour_pictures_are_looked_at() -> None:
    data = framed()
    for other in (picture(data[:1]), picture(data, scan=True), picture(data * 100)):
        assert not is_colour(other) and content_box(other) == WHOLE
    assert is_colour(picture(data))
