"""Finding cases: every layout as it comes, and each way it can be broken."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from masg_sam.data.io import read_image
from masg_sam.data.layouts import Case, find_images, find_labels, find_training_cases
from masg_sam.errors import ImageError, LayoutError

LABELS = {"background": 0, "liver": 1, "spleen": 2}


def touch(root: Path, names: Iterable[str]) -> Path:
    """Empty files: nothing here is read."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def facts(root: Path, **entries: Any) -> Path:
    (root / "dataset.json").write_text(json.dumps(entries), encoding="utf-8")
    return root


def names(cases: Iterable[Case]) -> list[str]:
    return [case.name for case in cases]


def files(case: Case) -> list[str]:
    return [path.name for path in case.images]


# --- nnU-Net ---------------------------------------------------------------------------------------------------


def nnunet(root: Path, channels: int = 2, labels: dict[str, Any] | None = None) -> Path:
    cases = ("liver_10", "liver_2")
    touch(root, (f"imagesTr/{case}_{i:04d}.nii.gz" for case in cases for i in range(channels)))
    touch(root, (f"labelsTr/{case}.nii.gz" for case in cases))
    return facts(root, channel_names={"0": "T1", "1": "FLAIR"}, labels=labels or LABELS, file_ending=".nii.gz")


def test_nnunet_groups_channels_and_sorts_naturally(tmp_path: Path) -> None:
    dataset = find_training_cases(nnunet(tmp_path))
    assert (dataset.layout, dataset.root) == ("nnunet", tmp_path)
    assert names(dataset.cases) == ["liver_2", "liver_10"]
    assert files(dataset.cases[0]) == ["liver_2_0000.nii.gz", "liver_2_0001.nii.gz"]
    assert dataset.cases[0].label == tmp_path / "labelsTr" / "liver_2.nii.gz"
    assert dataset.class_names == {1: "liver", 2: "spleen"}
    assert dataset.channel_names == ("T1", "FLAIR")


def test_nnunet_without_dataset_json_names_no_class(tmp_path: Path) -> None:
    root = nnunet(tmp_path)
    (root / "dataset.json").unlink()
    dataset = find_training_cases(root)
    assert (len(dataset.cases), dataset.class_names, dataset.channel_names) == (2, {}, ())


def test_the_first_nnunet_lists_images_without_their_channel(tmp_path: Path) -> None:
    root = nnunet(tmp_path)
    pairs = [{"image": f"./imagesTr/{c}.nii.gz", "label": f"./labelsTr/{c}.nii.gz"} for c in ("liver_2", "liver_10")]
    facts(root, modality={"0": "T1", "1": "T2"}, labels={"0": "background", "1": "liver"}, training=pairs)
    dataset = find_training_cases(root)
    assert files(dataset.cases[1]) == ["liver_10_0000.nii.gz", "liver_10_0001.nii.gz"]
    assert dataset.class_names == {1: "liver"}
    assert dataset.channel_names == ("T1", "T2")


def test_more_than_ten_channels_are_in_numeric_order(tmp_path: Path) -> None:
    touch(tmp_path, ("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"))
    facts(tmp_path, channel_names={str(i): f"c{i}" for i in range(12)}, labels=LABELS)
    assert find_training_cases(tmp_path).channel_names == tuple(f"c{i}" for i in range(12))


def test_a_missing_channel_is_named(tmp_path: Path) -> None:
    (nnunet(tmp_path) / "imagesTr" / "liver_10_0001.nii.gz").unlink()
    with pytest.raises(LayoutError, match="channels of case liver_10 are missing") as caught:
        find_training_cases(tmp_path)
    assert (caught.value.found, caught.value.expected) == ("liver_10_0000.nii.gz", "_0000, _0001")


def test_one_channel_in_two_formats_is_refused(tmp_path: Path) -> None:
    touch(nnunet(tmp_path, channels=1), ["imagesTr/liver_2_0000.mha"])
    with pytest.raises(LayoutError, match="liver_2 are missing or double"):
        find_training_cases(tmp_path)


def test_a_file_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """A name from an old archive, in Latin-1."""
    root = nnunet(tmp_path, channels=1)
    os.rename(root / "imagesTr/liver_2_0000.nii.gz", os.fsencode(root) + b"/imagesTr/f\xfcr_0000.nii.gz")
    with pytest.raises(LayoutError, match="no text") as caught:
        find_training_cases(root)
    assert "udcfc" in caught.value.found and caught.value.exit_code == 2


