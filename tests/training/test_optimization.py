from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from masg_sam.config import TrainingConfig
from masg_sam.errors import ConfigError
from masg_sam.models.masg_sam import MasgSamNetwork
from masg_sam.training.optimization import (
    Average,
    check_available,
    make_accelerator,
    one_cycle,
    parameter_groups,
)

Make = Callable[..., MasgSamNetwork]


def test_one_cycle_at_its_ends_and_peak() -> None:
    assert one_cycle(0.0, 1.0) == pytest.approx(1 / 25)
    assert one_cycle(0.1, 1.0) == pytest.approx(1.0)
    assert one_cycle(1.0, 1.0) == pytest.approx(1e-4)
    assert one_cycle(0.05, 1.0) == pytest.approx((1 + 1 / 25) / 2)  # half way up the cosine
    assert one_cycle(0.55, 2.0) == pytest.approx((2 + 2e-4) / 2)
    assert one_cycle(0.1 - 1e-9, 1.0) == pytest.approx(one_cycle(0.1 + 1e-9, 1.0))


def test_one_cycle_rises_once_and_falls_once() -> None:
    rates = [one_cycle(i / 200, 3.0) for i in range(201)]
    assert rates[:21] == sorted(rates[:21]) and rates[20:] == sorted(rates[20:], reverse=True)
    assert max(rates) == pytest.approx(3.0) and min(rates) > 0


def test_average_by_hand() -> None:
    """Step 1 keeps 1/10 of the average, step 2 keeps 2/11, and later ones the decay."""
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(1.0)
    average = Average(module, decay=0.5)
    value = 1.0
    for step, weight in ((1, 2.0), (2, 5.0), (100, -3.0)):
        with torch.no_grad():
            module.weight.fill_(weight)
        average.update(module, step)
        kept = min(0.5, step / (step + 9))
        value = kept * value + (1 - kept) * weight
        assert average.state["weight"].item() == pytest.approx(value, rel=1e-6)
    assert value == pytest.approx((0.5 * (2 / 11 * 1.9 + 9 / 11 * 5)) - 1.5)


def test_average_is_its_own_copy_and_copies_counters() -> None:
    module = nn.BatchNorm1d(2)
    average = Average(module, 0.9)
    module.weight.data.fill_(7)
    assert average.state["weight"].tolist() == [1, 1]
    module.num_batches_tracked.fill_(5)
    average.update(module, 1)
    assert average.state["num_batches_tracked"] == 5
    assert not average.state["weight"].requires_grad


def names_of(network: MasgSamNetwork, config: TrainingConfig) -> dict[float, set[str]]:
    names = {id(p): name for name, p in network.named_parameters()}
    return {g["lr"]: {names[id(p)] for p in g["params"]} for g in parameter_groups(network, config)}


def test_each_weight_has_one_learning_rate(make_network: Make) -> None:
    config = TrainingConfig(lr=3.0, decoder_lr=2.0, encoder_lr=1.0)
    network = make_network(channels=2)
    groups = names_of(network, config)
    assert sorted(groups) == [1.0, 2.0, 3.0]
    assert sum(map(len, groups.values())) == len(list(network.parameters()))
    assert all(name.startswith("encoder.") for name in groups[1.0])
    assert "decoder.class_tokens" in groups[2.0] and "prompt_encoder.sam.no_mask_embed.weight" in groups[2.0]
    new = {name.split(".")[0] for name in groups[3.0]}
    assert new == {"adapter", "hae", "dsf", "bfe", "decoder", "prompt_encoder"}
    of_decoder = {name for name in groups[3.0] if name.startswith(("decoder.", "prompt_encoder."))}
    tags = {f"prompt_encoder.{tag}.weight" for tag in ("class_tag", "mask_tag")}
    assert of_decoder == tags | {f"decoder.join{s}.{kind}" for s in (4, 8) for kind in ("weight", "bias")}


def test_what_is_frozen_is_in_no_group(make_network: Make) -> None:
    network = make_network()
    network.encoder.requires_grad_(False)
    config = TrainingConfig(lr=3.0, decoder_lr=2.0, encoder_lr=1.0)
    groups = names_of(network, config)
    assert sorted(groups) == [2.0, 3.0]
    assert not any(name.startswith("encoder.") for found in groups.values() for name in found)


def test_the_plain_pyramid_is_all_new(make_network: Make) -> None:
    groups = names_of(make_network(decoder__kind="fpn"), TrainingConfig(lr=3.0, encoder_lr=1.0))
    assert sorted(groups) == [1.0, 3.0] and all(name.startswith("plain.") for name in groups[3.0])


@pytest.mark.parametrize("device", ["cuda", "mps", "tpu"])
def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=device):
        check_available(TrainingConfig(device=device, trackers=[]))


def test_training_takes_no_number_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError) as caught:
        check_available(TrainingConfig(device="cuda:1", trackers=[]))
    assert "CUDA_VISIBLE_DEVICES=1" in caught.value.mend


def test_fp16_needs_a_card() -> None:
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        check_available(TrainingConfig(device="cpu", precision="fp16", trackers=[]))
    check_available(TrainingConfig(device="cpu", precision="bf16", trackers=[]))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_one_process_may_train_in_any_arithmetic_in_turn(tmp_path: Path, precision: str) -> None:
    accelerator = make_accelerator(TrainingConfig(device="cpu", precision=precision, trackers=[]), tmp_path)
    with accelerator.autocast():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    assert not math.isnan(product.sum().item())
