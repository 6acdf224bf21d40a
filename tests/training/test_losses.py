from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from masg_sam.config import Config, override
from masg_sam.data.labels import IGNORED
from masg_sam.models.bfe import boundary_band
from masg_sam.models.masg_sam import MasgSamNetwork, MasgSamOutput
from masg_sam.training.losses import (
    balanced_cross_entropy,
    boundary_loss,
    class_parts,
    coarse_loss,
    diagnostics,
    loss_terms,
    one_hot,
    segmentation_loss,
    soft_dice,
)

Make = Callable[..., MasgSamNetwork]


def test_soft_dice_by_hand() -> None:
    """Class 0: overlap 0.5, sums 1 + 1; class 1: overlap 0.75, sums 1.5 + 1; smoothed by 1."""
    probability = torch.tensor([[0.5, 0.5], [0.75, 0.75]]).view(1, 2, 1, 2)
    target = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).view(1, 2, 1, 2)
    expected = ((1 - (1 + 1) / (2 + 1)) + (1 - (1.5 + 1) / (2.5 + 1))) / 2
    assert soft_dice(probability, target).item() == pytest.approx(expected)


def test_parts_of_a_cell_cost_nothing_where_they_are_predicted() -> None:
    """With the product for the overlap it would be cheaper to leave out a structure smaller than the cells."""
    parts = torch.tensor([0.2, 0.3, 0.1, 0.0]).view(1, 1, 2, 2)
    assert soft_dice(parts, parts, smooth=0).item() == pytest.approx(0)
    for wrong in (parts * 0.5, parts * 2, torch.zeros_like(parts), torch.ones_like(parts)):
        assert soft_dice(wrong, parts).item() > soft_dice(parts, parts).item()
    half = torch.tensor([0.5, 0.5]).view(1, 1, 1, 2)  # by hand: overlap 0.2 + 0.5, sums 1 + 1.1
    assert soft_dice(half, torch.tensor([0.2, 0.9]).view(1, 1, 1, 2)).item() == pytest.approx(1 - (1.4 + 1) / (2.1 + 1))


def test_soft_dice_is_of_the_whole_batch() -> None:
    torch.manual_seed(0)
    probability, target = torch.rand(4, 2, 3, 3), (torch.rand(4, 2, 3, 3) > 0.5).float()
    spread = soft_dice(probability, target)
    as_one = soft_dice(*(x.transpose(0, 1).reshape(1, 2, 12, 3) for x in (probability, target)))
    torch.testing.assert_close(spread, as_one)


@pytest.mark.parametrize(("predicted", "expected"), [(0.0, 0.0), (1.0, 1 - 1 / 10)])
def test_an_absent_class_is_quiet_until_it_is_predicted(predicted: float, expected: float) -> None:
    loss = soft_dice(torch.full((1, 1, 3, 3), predicted), torch.zeros(1, 1, 3, 3))
    assert loss.item() == pytest.approx(expected)


def test_perfect_and_empty_overlap() -> None:
    mask = torch.zeros(1, 1, 10, 10)
    mask[..., :5] = 1
    assert soft_dice(mask, mask).item() == pytest.approx(0)
    assert soft_dice(1 - mask, mask).item() == pytest.approx(1 - 1 / 101)


def test_segmentation_loss_of_even_logits() -> None:
    """Three classes at a third each, over 4 pixels: 2 background, 1 and 1."""
    label = torch.tensor([[[0, 0], [1, 2]]])
    dice = 1 - (2 / 3 + 1) / (4 / 3 + 1 + 1)
    assert segmentation_loss(torch.zeros(1, 3, 2, 2), label).item() == pytest.approx(math.log(3) + dice, rel=1e-5)


