"""What the modules of a trained network did, from the log of its training."""

from __future__ import annotations

import json
from pathlib import Path

MODULES = ("hae/", "bfe/", "dsf/")


def last_diagnostics(log: Path) -> dict[str, float]:
    """The last value of each diagnostic in ``log.jsonl``; none where there is no such file."""
    values: dict[str, float] = {}
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        values |= {name: value for name, value in json.loads(line).items() if name.startswith(MODULES)}
    return values
