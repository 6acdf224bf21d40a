"""Curves beside log.jsonl: TensorBoard and MLflow show the same values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from masg_sam import api
from masg_sam.config import Config, override
from masg_sam.errors import ConfigError
from masg_sam.training import optimization


def train(data: Path, out: Path, config: Config, *trackers: str) -> list[float]:
    """The loss of each step, as log.jsonl has it."""
    api.train(data, out, override(config, {"training.trackers": list(trackers)}), console=Console(quiet=True))
    return [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()]


def test_mlflow(
    make_dataset: Callable[..., Path], tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    place = (tmp_path / "mlflow").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri(place)
    losses = train(make_dataset(), tmp_path / "atrium", tiny, "mlflow")
    client = mlflow.MlflowClient(place)
    (experiment,) = client.search_experiments(filter_string="name = 'masg-sam'")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("atrium", "FINISHED")
    shown = {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, "loss/total")}
    assert shown == {1: pytest.approx(losses[0], abs=1e-5), 2: pytest.approx(losses[1], abs=1e-5)}


def test_tensorboard(make_dataset: Callable[..., Path], tiny: Config, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    losses = train(make_dataset(), tmp_path / "run", tiny, "tensorboard")
    (folder,) = {path.parent for path in (tmp_path / "run" / "curves").rglob("events.out.tfevents.*")}
    events = EventAccumulator(str(folder))
    events.Reload()
    assert [event.value for event in events.Scalars("loss/total")] == pytest.approx(losses, abs=1e-5)


def test_a_tracker_that_is_not_installed(
    make_dataset: Callable[..., Path], tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimization, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install mlflow"):
        train(make_dataset(), tmp_path / "run", tiny, "mlflow")
    assert not (tmp_path / "run").exists()


def test_a_tracker_that_goes_away_costs_no_model(
    make_dataset: Callable[..., Path],
    tiny: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("gone")

    for name in ("log", "end_training"):
        monkeypatch.setattr(f"accelerate.Accelerator.{name}", refuse)
    assert len(train(make_dataset(), tmp_path / "run", tiny, "tensorboard")) == 2
    assert (tmp_path / "run" / "model.safetensors").exists()
    assert "curves end at step 1: gone" in caplog.text and "could not be closed: gone" in caplog.text


def test_a_tracker_that_does_not_answer(
    make_dataset: Callable[..., Path], tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("connection refused\nand more")

    monkeypatch.setattr("accelerate.Accelerator.init_trackers", refuse)
    with pytest.raises(ConfigError, match="a tracker cannot be started") as caught:
        train(make_dataset(), tmp_path / "run", tiny, "tensorboard")
    assert caught.value.found == "connection refused"
    monkeypatch.undo()
    assert len(train(make_dataset(), tmp_path / "run", tiny, "tensorboard")) == 2  # what it left is no hindrance
