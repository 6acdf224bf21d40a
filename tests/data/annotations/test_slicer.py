"""Segmentations of 3D Slicer: names, layers, cropped grids."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from masg_sam.data.check import check_training, read_case
from masg_sam.data.io import case_stem, read_label
from masg_sam.data.layouts import find_labels, find_training_cases
from masg_sam.errors import GeometryError, LabelError
from masg_sam.evaluation.evaluate import evaluate

SHAPE = (5, 6, 7)  # x, y, z
START = (-3.0, 4.0, 10.0)  # LPS
SPACING = (0.5, 0.75, 2.0)
Segments = list[tuple[str, int, int]]  # name, value, layer


def scan(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE[::-1]))
    image.SetOrigin(START)
    image.SetSpacing(SPACING)
    sitk.WriteImage(image, str(path))
    return path


def segmentation(path: Path, layers: np.ndarray, segments: Segments, first: tuple[int, ...] = (0, 0, 0)) -> Path:
    """As Slicer writes it, byte by byte: ``L x X x Y x Z``, layers fastest, from voxel ``first`` of the image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    several = len(layers) > 1
    origin = ",".join(str(s + f * d) for s, f, d in zip(START, first, SPACING, strict=True))
    directions = f"({SPACING[0]},0,0) (0,{SPACING[1]},0) (0,0,{SPACING[2]})"
    sizes = " ".join(map(str, layers.shape if several else layers.shape[1:]))
    lines = [
        "NRRD0004",
        "type: uchar",
        f"dimension: {3 + several}",
        "space: left-posterior-superior",
        f"sizes: {sizes}",
        f"space directions: {'none ' * several}{directions}",
        f"kinds: {'list ' * several}domain domain domain",
        "encoding: raw",
        f"space origin: ({origin})",
    ]
    for number, (name, value, layer) in enumerate(segments):
        lines += [f"Segment{number}_ID:=Segment_{number}", f"Segment{number}_Name:={name}"]
        lines += [f"Segment{number}_LabelValue:={value}", f"Segment{number}_Layer:={layer}"]
    lines += ["Segmentation_ReferenceImageExtentOffset:=" + " ".join(map(str, first))]
    header = "\n".join(lines) + "\n\n"
    path.write_bytes(header.encode() + layers.astype(np.uint8).tobytes(order="F"))
    return path


def dataset(root: Path, *labels: tuple[np.ndarray, Segments]) -> Path:
    for number, (layers, segments) in enumerate(labels):
        scan(root / "images" / f"{number}.nrrd")
        segmentation(root / "labels" / f"{number}.seg.nrrd", layers, segments)
    return root


def whole(**voxels: tuple[int, int, int]) -> np.ndarray:
    """One layer with a voxel ``x, y, z`` of each value."""
    layer = np.zeros((1, *SHAPE))
    for value, at in voxels.items():
        layer[(0, *at)] = int(value[1:])
    return layer


def test_names_come_from_the_file_and_go_by_name_from_case_to_case(tmp_path: Path) -> None:
    """Slicer numbers the segments of each file by itself."""
    first = (whole(v1=(0, 0, 0), v2=(1, 2, 3)), [("liver", 1, 0), ("spleen", 2, 0)])
    second = (whole(v1=(0, 0, 0), v2=(1, 2, 3)), [("spleen", 1, 0), ("liver", 2, 0)])
    found = find_training_cases(dataset(tmp_path, first, second))
    assert found.class_names == {1: "liver", 2: "spleen"}
    labels = [read_case(case)[1].data[0] for case in found.cases]
    assert [label[0, 0, 0] for label in labels] == [1, 2]
    assert [label[3, 2, 1] for label in labels] == [2, 1]
    assert check_training(found).label_map.names == ("liver", "spleen")
    assert case_stem(Path("a.seg.nrrd")) == "a"


def test_dataset_json_gives_the_values(tmp_path: Path) -> None:
    dataset(tmp_path, (whole(v1=(1, 2, 3)), [("spleen", 1, 0)]))
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1, "spleen": 5}}))
    found = find_training_cases(tmp_path)
    assert read_case(found.cases[0])[1].data[0, 3, 2, 1] == 5
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1}}))
    with pytest.raises(LabelError, match="does not name"):
        find_training_cases(tmp_path)


def test_of_layers_that_overlap_the_later_segment_is_kept_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layers = np.zeros((2, *SHAPE))
    layers[0, :3], layers[1, 2:4, 0, 0] = 1, 1
    found = find_training_cases(dataset(tmp_path, (layers, [("liver", 1, 0), ("tumour", 1, 1)])))
    with caplog.at_level(logging.WARNING, "masg_sam"):
        label = read_case(found.cases[0])[1].data[0]
    assert label[0, 0].tolist() == [1, 1, 2, 2, 0]
    assert "tumour lies over 1 voxels of other segments and is kept" in caplog.text


def test_a_cropped_segmentation_is_put_in_its_place(tmp_path: Path) -> None:
    scan(tmp_path / "images" / "a.nrrd")
    part = np.arange(8).reshape(1, 2, 2, 2) % 2
    segmentation(tmp_path / "labels" / "a.seg.nrrd", part, [("liver", 1, 0)], first=(2, 3, 4))
    image, label = read_case(find_training_cases(tmp_path).cases[0])
    assert label.shape == image.shape
    assert np.argwhere(label.data[0]).tolist() == [[z, y, x] for z in (5,) for y in (3, 4) for x in (2, 3)]


