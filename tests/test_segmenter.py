from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from support import blobs, write_scan

from masg_sam import MasgSam, predict, report, train
from masg_sam.config import Config, override
from masg_sam.data.intensity import Intensity
from masg_sam.data.io import read_channels
from masg_sam.data.task import Task
from masg_sam.errors import CheckpointError, ConfigError, ImageError, InputError, OutputError, WriteError
from masg_sam.inference.prompting import Box, Click
from masg_sam.models.checkpoint import TrainedModel
from masg_sam.models.masg_sam import MasgSamNetwork
from masg_sam.models.sam.weights import load_sam


@pytest.fixture
def trained(make_dataset: Callable[..., Path], tiny: Config, tmp_path: Path) -> tuple[MasgSam, Path]:
    """A model that finds its organ, and the test image."""
    data = make_dataset(cases=2)
    settings = {"training.steps": 100, "training.lr": 3e-3, "training.calibration": 0, "data.prompts": 0.5}
    return train(data, tmp_path / "run", override(tiny, settings)), data / "imagesTs" / "case0_0000.nii.gz"


@pytest.fixture
def untrained(tiny: Config, make_task: Callable[..., Task]) -> MasgSam:
    """A model that was never trained, for what does not hang on its masks."""
    sam = load_sam(tiny.model.encoder)
    network = MasgSamNetwork(tiny.model, sam, 1, 3, torch.randn(1, 16)).eval()
    return MasgSam(TrainedModel(network, make_task(), tiny, sam.architecture, {}), "cpu")


@pytest.fixture
def scans(tmp_path: Path) -> list[Path]:
    """Two scans."""
    paths = [tmp_path / "scans" / f"scan{i}.nii.gz" for i in range(2)]
    for i, path in enumerate(paths):
        write_scan(path, blobs(i)[0])
    return paths


def test_a_prompt_file_steers_images_of_any_axis_order(trained: tuple[MasgSam, Path], tmp_path: Path) -> None:
    """The same boxes in a file stored backwards, counted backwards, and as our own voxels: the same mask."""
    model, image = trained
    with torch.no_grad():  # a network this small hardly heeds a prompt by itself
        model.model.network.prompt_encoder.class_tag.weight += 5.0
    stored = nib.load(image)
    (tmp_path / "images").mkdir()
    nib.save(stored, tmp_path / "images" / "plain.nii.gz")
    nib.save(stored.slicer[::-1, :, ::-1], tmp_path / "images" / "turned.nii.gz")
    width, height, depth = stored.shape
    box = [[14, 9, 2], [19, 15, 2]]  # a corner of the organ alone
    turned = [[width - 1 - i, j, depth - 1 - k] for i, j, k in box]
    file = tmp_path / "prompts.json"
    boxes = {"plain": box, "turned": turned}
    file.write_text(json.dumps({case: [{"class": "organ 1", "box": corners}] for case, corners in boxes.items()}))

    free = list(model.predict(tmp_path / "images", tmp_path / "free"))
    steered = list(model.predict(tmp_path / "images", tmp_path / "steered", file))
    assert free[0].voxels["organ 1"] > 0
    assert steered[0].confidence != free[0].confidence
    assert steered[0].confidence == pytest.approx(steered[1].confidence)
    masks = [nib.load(tmp_path / "steered" / f"{case}.nii.gz").get_fdata() for case in boxes]
    assert (masks[0] == masks[1][::-1, :, ::-1]).all()

    # NIfTI's i and j run to the right and the front here, our X and Y to the left and the back.
    (start, end) = ((k, height - 1 - j, width - 1 - i) for i, j, k in box)
    (ours,) = model.predict(tmp_path / "images" / "plain.nii.gz", tmp_path / "ours", [Box(start, end, "organ 1")])
    assert ours.confidence == steered[0].confidence


def test_prediction_computes_as_the_model_was_trained(trained: tuple[MasgSam, Path]) -> None:
    model = trained[0].model
    assert trained[0].predictor.precision == model.config.training.precision == "fp32"
    model.config.training.precision = "bf16"
    assert MasgSam(model).predictor.precision == "bf16"


