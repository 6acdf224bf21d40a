"""Reports of a run and of masks: what they say, and what they say is missing."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from support import blobs, write_scan

from masg_sam import api
from masg_sam.config import Config
from masg_sam.errors import ConfigError, InputError, OutputError
from masg_sam.reports.content import Limits, Report, Table
from masg_sam.reports.gather import gather
from masg_sam.reports.write import render, write_report


@pytest.fixture
def data(make_dataset: Callable[..., Path]) -> Path:
    return make_dataset(classes=2)


@pytest.fixture
def run(data: Path, tiny: Config, tmp_path: Path) -> Path:
    api.train(data, tmp_path / "run", tiny, console=Console(quiet=True))
    return tmp_path / "run"


@pytest.fixture
def masks(run: Path, data: Path, tmp_path: Path) -> Path:
    list(api.predict(run, data / "imagesTs", tmp_path / "masks", device="cpu"))
    return tmp_path / "masks"


def test_of_a_run(run, data):
    report = gather(run, device="cpu")
    assert report.missing == []
    assert [case.name for case in report.pictures] == ["case0", "case1"]
    assert report.layers == ["prediction", "label", "error"]
    assert {one.module for one in report.maps} == {"image", "HAE", "BFE", "DSF"}
    assert {chart.title for chart in report.training} >= {"Loss", "HAE: attention over levels", "DSF: gates"}
    facts = dict(report.facts["Data"])
    assert (facts["classes"], facts["training cases"]) == ("organ 1, organ 2", "case0, case1")
    assert dict(report.tiles)["steps"] == "2"


def test_unlabelled_voxels_of_a_training_case_are_background(run, data):
    """The first plane of the first label is marked as not labelled, as nnU-Net does it."""
    before = gather(run, device="cpu").pictures[0]
    path = data / "labelsTr" / "case0.nii.gz"
    stored = nib.load(path)
    values = np.asarray(stored.dataobj).copy()
    values[0] = 3
    write_scan(path, values, stored.affine)
    facts = json.loads((data / "dataset.json").read_text())
    (data / "dataset.json").write_text(json.dumps(facts | {"labels": facts["labels"] | {"ignore": 3}}))
    record = json.loads((run / "model.json").read_text())
    record["task"]["labels"]["ignore"] = 3
    (run / "model.json").write_text(json.dumps(record))
    after = gather(run, device="cpu").pictures[0]
    assert [one.layers for one in after.slices] == [one.layers for one in before.slices]


def test_only_cases_that_were_trained_on_are_shown(run, data, monkeypatch, tmp_path):
    """A case was added since, and one of them is damaged now; the report is made elsewhere."""
    for kind, name in (("imagesTr", "{}_0000.nii.gz"), ("labelsTr", "{}.nii.gz")):
        shutil.copy(data / kind / name.format("case1"), data / kind / name.format("added"))
    (data / "imagesTr" / "case0_0000.nii.gz").write_bytes(b"damaged")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    report = gather(run, device="cpu")
    assert [case.name for case in report.pictures] == ["case1"]
    assert len(report.missing) == 1 and "case0_0000.nii.gz" in report.missing[0]


def test_a_run_remembers_where_its_data_are(data, tiny, monkeypatch, tmp_path):
    monkeypatch.chdir(data.parent)
    api.train(data.name, "run", tiny, console=Console(quiet=True))
    assert json.loads(Path("run/run.json").read_text())["data"] == str(data.resolve())


def test_of_a_run_whose_data_are_gone(run, data):
    shutil.rmtree(data)
    report = gather(run, device="cpu")
    assert report.pictures == [] and report.maps == []
    assert str(data) in report.missing[0]
    assert "Not shown" in render(report)


def test_of_masks_with_labels(masks, data):
    report = gather(masks, data / "labelsTs", device="cpu")
    assert report.missing == []
    scores = api.evaluate(masks, data / "labelsTs")
    row = dict(zip(report.cases.columns, report.cases.rows[0], strict=True))
    assert row["case"] == "case0"
    assert row["Dice"] == round(scores.cases[0].mean("dice"), 3)
    assert row["Dice organ 2"] == round(scores.cases[0].classes["organ 2"].dice, 3)
    assert report.layers == ["prediction", "label", "error"]
    assert report.scores[0].title == "Dice"
    assert len(report.maps) > 4


def test_the_tolerance_is_that_of_the_call(masks, data):
    found = []
    for tolerance in (1.0, 8.0):
        report = gather(masks, data / "labelsTs", device="cpu", tolerance_mm=tolerance)
        row = dict(zip(report.cases.columns, report.cases.rows[0], strict=True))
        scores = api.evaluate(masks, data / "labelsTs", tolerance)
        assert row["surface Dice"] == round(scores.cases[0].mean("surface_dice"), 3)
        assert ("tolerance", f"{tolerance:g} mm") in report.facts["Evaluation"]
        found.append(row["surface Dice"])
    assert found[0] < found[1]
    with pytest.raises(ConfigError, match="no distance"):
        gather(masks, data / "labelsTs", tolerance_mm=math.nan)


def test_labels_in_other_values_than_the_masks(masks, data, tmp_path):
    """Classes go by their names; what nobody labelled is shown as background."""
    stored = nib.load(data / "labelsTs" / "case0.nii.gz")
    values = np.array([0, 7, 3], np.uint8)[np.asarray(stored.dataobj)]
    values[0] = 9
    write_scan(tmp_path / "labels" / "case0.nii.gz", values, stored.affine)
    names = {"background": 0, "Organ_2": 3, "organ-1": 7, "ignore": 9}
    (tmp_path / "labels" / "dataset.json").write_text(json.dumps({"labels": names}))
    seen = []
    for labels in (data / "labelsTs", tmp_path / "labels"):
        (case,) = gather(masks, labels, device="cpu").pictures
        seen.append([one.layers["label"] for one in case.slices])
    assert seen[0] == seen[1]


def test_grey_labels_of_a_black_and_white_model(tiny, tmp_path):
    """JPEG labels have no names and many values; the report takes them as `evaluate` does."""
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for i in range(2):
            image, label = blobs(i, shape=(64, 64, 3))
            folder = tmp_path / part
            for kind, pixels in (
                ("images", image[..., 1]),
                ("labels", label[..., 1] * 250 + rng.integers(0, 5, (64, 64))),
            ):
                (folder / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / kind / f"{i}.jpg")
    api.train(tmp_path / "train", tmp_path / "run", tiny, console=Console(quiet=True))
    list(api.predict(tmp_path / "run", tmp_path / "test" / "images", tmp_path / "masks", device="cpu"))
    report = gather(tmp_path / "masks", tmp_path / "test" / "labels", device="cpu")
    assert report.layers == ["prediction", "label", "error"] and report.scores[0].title == "Dice"


def test_layers_are_those_of_all_cases(run, data, tmp_path):
    """The case of which no label is given comes first, as the worst: label and error are there all the same."""
    masks, labels = tmp_path / "masks", tmp_path / "labels"
    list(api.predict(run, data / "imagesTr", masks))
    results = [json.loads(line) for line in (masks / "predictions.jsonl").read_text().splitlines()]
    for result in results:
        result["expected_dice"] = dict.fromkeys(result["expected_dice"], -1.0 if result["case"] == "case1" else 0.5)
    (masks / "predictions.jsonl").write_text("".join(json.dumps(result) + "\n" for result in results))
    labels.mkdir()
    shutil.copy(data / "labelsTr" / "case0.nii.gz", labels)
    shutil.copy(data / "dataset.json", labels)
    report = gather(masks, labels, device="cpu")
    assert [case.name for case in report.pictures] == ["case1", "case0"]
    assert report.layers == ["prediction", "label", "error"]


def test_of_masks_without_labels(masks):
    report = gather(masks, device="cpu")
    assert report.scores == [] and "--labels" in report.missing[0]
    assert report.layers == ["prediction"]
    assert "organ 1, mL" in report.cases.columns


def test_of_masks_whose_images_and_model_are_gone(masks, run, data):
    shutil.rmtree(run)
    shutil.rmtree(data / "imagesTs")
    report = gather(masks, data / "labelsTs", device="cpu")
    assert report.pictures == [] and report.maps == []
    told = " ".join(report.missing)
    assert "--run" in told and "images are not where they were" in told
    assert report.scores


def test_one_bad_case_does_not_end_the_report(masks, data):
    """One image is damaged, one is another scan by now, one mask is gone, one is as it was."""
    lines = (masks / "predictions.jsonl").read_text()
    image = data / "imagesTs" / "case0_0000.nii.gz"
    for name in ("damaged", "other", "maskless"):
        copy = image.with_name(f"{name}_0000.nii.gz")
        shutil.copy(image, copy)
        shutil.copy(masks / "case0.nii.gz", masks / f"{name}.nii.gz")
        lines += json.dumps(json.loads(lines.splitlines()[0]) | {"case": name, "images": [str(copy)]}) + "\n"
    (masks / "predictions.jsonl").write_text(lines)
    damaged = image.with_name("damaged_0000.nii.gz")
    damaged.write_bytes(damaged.read_bytes()[:200])
    write_scan(image.with_name("other_0000.nii.gz"), np.zeros((4, 5, 6), np.float32))
    (masks / "maskless.nii.gz").unlink()
    report = gather(masks, device="cpu")
    assert [case.name for case in report.pictures] == ["case0"]
    told = "\n".join(report.missing)
    assert "Pictures of damaged: " in told and "Pictures of other: " in told
    assert "1 cases: their masks are no longer there" in told


def test_a_model_that_has_moved(masks, run, tmp_path):
    shutil.move(run, tmp_path / "elsewhere")
    assert gather(masks, run=str(tmp_path / "elsewhere"), device="cpu").maps


def test_limits(run):
    report = gather(run, limits=Limits(slices=2), device="cpu")
    assert [len(case.slices) for case in report.pictures] == [2, 2]


def test_more_cases_than_pictures(masks):
    lines = (masks / "predictions.jsonl").read_text()
    doubled = json.loads(lines) | {"case": "worse", "expected_dice": {"organ 1": 0.0}, "warnings": ["odd spacing"]}
    (masks / "predictions.jsonl").write_text(lines + json.dumps(doubled) + "\n")
    shutil.copy(masks / "case0.nii.gz", masks / "worse.nii.gz")
    report = gather(masks, limits=Limits(cases=1), device="cpu")
    assert [case.name for case in report.pictures] == ["worse"]  # the least expected Dice first
    assert report.warnings["worse"] == ["odd spacing"]
    assert any("1 more" in line for line in report.missing)


@pytest.mark.parametrize(
    "content",
    [
        *("{", "[1]\n", '{"other": 1}\n', ""),
        '{"case": "case0", "volume_ml": [1]}\n',
        '{"case": "case0", "expected_dice": {"organ 1": "high"}}\n',
        '{"case": "case0", "warnings": "none"}\n',
        '{"case": "case0", "seconds": "long"}\n',
    ],
)
def test_damaged_predictions(masks, content):
    (masks / "predictions.jsonl").write_text(content)
    with pytest.raises(InputError) as caught:
        gather(masks, device="cpu")
    assert caught.value.path == masks / "predictions.jsonl"


def test_a_folder_of_neither_kind(tmp_path):
    with pytest.raises(InputError, match="neither"):
        gather(tmp_path)


def test_text_is_escaped_and_nothing_is_fetched():
    bad = "<script>alert(1)</script>"
    report = Report(
        bad, bad, [(bad, bad)], [bad], cases=Table([bad], [[bad]]), warnings={bad: [bad]}, facts={bad: [(bad, bad)]}
    )
    page = render(report)
    assert bad not in page and "&lt;script&gt;" in page
    assert page.count("<script>") == 1
    assert "default-src 'none'" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "Not a medical device" in page and "Apache License 2.0" in page


def test_another_kind_of_file_is_refused_before_the_work(tmp_path):
    with pytest.raises(OutputError, match="HTML file"):
        api.report(tmp_path / "nowhere", tmp_path / "page.pdf")


def test_only_html_is_written(tmp_path):
    with pytest.raises(OutputError, match="HTML"):
        write_report(Report("a", "b"), tmp_path / "report.pdf")
    assert write_report(Report("a", "b"), tmp_path / "new" / "r.html").read_text().startswith("<!doctype html>")


def test_values_of_a_table():
    table = Table(["case", "Dice", "HD95, mm", "warnings"], [])
    assert [table.text(i, value) for i, value in enumerate(["a", 0.9, 5.25, 0])] == ["a", "0.900", "5.2", "0"]
    assert table.text(1, None) == "–"
