"""The embedded sample: layout, geometry, labels, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from masg_sam.data import sample
from masg_sam.data.layouts import find_images, find_labels, find_training_cases
from masg_sam.data.sample import CASE, CLASSES, write_sample
from masg_sam.errors import InputError, OutputError

AFFINE = np.array([[2.0, 0, 0, -10], [0, 2, 0, -20], [0, 0, 2, -30], [0, 0, 0, 1]])


@pytest.fixture
def small_template(monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    """A head of 10 x 12 x 9 voxels whose brain lies in slices 2 to 6; voxel values tell where they are from."""
    image = np.arange(10 * 12 * 9, dtype=np.int16).reshape(10, 12, 9)
    label = np.zeros(image.shape, np.uint8)
    label[3:7, 3:9, 2:7] = 1
    label[4:6, 4:8, 3:6] = 2
    monkeypatch.setattr(sample, "_template", lambda: (image, label, AFFINE))
    return image, label


@pytest.fixture(scope="module")
def template() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What nilearn ships."""
    pytest.importorskip("nilearn", reason="the sample needs nilearn")
    return sample._template()


def test_layout_is_found_by_the_same_code_as_any_dataset(small_template: object, tmp_path: Path) -> None:
    write_sample(tmp_path / "data", 3)
    dataset = find_training_cases(tmp_path / "data")
    assert (dataset.layout, len(dataset.cases), dataset.channel_names) == ("nnunet", 3, ("MRI",))
    assert dataset.class_names == {1: "grey matter", 2: "white matter"}
    assert [case.name for case in find_images(tmp_path / "data")] == [CASE]
    assert list(find_labels(tmp_path / "data")[0]) == [CASE]
    facts = json.loads((tmp_path / "data" / "dataset.json").read_text())
    assert facts["numTraining"] == 3 and facts["labels"] == CLASSES and facts["file_ending"] == ".nii.gz"


def test_slices_lie_where_they_were_cut(small_template: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    write_sample(tmp_path, 3)
    image, label = small_template
    found = sorted((tmp_path / "imagesTr").iterdir())
    assert [path.name for path in found] == [f"{CASE}_slice{i:03d}_0000.nii.gz" for i in (3, 4, 5)]
    for path, index in zip(found, (3, 4, 5), strict=True):
        cut = nib.load(path)
        mask = nib.load(tmp_path / "labelsTr" / path.name.replace("_0000", ""))
        np.testing.assert_array_equal(np.asarray(cut.dataobj)[..., 0], image[..., index])
        np.testing.assert_array_equal(np.asarray(mask.dataobj)[..., 0], label[..., index])
        # voxel (1, 2, 0) of the slice is where voxel (1, 2, index) of the head is
        np.testing.assert_allclose(cut.affine @ [1, 2, 0, 1], AFFINE @ [1, 2, index, 1])
        np.testing.assert_allclose(mask.affine, cut.affine)
    np.testing.assert_allclose(nib.load(tmp_path / "imagesTs" / f"{CASE}_0000.nii.gz").affine, AFFINE)


@pytest.mark.parametrize(("wanted", "written"), [(1, 1), (3, 3), (40, 5)])
def test_number_of_slices_is_what_was_asked_for_or_what_there_is(
    small_template: object, tmp_path: Path, wanted: int, written: int
) -> None:
    write_sample(tmp_path, wanted)
    assert len(list((tmp_path / "labelsTr").iterdir())) == written
    assert json.loads((tmp_path / "dataset.json").read_text())["numTraining"] == written


def test_a_folder_in_use_is_refused_and_left_alone(small_template: object, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="not an empty folder"):
        write_sample(tmp_path, 2)
    assert [item.name for item in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(OutputError):
        write_sample(tmp_path / "thesis.txt", 2)


def test_an_interrupted_writing_leaves_no_sample_and_is_begun_again(
    small_template: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sample._write

    def fail_at_the_volume(out: Path, part: str, *rest: object) -> None:
        if part == "Ts":
            raise KeyboardInterrupt
        real(out, part, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(sample, "_write", fail_at_the_volume)
    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path, 2)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(sample, "_write", real)
    write_sample(tmp_path, 2)
    assert {item.name for item in tmp_path.iterdir()} == {
        "dataset.json", "imagesTr", "imagesTs", "labelsTr", "labelsTs"
    }  # fmt: skip


def test_a_place_that_cannot_be_written_to(small_template: object, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file/data", "x" * 300):
        with pytest.raises(OutputError, match="cannot be written") as caught:
            write_sample(tmp_path / name, 2)
        assert caught.value.path == tmp_path / name and caught.value.found and caught.value.mend
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_nothing(small_template: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sample._write

    def fail_at_the_volume(out: Path, part: str, *rest: object) -> None:
        if part == "Ts":
            raise OSError(28, "No space left on device")
        real(out, part, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(sample, "_write", fail_at_the_volume)
    with pytest.raises(OutputError, match=r"cannot be written(.|\n)*No space left"):
        write_sample(tmp_path, 2)
    assert list(tmp_path.iterdir()) == []


def test_without_nilearn_the_advice_is_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nilearn.datasets", None)
    with pytest.raises(InputError) as caught:
        write_sample(tmp_path / "data", 2)
    assert "'.[sample]'" in str(caught.value) and caught.value.exit_code == 2
    assert not (tmp_path / "data").exists()


def test_template_is_a_head_of_plausible_size(template: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    image, label, affine = template
    assert image.shape == label.shape == (99, 117, 95)
    assert image.dtype == np.int16 and 900 <= image.max() <= 1000 and image.min() == 0
    np.testing.assert_allclose(np.diag(affine), [2, 2, 2, 1])
    millilitres = np.bincount(label.ravel(), minlength=3)[1:] * 8 / 1000
    assert 500 < millilitres[0] < 1200 and 350 < millilitres[1] < 800


def test_template_tissues_differ_as_in_t1(template: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    image, label, _ = template
    background, grey, white = (image[label == k].mean() for k in (0, 1, 2))
    assert background < grey < white
