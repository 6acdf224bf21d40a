from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from masg_sam.models.bfe import BoundaryEnhancement, EdgeResponses, boundary_band


def test_band_of_a_square() -> None:
    label = torch.zeros(1, 7, 7, dtype=torch.long)
    label[0, 2:5, 2:5] = 1
    band = boundary_band(label, 1, 1)[0, 0]
    expected = torch.zeros(7, 7)
    expected[1:6, 1:6] = 1
    expected[3, 3] = 0  # the only pixel with its eight neighbours inside
    assert torch.equal(band, expected)


def test_touching_organs_share_a_band() -> None:
    label = torch.tensor([1, 1, 1, 1, 2, 2, 2, 2]).expand(1, 6, 8)
    left, right = boundary_band(label, 2, 1)[0]
    assert torch.equal(left, right)
    assert torch.equal(left[0], torch.tensor([0.0, 0, 0, 1, 1, 0, 0, 0]))


def test_the_border_of_the_image_is_no_boundary() -> None:
    assert not boundary_band(torch.ones(1, 5, 5, dtype=torch.long), 1, 2).any()


def test_an_absent_class_has_an_empty_band() -> None:
    label = torch.zeros(2, 6, 6, dtype=torch.long)
    label[:, :3] = 1
    band = boundary_band(label, 3, 2)
    assert band.shape == (2, 3, 6, 6)
    assert band[:, 0, 1:5].all()
    assert not band[:, 0, 0].any() and not band[:, 0, 5].any() and not band[:, 1:].any()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(6, 20), st.integers(6, 20))
def test_band_is_what_differs_within_reach(seed: int, half_width: int, rows: int, columns: int) -> None:
    torch.manual_seed(seed)
    label = (torch.rand(1, rows, columns) < 0.5).long()
    band = boundary_band(label, 1, half_width)[0, 0]
    for r, c in torch.randint(0, 6, (5, 2)).tolist():
        around = label[0, max(r - half_width, 0) : r + half_width + 1, max(c - half_width, 0) : c + half_width + 1]
        assert band[r, c].item() == float(around.min() != around.max())


def responses(image: torch.Tensor) -> torch.Tensor:
    """Of the first channel, ``1 x 4 x H x W``: magnitudes at the two scales, then Laplacians."""
    return EdgeResponses()(image.expand(1, 3, -1, -1))[:, [0, 1, 6, 7]]