def test_prompts_without_a_case_belong_to_one_image(trained: tuple[MasgSam, Path], tmp_path: Path) -> None:
    model, image = trained
    with pytest.raises(InputError, match="one case") as caught:
        list(model.predict([image, *_copies(image, tmp_path)], tmp_path / "masks", [Box((0, 0, 0), (0, 1, 1), "x")]))
    assert "JSON" in caught.value.mend and not (tmp_path / "masks").exists()


def test_prompts_count_with_a_plain_decoder_too(
    tiny: Config, make_task: Callable[..., Task], scans: list[Path], tmp_path: Path
) -> None:
    """Its network does not read them; its mask follows all the same."""
    config = override(tiny, {"model.decoder.kind": "fpn"})
    sam = load_sam(config.model.encoder)
    network = MasgSamNetwork(config.model, sam, 1, 3, None).eval()
    model = MasgSam(TrainedModel(network, make_task(), config, sam.architecture, {}), "cpu")
    image, click = np.zeros((4, 40, 40), np.float32), Click((1, 20, 30), "organ 1")
    before = model.segment(image, (1, 1, 1)).mask[1, 20, 30]
    after = model.segment(image, (1, 1, 1), [Click(click.at, click.name, inside=not before)]).mask[1, 20, 30]
    assert after == (not before)
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps({"scan0": [{"class": "organ 1", "click": [3, 2, 1], "inside": False}]}))
    assert len(list(model.predict(scans, tmp_path / "masks", file))) == 2


