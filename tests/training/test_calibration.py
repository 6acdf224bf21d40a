from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import blobs, write_scan

from masg_sam.api import MasgSam, train
from masg_sam.config import Config, override
from masg_sam.data.check import examine
from masg_sam.data.layouts import find_training_cases
from masg_sam.data.task import Task
from masg_sam.data.volume import Geometry, Volume
from masg_sam.training import calibration, run
from masg_sam.training.calibration import calibrate, change, class_dice, cut_block

Make = Callable[..., Task]


def scan(shape: tuple[int, ...] = (40, 30, 30)) -> tuple[Volume, np.ndarray]:
    """A bright ball in noise."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"))
    label = (((grid - np.array([n / 2 for n in shape])[:, None, None, None]) ** 2).sum(0) < 64).astype(np.uint8)
    data = (label * 50 + np.random.default_rng(0).normal(100, 5, shape))[None].astype(np.float32)
    return Volume(data, (1.0, 1.0, 1.0), np.eye(4), Geometry("array", shape, None), Path("x")), label


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_block_holds_a_class(axis: int) -> None:
    volume, label = scan()
    for seed in range(5):
        image, target = cut_block(volume, label, axis, 16, np.random.default_rng(seed))
        assert image.shape == target.shape and target.shape[axis] == 16 and target.any()
        np.testing.assert_allclose(image.data[0][target > 0].mean(), 150, atol=2)


def test_a_picture_is_its_own_block() -> None:
    volume, label = scan((1, 30, 30))
    image, target = cut_block(volume, label, 0, 16, np.random.default_rng(0))
    assert np.array_equal(image.data, volume.data) and np.array_equal(target, label)


def test_dice_of_the_classes_of_a_block_by_hand() -> None:
    """Class 1: 20 and 30 voxels, 20 in common; class 2 too small; class 3 missed; class 4 found beside nothing."""
    target, mask = np.zeros((2, 1, 2, 50), np.uint8)
    mask[0, 0, :20], target[0, 0, :30] = 1, 1
    mask[0, 0, 40:45], target[0, 0, 40:45] = 2, 2
    target[0, 1, :25] = 3
    mask[0, 1, 25:50] = 4
    assert list(class_dice(mask, target, 4)) == [(0, 0.8), (3, 0.0)]
    target[0, 1, 25:50] = 255
    assert list(class_dice(mask, target, 4)) == [(0, 0.8)]


def test_strength_nothing_changes_nothing(make_task: Make) -> None:
    volume, label = scan()
    image, target = change(volume, label, 0.0, make_task(), np.random.default_rng(0))
    np.testing.assert_allclose(image.data, volume.data, atol=1e-3)
    assert np.array_equal(target, label)


def test_the_stronger_the_farther_from_the_image(make_task: Make) -> None:
    volume, label = scan()

    def difference(strength: float) -> float:
        images = (change(volume, label, strength, make_task(), np.random.default_rng(s))[0] for s in range(6))
        return float(np.mean([np.abs(image.data - volume.data).mean() for image in images]))

    assert 0 < difference(0.2) < difference(0.6) < difference(1.0)


def test_an_empty_margin_stays_empty(make_task: Make) -> None:
    """A body that was cut out lies in one value; what is changed is the body, turned, and not what is around it."""
    volume, label = scan()
    volume.data[0, :, :6] = volume.data[0, :, -6:] = volume.data[0, :, :, :6] = volume.data[0, :, :, -6:] = 0
    for seed in range(4):
        image, _ = change(volume, label, 1.0, make_task(), np.random.default_rng(seed))
        assert (image.data[0, :, 0, 0] == 0).all()
        assert 0.1 < (image.data == 0).mean() < 0.9 and np.abs(image.data - volume.data).max() > 20


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_image_and_label_turn_together_within_the_slices(make_task: Make, plane: str) -> None:
    volume, label = scan()
    label[:, 10:14, 22:26] = 2
    volume.data[0][label == 2] = 400
    task = make_task(2, plane=plane)
    image, target = change(volume, label, 0.5, task, np.random.default_rng(3))
    assert set(np.unique(target)) == {0, 1, 2} and target.shape == label.shape and target.dtype == label.dtype
    middle = np.abs(image.data[0]) > 250
    assert (middle & (target == 2)).sum() > 0.6 * (target == 2).sum()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_calibration_of_a_trained_model(
    make_dataset: Callable[..., Path], tiny: Config, tmp_path: Path, precision: str
) -> None:
    data = make_dataset(cases=2)
    settings = {"training.steps": 100, "training.lr": 3e-3, "training.calibration": 8}
    config = override(tiny, settings | {"training.precision": precision})
    model = train(data, tmp_path / "run", config)
    assert model.quality is not None and model.quality.calibration.cases <= 8
    assert model.quality.familiarity.limit > 0 and model.quality.always == (True,)
    dataset = find_training_cases(data)
    summaries = examine(dataset).cases
    again = calibrate(model.predictor, dataset.cases, summaries, model.model.task.labels, 8, 0)
    assert again == model.quality
    lacking = [*summaries, replace(summaries[0], spacing=(9.0, 9.0, 9.0), voxels=(0,))]
    more = calibrate(model.predictor, dataset.cases, lacking, model.model.task.labels, 8, 0)
    assert more.always == (False,) and all(high == 9.0 for _, high in more.familiarity.spacing)
    assert MasgSam.from_pretrained(tmp_path / "run").quality == model.quality


def test_blocks_of_framed_pictures_lie_inside_of_the_frame(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise would hide the frame, and the picture be seen at another scale than it is."""
    rng = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for i in range(2):
            data = np.zeros((48, 100, 3) if folder == "images" else (48, 100), np.uint8)
            data[2:46, 20:80] = rng.uniform(60, 200, (44, 60, 3)) if folder == "images" else 0
            data[10:30, 30:60] = 220 if folder == "images" else 1
            Image.fromarray(data).save(tmp_path / "data" / folder / f"{i}.png")
    changed = []
    monkeypatch.setattr(
        calibration, "change", lambda volume, label, *others: changed.append(volume.shape) or (volume, label)
    )
    train(tmp_path / "data", tmp_path / "run", override(tiny, {"training.steps": 2, "training.calibration": 4}))
    assert changed == [(1, 44, 60)] * 4


