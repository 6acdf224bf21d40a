"""What came of a run: its scores, what it was trained on, what the modules did."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from commands import MASG_SAM
from diagnostics import last_diagnostics
from trust import confidence

KEPT = ("state", "dice", "iou", "precision", "recall", "hd95_mm", "surface_dice", "boundary_f1")


def outcome(own: Path, labels: Path, tolerance: float) -> dict[str, Any]:
    """For the record of a run.

    Args:
        own: the run's folder.
        labels: of the test part.
        tolerance: of the surface Dice.
    """
    report = evaluate(own / "masks", labels, tolerance)
    settings = json.loads((own / "run/run.json").read_text(encoding="utf-8"))
    return {
        "steps": settings["steps"],
        "size": settings["task"]["size"],
        "trained_on": settings["cases"],
        "facts": settings["facts"],
        "tolerance": tolerance,
        "mean": report["mean"],
        "sd": report["sd"],
        "classes": report["classes"],
        "cases": {
            one["case"]: {name: {k: scores[k] for k in KEPT} for name, scores in one["classes"].items()}
            for one in report["cases"]
        },
        "confidence": confidence(own / "masks/predictions.jsonl", report),
        "diagnostics": last_diagnostics(own / "run/log.jsonl"),
    }


def evaluate(masks: Path, labels: Path, tolerance: float) -> dict[str, Any]:
    """The scores of a folder of masks."""
    command = [*MASG_SAM, "evaluate", str(masks), str(labels), "--tolerance", str(tolerance), "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
