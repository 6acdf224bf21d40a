from __future__ import annotations

import numpy as np

from masg_sam.data.prompt_input import ROUGH_LOGIT, rough_logits


def test_a_rough_mask_far_from_its_border_and_on_it() -> None:
    mask = np.zeros((2, 64, 96))
    mask[0, :, :48] = 1
    found = rough_logits(mask)
    assert found.shape == (2, 16, 24) and found.dtype == np.float32
    assert np.allclose(found[0, :, :6], ROUGH_LOGIT) and np.allclose(found[0, :, 18:], -ROUGH_LOGIT)
    assert np.allclose(found[0, :, 11], -found[0, :, 12])  # the border lies between them
    assert 0 < found[0, 0, 11] < ROUGH_LOGIT / 2
    assert (found[1] == -ROUGH_LOGIT).all()


def test_slices_do_not_blur_into_each_other() -> None:
    masks = np.random.default_rng(0).random((3, 32, 32))
    one_by_one = np.concatenate([rough_logits(mask[None]) for mask in masks])
    np.testing.assert_array_equal(rough_logits(masks), one_by_one)
