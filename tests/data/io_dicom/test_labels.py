"""Segmentations and structure sets as training labels, as masks and labels of `evaluate`, and what goes wrong."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import dicom_files
import nibabel as nib
import numpy as np
import pytest
from dicom_marked import marked, series
from pydicom import dcmread

from masg_sam.data.check import check_training, read_case
from masg_sam.data.io import label_names, read_image, read_label, write_label
from masg_sam.data.layouts import find_labels, find_training_cases
from masg_sam.errors import GeometryError, LabelError
from masg_sam.evaluation.evaluate import evaluate


def dataset(root: Path, suffixes: tuple[str, str] = (".seg.dcm", ".rtstruct.dcm")) -> dict[str, np.ndarray]:
    """Two cases, whose labels number and spell the same classes differently; the masks by case, liver 1, spleen 2."""
    masks = {}
    for name, suffix, names in (
        ("a", suffixes[0], {1: "Liver", 2: "Spleen"}),
        ("b", suffixes[1], {3: "spleen", 9: "LIVER"}),
    ):
        volume = read_image(series(root / "images" / name, SeriesInstanceUID=f"1.2.{ord(name)}"))
        masks[name] = np.random.default_rng(ord(name)).integers(0, 3, volume.shape).astype(np.uint8)
        values = {known.lower(): value for value, known in names.items()}
        stored = np.array([0, values["liver"], values["spleen"]])[masks[name]]
        write_label(stored, volume, root / "labels" / f"{name}{suffix}", names)
    return masks


def test_segments_name_the_classes_of_a_dataset(tmp_path: Path) -> None:
    masks = dataset(tmp_path)
    found = find_training_cases(tmp_path)
    assert found.class_names == {1: "Liver", 2: "Spleen"}
    checked = check_training(found)
    assert checked.label_map.names == ("Liver", "Spleen")
    for case, summary in zip(found.cases, checked.cases, strict=True):
        _, label = read_case(case)
        assert np.array_equal(checked.label_map.encode(label), masks[case.name])
        assert summary.voxels == tuple(np.bincount(masks[case.name].ravel())[1:].tolist())


def test_dataset_json_chooses_among_the_segments(tmp_path: Path) -> None:
    masks = dataset(tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "spleen": 7}}))
    found = find_training_cases(tmp_path)
    assert found.class_names == {7: "spleen"}
    for case in found.cases:
        _, label = read_case(case)
        assert np.array_equal(label.data[0], 7 * (masks[case.name] == 2))


def test_structures_that_overlap(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The higher value lies on top, and how many voxels that concerns is told."""
    volume, _ = marked(tmp_path / "scan")
    mask = np.zeros(volume.shape, np.uint8)
    mask[1, 2:6, 2:6] = 1
    mask[2, 2:6, 2:6] = 2
    path = write_label(mask, volume, tmp_path / "a.rtstruct.dcm", {1: "body", 2: "liver"})
    file = dcmread(path)
    body, liver = file.ROIContourSequence
    body.ContourSequence = [*body.ContourSequence, *liver.ContourSequence]
    file.save_as(path)
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(read_label(path, volume).data[0], mask)
        assert np.array_equal(read_label(path, volume, {5: "body", 2: "liver"}).data[0], np.where(mask, 5, 0))
    assert caplog.text.count("16 voxels") == 2


@pytest.mark.parametrize("suffixes", [(".seg.dcm", ".seg.dcm"), (".rtstruct.dcm", ".rtstruct.dcm")])
def test_evaluation_of_and_against_them(suffixes: tuple[str, str], tmp_path: Path) -> None:
    """Labels of either kind, masks of NIfTI and of either kind: the same scores as by hand."""
    masks = dataset(tmp_path / "data", suffixes)
    plain, same = tmp_path / "plain", tmp_path / "same"
    for name, mask in masks.items():
        volume = read_image(tmp_path / "data" / "images" / name)
        worse = np.where(np.arange(mask.shape[1])[:, None] < 6, mask, 0)
        write_label(worse, volume, plain / f"{name}.nii.gz")
        write_label(worse, volume, same / f"{name}.seg.dcm", {1: "liver", 2: "spleen"})
    (plain / "dataset.json").write_text(json.dumps({"labels": {"spleen": 2, "liver": 1}}))
    truth = tmp_path / "data" / "labels"
    dice = {
        name: 2 * (mask[:, :6] == 2).sum() / ((mask[:, :6] == 2).sum() + (mask == 2).sum())
        for name, mask in masks.items()
    }
    for found in (evaluate(plain, truth), evaluate(same, truth), evaluate(same, plain)):
        assert sorted(name.lower() for name in found.class_names) == ["liver", "spleen"]
    for found in (evaluate(plain, truth), evaluate(same, truth)):
        assert {case.case: case.classes["Spleen"].dice for case in found.cases} == pytest.approx(dice)
    assert set(evaluate(same, plain).values("dice")) == {1}
    assert set(evaluate(truth, truth).values("dice")) == {1}


