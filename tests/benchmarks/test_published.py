"""Published few-shot settings, on stand-ins that lie on disk like the downloads."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from support import blobs, write_scan

from masg_sam.data.io import read_label, write_label

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
Script = Callable[[str], ModuleType]


def promise(folder: Path) -> None:
    """Fifty cases as MetaImage, of which the protocol takes thirteen."""
    folder.mkdir(parents=True)
    for number in range(50):
        image, label = blobs(number, shape=(32, 32, 5))
        for data, ending in ((image, ""), (label, "_segmentation")):
            written = sitk.GetImageFromArray(data.transpose(2, 1, 0))
            written.SetSpacing((0.6, 0.6, 3.6))
            sitk.WriteImage(written, folder / f"Case{number:02d}{ending}.mhd")


def synapse(folder: Path, cases: dict[str, list[int] | str]) -> None:
    """Scans as deep as the protocol's slices ask, with all thirteen organs, on RAS axes."""
    for case, slices in cases.items():
        depth = 3 if slices == "all" else max(slices) + 1
        label = np.zeros((32, 32, depth), np.uint8)
        for organ in range(1, 14):
            label[2 * organ : 2 * organ + 2, 8:24] = organ
        image = (label * 20 - 100).astype(np.int16)
        image[:, :4] = -1000
        affine = np.diag([0.7, 0.7, 3.0, 1.0])
        write_scan(folder / f"RawData/Training/img/img{case}.nii.gz", image, affine)
        write_scan(folder / f"RawData/Training/label/label{case}.nii.gz", label, affine)


def test_promise12_is_thirteen_scans(script: Script, tmp_path: Path) -> None:
    promise(tmp_path / "promise12/TrainingData")
    place = script("published").prepare("promise12", tmp_path / "promise12", tmp_path / "out")
    names = {part: sorted(path.name for path in (place / part).iterdir()) for part in ("labelsTr", "labelsTs")}
    assert names["labelsTr"] == ["case05.nii.gz", "case14.nii.gz", "case29.nii.gz"] and len(names["labelsTs"]) == 10
    label = nib.load(place / "labelsTr/case14.nii.gz")
    assert np.array_equal(np.asarray(label.dataobj), blobs(14, shape=(32, 32, 5))[1])
    assert label.header.get_zooms() == pytest.approx((0.6, 0.6, 3.6))
    facts = json.loads((place / "dataset.json").read_text(encoding="utf-8"))
    assert facts["labels"] == {"background": 0, "prostate": 1}


def test_synapse_is_split_and_labelled_as_published(script: Script) -> None:
    protocol = script("published").read_protocol("synapse")
    train, test = protocol["train"], protocol["test"]
    assert len(train) == 18 and len(test) == 12 and not set(train) & set(test)
    assert set(train) | set(test) == {f"{n:04d}" for n in (*range(1, 11), *range(21, 41))}
    assert sum(len(slices) for slices in train.values()) == 221 and len(protocol["classes"]) == 8


def test_slices_count_in_the_order_of_the_file(script: Script, tmp_path: Path) -> None:
    """In a file that runs from head to feet, its slice 1 is the labelled one; value 6 is class 2, and 5 nothing."""
    published, path = script("published"), tmp_path / "label.nii.gz"
    label = np.broadcast_to(np.array([0, 5, 6, 1], np.uint8)[:, None, None], (4, 3, 5))
    write_scan(path, label, np.diag([0.7, 0.7, -3.0, 1.0]))
    volume = read_label(path)
    write_label(published.chosen(volume, [1, 6], [1]), volume, path)
    written = np.asarray(nib.load(path).dataobj)
    assert written[:, 0, 1].tolist() == [0, 0, 2, 1]
    assert (written[..., [0, 2, 3, 4]] == 3).all()


def test_a_file_that_is_missing_is_named(script: Script, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"0 files are called Case05\.mhd"):
        script("published").prepare("promise12", tmp_path, tmp_path / "out")
    assert not (tmp_path / "out/dataset.json").exists()


def test_synapse_by_one_command(script: Script, tmp_path: Path, recipe: Path) -> None:
    """Conversion, training on the labelled slices alone, prediction and scores of the eight organs."""
    protocol = script("published").read_protocol("synapse")
    synapse(tmp_path / "data/synapse", protocol["train"] | dict.fromkeys(protocol["test"], "all"))
    folders = [
        *("--data", str(tmp_path / "data"), "--work", str(tmp_path / "work"), "--results", str(tmp_path / "results"))
    ]
    asked = ["--study", "published", "--datasets", "synapse", "--methods", "masg-sam", "--config", str(recipe)]
    command = [sys.executable, str(BENCHMARKS / "run.py"), *folders, *asked, "--quick"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stderr
    written = np.asarray(nib.load(tmp_path / "work/data/synapse/labelsTr/case0034.nii.gz").dataobj)
    labelled = [z for z in range(written.shape[-1]) if not (written[..., z] == 9).all()]
    assert labelled == protocol["train"]["0034"]
    values = {1: 1, 2: 2, 3: 3, 4: 4, 5: 0, 6: 5, 7: 6, 8: 7, 9: 0, 10: 0, 11: 8, 12: 0, 13: 0}
    assert {organ: int(written[2 * organ, 10, labelled[0]]) for organ in values} == values
    record = json.loads((tmp_path / "results/published/synapse-masg-sam-0.json").read_text(encoding="utf-8"))
    assert list(record["classes"]) == list(protocol["classes"]) and len(record["cases"]) == 2
    assert len(record["trained_on"]) == 18 and str(tmp_path) not in record["command"]
