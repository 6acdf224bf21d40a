from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from masg_sam.config import Config
from masg_sam.data.prompt_input import BOX_END, BOX_START, NEGATIVE, PADDING, POSITIVE
from masg_sam.models.masg_sam import InputAdapter, MasgSamNetwork
from masg_sam.models.sam.prompts import Prompts
from masg_sam.training.losses import loss_terms

Make = Callable[..., MasgSamNetwork]
OFF: dict[str, Any] = {"hae__enabled": False, "dsf__enabled": False, "bfe__enabled": False}


def pixels(rows: int = 64, columns: int = 64, channels: int = 3) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(2, channels, rows, columns)


def every_kind_of_prompt() -> Prompts:
    kinds = torch.tensor([[POSITIVE, NEGATIVE, PADDING], [BOX_START, BOX_END, PADDING]])
    classes = torch.tensor([[1, 1, 0], [2, 2, 0]])
    torch.manual_seed(2)
    has = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    return Prompts(torch.rand(2, 3, 2) * 64, kinds, classes, torch.randn(2, 2, 16, 16), has)


def test_everything_on_starts_as_sam_alone(make_network: Make) -> None:
    """Each module's last layer is zero at the start, so the first pass is SAM's."""
    whole, alone = make_network().eval(), make_network(**OFF).eval()
    state = whole.state_dict()
    alone.load_state_dict({k: v for k, v in state.items() if k in alone.state_dict()})
    with torch.no_grad():
        found, expected = whole(pixels()), alone(pixels())
    assert len(found.coarse) == 2 and len(expected.coarse) == 1
    torch.testing.assert_close(found.coarse[0], expected.coarse[0])
    torch.testing.assert_close(found.coarse[1], expected.logits)
    assert found.hae is not None and found.bfe is not None and found.dsf is not None
    assert found.dsf.gate.min() > 0 and found.dsf.gate.max() < 1
    assert expected.hae is None and expected.bfe is None and expected.dsf is None


