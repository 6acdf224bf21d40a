"""From layout to layout: the same cases, voxels and names; what each layout asks for; nothing half-written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import OBLIQUE, slices, write_series
from PIL import Image
from support import blobs, write_scan

from masg_sam.data.check import examine_folder, read_case
from masg_sam.data.convert import convert
from masg_sam.data.io import read_image, write_label
from masg_sam.data.layouts import find_held_out, find_images, find_training_cases
from masg_sam.errors import ConfigError, DatasetError, LabelError, LayoutError, OutputError

AFFINE = np.array([[-1.0, 0, 0, 5], [0, 1, 0, -7], [0, 0, 2, 9], [0, 0, 0, 1]])


def dataset(root: Path, channels: int = 1, values: tuple[int, ...] = (1, 2), **facts: Any) -> Path:
    """nnU-Net raw with two training cases, and one of test and validation each."""
    for part, names in (("Tr", ("liver_10", "liver_2")), ("Ts", ("liver_3",)), ("Val", ("liver_4",))):
        for name in names:
            seed = int(name[6:])
            image, label = blobs(seed, len(values), (12, 10, 6))
            for i in range(channels):
                write_scan(root / f"images{part}" / f"{name}_{i:04d}.nii.gz", image + i, AFFINE)
            write_scan(root / f"labels{part}" / f"{name}.nii.gz", np.array([0, *values], np.uint8)[label], AFFINE)
    labels = {"background": 0} | {f"organ {k}": value for k, value in enumerate(values, start=1)}
    names = {str(i): name for i, name in enumerate(("T1w", "FLAIR")[:channels])}
    facts = {"channel_names": names, "labels": labels, "numTraining": 2, "file_ending": ".nii.gz"} | facts
    (root / "dataset.json").write_text(json.dumps(facts), encoding="utf-8")
    return root


def content(root: Path) -> dict[str, Any]:
    """Everything that a conversion must keep."""
    found = find_training_cases(root)
    parts = {"training": found.cases} | find_held_out(found)
    names = {name: value for value, name in found.class_names.items()}
    read = {part: {case.name: read_case(case) for case in cases} for part, cases in parts.items()}
    voxels = {
        (part, name): (image.data.tobytes(), label.data.astype(int).tobytes(), image.affine.round(6).tolist())
        for part, cases in read.items()
        for name, (image, label) in cases.items()
        if image.affine is not None
    }
    return {"classes": names, "channels": found.channel_names, "voxels": voxels}


def listing(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


# --- round trips -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("values", [(1, 2), (2, 7)])
def test_a_round_trip_keeps_everything(channels: int, values: tuple[int, ...], tmp_path: Path) -> None:
    first = dataset(tmp_path / "first", channels, values)
    convert(first, tmp_path / "msd", "msd")
    convert(tmp_path / "msd", tmp_path / "folders", "folders")
    before = content(first)
    assert len(before["voxels"]) == 4
    for name, layout in (("msd", "msd"), ("folders", "folders")):
        assert find_training_cases(tmp_path / name).layout == layout
        assert content(tmp_path / name) == before
    convert(tmp_path / "folders", tmp_path / "last", "nnunet")
    after = content(tmp_path / "last")
    assert after["classes"] == {"organ 1": 1, "organ 2": 2}  # nnU-Net counts without gaps
    if values == (1, 2):
        assert after == before and listing(tmp_path / "last") == listing(first)
    assert after["voxels"].keys() == before["voxels"].keys() and after["channels"] == before["channels"]


def packed(root: Path) -> Path:
    """Decathlon's own layout of several channels: one file of four dimensions a case."""
    convert(dataset(root.with_name("numbered"), channels=2), root, "msd")
    for path in sorted(root.glob("images*/*_0000.nii.gz")):
        second = path.with_name(path.name.replace("_0000", "_0001"))
        both = [nib.load(one) for one in (path, second)]
        voxels = np.stack([np.asarray(one.dataobj) for one in both], -1)
        nib.save(nib.Nifti1Image(voxels, both[0].affine), path.with_name(path.name.replace("_0000", "")))
        for one in (path, second):
            one.unlink()
    return root


