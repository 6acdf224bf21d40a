from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from masg_sam.inference.signals import NAMES, Agreement, Certainty, Signals, joined, ratio


def certainty() -> Certainty:
    """Two slices of 1 x 4 voxels, one class; 0.8 on one voxel, 0.6 and 0.4 on two others."""
    foreground = torch.tensor([[[0.8, 0.4, 0.0, 0.0]], [[0.6, 0.0, 0.0, 0.0]]])  # B x r x c
    probability = torch.stack([1 - foreground, foreground], 1)
    return Certainty.of(probability, probability.argmax(1))


def agreement(first: list[int], second: list[int], classes: int = 1) -> Agreement:
    return Agreement.of(torch.tensor([[first]]), torch.tensor([[second]]), classes)


def signals(steady: Agreement | None = None, prompted: Agreement | None = None) -> Signals:
    same = agreement([1, 1], [1, 1])
    return Signals(certainty(), steady or same, prompted, np.array([0.5]), np.zeros(4), (0, 1))


class WithoutDoubles(TorchDispatchMode):
    """As Apple's GPUs are: no tensor of float64 is made."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        if any(isinstance(one, torch.Tensor) and one.dtype == torch.float64 for one in tree_leaves(found)):
            raise TypeError(f"{function} made float64")
        return found


def test_devices_without_float64_are_no_hindrance() -> None:
    with WithoutDoubles():
        found, both = certainty(), agreement([1, 1, 0], [1, 0, 0])
    assert found.voxels.dtype == both.both.dtype == np.float64


def test_planes_are_compared_where_there_are_several() -> None:
    assert math.isnan(signals().by_class()["planes"][0])
    other = replace(signals(), planes=agreement([1, 1, 0, 0], [1, 0, 0, 0]))
    assert other.by_class()["planes"] == pytest.approx([2 / 3])


def test_sums_of_each_slice_by_hand() -> None:
    found = certainty()
    assert found.voxels.tolist() == [[1], [1]]
    np.testing.assert_allclose(found.inside, [[0.8], [0.6]], rtol=1e-6)
    np.testing.assert_allclose(found.mass, [[1.2], [0.6]], rtol=1e-6)


def test_entropy_is_taken_on_both_sides_of_the_border() -> None:
    found = certainty()
    assert found.edge.tolist() == [[2], [2]]  # the voxel found and its neighbour

    def entropy(p: float) -> float:
        return -sum(q * math.log2(q) for q in (p, 1 - p) if q)

    np.testing.assert_allclose(found.edge_entropy[:, 0], [entropy(0.8) + entropy(0.4), entropy(0.6)], rtol=1e-5)


def test_doubt_counts_the_voxels_expected_to_be_wrong() -> None:
    np.testing.assert_allclose(certainty().doubt(), [0.4 + 0.2, 0.4], rtol=1e-5)


def test_batches_join() -> None:
    found = joined([certainty(), certainty()])
    assert found.voxels.shape == (4, 1) and found.inside.sum() == pytest.approx(2.8)


def test_agreement_by_hand() -> None:
    found = agreement([1, 1, 2, 0], [1, 0, 2, 2], classes=3)
    np.testing.assert_allclose(found.dice()[:2], [2 / 3, 2 / 3])
    assert math.isnan(found.dice()[2])


def test_sums_are_those_of_a_map_for_each_class() -> None:
    torch.manual_seed(0)
    probability = torch.rand(3, 5, 20, 30).softmax(1)
    first, second = probability.argmax(1), torch.randint(0, 5, (3, 20, 30))
    maps, others = ((mask[:, None] == torch.arange(1, 5)[:, None, None]).double() for mask in (first, second))
    found = Agreement.of(first.to(torch.uint8), second, 4)
    for one, expected in ((found.voxels, maps), (found.again, others), (found.both, maps * others)):
        np.testing.assert_array_equal(one, expected.sum((2, 3)))
    edge = F.max_pool2d(maps, 3, 1, 1) + F.max_pool2d(-maps, 3, 1, 1)
    entropy = (-probability * probability.log()).sum(1, keepdim=True) / math.log(5)
    found_sums = Certainty.of(probability, first)
    for name, expected in {
        "voxels": maps,
        "inside": maps * probability[:, 1:],
        "mass": probability[:, 1:].double(),
        "edge": edge,
        "edge_entropy": edge * entropy,
    }.items():
        np.testing.assert_allclose(getattr(found_sums, name), expected.sum((2, 3)), rtol=1e-6)


def test_agreements_join_over_slices() -> None:
    found = joined([agreement([1, 1], [1, 0]), agreement([0, 1], [0, 1])])
    assert found.dice().tolist() == [pytest.approx(2 * 2 / (3 + 2))]


def test_signals_by_class() -> None:
    found = signals(steady=agreement([1, 1], [1, 0]), prompted=agreement([1, 0], [0, 1])).by_class()
    assert tuple(found) == NAMES
    assert found["soft_dice"][0] == pytest.approx(2 * 1.4 / (2 + 1.8))
    assert found["steady"][0] == pytest.approx(2 / 3)
    assert found["prompted"][0] == 0 and found["kept"][0] == 0.5
    assert 0 < found["edge"][0] < 1


def test_without_prompts_that_signal_is_undefined() -> None:
    assert np.isnan(signals().by_class()["prompted"]).all()


def test_a_ratio_of_nothing_is_undefined() -> None:
    found = ratio(np.array([1.0, 1.0]), np.array([2.0, 0.0]))
    assert found[0] == 0.5 and math.isnan(found[1])


def test_a_sure_network_has_perfect_signals() -> None:
    mask = torch.zeros(1, 6, 6, dtype=torch.long)
    mask[0, 2:4, 2:4] = 1
    probability = torch.nn.functional.one_hot(mask, 2).permute(0, 3, 1, 2).float()
    sure = Certainty.of(probability, mask)
    assert sure.doubt().tolist() == [0.0] and sure.edge_entropy.sum() == 0
    assert sure.edge.sum() == 16  # four voxels, each on the border, and the ring of twelve around them
