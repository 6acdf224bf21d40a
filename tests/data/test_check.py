"""The check before training: what is refused, what is warned of, what is counted."""

from __future__ import annotations

import json
import weakref
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from masg_sam.data.check import Finding, TrainingCheck, cases, check_training, examine_folder, guess_modality
from masg_sam.data.io import read_image
from masg_sam.data.layouts import Case, Dataset, find_images, find_labels, find_training_cases, look_for_cases
from masg_sam.data.volume import Volume
from masg_sam.errors import DatasetError, GeometryError, ImageError, LabelError, LayoutError

SHAPE = (6, 5, 4)


def case(root: Path, name: str, label: list[int], image: np.ndarray | None = None, spacing: float = 1.0) -> None:
    """A scan, and a label that starts with the values given."""
    seed = sum(map(ord, name))
    voxels = np.random.default_rng(seed).normal(100, 10, SHAPE).astype(np.float32) if image is None else image
    values = np.zeros(SHAPE, np.uint8)
    values.ravel()[: len(label)] = label
    for folder, data in (("images", voxels), ("labels", values)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(data, np.diag([1, 1, spacing, 1])), root / folder / f"{name}.nii.gz")


def check(root: Path, **labels: int) -> TrainingCheck:
    if labels:
        (root / "dataset.json").write_text(json.dumps({"labels": {"background": 0} | labels}), encoding="utf-8")
    return check_training(find_training_cases(root))


def test_voxels_of_each_class_are_counted(tmp_path: Path) -> None:
    case(tmp_path, "a", [1, 1, 3], spacing=2.5)
    case(tmp_path, "b", [3, 3, 3, 3], spacing=2.5)
    found = check(tmp_path, liver=1, spleen=3)
    assert [facts.voxels for facts in found.cases] == [(2, 1), (0, 4)]
    assert [facts.labelled for facts in found.cases] == [3, 4]
    assert (found.cases[0].name, found.cases[0].shape) == ("a", (4, 5, 6))
    assert found.cases[0].spacing == (2.5, 1.0, 1.0)
    assert (found.cases[0].channels, found.cases[0].picture) == (1, False)
    assert found.label_map.names == ("liver", "spleen")
    assert found.findings == []


def test_what_is_inside_of_a_black_frame_is_summed_up(tmp_path: Path) -> None:
    """For planning; a scan has no frame."""
    for folder, shape in (("images", (60, 100, 3)), ("labels", (60, 100))):
        (tmp_path / folder).mkdir()
        data = np.zeros(shape, np.uint8)
        data[5:55, 20:90] = 120 if folder == "images" else 1
        Image.fromarray(data).save(tmp_path / folder / "a.png")
    (one,) = check(tmp_path).cases
    assert one.content == (50, 70) and one.shape == (1, 60, 100)
    case(tmp_path / "scans", "b", [1])
    assert check(tmp_path / "scans").cases[0].content is None


def test_an_empty_label_is_warned_of(tmp_path: Path) -> None:
    case(tmp_path, "a", [1])
    case(tmp_path, "b", [])
    message = "b: the label is empty; the case only teaches background"
    advice = "see whether the right label was exported, or take the case out"
    assert check(tmp_path).findings == [Finding("warning", "b", message, advice)]


def test_a_class_that_no_label_shows_is_warned_of(tmp_path: Path) -> None:
    case(tmp_path, "a", [1])
    found = check(tmp_path, liver=1, spleen=2)
    advice = "label it in some cases, or take it out of `labels` in dataset.json"
    assert found.findings == [Finding("warning", None, "no label shows spleen: the model cannot learn it", advice)]
    assert found.label_map.num_classes == 2


def test_the_same_image_twice_is_warned_of(tmp_path: Path) -> None:
    image = np.random.default_rng(0).normal(100, 10, SHAPE).astype(np.float32)
    case(tmp_path, "a", [1], image)
    case(tmp_path, "b", [1], image)
    case(tmp_path, "c", [1])
    advice = "take one of them out"
    assert check(tmp_path).findings == [Finding("warning", "b", "b: the same image as a", advice)]


@pytest.mark.parametrize(("spacing", "warned"), [(1.9, False), (2.1, True), (0.4, True)])
def test_a_spacing_far_from_the_others_is_warned_of(spacing: float, warned: bool, tmp_path: Path) -> None:
    for name in "abc":
        case(tmp_path, name, [1], spacing=1.0)
    case(tmp_path, "odd", [1], spacing=spacing)
    assert [finding.case for finding in check(tmp_path).findings] == ["odd"] * warned


def test_how_grey_masks_were_read_is_noted(tmp_path: Path) -> None:
    pictures(tmp_path, "a", (8, 8, 3), mask=255)
    findings = check(tmp_path).findings
    assert [(finding.level, finding.case) for finding in findings] == [("note", None)]
    assert "255 is the class" in findings[0].message


def pictures(root: Path, name: str, shape: tuple[int, ...], mask: int = 1) -> None:
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(name)).integers(0, 255, shape).astype(np.uint8)
    Image.fromarray(pixels).save(root / "images" / f"{name}.png")
    label = np.zeros(shape[:2], np.uint8)
    label[:2] = mask
    Image.fromarray(label).save(root / "labels" / f"{name}.png")


