"""The expected Dice against the true one, by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Script = Callable[[str], ModuleType]


def report(dice: dict[str, float]) -> dict[str, object]:
    return {"cases": [{"case": case, "classes": {"a": {"dice": value}}} for case, value in dice.items()]}


def test_confidence_by_hand(script: Script, tmp_path: Path) -> None:
    """Five cases in the right order but for a swap of two neighbours; too high by 0.1 each."""
    true = {"a": 0.5, "b": 0.6, "c": 0.7, "d": 0.8, "e": 0.9}
    said = {"a": 0.6, "b": 0.8, "c": 0.7, "d": 0.9, "e": 1.0}
    lines = [json.dumps({"case": case, "expected_dice": {"a": value}}) for case, value in said.items()]
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    found = script("trust").confidence(tmp_path / "p.jsonl", report(true))
    assert found["spearman"] == pytest.approx(0.9) and found["cases"] == 5
    assert found["error"] == pytest.approx(0.1) and found["bias"] == pytest.approx(0.1)
    assert found["worst_fifth"] == 1.0 and found["expected"] == said


def test_no_confidence_without_expectations(script: Script, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text(json.dumps({"case": "a", "expected_dice": {"a": None}}))
    assert script("trust").confidence(tmp_path / "p.jsonl", report({"a": 0.5})) is None
