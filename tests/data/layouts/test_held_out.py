"""Test and validation cases beside the training cases."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from masg_sam.data.layouts import find_held_out, find_training_cases
from masg_sam.errors import LayoutError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def held_out(root: Path) -> dict[str, list[tuple[str, int, bool]]]:
    """Name, number of images, and whether there is a label."""
    parts = find_held_out(find_training_cases(root)).items()
    return {part: [(case.name, len(case.images), case.label is not None) for case in cases] for part, cases in parts}


def test_numbered_folders(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    assert held_out(tmp_path) == {}
    touch(tmp_path, *(f"imagesTs/{name}_000{i}.nii.gz" for name in "bc" for i in range(2)), "labelsTs/c.nii.gz")
    touch(tmp_path, "imagesVal/d_0000.nii.gz", "labelsVal/d.nii.gz", "labelsVal/lost.nii.gz")
    assert held_out(tmp_path) == {"test": [("b", 2, False), ("c", 2, True)], "validation": [("d", 1, True)]}


@pytest.mark.parametrize("root", ["", "train/"])
def test_named_folders(root: str, tmp_path: Path) -> None:
    touch(tmp_path, f"{root}images/a.png", f"{root}masks/a.png", "test/images/b.png", "val/img/c_0001.png")
    touch(tmp_path, "val/masks/c_0001.png")
    assert held_out(tmp_path) == {"test": [("b", 1, False)], "validation": [("c_0001", 1, True)]}


def test_numbered_pictures_are_cases_as_in_training(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/a_000{i}.png" for i in range(3)), *(f"labels/a_000{i}.png" for i in range(3)))
    touch(tmp_path, *(f"test/images/b_000{i}.png" for i in range(4)))
    assert held_out(tmp_path) == {"test": [(f"b_000{i}", 1, False) for i in range(4)]}


def test_numbered_channels_are_one_case_as_in_training(tmp_path: Path) -> None:
    touch(tmp_path, "images/a_0000.png", "images/a_0001.png", "labels/a.png")
    touch(tmp_path, "val/images/b_0000.png", "val/images/b_0001.png")
    assert held_out(tmp_path) == {"validation": [("b", 2, False)]}


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "imagesTs/b_0000.nii.gz")
    dataset, locked, listdir = find_training_cases(tmp_path), tmp_path / "imagesTs", os.listdir

    def refuse(folder: Any) -> list[str]:
        if Path(folder) == locked:
            raise PermissionError(13, "Permission denied", str(folder))
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(LayoutError, match="cannot be read") as caught:
        find_held_out(dataset)
    assert str(caught.value.path) == str(locked)
