"""Step times, with a stand-in for the training and by hand."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Script = Callable[[str], ModuleType]
TRAIN = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
folder.mkdir(parents=True)
steps = int(sys.argv[sys.argv.index("--training.steps") + 1])
slow = 3.0 if "fpn" not in sys.argv else 1.0
lines = [json.dumps({"step": n, "seconds": 99.0 if n < 3 else slow}) for n in range(steps)]
(folder / "log.jsonl").write_text("\\n".join(lines))
"""


def test_ratios_by_hand(script: Script) -> None:
    """Each round by itself: a machine that is twice as slow in the second changes no ratio."""
    rounds = [{"plain decoder": 1.0, "masg-sam": 1.5}, {"plain decoder": 2.0, "masg-sam": 3.2}]
    assert script("speed").rows("LA", rounds) == [
        ["LA", "plain decoder", "1.50", "1.00", "1.00", "1.00"],
        ["LA", "masg-sam", "2.35", "1.55", "1.50", "1.60"],
    ]


def test_the_first_steps_do_not_count(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    speed = script("speed")
    (tmp_path / "train.py").write_text(TRAIN, encoding="utf-8")
    monkeypatch.setattr(speed, "MASG_SAM", [sys.executable, str(tmp_path / "train.py")])
    arguments = ["--data", str(tmp_path), "--datasets", "la4", "--rounds", "2", "--steps", "2"]
    monkeypatch.setattr(sys, "argv", ["speed.py", *arguments])
    speed.main()
    lines = capsys.readouterr().out.splitlines()
    assert "| LA, 4 scans | plain decoder | 1.00 | 1.00 | 1.00 | 1.00 |" in lines
    assert "| LA, 4 scans | masg-sam | 3.00 | 3.00 | 3.00 | 3.00 |" in lines and len(lines) == 7