def test_channels_in_a_fourth_dimension_become_files(tmp_path: Path) -> None:
    first = packed(tmp_path / "packed")
    assert "imagesTs/liver_3.nii.gz" in listing(first) and not examine_folder(first).findings
    assert find_training_cases(first).cases[0].images == (first / "imagesTr/liver_2.nii.gz",)
    convert(first, tmp_path / "last", "nnunet")
    assert listing(tmp_path / "last") == listing(tmp_path / "numbered")
    assert content(tmp_path / "last") == content(tmp_path / "numbered")
    facts = json.loads((first / "dataset.json").read_text())
    (first / "dataset.json").write_text(json.dumps(facts | {"modality": {"0": "MRI"}}), encoding="utf-8")
    with pytest.raises(DatasetError, match="more than three dimensions"):
        convert(first, tmp_path / "none", "nnunet")


def test_bids_and_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = dataset(tmp_path / "first")
    convert(first, tmp_path / "bids", "bids")
    assert listing(tmp_path / "bids") == [
        "README",
        "dataset_description.json",
        "derivatives/labels/dataset_description.json",
        "derivatives/labels/dseg.tsv",
        "derivatives/labels/sub-liver10/anat/sub-liver10_dseg.nii.gz",
        "derivatives/labels/sub-liver2/anat/sub-liver2_dseg.nii.gz",
        "sub-liver10/anat/sub-liver10_T1w.nii.gz",
        "sub-liver2/anat/sub-liver2_T1w.nii.gz",
    ]
    assert "bids has no place for test cases: 1 left out" in caplog.text
    table = (tmp_path / "bids" / "derivatives" / "labels" / "dseg.tsv").read_text()
    assert table == "index\tname\n0\tbackground\n1\torgan 1\n2\torgan 2\n"
    raw, made = (
        json.loads((tmp_path / "bids" / place / "dataset_description.json").read_text())
        for place in ("", "derivatives/labels")
    )
    assert (raw["Name"], raw["DatasetType"], made["DatasetType"]) == ("first", "raw", "derivative")
    assert raw["BIDSVersion"] and made["GeneratedBy"][0]["Name"] == "masg-sam"
    convert(tmp_path / "bids", tmp_path / "last", "folders")
    before, after = content(first), content(tmp_path / "last")
    assert (after["classes"], after["channels"]) == (before["classes"], before["channels"])
    assert after["voxels"]["training", "sub-liver2"] == before["voxels"]["training", "liver_2"]
    convert(tmp_path / "last", tmp_path / "again", "bids")
    assert listing(tmp_path / "again") == listing(tmp_path / "bids")


# --- nnU-Net ---------------------------------------------------------------------------------------------------


def like_nnunet_reads_it(root: Path) -> dict[str, Any]:
    """What nnU-Net v2 asks of a dataset, by its documentation and its own check."""
    facts = json.loads((root / "dataset.json").read_text())
    ending = facts["file_ending"]
    assert facts.keys() >= {"channel_names", "labels", "numTraining", "file_ending"}
    values = list(facts["labels"].values())
    assert values == list(range(len(values))) and next(iter(facts["labels"])) == "background"
    cases = sorted({path.name[: -len(ending) - 5] for path in (root / "imagesTr").iterdir()})
    assert len(cases) == facts["numTraining"]
    assert {path.name for path in (root / "labelsTr").iterdir()} == {f"{case}{ending}" for case in cases}
    for case in cases:
        label = sitk.ReadImage(str(root / "labelsTr" / f"{case}{ending}"))
        assert set(np.unique(sitk.GetArrayFromImage(label))) <= set(values)
        images = [root / "imagesTr" / f"{case}_{int(i):04d}{ending}" for i in facts["channel_names"]]
        for path in images if ending != ".png" else images[:1]:
            image = sitk.ReadImage(str(path))
            assert image.GetSize() == label.GetSize() and image.GetDimension() == label.GetDimension()
            assert np.allclose(image.GetSpacing(), label.GetSpacing()) and np.allclose(
                image.GetOrigin(), label.GetOrigin()
            )
            assert np.allclose(image.GetDirection(), label.GetDirection())
    return facts