def test_volumes_in_three_planes_from_end_to_end(tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cubes are trained, calibrated in six whole blocks instead of twelve thin ones, and segmented, in three planes."""
    data, shape = tmp_path / "cubes", (30, 28, 26)
    for i in range(2):
        for folder, array in zip(("images", "labels"), blobs(i, shape=shape), strict=True):
            write_scan(data / folder / f"case{i}.nii.gz", array, np.eye(4))
    planes: list[str] = []
    shapes: list[tuple[int, ...]] = []
    embed, cut = run.embed_classes, calibration.cut_block

    def embed_and_note(*arguments: object, plane: str, **settings: object) -> object:
        planes.append(plane)
        return embed(*arguments, plane=plane, **settings)  # type: ignore[arg-type]

    def cut_and_note(*arguments: object) -> tuple[Volume, np.ndarray]:
        image, label = cut(*arguments)  # type: ignore[arg-type]
        shapes.append(label.shape)
        return image, label

    monkeypatch.setattr(run, "embed_classes", embed_and_note)
    monkeypatch.setattr(calibration, "cut_block", cut_and_note)
    config = override(tiny, {"training.steps": 90, "training.lr": 3e-3, "training.calibration": 12})
    model = train(data, tmp_path / "run", config)
    assert list(model.model.task.across) == ["coronal", "sagittal"]
    assert planes == [""]  # a sentence that names one plane would be wrong in the others
    assert shapes == [shape[::-1]] * 6
    assert model.quality is not None and model.quality.calibration.cases <= 8
    assert "planes" in model.quality.calibration.scales
    loaded = MasgSam.from_pretrained(tmp_path / "run")
    assert loaded.model.task == model.model.task and loaded.quality == model.quality
    (result, _) = loaded.predict(data / "images", tmp_path / "masks")
    assert result.expected_dice["foreground"] is not None


def test_calibration_can_be_left_out(make_dataset: Callable[..., Path], tiny: Config, tmp_path: Path) -> None:
    model = train(make_dataset(), tmp_path / "run", override(tiny, {"training.calibration": 0}))
    assert model.quality is None
    (result,) = model.predict(tmp_path / "blobs" / "imagesTs", tmp_path / "masks")
    assert set(result.expected_dice.values()) == {None} and result.warnings == []
