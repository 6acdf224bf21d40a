from __future__ import annotations

import pytest
import torch
from torch import Tensor

from masg_sam.inference.planes import LEAST_PROBABILITY, OWN_WEIGHT, OtherPlanes

SHAPE = (3, 4, 5)  # Z, Y, X


def even(value: float, axis: int) -> Tensor:
    """The same probability of the one class in every voxel, slice by slice along ``axis``."""
    rows, columns = (n for i, n in enumerate(SHAPE) if i != axis)
    one = torch.full((SHAPE[axis], 1, rows, columns), value)
    return torch.cat([1 - one, one], 1)


def test_planes_are_joined_by_their_geometric_mean() -> None:
    """Own plane 0.2, four times; others 0.9 and 0.6: (0.2^4 0.9 0.6)^(1/6) against (0.8^4 0.1 0.4)^(1/6)."""
    others = OtherPlanes(1, SHAPE, axis=0)
    others.add([even(0.9, 1)], 1)
    others.add(even(0.6, 2).split(2), 2)
    assert OWN_WEIGHT == 4.0
    joined = others.join(even(0.2, 0), 0, torch.zeros(3, dtype=torch.bool))
    top, rest = (0.2**4 * 0.54) ** (1 / 6), (0.8**4 * 0.04) ** (1 / 6)
    assert joined[:, 1] == pytest.approx(top / (top + rest), abs=1e-3)
    assert joined.sum(1) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_voxel_meets_itself(axis: int) -> None:
    """The other planes see a random volume, the own plane nothing: what comes out lies where it was."""
    torch.manual_seed(0)
    truth = torch.rand(SHAPE)
    both = torch.stack([1 - truth, truth])  # 2 x Z x Y x X
    across = [other for other in range(3) if other != axis]
    others = OtherPlanes(1, SHAPE, axis)
    for other in across:
        others.add(both.movedim(other + 1, 0).split(2), other)
    own = torch.full_like(both, 0.5).movedim(axis + 1, 0)
    parts = [others.join(part, 2 * i, torch.zeros(len(part), dtype=torch.bool)) for i, part in enumerate(own.split(2))]
    joined = torch.cat(parts).movedim(0, axis + 1)
    expected = both ** (1 / 3) / (both ** (1 / 3)).sum(0)  # the mean of two logs of p and four of 1/2
    assert torch.allclose(joined, expected, atol=5e-3)


def test_where_a_user_spoke_the_own_plane_stands_alone() -> None:
    others = OtherPlanes(1, SHAPE, axis=0)
    others.add([even(0.9, 1)], 1)
    joined = others.join(even(0.2, 0), 0, torch.tensor([False, True, False]))
    assert torch.equal(joined[1], even(0.2, 0)[1])
    assert (joined[[0, 2], 1] > 0.2).all()


def test_no_plane_rules_a_class_out() -> None:
    others = OtherPlanes(1, SHAPE, axis=0)
    others.add([even(0.0, 1)], 1)
    joined = others.join(even(1.0, 0), 0, torch.zeros(3, dtype=torch.bool))
    fifth = LEAST_PROBABILITY ** (1 / 5)  # once 1e-4 and four times 1 for the class; the background the other way round
    assert joined[:, 1] == pytest.approx(fifth / (fifth + fifth**4), abs=1e-3)
