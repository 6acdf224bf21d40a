"""How well the Dice that prediction expects fits the true one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from masg_sam.evaluation.statistics import mean


def confidence(predictions: Path, report: dict[str, Any]) -> dict[str, Any] | None:
    """The Dice that prediction expected of each case against the true one, each the mean over its classes.

    Args:
        predictions: what `masg-sam predict` wrote; other tools write no such file.
        report: what `masg-sam evaluate --json` printed of the same cases.

    Returns:
        Spearman's rho, mean absolute and signed error, the part of the worst fifth by Dice that is in the worst fifth
        by expected Dice, and the expected Dice of each case; ``None`` where nothing was expected, or of too few cases.
    """
    if not predictions.exists():
        return None
    lines = (json.loads(line) for line in predictions.read_text(encoding="utf-8").splitlines())
    expected = {line["case"]: mean(line["expected_dice"].values()) for line in lines}
    true = {case["case"]: mean(one["dice"] for one in case["classes"].values()) for case in report["cases"]}
    known = {case: expected[case] for case, dice in true.items() if None not in (dice, expected.get(case))}
    if len(known) < 3:
        return None
    said, was = np.array([(value, true[case]) for case, value in known.items()], dtype=float).T
    fifth = math.ceil(len(known) / 5)
    worst = set(np.argsort(said, kind="stable")[:fifth]) & set(np.argsort(was, kind="stable")[:fifth])
    return {
        "cases": len(known),
        "spearman": float(spearmanr(said, was).statistic),
        "error": float(np.abs(said - was).mean()),
        "bias": float((said - was).mean()),
        "worst_fifth": len(worst) / fifth,
        "expected": known,
    }