def test_a_format_that_shows_to_be_wrong_is_refused_before_the_work(
    untrained: MasgSam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A TIFF of several pages is a scan, and its mask no PNG: that shows when it is read."""
    stack = tmp_path / "stack.tif"
    pages = [Image.fromarray(np.full((8, 8), 10 * i, np.uint8)) for i in range(4)]
    pages[0].save(stack, save_all=True, append_images=pages[1:])
    monkeypatch.setattr(untrained.predictor, "segment", lambda *_: pytest.fail("segmented"))
    with pytest.raises(OutputError, match="cannot be written in this format"):
        list(untrained.predict(stack, tmp_path / "masks", mask_format="png"))
    assert not (tmp_path / "masks").exists()


def test_a_broken_image_leaves_nothing_behind(trained: tuple[MasgSam, Path], tmp_path: Path) -> None:
    model, image = trained
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(image.read_bytes()[:200])
    with pytest.raises(InputError, match="broken"):
        list(model.predict(broken, tmp_path / "masks"))
    assert not (tmp_path / "masks").exists()

    (good,) = _copies(image, tmp_path)
    with pytest.raises(InputError, match="broken"):
        list(model.predict([broken, good], tmp_path / "masks"))
    assert {path.name for path in (tmp_path / "masks").iterdir()} == {
        "dataset.json",
        "prediction.json",
        "predictions.jsonl",
        good.name,
    }


def test_a_full_disk_ends_the_prediction_at_once(
    untrained: MasgSam, scans: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []

    def refuse(*places: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("masg_sam.segmenter.read_channels", lambda *args: read.append(args) or read_channels(*args))
    monkeypatch.setattr("masg_sam.files.os.replace", refuse)
    with pytest.raises(WriteError, match=r"cannot be written(.|\n)*No space left") as caught:
        list(untrained.predict(scans, tmp_path / "masks"))
    assert len(read) == 1 and "space left" in caught.value.mend


def test_a_wrong_call_is_refused_at_the_call(untrained: MasgSam, scans: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for images, out, kind, error in (
        (scans, "masks", "foo", ConfigError),
        (scans, "masks", "png", OutputError),
        (scans, "file", None, OutputError),
        (scans, "scans", None, OutputError),
        (tmp_path / "nowhere", "masks", None, InputError),
    ):
        with pytest.raises(error):
            untrained.predict(images, tmp_path / out, mask_format=kind)
    untrained.save_pretrained(tmp_path / "run")
    address = "dicomweb://127.0.0.1:9/dicom-web/studies/1.2"
    for run, images, kind, error in (
        (tmp_path / "no run", scans, None, CheckpointError),
        (tmp_path / "no run", address, None, CheckpointError),
        (tmp_path / "run", address, "foo", ConfigError),
        (tmp_path / "run", scans, "foo", ConfigError),
    ):
        with pytest.raises(error):
            predict(run, images, tmp_path / "masks", mask_format=kind)
    assert not (tmp_path / "masks").exists()


def test_a_case_has_one_mask_and_one_line(untrained: MasgSam, scans: list[Path], tmp_path: Path) -> None:
    """In another format the new mask takes the old one's place; what is not named as its mask stays."""
    masks = tmp_path / "masks"
    list(untrained.predict(scans, masks))
    (masks / "scan0.mha").write_bytes(b"of another tool")
    list(untrained.predict(scans[0], masks, mask_format="nrrd"))
    assert {path.name for path in masks.iterdir() if path.name.startswith("scan")} == {
        "scan0.nrrd",
        "scan0.mha",
        "scan1.nii.gz",
    }
    lines = [json.loads(line) for line in (masks / "predictions.jsonl").read_text().splitlines()]
    assert [(line["case"], line["file"]) for line in lines] == [("scan1", "scan1.nii.gz"), ("scan0", "scan0.nrrd")]


@pytest.mark.parametrize("named", ["../scans/scan0.nii.gz", "scan1.nii.gz", "notes.txt", ["scan1.nii.gz"], None])
def test_only_a_mask_of_the_case_is_removed(
    untrained: MasgSam, scans: list[Path], tmp_path: Path, named: object
) -> None:
    masks = tmp_path / "masks"
    list(untrained.predict(scans, masks))
    (masks / "notes.txt").touch()
    lines = [json.dumps({"case": "scan0", "file": named}), "damaged {", "[1]"]
    (masks / "predictions.jsonl").write_text("".join(line + "\n" for line in lines))
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    list(untrained.predict(scans[0], masks, mask_format="nrrd"))
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before | {masks / "scan0.nrrd"}
    kept = (masks / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["file"] for line in kept] == ["scan0.nrrd"]  # damaged lines go


@pytest.mark.parametrize("torn", ['{"case": "scan1", "fi', '{"case": "scan1", "file": "scan1.nii.gz"}'])
def test_a_line_that_was_cut_short_spoils_no_other(
    torn: str, untrained: MasgSam, scans: list[Path], tmp_path: Path
) -> None:
    masks = tmp_path / "masks"
    list(untrained.predict(scans[0], masks))
    with open(masks / "predictions.jsonl", "a", encoding="utf-8") as file:
        file.write(torn)
    extra = tmp_path / "scan2.nii.gz"
    shutil.copy(scans[0], extra)
    list(untrained.predict([scans[1], extra], masks))
    kept = [json.loads(line)["case"] for line in (masks / "predictions.jsonl").read_text().splitlines()]
    assert kept == ["scan0", "scan1", "scan2"]


def test_masks_replace_nothing_that_was_not_predicted(trained: tuple[MasgSam, Path], tmp_path: Path) -> None:
    model, image = trained
    task = tmp_path / "task"
    (task / "labelsTs").mkdir(parents=True)
    (task / "dataset.json").write_text('{"labels": {"background": 0, "organ 1": 1}, "channel_names": {"0": "MRI"}}')
    (task / "labelsTs" / "case0.nii.gz").write_bytes(b"made by hand")
    before = {path: path.read_bytes() for path in task.rglob("*.*")}
    for folder in (task, task / "labelsTs"):
        with pytest.raises(OutputError, match="was not predicted") as caught:
            list(model.predict(image, folder))
        assert caught.value.exit_code == 2
    assert {path: path.read_bytes() for path in task.rglob("*.*")} == before


def test_masks_may_be_predicted_again_but_not_among_other_classes(
    trained: tuple[MasgSam, Path], tmp_path: Path
) -> None:
    model, image = trained
    masks = tmp_path / "masks"
    for _ in range(2):
        list(model.predict(image, masks))
    (masks / "dataset.json").write_text('{"labels": {"background": 0, "spleen": 1}}')
    with pytest.raises(OutputError, match="other classes") as caught:
        list(model.predict(image, masks))
    assert "spleen" in str(caught.value.found) and "organ 1" in str(caught.value.expected)
    (masks / "dataset.json").unlink()  # as after a kill between the two files
    list(model.predict(image, masks))
    assert json.loads((masks / "dataset.json").read_text())["labels"] == {"background": 0, "organ 1": 1}


def test_an_array_is_segmented_as_the_model_was_trained(
    make_network: Callable[..., MasgSamNetwork], make_task: Callable[..., Task]
) -> None:
    """By a model of scans with a voxel size, by one of pictures as an ordinary picture."""
    rng = np.random.default_rng(0)
    scans = MasgSam(TrainedModel(make_network(1), make_task(), Config(), {}, {}), "cpu")
    assert scans.segment(rng.normal(size=(2, 30, 40)), (5.0, 1.0, 1.0)).mask.shape == (2, 30, 40)
    with pytest.raises(InputError, match="voxel size"):
        scans.segment(rng.normal(size=(2, 30, 40)))
    colours = Intensity("colour")
    task = make_task(pictures=True, pixel=0.0, reach=0, channels=("R", "G", "B"), intensity=colours)
    pictures = MasgSam(TrainedModel(make_network(1), task, Config(), {}, {}), "cpu")
    assert pictures.segment(rng.integers(0, 256, (64, 48, 3)).astype(np.uint8)).mask.shape == (1, 64, 48)
    with pytest.raises(ImageError, match="number of channels"):
        pictures.segment(np.zeros((64, 48)))


def test_numbered_pictures_are_segmented_one_by_one(
    make_network: Callable[..., MasgSamNetwork], make_task: Callable[..., Task], tmp_path: Path
) -> None:
    task = make_task(pictures=True, pixel=0.0, reach=0, channels=("grey",))
    model = MasgSam(TrainedModel(make_network(1, 1), task, Config(), {}, {}), "cpu")
    (tmp_path / "film").mkdir()
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (32, 32)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "film" / f"frame_{i:04d}.png")
    results = list(model.predict(tmp_path / "film", tmp_path / "masks"))
    assert [result.file for result in results] == [f"frame_{i:04d}.png" for i in range(3)]


