from __future__ import annotations

import math

import pytest
import torch

from masg_sam.models.dsf import TEMPERATURE, SemanticFusion, prototypes

CHANNELS = 16


def make(classes: int = 3, trainable: bool = False) -> SemanticFusion:
    torch.manual_seed(0)
    return SemanticFusion(torch.randn(classes, 10), CHANNELS, trainable)


def embedding() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(2, CHANNELS, 4, 6)


@pytest.mark.parametrize("classes", [1, 3])
def test_shapes(classes: int) -> None:
    output = make(classes)(embedding(), 0.5)
    assert output.embedding.shape == output.dense.shape == (2, CHANNELS, 4, 6)
    assert output.token_shift.shape == (2, classes + 1, CHANNELS)
    assert output.similarity.shape == output.logits.shape == (2, classes + 1, 4, 6)
    assert output.gate.shape == (2, 2, 4, 6)


def test_it_starts_as_the_identity() -> None:
    output = make()(embedding(), 0.0)
    assert torch.equal(output.embedding, embedding())
    assert not output.dense.any() and not output.token_shift.any()


def test_similarities_are_cosines_of_tokens_and_queries() -> None:
    module = make()
    output = module(embedding(), 1.0)
    token, query = module.pixel(embedding())[1, :, 2, 3], module.project(module.text)[1]  # of class 2; 0 is background
    torch.testing.assert_close(output.similarity[1, 2, 2, 3], torch.cosine_similarity(token, query, dim=0))
    ground = torch.cosine_similarity(token, module.background[0], dim=0)
    torch.testing.assert_close(output.similarity[1, 0, 2, 3], ground)
    torch.testing.assert_close(output.logits, output.similarity / TEMPERATURE)


def test_the_length_of_a_text_vector_says_nothing() -> None:
    vectors = torch.randn(2, 10)
    torch.manual_seed(0)
    short = SemanticFusion(vectors, CHANNELS)
    torch.manual_seed(0)
    long = SemanticFusion(7 * vectors, CHANNELS)
    torch.testing.assert_close(short(embedding(), 1.0).similarity, long(embedding(), 1.0).similarity)


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


def test_prototypes_are_the_means_of_what_a_class_claims() -> None:
    """Two tokens of class 0 and one of class 1, without a doubt; the last is shared half and half."""
    tokens = torch.tensor([[2.0, 4.0, 10.0, 6.0], [1.0, 3.0, 5.0, 8.0]]).view(1, 2, 1, 4)
    logits = torch.tensor([[90.0, 90.0, -90.0, 0.0], [-90.0, -90.0, 90.0, 0.0]]).view(1, 2, 1, 4)
    first, second = prototypes(tokens, logits)[0]
    assert first.tolist() == pytest.approx([(2 + 4 + 3) / 2.5, (1 + 3 + 4) / 2.5])
    assert second.tolist() == pytest.approx([(10 + 3) / 1.5, (5 + 4) / 1.5])


def test_a_class_that_is_not_there_has_no_prototype() -> None:
    logits = torch.tensor([10.0, -10.0]).view(1, 2, 1, 1).expand(1, 2, 4, 6)
    there, absent = prototypes(embedding()[:1], logits)[0]
    torch.testing.assert_close(there, embedding()[0].mean((1, 2)), rtol=1e-4, atol=1e-5)
    assert absent.abs().max() < 1e-6


def test_a_claim_is_a_softmax() -> None:
    tokens, logits = torch.tensor([3.0]).view(1, 1, 1, 1), torch.tensor([2.0, 0.0]).view(1, 2, 1, 1)
    part = 1 / (1 + math.exp(-2.0))
    assert prototypes(tokens, logits).flatten().tolist() == pytest.approx([3 * part, 3 * (1 - part)])


def test_each_image_shifts_the_tokens_by_what_it_shows() -> None:
    module = make()
    with torch.no_grad():
        module.prototype[-1].weight.normal_()
        shift = module(embedding(), 1.0).token_shift
    assert (shift[0] - shift[1]).abs().max() > 1e-2
    alone = module(embedding()[:1], 1.0).token_shift
    torch.testing.assert_close(alone[0], shift[0], rtol=1e-4, atol=1e-5)


def opened(name: str) -> SemanticFusion:
    """With one of the places that are zero at the start opened as the identity, and both gates wide open."""
    module = make()
    with torch.no_grad():
        getattr(module, name).weight.copy_(torch.eye(CHANNELS))
        module.gate[-1].weight.zero_()
        module.gate[-1].bias.fill_(60.0)
    return module


def queries(module: SemanticFusion) -> torch.Tensor:
    """Background first."""
    return torch.nn.functional.normalize(torch.cat([module.background, module.project(module.text)]), dim=-1)


def test_each_token_gets_the_text_of_its_own_class() -> None:
    module = opened("token")
    shift = module(embedding(), 1.0).token_shift
    torch.testing.assert_close(shift, queries(module)[None].expand(2, -1, -1))


def test_maps_paint_their_own_text() -> None:
    module = opened("spatial")
    output = module(embedding(), 1.0)
    painted = sum(output.similarity[:, k, None] * query[None, :, None, None] for k, query in enumerate(queries(module)))
    torch.testing.assert_close(output.dense, painted)


def test_prototypes_are_of_the_fused_embedding() -> None:
    module = make()
    with torch.no_grad():
        module.out.weight.normal_()
        module.prototype[-1].weight.copy_(torch.eye(CHANNELS))
        output = module(embedding(), 1.0)
        assert (output.embedding - embedding()).abs().max() > 0.1
        expected = module.prototype(prototypes(output.embedding, output.logits))
    torch.testing.assert_close(output.token_shift, expected)


def test_the_gate_sees_the_background_and_the_likeliest_class() -> None:
    module, seen = make(), []
    module.gate.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    output = module(embedding(), 0.25)
    read, phase = seen[0][:, CHANNELS : CHANNELS + 2], seen[0][0, CHANNELS + 2 :, 1, 1]
    torch.testing.assert_close(read[:, 0], output.similarity[:, 0])
    torch.testing.assert_close(read[:, 1], output.similarity[:, 1:].max(1).values)
    assert phase.tolist() == pytest.approx([0.25, math.sqrt(0.5), math.sqrt(0.5)])


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
