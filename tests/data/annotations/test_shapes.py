"""Shapes as pixels: by hand, by brute force, and beside COCO's own tools."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.path import Path as Polygon

from masg_sam.data.annotations.coco import unpacked
from masg_sam.data.annotations.shapes import Shape, ellipse, outline, rectangle, runs


def painted(shape: Shape, size: tuple[int, int] = (6, 8), value: int = 1) -> np.ndarray:
    canvas = np.zeros(size, np.uint16)
    shape.paint(canvas, value)
    return canvas


def drawing(*rows: str) -> np.ndarray:
    return np.array([[int(letter == "#") for letter in row] for row in rows])


def star(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A polygon that leaves the picture here and there."""
    around = np.sort(rng.random(rng.integers(3, 12))) * 2 * np.pi
    reach = rng.uniform(0.3, 1.3, len(around))
    middle = np.array([size[1], size[0]]) / 2
    return middle + np.stack([np.cos(around), np.sin(around)], axis=-1) * reach[:, None] * middle


def test_a_square_on_edges_of_pixels_is_neither_larger_nor_smaller() -> None:
    expected = drawing("........", "..###...", "..###...", "........", "........", "........")
    np.testing.assert_array_equal(painted(rectangle(2, 1, 5, 3)), expected)
    np.testing.assert_array_equal(painted(rectangle(5, 3, 2, 1)), expected)


def test_a_triangle_by_the_centres_of_its_pixels() -> None:
    expected = drawing("#.......", "##......", "###.....", "####....", "........", "........")
    np.testing.assert_array_equal(painted(outline([[0, -0.2], [0, 4], [4.2, 4]])), expected)


def test_what_lies_off_the_picture_is_cut_off() -> None:
    np.testing.assert_array_equal(painted(rectangle(-50, -50, 50, 50)), np.ones((6, 8)))
    np.testing.assert_array_equal(painted(rectangle(6, 4, 900, 900))[4:, 6:], np.ones((2, 2)))
    assert painted(rectangle(9, 1, 20, 3)).sum() == painted(rectangle(1, -9, 3, -1)).sum() == 0


def test_a_hole_is_what_the_line_goes_around_twice() -> None:
    ring = [[0, 0], [6, 0], [6, 6], [0, 6], [0, 0], [2, 2], [4, 2], [4, 4], [2, 4], [2, 2]]
    expected = np.ones((6, 6))
    expected[2:4, 2:4] = 0
    np.testing.assert_array_equal(painted(outline(ring), (6, 6)), expected)


@pytest.mark.parametrize("points", [[], [[1, 1]], [[1, 1], [5, 4]], [[1, 1], [5, 1], [3, 1]]])
def test_what_encloses_nothing_paints_nothing(points: list[list[float]]) -> None:
    assert painted(outline(points)).sum() == 0


@pytest.mark.parametrize("seed", range(20))
def test_polygons_by_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(5, 60, 2).tolist())
    points = star(rng, size)
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    inside = Polygon(points).contains_points(np.stack([columns.ravel(), rows.ravel()], axis=-1)).reshape(size)
    np.testing.assert_array_equal(painted(outline(points), size), inside)


@pytest.mark.parametrize("seed", range(20))
def test_masks_and_polygons_beside_cocos_own_tools(seed: int) -> None:
    """Run lengths agree exactly; polygons but for pixels on the edge, which COCO samples five times finer."""
    coco = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(20, 60, 2).tolist())
    ours = painted(outline(points := star(rng, size)), size)
    theirs = coco.decode(coco.frPyObjects([points.ravel().tolist()], *size))[..., 0]
    assert (ours != theirs).mean() < 0.03
    packed = coco.encode(np.asfortranarray(ours.astype(np.uint8)))["counts"].decode()
    found = runs(unpacked(packed, ours.size), size, ours.size, by_column=True)
    np.testing.assert_array_equal(painted(found, size), ours)


def test_an_ellipse_has_the_area_of_one_and_turns_clockwise() -> None:
    upright, lying = painted(ellipse(50, 50, 30, 10), (100, 100)), painted(ellipse(50, 50, 30, 10, 90), (100, 100))
    assert upright.sum() == pytest.approx(np.pi * 300, rel=0.01)
    np.testing.assert_array_equal(lying, upright.T)
    rows, columns = np.nonzero(painted(ellipse(50, 50, 30, 5, 45), (100, 100)))
    assert np.corrcoef(rows, columns)[0, 1] > 0.9  # from top left to bottom right


def test_runs_along_rows_and_down_columns_wherever_they_lie() -> None:
    counts = [1, 2, 3]
    expected = drawing("........", ".....##.", "........", "........", "........", "........")
    np.testing.assert_array_equal(painted(runs(counts, (2, 3), 48, top=1, left=4)), expected)
    expected = drawing("........", "....." + "#..", "....#...", "........", "........", "........")
    np.testing.assert_array_equal(painted(runs(counts, (2, 3), 48, top=1, left=4, by_column=True)), expected)
    assert painted(runs([0, 6], (2, 3), 48, top=-1, left=-1)).sum() == 2
    assert painted(runs([0, 6], (2, 3), 48, top=5, left=6)).sum() == 2
    assert painted(runs([0, 6], (2, 3), 48, top=50, left=-60)).sum() == 0


@pytest.mark.parametrize("counts", [[], [5], [7], [1, -1, 6], [2, 2, 3]])
def test_runs_that_do_not_fill_their_mask(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="run lengths"):
        runs(counts, (2, 3), 48)


@pytest.mark.parametrize("size", [(0, 3), (-1, -6), (100, 100)])
def test_masks_larger_than_the_picture(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="a mask of"):
        runs([1], size, 48)


@pytest.mark.parametrize("points", [[[1, 2, 3]], [["a", 1]], [[np.nan, 1]], [[1e300, 1]], [[np.inf, 1]]])
def test_vertices_that_are_none(points: list[list[float]]) -> None:
    with pytest.raises(ValueError):
        outline(points)


def test_an_outline_that_would_take_for_ever() -> None:
    zigzag = np.tile([[0, 0], [1, 9000]], (5000, 1))
    with pytest.raises(ValueError, match="crosses"):
        painted(outline(zigzag), (9000, 4))
