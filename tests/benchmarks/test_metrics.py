"""Our scores beside MONAI's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_metrics_beside_monai(data: Path) -> None:
    """Both sides agree on masks that are no copies of the labels; the times are not judged."""
    command = [
        sys.executable,
        str(BENCHMARKS / "metrics.py"),
        "--labels",
        str(data / "la4" / "labelsTs"),
        "--rounds",
        "1",
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    words = result.stdout.split()
    assert "MONAI" in words and float(words[-1]) < 1e-6
