from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from support import blobs, write_scan

from masg_sam.data.layouts import find_training_cases
from masg_sam.errors import LayoutError

Join = Callable[[Path], None]


@pytest.fixture
def join(script: Callable[[str], ModuleType], data: Path, tmp_path: Path) -> Join:
    """Joins the labelled scans with the others and their masks."""
    source, masks = data / "la4", tmp_path / "masks"
    for i in range(3):
        write_scan(masks / f"u{i}.nii.gz", blobs(i, shape=(40, 36, 24))[1])
    (masks / "predictions.jsonl").write_text("", encoding="utf-8")
    return lambda out: script("self_training").join(source, source / "imagesUn", masks, out)


def test_masks_join_the_labels(join: Join, data: Path, tmp_path: Path) -> None:
    join(tmp_path / "joined")
    before, after = find_training_cases(data / "la4"), find_training_cases(tmp_path / "joined/cases.json")
    assert [case.name for case in after.cases] == ["s0", "s1", "s2", "s3", "u0", "u1", "u2"]
    assert after.class_names == before.class_names and after.channel_names == before.channel_names
    for case, origin in (
        (after.cases[0], data / "la4/labelsTr/s0.nii.gz"),
        (after.cases[5], tmp_path / "masks/u1.nii.gz"),
    ):
        assert case.label == origin


def test_a_scan_is_not_both(join: Join, data: Path, tmp_path: Path) -> None:
    others = data / "la4/imagesUn"
    shutil.copy(others / "u0_0000.nii.gz", others / "s2_0000.nii.gz")
    shutil.copy(tmp_path / "masks/u0.nii.gz", tmp_path / "masks/s2.nii.gz")
    join(tmp_path / "joined")
    with pytest.raises(LayoutError, match="s2"):
        find_training_cases(tmp_path / "joined/cases.json")


def test_an_image_without_a_mask_is_told(join: Join, tmp_path: Path) -> None:
    (tmp_path / "masks/u1.nii.gz").unlink()
    with pytest.raises(SystemExit, match="no mask of u1"):
        join(tmp_path / "joined")
    assert not (tmp_path / "joined").exists()
