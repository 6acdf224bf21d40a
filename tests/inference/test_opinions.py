from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from masg_sam.data.prompt_input import BOX_END, BOX_START, PADDING
from masg_sam.inference import opinions as module
from masg_sam.inference.opinions import SecondOpinions
from masg_sam.models.masg_sam import MasgSamNetwork


@pytest.mark.parametrize("size", [(64, 64), (64, 96)])
def test_a_warp_and_its_inverse_cancel(size: tuple[int, int]) -> None:
    rows, columns = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in size), indexing="ij")
    blob = torch.exp(-8 * (rows**2 + (columns - 0.2) ** 2))[None, None]
    for angle, scale, *_ in module.VIEWS:
        there = module._warp(blob, angle, scale)
        assert (there - blob).abs().max() > 0.05
        assert (module._warp(there, -angle, 1 / scale) - blob).abs().max() < 0.02


def test_a_turn_is_a_turn_on_an_oblong_image() -> None:
    """A point at the right of the middle goes up or down by the angle, whatever the sides."""
    image = torch.zeros(1, 1, 65, 97)
    image[0, 0, 32, 72] = 1.0  # 24 pixels to the right
    turned = module._warp(image, np.pi / 6, 1.0)[0, 0]
    row, column = np.unravel_index(int(turned.argmax()), turned.shape)
    assert abs(np.hypot(row - 32, column - 48) - 24) < 1.5
    assert abs(abs(np.degrees(np.arctan2(row - 32, column - 48))) - 30) < 3


def test_boxes_go_round_the_classes() -> None:
    mask = torch.zeros(3, 8, 8, dtype=torch.long)
    mask[:, 1:3, 2:5], mask[:, 6, 6] = 1, 2
    mask[2] = 0
    assert module._own_boxes(mask, 2, before=1)[1].tolist() == [[0, 1], [1, 0], [0, 0]]
    prompts, asked = module._own_boxes(mask, 2)
    assert asked.tolist() == [[1, 0], [0, 1], [0, 0]]
    assert prompts.points[0, :2].tolist() == [[2, 1], [4, 2]] and prompts.points[1, :2].tolist() == [[6, 6]] * 2
    assert prompts.kinds.tolist() == [[BOX_START, BOX_END, PADDING]] * 2 + [[PADDING] * 3]
    assert prompts.classes.tolist() == [[1, 1, 0], [2, 2, 0], [0, 0, 0]]


@torch.inference_mode()
def ask(network: MasgSamNetwork) -> SecondOpinions:
    opinions = SecondOpinions(network.eval(), 2)
    for part in torch.randn(5, 3, 64, 64, generator=torch.Generator().manual_seed(0)).split(3):
        opinions.ask(part)
    return opinions


def test_every_slice_is_asked_in_every_way(make_network: Callable[..., MasgSamNetwork]) -> None:
    network = make_network(encoder__weights="scratch")
    opinions = ask(network)
    planes = opinions.steady[0]  # any agreement: it is handed on
    found = opinions.signals(None, np.array([1.0, 1.0]), tuple(range(5)), planes)  # type: ignore[arg-type]
    assert found.planes is planes
    assert found.steady.voxels.shape == (5 * len(module.VIEWS), 2)
    assert found.prompted is not None and found.prompted.voxels.shape == (5, 2)
    assert found.embedding.shape == (2 * 256,) and np.isfinite(found.embedding).all()


@torch.inference_mode()
def test_the_classes_take_turns_over_the_whole_scan(
    make_network: Callable[..., MasgSamNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One slice at a time asks about each class as one batch does."""
    turns: list[int] = []
    own_boxes = module._own_boxes
    monkeypatch.setattr(module, "_own_boxes", lambda *given: turns.append(given[2]) or own_boxes(*given))
    opinions = SecondOpinions(make_network(encoder__weights="scratch").eval(), 2)
    for part in torch.zeros(4, 3, 64, 64).split([1, 2, 1]):
        opinions.ask(part)
    assert turns == [0, 1, 3]


def test_the_plain_decoder_takes_no_prompts(make_network: Callable[..., MasgSamNetwork]) -> None:
    opinions = ask(make_network(encoder__weights="scratch", decoder__kind="fpn"))
    assert opinions.signals(None, np.ones(2), (0,)).prompted is None  # type: ignore[arg-type]
