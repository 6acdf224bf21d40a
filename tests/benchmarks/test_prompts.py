from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from support import masg_sam

from masg_sam.data.task import Task
from masg_sam.inference.prompting import Click

Script = Callable[[str], ModuleType]
NAMES = ("organ 1", "organ 2")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_user_clicks_into_the_middle_of_the_largest_mistake(script: Script) -> None:
    """A ball that was missed, before a smaller piece that is too much."""
    label, mask = np.zeros((7, 20, 20), np.uint8), np.zeros((7, 20, 20), np.uint8)
    label[1:6, 2:7, 3:8] = 2
    mask[0, 14:18, 14:18] = 1
    click = script("prompts").next_click
    assert click(mask, label, (1.0, 1.0, 1.0), NAMES) == Click((3, 4, 5), "organ 2")
    assert click(label, label, (1.0, 1.0, 1.0), NAMES) is None


def test_what_is_too_much_is_taken_away(script: Script) -> None:
    mask = np.zeros((1, 20, 20), np.uint8)
    mask[0, 10:15, 4:9] = 1
    found = script("prompts").next_click(mask, np.zeros_like(mask), (1.0, 1.0, 1.0), NAMES)
    assert found == Click((0, 12, 6), "organ 1", inside=False)


def test_a_class_in_the_place_of_another_is_clicked_as_the_right_one(script: Script) -> None:
    label = np.zeros((1, 9, 9), np.uint8)
    label[0, 2:7, 2:7] = 1
    assert script("prompts").next_click(2 * label, label, (1.0, 1.0, 1.0), NAMES) == Click((0, 4, 4), "organ 1")


def test_what_nobody_labelled_is_never_clicked(script: Script) -> None:
    label, mask = np.full((1, 9, 9), 255, np.uint8), np.ones((1, 9, 9), np.uint8)
    assert script("prompts").next_click(mask, label, (1.0, 1.0, 1.0), NAMES) is None
    assert script("prompts").dice(mask, label, (1.0, 1.0, 1.0), 1) is None


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_boxes_lie_around_each_class_in_each_slice(script: Script, make_task: Callable[..., Task], plane: str) -> None:
    module, task = script("prompts"), make_task(2, plane=plane)
    label = np.zeros((30, 40, 50), np.uint8)
    label[5:25, 8:28, 10:30] = 1
    label[26:28, 30:32, 40:42] = 2
    found = module.boxes(label, task, np.random.default_rng(0))
    assert [box.name for box in found] == ["organ 1"] * 20 + ["organ 2"] * 2
    for i, box in enumerate(found[:20]):
        start, end = (np.delete(corner, task.axis) for corner in (box.start, box.end))
        first = np.delete([5, 8, 10], task.axis)
        assert box.start[task.axis] == box.end[task.axis] == [5, 8, 10][task.axis] + i
        assert np.abs(start - first).max() <= 2 and np.abs(end - first - 19).max() <= 2
    assert len({tuple(np.delete(box.start, task.axis)) for box in found[:20]}) > 1  # sides are moved


def test_dice_is_the_mean_of_the_classes_that_are_there(script: Script) -> None:
    label = np.array([[[1, 1, 1, 0, 2, 0]]], np.uint8)
    mask = np.array([[[1, 0, 0, 0, 0, 0]]], np.uint8)
    assert script("prompts").dice(mask, label, (1.0, 1.0, 1.0), 3) == pytest.approx((0.5 + 0.0) / 2)


def test_a_trained_model_is_prompted(script: Script, data: Path, recipe: Path, tmp_path: Path) -> None:
    """The whole command, and its table: with clicks into its mistakes a model that knows nothing gets better."""
    run, out = tmp_path / "run", tmp_path / "results" / "prompts-la4.json"
    assert masg_sam("train", data / "la4", "--out", run, "--config", recipe).returncode == 0
    command = [sys.executable, str(BENCHMARKS / "prompts.py"), str(run)]
    command += [str(data / "la4/imagesTs"), str(data / "la4/labelsTs"), "--name", "LA", "--out", str(out)]
    result = subprocess.run([*command, "--clicks", "2"], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    found = json.loads(out.read_text(encoding="utf-8"))
    assert list(found["cases"]) == ["s0", "s1", "s2"] and found["seconds"] > 0 and found["network_seconds"] > 0
    first, _, last = np.mean([case["clicks"] for case in found["cases"].values()], axis=0)
    boxed = np.mean([case["boxes"] for case in found["cases"].values()])
    assert last > first and boxed > first

    page = script("tables").prompts([found])
    assert "| no prompt | 1 click | 2 clicks | boxes |" in page
    assert f"| LA | 3 | {first:.3f} |" in page and f"| {boxed:.3f} |" in page


def test_the_table_takes_cases_without_a_score_and_fewer_clicks(script: Script) -> None:
    """A case in which nobody has a class has no Dice; what is shown all have."""
    same = {"commit": "abc", "network_seconds": 2.0, "seconds": 0.04}
    empty = {"clicks": [None, None, None], "boxes": None}
    longer = {
        "x": {"clicks": [0.5, 0.6, 0.8], "boxes": 0.9},
        "y": {"clicks": [0.7, 0.7, 0.7], "boxes": 0.8},
        "z": empty,
    }
    shorter = {"x": {"clicks": [0.25, 0.75], "boxes": None}}
    page = script("tables").prompts([{"name": "A", "cases": longer} | same, {"name": "B", "cases": shorter} | same])
    assert "| A | 3 | 0.600 | 0.650 | 0.850 | 0.500 | 0.600 | 2.0 | 0.04 | abc |" in page
    assert "| B | 1 | 0.250 | 0.750 | – | 0.250 | 0.750 |" in page and "2 clicks" not in page
