from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from masg_sam import files
from masg_sam.config import Config, override
from masg_sam.data.task import Task
from masg_sam.errors import CheckpointError, OutputError
from masg_sam.models import checkpoint
from masg_sam.models.checkpoint import FACTS, WEIGHTS, TrainedModel, load_model, save_model
from masg_sam.models.masg_sam import MasgSamNetwork
from masg_sam.models.sam.weights import build_sam


@pytest.fixture
def make_model(small: Config, make_task: Callable[..., Task]) -> Callable[..., TrainedModel]:
    def make(classes: int = 2, **settings: object) -> TrainedModel:
        config = override(small, settings)
        torch.manual_seed(0)
        sam = build_sam(config.model.encoder)
        network = MasgSamNetwork(config.model, sam, classes, 3, torch.randn(classes, 12)).eval()
        return TrainedModel(network, make_task(classes), config, sam.architecture, {"weights": sam.source})

    return make


@pytest.fixture
def saved(make_model: Callable[..., TrainedModel], tmp_path: Path) -> Path:
    save_model(make_model(), tmp_path / "run")
    return tmp_path / "run"


def refusal(folder: Path) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    assert caught.value.exit_code == 2
    return caught.value


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"model.dsf.text": "learned"},
        {"model.dsf.enabled": False},
        {"model.decoder.kind": "fpn"},
    ],
    ids=["whole", "learned", "no texts", "plain"],
)
def test_there_and_back_bit_by_bit(
    make_model: Callable[..., TrainedModel], tmp_path: Path, settings: dict[str, object]
) -> None:
    model = make_model(**settings)
    save_model(model, tmp_path / "run")
    loaded = load_model(tmp_path / "run")
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded.network(images).logits, model.network(images).logits)
    assert loaded.task == model.task and loaded.config == model.config and loaded.facts == model.facts
    assert not loaded.network.training
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [FACTS, WEIGHTS]


def test_saved_again_it_is_the_same_file(saved: Path, tmp_path: Path) -> None:
    save_model(load_model(saved), tmp_path / "again")
    for name in (FACTS, WEIGHTS):
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes()


def test_averaged_weights_may_be_written_instead(make_model: Callable[..., TrainedModel], tmp_path: Path) -> None:
    model = make_model()
    state = {k: v.clone() for k, v in model.network.state_dict().items()}
    state["decoder.class_tokens"] += 3
    save_model(model, tmp_path, state)
    loaded = load_model(tmp_path).network.decoder.class_tokens
    assert torch.equal(loaded, model.network.decoder.class_tokens + 3)


def test_no_folder_and_an_empty_one(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere").found == "no such folder"
    error = refusal(tmp_path)
    assert error.found == f"no {FACTS}" and "train" in error.mend


def test_an_unfinished_training_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "last.safetensors").touch()
    error = refusal(tmp_path)
    assert "did not end" in error.found and "--resume" in error.mend


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe\x00", b"[1, 2]", b"{}", b'{"format": 99, "masg_sam": "9.0"}']
)
def test_facts_that_are_not_ours(saved: Path, content: bytes) -> None:
    (saved / FACTS).write_bytes(content)
    error = refusal(saved)
    assert error.path == saved / FACTS and error.mend


def test_a_newer_format_names_its_version(saved: Path) -> None:
    (saved / FACTS).write_text('{"format": 99, "masg_sam": "9.0"}')
    error = refusal(saved)
    assert "9.0" in error.found and "9.0" in error.mend


@pytest.mark.parametrize("name", ["config", "task", "architecture", "text_width", "facts"])
@pytest.mark.parametrize("value", ["missing", None, 7, "text", [1], {"a": 1}], ids=str)
def test_facts_with_one_damaged_entry(saved: Path, name: str, value: Any) -> None:
    facts = json.loads((saved / FACTS).read_text())
    facts[name] = value
    if value == "missing":
        del facts[name]
    harmless = (value == {"a": 1} and name in ("architecture", "facts")) or (name == "architecture" and value is None)
    (saved / FACTS).write_text(json.dumps(facts))
    if harmless:  # the published sizes fit, and no quality is known
        load_model(saved)
    else:
        refusal(saved)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("plane", "oblique"),
        ("reach", None),
        ("pixel", "one"),
        ("size", [64]),
        ("size", [64, 33]),
        ("single", "yes"),
        ("across", {"oblique": [64, 64]}),
        ("intensity", {"kind": "guess"}),
        ("labels", {"values": [1], "names": [1]}),
    ],
)
def test_a_damaged_field_of_the_task_is_named(saved: Path, name: str, value: Any) -> None:
    facts = json.loads((saved / FACTS).read_text())
    facts["task"][name] = value
    (saved / FACTS).write_text(json.dumps(facts))
    assert f"Task.{name}" in str(refusal(saved).found)


def test_fields_that_older_models_lack(saved: Path) -> None:
    facts = json.loads((saved / FACTS).read_text())
    before = load_model(saved).task
    for values, name in ((facts["task"], "mirror"), (facts["task"], "across"), (facts["task"]["labels"], "ignore")):
        del values[name]
    (saved / FACTS).write_text(json.dumps(facts))
    assert load_model(saved).task == before


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "header", "foreign"])
def test_weights_that_cannot_be_used(saved: Path, damage: str) -> None:
    path = saved / WEIGHTS
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "foreign":
        from safetensors.torch import save_file

        save_file({"weight": torch.zeros(2)}, path)
    else:
        path.write_bytes({"empty": b"", "truncated": content[:-100], "header": b"\xff" * 8 + content[8:]}[damage])
    error = refusal(saved)
    assert error.path == path and error.mend


def test_weights_of_another_number_of_classes(
    saved: Path, make_model: Callable[..., TrainedModel], tmp_path: Path
) -> None:
    save_model(make_model(classes=3), tmp_path / "other")
    os.replace(tmp_path / "other" / WEIGHTS, saved / WEIGHTS)
    assert refusal(saved).path == saved / WEIGHTS


def test_a_failing_write_leaves_the_old_model(
    saved: Path, make_model: Callable[..., TrainedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}

    def fail(_: object, place: Path) -> None:
        Path(place).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(OutputError, match="disk full"):
        save_model(make_model(classes=3), saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_a_kill_between_the_two_files_leaves_no_model_rather_than_half_of_one(
    make_model: Callable[..., TrainedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[str] = []

    def die(source: Path, target: Path) -> None:
        if moved:
            raise KeyboardInterrupt
        moved.append(Path(target).name)
        os.rename(source, target)

    monkeypatch.setattr(files.os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        save_model(make_model(), tmp_path)
    assert moved == [WEIGHTS]  # model.json says that a folder is complete: it comes last
    assert refusal(tmp_path).found == f"no {FACTS}"
