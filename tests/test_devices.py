from __future__ import annotations

import pytest
import torch

from masg_sam.devices import resolve_device
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