# --- Decathlon -------------------------------------------------------------------------------------------------


def decathlon(root: Path, **entries: Any) -> Path:
    touch(root, (f"{folder}/hip_{i}.nii.gz" for folder in ("imagesTr", "labelsTr") for i in (3, 12)))
    touch(root, ("imagesTr/._hip_3.nii.gz", "labelsTr/._hip_3.nii.gz", "imagesTs/hip_7.nii.gz"))
    pairs = [{"image": f"./imagesTr/hip_{i}.nii.gz", "label": f"./labelsTr/hip_{i}.nii.gz"} for i in (12, 3)]
    defaults = {
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "2": "b", "1": "a"},
        "training": pairs,
    }
    return facts(root, **(defaults | entries))


def test_decathlon_takes_the_pairs_it_lists(tmp_path: Path) -> None:
    dataset = find_training_cases(decathlon(tmp_path))
    assert dataset.layout == "msd"
    assert names(dataset.cases) == ["hip_3", "hip_12"]
    assert dataset.cases[0].label == tmp_path / "labelsTr" / "hip_3.nii.gz"
    assert list(dataset.class_names.items()) == [(1, "a"), (2, "b")]
    assert dataset.channel_names == ("MRI",)


@pytest.mark.parametrize("folder", ["imagesTr", "labelsTr"])
def test_decathlon_with_a_file_missing(folder: str, tmp_path: Path) -> None:
    (decathlon(tmp_path) / folder / "hip_3.nii.gz").unlink()
    with pytest.raises(LayoutError, match="missing") as caught:
        find_training_cases(tmp_path)
    assert caught.value.path == tmp_path / folder / "hip_3.nii.gz"


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("imagesTr/hip_3.nii.gz", "not a pair"),
        ({"image": "imagesTr/hip_3.nii.gz"}, "not a pair"),
        ({"image": 1, "label": 2}, "not a pair"),
        ({"image": "../secret.nii.gz", "label": "labelsTr/hip_3.nii.gz"}, "leads out"),
        ({"image": "/etc/hosts", "label": "labelsTr/hip_3.nii.gz"}, "leads out"),
    ],
)
def test_decathlon_entries_that_are_refused(entry: Any, problem: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=problem):
        find_training_cases(decathlon(tmp_path, training=[entry]))


# --- dataset.json ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (None, "`labels` is missing"),
        ([1, 2], "`labels` is missing"),
        ({}, "names 0 classes"),
        ({"background": 0}, "names 0 classes"),
        ({"background": 0, "whole": [1, 2]}, "region-based"),
        ({"background": 0, "ignore": 1}, "names 0 classes"),
        ({"background": 0, "liver": 1, "spleen": 1}, "two classes of one value"),
        ({"background": 0, "liver": "one"}, "no value from 0 to 65535"),
        ({"background": 0, "liver": -1}, "no value from 0 to 65535"),
        ({"background": 0, "liver": 70000}, "no value from 0 to 65535"),
        ({"background": 0} | {f"c{i}": i for i in range(1, 257)}, "names 256 classes"),
        ({"0": "background", "1": "cyst", "2": "cyst"}, "two classes of one name"),
        ({"background": 0, "left kidney": 1, "Left_Kidney": 2}, "two classes of one name"),
        ({"0": "background", "3": "Background"}, "two classes of one name"),
        ({"background": 0, "f\u00fcr": 1, "fu\u0308r": 2}, "two classes of one name"),
    ],
)
def test_labels_that_are_refused(labels: Any, problem: str, tmp_path: Path) -> None:
    root = facts(nnunet(tmp_path), labels=labels)
    with pytest.raises(LayoutError, match=problem) as caught:
        find_training_cases(root)
    assert caught.value.path == root / "dataset.json"


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ({"background": 0, "1": 1, "2": 2, "4": 3}, {1: "1", 2: "2", 3: "4"}),  # name to value, as in nnU-Net
        ({"1": 1, "4": 3}, {1: "1", 3: "4"}),
        ({"0": "background", "1": "1", "2": "2", "3": "4"}, {1: "1", 2: "2", 3: "4"}),  # value to name
        ({"1": "1", "3": "4"}, {1: "1", 3: "4"}),
        ({"background": "0", "liver": "2"}, {2: "liver"}),
    ],
)
def test_names_that_are_numbers_are_told_from_values(
    labels: dict[str, Any], found: dict[int, str], tmp_path: Path
) -> None:
    assert find_training_cases(facts(nnunet(tmp_path), labels=labels)).class_names == found


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ({"0": "background", "1": "liver", "ignore": 255}, "ignore: 255"),
        ({"background": 0, "liver": 1, "2": "spleen"}, "2: spleen"),
    ],
)
def test_an_entry_the_other_way_round_is_named(labels: dict[str, Any], found: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="no value from 0 to 65535") as caught:
        find_training_cases(facts(nnunet(tmp_path), labels=labels))
    assert caught.value.found == found and "all" in str(caught.value.expected)


