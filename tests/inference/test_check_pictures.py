"""What `check --out` leaves."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import write_scan

from masg_sam import api
from masg_sam.errors import OutputError


def test_a_picture_of_each_sound_case_and_the_facts(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    data = make_dataset(cases=3)
    (data / "labelsTr" / "case1.nii.gz").write_bytes(b"x")
    found = api.check(data, tmp_path / "out")
    assert len(found.errors) == 1
    assert sorted(os.listdir(tmp_path / "out" / "pictures")) == ["case0.png", "case2.png"]
    facts = json.loads((tmp_path / "out" / "check.json").read_text(encoding="utf-8"))
    assert (facts["ok"], len(facts["cases"]), len(facts["findings"])) == (False, 3, 1)


def test_the_label_is_painted_and_what_nobody_labelled_is_not(
    make_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    data = make_dataset(cases=1)
    facts = json.loads((data / "dataset.json").read_text())
    facts["labels"]["ignore"] = 2
    (data / "dataset.json").write_text(json.dumps(facts))
    plain = colours(data, tmp_path / "plain")
    label = np.zeros((40, 36, 6), np.uint8)
    label[10:30, 8:28] = 1
    write_scan(data / "labelsTr" / "case0.nii.gz", label)
    large = colours(data, tmp_path / "large")
    label[:, :, :] = np.where(label == 0, 2, label)
    write_scan(data / "labelsTr" / "case0.nii.gz", label)
    assert 0 < plain < large and colours(data, tmp_path / "sparse") == large


def colours(data: Path, out: Path) -> int:
    """Pixels of the picture that are not grey."""
    api.check(data, out)
    pixels = np.asarray(Image.open(out / "pictures" / "case0.png").convert("RGB")).astype(int)
    return int((np.ptp(pixels, axis=-1) > 20).sum())


def test_an_error_of_the_whole_set_leaves_only_the_facts(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    data = make_dataset(cases=1)
    write_scan(data / "labelsTr" / "case0.nii.gz", np.zeros((40, 36, 6), np.uint8))
    assert api.check(data, tmp_path / "out").errors
    assert os.listdir(tmp_path / "out") == ["check.json"]


def test_a_file_in_the_place_of_the_folder(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="not a folder"):
        api.check(make_dataset(), tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_nothing_is_written_unless_asked_for(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    data = make_dataset()
    before = sorted(tmp_path.rglob("*"))
    api.check(data)
    assert sorted(tmp_path.rglob("*")) == before
