"""The same image, or the same patient, on both sides of a split."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from masg_sam.data.check import examine_folder
from masg_sam.data.check.splits import same_patients
from masg_sam.data.layouts import Case


def cases(*names: str) -> list[Case]:
    return [Case(name, (Path(name),), None) for name in names]


@pytest.mark.parametrize("part", ["Ts", "Val"])
def test_the_same_scan_on_both_sides(part: str, make_dataset: Callable[..., Path]) -> None:
    data = make_dataset()
    image = nib.load(data / "imagesTr" / "case1_0000.nii.gz")
    (data / f"images{part}").mkdir(exist_ok=True)
    again = nib.Nifti1Image(np.asarray(image.dataobj).astype(np.float32), image.affine)  # other bytes, same voxels
    nib.save(again, data / f"images{part}" / "other_0000.nii.gz")
    (finding,) = examine_folder(data).findings
    name = {"Ts": "test", "Val": "validation"}[part]
    assert (finding.level, finding.case) == ("warning", "case1")
    assert finding.message == f"case1: the same image as other of the {name} cases" and finding.advice


def test_other_scans_of_the_same_names_are_no_finding(make_dataset: Callable[..., Path]) -> None:
    data = make_dataset()
    assert (data / "imagesTs" / "case0_0000.nii.gz").exists()
    assert examine_folder(data).findings == []


def test_a_test_image_that_is_damaged_is_warned_of(make_dataset: Callable[..., Path]) -> None:
    data = make_dataset()
    (data / "imagesTs" / "case0_0000.nii.gz").write_bytes(b"x")
    check = examine_folder(data)
    assert [finding.level for finding in check.findings] == ["warning"] and not check.errors
    assert "imagesTs" in check.findings[0].message


def test_a_test_case_that_lacks_a_channel_is_warned_of(make_dataset: Callable[..., Path]) -> None:
    data = make_dataset()
    for name in ("whole_0000", "whole_0001", "half_0000"):
        shutil.copy(data / "imagesTs" / "case0_0000.nii.gz", data / "imagesTs" / f"{name}.nii.gz")
    (data / "imagesTs" / "case0_0000.nii.gz").unlink()
    (finding,) = examine_folder(data).findings
    assert finding.level == "warning" and "channels of case half are missing" in finding.message


@pytest.mark.parametrize(
    ("training", "test"),
    [
        ("patient012_ED", "patient012_ES"),
        ("sub-01_ses-1", "sub-01_ses-2"),
        ("Subject_7a", "subject_7b"),
        ("scan_pat-3", "pat3_follow_up"),
        ("sub-control01", "sub-control01_run-2"),
    ],
)
def test_a_patient_on_both_sides(training: str, test: str) -> None:
    (finding,) = same_patients("test", cases(test), cases(training, "patient099"))
    assert finding.level == "warning" and "patients in both training and test cases" in finding.message


@pytest.mark.parametrize(
    ("training", "test"),
    [
        ("patient012_ED", "patient013_ED"),
        ("case_1", "case_1"),  # numbers start again in each folder, as often as not
        ("subtraction_1", "subtraction_1"),
        ("compat1", "compat1"),
    ],
)
def test_names_that_say_nothing_of_patients(training: str, test: str) -> None:
    assert list(same_patients("test", cases(test), cases(training))) == []