@pytest.mark.parametrize("text", ["{", "[]", "", "\x00\xff", "[" * 100_000])
def test_broken_json_is_named(text: str, tmp_path: Path) -> None:
    root = nnunet(tmp_path)
    (root / "dataset.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(LayoutError, match="JSON"):
        find_training_cases(root)


def test_a_byte_order_mark_is_no_damage(tmp_path: Path) -> None:
    root = nnunet(tmp_path)
    (root / "dataset.json").write_text(json.dumps({"labels": LABELS}), encoding="utf-8-sig")
    assert find_training_cases(root).class_names == {1: "liver", 2: "spleen"}


# --- plain folders ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("images", "labels"), [("images", "labels"), ("img", "masks"), ("image", "label")])
@pytest.mark.parametrize("root", ["", "train", "training"])
def test_plain_folders(images: str, labels: str, root: str, tmp_path: Path) -> None:
    touch(tmp_path / root, (f"{images}/a.jpg", f"{labels}/a.png", f"{images}/Thumbs.db", f"{labels}/.DS_Store"))
    dataset = find_training_cases(tmp_path)
    assert (dataset.layout, dataset.root) == ("folders", tmp_path / root)
    expected = Case("a", (tmp_path / root / images / "a.jpg",), tmp_path / root / labels / "a.png")
    assert dataset.cases == (expected,)


@pytest.mark.parametrize("ending", ["_mask", "_seg", "_label", "_segmentation", "_Segmentation", "_gt"])
def test_endings_of_labels(ending: str, tmp_path: Path) -> None:
    touch(tmp_path, ("images/ISIC_0000000.jpg", f"labels/ISIC_0000000{ending}.png"))
    assert names(find_training_cases(tmp_path).cases) == ["ISIC_0000000"]


def test_an_image_may_end_like_a_label(tmp_path: Path) -> None:
    touch(tmp_path, ("images/a_seg.png", "labels/a_seg.png", "images/a.png", "labels/a.png"))
    dataset = find_training_cases(tmp_path)
    assert [(case.name, case.label.name) for case in dataset.cases if case.label] == [
        ("a", "a.png"),
        ("a_seg", "a_seg.png"),
    ]


def test_numbered_pictures_are_not_channels(tmp_path: Path) -> None:
    touch(tmp_path, (f"{folder}/frame_{i:04d}.png" for folder in ("images", "labels") for i in range(3)))
    assert names(find_training_cases(tmp_path).cases) == ["frame_0000", "frame_0001", "frame_0002"]


def test_plain_folders_may_hold_channels(tmp_path: Path) -> None:
    touch(tmp_path, ("images/a_0000.nii.gz", "images/a_0001.nii.gz", "labels/a.nii.gz"))
    assert files(find_training_cases(tmp_path).cases[0]) == ["a_0000.nii.gz", "a_0001.nii.gz"]


def test_plain_folders_take_class_names_from_dataset_json(tmp_path: Path) -> None:
    facts(touch(tmp_path, ("images/a.png", "labels/a.png")), labels=LABELS)
    assert find_training_cases(tmp_path).class_names == {1: "liver", 2: "spleen"}


@pytest.mark.parametrize(
    ("extra", "kind"), [("images", "images without a label"), ("labels", "labels without an image")]
)
def test_what_has_no_partner_is_listed(extra: str, kind: str, tmp_path: Path) -> None:
    touch(tmp_path, ("images/a.png", "labels/a.png", *(f"{extra}/b{i}.png" for i in range(1, 12))))
    with pytest.raises(LayoutError, match=f"11 {kind}") as caught:
        find_training_cases(tmp_path)
    assert caught.value.found == "b1, b2, b3, b4, b5 and 6 more"
    assert caught.value.path == tmp_path / extra


@pytest.mark.parametrize(
    ("double", "problem"),
    [("images/a.jpg", "cases of the same name: a"), ("labels/a_mask.png", "two labels")],
)
def test_two_files_of_one_case_are_refused(double: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=problem):
        find_training_cases(touch(tmp_path, ("images/a.png", "labels/a.png", double)))


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda root: root / "missing", "no such folder"),
        (lambda root: touch(root, ["a.png"]) / "a.png", "a file where"),
        (lambda root: root, "no labelled cases"),
        (lambda root: touch(root, ["images/a.png"]), "no labelled cases"),
        (lambda root: touch(root, ["images/readme.txt", "labels/a.png"]), "no images there"),
        (lambda root: facts(root, labels=LABELS), "no labelled cases"),
    ],
)
def test_what_is_no_dataset(make: Callable[[Path], Path], problem: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=problem) as caught:
        find_training_cases(make(tmp_path))
    assert caught.value.mend