def test_nifti_that_was_made_of_the_series_is_as_good_as_it(tmp_path: Path) -> None:
    """A label lies on any image of the same voxels, whatever its axis order."""
    volume, mask = marked(tmp_path / "scan", "oblique")
    write_label(mask, volume, tmp_path / "x.nii.gz")
    image = nib.load(tmp_path / "x.nii.gz").as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    nib.save(image, tmp_path / "turned.nii.gz")
    other = read_image(tmp_path / "turned.nii.gz")
    for suffix in (".seg.dcm", ".rtstruct.dcm"):
        path = write_label(mask, volume, tmp_path / f"a{suffix}", {1: "a", 2: "b", 3: "c"})
        found = read_label(path, other)
        assert np.array_equal(found.data, other.data) and np.array_equal(found.affine, other.affine)


def test_the_series_is_looked_for_around_the_label(tmp_path: Path) -> None:
    volume, mask = marked(tmp_path / "data" / "imagesTr" / "deep" / "a")
    path = write_label(mask, volume, tmp_path / "data" / "labelsTr" / "a.seg.dcm", {1: "x", 3: "y"})
    assert read_label(path).path == path and read_label(path).shape == volume.shape
    beside = write_label(mask, volume, tmp_path / "data" / "imagesTr" / "deep" / "seg" / "1.dcm.seg.dcm", {1: "x"})
    assert read_label(beside).shape == volume.shape
    away = write_label(mask, volume, tmp_path / "else" / "where" / "a.seg.dcm", {1: "x"})
    with pytest.raises(LabelError, match="is not near it"):
        read_label(away)


def test_what_is_no_label(tmp_path: Path) -> None:
    volume, mask = marked(tmp_path / "scan")
    slice_ = next((tmp_path / "scan").iterdir())
    with pytest.raises(LabelError, match="that is none"):
        read_label(slice_, volume)
    assert label_names([]) == {} and label_names([tmp_path / "a.nii.gz", slice_]) == {}
    path = write_label(mask, volume, tmp_path / "labels" / "a.seg.dcm", {1: "x", 3: "y"})
    assert find_labels(tmp_path / "labels") == ({"a": path}, {1: "x", 2: "y"})
    photo = dicom_files.save(dicom_files.picture(np.zeros((4, 5), np.uint8)), tmp_path / "photo.dcm")
    with pytest.raises(GeometryError, match="a picture has no place"):
        read_label(path, read_image(photo))


@pytest.mark.parametrize("suffix", [".seg.dcm", ".rtstruct.dcm"])
def test_a_structure_that_is_not_wanted_may_lie_anywhere(suffix: str, tmp_path: Path) -> None:
    """A couch is drawn where the scan, cut to the patient, no longer reaches."""
    whole = read_image(series(tmp_path / "whole"))
    drawn = np.zeros(whole.shape, np.uint8)
    drawn[0], drawn[2, 1:4, 1:4] = 2, 1
    write_label(drawn, whole, tmp_path / f"a{suffix}", {1: "Liver", 2: "Couch"})
    cut = read_image(series(tmp_path / "whole"))
    data, affine = cut.data[:, 1:], cut.affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(data[0].transpose(2, 1, 0), np.diag([-1, -1, 1, 1]) @ affine), tmp_path / "cut.nii")
    image = read_image(tmp_path / "cut.nii")
    assert read_label(tmp_path / f"a{suffix}", image, {1: "liver"}).data.sum() == 9
    with pytest.raises(GeometryError, match="Couch" if suffix == ".rtstruct.dcm" else "does not lie on the voxels"):
        read_label(tmp_path / f"a{suffix}", image, {1: "liver", 2: "couch"})


def test_structures_of_no_class_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    volume = read_image(series(tmp_path / "a"))
    write_label(np.ones(volume.shape, np.uint8), volume, tmp_path / "a.seg.dcm", {1: "Liver_GTV"})
    assert not read_label(tmp_path / "a.seg.dcm", volume, {1: "liver"}).data.any()
    assert "a.seg.dcm: of no class: Liver_GTV; the classes are liver" in caplog.text
