"""nnU-Net as a peer: conversion, schedule and command lines; nnU-Net itself is not installed here."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from support import blobs, write_scan

from masg_sam import evaluate

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
Script = Callable[[str], ModuleType]


def test_scans_and_labels_numbered_from_one(script: Script, tmp_path: Path) -> None:
    """Values 3 and 7, and 9 for what nobody labelled, become 1, 2 and 3 on the same grid; no test case is there."""
    source = tmp_path / "source"
    image, label = blobs(0, classes=2)
    stored = np.array([0, 3, 7], np.uint8)[label]
    stored[..., 0] = 9
    affine = np.diag([-0.8, 0.8, 3.0, 1.0])
    for part in ("Tr", "Ts"):
        write_scan(source / f"images{part}/{part}_0000.nii.gz", image + (part == "Ts"), affine)
        write_scan(source / f"labels{part}/{part}.nii.gz", stored, affine)
    names = {"background": 0, "liver": 3, "spleen": 7, "ignore": 9}
    (source / "dataset.json").write_text(json.dumps({"channel_names": {"0": "CT"}, "labels": names}), encoding="utf-8")
    assert script("nnunet").write_training(source, tmp_path / "raw") == (".nii.gz", ["Tr"])
    facts = json.loads((tmp_path / "raw/dataset.json").read_text(encoding="utf-8"))
    assert facts["labels"] == {"background": 0, "liver": 1, "spleen": 2, "ignore": 3}
    assert facts["channel_names"] == {"0": "CT"}
    written = nib.load(tmp_path / "raw/labelsTr/Tr.nii.gz")
    expected = label.copy()
    expected[..., 0] = 3
    assert np.array_equal(np.asarray(written.dataobj), expected) and np.allclose(written.affine, affine)
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["dataset.json", "imagesTr", "labelsTr"]


def test_pictures_become_png_and_jpeg_masks_classes(script: Script, tmp_path: Path) -> None:
    source, rng = tmp_path / "train", np.random.default_rng(0)
    inside = np.zeros((48, 64), bool)
    inside[12:30, 20:40] = True
    for folder in ("images", "masks"):
        (source / folder).mkdir(parents=True)
    for name in ("p1", "p2"):
        Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8)).save(source / "images" / f"{name}.jpg")
        Image.fromarray((inside * 255).astype(np.uint8)).save(source / "masks" / f"{name}.jpg", quality=90)
    nnunet = script("nnunet")
    assert nnunet.write_training(source, tmp_path / "raw") == (".png", ["p1", "p2"])
    assert len(json.loads((tmp_path / "raw/dataset.json").read_text(encoding="utf-8"))["channel_names"]) == 3
    with Image.open(tmp_path / "raw/labelsTr/p1.png") as mask:
        assert np.array_equal(np.asarray(mask), inside.astype(np.uint8))
    scores = evaluate(tmp_path / "raw", source / "masks").cases  # as of masks that hold 0 and 1
    assert [one.classes["foreground"].dice for one in scores] == [1.0, 1.0]
    nnunet.write_images(source / "images", tmp_path / "test", ".png")
    with Image.open(tmp_path / "test/p2_0000.png") as picture, Image.open(source / "images/p2.jpg") as original:
        assert np.array_equal(np.asarray(picture), np.asarray(original))


def test_decathlon_images_get_channel_numbers(script: Script, tmp_path: Path) -> None:
    source = tmp_path / "imagesTs/hippocampus_001.nii.gz"
    write_scan(source, blobs(0)[0])
    script("nnunet").write_images(source.parent, tmp_path / "test", ".nii.gz")
    (path,) = (tmp_path / "test").iterdir()
    assert path.name == "hippocampus_001_0000.nii.gz" and path.read_bytes() == source.read_bytes()


@pytest.fixture
def schedule(scripts: None, monkeypatch: pytest.MonkeyPatch, script: Script) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS / "nnunet_trainer"))
    return script("schedule")


def test_the_rate_falls_to_zero_with_the_clock(schedule: ModuleType) -> None:
    """(1 - p) ** 0.9: all at the start, 0.5359 half-way, nothing at the end and after it."""
    clock = schedule.Clock(1000.0, 1600.0)
    rates = [schedule.polynomial(0.01, clock.passed(now)) for now in (1000, 1300, 1600, 1700)]
    assert rates == pytest.approx([0.01, 0.005358867, 0, 0])


def test_an_iteration_is_only_begun_where_it_fits(schedule: ModuleType) -> None:
    clock = schedule.Clock(0.0, 100.0)
    assert clock.fits(90.0, done=9) and not clock.fits(90.1, done=9)
    assert not clock.fits(60.0, done=1)


def test_training_ends_in_time_whatever_the_pace(schedule: ModuleType) -> None:
    clock, now, done = schedule.Clock(0.0, 60.0), 0.0, 0
    while not done or clock.fits(now, done):
        now += 1 if done < 20 else 4  # the machine slows down
        done += 1
    assert done == 20 + 10 and now == 60


def test_command_lines(script: Script, tmp_path: Path) -> None:
    nnunet = script("nnunet")
    assert nnunet.planning("2d")[:5] == ["nnUNetv2_plan_and_preprocess", "-d", "1", "-c", "2d"]
    train = ["nnUNetv2_train", "1", "3d_fullres", "all", "-tr", "MinutesTrainer", "-p", "nnUNetPlans", "-device", "cpu"]
    assert nnunet.training("3d_fullres", "cpu") == train
    folder = nnunet.model(Path("RUN"), "2d")
    assert folder == Path("RUN/nnunet/results/Dataset001_MASG/MinutesTrainer__nnUNetPlans__2d")
    found = nnunet.prediction(Path("IN"), Path("OUT"), folder, "cuda")
    assert found[1:9] == ["-i", "IN", "-o", "OUT", "-m", str(folder), "-f", "all"] and "cuda" in found
    variables = nnunet.variables(tmp_path)
    assert Path(variables["nnUNet_extTrainer"], "minutes_trainer.py").exists()
    assert variables["nnUNet_raw"] == str(tmp_path / "nnunet/raw")


@pytest.fixture
def env(tmp_path: Path) -> Path:
    """An environment whose commands do nothing but say what they got, and whose training notes what ours does."""
    place = tmp_path / "env"
    (place / "bin").mkdir(parents=True)
    body = f"""#!{sys.executable}
