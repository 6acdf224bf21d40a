"""Masks of other tools: classes paired by name, and a file a class."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from masg_sam.errors import GeometryError, LabelError, LayoutError
from masg_sam.evaluation.evaluate import evaluate
from masg_sam.evaluation.masks import read_names

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])


def write(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data.astype(np.uint8), affine), path)


def two_organs(liver: int, spleen: int) -> np.ndarray:
    mask = np.zeros((10, 8, 6), np.uint8)
    mask[1:4, 2:6, 1:5], mask[6:9, 2:6, 1:5] = liver, spleen
    return mask


def name(folder: Path, labels: dict[str, int]) -> None:
    (folder / "dataset.json").write_text(json.dumps({"labels": {"background": 0} | labels}))


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """One case: liver 1, left kidney 2."""
    write(tmp_path / "labels" / "p1.nii.gz", two_organs(1, 2))
    name(tmp_path / "labels", {"liver": 1, "left_kidney": 2})
    return tmp_path / "labels"


def test_classes_are_paired_by_name(labels, tmp_path):
    write(tmp_path / "masks" / "p1.nii.gz", two_organs(5, 3))
    name(tmp_path / "masks", {"Left Kidney": 3, "spleen": 4, "Liver": 5})
    found = evaluate(tmp_path / "masks", labels)
    assert found.class_names == ["liver", "left_kidney"]
    assert found.values("dice", "liver") == found.values("dice", "left_kidney") == [1]
    assert found.notes == ["classes of the masks without a label left out: spleen"]


def test_a_class_the_masks_lack_is_missed(labels, tmp_path):
    write(tmp_path / "masks" / "p1.nii.gz", two_organs(7, 0))
    name(tmp_path / "masks", {"liver": 7})
    found = evaluate(tmp_path / "masks", labels)
    assert found.values("dice") == [1 / 2]
    assert found.counts("left_kidney")["missed"] == 1
    assert found.notes == ["classes that the masks do not have count as missed: left_kidney"]


def test_what_masks_leave_to_nobody_is_background(labels, tmp_path):
    write(tmp_path / "masks" / "p1.nii.gz", two_organs(3, 1))
    name(tmp_path / "masks", {"left_kidney": 1, "ignore": 3})
    found = evaluate(tmp_path / "masks", labels)
    assert found.values("dice", "left_kidney") == [1]
    assert found.counts("liver")["missed"] == 1


def test_a_dataset_is_no_folder_of_a_file_a_class(labels, tmp_path):
    """``labelsTs`` and ``imagesTs`` are folders of scans, and look like cases of a file a class."""
    for folder in ("imagesTs", "labelsTs"):
        write(tmp_path / "dataset" / folder / "p1.nii.gz", two_organs(1, 2))
    name(tmp_path / "dataset", {"liver": 1, "left_kidney": 2})
    assert evaluate(tmp_path / "dataset", labels).values("dice") == [1]


def test_same_values_in_another_order(labels, tmp_path):
    """Equal values with swapped names are the trap of comparing by value."""
    write(tmp_path / "masks" / "p1.nii.gz", two_organs(2, 1))
    name(tmp_path / "masks", {"left_kidney": 1, "liver": 2})
    assert evaluate(tmp_path / "masks", labels).values("dice") == [1]


@pytest.mark.parametrize("content", [{"liver": 9, "left-kidney": 8}, {"9": "liver", "8": "left kidney"}])
def test_names_from_a_file(labels, tmp_path, content):
    write(tmp_path / "masks" / "p1.nii.gz", two_organs(9, 8))
    (tmp_path / "names.json").write_text(json.dumps(content))
    assert evaluate(tmp_path / "masks", labels, names=read_names(tmp_path / "names.json")).values("dice") == [1]


def test_no_class_in_common(labels, tmp_path):
    write(tmp_path / "masks" / "p1.nii.gz", two_organs(1, 2))
    name(tmp_path / "masks", {"heart": 1, "lung": 2})
    with pytest.raises(LabelError) as caught:
        evaluate(tmp_path / "masks", labels)
    assert (caught.value.found, caught.value.expected) == ("heart, lung", "liver, left_kidney")


def test_one_class_on_either_side_is_the_same(tmp_path):
    """A model trained on labels without names calls its class foreground."""
    write(tmp_path / "labels" / "p1.nii.gz", two_organs(1, 0))
    name(tmp_path / "labels", {"left atrium": 1})
    write(tmp_path / "masks" / "p1.nii.gz", two_organs(255, 0))
    name(tmp_path / "masks", {"foreground": 255})
    found = evaluate(tmp_path / "masks", tmp_path / "labels")
    assert found.values("dice", "left atrium") == [1]
    assert found.notes == ["foreground of the masks is taken for left atrium of the labels"]


def test_a_mask_value_without_a_name(labels, tmp_path):
    write(tmp_path / "masks" / "p1.nii.gz", two_organs(5, 6))
    name(tmp_path / "masks", {"liver": 5})
    with pytest.raises(LabelError, match=r"name no class(.|\n)*6 \("):
        evaluate(tmp_path / "masks", labels)


@pytest.mark.parametrize("inner", ["", "segmentations"])
def test_a_file_a_class(labels, tmp_path, inner):
    """As TotalSegmentator writes them; here the two overlap, and each is scored by itself."""
    case = tmp_path / "masks" / "p1" / inner
    write(case / "liver.nii.gz", two_organs(1, 1) > 0)
    write(case / "left_kidney.nii.gz", two_organs(0, 1))
    write(case / "heart.nii.gz", two_organs(0, 0))
    found = evaluate(tmp_path / "masks", labels)
    assert found.values("dice", "liver") == [pytest.approx(2 / 3)]
    assert found.values("dice", "left_kidney") == [1]
    assert found.notes == ["classes of the masks without a label left out: heart"]


@pytest.mark.parametrize("second", ["liver.nii", "Liver.nii.gz"])
def test_two_files_of_one_class_are_refused(labels, tmp_path, second):
    write(tmp_path / "masks" / "p1" / "liver.nii.gz", two_organs(1, 0))
    write(tmp_path / "masks" / "p1" / second, two_organs(0, 1))
    with pytest.raises(LayoutError, match="two masks of one class") as caught:
        evaluate(tmp_path / "masks", labels)
    found = {caught.value.path.name, str(caught.value.found).removeprefix("also ")}
    assert found == {second, "liver.nii.gz"} and caught.value.mend


def test_cases_and_classes_pair_however_their_letters_are_composed(tmp_path):
    """macOS takes letters and their marks apart."""
    write(tmp_path / "labels" / "f\u00fcr.nii.gz", two_organs(1, 0))
    name(tmp_path / "labels", {"Gef\u00e4\u00df": 1})
    write(tmp_path / "classes" / "fu\u0308r" / "Gefa\u0308\u00df.nii.gz", two_organs(1, 0))
    write(tmp_path / "masks" / "fu\u0308r.nii.gz", two_organs(1, 0))
    for folder in ("classes", "masks"):
        assert evaluate(tmp_path / folder, tmp_path / "labels").values("dice") == [1]


def test_a_folder_of_masks_that_may_not_be_read_is_named(labels, tmp_path, monkeypatch):
    write(tmp_path / "masks" / "p1" / "liver.nii.gz", two_organs(1, 0))
    locked, listdir = tmp_path / "masks" / "p1", os.listdir

    def refuse(folder):
        if Path(folder) == locked:
            raise PermissionError(13, "Permission denied", str(folder))
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(LayoutError, match="cannot be read") as caught:
        evaluate(tmp_path / "masks", labels)
    assert str(caught.value.path) == str(locked)


def test_a_case_folder_without_a_class(labels, tmp_path):
    write(tmp_path / "masks" / "p1" / "liver.nii.gz", two_organs(1, 0))
    found = evaluate(tmp_path / "masks", labels)
    assert found.counts("left_kidney")["missed"] == 1


def test_a_file_a_class_needs_named_labels(tmp_path):
    write(tmp_path / "labels" / "p1.nii.gz", two_organs(1, 2))
    write(tmp_path / "masks" / "p1" / "liver.nii.gz", two_organs(1, 0))
    with pytest.raises(LabelError, match="labels without class names"):
        evaluate(tmp_path / "masks", tmp_path / "labels")


def test_a_class_file_on_another_grid(labels, tmp_path):
    write(tmp_path / "masks" / "p1" / "liver.nii.gz", two_organs(1, 0), np.eye(4))
    with pytest.raises(GeometryError):
        evaluate(tmp_path / "masks", labels)


def test_a_missing_case_folder(labels, tmp_path):
    write(tmp_path / "masks" / "other" / "liver.nii.gz", two_organs(1, 0))
    with pytest.raises(LayoutError, match="have no mask"):
        evaluate(tmp_path / "masks", labels)


@pytest.mark.parametrize("text", ["{", "[]", '{"liver": "x"}', "\x00"])
def test_names_that_cannot_be_read(tmp_path, text):
    path = tmp_path / "names.json"
    path.write_text(text)
    with pytest.raises(LayoutError) as caught:
        read_names(path)
    assert caught.value.path == path


def test_what_a_mask_of_one_class_leaves_to_nobody_is_background_too(tmp_path):
    """255 stands for a class that is 1 as well, but not where it is what nobody labelled."""
    write(tmp_path / "labels" / "p1.nii.gz", two_organs(1, 255))
    write(tmp_path / "masks" / "p1.nii.gz", two_organs(255, 255))
    name(tmp_path / "labels", {"tumour": 1, "ignore": 255})
    name(tmp_path / "masks", {"tumour": 1, "ignore": 255})
    assert evaluate(tmp_path / "masks", tmp_path / "labels").counts("tumour")["missed"] == 1
    name(tmp_path / "masks", {"tumour": 1})
    assert evaluate(tmp_path / "masks", tmp_path / "labels").values("dice") == [1]


def test_labels_that_are_called_like_channel_0_of_their_image(tmp_path):
    for case in "ab":
        write(tmp_path / "labels" / f"{case}_0000.nii.gz", two_organs(1, 0))
        write(tmp_path / "masks" / f"{case}.nii.gz", two_organs(1, 0))
    found = evaluate(tmp_path / "masks", tmp_path / "labels")
    assert [case.case for case in found.cases] == ["a", "b"] and found.values("dice") == [1, 1] and not found.notes
    write(tmp_path / "labels" / "a.nii.gz", two_organs(1, 0))  # then the mask is of this one
    with pytest.raises(LayoutError, match="1 of 3 labelled cases have no mask"):
        evaluate(tmp_path / "masks", tmp_path / "labels")
