from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from masg_sam.errors import OutputError
from masg_sam.training.progress import LOG, RunLog


class Tracker:
    """Stands for accelerate: remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, dict[str, float]]] = []

    def log(self, values: dict[str, float], step: int) -> None:
        self.told.append((step, values))


def plain() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=100)


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / LOG).read_text(encoding="utf-8").splitlines()]


def run(folder: Path, first: int, last: int, console: Console | None = None, steps: int = 60) -> Tracker:
    tracker = Tracker()
    with RunLog(folder, steps, first - 1, tracker, console or plain()) as log:  # type: ignore[arg-type]
        for step in range(first, last + 1):
            log.step(step, {"loss": 1 / step, "lr": 1e-7}, 0.25)
    return tracker


def test_a_line_a_step_at_once(tmp_path: Path) -> None:
    with RunLog(tmp_path, 3, 0, Tracker(), plain()) as log:  # type: ignore[arg-type]
        for step in (1, 2):
            log.step(step, {"loss": 1 / 3}, 0.123456)
            assert lines(tmp_path)[-1] == {"step": step, "seconds": 0.1235, "loss": 0.333333}
    assert [line["step"] for line in lines(tmp_path)] == [1, 2]


def test_trackers_hear_the_same(tmp_path: Path) -> None:
    assert run(tmp_path, 1, 2).told == [
        (1, {"loss/total": 1.0, "lr": 1e-7, "seconds": 0.25}),
        (2, {"loss/total": 0.5, "lr": 1e-7, "seconds": 0.25}),
    ]


def test_a_resumed_run_drops_what_it_does_again(tmp_path: Path) -> None:
    run(tmp_path, 1, 7)
    run(tmp_path, 5, 9)  # the state was saved after step 4
    assert [line["step"] for line in lines(tmp_path)] == list(range(1, 10))


def test_the_older_log_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped at the worst moment, what was there is there still."""
    run(tmp_path, 1, 7)
    before = (tmp_path / LOG).read_bytes()

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("masg_sam.files.os.replace", fail)
    with pytest.raises(OutputError, match="cannot be written"):
        run(tmp_path, 5, 9)
    assert (tmp_path / LOG).read_bytes() == before


def test_a_half_written_line_goes_too(tmp_path: Path) -> None:
    run(tmp_path, 1, 3)
    with open(tmp_path / LOG, "a", encoding="utf-8") as file:
        file.write('{"step": 4, "lo')
    run(tmp_path, 4, 5)
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5]


def test_a_new_run_starts_a_new_log(tmp_path: Path) -> None:
    run(tmp_path, 1, 3)
    run(tmp_path, 1, 1)
    assert [line["step"] for line in lines(tmp_path)] == [1]


def test_without_a_terminal_a_line_now_and_then(tmp_path: Path) -> None:
    console = plain()
    run(tmp_path, 1, 60, console)
    shown = [line.split()[1] for line in console.file.getvalue().splitlines() if line.startswith("step")]
    assert shown == ["1/60", "25/60", "50/60", "60/60"]


def test_in_a_terminal_a_bar(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    run(tmp_path, 1, 3, console)
    shown = console.file.getvalue()
    assert "3/60" in shown and "loss 0.333" in shown and "\nstep" not in shown


def test_an_error_closes_the_log(tmp_path: Path) -> None:
    log = RunLog(tmp_path, 3, 0, Tracker(), plain())  # type: ignore[arg-type]
    with pytest.raises(RuntimeError), log:
        raise RuntimeError
    assert log.file.closed


def test_what_is_no_number_is_none_in_the_log(tmp_path: Path) -> None:
    """fp16 leaves out a step whose gradient is infinite, which the log must still be JSON after."""
    with RunLog(tmp_path, 3, 0, Tracker(), plain()) as log:  # type: ignore[arg-type]
        log.step(1, {"loss": 0.5, "grad_norm": float("inf")}, 0.1)
    assert lines(tmp_path) == [{"step": 1, "seconds": 0.1, "loss": 0.5, "grad_norm": None}]


def test_a_tracker_that_goes_away_ends_the_curves_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Gone(Tracker):
        def log(self, values: dict[str, float], step: int) -> None:
            super().log(values, step)
            raise ConnectionError("the server is gone")

    tracker = Gone()
    with RunLog(tmp_path, 3, 0, tracker, plain()) as log:  # type: ignore[arg-type]
        for step in (1, 2, 3):
            log.step(step, {"loss": 0.5}, 0.1)
    assert len(lines(tmp_path)) == 3 and len(tracker.told) == 1
    assert "curves end at step 1: the server is gone" in caplog.text