def test_values_are_counted_without_gaps_and_ignore_comes_last(tmp_path: Path) -> None:
    labels = {"background": 0, "ignore": 1, "liver": 2, "spleen": 7}
    data = dataset(tmp_path / "a", values=(2, 7), labels=labels)
    sparse = np.asarray(nib.load(data / "labelsTr" / "liver_2.nii.gz").dataobj).copy()
    sparse[:, :, 0] = 1
    write_scan(data / "labelsTr" / "liver_2.nii.gz", sparse, AFFINE)
    convert(data, tmp_path / "b", "nnunet")
    facts = like_nnunet_reads_it(tmp_path / "b")
    assert facts["labels"] == {"background": 0, "liver": 1, "spleen": 2, "ignore": 3}
    old, new = (nib.load(tmp_path / name / "labelsTr" / "liver_2.nii.gz") for name in "ab")
    before, after = (np.asarray(image.dataobj) for image in (old, new))
    assert np.array_equal(after, np.array([0, 3, 1, 0, 0, 0, 0, 2])[before]) and np.array_equal(old.affine, new.affine)


def test_formats_that_are_all_alike_stay(tmp_path: Path) -> None:
    nrrd(tmp_path / "a", ".nrrd", ".nrrd")
    convert(tmp_path / "a", tmp_path / "b", "nnunet")
    assert like_nnunet_reads_it(tmp_path / "b")["file_ending"] == ".nrrd"
    assert (tmp_path / "b" / "imagesTr" / "x_0000.nrrd").read_bytes() == (
        tmp_path / "a" / "images" / "x.nrrd"
    ).read_bytes()


@pytest.mark.parametrize("endings", [(".nrrd", ".mha"), (".mhd", ".mhd"), (".nrrd", ".nii.gz")])
def test_other_formats_become_nifti_with_the_label_on_the_image(endings: tuple[str, str], tmp_path: Path) -> None:
    nrrd(tmp_path / "a", *endings)
    convert(tmp_path / "a", tmp_path / "b", "nnunet")
    facts = like_nnunet_reads_it(tmp_path / "b")
    assert (facts["file_ending"], facts["channel_names"], facts["labels"]) == (
        ".nii.gz", {"0": "MRI"}, {"background": 0, "foreground": 1}
    )  # fmt: skip
    old, new = (read_case(find_training_cases(tmp_path / name).cases[0]) for name in "ab")
    assert np.array_equal(old[0].data, new[0].data) and np.array_equal(old[1].data, new[1].data)