@pytest.mark.parametrize("ending", [".png", "_0000.png", "_mask.png"])
@pytest.mark.parametrize("forms", [("f\u00fcr", "fu\u0308r"), ("fu\u0308r", "f\u00fcr")])
def test_names_pair_however_their_letters_are_composed(forms: tuple[str, str], ending: str, tmp_path: Path) -> None:
    """macOS takes letters and their marks apart."""
    first, second = forms
    image, label = (".png", ending) if "mask" in ending else (ending, ".png")
    touch(tmp_path, (f"images/{first}{image}", f"labels/{second}{label}"))
    (case,) = find_training_cases(tmp_path).cases
    assert case.name == "f\u00fcr"
    assert case.images[0].name == f"{first}{image}" and case.label == tmp_path / "labels" / f"{second}{label}"
    assert list(find_labels(tmp_path)[0]) == ["f\u00fcr"]
    touch(tmp_path, [f"images/{second}{image}"])
    with pytest.raises(LayoutError, match=r"same name|missing or double"):
        find_training_cases(tmp_path)


def test_decathlon_pairs_and_numbered_channels_of_composed_names(tmp_path: Path) -> None:
    name, label = "fu\u0308r", "labelsTr/f\u00fcr.nii.gz"
    touch(tmp_path, [f"imagesTr/{name}_0000.nii.gz", f"imagesTr/{name}_0001.nii.gz", label])
    facts(tmp_path, labels=LABELS, training=[{"image": f"imagesTr/{name}.nii.gz", "label": label}])
    (case,) = find_training_cases(tmp_path).cases
    assert case.name == "f\u00fcr" and files(case) == [f"{name}_0000.nii.gz", f"{name}_0001.nii.gz"]


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, ("images/a.png", "labels/a.png"))
    locked, listdir = tmp_path / "labels", os.listdir

    def refuse(folder: Any) -> list[str]:
        if Path(folder) == locked:
            raise PermissionError(13, "Permission denied", str(folder))
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", refuse)
    for find in (find_training_cases, find_labels, lambda root: find_images(root / "labels")):
        with pytest.raises(LayoutError, match="cannot be read") as caught:
            find(tmp_path)
        assert str(caught.value.path) == str(locked) and caught.value.mend


# --- images to segment -----------------------------------------------------------------------------------------


def test_one_file_and_several(tmp_path: Path) -> None:
    touch(tmp_path, ("b.nii.gz", "a.png", "c.txt"))
    assert names(find_images(tmp_path / "b.nii.gz")) == ["b"]
    assert names(find_images([tmp_path / "b.nii.gz", tmp_path / "a.png"])) == ["a", "b"]


def test_channels_are_in_order_whatever_the_order_of_files(tmp_path: Path) -> None:
    touch(tmp_path, ("a_0000.nii.gz", "a_0001.nii.gz"))
    (found,) = find_images([tmp_path / "a_0001.nii.gz", tmp_path / "a_0000.nii.gz"])
    assert files(found) == ["a_0000.nii.gz", "a_0001.nii.gz"]


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    touch(tmp_path, ("p10.png", "p9.jpg", "notes.txt", ".hidden.png"))
    assert names(find_images(tmp_path)) == ["p9", "p10"]


def test_channels_are_grouped_only_where_all_files_have_one(tmp_path: Path) -> None:
    touch(tmp_path / "all", ("a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz", "b_0001.nii.gz"))
    touch(tmp_path / "some", ("a_0000.nii.gz", "b.nii.gz"))
    touch(tmp_path / "film", (f"f_{i:04d}.png" for i in range(9)))
    touch(tmp_path / "years", ("scan_2019.png", "scan_2020.png"))
    assert names(find_images(tmp_path / "all")) == ["a", "b"]
    assert names(find_images(tmp_path / "some")) == ["a_0000", "b"]
    assert len(find_images(tmp_path / "film")) == 9
    assert names(find_images(tmp_path / "years")) == ["scan_2019", "scan_2020"]


