"""The rules of the check, each with a case that triggers it and one that does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from masg_sam.data.check import CaseSummary, Finding
from masg_sam.data.check.intensities import constant_images, far_ranges, hounsfield
from masg_sam.data.check.sets import alike, deeper_folders, far_spacing, label_findings, unnamed_channels
from masg_sam.data.labels import LabelMap
from masg_sam.data.layouts import Case, Dataset
from masg_sam.errors import ImageError, LayoutError

LIVER = LabelMap((1,), ("liver",))


def summary(name: str = "a", **changes: Any) -> CaseSummary:
    values: dict[str, Any] = {
        "shape": (10, 100, 100), "spacing": (1.0, 1.0, 1.0), "channels": 1, "picture": False, "air": 0.0,
        "voxels": (50,), "ranges": ((0.0, 100.0),), "path": "a.nii.gz",
    }  # fmt: skip
    return CaseSummary(name, **(values | changes))


def named(*changes: dict[str, Any]) -> list[CaseSummary]:
    return [summary(name, **change) for name, change in zip("abcdef", changes, strict=False)]


def told(findings: Sequence[Finding]) -> list[tuple[str, str | None]]:
    assert all(finding.message and finding.advice for finding in findings)
    return [(finding.level, finding.case) for finding in findings]


# --- shapes and channels ---------------------------------------------------------------------------------------


def test_the_case_unlike_most_is_the_wrong_one() -> None:
    (finding,) = alike(named({"channels": 3}, {}, {}))
    assert (finding.level, finding.case) == ("error", "a") and isinstance(finding.error, ImageError)
    assert finding.message == "a.nii.gz: another number of channels than b; found 3; expected 1"
    assert list(alike(named({"channels": 3}, {"channels": 3}))) == []


def test_channels_that_are_named_and_not_there() -> None:
    dataset = Dataset(Path(), "nnunet", (), {}, ("T1", "FLAIR"))
    (finding,) = unnamed_channels(named({}, {}), dataset)
    assert (finding.level, finding.case) == ("warning", None)
    assert "names 2 channels (T1, FLAIR), and every image has 1" in finding.message
    assert not list(unnamed_channels(named({"channels": 2}, {"channels": 2}), dataset))
    assert not list(unnamed_channels(named({"channels": 3}), replace(dataset, channel_names=("endoscopy",))))


def test_folders_among_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "p2/b.png", "notes/c.txt", ".cache/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    dataset = Dataset(tmp_path, "folders", (Case("a", (tmp_path / "a.png",), None),), {}, ())
    (finding,) = deeper_folders(dataset)
    assert finding.level == "warning" and finding.message.endswith("not looked into: p2")
    assert not list(deeper_folders(replace(dataset, layout="nnunet")))

    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("masg_sam.data.check.sets.readable", refuse)  # as of lost+found
    assert not list(deeper_folders(dataset))


def test_pictures_among_scans() -> None:
    (finding,) = alike(named({}, {}, {"picture": True}))
    assert finding.case == "c" and isinstance(finding.error, LayoutError)
    assert finding.message == "a.nii.gz: scans and pictures in one dataset; found a picture; expected what a is"


@pytest.mark.parametrize(("spacing", "expected"), [(2.0, []), (2.1, [("warning", "d")]), (0.4, [("warning", "d")])])
def test_spacing(spacing: float, expected: list[tuple[str, str]]) -> None:
    found = list(far_spacing(named({}, {}, {}, {"spacing": (spacing, 1.0, 1.0)})))
    assert told(found) == expected
    assert not found or "is far from the usual 1 x 1 x 1 mm" in found[0].message


# --- labels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shown", "expected"), [(2, [("warning", None)]), (3, []), (5, [])])
def test_a_class_in_fewer_than_half_of_the_cases(shown: int, expected: list[tuple[str, str]]) -> None:
    two = LabelMap((1, 2), ("liver", "spleen"))
    cases = named(*({"voxels": (50, 50 if i < shown else 0)} for i in range(5)))
    found = list(label_findings(cases, two))
    assert told(found) == expected
    assert not found or found[0].message == "in fewer than half of the cases: spleen (2 of 5)"


@pytest.mark.parametrize(
    ("count", "shape", "expected"),
    [
        (9, (10, 100, 100), [("warning", "a")]),
        (10, (10, 100, 100), []),
        (9, (1, 10, 10), []),  # of a hundred voxels that is a good part
    ],
)
def test_a_class_of_hardly_a_voxel(count: int, shape: tuple[int, int, int], expected: list[tuple[str, str]]) -> None:
    found = list(label_findings([summary(voxels=(count,), shape=shape)], LIVER))
    assert told(found) == expected
    assert not found or found[0].message == "a: liver has only 9 voxels"


def test_empty_and_unseen() -> None:
    assert told(list(label_findings(named({"voxels": (0,)}, {"voxels": (50,)}), LIVER))) == [("warning", "a")]
    assert told(list(label_findings(named({"voxels": (0,)}), LIVER))) == [("warning", None), ("warning", "a")]
    assert list(label_findings([], LIVER)) == []


# --- intensities -----------------------------------------------------------------------------------------------


def test_an_image_of_one_value() -> None:
    flat = {"constant": (0,), "ranges": ((7.0, 7.0),)}
    (finding,) = constant_images(named(flat, {}))
    assert (finding.level, finding.case) == ("error", "a")
    assert "an image of one value everywhere, with a label on it; found 7 in every voxel, 50 voxels" in finding.message
    assert told(list(constant_images(named(flat | {"voxels": (0,)})))) == [("warning", "a")]


def test_one_channel_of_one_value() -> None:
    two = {"channels": 2, "constant": (1,), "ranges": ((0.0, 9.0), (0.0, 0.0))}
    (finding,) = constant_images(named(two))
    assert (finding.level, finding.message) == ("warning", "a: channel 2 is 0 in every voxel")


@pytest.mark.parametrize(
    ("ends", "far"),
    [
        ((0.0, 100.0), False),
        ((50.0, 999.0), False),
        ((0.0, 1001.0), True),  # more than ten times as wide
        ((0.0, 10.1), False),
        ((0.0, 9.9), True),
        ((100.1, 180.0), True),  # nothing in common
        ((-90.0, -0.1), True),
    ],
)
def test_a_range_far_from_the_others(ends: tuple[float, float], far: bool) -> None:
    found = list(far_ranges(named({}, {}, {"ranges": (ends,)})))
    assert told(found) == [("warning", "c")] * far
    assert not far or "are far from the usual 0 to 100" in found[0].message


def test_of_two_cases_none_is_the_odd_one() -> None:
    narrow, wide = {"ranges": ((0.0, 1.0),)}, {"ranges": ((0.0, 1000.0),)}
    assert list(far_ranges(named(narrow, wide))) == []
    assert told(list(far_ranges(named(narrow, wide, wide)))) == [("warning", "a")]


def test_a_channel_of_one_value_is_not_told_twice() -> None:
    assert list(far_ranges(named({}, {}, {"constant": (0,), "ranges": ((500.0, 500.0),)}))) == []


def test_ranges_are_compared_channel_by_channel() -> None:
    pair, odd = {"ranges": ((0.0, 1.0), (0.0, 100.0))}, {"ranges": ((0.0, 1.0), (0.0, 5000.0))}
    (finding,) = far_ranges(named(pair, pair, odd))
    assert finding.message == "c: values from 0 to 5000 are far from the usual 0 to 100 in channel 2"


HU, RAISED, CUT = {"air": 0.4, "ranges": ((-1000.0, 400.0),)}, {"raised": 0.2}, {"ranges": ((-150.0, 250.0),)}


@pytest.mark.parametrize(
    ("scales", "expected"),
    [
        ([HU, HU, HU], []),
        ([HU, HU, RAISED], [("warning", "c")]),
        ([HU, HU, CUT], [("warning", "c")]),
        ([RAISED, RAISED], [("note", None)]),
        ([CUT, CUT, HU], [("note", None), ("warning", "c")]),
    ],
)
def test_hounsfield_units(scales: list[dict[str, Any]], expected: list[tuple[str, str]]) -> None:
    assert told(list(hounsfield(named(*scales)))) == expected


def test_what_is_said_of_the_scale_of_ct() -> None:
    (raised,), (cut,) = (list(hounsfield(named(scale))) for scale in (RAISED, CUT))
    assert raised.message.startswith("values like HU + 1024") and raised.message.endswith("in 1 of 1 images")
    assert raised.advice == "subtract 1024; images to segment must be prepared alike"
    assert "next to nothing below -300 HU" in cut.message
    (bone,) = hounsfield(named(CUT | {"raised": 0.2}))  # bright, and below 0 too
    assert bone.message == cut.message
