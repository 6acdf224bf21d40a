"""Polygons of masks, against hand-computed outlines and another library's filling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageDraw

from masg_sam.data.io.dicom.contours import mask_of, polygons_of

MASKS = arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def test_one_voxel_is_a_diamond_around_its_centre() -> None:
    mask = np.zeros((4, 5), bool)
    mask[1, 3] = True
    (found,) = polygons_of(mask)
    assert sorted(map(tuple, found.tolist())) == [(2.5, 1.0), (3.0, 0.5), (3.0, 1.5), (3.5, 1.0)]


def test_a_hole_is_cut_out_of_its_outline() -> None:
    """A keyhole: one polygon, so that readers that unite polygons leave the hole open too."""
    mask = np.ones((5, 7), bool)
    mask[2, 2:4] = False
    (found,) = polygons_of(mask)
    assert np.array_equal(mask_of([found], mask.shape), mask)
    ends = np.roll(found, -1, axis=0)
    (there, back) = [(a, b) for a, b in zip(found.tolist(), ends.tolist(), strict=True) if a[1] == b[1] in (1.75, 2.25)]
    assert there == back[::-1] and {there[0][0], there[1][0]} == {3.25, 6.5}  # beside the row of centres
    assert (found != ends).any(axis=1).all()
    area = 0.5 * abs(np.sum(found[:, 0] * ends[:, 1] - ends[:, 0] * found[:, 1]))
    assert area == pytest.approx((5 * 7 - 4 / 8) - (2 - 4 / 8))  # corners are cut by an eighth of a voxel


def test_several_holes_and_an_island_in_one() -> None:
    mask = np.ones((11, 15), bool)
    mask[2:9, 2:9] = False
    mask[4:7, 4:7] = True
    mask[3, 11], mask[7, 11:13] = False, False
    found = polygons_of(mask)
    assert len(found) == 2 and np.array_equal(mask_of(found, mask.shape), mask)


@settings(max_examples=200, deadline=None)
@given(MASKS)
def test_masks_come_back_by_union_and_by_exclusive_or(mask: np.ndarray) -> None:
    polygons = polygons_of(mask)
    assert np.array_equal(mask_of(polygons, mask.shape), mask)
    union = np.zeros(mask.shape, bool)
    for polygon in polygons:
        union |= mask_of([polygon], mask.shape)
    assert np.array_equal(union, mask)
    rounded = [np.round(polygon * 0.7123, 4) / 0.7123 for polygon in polygons]  # as millimetres in a file
    assert np.array_equal(mask_of(rounded, mask.shape), mask)


def test_another_library_fills_the_same_voxels() -> None:
    """Pillow's polygons, on a grid eight times as fine, where its inclusive edges do not reach a centre."""
    mask = np.random.default_rng(0).random((20, 25)) > 0.4
    fine = Image.new("1", (25 * 8, 20 * 8))
    for polygon in polygons_of(mask):
        ImageDraw.Draw(fine).polygon([tuple(point) for point in polygon * 8 + 4], fill=1)
    assert np.array_equal(np.asarray(fine)[4::8, 4::8], mask)


def test_polygons_inside_each_other_alternate_and_those_beside_the_picture_are_cut() -> None:
    square = np.array([(-3.0, -3.0), (4.5, -3.0), (4.5, 4.5), (-3.0, 4.5)])
    found = mask_of([square, np.array([(0.5, 0.5), (2.5, 0.5), (2.5, 2.5), (0.5, 2.5)]), square + 90], (4, 8))
    expected = np.zeros((4, 8), bool)
    expected[:, :5] = True
    expected[1:3, 1:3] = False
    assert np.array_equal(found, expected)
    assert not mask_of([np.array([(1.0, 1.0), (3.0, 1.0)]), np.empty((0, 2))], (4, 8)).any()
