from __future__ import annotations

import math

import pytest
import torch

from masg_sam.config import HaeConfig
from masg_sam.models.hae import FADE, REACH, HierarchicalAttention, Level, confine

CHANNELS = 16


def make(taps: tuple[int, ...] = (8, 12, 20), **settings: object) -> HierarchicalAttention:
    torch.manual_seed(0)
    return HierarchicalAttention(taps, CHANNELS, HaeConfig(width=8, **settings))


def inputs(taps: tuple[int, ...] = (8, 12, 20), sizes: tuple[int, ...] = (16, 8, 4)) -> tuple[tuple, torch.Tensor]:
    torch.manual_seed(1)
    return tuple(torch.randn(2, c, n, 2 * n) for c, n in zip(taps, sizes, strict=True)), torch.randn(2, CHANNELS, 4, 8)


def test_shapes_and_attention_that_sums_to_one() -> None:
    taps, embedding = inputs()
    output = make()(taps, embedding)
    assert output.embedding.shape == embedding.shape
    assert [tuple(level.shape) for level in output.levels] == [(2, 8, 16, 32), (2, 8, 8, 16), (2, 8, 4, 8)]
    assert output.attention.shape == (2, 3, 4, 8)
    assert (output.attention > 0).all()
    torch.testing.assert_close(output.attention.sum(1), torch.ones(2, 4, 8))


def test_it_starts_as_the_identity_without_drift() -> None:
    taps, embedding = inputs()
    output = make()(taps, embedding)
    assert torch.equal(output.embedding, embedding)
    assert output.drift.item() == pytest.approx(0, abs=1e-6)
    assert output.drift_loss.item() == 0


def test_gamma_scales_the_residual() -> None:
    taps, embedding = inputs()
    module = make()
    with torch.no_grad():
        module.gamma.fill_(1.0)
        once = module(taps, embedding).embedding - embedding
        module.gamma.fill_(2.0)
        twice = module(taps, embedding).embedding - embedding
    assert once.abs().max() > 1e-3
    torch.testing.assert_close(twice, 2 * once, rtol=1e-4, atol=1e-5)


def test_attention_prefers_the_level_whose_key_fits_the_query() -> None:
    taps, embedding = inputs()
    module = make()
    with torch.no_grad():
        for key, bias in zip(module.keys, (0.0, 0.0, 5.0), strict=True):
            key.weight.zero_()
            key.bias.fill_(bias)
        module.query.weight.zero_()
        module.query.bias.fill_(1.0)
    attention = module(taps, embedding).attention
    high = math.exp(8 * 5 / math.sqrt(8))  # width 8: the scores are 0, 0 and 8 * 5 / sqrt(8)
    torch.testing.assert_close(attention[:, 2], torch.full((2, 4, 8), high / (high + 2)))


def test_each_level_is_weighted_by_its_own_attention() -> None:
    """Attention on the last level alone: what is added is that level's values, and no other's."""
    taps, embedding = inputs()
    module = make()
    with torch.no_grad():
        module.gamma.fill_(1.0)
        for key, value, bias in zip(module.keys, module.values, (-90.0, -90.0, 90.0), strict=True):
            key.weight.zero_()
            key.bias.fill_(bias)
            value.weight.zero_()
            value.bias.fill_(bias)
        module.query.weight.zero_()
        module.query.bias.fill_(1.0)
        output = module(taps, embedding)
        expected = module.out(torch.full((2, 8, 4, 8), 90.0))
    torch.testing.assert_close(output.embedding - embedding, expected, rtol=1e-4, atol=1e-4)


def test_gates_that_know_nothing_multiply_by_one() -> None:
    level = Level(8, 8)
    with torch.no_grad():
        for layer in (level.channel_gate[-1], level.spatial_gate):
            layer.weight.zero_()
            layer.bias.zero_()
    tap = inputs()[0][0]
    torch.testing.assert_close(level(tap), level.neck(tap))


def test_identical_levels_are_as_similar_as_can_be() -> None:
    module = make()
    values = torch.randn(2, 1, 8, 4, 8).expand(2, 3, 8, 4, 8)
    even = torch.full((2, 3, 4, 8), 1 / 3)
    assert module._diversity(values, even).item() == pytest.approx(1.0, abs=1e-5)


def test_orthogonal_levels_cost_nothing() -> None:
    values = torch.zeros(1, 3, 8, 2, 2)
    for level in range(3):
        values[0, level, level] = 1.0
    assert make()._diversity(values, torch.full((1, 3, 2, 2), 1 / 3)).item() == pytest.approx(0, abs=1e-6)