def nrrd(root: Path, image_ending: str, label_ending: str) -> None:
    """One case whose axes are turned, without dataset.json; with a turned label in NIfTI."""
    voxels, label = blobs(0, 1, (12, 10, 6))
    for folder, data, ending in (("images", voxels, image_ending), ("labels", label, label_ending)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        image = sitk.GetImageFromArray(data)
        image.SetDirection((0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
        image.SetSpacing((1.0, 2.0, 3.0))
        if ending == ".nii.gz":
            image = sitk.DICOMOrient(image, "RAS")
        sitk.WriteImage(image, str(root / folder / f"x{ending}"))


@pytest.mark.parametrize("step", [None, (0.4, -1.3, 1.8)], ids=["straight", "tilted"])
def test_dicom_becomes_nifti_and_its_label_comes_along(step: tuple[float, ...] | None, tmp_path: Path) -> None:
    voxels, label = (array.transpose(2, 1, 0) for array in blobs(0))
    files = slices(voxels, OBLIQUE, step, spacing=(1.0, 1.0))
    write_series(tmp_path / "a" / "images" / "x", files)
    ends = np.array([file.ImagePositionPatient for file in files], float)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([OBLIQUE[:3], OBLIQUE[3:], (ends[-1] - ends[0]) / (len(ends) - 1)], axis=1)
    affine[:3, 3] = ends[0]
    write_scan(tmp_path / "a" / "labels" / "x.nii.gz", label.transpose(2, 1, 0), np.diag([-1, -1, 1, 1]) @ affine)
    convert(tmp_path / "a", tmp_path / "b", "nnunet")
    assert like_nnunet_reads_it(tmp_path / "b")["file_ending"] == ".nii.gz"
    image, mask = (
        np.asarray(nib.load(tmp_path / "b" / name).dataobj) for name in ("imagesTr/x_0000.nii.gz", "labelsTr/x.nii.gz")
    )
    bright = image[mask == 1].mean() - image[mask == 0].mean()
    assert bright == pytest.approx(100, abs=15 if step else 3)  # the ball is 100 brighter, and still under its label
    assert (mask == 1).sum() == pytest.approx((label == 1).sum(), rel=0.05 if step else 0)


def test_channels_in_one_file_are_taken_apart(tmp_path: Path) -> None:
    voxels, label = blobs(0, 1, (12, 10, 6))
    for folder, image in (
        ("images", sitk.GetImageFromArray(np.stack([voxels, voxels + 1], -1), isVector=True)),
        ("labels", sitk.GetImageFromArray(label)),
    ):
        (tmp_path / "a" / folder).mkdir(parents=True)
        sitk.WriteImage(image, str(tmp_path / "a" / folder / "x.nrrd"))
    convert(tmp_path / "a", tmp_path / "b", "nnunet")
    assert len(like_nnunet_reads_it(tmp_path / "b")["channel_names"]) == 2
    convert(tmp_path / "a", tmp_path / "c", "folders")
    assert listing(tmp_path / "c") == ["dataset.json", "images/x.nrrd", "labels/x.nrrd"]


def test_a_channel_in_two_files_is_written_anew_with_the_others(tmp_path: Path) -> None:
    voxels, label = blobs(0, 1, (12, 10, 6))
    for name, data in (("images/x_0000.mhd", voxels), ("images/x_0001.nrrd", voxels + 1), ("labels/x.mha", label)):
        (tmp_path / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(sitk.GetImageFromArray(data), str(tmp_path / "a" / name))
    convert(tmp_path / "a", tmp_path / "b", "folders")
    assert listing(tmp_path / "b")[1:] == ["images/x_0000.nii.gz", "images/x_0001.nii.gz", "labels/x.mha"]
    assert content(tmp_path / "b")["voxels"] == content(tmp_path / "a")["voxels"]


def pictures(root: Path, ending: str = ".jpg") -> Path:
    """Two photographs with JPEG masks."""
    rng = np.random.default_rng(0)
    for name in "ab":
        mask = np.zeros((40, 50), np.uint8)
        mask[10:30, 15:35] = 255
        photo = (rng.normal(90, 20, (40, 50, 3)) + mask[..., None] / 3).clip(0, 255).astype(np.uint8)
        for folder, pixels in (("images", photo), ("masks", mask)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / folder / f"{name}{ending}", quality=80)
    return root


def test_photographs_become_png_and_grey_masks_classes(tmp_path: Path) -> None:
    convert(pictures(tmp_path / "a"), tmp_path / "b", "nnunet")
    facts = like_nnunet_reads_it(tmp_path / "b")
    assert (facts["file_ending"], facts["labels"]) == (".png", {"background": 0, "foreground": 1})
    assert list(facts["channel_names"].values()) == ["red", "green", "blue"]
    old, new = Image.open(tmp_path / "a" / "images" / "a.jpg"), Image.open(tmp_path / "b" / "imagesTr" / "a_0000.png")
    assert np.array_equal(np.asarray(old), np.asarray(new))
    mask = np.asarray(Image.open(tmp_path / "b" / "labelsTr" / "a.png"))
    assert set(np.unique(mask)) == {0, 1} and mask.sum() == pytest.approx(400, rel=0.02)
    check = examine_folder(tmp_path / "b")
    assert check.findings == [] and check.label_map.values == (1,)


def test_folders_keep_photographs_and_clear_the_masks(tmp_path: Path) -> None:
    convert(pictures(tmp_path / "a"), tmp_path / "b", "folders")
    assert listing(tmp_path / "b") == ["dataset.json", "images/a.jpg", "images/b.jpg", "labels/a.png", "labels/b.png"]
    assert find_training_cases(tmp_path / "b").class_names == {1: "foreground"}
    assert examine_folder(tmp_path / "b").findings == []


# --- the rest --------------------------------------------------------------------------------------------------


def test_decathlon_has_what_its_own_have(tmp_path: Path) -> None:
    convert(dataset(tmp_path / "a"), tmp_path / "b", "msd")
    facts = json.loads((tmp_path / "b" / "dataset.json").read_text())
    assert facts["labels"] == {"0": "background", "1": "organ 1", "2": "organ 2"}
    assert (facts["modality"], facts["numTraining"], facts["numTest"]) == ({"0": "T1w"}, 2, 1)
    assert facts["training"][0] == {"image": "./imagesTr/liver_2.nii.gz", "label": "./labelsTr/liver_2.nii.gz"}
    assert facts["test"] == ["./imagesTs/liver_3.nii.gz"]
    assert all((tmp_path / "b" / pair[key]).is_file() for pair in facts["training"] for key in pair)


def test_a_list_of_scattered_files_becomes_a_dataset(tmp_path: Path) -> None:
    first = dataset(tmp_path / "first")
    lines = [f"{i},first/imagesTr/liver_{i}_0000.nii.gz,first/labelsTr/liver_{i}.nii.gz" for i in (2, 10)]
    (tmp_path / "list.csv").write_text("\n".join(["case,image,label", *lines]))
    convert(tmp_path / "list.csv", tmp_path / "out", "folders")
    before, after = content(first)["voxels"], content(tmp_path / "out")["voxels"]
    assert after == {("training", name): before["training", f"liver_{name}"] for name in ("2", "10")}


@pytest.mark.parametrize("link", [False, True])
def test_links_share_the_file_and_copies_do_not(link: bool, tmp_path: Path) -> None:
    convert(dataset(tmp_path / "a"), tmp_path / "b", "folders", link)
    old, new = tmp_path / "a" / "imagesTr" / "liver_2_0000.nii.gz", tmp_path / "b" / "images" / "liver_2.nii.gz"
    assert old.read_bytes() == new.read_bytes() and os.path.samefile(old, new) == link
    assert [case.name for case in find_images(tmp_path / "b")] == ["liver_3"]


# --- refused ---------------------------------------------------------------------------------------------------


def spoil_labels(root: Path) -> None:
    for path in (root / "labelsTr").iterdir():
        path.write_bytes(b"x")


def spoil_test_label(root: Path) -> None:
    write_scan(root / "labelsTs" / "liver_3.nii.gz", np.full((12, 10, 6), 9, np.uint8), AFFINE)


def double_name(root: Path) -> None:
    facts = {"channel_names": {"0": "T1w"}, "labels": {"0": "background", "1": "organ", "2": "organ"}}
    (root / "dataset.json").write_text(json.dumps(facts))


def named_background(root: Path) -> None:
    facts = {"channel_names": {"0": "T1w"}, "labels": {"organ": 1, "background": 2}}
    (root / "dataset.json").write_text(json.dumps(facts))


def renamed(name: str) -> Callable[[Path], None]:
    """One of the cases with another name."""

    def spoil(root: Path) -> None:
        for folder, ending in (("imagesTr", "_0000.nii.gz"), ("labelsTr", ".nii.gz")):
            (root / folder / f"liver_2{ending}").rename(root / folder / f"{name}{ending}")

    return spoil


@pytest.mark.parametrize(
    ("spoil", "to", "error", "problem"),
    [
        (lambda root: None, "nifti", ConfigError, "no such layout"),
        (spoil_labels, "folders", DatasetError, "2 errors in the dataset"),
        (spoil_test_label, "folders", LabelError, "name no class"),
        (double_name, "nnunet", LayoutError, "two classes of one name"),
        (named_background, "nnunet", LayoutError, "0 is the background, and no other value is"),
        (renamed("liver_1_0"), "bids", LayoutError, "without their punctuation"),
        (renamed("liver10患者"), "bids", LayoutError, "without their punctuation"),
        (renamed("患者"), "bids", LayoutError, "no letter or digit(.|\n)*患者(.|\n)*rename"),
        (lambda root: dataset(root, channels=2), "bids", LayoutError, "no single contrast"),
        (lambda root: dataset(root, channel_names={"0": "CT"}), "bids", LayoutError, "no single contrast"),
    ],
)
def test_what_cannot_be_converted_leaves_nothing(
    spoil: Callable[[Path], Any], to: str, error: type[Exception], problem: str, tmp_path: Path
) -> None:
    spoil(dataset(tmp_path / "a"))
    with pytest.raises(error, match=problem):
        convert(tmp_path / "a", tmp_path / "b", to)
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("to", ["msd", "bids"])
def test_pictures_have_no_place_in_layouts_of_scans(to: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="pictures have no place") as caught:
        convert(pictures(tmp_path / "a"), tmp_path / "b", to)
    assert caught.value.mend and not (tmp_path / "b").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    first = dataset(tmp_path / "a")
    with pytest.raises(OutputError, match="not an empty folder"):
        convert(first, first, "msd")
    assert len(listing(first)) == 9


def test_channels_of_one_file_become_files_of_plain_folders(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for name in ("a", "b"):
        voxels, label = blobs(ord(name), 1, (12, 10, 6))
        (root / "images").mkdir(parents=True, exist_ok=True)
        vectors = sitk.Compose([sitk.GetImageFromArray(voxels + i) for i in range(2)])
        sitk.WriteImage(vectors, root / "images" / f"{name}.mhd")
        (root / "labels").mkdir(exist_ok=True)
        sitk.WriteImage(sitk.GetImageFromArray(label), root / "labels" / f"{name}.nrrd")
    convert(root, tmp_path / "out", "folders")
    found = find_training_cases(tmp_path / "out").cases
    assert [path.name for case in found for path in case.images] == [f"{n}_000{i}.nii.gz" for n in "ab" for i in (0, 1)]
    image, _ = read_case(found[0])
    before, _ = read_case(find_training_cases(root).cases[0])
    np.testing.assert_array_equal(image.data, before.data)


def test_plain_folders_hold_no_dicom(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number, name in enumerate("ab"):
        write_series(
            root / "images" / name, slices(np.random.default_rng(number).integers(0, 900, (5, 6, 7), np.int16))
        )
        image = read_image(root / "images" / name)
        write_label(np.ones(image.shape, np.uint8), image, root / "labels" / f"{name}.seg.dcm", {1: "liver"})
    convert(root, tmp_path / "out", "folders")
    assert [name for name in listing(tmp_path / "out") if name != "dataset.json"] == [
        f"{folder}/{name}.nii.gz" for folder in ("images", "labels") for name in "ab"
    ]


def test_pictures_that_store_something_else_than_values_are_written_anew(tmp_path: Path) -> None:
    """Transparency, labels with a palette, and labels stored as colours; plain ones stay byte for byte."""
    rng = np.random.default_rng(0)
    label = np.zeros((40, 50), np.uint8)
    label[10:30, 15:35], label[5:8, 5:8] = 1, 2
    photo = rng.integers(0, 255, (40, 50, 3), np.uint8)
    indexed = Image.fromarray(label)
    indexed.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    opaque = np.full((40, 50, 1), 255, np.uint8)
    kinds = {
        "plain": (photo, Image.fromarray(label)),
        "odd": (np.concatenate([photo, opaque], -1), indexed),
        "grey": (photo, Image.fromarray(label[..., None].repeat(3, -1))),
    }
    for name, (image, mask) in kinds.items():
        for folder, picture in (("images", Image.fromarray(image)), ("labels", mask)):
            (tmp_path / "a" / folder).mkdir(parents=True, exist_ok=True)
            picture.save(tmp_path / "a" / folder / f"{name}.png")
    convert(tmp_path / "a", tmp_path / "b", "nnunet")
    for name in kinds:
        with Image.open(tmp_path / "b" / "imagesTr" / f"{name}_0000.png") as image:
            assert image.mode == "RGB" and np.array_equal(np.asarray(image), photo)
        with Image.open(tmp_path / "b" / "labelsTr" / f"{name}.png") as image:
            assert image.mode == "L" and np.array_equal(np.asarray(image), label)
    for old, new in (("images/plain.png", "imagesTr/plain_0000.png"), ("labels/plain.png", "labelsTr/plain.png")):
        assert (tmp_path / "a" / old).read_bytes() == (tmp_path / "b" / new).read_bytes()
    convert(tmp_path / "a", tmp_path / "c", "folders")
    assert (tmp_path / "a/images/odd.png").read_bytes() == (tmp_path / "c/images/odd.png").read_bytes()


def test_folders_whose_name_is_no_text(tmp_path: Path) -> None:
    """The name stands in dataset.json as JSON escapes it."""
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/f\xfcr"))
    convert(dataset(root), tmp_path / "b", "msd")
    assert json.loads((tmp_path / "b" / "dataset.json").read_text())["name"] == root.name