# --- refused ---------------------------------------------------------------------------------------------------


def test_label_on_another_grid(tmp_path: Path) -> None:
    case(tmp_path, "a", [1])
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), np.diag([1, 1, 2, 1])), tmp_path / "labels" / "a.nii.gz")
    with pytest.raises(GeometryError, match=r"another spacing than a\.nii\.gz") as caught:
        check(tmp_path)
    assert caught.value.path == tmp_path / "labels" / "a.nii.gz"


def test_values_outside_dataset_json(tmp_path: Path) -> None:
    case(tmp_path, "a", [1, 2])
    with pytest.raises(LabelError, match="name no class"):
        check(tmp_path, liver=1)


def test_labels_that_are_all_empty(tmp_path: Path) -> None:
    case(tmp_path, "a", [])
    with pytest.raises(LabelError, match="every label is empty"):
        check(tmp_path)


def test_voxels_that_are_no_numbers(tmp_path: Path) -> None:
    case(tmp_path, "a", [1], np.full(SHAPE, np.nan, np.float32))
    with pytest.raises(ImageError, match="not numbers"):
        check(tmp_path)


def test_grey_and_coloured_pictures_together(tmp_path: Path) -> None:
    pictures(tmp_path, "a", (8, 8, 3))
    pictures(tmp_path, "b", (8, 8))
    with pytest.raises(ImageError, match="another number of channels than a") as caught:
        check(tmp_path)
    assert (caught.value.found, caught.value.expected) == (1, 3)


def test_scans_and_pictures_together(tmp_path: Path) -> None:
    case(tmp_path, "a", [1])
    pictures(tmp_path, "b", (8, 8))
    with pytest.raises(LayoutError, match="scans and pictures"):
        check(tmp_path)


def test_a_case_without_a_label(tmp_path: Path) -> None:
    case(tmp_path, "a", [1])
    image = tmp_path / "images" / "a.nii.gz"
    with pytest.raises(LayoutError, match="no label for this case"):
        check_training(Dataset(tmp_path, "folders", (Case("a", (image,), None),), {}, ()))


# --- all at once -----------------------------------------------------------------------------------------------


def broken(root: Path) -> Path:
    """Five cases, four of them wrong, one of these in two ways; one label without its image."""
    for name in "abcd":
        case(root, name, [1])
    case(root, "b", [1, 7])
    case(root, "c", [1], np.full(SHAPE, np.nan, np.float32))
    nib.save(nib.Nifti1Image(np.full(SHAPE, 0.5, np.float32), np.eye(4)), root / "labels" / "c.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), np.diag([1, 1, 2, 1])), root / "labels" / "d.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), np.eye(4)), root / "labels" / "e.nii.gz")
    (root / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1}}), encoding="utf-8")
    return root


def test_every_error_of_every_case_is_told(tmp_path: Path) -> None:
    found = examine_folder(broken(tmp_path))
    assert [(f.level, f.case) for f in found.findings] == [("error", name) for name in "bccde"]
    files = ["labels/b", "images/c", "labels/c", "labels/d", "labels/e"]
    words = ["name no class", "not numbers", "not whole numbers", "another spacing than", "no image for this label"]
    for finding, file, word in zip(found.findings, files, words, strict=True):
        assert finding.message.startswith(f"{tmp_path / file}.nii.gz: ") and word in finding.message
        assert finding.advice
    assert found.findings[0].message.endswith("; found 7 (1 voxels); expected 0, 1 (liver)")
    assert found.findings[0].advice == "add them to `labels` in dataset.json (BIDS: to dseg.tsv), or mend the label"
    assert [facts.name for facts in found.cases] == ["a", "b", "d"]


def test_several_errors_are_raised_as_one(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="5 errors in the dataset") as caught:
        check_training(look_for_cases(broken(tmp_path)))
    assert [type(error) for error in caught.value.errors] == [
        LabelError, ImageError, LabelError, GeometryError, LayoutError
    ]  # fmt: skip
    assert str(tmp_path / "labels" / "d.nii.gz") in str(caught.value) and str(caught.value).count("fix:") == 6


def test_every_file_is_read_once_and_one_case_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        case(tmp_path, name, [1])
    read: list[str] = []
    alive: list[weakref.ref[Volume]] = []
    most = 0

    def counted(path: Path, channels: int) -> Volume:
        nonlocal most
        read.append(path.name)
        volume = read_image(path, channels)
        alive.append(weakref.ref(volume))
        most = max(most, sum(one() is not None for one in alive))
        return volume

    monkeypatch.setattr(cases, "read_image", counted)
    check(tmp_path)
    assert read == ["a.nii.gz", "b.nii.gz", "c.nii.gz"] and most == 1


def test_a_layout_that_cannot_be_read_is_the_one_finding(tmp_path: Path) -> None:
    case(tmp_path, "a", [1])
    (tmp_path / "dataset.json").write_text("{", encoding="utf-8")
    (finding,) = examine_folder(tmp_path).findings
    assert finding.level == "error" and "cannot be read as JSON" in finding.message
    with pytest.raises(LayoutError, match="no such folder"):
        examine_folder(tmp_path / "nowhere")


