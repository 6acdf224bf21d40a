"""A training killed at a random moment and resumed ends in the same weights, bit by bit."""

from __future__ import annotations

import io
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console

from masg_sam.api import train
from masg_sam.config import Config, override, to_dict
from masg_sam.errors import CheckpointError, OutputError

SCRIPT = """
import io, sys
import torch
from rich.console import Console
from masg_sam.api import train
from masg_sam.config import load_config
torch.set_num_threads(1)
train(sys.argv[1], sys.argv[2], load_config(sys.argv[3]), console=Console(file=io.StringIO()))
"""
STEPS, KILL_WITHIN = 40, 12
WEIGHTS = "model.safetensors"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums come out alike only with the same number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(data: Path, out: Path, config: Config, resume: bool = False) -> bytes:
    train(data, out, config, resume=resume, console=Console(file=io.StringIO()))
    return (out / WEIGHTS).read_bytes()


def kill_during(data: Path, out: Path, config: Config, folder: Path) -> int:
    """Start a training elsewhere and kill it without warning; the steps it had logged."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(to_dict(config)), encoding="utf-8")
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(data), str(out), str(recipe)], stderr=subprocess.PIPE)
    wanted, log = random.randint(2, KILL_WITHIN), out / "log.jsonl"
    try:
        while not log.exists() or log.read_text(encoding="utf-8").count("\n") < wanted:
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.05))
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return log.read_text(encoding="utf-8").count("\n")


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_killed_and_resumed_is_bit_identical(
    make_dataset: Callable[..., Path], tiny: Config, tmp_path: Path, precision: str
) -> None:
    data = make_dataset()
    settings = {"training.steps": STEPS, "training.precision": precision, "training.save_seconds": 0.02}
    config = override(tiny, settings)
    whole = run(data, tmp_path / "whole", config)
    logged = kill_during(data, tmp_path / "killed", config, tmp_path)
    assert 2 <= logged < STEPS
    assert (tmp_path / "killed" / "last.safetensors").exists()
    assert not (tmp_path / "killed" / WEIGHTS).exists()
    assert run(data, tmp_path / "killed", config, resume=True) == whole
    lines = (tmp_path / "killed" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, STEPS + 1))
    kept = {path.name for path in (tmp_path / "killed").iterdir()}
    assert {"model.json", WEIGHTS, "config.yaml", "run.json", "log.jsonl"} <= kept
    assert "last.safetensors" not in kept


@pytest.fixture
def interrupted(
    make_dataset: Callable[..., Path], tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Path, Config]:
    """Data, the folder of a run that stopped after its last step, and its settings."""
    from masg_sam.training import run as module

    data, out = make_dataset(), tmp_path / "run"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "save_model", stop)
        run(data, out, tiny)
    return data, out, tiny


def test_a_run_that_only_lacks_its_model_writes_it(interrupted: tuple[Path, Path, Config], tmp_path: Path) -> None:
    data, out, config = interrupted
    assert run(data, out, config, resume=True) == run(data, tmp_path / "whole", config)


def test_an_unfinished_run_is_not_overwritten_by_mistake(interrupted: tuple[Path, Path, Config]) -> None:
    data, out, config = interrupted
    with pytest.raises(OutputError, match="did not end") as caught:
        run(data, out, config)
    assert "--resume" in caught.value.mend


def test_other_settings_are_refused_but_other_saving_is_not(interrupted: tuple[Path, Path, Config]) -> None:
    data, out, config = interrupted
    written = {path.name: path.read_bytes() for path in out.glob("*.*")}
    with pytest.raises(CheckpointError, match=r"another settings.training.lr") as caught:
        run(data, out, override(config, {"training.lr": 0.5}), resume=True)
    assert caught.value.expected == 0.5
    assert {path.name: path.read_bytes() for path in out.glob("*.*")} == written
    run(data, out, override(config, {"training.save_seconds": 5.0}), resume=True)


def test_other_cases_are_refused(interrupted: tuple[Path, Path, Config], make_dataset: Callable[..., Path]) -> None:
    _, out, config = interrupted
    with pytest.raises(CheckpointError, match="another cases"):
        run(make_dataset(cases=3, name="more"), out, config, resume=True)


def test_other_classes_are_refused(interrupted: tuple[Path, Path, Config]) -> None:
    data, out, config = interrupted
    facts = data / "dataset.json"
    values = json.loads(facts.read_text())
    values["labels"] = {name.replace("organ", "tumour"): value for name, value in values["labels"].items()}
    facts.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=r"another task.labels.names"):
        run(data, out, config, resume=True)


def test_a_finished_run_is_left_alone(make_dataset: Callable[..., Path], tiny: Config, tmp_path: Path) -> None:
    data = make_dataset()
    weights = run(data, tmp_path / "run", tiny)
    for resume in (False, True):
        with pytest.raises(OutputError, match="trained model"):
            run(data, tmp_path / "run", tiny, resume=resume)
    assert (tmp_path / "run" / WEIGHTS).read_bytes() == weights
