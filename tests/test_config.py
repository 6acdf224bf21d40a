from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from masg_sam.config import Config, from_dict, load_config, override, to_dict, walk
from masg_sam.errors import ConfigError


def recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_there_and_back() -> None:
    config = override(Config(), {"training.steps": 7, "model.bfe.stride": 4, "model.dsf.sentences": {"a": "b"}})
    assert from_dict(to_dict(config)) == config
    assert from_dict(yaml.safe_load(yaml.safe_dump(to_dict(config)))) == config
    assert from_dict({}) == Config()


def test_a_recipe_keeps_defaults_for_what_it_leaves_out(tmp_path: Path) -> None:
    config = load_config(recipe(tmp_path, "training:\n  steps: 300\n  lr: 2.0e-3\ndata:\n  plane: coronal\n"))
    assert (config.training.steps, config.training.lr, config.data.plane) == (300, 2e-3, "coronal")
    assert config.model == Config().model and config.training.seed == 0
    assert load_config(recipe(tmp_path, "# nothing yet\n")) == Config()
    assert load_config(recipe(tmp_path, "training:\n  # steps: 300\ndata:\n  size: 64\n")).data.size == 64
    assert load_config(recipe(tmp_path, "model:\n  encoder:\n    # name: vit-b\n")) == Config()


def test_settings_are_not_shared_between_configurations() -> None:
    one = override(Config(), {})
    one.training.trackers.append("mlflow")
    one.model.dsf.sentences["a"] = "b"
    assert Config().training.trackers == ["tensorboard"] and Config().model.dsf.sentences == {}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("training.steps", "300", 300),
        ("training.steps", "null", None),
        ("training.steps", "none", None),
        ("data.size", "None", None),
        ("data.modality", "none", None),
        ("model.dsf.location", "none", None),
        ("data.class_names", "[none, liver]", ["none", "liver"]),
        ("model.encoder.weights", "none", "none"),
        ("training.lr", "0.002", 0.002),
        ("training.lr", "1.0e-3", 1e-3),
        ("training.trackers", "[]", []),
        ("data.flips", "true", True),
        ("model.encoder.taps", "[0, 1]", [0, 1]),
        ("model.dsf.sentences", "{liver: the large one}", {"liver": "the large one"}),
        ("model.encoder.weights", "folder/file.pt", "folder/file.pt"),
    ],
)
def test_flags_are_read_as_yaml(name: str, value: str, expected: Any) -> None:
    found: Any = override(Config(), {name: value})
    for part in name.split("."):
        found = getattr(found, part)
    assert found == expected


@pytest.mark.parametrize("value", ["@x", "[abc", "{a: b: c}"])
def test_a_value_that_is_no_yaml_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=r"model.dsf.location cannot be read") as caught:
        override(Config(), {"model.dsf.location": value})
    assert caught.value.found == value and "quotes" in caught.value.mend


def test_a_value_in_scientific_notation_needs_no_point() -> None:
    """YAML 1.1 reads 1e-3 as a word; the number is meant all the same."""
    assert override(Config(), {"training.lr": "1e-3"}).training.lr == 1e-3


def test_none_in_a_recipe_is_none(tmp_path: Path) -> None:
    """Help and reference call it none; YAML's own word is null."""
    config = load_config(recipe(tmp_path, "data:\n  modality: none\n  pixel: None\ntraining:\n  steps: null\n"))
    assert config == Config()


@pytest.mark.parametrize(
    ("group", "name", "value", "told"),
    [
        ("training", "lr", -1.0, "setting lr: .* greater than 0"),
        ("training", "stepz", 5, "setting stepz: .*stepz"),
        ("data", "size", True, "setting size: .*true and false"),
        ("model", "bfe", {"stride": 3}, "setting bfe.stride"),
    ],
)
def test_what_is_assigned_is_checked(group: str, name: str, value: Any, told: str) -> None:
    config = Config()
    with pytest.raises(ConfigError, match=told):
        setattr(getattr(config, group), name, value)
    assert config == Config()
    config.data.size, config.data.modality = 64, "none"
    assert (config.data.size, config.data.modality) == (64, None)


def test_override_leaves_the_original() -> None:
    config = Config()
    override(config, {"training.steps": 3, "model.hae.enabled": False})
    assert config == Config()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("training.step", 3),
        ("train.steps", 3),
        ("steps", 3),
        ("model.hae.enabled.more", 3),
        ("training.steps.more", 3),
        ("training.steps", 0),
        ("training.steps", "many"),
        ("training.steps", True),
        ("training.lr", True),
        ("training.batch_size", "none"),
        ("data.planes", True),
        ("training.lr", -1),
        ("training.ema", 1.0),
        ("training.seed", 2**63),
        ("data.pixel", float("inf")),
        ("data.size", 100),
        ("data.size", 16),
        ("data.plane", "oblique"),
        ("data.prompts", 1.5),
        ("model.bfe.stride", 3),
        ("model.encoder.tuning", "some"),
        ("model.dsf.text", "poem"),
        ("training.trackers", ["paper"]),
        ("training", 3),
    ],
)
def test_what_is_wrong_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        override(Config(), {name: value})
    assert caught.value.exit_code == 2
    assert name.split(".")[0] in str(caught.value)


def test_an_unknown_name_lists_its_neighbours() -> None:
    with pytest.raises(ConfigError) as caught:
        override(Config(), {"training.step": 3})
    assert "training.step" in caught.value.problem
    assert "training.steps" in caught.value.expected and "model.hae" not in caught.value.expected


def test_a_wrong_value_is_no_unknown_name() -> None:
    with pytest.raises(ConfigError, match="multiple of 32") as caught:
        override(Config(), {"data.size": 100})
    assert caught.value.expected is None and caught.value.found == 100


@pytest.mark.parametrize("text", ["training: [", "- 1\n- 2\n", "just words", "\x00", "training:\n  steps: x\n", "a: 1"])
def test_a_recipe_that_cannot_be_used_names_its_file(tmp_path: Path, text: str) -> None:
    path = recipe(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.path == path


def test_a_recipe_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "nowhere.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "binary.yaml")


def test_every_setting_is_described_once() -> None:
    settings = list(walk())
    names = [name for name, _, _ in settings]
    assert len(set(names)) == len(names) and {"training.steps", "model.dsf.text", "data.size"} <= set(names)
    assert [name for name, _, description in settings if not description] == []


def test_names_are_those_of_the_tree() -> None:
    def leaves(values: dict[str, Any], prefix: str = "") -> list[str]:
        found: list[str] = []
        for name, value in values.items():
            deeper = isinstance(value, dict) and f"{prefix}{name}" != "model.dsf.sentences"
            found += leaves(value, f"{prefix}{name}.") if deeper else [f"{prefix}{name}"]
        return found

    assert [name for name, _, _ in walk()] == leaves(to_dict(Config()))
