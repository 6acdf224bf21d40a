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


def once(note: Path, command: list[str]) -> dict[str, float]:
    """Run a command if its note is not there yet; the note holds what it cost, for a run that is continued."""
    if not note.exists():
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps(measure(command)), encoding="utf-8")
    return json.loads(note.read_text(encoding="utf-8"))


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


def measure(command: list[str]) -> dict[str, float]:
    """Minutes of wall clock and of CPU, and peak memory, of a process and those it waited for; it must succeed.

    CPU minutes are user and system time over all cores. They say what a run took where others shared the machine.
    """
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:  # stopped: a step that goes on alone would share the machine with the next run
        process.terminate()
        process.wait()
        raise
    if status:
        raise SystemExit(f"failed with status {os.waitstatus_to_exitcode(status)}: {' '.join(command)}")
    return {
        "minutes": round((time.monotonic() - started) / 60, 2),
        "cpu_minutes": round((usage.ru_utime + usage.ru_stime) / 60, 2),
        "peak_gb": round(usage.ru_maxrss / 2**20, 2),
    }