import json, os, sys
from pathlib import Path
name = Path(sys.argv[0]).name
if name == "python":
    print("cpu")
elif name == "nnUNetv2_train":
    run = Path(os.environ["nnUNet_results"], "Dataset001_MASG/MinutesTrainer__nnUNetPlans__3d_fullres/fold_all")
    run.mkdir(parents=True)
    facts = {{"iterations": 7, "patch_size": [8, 16, 16], "seed": os.environ["MASG_SAM_NNUNET_SEED"]}}
    facts["until"] = float(os.environ["MASG_SAM_NNUNET_DEADLINE"])
    (run / "minutes.json").write_text(json.dumps(facts))
elif name == "nnUNetv2_plan_and_preprocess":
    sys.exit(not Path(os.environ["nnUNet_raw"], "Dataset001_MASG/dataset.json").exists())
else:
    out = Path(sys.argv[sys.argv.index("-o") + 1])
    out.mkdir()
    names = sorted(os.listdir(sys.argv[sys.argv.index("-i") + 1]))
    (out / "seen").write_text(" ".join(names))
"""
    for name in ("python", "nnUNetv2_train", "nnUNetv2_plan_and_preprocess", "nnUNetv2_predict_from_modelfolder"):
        (place / "bin" / name).write_text(body, encoding="utf-8")
        os.chmod(place / "bin" / name, 0o755)
    return place


def test_the_steps_one_after_the_other(env: Path, data: Path, tmp_path: Path) -> None:
    run, masks = tmp_path / "run", tmp_path / "masks"

    def call(*words: object) -> None:
        command = [sys.executable, str(BENCHMARKS / "nnunet.py"), *map(str, words), "--env", str(env)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stderr

    call("prepare", data / "la4", "--out", run)
    call("train", run, "--minutes", "0.5", "--seed", "4")
    call("predict", run, data / "la4/imagesTs", "--out", masks)
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert facts["steps"] == 7 and facts["task"]["size"] == [8, 16, 16] and facts["cases"] == ["s0", "s1", "s2", "s3"]
    assert facts["facts"]["seed"] == "4" and facts["facts"]["configuration"] == "3d_fullres"
    assert facts["facts"]["minutes"] == 0.5
    assert (masks / "seen").read_text() == "s0_0000.nii.gz s1_0000.nii.gz s2_0000.nii.gz"


def test_the_trainer_reads_what_the_runner_writes(script: Script) -> None:
    """Names that two environments must agree on, since neither can import the other."""
    tree = ast.parse((BENCHMARKS / "nnunet_trainer/minutes_trainer.py").read_text(encoding="utf-8"))
    (names,) = (n for n in tree.body if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Tuple))
    nnunet = script("nnunet")
    assert ast.literal_eval(names.value) == (nnunet.DEADLINE, nnunet.SEED)
    assert nnunet.TRAINER in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


def test_an_environment_without_nnunet_is_not_taken_for_one(script: Script, tmp_path: Path) -> None:
    assert not script("nnunet").installed(tmp_path)


def test_the_trainer_itself() -> None:
    pytest.importorskip("nnunetv2", reason="nnU-Net lives in an environment of its own")
    sys.path.insert(0, str(BENCHMARKS / "nnunet_trainer"))
    from minutes_trainer import MinutesTrainer

    assert MinutesTrainer.run_training is not MinutesTrainer.__mro__[1].run_training
