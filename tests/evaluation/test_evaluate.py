"""Folders of masks against folders of labels."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from masg_sam.errors import ConfigError, GeometryError, InputError, LabelError, LayoutError
from masg_sam.evaluation.evaluate import evaluate

AFFINE = np.diag([0.5, 2.0, 3.0, 1.0])  # X, Y, Z of a file in RAS


def write_scan(path: Path, mask: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    """A mask ``X x Y x Z``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), affine), path)


def write_picture(path: Path, mask: np.ndarray, **options: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8)).save(path, **options)


def name_classes(folder: Path, **labels: int) -> None:
    (folder / "dataset.json").write_text(json.dumps({"labels": {"background": 0, **labels}}))


def scan(x: int = 2, value: int = 1) -> np.ndarray:
    mask = np.zeros((12, 10, 8), np.uint8)
    mask[x : x + 4, 3:6, 2:5] = value
    return mask


def picture(x: int = 10) -> np.ndarray:
    mask = np.zeros((40, 60), np.uint8)
    mask[8:30, x : x + 30] = 255
    return mask


@pytest.fixture
def scans(tmp_path: Path) -> tuple[Path, Path]:
    """Masks beside labels of three cases; ``p10`` is one voxel (0.5 mm) off along X."""
    for name in ("p1", "p2", "p10"):
        write_scan(tmp_path / "labels" / f"{name}.nii.gz", scan())
        write_scan(tmp_path / "masks" / f"{name}.nii.gz", scan(3 if name == "p10" else 2))
    return tmp_path / "masks", tmp_path / "labels"


def test_scores_of_a_folder(scans):
    found = evaluate(*scans)
    assert [case.case for case in found.cases] == ["p1", "p2", "p10"]
    assert found.class_names == ["foreground"]
    assert found.values("dice") == [1, 1, 3 / 4]
    assert found.values("hd_mm") == pytest.approx([0, 0, 0.5])  # the file's first axis, 0.5 mm
    assert found.cases[0].classes["foreground"].label_ml == pytest.approx(36 * 3 / 1000)
    assert (found.unit, found.notes) == ("mm", [])


def test_volumes_of_slices_that_lean(tmp_path):
    affine = np.array([[0.5, 0, 0, 0], [0, 2, 1.2, 0], [0, 0, 3, 0], [0, 0, 0, 1]])
    for name in ("masks", "labels"):
        write_scan(tmp_path / name / "p.nii.gz", scan(), affine)
    found = evaluate(tmp_path / "masks", tmp_path / "labels").cases[0].classes["foreground"]
    assert found.label_ml == found.prediction_ml == pytest.approx(36 * 0.5 * 2 * 3 / 1000)


@pytest.mark.parametrize(("axis", "distance"), [(0, 0.5), (1, 2.0), (2, 3.0)])
def test_spacing_comes_from_the_header(tmp_path, axis, distance):
    write_scan(tmp_path / "labels" / "p.nii.gz", scan())
    write_scan(tmp_path / "masks" / "p.nii.gz", np.roll(scan(), 1, axis))
    found = evaluate(tmp_path / "masks", tmp_path / "labels")
    assert found.values("hd95_mm") == pytest.approx([distance])


def test_a_mask_stored_in_another_orientation_is_the_same_mask(scans):
    masks, labels = scans
    flipped = AFFINE.copy()
    flipped[0, 0], flipped[0, 3] = -0.5, 11 * 0.5
    write_scan(masks / "p1.nii.gz", scan()[::-1], flipped)
    assert evaluate(masks, labels).values("dice")[0] == 1


def test_tolerance_reaches_the_surface_dice(scans):
    strict, loose = (evaluate(*scans, tolerance_mm=tolerance) for tolerance in (0.4, 0.5))
    assert strict.values("surface_dice")[2] < 1 == loose.values("surface_dice")[2]


@pytest.mark.parametrize("tolerance", [-1.0, float("nan"), float("inf")])
def test_tolerance_must_be_a_distance(scans, tolerance):
    with pytest.raises(ConfigError, match="tolerance"):
        evaluate(*scans, tolerance_mm=tolerance)


def test_classes_are_named_and_ordered_by_the_labels(scans):
    masks, labels = scans
    for folder in scans:
        write_scan(folder / "p1.nii.gz", scan() + scan(7, 3))
    name_classes(labels.parent, liver=3, spleen=1)
    found = evaluate(masks, labels)
    assert found.class_names == ["spleen", "liver"]
    assert found.counts("liver") == found.counts("liver") | {"both_present": 1, "both_empty": 2}