@pytest.mark.parametrize("outside", [0, 1])
def test_what_lies_outside_the_image_must_be_empty(outside: int, tmp_path: Path) -> None:
    scan(tmp_path / "images" / "a.nrrd")
    part = np.ones((1, 2, 2, 2))
    part[0, 0] = outside
    segmentation(tmp_path / "labels" / "a.seg.nrrd", part, [("liver", 1, 0)], first=(-1, 0, 0))
    (case,) = find_training_cases(tmp_path).cases
    if outside:
        with pytest.raises(GeometryError, match="partly outside") as caught:
            read_case(case)
        assert caught.value.found == "4 labelled voxels outside it"
    else:
        assert np.argwhere(read_case(case)[1].data[0])[:, 2].tolist() == [0] * 4


def test_a_segmentation_between_the_voxels_is_refused(tmp_path: Path) -> None:
    scan(tmp_path / "images" / "a.nrrd")
    segmentation(tmp_path / "labels" / "a.seg.nrrd", np.ones((1, 2, 2, 2)), [("liver", 1, 0)], first=(0.5, 0, 0))
    with pytest.raises(GeometryError, match="another shape"):
        read_case(find_training_cases(tmp_path).cases[0])


@pytest.mark.parametrize(
    ("segments", "problem"),
    [
        ([], "no segments"),
        ([("liver", "one", 0)], "no segments"),
        ([("liver", -1, 0)], "no segments"),
        ([("liver", 1, 10**9)], "no segments"),
        ([("liver", 1, 3)], "not where the header says"),
    ],
)
def test_headers_that_are_broken(segments: Segments, problem: str, tmp_path: Path) -> None:
    dataset(tmp_path, (whole(v1=(1, 2, 3)), segments))
    with pytest.raises(LabelError, match=problem):
        read_case(find_training_cases(tmp_path).cases[0])


def test_older_slicer_has_a_layer_a_segment_and_no_values(tmp_path: Path) -> None:
    layers = np.zeros((2, *SHAPE))
    layers[0, 0, 0, 0] = layers[1, 1, 0, 0] = 1
    dataset(tmp_path, (layers, [("liver", 1, 0), ("spleen", 1, 1)]))
    path = tmp_path / "labels" / "0.seg.nrrd"
    lines = [line for line in path.read_bytes().split(b"\n") if b"_LabelValue" not in line and b"_Layer" not in line]
    path.write_bytes(b"\n".join(lines))
    assert read_case(find_training_cases(tmp_path).cases[0])[1].data[0, 0, 0].tolist() == [1, 2, 0, 0, 0]


def test_labels_with_and_without_names_need_a_dataset_json(tmp_path: Path) -> None:
    dataset(tmp_path, (whole(v1=(1, 2, 3)), [("liver", 1, 0)]))
    scan(tmp_path / "images" / "b.nrrd")
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "images" / "b.nrrd")) > 50, str(tmp_path / "labels" / "b.nrrd"))
    with pytest.raises(LabelError, match="names for their values"):
        find_training_cases(tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1}}))
    assert len(check_training(find_training_cases(tmp_path)).cases) == 2


def test_cropped_segmentations_are_compared_with_whole_masks_on_either_side(tmp_path: Path) -> None:
    image = sitk.ReadImage(str(scan(tmp_path / "a.nrrd")))
    mask = np.zeros(SHAPE[::-1], np.uint8)
    mask[4:6, 3:5, 2:4] = 1
    mask[4, 3, 2] = 0
    stored = sitk.GetImageFromArray(mask)
    stored.CopyInformation(image)
    (tmp_path / "masks").mkdir()
    sitk.WriteImage(stored, str(tmp_path / "masks" / "a.nrrd"))
    (tmp_path / "masks" / "dataset.json").write_text(json.dumps({"labels": {"liver": 1}}))
    segmentation(tmp_path / "seg" / "a.seg.nrrd", np.ones((1, 2, 2, 2)), [("liver", 1, 0)], first=(2, 3, 4))
    for prediction, label in (("masks", "seg"), ("seg", "masks")):
        (case,) = evaluate(tmp_path / prediction, tmp_path / label).cases
        assert case.classes["liver"].dice == pytest.approx(2 * 7 / 15)


def test_a_segmentation_by_itself(tmp_path: Path) -> None:
    path = segmentation(tmp_path / "a.seg.nrrd", whole(v3=(1, 2, 3)), [("liver", 3, 0)])
    found, names = find_labels(path)
    assert (list(found), names) == (["a"], {1: "liver"})
    assert read_label(found["a"]).data.sum() == 1


def test_nifti_scans_go_with_segmentations(tmp_path: Path) -> None:
    dataset(tmp_path, (whole(v1=(1, 2, 3)), [("liver", 1, 0)]))
    image = sitk.ReadImage(str(tmp_path / "images" / "0.nrrd"))
    (tmp_path / "images" / "0.nrrd").unlink()
    sitk.WriteImage(image, str(tmp_path / "images" / "0.nii.gz"))
    assert nib.load(tmp_path / "images" / "0.nii.gz").shape == SHAPE
    assert read_case(find_training_cases(tmp_path).cases[0])[1].data[0, 3, 2, 1] == 1
