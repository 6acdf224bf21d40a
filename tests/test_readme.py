"""What README, documents, recipes and examples say is so: commands, flags, files, snippets, defaults."""

from __future__ import annotations

import importlib.util
import io
import pkgutil
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import typer
import yaml
from rich.console import Console

from masg_sam import api, demo
from masg_sam.cli import app
from masg_sam.config import Config, from_dict, load_config, override, to_dict, walk
from masg_sam.data import sample
from masg_sam.models.sam.vit import default_taps

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
RECIPES = sorted((ROOT / "configs").glob("*.yaml"))
BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")
SETTINGS = {name for name, _, _ in walk()}


def blocks(page: Path, language: str) -> list[str]:
    """Code blocks of a language."""
    return [text for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def commands(page: Path) -> list[list[str]]:
    """Every line of shell that calls the program."""
    lines = [line for text in blocks(page, "bash") for line in text.splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    return [line for line in words if line and line[0] == "masg-sam"]


def load(path: Path) -> ModuleType:
    """A script as a module, by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def by_name(pages: list[Path]) -> Any:
    """One test a file."""
    return pytest.mark.parametrize("page", pages, ids=[str(page.relative_to(ROOT)) for page in pages])


@by_name(PAGES)
def test_linked_files_exist(page: Path) -> None:
    targets = [target for target in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


@by_name(PAGES)
def test_commands_exist_with_their_flags(page: Path) -> None:
    """Each is parsed as the program would parse it, its settings included; nothing is run."""
    group = typer.main.get_command(app)
    for _, verb, *arguments in commands(page):
        command = group.commands[verb]  # type: ignore[attr-defined]
        context = command.make_context(verb, list(arguments), resilient_parsing=False)
        given = {k.replace("__", "."): v for k, v in context.params.items() if "__" in k and v is not None}
        override(Config(), given)


@by_name(PAGES)
def test_settings_named_in_the_text_are_settings(page: Path) -> None:
    named = re.findall(r"--((?:model|data|training)\.[\w.]+\w)", page.read_text(encoding="utf-8"))
    assert set(named) <= SETTINGS


@by_name(PAGES)
def test_python_compiles_and_yaml_is_a_recipe(page: Path) -> None:
    for text in blocks(page, "python"):
        compile(text, str(page), "exec")
    for text in blocks(page, "yaml"):
        from_dict(yaml.safe_load(text))


def test_readme_names_every_verb() -> None:
    named = {words[1] for words in commands(ROOT / "README.md")}
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {"train", "predict", "evaluate"} <= named
    for verb in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        assert f"masg-sam {verb}" in text or f"make {verb}" in text, verb


def test_readme_targets_are_in_the_makefile() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    used = re.findall(r"^make (\w+)", "\n".join(blocks(ROOT / "README.md", "bash")), re.MULTILINE)
    assert used == ["demo", "test"] and set(used) <= set(targets)


def test_readme_snippet_runs_as_it_stands(
    make_dataset: Callable[..., Path], small: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.train(make_dataset(classes=2), tmp_path / "RUN", small)
    np.save(tmp_path / "scan.npy", np.random.default_rng(0).normal(100, 10, (4, 50, 40)).astype(np.float32))
    monkeypatch.chdir(tmp_path)
    (snippet,) = blocks(ROOT / "README.md", "python")
    names: dict[str, Any] = {}
    exec(snippet, names)
    assert names["mask"].shape == (4, 50, 40) and names["mask"].dtype == np.uint8
    assert list(names["confidence"]) == ["organ 1", "organ 2"]


@by_name(RECIPES)
def test_recipes_load(page: Path) -> None:
    assert isinstance(load_config(page), Config)


def test_default_recipe_is_the_defaults_and_names_them_all() -> None:
    path = ROOT / "configs" / "default.yaml"
    assert load_config(path) == Config()
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == to_dict(Config())


def test_paper_recipe_taps_the_blocks_of_the_paper() -> None:
    encoder = load_config(ROOT / "configs" / "paper.yaml").model.encoder
    assert encoder.taps == list(default_taps(12)) == [3, 5, 7, 11]


@pytest.mark.parametrize(("file", "part"), [("configuration.md", "configuration"), ("cli.md", "command_line")])
def test_reference_pages_are_up_to_date(file: str, part: str) -> None:
    """If not: python docs/make_reference.py."""
    made = getattr(load(ROOT / "docs" / "make_reference.py"), part)()
    assert (ROOT / "docs" / "reference" / file).read_text(encoding="utf-8") == made


def test_examples_run_and_leave_the_files_that_the_documents_list(
    make_dataset: Callable[..., Path], small: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, run, masks = make_dataset(), tmp_path / "run", tmp_path / "masks"
    training = load(ROOT / "examples" / "train_and_predict.py")
    monkeypatch.setattr(training, "Config", lambda: override(small, {"training.trackers": ["tensorboard"]}))
    training.main(str(data), str(data / "imagesTs"), str(tmp_path), 1)
    files = {"model.safetensors", "model.json", "config.yaml", "run.json", "log.jsonl", "curves"}
    assert {item.name for item in run.iterdir()} == files
    assert {item.name for item in masks.iterdir()} == {
        "case0.nii.gz", "dataset.json", "predictions.jsonl", "prediction.json", "pictures"
    }  # fmt: skip
    listed = (ROOT / "docs" / "reference" / "output-files.md").read_text(encoding="utf-8")
    assert all(f"`{name}" in listed for name in files)
    maps = load(ROOT / "examples" / "attention_maps.py")
    maps.main(str(run), str(data / "imagesTs" / "case0_0000.nii.gz"), str(tmp_path / "maps.png"))
    assert (tmp_path / "maps.png").stat().st_size > 1000


def test_demo_runs_and_uses_its_model_again(small: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    label = np.zeros((20, 24, 9), np.uint8)
    label[5:15, 5:19, 2:8], label[8:12, 8:16, 3:7] = 1, 2
    monkeypatch.setattr(sample, "_template", lambda: (label.astype(np.int16) * 400, label, np.diag([2.0, 2, 2, 1])))
    monkeypatch.setattr(demo, "Config", lambda: small)
    monkeypatch.setattr(demo, "STEPS", 1)
    shown, notes = (Console(file=io.StringIO(), width=200) for _ in range(2))
    demo.run_demo(tmp_path / "demo", notes, shown)
    first, said = shown.file.getvalue(), notes.file.getvalue()
    assert "grey matter" in first and "Dice" in first and "minutes:  sample" in first and "using the model" not in said
    assert str(tmp_path / "demo" / "pictures" / "icbm152.png") in first
    assert (tmp_path / "demo" / "pictures" / "icbm152.png").stat().st_size > 1000
    assert "Dice grey matter" in (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    monkeypatch.setattr(api, "train", lambda *_, **__: pytest.fail("trained again"))
    demo.run_demo(tmp_path / "demo", notes, shown)
    assert f"delete {tmp_path / 'demo' / 'run'} to train again" in notes.file.getvalue()


def test_public_names_of_the_package_are_there() -> None:
    import masg_sam

    for name in masg_sam.__all__:
        assert getattr(masg_sam, name) is not None
    assert not hasattr(masg_sam, "no_such_name")
    assert set(masg_sam.__all__) <= set(dir(masg_sam))
    modules = {module.name for module in pkgutil.iter_modules(masg_sam.__path__)}
    assert modules.isdisjoint(masg_sam.__all__)  # once imported, a module of that name would take the verb's place
    assert "masg_sam" in sys.modules
