from __future__ import annotations

import pytest
import torch
from torch import Tensor

from masg_sam.inference.planes import LEAST_PROBABILITY, OtherPlanes, plane_weights

FLAT, CUBE = (2, 4, 4), (4, 4, 4)  # Z, Y, X; planes of the first count 4 : 1 : 1


def even(value: float, axis: int, shape: tuple[int, int, int] = FLAT) -> Tensor:
    """The same probability of the one class in every voxel, slice by slice along ``axis``."""
    rows, columns = (n for i, n in enumerate(shape) if i != axis)
    one = torch.full((shape[axis], 1, rows, columns), value)
    return torch.cat([1 - one, one], 1)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((40, 40, 40), (1 / 3, 1 / 3, 1 / 3)),
        ((40, 80, 80), (4 / 6, 1 / 6, 1 / 6)),  # axial slices have twice the voxels
        ((60, 30, 60), (1 / 6, 4 / 6, 1 / 6)),
    ],
)
def test_a_plane_counts_as_the_square_of_the_voxels_in_a_slice(
    shape: tuple[int, int, int], expected: tuple[float, ...]
) -> None:
    assert plane_weights(shape) == pytest.approx(expected)


def test_planes_are_joined_by_their_weighted_geometric_mean() -> None:
    """Own plane 0.2, four times; others 0.9 and 0.6: (0.2^4 0.9 0.6)^(1/6) against (0.8^4 0.1 0.4)^(1/6)."""
    others = OtherPlanes(1, FLAT, axis=0)
    others.add([even(0.9, 1)], 1)
    others.add(even(0.6, 2).split(2), 2)
    joined = others.join(even(0.2, 0), 0)
    top, rest = (0.2**4 * 0.54) ** (1 / 6), (0.8**4 * 0.04) ** (1 / 6)
    assert joined[:, 1] == pytest.approx(top / (top + rest), abs=1e-3)
    assert joined.sum(1) == pytest.approx(1.0, abs=1e-6)


def test_another_plane_may_count_more_than_the_models_own() -> None:
    """The same volume, trained in sagittal slices: 0.2 once, 0.9 four times, 0.6 once."""
    others = OtherPlanes(1, FLAT, axis=2)
    others.add([even(0.9, 0)], 0)
    others.add([even(0.6, 1)], 1)
    joined = others.join(even(0.2, 2), 0)
    top, rest = (0.2 * 0.9**4 * 0.6) ** (1 / 6), (0.8 * 0.1**4 * 0.4) ** (1 / 6)
    assert joined[:, 1] == pytest.approx(top / (top + rest), abs=1e-3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_voxel_meets_itself(axis: int) -> None:
    """The other planes see a random volume, the own plane nothing: what comes out lies where it was."""
    torch.manual_seed(0)
    truth = torch.rand(CUBE)
    both = torch.stack([1 - truth, truth])  # 2 x Z x Y x X
    across = [other for other in range(3) if other != axis]
    others = OtherPlanes(1, CUBE, axis)
    for other in across:
        others.add(both.movedim(other + 1, 0).split(2), other)
    own = torch.full_like(both, 0.5).movedim(axis + 1, 0)
    parts = [others.join(part, 2 * i) for i, part in enumerate(own.split(2))]
    joined = torch.cat(parts).movedim(0, axis + 1)
    expected = both ** (2 / 3) / (both ** (2 / 3)).sum(0)  # the mean of two logs of p and one of 1/2
    assert torch.allclose(joined, expected, atol=5e-3)


def test_no_plane_rules_a_class_out() -> None:
    """Once 1e-4 and once 1 for the class, a third each, and the background the other way round."""
    others = OtherPlanes(1, CUBE, axis=0)
    others.add([even(0.0, 1, CUBE)], 1)
    joined = others.join(even(1.0, 0, CUBE), 0)
    assert joined[:, 1] == pytest.approx(0.5, abs=1e-3)
    others.add([even(0.9, 2, CUBE)], 2)
    joined = others.join(even(1.0, 0, CUBE), 0)
    assert joined[:, 1] == pytest.approx(0.9 ** (1 / 3) / (0.9 ** (1 / 3) + 0.1 ** (1 / 3)), abs=1e-3)
    assert LEAST_PROBABILITY == 1e-4