def test_what_nobody_labelled_counts_on_neither_side(scans):
    masks, labels = scans
    truth = scan()
    truth[2:4, 3:6, 2:5] = 9  # the first half of the box
    write_scan(labels / "p1.nii.gz", truth)
    write_scan(masks / "p1.nii.gz", np.maximum(scan(), scan(0)))  # a false alarm at x = 0, 1
    name_classes(labels.parent, liver=1, ignore=9)
    found = evaluate(masks, labels)
    assert found.class_names == ["liver"]
    assert found.values("dice")[0] == pytest.approx(2 * 2 / (4 + 2))


def test_surfaces_are_unknown_beside_what_nobody_labelled(scans):
    """Of p1 only every other slice is labelled; of p2 a corner far from the box is not; p10 is labelled whole."""
    masks, labels = scans
    slices, corner = scan(), scan()
    slices[:, :, ::2] = 9
    corner[10:, 8:, 6:] = 9
    write_scan(labels / "p1.nii.gz", slices)
    write_scan(labels / "p2.nii.gz", corner)
    false_alarm = scan()
    false_alarm[11, 9, 7] = 1  # where nobody labelled
    write_scan(masks / "p2.nii.gz", false_alarm)
    name_classes(labels.parent, liver=1, ignore=9)
    found = evaluate(masks, labels)
    assert found.values("dice") == [1, 1, 3 / 4]
    for metric in ("hd95_mm", "hd_mm", "assd_mm", "surface_dice", "boundary_f1"):
        assert [value is None for value in found.values(metric)] == [True, False, False]
    assert found.cases[0].classes["liver"].lesions_found is None
    assert found.counts("liver")["lesions_found"] == 2 and found.counts("liver")["lesions_false"] == 0
    assert [note for note in found.notes if "unlabelled voxels touch the masks in 1 of 3 cases" in note]


def test_where_no_surface_is_known_none_is_counted(scans):
    masks, labels = scans
    slices = scan()
    slices[:, :, ::2] = 9
    for name in ("p1", "p2", "p10"):
        write_scan(labels / f"{name}.nii.gz", slices)
    name_classes(labels.parent, liver=1, ignore=9)
    assert evaluate(masks, labels).counts("liver")["lesions_found"] is None


@pytest.mark.parametrize(("tolerance", "told"), [(0.0, False), (0.4, True), (0.5, False)])
def test_a_tolerance_below_a_voxel_is_told(scans, tolerance: float, told: bool) -> None:
    notes = evaluate(*scans, tolerance_mm=tolerance).notes
    assert any("narrowest side of a voxel (0.5 mm)" in note for note in notes) is told


def test_names_of_the_masks_serve_where_the_labels_have_none(scans):
    masks, labels = scans
    name_classes(masks, spleen=1, liver=2)
    write_scan(masks / "p2.nii.gz", scan(value=2))
    found = evaluate(masks, labels)
    assert found.class_names == ["spleen", "liver"]  # liver stands in no label, and is a false alarm
    assert found.counts("liver")["only_prediction"] == found.counts("spleen")["missed"] == 1


def test_labels_of_several_values_without_names(scans):
    for folder in scans:
        write_scan(folder / "p1.nii.gz", scan() + scan(7, 2))
    assert evaluate(*scans).class_names == ["class 1", "class 2"]


def test_a_label_without_its_mask_is_named(scans):
    masks, labels = scans
    (masks / "p2.nii.gz").unlink()
    with pytest.raises(LayoutError, match="1 of 3 labelled cases have no mask") as caught:
        evaluate(masks, labels)
    assert "p2" in str(caught.value.found)
    assert caught.value.mend and caught.value.exit_code == 2


def test_masks_without_a_label_are_noted(scans):
    masks, labels = scans
    (labels / "p2.nii.gz").unlink()
    found = evaluate(masks, labels)
    assert [case.case for case in found.cases] == ["p1", "p10"]
    assert found.notes == ["1 mask without a label left out: p2"]


def test_two_files_belong_together_whatever_they_are_called(scans):
    masks, labels = scans
    found = evaluate(masks / "p10.nii.gz", labels / "p1.nii.gz")
    assert [(case.case, case.mean("dice")) for case in found.cases] == [("p1", 3 / 4)]