def test_numbered_pictures_are_channels_only_of_a_model_that_has_as_many(tmp_path: Path) -> None:
    """However many frames there are. One file of all channels keeps its name."""
    touch(tmp_path / "film", (f"f_{i:04d}.png" for i in range(4)))
    touch(tmp_path / "cases", ("a_0000.png", "b_0000.png"))
    frames = [f"f_{i:04d}" for i in range(4)]
    for count, expected in ((1, frames), (3, frames), (4, ["f"])):
        assert names(find_images(tmp_path / "film", count)) == expected
    assert names(find_images(sorted((tmp_path / "film").iterdir()), 1)) == frames
    for count in (1, 3):
        assert names(find_images(tmp_path / "cases", count)) == ["a", "b"]
    touch(tmp_path / "cases", ("b_0001.png",))
    with pytest.raises(LayoutError, match="channels of case a are missing"):
        find_images(tmp_path / "cases", 2)


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (("imagesTr/a_0000.nii.gz", "imagesTs/b_0000.nii.gz", "labelsTr/a.nii.gz"), ["b"]),
        (("imagesTr/a_0000.nii.gz", "imagesTs/.keep", "labelsTr/a.nii.gz"), ["a"]),
        (("train/images/a.png", "test/images/b.png"), ["b"]),
        (("images/a.png", "labels/a.png"), ["a"]),
        (("train/images/a.png", "train/labels/a.png"), ["a"]),
    ],
)
def test_images_of_a_dataset(present: Iterable[str], expected: list[str], tmp_path: Path) -> None:
    assert names(find_images(touch(tmp_path, present))) == expected


@pytest.mark.parametrize(
    ("present", "given", "problem"),
    [
        ((), [""], "no images there"),
        (("a.txt",), [""], "no images there"),
        ((), ["missing"], "no such file"),
        (("x/a.png", "y/a.png"), ["x", "y"], "same name: a"),
        ((), [], "no images there"),
    ],
)
def test_images_that_are_not_to_be_had(present: Iterable[str], given: list[str], problem: str, tmp_path: Path) -> None:
    touch(tmp_path, present)
    with pytest.raises(LayoutError, match=problem):
        find_images([tmp_path / name for name in given])


# --- labels to compare with ------------------------------------------------------------------------------------


def test_a_folder_of_masks_ignores_everything_else(tmp_path: Path) -> None:
    touch(tmp_path, ("a.nii.gz", "b_seg.nii.gz", "report.json", "scores.csv", ".hidden.nii.gz"))
    found, classes = find_labels(tmp_path)
    assert list(found) == ["a", "b"]
    assert found["b"] == tmp_path / "b_seg.nii.gz"
    assert classes == {}


@pytest.mark.parametrize(
    "present",
    [("labelsTs/b.png", "labelsTr/a.png"), ("labelsTr/b.png",), ("test/labels/b.png", "labels/a.png")],
)
def test_labels_of_a_dataset(present: Iterable[str], tmp_path: Path) -> None:
    assert list(find_labels(touch(tmp_path, present))[0]) == ["b"]


def test_the_value_of_what_nobody_labelled_is_kept(tmp_path: Path) -> None:
    touch(tmp_path, ["masks/a.png"])
    facts(tmp_path, labels=LABELS | {"ignore": 3})
    assert find_labels(tmp_path / "masks")[1] == {1: "liver", 2: "spleen", 3: "ignore"}


@pytest.mark.parametrize("place", ["", "masks"])
@pytest.mark.parametrize("given", ["masks", "masks/a.png"])
def test_class_names_from_beside_or_above(place: str, given: str, tmp_path: Path) -> None:
    touch(tmp_path, ["masks/a.png"])
    facts(tmp_path / place, labels=LABELS)
    found, classes = find_labels(tmp_path / given)
    assert (list(found), classes) == (["a"], {1: "liver", 2: "spleen"})