def edges(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Magnitudes and Laplacians at the two scales of one channel, without the padded rim."""
    maps = responses(image)[0, :, 7:-7, 7:-7]
    return maps[:2], maps[2:]


def test_constants_give_no_response() -> None:
    magnitude, laplacian = edges(torch.full((32, 32), 3.7))
    torch.testing.assert_close(magnitude, torch.full_like(magnitude, 1e-3))  # sqrt(1e-6) keeps the root smooth
    assert laplacian.abs().max() < 1e-5


def test_a_linear_ramp_has_one_slope_and_no_curvature() -> None:
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    magnitude, laplacian = edges(0.3 * rows + 0.4 * columns)
    assert laplacian.abs().max() < 1e-4
    for scale in magnitude:
        assert scale.std() < 1e-4 * scale.mean()
    doubled, _ = edges(0.6 * rows + 0.8 * columns)
    torch.testing.assert_close(doubled, 2 * magnitude, rtol=1e-3, atol=1e-4)


def test_magnitude_and_laplacian_turn_with_the_image() -> None:
    torch.manual_seed(0)
    image = torch.randn(40, 40)
    maps, turned = responses(image), responses(image.rot90(1, (0, 1)))
    torch.testing.assert_close(turned, maps.rot90(1, (2, 3)), rtol=1e-4, atol=1e-5)


def test_a_step_answers_most_at_its_edge() -> None:
    image = torch.zeros(48, 48)
    image[:, 24:] = 1.0
    magnitude, laplacian = edges(image)
    assert (magnitude.argmax(-1) - (24 - 7)).abs().max() <= 1
    assert laplacian[0, 10, :17].max() > 0.05 > laplacian[0, 10, 17:].max()  # bright side below, dark side above


def test_each_image_channel_has_its_own_four_maps() -> None:
    module = EdgeResponses()
    image = torch.zeros(1, 3, 24, 24)
    image[0, 1, :, 12:] = 1.0
    maps = module(image)
    assert maps.shape == (1, module.out_channels, 24, 24) == (1, 12, 24, 24)
    busy = (maps[0].abs().flatten(1).amax(1) > 0.01).nonzero().flatten().tolist()
    assert busy == [2, 3, 8, 9]  # magnitudes of channel 1 at both scales, then its Laplacians
    assert not list(module.parameters()) and not module.state_dict()


@pytest.mark.parametrize("stride", [4, 2])
@pytest.mark.parametrize("size", [(64, 64), (32, 96)])
def test_it_starts_as_the_identity(stride: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    rows, columns = size
    module = BoundaryEnhancement(10, 8, 3, stride)
    features = torch.randn(2, 8, rows // 4, columns // 4)
    output = module(torch.randn(2, 3, *size), torch.randn(2, 10, rows // 4, columns // 4), features, coarse(2, 4, size))
    assert output.boundary.shape == (2, 3, rows // 4, columns // 4)
    wanted = (rows // stride, columns // stride)
    expected = F.interpolate(features, size=wanted, mode="bilinear") if stride == 2 else features
    assert output.features.shape == (2, 8, *wanted)
    torch.testing.assert_close(output.features, expected)


def test_a_coarser_tap_is_brought_to_size() -> None:
    module = BoundaryEnhancement(10, 8, 1, 4)
    output = module(
        torch.randn(1, 3, 64, 64), torch.randn(1, 10, 4, 4), torch.randn(1, 8, 16, 16), coarse(1, 2, (64, 64))
    )
    assert output.features.shape == (1, 8, 16, 16)


def test_reverse_attention_passes_detail_only_where_background_won() -> None:
    """With the boundary gate shut, detail reaches the features by the background's probability alone."""
    torch.manual_seed(0)
    module = BoundaryEnhancement(10, 8, 1, 4)
    with torch.no_grad():
        module.boundary[-1].weight.zero_()
        module.boundary[-1].bias.fill_(-50.0)
        module.refine4[0].weight[:, :8].zero_()  # features themselves
        module.refine4[-1].weight.normal_()
    pixels, tap = torch.randn(1, 3, 64, 64), torch.randn(1, 10, 16, 16)
    sure = torch.zeros(1, 2, 16, 16)
    sure[:, 1] = 50.0
    outputs = [module(pixels, tap, torch.zeros(1, 8, 16, 16), logits).features for logits in (sure, -sure)]
    without_detail = module.refine4(torch.zeros(1, 24, 16, 16))
    torch.testing.assert_close(outputs[0], without_detail, rtol=1e-4, atol=1e-5)
    assert (outputs[1] - without_detail).abs().max() > 1e-2


@pytest.mark.parametrize("stride", [4, 2])
def test_boundary_maps_let_detail_through_where_any_class_has_a_border(stride: int) -> None:
    """With the foreground sure everywhere, only the gate of the boundaries lets detail reach the features."""
    torch.manual_seed(0)
    module = BoundaryEnhancement(10, 8, 2, stride)
    sure = torch.zeros(1, 3, 16, 16)
    sure[:, 1] = 50.0
    last = module.refine4 if stride == 4 else module.refine2
    with torch.no_grad():
        last[0].weight[:, :8].zero_()  # features themselves
        last[-1].weight.normal_()
        module.boundary[-1].weight.zero_()
        found = []
        for bias in ([-50.0, -50.0], [-50.0, 50.0], [50.0, 50.0]):  # no border, one of class 2, one of both
            module.boundary[-1].bias.copy_(torch.tensor(bias))
            features = torch.zeros(1, 8, 16, 16)
            torch.manual_seed(1)
            found.append(module(torch.randn(1, 3, 64, 64), torch.randn(1, 10, 16, 16), features, sure).features)
        shut, one, both = found
        blank = last(torch.zeros(1, last[0].in_channels, *shut.shape[-2:]))
    torch.testing.assert_close(shut, blank, rtol=1e-4, atol=1e-5)
    assert (one - shut).abs().max() > 1e-2
    torch.testing.assert_close(one, both)  # the largest of all classes counts


def test_gradients_reach_every_weight_after_one_step() -> None:
    torch.manual_seed(0)
    module = BoundaryEnhancement(10, 8, 2, 2)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    arguments = (
        torch.randn(1, 3, 32, 32),
        torch.randn(1, 10, 8, 8),
        torch.randn(1, 8, 8, 8),
        coarse(1, 3, (32, 32)),
    )
    for _ in range(2):
        optimizer.zero_grad()
        output = module(*arguments)
        (output.features.square().mean() + output.boundary.square().mean()).backward()
        optimizer.step()
    assert [name for name, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []


def coarse(batch: int, channels: int, size: tuple[int, int]) -> torch.Tensor:
    return torch.randn(batch, channels, size[0] // 4, size[1] // 4)