@pytest.mark.parametrize(("stride", "passes"), [(2, 2), (4, 2), (2, 1)])
def test_shapes(make_network: Make, stride: int, passes: int) -> None:
    network = make_network(classes=3, bfe__stride=stride, decoder__passes=passes).eval()
    with torch.no_grad():
        output = network(pixels(64, 96))
    assert output.logits.shape == (2, 4, 64 // stride, 96 // stride)
    assert [tuple(c.shape) for c in output.coarse] == [(2, 4, 16, 24)] * passes
    assert output.bfe.boundary.shape == (2, 3, 16, 24)
    assert output.hae.attention.shape == (2, 4, 4, 6)
    assert output.dsf.similarity.shape == (2, 4, 4, 6)


@pytest.mark.parametrize("off", ["hae", "dsf", "bfe"])
def test_each_module_can_be_left_out(make_network: Make, off: str) -> None:
    network = make_network(**{f"{off}__enabled": False})
    assert getattr(network, off) is None
    assert not [name for name in network.state_dict() if name.startswith(f"{off}.")]
    output = network.eval()(pixels())
    assert getattr(output, off) is None
    assert output.logits.shape[-1] == (16 if off == "bfe" else 32)


def test_the_plain_pyramid_has_nothing_of_sams_decoder(make_network: Make) -> None:
    network = make_network(decoder__kind="fpn").eval()
    output = network(pixels())
    assert output.logits.shape == (2, 3, 16, 16)
    assert {name.split(".")[0] for name, _ in network.named_parameters()} == {"encoder", "plain"}
    assert network.dsf_width is None


@pytest.mark.parametrize("settings", [{}, {"dsf__text": "learned"}, {"bfe__stride": 4}, {"decoder__passes": 1}])
def test_gradients_reach_every_trainable_weight(make_network: Make, settings: dict[str, Any]) -> None:
    """After one optimiser step, which opens the layers that start at zero."""
    network = make_network(**settings)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    label = torch.zeros(2, 64, 64, dtype=torch.long)
    label[:, 10:30, 10:30], label[:, 30:50, 20:60] = 1, 2
    reached: set[str] = set()
    for progress in (0.0, 0.1, 0.2):
        optimizer.zero_grad()
        output = network(pixels(), every_kind_of_prompt(), progress)
        config = network.config
        config.hae.drift_margin, config.hae.entropy_floor = 0.0, 1.0
        sum(loss_terms(output, label, config).values()).backward()
        reached |= {name for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        optimizer.step()
    trainable = {name for name, p in network.named_parameters() if p.requires_grad}
    assert sorted(trainable - reached) == []


def test_prompts_change_the_masks_of_their_image_only(make_network: Make) -> None:
    network = make_network().eval()
    with torch.no_grad():
        network.prompt_encoder.class_tag.weight.normal_()
        none = network(pixels()).logits
        prompts = Prompts.none(2)
        prompts.points[0, 0], prompts.kinds[0, 0], prompts.classes[0, 0] = 20.0, POSITIVE, 1
        found = network(pixels(), prompts).logits
    assert (found[0] - none[0]).abs().max() > 1e-4
    torch.testing.assert_close(found[1], none[1])


def test_no_prompt_is_an_empty_prompt(make_network: Make) -> None:
    network = make_network().eval()
    with torch.no_grad():
        assert torch.equal(network(pixels()).logits, network(pixels(), Prompts.none(2)).logits)


def test_features_of_a_frozen_encoder_may_be_kept(make_network: Make) -> None:
    network = make_network(channels=2).eval()
    images = pixels(channels=2)
    with torch.no_grad():
        adapted = network.adapter(images)
        kept = network.encoder(adapted)
        torch.testing.assert_close(network.segment(adapted, kept).logits, network(images).logits)


def test_progress_opens_the_gates_differently(make_network: Make) -> None:
    network = make_network().eval()
    with torch.no_grad():
        early, late = network(pixels(), progress=0.0).dsf.gate, network(pixels(), progress=1.0).dsf.gate
        default = network(pixels()).dsf.gate
    assert (early - late).abs().max() > 1e-4
    assert torch.equal(late, default)  # prediction is the end of training


def test_levels_join_the_second_pass_near_what_the_first_one_found(
    make_network: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []

    def nowhere(levels: tuple[Tensor, ...], coarse: Tensor) -> tuple[Tensor, ...]:
        seen.append(coarse)
        return tuple(torch.zeros_like(level) for level in levels)

    network = make_network().eval()
    with torch.no_grad():
        for joint in (network.decoder.join8, network.decoder.join4):
            joint.weight.normal_()
        joined = network(pixels())
        monkeypatch.setattr("masg_sam.models.masg_sam.confine", nowhere)
        away = network(pixels())
        network.hae = None  # whose gamma is zero still: the embedding is the same without it
        without = network(pixels())
    torch.testing.assert_close(joined.coarse[0], without.coarse[0])  # the first pass has no levels
    assert (joined.coarse[1] - without.coarse[1]).abs().max() > 1e-3
    torch.testing.assert_close(away.coarse[1], without.coarse[1])
    torch.testing.assert_close(seen[0], joined.coarse[0])


def test_levels_join_a_single_pass_everywhere(make_network: Make) -> None:
    network = make_network(decoder__passes=1).eval()
    with torch.no_grad():
        before = network(pixels()).coarse[0]
        network.decoder.join4.weight.normal_()
        assert (network(pixels()).coarse[0] - before).abs().max() > 1e-3


def test_levels_that_join_are_those_nearest_to_their_stride(make_network: Make) -> None:
    network = make_network().eval()
    hae = network(pixels()).hae
    eight, four = network._levels(hae)
    assert eight.shape[-1] == 8 and four.shape[-1] == 16


@pytest.mark.parametrize(
    ("channels", "rows"),
    [
        (1, [[1], [1], [1]]),
        (2, [[1, 0], [0, 1], [0, 1]]),
        (4, [[0.5, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 0]]),
    ],
)
def test_channels_are_dealt_to_three(channels: int, rows: list[list[float]]) -> None:
    assert torch.equal(InputAdapter(channels).mix.weight[:, :, 0, 0], torch.tensor(rows, dtype=torch.float32))


def test_three_channels_pass_untouched() -> None:
    adapter, x = InputAdapter(3), pixels()
    assert adapter(x) is x and not list(adapter.parameters())


@pytest.mark.parametrize("name", ["mobile-sam", "sam-vit-b"])
def test_low_rank_updates_merge_into_plain_weights(small: Config, name: str) -> None:
    """The merged state fits a network without updates, and gives the same masks."""
    from support import tiny_vision_config
    from transformers import SamConfig

    from masg_sam.config import override
    from masg_sam.models.sam.weights import build_sam

    config = override(small, {"model.encoder.name": name, "model.dsf.enabled": False}).model
    vision = tiny_vision_config(output_channels=256, initializer_range=0.1).to_dict()
    architecture = SamConfig(vision_config=vision).to_dict() if name == "sam-vit-b" else None
    torch.manual_seed(0)
    tuned = MasgSamNetwork(config, build_sam(config.encoder, architecture), 1)
    tuned.encoder.add_lora(rank=2)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    plain = MasgSamNetwork(config, build_sam(config.encoder, architecture), 1)
    plain.load_state_dict(tuned.encoder_merged(tuned.state_dict()))
    with torch.no_grad():
        torch.testing.assert_close(plain.eval()(pixels()).logits, tuned.eval()(pixels()).logits, rtol=1e-4, atol=1e-4)
    trained = {name for name, p in tuned.named_parameters() if p.requires_grad and name.startswith("encoder.")}
    assert trained and all("lora_" in name for name in trained)
