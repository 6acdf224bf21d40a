from __future__ import annotations

import math

import pytest
import torch

from masg_sam.models.dsf import TEMPERATURE, DsfOutput, SemanticFusion, contrastive_loss

CHANNELS = 16


def make(classes: int = 3, trainable: bool = False) -> SemanticFusion:
    torch.manual_seed(0)
    return SemanticFusion(torch.randn(classes, 10), CHANNELS, trainable)


def embedding() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(2, CHANNELS, 4, 6)


def loss_of(pixels: torch.Tensor, queries: torch.Tensor, classes: torch.Tensor) -> float:
    nothing = torch.zeros(())
    return contrastive_loss(DsfOutput(nothing, nothing, nothing, nothing, pixels, queries, nothing), classes).item()


@pytest.mark.parametrize("classes", [1, 3])
def test_shapes(classes: int) -> None:
    output = make(classes)(embedding(), 0.5)
    assert output.embedding.shape == output.dense.shape == output.pixels.shape == (2, CHANNELS, 4, 6)
    assert output.token_shift.shape == output.queries.shape == (classes + 1, CHANNELS)
    assert output.similarity.shape == (2, classes + 1, 4, 6)
    assert output.gate.shape == (2, 2, 4, 6)


def test_it_starts_as_the_identity() -> None:
    output = make()(embedding(), 0.0)
    assert torch.equal(output.embedding, embedding())
    assert not output.dense.any() and not output.token_shift.any()


def test_similarities_are_cosines_of_unit_vectors() -> None:
    output = make()(embedding(), 1.0)
    torch.testing.assert_close(output.queries.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(output.pixels.norm(dim=1), torch.ones(2, 4, 6))
    by_hand = (output.pixels[1, :, 2, 3] * output.queries[2]).sum()
    torch.testing.assert_close(output.similarity[1, 2, 2, 3], by_hand)


def test_the_length_of_a_text_vector_says_nothing() -> None:
    vectors = torch.randn(2, 10)
    torch.manual_seed(0)
    short = SemanticFusion(vectors, CHANNELS)
    torch.manual_seed(0)
    long = SemanticFusion(7 * vectors, CHANNELS)
    torch.testing.assert_close(short(embedding(), 1.0).queries, long(embedding(), 1.0).queries)


def test_gates_lie_between_0_and_1_and_follow_the_training() -> None:
    module = make()
    gates = [module(embedding(), progress).gate for progress in (0.0, 0.5, 1.0)]
    assert all(((gate > 0) & (gate < 1)).all() for gate in gates)
    assert (gates[0] - gates[1]).abs().max() > 1e-3
    assert (gates[1] - gates[2]).abs().max() > 1e-3


def test_each_gate_scales_its_own_residual() -> None:
    module = make()
    with torch.no_grad():
        module.out.weight.normal_()
        module.spatial.weight.normal_()
        module.gate[-1].weight.zero_()
        module.gate[-1].bias.copy_(torch.tensor([0.0, -60.0]))  # semantic half open, spatial shut
        half = module(embedding(), 1.0)
        module.gate[-1].bias.copy_(torch.tensor([60.0, 60.0]))
        full = module(embedding(), 1.0)
    assert half.dense.abs().max() < 1e-6 < full.dense.abs().max()
    residual = full.embedding - embedding()
    assert residual.abs().max() > 1e-3
    torch.testing.assert_close(half.embedding - embedding(), residual / 2, rtol=1e-4, atol=1e-5)


def test_contrast_of_two_classes_by_hand() -> None:
    queries = torch.eye(2)
    pixels = torch.tensor([[1.0, 0.0], [0.6, 0.8]]).T.view(1, 2, 1, 2)  # first token along query 0, second at 0.6, 0.8
    classes = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(1, 2, 1, 2)
    first = math.log(1 + math.exp((0 - 1) / TEMPERATURE))
    second = math.log(1 + math.exp((0.6 - 0.8) / TEMPERATURE))
    assert loss_of(pixels, queries, classes) == pytest.approx((first + second) / 2, abs=1e-5)


def test_contrast_takes_the_mean_inside_a_class() -> None:
    """Two tokens of class 1 at right angles: their mean lies at 45 degrees."""
    queries = torch.eye(2)
    pixels = torch.eye(2).view(1, 2, 1, 2)
    classes = torch.tensor([[0.0, 0.0], [1.0, 1.0]]).view(1, 2, 1, 2)
    assert loss_of(pixels, queries, classes) == pytest.approx(math.log(2), abs=1e-5)


def test_contrast_weighs_tokens_by_their_part() -> None:
    queries = torch.eye(2)
    pixels = torch.eye(2).view(1, 2, 1, 2)
    classes = torch.tensor([[0.0, 0.0], [0.3, 0.9]]).view(1, 2, 1, 2)
    length = math.hypot(0.3, 0.9)
    expected = math.log(1 + math.exp((0.3 - 0.9) / length / TEMPERATURE))
    assert loss_of(pixels, queries, classes) == pytest.approx(expected, abs=1e-5)


def test_absent_classes_and_slivers_are_left_out() -> None:
    torch.manual_seed(0)
    queries = torch.nn.functional.normalize(torch.randn(3, 4), dim=1)
    pixels = torch.nn.functional.normalize(torch.randn(1, 4, 1, 2), dim=1)
    present = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]).view(1, 3, 1, 2)
    sliver = present.clone()
    sliver[0, 1, 0, 0] = 0.4  # less than half a token of class 1
    assert loss_of(pixels, queries, sliver) == pytest.approx(loss_of(pixels, queries, present), abs=1e-6)
    logits = pixels[0, :, 0, :].T @ queries.T / TEMPERATURE
    by_hand = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 2])).item()
    assert loss_of(pixels, queries, present) == pytest.approx(by_hand, abs=1e-5)


def test_nothing_present_is_no_loss() -> None:
    assert loss_of(torch.zeros(1, 4, 1, 2), torch.randn(2, 4), torch.zeros(1, 2, 1, 2)) == 0


def test_frozen_vectors_are_kept_with_the_weights_but_not_trained() -> None:
    module = make()
    assert "text" in module.state_dict()
    assert "text" not in dict(module.named_parameters())
    other = SemanticFusion(torch.zeros(3, 10), CHANNELS)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(embedding(), 1.0).similarity, module(embedding(), 1.0).similarity)


def test_learned_vectors_get_gradients() -> None:
    module = make(trainable=True)
    module(embedding(), 1.0).similarity.square().sum().backward()
    assert module.text.grad.abs().sum() > 0
    assert module.state_dict().keys() == make().state_dict().keys()


def test_gradients_reach_every_weight_after_one_step() -> None:
    module = make()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        output = module(embedding(), 0.3)
        (output.embedding.pow(3) + output.dense.pow(3) + output.dense).mean().add(
            output.token_shift.pow(3).sum() + output.token_shift.sum()
        ).backward()
        optimizer.step()
    # a bias of the keys shifts the scores of every class alike, which no softmax sees
    silent = [name for name, p in module.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-9]
    assert [name for name in silent if name != "key.bias"] == []
