from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from masg_sam.data.labels import IGNORED
from masg_sam.data.prompt_input import BOX_END, BOX_START, NEGATIVE, PADDING, POSITIVE
from masg_sam.data.simulated_prompts import simulate_prompt
from masg_sam.models.sam.prompts import Prompts


def label() -> np.ndarray:
    found = np.zeros((64, 96), np.int64)
    found[10:30, 40:70], found[40:44, 5:11] = 1, 3
    return found


def many(count: int = 200, **changes: object) -> list[dict[str, Tensor]]:
    arguments = {"label": label(), "num_classes": 3, "probability": 1.0} | changes
    return [simulate_prompt(**arguments, rng=np.random.default_rng(seed)) for seed in range(count)]


def test_shapes_fit_the_network() -> None:
    for prompt in many(5):
        shapes = {name: tuple(value.shape) for name, value in prompt.items()}
        assert shapes == {
            "points": (3, 2),
            "kinds": (3,),
            "classes": (3,),
            "masks": (3, 16, 24),
            "has_mask": (3,),
        }
        Prompts(**{name: value[None] for name, value in prompt.items()}).to("cpu")


def test_the_seed_decides() -> None:
    first, again = many(20), many(20)
    assert all(torch.equal(a[name], b[name]) for a, b in zip(first, again, strict=True) for name in a)


def test_clicks_lie_on_their_class_and_beside_it() -> None:
    inside = outside = 0
    for prompt in many():
        for (x, y), kind, number in zip(prompt["points"].tolist(), prompt["kinds"], prompt["classes"], strict=True):
            if kind == POSITIVE:
                assert label()[int(y), int(x)] == number
                inside += 1
            if kind == NEGATIVE:
                assert number > 0 and label()[int(y), int(x)] != number
                outside += 1
    assert inside > 50 and outside > 10


def test_no_click_says_what_nobody_labelled() -> None:
    """Above the class nobody labelled: clicks beside it lie below, or left or right of it."""
    partly = label()
    partly[:10] = partly[10:30, :20] = IGNORED
    seen = [
        (int(x), int(y))
        for prompt in many(label=partly)
        for (x, y), kind in zip(prompt["points"].tolist(), prompt["kinds"], strict=True)
        if kind == NEGATIVE
    ]
    assert len(seen) > 10 and all(partly[y, x] != IGNORED for x, y in seen)


def test_rough_masks_end_at_the_border() -> None:
    """A class along the upper border does not come in from below when its mask is moved."""
    top = np.zeros((64, 96), np.int64)
    top[:12] = 1
    masks = [prompt["masks"][0] for prompt in many(label=top, num_classes=1) if prompt["has_mask"].any()]
    assert len(masks) > 20 and all(mask[8:].max() < 0 < mask[:5].max() for mask in masks)


def test_boxes_hold_their_class_but_for_a_tenth() -> None:
    borders = {1: ((40, 10), (69, 29)), 3: ((5, 40), (10, 43))}
    seen = set()
    for prompt in many():
        if BOX_START not in prompt["kinds"]:
            continue
        assert prompt["kinds"].tolist() == [BOX_START, BOX_END, PADDING]
        number = int(prompt["classes"][0])
        start, end = np.array(borders[number])
        slack = 0.1 * np.maximum(end - start, 4) + 1e-4
        assert (np.abs(prompt["points"][0].numpy() - start) <= slack).all()
        assert (np.abs(prompt["points"][1].numpy() - end) <= slack).all()
        seen.add(number)
    assert seen == {1, 3}


def test_rough_masks_belong_to_one_class_and_cover_it_roughly() -> None:
    overlaps = []
    for prompt in many():
        if not prompt["has_mask"].any():
            assert not prompt["masks"].any()
            continue
        assert prompt["has_mask"].sum() == 1 and (prompt["kinds"] == PADDING).all()
        k = int(prompt["has_mask"].argmax())
        assert not prompt["masks"][[i for i in range(3) if i != k]].any()
        if k == 0:
            rough, true = prompt["masks"][0] > 0, torch.from_numpy(label()[2::4, 2::4] == 1)
            overlaps.append(2 * (rough & true).sum().item() / (rough.sum() + true.sum()).item())
    assert len(overlaps) > 10 and 0.6 < np.mean(overlaps) < 0.97  # neither useless nor the answer


def test_unused_points_belong_to_no_class() -> None:
    for prompt in many():
        assert ((prompt["kinds"] == PADDING) == (prompt["classes"] == 0)).all()


def test_absent_classes_are_never_prompted() -> None:
    named = {int(number) for prompt in many() for number in prompt["classes"]}
    assert named == {0, 1, 3}
    assert not any(prompt["has_mask"][1] for prompt in many())


def test_probability_is_kept() -> None:
    def prompted(prompt: dict[str, Tensor]) -> bool:
        return bool((prompt["kinds"] != PADDING).any() or prompt["has_mask"].any())

    assert not any(map(prompted, many(probability=0.0)))
    assert all(map(prompted, many()))
    assert 0.15 < np.mean([prompted(prompt) for prompt in many(probability=0.25)]) < 0.35


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 1))
def test_any_label_will_do(seed: int, density: float) -> None:
    """Single pixels, full slices, empty ones."""
    rng = np.random.default_rng(seed)
    noisy = (rng.random((32, 32)) < density) * rng.integers(1, 3, (32, 32))
    prompt = simulate_prompt(noisy, 2, 1.0, rng)
    assert all(torch.isfinite(value.float()).all() for value in prompt.values())
    assert (prompt["classes"] >= 0).all() and (prompt["classes"] <= 2).all()
