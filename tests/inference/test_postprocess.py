from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from masg_sam.inference.postprocess import keep_likeliest, margin


def two_pieces() -> np.ndarray:
    """Class 1 as 8 and 2 voxels, class 2 as 4 and 1."""
    mask = np.zeros((3, 10, 10), np.uint8)
    mask[0:2, 1:3, 1:3], mask[2, 8, 7:9] = 1, 1
    mask[0, 5:7, 5:7], mask[2, 1, 9] = 2, 2
    return mask


def keep_largest(mask: np.ndarray, single: tuple[bool, ...]) -> np.ndarray:
    """Where all voxels are equally sure, the largest piece is the likeliest."""
    return keep_likeliest(mask, np.ones(mask.shape, np.float16), single)


def test_the_margin_is_that_over_the_next_class() -> None:
    probability = torch.tensor([[0.2, 0.9999, 1.0], [0.5, 0.0001, 0.0], [0.3, 0.0, 0.0]])[None, :, None]  # 3 classes
    expected = [math.log(0.5 / 0.3), math.log(0.9999 / 0.0001), math.log(1 / 0.0001)]
    found = margin(probability)
    assert found.dtype == torch.float16 and found.shape == (1, 1, 3)
    assert found[0, 0].tolist() == pytest.approx(expected, rel=1e-3)


def test_a_sure_piece_outweighs_a_larger_doubtful_one() -> None:
    """8 voxels against 2: the small one is kept where its voxels are more than four times as sure."""
    mask = two_pieces()
    for sure, left in ((3.9, 8), (4.1, 2)):
        evidence = np.where(np.arange(3)[:, None, None] == 2, sure, 1.0) * np.ones(mask.shape)
        found = keep_likeliest(mask, evidence.astype(np.float16), (True, False))
        assert (found == 1).sum() == left and (found == 2).sum() == 5


def test_voxels_without_any_evidence_are_kept() -> None:
    mask = two_pieces()
    assert (keep_likeliest(mask, np.zeros(mask.shape, np.float16), (True, True)) == 1).sum() in (8, 2)


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


def test_pieces_that_a_user_spoke_of_stay_too() -> None:
    """Beside the likeliest one: a voxel, a window, a mask; what is no piece of the class keeps nothing."""
    mask = two_pieces()
    evidence = np.ones(mask.shape, np.float16)
    drawn = np.zeros(mask.shape, bool)
    drawn[2, 7:9, 5:8] = True
    for place in ((2, 8, 7), (slice(2, 3), slice(0, 10), slice(8, 9)), drawn):
        found = keep_likeliest(mask, evidence, (True, True), [[place], [(1, 9, 9)]])
        assert (found == 1).sum() == 10 and (found == 2).sum() == 4
    assert (keep_likeliest(mask, evidence, (True, True), [[(2, 8, 6)], []]) == 1).sum() == 8


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
