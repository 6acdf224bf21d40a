"""What a run says while it goes: a live bar, ``log.jsonl``, and the trackers named in the configuration."""

from __future__ import annotations

import json
import logging
import math
import time
from pathlib import Path
from types import TracebackType

from accelerate import Accelerator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from masg_sam.errors import ConfigError
from masg_sam.files import write_text
from masg_sam.models.checkpoint import LOG

log = logging.getLogger(__name__)
TOTAL = "loss/total"  # the loss in trackers, where a name cannot stand beside a group of that name


class RunLog:
    """Writes every step to ``log.jsonl`` and the trackers, and moves the bar.

    Args:
        folder: the run.
        steps: steps of the whole run.
        done: steps done before, when resumed; later lines of an older log are dropped.
        accelerator: holds the trackers.
        console: where the bar is drawn.
    """

    def __init__(self, folder: Path, steps: int, done: int, accelerator: Accelerator, console: Console) -> None:
        self.path, self.accelerator = folder / LOG, accelerator
        _keep_lines(self.path, done)
        columns = ("[bold]train", BarColumn(), MofNCompleteColumn())
        facts = (TextColumn("{task.fields[facts]}"), TimeRemainingColumn())
        self.bar = Progress(*columns, *facts, console=console, disable=not console.is_terminal)
        self.task = self.bar.add_task("train", total=steps, completed=done, facts="")
        self.plain = None if console.is_terminal else console
        self.steps, self.started, self.first, self.lost = steps, time.monotonic(), done, False

    def __enter__(self) -> RunLog:
        self.bar.start()
        self.file = open(self.path, "a", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        self.file.close()

    def step(self, step: int, values: dict[str, float], seconds: float) -> None:
        """Record one step.

        Args:
            step: its number, from 1.
            values: loss terms, learning rates, diagnostics.
            seconds: it took.
        """
        known = {k: round(v, 6) if math.isfinite(v) else None for k, v in values.items()}  # fp16 skips steps of inf
        self.file.write(json.dumps({"step": step, "seconds": round(seconds, 4)} | known, allow_nan=False) + "\n")
        self.file.flush()
        self._track(step, {TOTAL if name == "loss" else name: value for name, value in values.items()}, seconds)
        self.bar.update(self.task, completed=step, facts=f"loss {values['loss']:.3f}  {seconds:.2f} s/step")
        if self.plain is not None and (step % 25 == 0 or step in (self.first + 1, self.steps)):
            left = (time.monotonic() - self.started) / (step - self.first) * (self.steps - step)
            self.plain.print(
                f"step {step}/{self.steps}  loss {values['loss']:.3f}  {seconds:.2f} s/step  {left / 60:.1f} min left"
            )

    def _track(self, step: int, values: dict[str, float], seconds: float) -> None:
        """Draw the curves; a server that goes away ends them, and not the training."""
        if self.lost:
            return
        try:
            self.accelerator.log(values | {"seconds": seconds}, step=step)
        except Exception as error:  # each tracker has errors of its own
            self.lost = True
            log.warning("curves end at step %d: %s; log.jsonl goes on", step, error)


def start_trackers(accelerator: Accelerator, folder: Path) -> None:
    """Open the curves of a run.

    Raises:
        ConfigError: a tracker does not answer, or lacks something.
    """
    try:
        accelerator.init_trackers("masg-sam", init_kwargs={"mlflow": {"run_name": folder.resolve().name}})
    except Exception as error:  # each tracker has errors of its own
        raise ConfigError(
            "a tracker cannot be started",
            found=next(iter(str(error).splitlines()), type(error).__name__),
            expected="tensorboard, or mlflow with a server that answers (MLFLOW_TRACKING_URI)",
            mend="start it, or leave it out of training.trackers",
        ) from error


def end_trackers(accelerator: Accelerator) -> None:
    """Close the curves; a server that has gone away costs them their end, and not the model."""
    try:
        accelerator.end_training()
    except Exception as error:  # each tracker has errors of its own
        log.warning("the curves could not be closed: %s", error)


def _keep_lines(path: Path, steps: int) -> None:
    """Drop what was logged after the state that is resumed was saved."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines()[:steps]
    write_text(path, "".join(line + "\n" for line in lines))
