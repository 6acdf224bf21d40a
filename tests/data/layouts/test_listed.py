"""CSV and JSON lists of cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from masg_sam.data.layouts import find_images, find_labels, find_training_cases, look_for_cases
from masg_sam.errors import LayoutError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def csv(root: Path, text: str) -> Path:
    (root / "list.csv").write_text(text, encoding="utf-8")
    return root / "list.csv"


def jsn(root: Path, rows: Any) -> Path:
    (root / "list.json").write_text(json.dumps(rows), encoding="utf-8")
    return root / "list.json"


FILES = ("p1/scan.nii.gz", "p1/mask.nii.gz", "p2/scan.nii.gz", "p2/mask.nii.gz")


@pytest.mark.parametrize("mark", ",;\t")
def test_csv_with_any_usual_delimiter(mark: str, tmp_path: Path) -> None:
    rows = [
        "Case,Image,age,Label",
        "two,p2/scan.nii.gz,61,p2/mask.nii.gz",
        "",
        "one, p1/scan.nii.gz ,60,p1/mask.nii.gz",
    ]
    dataset = find_training_cases(csv(touch(tmp_path, *FILES), "\r\n".join(rows).replace(",", mark)))
    assert (dataset.layout, dataset.root) == ("list", tmp_path / "list.csv")
    assert [case.name for case in dataset.cases] == ["one", "two"]
    assert dataset.cases[0].images == (tmp_path / "p1" / "scan.nii.gz",)
    assert dataset.cases[0].label == tmp_path / "p1" / "mask.nii.gz"


def test_json_with_channels_and_files_anywhere(tmp_path: Path) -> None:
    touch(tmp_path, "far/t1.nii.gz", "far/t2.nii.gz", "far/seg.nii.gz")
    (tmp_path / "here").mkdir()
    row = {
        "image": ["../far/t2.nii.gz", "../far/t1.nii.gz"],
        "label": str(tmp_path / "far" / "seg.nii.gz"),
        "case": "a",
    }
    (case,) = find_training_cases(jsn(tmp_path / "here", [row])).cases
    assert [path.name for path in case.images] == ["t2.nii.gz", "t1.nii.gz"]  # in the order given
    assert case.label == tmp_path / "far" / "seg.nii.gz"


def test_channels_in_csv_and_the_name_without_their_number(tmp_path: Path) -> None:
    touch(tmp_path, "a_0000.nii.gz", "a_0001.nii.gz", "a.nii.gz", "b_0000.nii.gz", "b.nii.gz")
    text = "image,label\na_0000.nii.gz | a_0001.nii.gz,a.nii.gz\nb_0000.nii.gz,b.nii.gz\n"
    first, second = find_training_cases(csv(tmp_path, text)).cases
    assert (first.name, len(first.images)) == ("a", 2) and second.name == "b_0000"


def test_names_come_from_dataset_json_beside_the_list(tmp_path: Path) -> None:
    facts = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}}
    (touch(tmp_path, *FILES) / "dataset.json").write_text(json.dumps(facts), encoding="utf-8")
    path = csv(tmp_path, "case,image,label\na,p1/scan.nii.gz,p1/mask.nii.gz\n")
    dataset = find_training_cases(path)
    assert (dataset.class_names, dataset.channel_names) == ({1: "liver"}, ("CT",))
    assert find_labels(path) == ({"a": tmp_path / "p1" / "mask.nii.gz"}, {1: "liver"})


def test_images_to_segment_need_no_label(tmp_path: Path) -> None:
    touch(tmp_path, *FILES, "alone.png")
    path = csv(tmp_path, "case,image,label\na,p1/scan.nii.gz,\nb,p2/scan.nii.gz,p2/mask.nii.gz\n")
    assert [(case.name, case.label) for case in find_images([path, tmp_path / "alone.png"])] == [
        ("a", None), ("alone", None), ("b", None)
    ]  # fmt: skip
    with pytest.raises(LayoutError, match="1 images without a label"):
        find_training_cases(path)


@pytest.mark.parametrize(("missing", "left"), [("p1/scan.nii.gz", (0, True)), ("p1/mask.nii.gz", (1, False))])
def test_a_file_that_is_missing_is_named(missing: str, left: tuple[int, bool], tmp_path: Path) -> None:
    (touch(tmp_path, *FILES) / missing).unlink()
    path = csv(tmp_path, "case,image,label\na,p1/scan.nii.gz,p1/mask.nii.gz\nb,p2/scan.nii.gz,p2/mask.nii.gz\n")
    with pytest.raises(LayoutError, match=r"a file that list\.csv names is missing") as caught:
        find_training_cases(path)
    assert caught.value.path == tmp_path / missing
    case = look_for_cases(path).cases[0]
    assert (len(case.images), case.label is not None) == left


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is no list of cases"),
        ("image,label\n", "is no list of cases"),
        ("picture,label\na,b\n", "is no list of cases"),
        ("image,label\n,p1/mask.nii.gz\n", "is no list of cases"),
        ('image,label\n"p1,p2\n', "is no list of cases"),
        ("image,label\np1/scan.nii.gz,p1/mask.nii.gz\np2/scan.nii.gz,p2/mask.nii.gz\n", "same name: scan"),
        ("image,case\np1/scan.nii.gz,../up\n", "no file name"),
    ],
)
def test_csv_that_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=problem) as caught:
        find_training_cases(csv(touch(tmp_path, *FILES), text))
    assert caught.value.found is not None and caught.value.expected and caught.value.mend


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("case,image,label\n\na,p1/scan.nii.gz,p1/mask.nii.gz\nb\n", "line 4 (b) has no image"),
        ("label,image\np1/mask.nii.gz\n", "line 2 (p1/mask.nii.gz) has no image"),
    ],
)
def test_a_line_that_is_too_short_is_named(text: str, found: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="is no list of cases") as caught:
        find_training_cases(csv(touch(tmp_path, *FILES), text))
    assert caught.value.found == found


@pytest.mark.parametrize("ending", [".nii.gz", ".png", "", "#2"])
def test_a_name_that_no_file_can_have_is_missing(ending: str, tmp_path: Path) -> None:
    name = "x" * 300 + ending
    path = csv(touch(tmp_path, *FILES), f"image,label\n{name},p1/mask.nii.gz\np2/scan.nii.gz,p2/mask.nii.gz\n")
    with pytest.raises(LayoutError, match="is missing") as caught:
        find_training_cases(path)
    assert caught.value.path == tmp_path / name


def test_names_of_a_list_are_composed(tmp_path: Path) -> None:
    path = csv(touch(tmp_path, *FILES), "case,image,label\nfu\u0308r,p1/scan.nii.gz,p1/mask.nii.gz\n")
    assert list(find_labels(path)[0]) == ["f\u00fcr"]


def test_a_case_may_be_a_number(tmp_path: Path) -> None:
    touch(tmp_path, *FILES)
    path = jsn(tmp_path, [{"case": 7, "image": "p1/scan.nii.gz", "label": "p1/mask.nii.gz"}])
    assert [case.name for case in find_training_cases(path).cases] == ["7"]


@pytest.mark.parametrize(
    "rows", [{}, [], [1], [{"label": "a"}], [{"image": []}], [{"image": 3}], [{"image": "a", "case": 1.5}]]
)
def test_json_that_is_refused(rows: Any, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="is no list of cases"):
        find_training_cases(jsn(tmp_path, rows))
    (tmp_path / "list.json").write_bytes(b"[" * 100_000)
    with pytest.raises(LayoutError, match="is no list of cases"):
        find_training_cases(tmp_path / "list.json")


def test_mend_of_equal_names_names_the_column(tmp_path: Path) -> None:
    rows = [{"image": name, "label": name.replace("scan", "mask")} for name in FILES if "scan" in name]
    with pytest.raises(LayoutError, match="same name") as caught:
        find_training_cases(jsn(touch(tmp_path, *FILES), rows))
    assert "`case`" in str(caught.value.mend)


def test_a_label_that_is_missing_is_no_case_less(tmp_path: Path) -> None:
    """Where labels are asked for; those of images that are missing are labels all the same."""
    path = csv(touch(tmp_path, "a.nii.gz", "a_seg.nii.gz", "c_seg.nii.gz"), "image,label\na.nii.gz,a_seg.nii.gz\n")
    assert list(find_labels(path)[0]) == ["a"]
    csv(tmp_path, "image,label\na.nii.gz,a_seg.nii.gz\nc.nii.gz,c_seg.nii.gz\n")
    assert list(find_labels(path)[0]) == ["a", "c"]
    csv(tmp_path, "image,label\na.nii.gz,typo.nii.gz\n")
    with pytest.raises(LayoutError, match="is missing") as caught:
        find_labels(path)
    assert str(caught.value.path).endswith("typo.nii.gz")
