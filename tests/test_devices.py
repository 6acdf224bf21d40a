from __future__ import annotations

import pytest
import torch

from masg_sam.devices import memory_format, mixed_precision, resolve_device, resolve_precision
from masg_sam.errors import ConfigError


def machine(monkeypatch: pytest.MonkeyPatch, gpus: int, apple: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)


@pytest.mark.parametrize(("gpus", "apple", "expected"), [(0, False, "cpu"), (2, False, "cuda"), (0, True, "mps")])
def test_auto_is_the_fastest_there_is(monkeypatch: pytest.MonkeyPatch, gpus: int, apple: bool, expected: str) -> None:
    machine(monkeypatch, gpus, apple)
    assert resolve_device("auto") == expected
    assert resolve_device("cpu") == "cpu" and resolve_device(expected) == expected


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps", "gpu", "tpu", "", "cuda:x"])
def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    machine(monkeypatch, 0, False)
    with pytest.raises(ConfigError, match="is not available") as caught:
        resolve_device(device)
    assert caught.value.found == "cpu" and caught.value.exit_code == 2


def test_one_of_several_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, 2, False)
    assert resolve_device("cuda:1") == "cuda:1"
    with pytest.raises(ConfigError, match="cuda:2"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_named_precision_stands(precision: str) -> None:
    assert resolve_precision(precision, "cpu") == precision


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({}, "fp32"),
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"avx512_bf16": False}, "fp32"),
    ],
)
def test_auto_on_a_processor(monkeypatch: pytest.MonkeyPatch, features: dict[str, bool], expected: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features, raising=False)
    assert resolve_precision("auto", "cpu") == expected


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp16")])
def test_auto_on_a_graphics_card(monkeypatch: pytest.MonkeyPatch, native: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert resolve_precision("auto", "auto") == resolve_precision("auto", "cuda") == expected


def test_auto_on_apples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_precision("auto", "auto") == resolve_precision("auto", "mps") == "fp32"


@pytest.mark.parametrize(
    ("precision", "native", "expected"),
    [
        ("auto", True, torch.bfloat16),
        ("auto", False, torch.float32),
        ("fp32", True, torch.float32),
        ("bf16", False, torch.bfloat16),
        ("fp16", True, torch.float32),
    ],
)
def test_prediction_computes_in_bfloat16_where_training_would(
    monkeypatch: pytest.MonkeyPatch, precision: str, native: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native}, raising=False)
    one = torch.ones(2, 2)
    with mixed_precision(precision, one.device):
        assert (one @ one).dtype == expected


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1"])
def test_channels_come_last_but_on_apples(device: str) -> None:
    assert memory_format(torch.device(device)) is torch.channels_last
    assert memory_format(torch.device("mps")) is torch.contiguous_format