@pytest.mark.parametrize(
    ("present", "given", "problem"),
    [
        ((), "missing", "no such file"),
        (("a.txt",), "", "no masks there"),
        (("a.png", "a_mask.png"), "", "two labels of one case"),
    ],
)
def test_labels_that_are_not_to_be_had(present: Iterable[str], given: str, problem: str, tmp_path: Path) -> None:
    touch(tmp_path, present)
    with pytest.raises(LayoutError, match=problem):
        find_labels(tmp_path / given)


# --- what is easily taken for something else -------------------------------------------------------------------


def test_the_background_is_nothing_but_0(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="0 is the background") as caught:
        find_training_cases(nnunet(tmp_path, labels={"spleen": 1, "Background": 255}))
    assert caught.value.found == "255: Background"


def test_a_class_at_0_is_told_not_to_be_learned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert find_training_cases(nnunet(tmp_path, labels={"liver": 0, "spleen": 1})).class_names == {1: "spleen"}
    assert caplog.text.count("liver has the value 0, which is background") == 1


@pytest.mark.parametrize("name", ["background", "Clear Label", "BG", "void"])
def test_names_of_the_background(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert find_training_cases(nnunet(tmp_path, labels={name: 0, "liver": 1})).class_names == {1: "liver"}
    assert not caplog.text


def test_254_classes_are_the_most(tmp_path: Path) -> None:
    labels = {f"part {i}": i for i in range(1, 256)}
    with pytest.raises(LayoutError, match="255 classes"):
        find_training_cases(nnunet(tmp_path, labels=labels))
    del labels["part 255"]
    assert len(find_training_cases(nnunet(tmp_path, labels=labels)).class_names) == 254


def test_dataset_json_of_the_training_part_counts(tmp_path: Path) -> None:
    touch(tmp_path, ("train/images/a.png", "train/labels/a.png"))
    facts(tmp_path / "train", labels={"background": 0, "polyp": 1, "ignore": 2}, channel_names={"0": "endoscopy"})
    dataset = find_training_cases(tmp_path)
    assert (dataset.class_names, dataset.channel_names) == ({1: "polyp", 2: "ignore"}, ("endoscopy",))


def test_more_than_eight_channels_where_they_are_named(tmp_path: Path) -> None:
    touch(tmp_path, (f"imagesTr/{name}_{i:04d}.nii.gz" for name in "ab" for i in range(9)))
    touch(tmp_path, ("labelsTr/a.nii.gz", "labelsTr/b.nii.gz"))
    facts(tmp_path, labels=LABELS, channel_names={str(i): f"echo {i}" for i in range(9)})
    assert [len(case.images) for case in find_training_cases(tmp_path).cases] == [9, 9]


def test_an_empty_folder_of_labels_does_not_hide_the_masks(tmp_path: Path) -> None:
    touch(tmp_path, ("images/a.png", "labels/a.txt", "masks/a.png"))
    assert find_training_cases(tmp_path).cases[0].label == tmp_path / "masks/a.png"


@pytest.mark.parametrize("missing", ["images/a.png", "labels/a.png"])
def test_a_link_to_nothing_is_told_as_such(missing: str, tmp_path: Path) -> None:
    """Datalad and git-annex leave links to files that were not fetched."""
    touch(tmp_path, {"images/a.png", "labels/a.png"} - {missing})
    (tmp_path / missing).parent.mkdir()
    (tmp_path / missing).symlink_to("../.git/annex/objects/x.png")
    (case,) = find_training_cases(tmp_path).cases
    with pytest.raises(ImageError, match="a link to nothing") as caught:
        read_image(next(path for path in (*case.images, tmp_path / missing) if path.is_symlink()))
    assert caught.value.found == "../.git/annex/objects/x.png" and "datalad get" in str(caught.value.mend)


def test_numbered_colour_pictures_are_cases_of_their_own(tmp_path: Path) -> None:
    """Three of them are no three channels; three grey ones are."""
    for i in range(3):
        for name, shape in (("colour", (8, 8, 3)), ("grey", (8, 8))):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(np.full(shape, i, np.uint8)).save(tmp_path / name / f"f_{i:04d}.png")
    assert names(find_images(tmp_path / "colour", 3)) == ["f_0000", "f_0001", "f_0002"]
    assert names(find_images(sorted((tmp_path / "colour").iterdir()), 3)) == ["f_0000", "f_0001", "f_0002"]
    assert names(find_images(tmp_path / "grey", 3)) == ["f"]
    (tmp_path / "grey" / "f_0000.png").write_bytes(b"no picture")
    assert names(find_images(tmp_path / "grey", 3)) == ["f"]  # what is wrong is told where it is read
