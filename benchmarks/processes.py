"""Steps as processes of their own: each is run once, and its cost noted."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Cost = dict[str, Any]
"""Minutes, CPU minutes, peak memory in GB, and the commit."""


def once(note: Path, command: list[str], commit: str) -> Cost:
    """Run a command if its note is not there yet; the note holds what it cost and of which commit the code was.

    What it cost until it was stopped or failed is noted too, and counts when the rest has run. Only a kill that
    leaves no time loses it.

    Args:
        note: file of the note.
        command: what is run.
        commit: of the code as it is now.
    """
    if not note.exists():
        note.parent.mkdir(parents=True, exist_ok=True)
        part = note.with_suffix(".part")
        before = json.loads(part.read_text(encoding="utf-8")) if part.exists() else {}
        cost, failure = measure(command)
        cost = add(before, cost | {"commit": commit})
        (part if failure else note).write_text(json.dumps(cost), encoding="utf-8")
        if failure:
            raise failure
        part.unlink(missing_ok=True)
    return json.loads(note.read_text(encoding="utf-8"))


def add(first: Cost, second: Cost) -> Cost:
    """The cost of two parts of a step; both commits where they differ."""
    if not first:
        return second
    times = {name: round(first[name] + second[name], 2) for name in ("minutes", "cpu_minutes")}
    commits = dict.fromkeys([*first["commit"].split(", "), second["commit"]])
    return times | {"peak_gb": max(first["peak_gb"], second["peak_gb"]), "commit": ", ".join(commits)}


@contextmanager
def held(path: Path, wait: bool = False) -> Iterator[bool]:
    """Whether no other process holds a file; then this one does, until the end of the block or its own.

    Args:
        path: the file, made when missing.
        wait: until the other process lets go.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def end_with_steps() -> None:
    """Let a polite kill of this process end the step it waits for too; call it once, before the first step."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def measure(command: list[str]) -> tuple[Cost, BaseException | None]:
    """Minutes of wall clock and of CPU, and peak memory, of a process and those it waited for.

    CPU minutes are user and system time over all cores. They say what a run took where others shared the machine.

    Returns:
        The cost, and what is to be raised where the process failed or this one was stopped.
    """
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    failure: BaseException | None = None
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException as stopped:  # a step that goes on alone would share the machine with the next run
        process.terminate()
        _, status, usage = os.wait4(process.pid, 0)
        failure = stopped
    if status and failure is None:
        failure = SystemExit(f"failed with status {os.waitstatus_to_exitcode(status)}: {' '.join(command)}")
    cost = {
        "minutes": round((time.monotonic() - started) / 60, 2),
        "cpu_minutes": round((usage.ru_utime + usage.ru_stime) / 60, 2),
        "peak_gb": round(usage.ru_maxrss / 2**20, 2),
    }
    return cost, failure
