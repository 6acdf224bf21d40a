"""DICOM among the layouts: what is a case, what it is called, and that its label fits."""

from __future__ import annotations

import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_files import OBLIQUE, enhanced, picture, save, slices, voxels, write_series

from masg_sam.data.check import read_case
from masg_sam.data.io import read_image
from masg_sam.data.layouts import Case, find_images, find_training_cases
from masg_sam.errors import GeometryError, LayoutError

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def series(folder: Path, seed: int = 0) -> Path:
    return write_series(folder, slices(voxels(seed=seed), OBLIQUE))


def packed(path: Path, seed: int = 0) -> Path:
    folder = series(path.parent / ".parts", seed)
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    return path


def found(cases: tuple[Case, ...]) -> dict[str, list[str]]:
    return {case.name: [path.name for path in case.images] for case in cases}


def label(path: Path, image: Path) -> None:
    """NIfTI on the series' own grid, in another axis order than the slices have."""
    grid = read_image(image).geometry
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros(grid.shape, np.uint8)
    values[2:5, 1:4, 1:3] = 1
    stored = nib.Nifti1Image(values, LPS_TO_RAS @ grid.header.affine)
    nib.save(stored.as_reoriented(np.array([[1, -1], [2, 1], [0, -1]])), path)


# --- images to segment -----------------------------------------------------------------------------------------


def test_a_series_folder_is_one_case_named_by_the_folder(tmp_path: Path) -> None:
    assert found(find_images(series(tmp_path / "anna"))) == {"anna": ["anna"]}
    series(tmp_path / "bert" / "deeper")
    assert found(find_images(tmp_path / "bert")) == {"deeper": ["deeper"]}


def test_folders_archives_and_other_files_each_are_a_case(tmp_path: Path) -> None:
    series(tmp_path / "p2")
    series(tmp_path / "p10" / "study" / "series")
    packed(tmp_path / "p3.zip")
    save(enhanced(voxels((2, 3, 4)), (1, 1), SeriesInstanceUID="5"), tmp_path / "p4.dcm")
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), np.uint8), np.eye(4)), tmp_path / "p5.nii.gz")
    (tmp_path / "README").write_text("no image")
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "a.pdf").write_bytes(b"%PDF")
    cases = find_images(tmp_path)
    assert found(cases) == {name.split(".")[0]: [name] for name in ("p2", "p3.zip", "p4.dcm", "p5.nii.gz", "p10")}
    assert all(read_image(case.images[0]).data.size for case in cases)


def test_given_paths_and_a_choice(tmp_path: Path) -> None:
    series(tmp_path / "s" / "a")
    write_series(tmp_path / "s" / "b", slices(voxels((2, 6, 7)), SeriesInstanceUID="1.2.99"))
    cases = find_images([tmp_path / "s#2", packed(tmp_path / "z.zip")])
    assert found(cases) == {"s_2": ["s#2"], "z": ["z.zip"]}
    assert read_image(cases[0].images[0]).shape[0] == 2
    with pytest.raises(LayoutError, match="no such file"):
        find_images(tmp_path / "nowhere#2")


def test_pictures_in_a_folder_are_cases_and_slices_are_not(tmp_path: Path) -> None:
    """One series of pictures, too: two views of one breast are no stack."""
    for name in ("a.dcm", "b.dcm", "c"):
        save(picture(np.zeros((3, 4), np.uint8), SeriesInstanceUID="1.2.3"), tmp_path / "x" / name)
    assert list(found(find_images(tmp_path / "x"))) == ["a", "b", "c"]
    series(tmp_path / "y")
    write_series(tmp_path / "y" / "scout", slices(voxels((1, 3, 4)), SeriesInstanceUID="1.2.4"))
    assert list(found(find_images(tmp_path / "y"))) == ["y"]


def test_several_channels_as_folders(tmp_path: Path) -> None:
    for name in ("p_0000", "p_0001", "q_0000", "q_0001"):
        series(tmp_path / name)
    assert found(find_images(tmp_path)) == {"p": ["p_0000", "p_0001"], "q": ["q_0000", "q_0001"]}


# --- training --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "labels"), [("imagesTr", "labelsTr"), ("images", "masks"), ("train/images", "train/labels")]
)
def test_training_cases(tmp_path: Path, images: str, labels: str) -> None:
    series(tmp_path / images / "anna.b", 1)
    packed(tmp_path / images / "bert.zip", 2)
    for name, image in (("anna.b", "anna.b"), ("bert", "bert.zip")):
        label(tmp_path / labels / f"{name}.nii.gz", tmp_path / images / image)
    dataset = find_training_cases(tmp_path)
    assert found(dataset.cases) == {"anna.b": ["anna.b"], "bert": ["bert.zip"]}
    for case in dataset.cases:
        image, mask = read_case(case)
        stored = image.geometry.header.orientation.to_file(mask.data[0])
        assert stored[2:5, 1:4, 1:3].all() and stored.sum() == 18


def test_channels_of_a_training_case(tmp_path: Path) -> None:
    for channel in ("0000", "0001"):
        series(tmp_path / "imagesTr" / f"anna_{channel}", int(channel))
    label(tmp_path / "labelsTr" / "anna.nii.gz", tmp_path / "imagesTr" / "anna_0000")
    (case,) = find_training_cases(tmp_path).cases
    image, _ = read_case(case)
    assert image.data.shape == (2, *image.shape) and not np.array_equal(image.data[0], image.data[1])


def test_a_label_beside_its_series_is_refused(tmp_path: Path) -> None:
    series(tmp_path / "imagesTr" / "anna")
    values = np.ones((7, 6, 5), np.uint8)
    affine = LPS_TO_RAS @ read_image(tmp_path / "imagesTr" / "anna").geometry.header.affine
    affine[0, 3] += 0.2
    (tmp_path / "labelsTr").mkdir()
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "labelsTr" / "anna.nii.gz")
    with pytest.raises(GeometryError, match="lies elsewhere than anna"):
        read_case(find_training_cases(tmp_path).cases[0])


def test_decathlon_may_list_folders(tmp_path: Path) -> None:
    series(tmp_path / "imagesTr" / "anna")
    label(tmp_path / "labelsTr" / "anna.nii.gz", tmp_path / "imagesTr" / "anna")
    (tmp_path / "dataset.json").write_text(
        '{"labels": {"1": "liver"}, "training": [{"image": "./imagesTr/anna", "label": "./labelsTr/anna.nii.gz"}]}'
    )
    assert found(find_training_cases(tmp_path).cases) == {"anna": ["anna"]}
