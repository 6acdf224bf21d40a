"""The figure on the embedded sample, with tiny networks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from masg_sam.data.io import read_label
from masg_sam.data.sample import write_sample

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
Script = Callable[[str], ModuleType]


def test_one_figure_from_nothing(tmp_path: Path, recipe: Path) -> None:
    pytest.importorskip("nilearn", reason="the sample is nilearn's template")
    out = tmp_path / "figures/sample.png"
    command = [sys.executable, str(BENCHMARKS / "figures.py"), "--work", str(tmp_path / "work"), "--out", str(out)]
    result = subprocess.run([*command, "--config", str(recipe)], capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stderr
    assert out.stat().st_size < 400_000
    with Image.open(out) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[0] > 500 and pixels.shape[1] > 900
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100  # images, and not blank panels


def test_the_slice_is_none_that_was_trained_on(script: Script, tmp_path: Path) -> None:
    pytest.importorskip("nilearn", reason="the sample is nilearn's template")
    write_sample(tmp_path / "data")
    label = read_label(tmp_path / "data/labelsTs/icbm152.nii.gz")
    number = script("figures").chosen_slice(label, tmp_path / "data")
    assert f"icbm152_slice{number:03d}.nii.gz" not in {p.name for p in (tmp_path / "data/labelsTr").iterdir()}
    held = (label.data[0] > 0).sum((1, 2))
    assert held[number] > 0.95 * held.max()


def test_masks_are_painted_where_they_are(script: Script) -> None:
    """Half the first class's colour (E69F00) over black."""
    mask = np.array([[0, 1]])
    found = script("figures").painted(np.zeros((1, 2, 3)), mask)
    assert found[0, 0].tolist() == [0, 0, 0] and found[0, 1] == pytest.approx([115 / 255, 79.5 / 255, 0])