def test_every_channel_is_looked_at(tmp_path: Path) -> None:
    case(tmp_path, "a", [1])
    first, second = (tmp_path / "images" / f"a_000{i}.nii.gz" for i in range(2))
    (tmp_path / "images" / "a.nii.gz").rename(first)
    nib.save(nib.Nifti1Image(np.arange(120, dtype=np.int16).reshape(SHAPE), np.eye(4)), second)
    found = examine_folder(tmp_path)
    assert found.findings == [] and (found.cases[0].channels, len(found.cases[0].ranges)) == (2, 2)
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.int16), np.diag([1, 1, 3, 1])), second)
    (finding,) = examine_folder(tmp_path).findings
    assert finding.message.startswith(f"{second}: another spacing than a_0000.nii.gz")


def test_what_nobody_labelled_is_a_value_like_others(tmp_path: Path) -> None:
    case(tmp_path, "a", [1, 3])
    assert check(tmp_path, liver=1, ignore=3).findings == []


def test_a_class_in_several_pieces_is_none(tmp_path: Path) -> None:
    values = [0] * 120
    values[0], values[60], values[119] = 1, 1, 1
    case(tmp_path, "a", values)
    assert check(tmp_path).findings == []


# --- modality --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("least", "modality"), [(-1000, "CT"), (0, "MRI")])
def test_air_says_computed_tomography(least: int, modality: str, tmp_path: Path) -> None:
    case(tmp_path, "a", [1], np.linspace(least, 500, 120).astype(np.float32).reshape(SHAPE))
    dataset = find_training_cases(tmp_path)
    assert guess_modality(dataset, check_training(dataset)) == modality


def test_colours_name_no_modality(tmp_path: Path) -> None:
    pictures(tmp_path, "a", (8, 8, 3))
    dataset = find_training_cases(tmp_path)
    named = Dataset(dataset.root, dataset.layout, dataset.cases, {}, ("R", "G", "B"))
    assert guess_modality(named, check_training(named)) == "medical"


@pytest.mark.parametrize(("given", "expected"), [("ct", "CT"), ("Computed Tomography", "CT"), ("T2", "T2")])
def test_the_name_of_the_channel_says_the_modality(given: str, expected: str, tmp_path: Path) -> None:
    case(tmp_path, "a", [1])
    dataset = find_training_cases(tmp_path)
    named = Dataset(dataset.root, dataset.layout, dataset.cases, {}, (given,))
    assert guess_modality(named, check_training(named)) == expected


@pytest.mark.parametrize(("given", "told"), [("CT", True), ("CBCT", True), ("ldct", True), ("T2", False)])
def test_every_kind_of_ct_is_looked_at_for_hounsfield_units(given: str, told: bool, tmp_path: Path) -> None:
    """All of them get the one curve of stored values."""
    case(tmp_path, "a", [1])
    dataset = find_training_cases(tmp_path)
    findings = check_training(Dataset(dataset.root, dataset.layout, dataset.cases, {}, (given,))).findings
    assert any("where air is" in finding.message for finding in findings) is told


# --- real data -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "layout", "count", "classes", "modality"),
    [
        ("la4", "nnunet", 4, 1, "LGE-MRI"),
        ("kvasir20", "folders", 20, 1, "medical"),
        ("hippocampus", "msd", 5, 2, "MRI"),
        ("openkbp5", "nnunet", 5, 7, "CT"),
    ],
)
def test_real_datasets_are_found_and_pass(
    real_data: Path, name: str, layout: str, count: int, classes: int, modality: str
) -> None:
    dataset = find_training_cases(real_data / name)
    found = check_training(dataset)
    assert (dataset.layout, len(found.cases), found.label_map.num_classes) == (layout, count, classes)
    assert all(facts.labelled for facts in found.cases)
    assert not [finding for finding in found.findings if finding.level == "warning"]
    assert guess_modality(dataset, found) == modality
    tests, (labels, names) = find_images(real_data / name), find_labels(real_data / name)
    assert {case.name for case in tests} == labels.keys()
    assert names == dataset.class_names


def test_masks_that_are_jpeg_are_thresholded(real_data: Path) -> None:
    found = check_training(find_training_cases(real_data / "kvasir20"))
    assert found.label_map.threshold == 128
    assert "as JPEG leaves them" in found.findings[0].message


def test_a_value_that_no_class_has_names_its_file(tmp_path: Path) -> None:
    """And no label is called empty, of which nobody knows what it means."""
    for name, values in (("a", [1, 2]), ("b", [1, 2])):
        case(tmp_path, name, values)
    path = tmp_path / "labels" / "b.nii.gz"
    read = nib.load(path)
    voxels = np.asarray(read.dataobj).astype(np.int16)
    voxels[0, 0, 0] = -1
    nib.save(nib.Nifti1Image(voxels, read.affine), path)
    (finding,) = examine_folder(tmp_path).findings
    assert finding.level == "error" and str(path) in finding.message and "from -1" in finding.message