def test_two_levels_at_sixty_degrees() -> None:
    values = torch.zeros(1, 2, 8, 1, 1)
    values[0, 0, 0] = 1.0
    values[0, 1, :2, 0, 0] = torch.tensor([0.5, math.sqrt(3) / 2])  # cosine 1/2, squared 1/4
    module = make((8, 12))
    assert module._diversity(values, torch.full((1, 2, 1, 1), 0.5)).item() == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize(("part", "floor"), [(1.0, 0.5), (0.9, 0.8), (0.5, 1.0)])
def test_attention_on_one_level_falls_short_of_the_entropy_floor(part: float, floor: float) -> None:
    values = torch.zeros(1, 2, 8, 1, 1)
    values[0, 0, 0], values[0, 1, 1] = 1.0, 1.0
    attention = torch.tensor([part, 1 - part]).view(1, 2, 1, 1)
    entropy = -sum(p * math.log2(p) for p in (part, 1 - part) if p)  # of two levels: at most 1
    found = make((8, 12), entropy_floor=floor)._diversity(values, attention).item()
    assert found == pytest.approx(max(0.0, floor - entropy), abs=1e-5)


def test_entropy_is_of_the_mean_attention_not_of_each_position() -> None:
    values = torch.zeros(1, 2, 8, 1, 2)
    values[0, 0, 0], values[0, 1, 1] = 1.0, 1.0
    attention = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(1, 2, 1, 2)  # each position sure, the mean even
    assert make((8, 12), entropy_floor=1.0)._diversity(values, attention).item() == pytest.approx(0, abs=1e-5)


def test_drift_counts_only_past_the_margin() -> None:
    taps, embedding = inputs()
    wide, narrow = make(drift_margin=2.0), make(drift_margin=0.0)
    with torch.no_grad():
        for module in (wide, narrow):
            module.gamma.fill_(20.0)
        free, counted = wide(taps, embedding), narrow(taps, embedding)
    assert free.drift.item() > 0.1
    assert free.drift_loss.item() == 0
    assert counted.drift_loss.item() == pytest.approx(counted.drift.item())
    cosine = torch.nn.functional.cosine_similarity(free.embedding, embedding, dim=1)
    assert free.drift.item() == pytest.approx(1 - cosine.mean().item(), abs=1e-6)


def test_a_single_level() -> None:
    taps, embedding = inputs((8,), (16,))
    output = make((8,))(taps, embedding)
    assert torch.equal(output.attention, torch.ones(2, 1, 4, 8))
    assert output.diversity.item() == 0


def test_gradients_reach_everything_once_gamma_has_opened() -> None:
    taps, embedding = inputs()
    module = make()
    target = torch.randn_like(embedding)
    for _ in range(2):
        module.zero_grad()
        (module(taps, embedding).embedding - target).square().mean().backward()
        with torch.no_grad():
            module.gamma -= 0.1 * module.gamma.grad
    assert [name for name, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []


def test_half_precision_keeps_its_losses_in_float32() -> None:
    taps, embedding = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        output = make()(taps, embedding)
    assert output.diversity.dtype == output.drift.dtype == torch.float32


def test_levels_stay_near_the_coarse_mask() -> None:
    logits = torch.zeros(1, 3, 24, 40)
    logits[:, 0] = 50.0  # all background
    logits[:, 2, 12, 20] = 100.0  # but for one cell
    near = REACH - FADE  # the largest probability reaches 4 cells, and its edge is spread over 2 on either side
    fine, coarse = confine((torch.ones(1, 2, 24, 40), torch.full((1, 2, 6, 10), 3.0)), logits)
    row = fine[0, 1, 12]
    assert row[20 - near : 21 + near].tolist() == pytest.approx([1.0] * (2 * near + 1))
    assert row[20 + near + 1 : 20 + near + 5].tolist() == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert not row[: 20 - REACH - FADE].any() and not row[21 + REACH + FADE :].any()
    assert coarse.shape == (1, 2, 6, 10) and coarse[0, 0, 3, 5] == pytest.approx(3.0) and not coarse[0, 0, 0].any()


def test_levels_reach_the_border_of_the_image_in_full() -> None:
    ones, logits = torch.ones(1, 1, 16, 16), torch.tensor([-50.0, 50.0]).view(1, 2, 1, 1).expand(1, 2, 16, 16)
    for level in confine((ones, ones), logits):
        torch.testing.assert_close(level, ones)


def test_what_confines_the_levels_is_not_trained_by_them() -> None:
    logits, level = torch.randn(1, 2, 16, 16, requires_grad=True), torch.randn(1, 3, 16, 16, requires_grad=True)
    confine((level, level), logits)[0].sum().backward()
    assert logits.grad is None and level.grad.abs().sum() > 0
