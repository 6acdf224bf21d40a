from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from masg_sam import describe
from masg_sam.config import Config
from masg_sam.data.task import Task
from masg_sam.errors import WeightsError
from masg_sam.models import hub
from masg_sam.models.checkpoint import TrainedModel, find_model, save_model
from masg_sam.models.masg_sam import MasgSamNetwork
from masg_sam.models.sam.weights import build_sam


class ProxyError(Exception):
    """Of the hub's client, which is no OSError."""


def test_what_the_cache_has_is_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def download(hub_id: str, name: str, local_files_only: bool, **_: object) -> str:
        asked.append(local_files_only)
        return f"/cache/{hub_id}/{name}"

    monkeypatch.setattr(hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "_reachable", lambda: pytest.fail("the network was asked"))
    assert hub.fetch_file("owner/name", "model.bin") == Path("/cache/owner/name/model.bin")
    assert asked == [True]


def test_what_it_has_not_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(hub_id: str, allow_patterns: list[str], local_files_only: bool, **_: object) -> str:
        if local_files_only:
            raise LocalEntryNotFoundError("not here")
        assert allow_patterns == ["*.json"]
        return "/fetched"

    monkeypatch.setattr(hub, "snapshot_download", download)
    monkeypatch.setattr(hub, "_reachable", lambda: True)
    assert hub.fetch_folder("owner/name", ("*.json",)) == Path("/fetched")


def test_without_a_network_it_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    started = time.monotonic()
    with pytest.raises(WeightsError) as caught:
        hub.fetch_file("nobody/not-in-any-cache", "model.bin")
    assert time.monotonic() - started < 5
    assert "nobody/not-in-any-cache" in caught.value.problem
    assert "machine with a network" in caught.value.mend


@pytest.mark.parametrize("wrong", ["a b/c", "owner/name/more", "-owner/name"])
def test_a_malformed_id_is_named(wrong: str) -> None:
    with pytest.raises(WeightsError) as caught:
        hub.fetch_file(wrong, "model.bin")
    assert caught.value.path == wrong and caught.value.expected == "owner/name"


def test_a_download_that_fails_becomes_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object, local_files_only: bool, **__: object) -> str:
        raise LocalEntryNotFoundError("first line\nsecond line") if local_files_only else OSError("disk full")

    monkeypatch.setattr(hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "_reachable", lambda: True)
    with pytest.raises(WeightsError) as caught:
        hub.fetch_file("owner/name", "model.bin")
    assert caught.value.found == "disk full"


@pytest.mark.parametrize("error", [ProxyError("403 Forbidden"), ValueError("Expecting value"), TypeError("no list")])
def test_answers_that_are_none_of_a_hub(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that refuses, a login page, an answer of another service."""

    def download(*_: object, local_files_only: bool, **__: object) -> str:
        raise LocalEntryNotFoundError("no") if local_files_only else error

    monkeypatch.setattr(hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "_reachable", lambda: True)
    with pytest.raises(WeightsError, match="could not be fetched") as caught:
        hub.fetch_file("owner/name", "model.bin")
    assert caught.value.found == str(error) and "proxy" in caught.value.mend


def test_an_error_without_words_is_still_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object, local_files_only: bool, **__: object) -> str:
        raise LocalEntryNotFoundError("no") if local_files_only else OSError()

    monkeypatch.setattr(hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "_reachable", lambda: True)
    with pytest.raises(WeightsError):
        hub.fetch_file("owner/name", "model.bin")


@pytest.mark.parametrize(
    ("proxies", "opens", "expected"), [({"https": "p"}, False, True), ({}, True, True), ({}, False, False)]
)
def test_reachable(monkeypatch: pytest.MonkeyPatch, proxies: dict[str, str], opens: bool, expected: bool) -> None:
    class Socket:
        def close(self) -> None:
            pass

    def connect(address: tuple[str, int], timeout: float) -> Socket:
        assert address == ("hub.example", 443) and timeout == hub.CONNECT_SECONDS
        if not opens:
            raise OSError("no route")
        return Socket()

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.example")
    monkeypatch.setattr(hub, "getproxies", lambda: proxies)
    monkeypatch.setattr(hub.socket, "create_connection", connect)
    assert hub._reachable() is expected


def test_a_folder_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`runs/la` may be a folder or a hub id; only a name with one slash in it can be both."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "_reachable", lambda: False)
    with pytest.raises(WeightsError, match="no folder of this name here") as caught:
        find_model("runs/la")
    assert "hub id" in str(caught.value) and "check the path" in caught.value.mend
    for name in ("la", "./runs/la", "/la", "a/b/c"):
        assert find_model(name) == (Path(name), str(Path(name).resolve()))
    (tmp_path / "runs" / "la").mkdir(parents=True)
    assert find_model("runs/la") == (Path("runs/la"), str(tmp_path / "runs" / "la"))


def test_a_model_of_a_hub_is_described_by_its_facts(
    make_task: Callable[..., Task], small: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id is as good as a folder, and its weights are not read."""
    sam = build_sam(small.model.encoder)
    network = MasgSamNetwork(small.model, sam, 1, 3, torch.randn(1, 8))
    save_model(TrainedModel(network, make_task(), small, sam.architecture, {"weights": "here"}), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    monkeypatch.setattr("masg_sam.models.checkpoint.fetch_folder", lambda hub_id, patterns: tmp_path)
    facts = describe("owner/name")
    assert (facts["classes"], facts["weights"], facts["encoder"]) == ("organ 1", "here", "mobile-sam")