def test_a_small_class_counts_for_the_least_share_by_hand() -> None:
    """One pixel in 400 of class 1, and every pixel's logits 2 to 0 for background."""
    target = torch.zeros(1, 2, 20, 20)
    target[:, 0], target[:, 1, 3, 4], target[:, 0, 3, 4] = 1, 1, 0
    logits = torch.tensor([2.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 20, 20)
    right, wrong = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    by_area = (399 * right + wrong) / 400
    assert balanced_cross_entropy(logits, target, 0).item() == pytest.approx(by_area, rel=1e-5)
    assert balanced_cross_entropy(logits, target, 0.0025).item() == pytest.approx(by_area, rel=1e-5)
    lifted = (0.9975 * right + 0.01 * wrong) / 1.0075
    assert balanced_cross_entropy(logits, target, 0.01).item() == pytest.approx(lifted, rel=1e-5)


def test_sure_and_right_costs_nothing_sure_and_wrong_much() -> None:
    label = torch.zeros(1, 8, 8, dtype=torch.long)
    label[:, 2:6, 2:6] = 1
    logits = 50 * (2 * torch.nn.functional.one_hot(label, 2).permute(0, 3, 1, 2).float() - 1)
    assert segmentation_loss(logits, label).item() == pytest.approx(0, abs=1e-4)
    assert segmentation_loss(-logits, label).item() > 50


def test_logits_are_enlarged_to_the_label() -> None:
    label = torch.zeros(1, 8, 8, dtype=torch.long)
    label[:, :, 4:] = 1
    logits = torch.tensor([[3.0, -3.0], [-3.0, 3.0]])[None, :, None].expand(1, 2, 2, 2)
    large = torch.nn.functional.interpolate(logits, size=(8, 8), mode="bilinear")
    assert segmentation_loss(logits, label).item() == pytest.approx(segmentation_loss(large, label).item())


def test_parts_of_cells_by_hand() -> None:
    label = torch.tensor([[[0, 1, 2, 2], [0, 0, 2, 2]]])
    parts = class_parts(label, 3, (1, 2))
    assert parts[0, :, 0, 0].tolist() == [0.75, 0.25, 0]
    assert parts[0, :, 0, 1].tolist() == [0, 0, 1]


@pytest.mark.parametrize("size", [(4, 4), (5, 3), (16, 24)])
def test_parts_sum_to_one(size: tuple[int, int]) -> None:
    parts = class_parts(torch.randint(0, 4, (2, 16, 24)), 4, size)
    assert parts.shape == (2, 4, *size)
    torch.testing.assert_close(parts.sum(1), torch.ones(2, *size))


def test_coarse_loss_is_against_the_parts() -> None:
    """A cell half of class 1: even logits cost log 2, and no other logits cost less."""
    label = torch.tensor([[[0, 1], [0, 1]]])
    even = coarse_loss(torch.zeros(1, 2, 1, 1), label).item()
    assert even == pytest.approx(math.log(2), rel=1e-5)
    sure = torch.tensor([5.0, -5.0]).view(1, 2, 1, 1)
    assert min(coarse_loss(sure, label), coarse_loss(-sure, label)).item() > even


def test_boundary_loss_prefers_the_band() -> None:
    label = torch.zeros(1, 32, 32, dtype=torch.long)
    label[:, 8:24, 8:24] = 1
    band = boundary_band(label, 1, 2)
    assert boundary_loss(40 * band - 20, label, 2).item() == pytest.approx(0, abs=1e-3)
    assert boundary_loss(20 - 40 * band, label, 2).item() > 10
    even = boundary_loss(torch.zeros(1, 1, 32, 32), label, 2).item()
    area = band.sum().item()
    assert even == pytest.approx(math.log(2) + 1 - (area + 1) / (512 + area + 1), rel=1e-5)


def test_boundaries_at_a_quarter_keep_thin_bands() -> None:
    label = torch.zeros(1, 32, 32, dtype=torch.long)
    label[:, :, 15:] = 1
    quarter = torch.nn.functional.adaptive_avg_pool2d(boundary_band(label, 1, 1), (8, 8))
    assert quarter[0, 0, 0].tolist() == [0, 0, 0, 0.5, 0, 0, 0, 0]  # columns 14 and 15, of 12..15
    logits = torch.where(quarter > 0, 0.0, -20.0)
    assert boundary_loss(logits, label, 1).item() == pytest.approx(math.log(2) / 8, rel=1e-4)


def half_labelled() -> tuple[torch.Tensor, torch.Tensor]:
    """A label whose right half nobody made, and its left half alone."""
    label = torch.zeros(2, 16, 32, dtype=torch.long)
    label[:, 4:12, 3:9] = 1
    label[:, 2:4, 2:14] = 2
    left = label[:, :, :16].clone()
    label[:, :, 16:] = IGNORED
    return label, left


def test_what_nobody_labelled_costs_nothing() -> None:
    label, left = half_labelled()
    logits = torch.randn(2, 3, 16, 32)
    for loss in (segmentation_loss, coarse_loss):
        assert loss(logits, label).item() == pytest.approx(loss(logits[..., :16], left).item(), rel=1e-5)


def test_no_gradient_comes_from_what_nobody_labelled() -> None:
    label, _ = half_labelled()
    for loss, channels in ((segmentation_loss, 3), (coarse_loss, 3), (lambda x, y: boundary_loss(x, y, 2), 2)):
        logits = torch.randn(2, channels, 16, 32, requires_grad=True)
        loss(logits, label).backward()
        assert logits.grad is not None
        assert logits.grad[..., 18:].abs().max() == 0 and logits.grad[..., :14].abs().max() > 0


def test_borders_beside_the_unlabelled_part_are_unknown() -> None:
    """Class 1 reaches the unlabelled half: whether its border is there nobody can say."""
    label = torch.ones(1, 16, 32, dtype=torch.long)
    label[:, :, 16:] = IGNORED
    logits = torch.zeros(1, 1, 16, 32)
    confident = logits.clone()
    confident[..., 14:] = 20  # claims a border there
    assert boundary_loss(confident, label, 2).item() == pytest.approx(boundary_loss(logits, label, 2).item())


@pytest.mark.parametrize("loss", [segmentation_loss, coarse_loss, lambda x, y: boundary_loss(x[:, 1:], y, 2)])
def test_a_batch_that_nobody_labelled_costs_nothing(loss: Callable[..., torch.Tensor]) -> None:
    label = torch.full((1, 8, 8), IGNORED)
    assert loss(torch.randn(1, 2, 8, 8), label).item() == pytest.approx(0, abs=1e-6)


def test_unlabelled_pixels_are_of_no_class() -> None:
    hot = one_hot(torch.tensor([[[0, 2, IGNORED]]]), 3)
    assert hot[0, :, 0].T.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


def run(network: MasgSamNetwork) -> tuple[MasgSamOutput, torch.Tensor]:
    torch.manual_seed(1)
    label = torch.zeros(2, 64, 64, dtype=torch.long)
    label[:, 10:30, 10:30], label[:, 30:50, 20:60] = 1, 2
    return network(torch.randn(2, 3, 64, 64)), label


WHOLE = {"mask", "coarse", "diversity", "drift", "boundary", "match"}


@pytest.mark.parametrize(
    ("settings", "terms"),
    [
        ({}, WHOLE),
        ({"hae__enabled": False}, WHOLE - {"diversity", "drift"}),
        ({"bfe__enabled": False}, WHOLE - {"boundary"}),
        ({"dsf__enabled": False}, WHOLE - {"match"}),
        ({"bfe__enabled": False, "decoder__passes": 1}, WHOLE - {"boundary", "coarse"}),
        ({"decoder__kind": "fpn"}, {"mask"}),
    ],
    ids=["whole", "no hae", "no bfe", "no dsf", "one pass", "plain"],
)
def test_terms_of_each_configuration(make_network: Make, settings: dict[str, object], terms: set[str]) -> None:
    network = make_network(**settings)
    output, label = run(network)
    found = loss_terms(output, label, network.config)
    assert found.keys() == terms
    assert all(value.ndim == 0 and value.isfinite() for value in found.values())


def test_weights_scale_their_terms(make_network: Make) -> None:
    network = make_network()
    output, label = run(network)
    output.hae = output.hae._replace(drift_loss=torch.tensor(0.7))  # it is 0 at the start
    names = {
        "model.hae.diversity_weight": "diversity",
        "model.hae.drift_weight": "drift",
        "model.bfe.weight": "boundary",
        "model.dsf.match_weight": "match",
        "model.decoder.coarse_weight": "coarse",
    }
    once = loss_terms(output, label, override(Config(), dict.fromkeys(names, 1.0)).model)
    thrice = loss_terms(output, label, override(Config(), dict.fromkeys(names, 3.0)).model)
    for term in names.values():
        torch.testing.assert_close(thrice[term], 3 * once[term])
    torch.testing.assert_close(thrice["mask"], once["mask"])
    coarse = torch.stack([coarse_loss(logits, label) for logits in output.coarse]).mean()
    torch.testing.assert_close(once["coarse"], coarse)
    torch.testing.assert_close(once["match"], coarse_loss(output.dsf.logits, label))
    assert (once["drift"], once["diversity"]) == (output.hae.drift_loss, output.hae.diversity)


def test_a_small_class_counts_for_its_area_in_the_end(make_network: Make) -> None:
    network = make_network()
    label = torch.zeros(2, 64, 64, dtype=torch.long)
    label[:, 10:30, 10:30], label[:, 40:43, 40:43] = 1, 2  # 9.8 % and 0.2 % of the area
    output = network(torch.randn(2, 3, 64, 64))
    output.dsf = output.dsf._replace(logits=3 * torch.randn(2, 3, 4, 4))  # the classes' losses differ
    for progress, least in ((0.0, 0.01), (0.25, 0.0075), (1.0, 0.0)):
        found = loss_terms(output, label, network.config, progress)
        torch.testing.assert_close(found["mask"], segmentation_loss(output.logits, label, least))
        coarse = torch.stack([coarse_loss(logits, label, least) for logits in output.coarse]).mean()
        torch.testing.assert_close(found["coarse"], network.config.decoder.coarse_weight * coarse)
        match = coarse_loss(output.dsf.logits, label, least)
        torch.testing.assert_close(found["match"], network.config.dsf.match_weight * match)


def test_the_loss_is_computed_in_float32(make_network: Make) -> None:
    network = make_network()
    with torch.autocast("cpu", torch.bfloat16):
        output, label = run(network)
    assert output.logits.dtype == torch.bfloat16
    assert {value.dtype for value in loss_terms(output, label, network.config).values()} == {torch.float32}


def test_diagnostics_say_what_each_module_does(make_network: Make) -> None:
    found = diagnostics(run(make_network())[0])
    attention = [found[f"hae/attention_{level}"] for level in (1, 2, 3, 4)]
    assert sum(attention) == pytest.approx(1, abs=1e-5)
    assert found["hae/drift"] == pytest.approx(0, abs=1e-5)
    assert 0 < found["dsf/gate_semantic"] < 1 and 0 < found["dsf/gate_spatial"] < 1 and 0 < found["bfe/boundary"] < 1
    assert diagnostics(MasgSamOutput(torch.zeros(1))) == {}