def _copies(image: Path, folder: Path) -> list[Path]:
    (folder / "more").mkdir()
    (folder / "more" / "copy_0000.nii.gz").write_bytes(image.read_bytes())
    return [folder / "more" / "copy_0000.nii.gz"]


def test_channels_in_a_fourth_dimension_train_and_predict(tiny: Config, tmp_path: Path) -> None:
    """The Decathlon's own layout: one file of all channels a case; its mask has three dimensions."""
    data, names = tmp_path / "Task05", {"0": "T2", "1": "ADC"}
    for part, count in (("Tr", 2), ("Ts", 1)):
        for i in range(count):
            image, label = blobs(i)
            write_scan(data / f"images{part}" / f"p_{i}.nii.gz", np.stack([image, 300 - image], -1))
            write_scan(data / f"labels{part}" / f"p_{i}.nii.gz", label)
    pairs = [{"image": f"./imagesTr/p_{i}.nii.gz", "label": f"./labelsTr/p_{i}.nii.gz"} for i in range(2)]
    facts = {"modality": names, "labels": {"0": "background", "1": "prostate"}, "training": pairs}
    (data / "dataset.json").write_text(json.dumps(facts), encoding="utf-8")
    train(data, tmp_path / "run", override(tiny, {"training.calibration": 0}))
    model = MasgSam.from_pretrained(tmp_path / "run")
    assert model.model.task.channels == ("T2", "ADC")
    (result,) = model.predict(data / "imagesTs", tmp_path / "masks", pictures=True)
    mask = nib.load(tmp_path / "masks" / result.file)
    assert mask.shape == nib.load(data / "labelsTs" / "p_0.nii.gz").shape
    page = report(tmp_path / "masks", tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/") > 1
    write_scan(tmp_path / "three.nii.gz", np.zeros((40, 36, 6, 3), np.float32))
    with pytest.raises(ImageError, match="more than three dimensions"):
        list(model.predict(tmp_path / "three.nii.gz", tmp_path / "masks"))
