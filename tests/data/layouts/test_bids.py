"""BIDS: which images, which labels, which names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from masg_sam.data.layouts import find_images, find_labels, find_training_cases
from masg_sam.errors import LayoutError

MANUAL = "derivatives/manual"


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def names(path: Path, rows: Iterable[tuple[int, str]]) -> None:
    path.write_text("index\tname\tcolor\n" + "".join(f"{i}\t{name}\t#000000\n" for i, name in rows), encoding="utf-8")


def subjects(root: Path, *numbers: str, contrast: str = "T1w") -> Path:
    return touch(root, *(f"sub-{n}/anat/sub-{n}_{contrast}.nii.gz" for n in numbers), "dataset_description.json")


def labelled(root: Path) -> Path:
    """Three subjects, two of them labelled."""
    subjects(root, "01", "02", "10")
    return touch(root, *(f"{MANUAL}/sub-{n}/anat/sub-{n}_dseg.nii.gz" for n in ("02", "10")))


def test_subjects_with_a_label_are_training_cases(tmp_path: Path) -> None:
    names(labelled(tmp_path) / MANUAL / "dseg.tsv", [(0, "Background"), (1, "grey matter"), (2, "white matter")])
    dataset = find_training_cases(tmp_path)
    assert (dataset.layout, dataset.root) == ("bids", tmp_path)
    assert [case.name for case in dataset.cases] == ["sub-02", "sub-10"]
    assert dataset.cases[0].images == (tmp_path / "sub-02" / "anat" / "sub-02_T1w.nii.gz",)
    assert dataset.cases[0].label == tmp_path / MANUAL / "sub-02" / "anat" / "sub-02_dseg.nii.gz"
    assert dataset.class_names == {1: "grey matter", 2: "white matter"}
    assert dataset.channel_names == ("T1w",)


def test_all_subjects_are_images_and_all_labels_are_found(tmp_path: Path) -> None:
    names(labelled(tmp_path) / MANUAL / "sub-02" / "anat" / "sub-02_dseg.tsv", [(1, "lesion")])
    assert [case.name for case in find_images(tmp_path)] == ["sub-01", "sub-02", "sub-10"]
    found, classes = find_labels(tmp_path)
    assert (list(found), classes) == (["sub-02", "sub-10"], {1: "lesion"})


def test_sessions_and_runs_are_matched_by_their_entities(tmp_path: Path) -> None:
    raw = [f"sub-1/ses-{s}/anat/sub-1_ses-{s}_run-{r}_T1w.nii" for s in "ab" for r in "12"]
    made = "sub-1/ses-b/anat/sub-1_ses-b_run-2_space-orig_desc-manual_dseg.nii.gz"
    dataset = find_training_cases(touch(tmp_path, *raw, f"{MANUAL}/{made}"))
    (case,) = dataset.cases
    assert case.name == "sub-1_ses-b_run-2" and case.images[0].name == "sub-1_ses-b_run-2_T1w.nii"


def test_masks_of_one_class_name_it(tmp_path: Path) -> None:
    subjects(tmp_path, "1", contrast="FLAIR")
    touch(tmp_path, *(f"{MANUAL}/sub-1/anat/sub-1_{kind}_mask.nii.gz" for kind in ("label-lesion", "desc-brain")))
    dataset = find_training_cases(tmp_path)
    assert (dataset.class_names, dataset.channel_names) == ({1: "lesion"}, ("FLAIR",))
    assert dataset.cases[0].label == tmp_path / MANUAL / "sub-1" / "anat" / "sub-1_label-lesion_mask.nii.gz"


def test_other_contrasts_and_labels_of_a_template_are_passed_over(tmp_path: Path) -> None:
    labelled(tmp_path)
    touch(tmp_path, "sub-02/anat/sub-02_FLAIR.nii.gz", "sub-02/anat/sub-02_T1w.json")
    touch(tmp_path, f"{MANUAL}/sub-02/anat/sub-02_space-MNI152NLin2009cAsym_dseg.nii.gz")
    dataset = find_training_cases(tmp_path)
    assert [len(case.images) for case in dataset.cases] == [1, 1] and dataset.channel_names == ("T1w",)


def test_tables_of_other_labels_do_not_apply(tmp_path: Path) -> None:
    names(labelled(tmp_path) / MANUAL / "desc-aseg_dseg.tsv", [(17, "Left-Hippocampus")])
    assert find_training_cases(tmp_path).class_names == {}


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ([f"{MANUAL}/sub-02/anat/sub-02_desc-two_dseg.nii.gz"], "several labels of one image"),
        (["derivatives/other/sub-02/anat/sub-02_dseg.nii.gz"], "several labels of one image"),
        ([f"sub-02/anat/sub-02_run-{r}_T1w.nii.gz" for r in "12"], "a label that fits several images"),
        ([f"{MANUAL}/sub-03/anat/sub-03_dseg.nii.gz"], "1 labels without an image"),
    ],
)
def test_labels_that_are_not_clear(extra: list[str], problem: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=problem) as caught:
        find_training_cases(touch(labelled(tmp_path), *extra))
    assert caught.value.found and caught.value.expected and caught.value.mend


def test_several_contrasts_without_t1w(tmp_path: Path) -> None:
    subjects(subjects(tmp_path, "1", contrast="T2w"), "1", contrast="FLAIR")
    with pytest.raises(LayoutError, match="several contrasts") as caught:
        find_images(tmp_path)
    assert caught.value.found == "FLAIR, T2w"


def test_several_classes_in_masks_of_their_own(tmp_path: Path) -> None:
    touch(subjects(tmp_path, "1"), *(f"{MANUAL}/sub-1/anat/sub-1_label-{k}_mask.nii.gz" for k in ("GM", "WM")))
    with pytest.raises(LayoutError, match="files of their own") as caught:
        find_training_cases(tmp_path)
    assert caught.value.found == "GM, WM"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("value\tname\n1\ta\n", "is no table of classes"),
        ("index\tname\n1\n", "is no table of classes"),
        ("index\tname\none\ta\n", "no value from 0 to 65535"),
        ("index\tname\n1\ta\n1\tb\n", "two names of one class"),
        ("index\tname\n1\tcyst\n2\tcyst\n", "two classes of one name"),
    ],
)
def test_tables_that_are_refused(text: str, problem: str, tmp_path: Path) -> None:
    table = labelled(tmp_path) / MANUAL / "dseg.tsv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(LayoutError, match=problem) as caught:
        find_training_cases(tmp_path)
    assert caught.value.path == table


def test_without_labels_there_is_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="no labelled cases") as caught:
        find_training_cases(subjects(tmp_path, "1"))
    assert "BIDS" in str(caught.value.expected)
