from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from masg_sam.inference.postprocess import keep_largest


def two_pieces() -> np.ndarray:
    """Class 1 as 8 and 2 voxels, class 2 as 4 and 1."""
    mask = np.zeros((3, 10, 10), np.uint8)
    mask[0:2, 1:3, 1:3], mask[2, 8, 7:9] = 1, 1
    mask[0, 5:7, 5:7], mask[2, 1, 9] = 2, 2
    return mask


def test_only_classes_that_come_in_one_piece_are_mended() -> None:
    mask = two_pieces()
    found = keep_largest(mask, (True, False))
    assert (found == 1).sum() == 8 and not (found[2] == 1).any()
    assert (found == 2).sum() == 5
    both = keep_largest(mask, (True, True))
    assert (both == 1).sum() == 8 and (both == 2).sum() == 4
    assert (keep_largest(mask, (False, False)) == mask).all()


def test_the_mask_given_is_not_changed() -> None:
    mask = two_pieces()
    before = mask.copy()
    assert keep_largest(mask, (True, True)) is not mask
    assert (mask == before).all()


def test_what_touches_at_a_corner_is_one_piece() -> None:
    mask = np.zeros((2, 3, 3), np.uint8)
    mask[0, 0, 0], mask[1, 1, 1] = 1, 1
    assert (keep_largest(mask, (True,)) == mask).all()


def test_touching_classes_are_apart() -> None:
    mask = np.array([[[1, 2, 1, 1]]], np.uint8)
    assert keep_largest(mask, (True, True)).ravel().tolist() == [0, 2, 1, 1]


def test_an_absent_class_stays_absent() -> None:
    assert not keep_largest(np.zeros((2, 3, 3), np.uint8), (True, True)).any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 0.6))
def test_what_is_left_is_one_piece_of_what_was(seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    mask = (rng.random((3, 8, 8)) < density).astype(np.uint8)
    found = keep_largest(mask, (True,))
    pieces, count = ndimage.label(mask, np.ones((3, 3, 3)))
    assert count == 0 or found.sum() == np.bincount(pieces.ravel())[1:].max()
    assert ndimage.label(found, np.ones((3, 3, 3)))[1] == min(count, 1)
    assert (found <= mask).all()