def test_lists_are_paired_by_name(scans, tmp_path):
    """Lists are files too, but hold cases with names of their own."""
    masks, labels = scans
    for name, folder in (("masks.csv", masks), ("labels.csv", labels)):
        lines = [f"{folder}/{case}.nii.gz,{folder}/{case}.nii.gz\n" for case in ("p1", "p10")]
        (tmp_path / name).write_text("image,label\n" + "".join(lines))
    found = evaluate(tmp_path / "masks.csv", tmp_path / "labels.csv")
    assert [case.case for case in found.cases] == ["p1", "p10"] and found.values("dice") == [1, 3 / 4]
    with pytest.raises(LayoutError, match="1 of 2 labelled cases have no mask"):
        evaluate(masks / "p10.nii.gz", tmp_path / "labels.csv")


def test_one_mask_in_a_folder_must_have_the_name_of_its_label(scans):
    masks, labels = scans
    for path in (masks / "p1.nii.gz", masks / "p2.nii.gz", labels / "p2.nii.gz", labels / "p10.nii.gz"):
        path.unlink()
    with pytest.raises(LayoutError, match="no mask"):
        evaluate(masks, labels)


@pytest.mark.parametrize("change", ["shape", "spacing", "origin"])
def test_masks_on_another_grid_are_refused(scans, change):
    masks, labels = scans
    affine = AFFINE * (1.1 if change == "spacing" else 1)
    affine[3, 3] = 1
    if change == "origin":
        affine[1, 3] = 4.0
    write_scan(masks / "p2.nii.gz", scan()[:, :, 1:] if change == "shape" else scan(), affine)
    with pytest.raises(GeometryError) as caught:
        evaluate(masks, labels)
    assert Path(str(caught.value.path)).name == "p2.nii.gz"


def test_values_that_name_no_class_are_refused(scans):
    masks, labels = scans
    write_scan(masks / "p2.nii.gz", scan(value=7))
    with pytest.raises(LabelError, match="name no class"):
        evaluate(masks, labels)


def test_labels_that_are_all_empty_take_the_values_of_the_masks(scans):
    masks, labels = scans
    for path in labels.iterdir():
        write_scan(path, scan(value=0))
    found = evaluate(masks, labels)
    assert found.counts("foreground")["only_prediction"] == 3
    assert found.to_json()["mean"]["dice"] == 0


def test_nothing_but_background_anywhere_is_an_error(scans):
    masks, labels = scans
    for folder in scans:
        for path in folder.iterdir():
            write_scan(path, scan(value=0))
    with pytest.raises(LabelError, match="empty") as caught:
        evaluate(masks, labels)
    assert caught.value.path == labels and caught.value.mend


@pytest.mark.parametrize("value", [1, 255])
@pytest.mark.parametrize("named", [{}, {"foreground": 255}, {"polyp": 1}])
def test_black_and_white_masks_against_labels_with_compression_noise(tmp_path, value, named):
    for name in ("a", "b"):
        write_picture(tmp_path / "labels" / f"{name}.jpg", picture(), quality=40)
        write_picture(tmp_path / "masks" / f"{name}.png", (picture() > 0) * value)
    if named:
        name_classes(tmp_path / "masks", **named)
    found = evaluate(tmp_path / "masks", tmp_path / "labels")
    assert found.class_names == list(named or {"foreground": 1})
    assert found.values("dice") == pytest.approx([1, 1], abs=0.01)
    assert found.unit == "pixels"


def test_distances_in_pictures_are_pixels_and_flat(tmp_path):
    write_picture(tmp_path / "labels" / "a.png", picture())
    write_picture(tmp_path / "masks" / "a.png", picture(14))
    found = evaluate(tmp_path / "masks", tmp_path / "labels", tolerance_mm=0)
    one = found.cases[0].classes["foreground"]
    assert one.hd_mm == pytest.approx(4)
    outline, shared = 2 * (22 + 30) - 4, 2 * 26  # pixels; the outlines share part of their long sides
    assert one.surface_dice == pytest.approx(shared / outline)
    assert one.label_ml is None and one.prediction_ml is None


def test_nothing_that_can_be_read_is_an_input_error(tmp_path):
    (tmp_path / "masks").mkdir()
    for folder in (tmp_path / "masks", tmp_path / "gone"):
        with pytest.raises(InputError):
            evaluate(folder, folder)


def test_real_labels_against_themselves(real_data, tmp_path):
    for path in sorted((real_data / "kvasir20" / "val" / "labels").iterdir())[:4]:
        (tmp_path / path.name).symlink_to(path)
    mean = evaluate(tmp_path, tmp_path).to_json()["mean"]
    assert (mean["dice"], mean["hd95_mm"], mean["relative_volume_error"]) == (1, 0, 0)
