"""Broken and hostile datasets: dataset.json, annotation files, segmentations, links and names."""

from __future__ import annotations

import base64
import copy
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from support import masg_sam

from masg_sam import api
from masg_sam.config import Config
from masg_sam.data.check import check_training
from masg_sam.data.io import read_label
from masg_sam.data.layouts import find_images, find_labels, find_training_cases
from masg_sam.errors import InputError

Refused = Callable[[Callable[[], object]], InputError]
Survives = Callable[[Callable[[], object]], None]
JUNK: list[Any] = [
    None,
    True,
    -1,
    10**30,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../../etc/hosts",
    "\0",
    "\ud800",
]
JUNK += [[], {}, [[]], [None], {"a": {}}, "9" * 5000, [0] * 3000, ["x" * 70000], "a" * 300]


def scan(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ones((4, 5, 6), np.uint8), np.eye(4)), path)


def dataset(root: Path, text: str | bytes | None = None) -> Path:
    for name in ("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"):
        scan(root / name)
    if text is not None:
        (root / "dataset.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def pictures(root: Path, name: str = "annotations.json", content: str | bytes = "") -> Path:
    (root / "images").mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.arange(144, dtype=np.uint8).reshape(6, 8, 3)).save(root / "images" / "a.png")
    (root / name).write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return root


def everything(root: Path) -> Callable[[], object]:
    """What training and evaluation read of a dataset."""

    def read() -> None:
        check_training(find_training_cases(root))
        for source in find_labels(root)[0].values():
            read_label(source)

    return read


# --- dataset.json ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nonsense",
        "[]",
        "3",
        "NaN",
        '{"labels": NaN}',
        '{"labels": {"a": NaN}}',
        '{"labels": {"a": Infinity}}',
        '{"labels": {"a": 1e400}}',
        '{"labels": {"a": 1.5}}',
        '{"labels": {"a": true}}',
        '{"labels": {"a": null}}',
        '{"labels": {"a": {}}}',
        '{"labels": {"a": 1, "b": 1}}',
        '{"labels": {"1": "a", "01": "b"}}',
        '{"labels": {"a": 99999999999999999999}}',
        '{"labels": {"a": ' + "9" * 5000 + "}}",
        '{"labels": {"' + "9" * 5000 + '": "a"}}',
        '{"labels": {"a": "' + "9" * 5000 + '"}}',
        '{"labels": {"a": "' + "x" * 100_000 + '"}}',
        "[" * 100_000,
        '{"labels": ' * 100_000,
        '{"a": ' * 900 + "1" + "}" * 900,
        '{"labels": {' + ", ".join(f'"c{i}": {i}' for i in range(1, 5000)) + "}}",
        b"\xff\xfe{\0}\0",
        b"\0" * 1000,
        b"\x1f\x8b\x08\0",
        '{"labels": {"a": 1}, "training": [null]}',
        '{"labels": {"a": 1}, "training": [{"image": 1, "label": []}]}',
        '{"labels": {"a": 1}, "training": [[[[[]]]]]}',
    ],
    ids=range(31),
)
def test_dataset_json(text: str | bytes, tmp_path: Path, refused: Refused) -> None:
    error = refused(everything(dataset(tmp_path / "data", text)))
    assert error.path == tmp_path / "data" / "dataset.json"


@pytest.mark.parametrize(
    "channels",
    [[], {}, 3, "x", {"0": None}, {"0": {"a": [1]}}, {"x": 1, "": 2}, {"9" * 5000: "CT"}, {"0": "\0"}],
    ids=str,
)
def test_channel_names(channels: Any, tmp_path: Path, survives: Survives) -> None:
    text = json.dumps({"labels": {"background": 0, "a": 1}, "channel_names": channels})
    survives(everything(dataset(tmp_path / "data", text)))


PATHS = ["../a.nii.gz", "/etc/hosts", "imagesTr/../../a.nii.gz", "a\0.nii.gz", "x" * 5000, "x/" * 3000, "loop/a.nii.gz"]
PATHS += [
    "loop",
    "out/a.nii.gz",
    "",
    ".",
    "imagesTr",
    "~/a.nii.gz",
    "imagesTr/*.nii.gz",
    "imagesTr/[",
    "\ud800",
    "a\nb",
]


@pytest.mark.parametrize("side", ["image", "label"])
@pytest.mark.parametrize("name", PATHS, ids=lambda name: ascii(name[:20]))
def test_listed_paths(name: str, side: str, tmp_path: Path, refused: Refused) -> None:
    root = dataset(tmp_path / "data")
    scan(tmp_path / "a.nii.gz")
    (root / "loop").symlink_to(root / "loop")
    (root / "out").symlink_to(tmp_path)
    pair = {"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"} | {side: name}
    facts = {"labels": {"background": 0, "a": 1}, "training": [pair]}
    (root / "dataset.json").write_text(json.dumps(facts))
    refused(everything(root))


# --- folders and links -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["imagesTr", "labelsTr"])
@pytest.mark.parametrize("make", ["loop", "folder", "dangling", "file"])
def test_folders_that_are_none(make: str, folder: str, tmp_path: Path, refused: Refused) -> None:
    root = dataset(tmp_path / "data")
    for item in (root / folder).iterdir():
        item.unlink()
    path = root / folder / ("a_0000.nii.gz" if folder == "imagesTr" else "a.nii.gz")
    if make == "loop":
        path.symlink_to(path)
    elif make == "folder":
        path.mkdir()
    elif make == "dangling":
        path.symlink_to("nowhere")
    else:
        (root / folder).rmdir()
        (root / folder).write_text("x")
    refused(everything(root))


def test_a_folder_that_holds_itself(tmp_path: Path, refused: Refused) -> None:
    root = pictures(tmp_path / "data")
    (root / "images" / "again").symlink_to(root)
    (root / "loop").symlink_to(root / "loop")
    refused(everything(root))
    refused(lambda: find_images(root / "loop"))


# --- annotation files ------------------------------------------------------------------------------------------


def png_text() -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.ones((2, 3), bool)).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


COCO = {
    "images": [{"id": 1, "file_name": "a.png", "height": 6, "width": 8}],
    "categories": [{"id": 1, "name": "polyp"}],
    "annotations": [
        {"image_id": 1, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 4]]},
        {"image_id": 1, "category_id": 1, "segmentation": {"size": [6, 8], "counts": [13, 2, 33]}},
        {"image_id": 1, "category_id": 1, "segmentation": {"size": [6, 8], "counts": "=24000a0"}},
    ],
}
LABELME = {
    "imagePath": "a.png",
    "imageHeight": 6,
    "imageWidth": 8,
    "shapes": [
        {"label": "polyp", "points": [[1, 1], [5, 1], [5, 4]], "shape_type": "polygon"},
        {"label": "polyp", "points": [[1, 1], [5, 4]], "shape_type": "rectangle"},
        {"label": "polyp", "points": [[3, 3], [5, 4]], "shape_type": "circle"},
        {"label": "polyp", "points": [[1, 1], [3, 2]], "shape_type": "mask", "mask": png_text()},
    ],
}
CVAT = """<annotations><version>1.1</version>
<meta><task><labels><label><name>polyp</name></label></labels></task></meta>
<image id="0" name="a.png" width="8" height="6">
<polygon label="polyp" points="1,1;5,1;5,4" z_order="0"/>
<mask label="polyp" rle="0, 2, 1, 1" left="4" top="2" width="2" height="2" z_order="1"/>
<ellipse label="polyp" cx="4" cy="3" rx="2" ry="1" rotation="20" z_order="2"/>
</image></annotations>"""


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value of a JSON tree."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, value in items for place in places(value, (*path, key)))]


def changed(tree: dict[str, Any], seed: int) -> str:
    """One value of it replaced by junk, or taken out."""
    rng, tree = random.Random(seed), copy.deepcopy(tree)
    *way, last = rng.choice(places(tree)[1:])
    node: Any = tree
    for key in way:
        node = node[key]
    if rng.random() < 0.2:
        del node[last]
    else:
        node[last] = rng.choice(JUNK)
    return json.dumps(tree)


@pytest.mark.parametrize("seed", range(80))
def test_one_value_of_coco_is_junk(seed: int, tmp_path: Path, survives: Survives) -> None:
    survives(everything(pictures(tmp_path / "data", content=changed(COCO, seed))))


@pytest.mark.parametrize("seed", range(60))
def test_one_value_of_labelme_is_junk(seed: int, tmp_path: Path, survives: Survives) -> None:
    survives(everything(pictures(tmp_path / "data", "images/a.json", changed(LABELME, seed))))


def test_sound_files_of_all_three_are_read(tmp_path: Path) -> None:
    everything(pictures(tmp_path / "1", content=json.dumps(COCO)))()
    everything(pictures(tmp_path / "2", "images/a.json", json.dumps(LABELME)))()
    everything(pictures(tmp_path / "3", "annotations.xml", CVAT))()


@pytest.mark.parametrize("seed", range(60))
def test_bytes_of_an_annotation_file_are_junk(seed: int, tmp_path: Path, survives: Survives) -> None:
    rng = random.Random(seed)
    name, text = rng.choice(
        [("annotations.json", json.dumps(COCO)), ("images/a.json", json.dumps(LABELME)), ("annotations.xml", CVAT)]
    )
    content = bytearray(text.encode())
    for _ in range(rng.randint(1, 4)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    cut = len(content) if rng.random() < 0.6 else rng.randrange(len(content))
    survives(everything(pictures(tmp_path / "data", name, bytes(content[:cut]))))


@pytest.mark.parametrize(
    "name", ["../a.png", "/etc/hosts", "..\\a.png", "C:/a.png", "images/../../a.png", "a.png/..", "a\0.png"]
)
@pytest.mark.parametrize("kind", ["coco", "cvat"])
def test_pictures_are_not_looked_for_elsewhere(kind: str, name: str, tmp_path: Path, refused: Refused) -> None:
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(tmp_path / "a.png")
    if kind == "coco":
        facts = COCO | {"images": [COCO["images"][0] | {"file_name": name}]}
        root = pictures(tmp_path / "data", content=json.dumps(facts))
    else:
        root = pictures(tmp_path / "data", "annotations.xml", CVAT.replace("a.png", name.replace("\0", "&#1;")))
    refused(lambda: find_training_cases(root))


def laughs() -> str:
    entities = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    return f'<!DOCTYPE a [<!ENTITY l0 "lol">{entities}]><annotations><image>&l9;</image></annotations>'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("annotations.xml", laughs()),
        ("annotations.xml", '<!DOCTYPE a SYSTEM "http://127.0.0.1:1/a.dtd"><annotations/>'),
        ("annotations.xml", "<a>" * 300_000),
        ("annotations.xml", CVAT.replace('width="8" height="6"', 'width="1000000" height="1000000"')),
        ("annotations.xml", CVAT.replace('width="2" height="2"', 'width="100000" height="100000"')),
        ("annotations.xml", CVAT.replace("0, 2, 1, 1", "0, 99999999999999999999")),
        ("annotations.xml", CVAT.replace('cx="4"', 'cx="1e300"')),
        ("annotations.xml", CVAT.replace('rx="2"', 'rx="nan"')),
        ("annotations.xml", CVAT.replace("1,1;5,1", "1,1;1e400,1")),
        ("annotations.xml", CVAT.replace('left="4"', 'left="inf"')),
        ("annotations.json", json.dumps(COCO).replace('"height": 6', '"height": 99999999999')),
        ("annotations.json", json.dumps(COCO).replace('"height": 6, "width": 8', '"height": 60000, "width": 60000')),
        ("annotations.json", json.dumps(COCO).replace("[13, 2, 33]", "[4611686018427387904, 4611686018427387904, 48]")),
        ("annotations.json", json.dumps(COCO).replace("=24000a0", "o" * 100_000)),
        ("annotations.json", json.dumps(COCO).replace("=24000a0", "0" * 500_000)),
        ("annotations.json", "[" * 500_000),
        ("images/a.json", json.dumps(LABELME).replace('"imageHeight": 6', '"imageHeight": 1e300')),
        ("images/a.json", json.dumps(LABELME).replace("[3, 3]", "[1e200, 3]")),
    ],
    ids=range(18),
)
def test_annotation_bombs(name: str, content: str, tmp_path: Path, refused: Refused) -> None:
    refused(everything(pictures(tmp_path / "data", name, content)))


def test_a_mask_in_labelme_that_unfolds_to_gigabytes(tmp_path: Path, refused: Refused) -> None:
    raw = bytearray(base64.b64decode(png_text()))
    raw[16:24] = np.array([60000, 60000], ">u4").tobytes()
    text = json.dumps(LABELME).replace(png_text(), base64.b64encode(raw).decode())
    refused(everything(pictures(tmp_path / "data", "images/a.json", text)))


def test_an_outline_of_a_million_corners_on_a_large_picture(tmp_path: Path, refused: Refused) -> None:
    ring = [float(value) for i in range(200_000) for value in (i % 8000, 8000 * (i % 2))]
    images = [COCO["images"][0] | {"height": 8000, "width": 8000}]
    facts = COCO | {"images": images, "annotations": [COCO["annotations"][0] | {"segmentation": [ring]}]}
    (tmp_path / "annotations.json").write_text(json.dumps(facts))
    refused(lambda: read_label(find_labels(tmp_path)[0]["a"]))


def test_an_annotation_file_too_large_to_read(tmp_path: Path, refused: Refused) -> None:
    root = pictures(tmp_path / "data")
    for name in ("annotations.json", "dataset.json"):
        with (root / name).open("wb") as file:
            file.truncate(2**34)
        assert "larger than can be meant" in str(refused(everything(root)))


# --- segmentations of 3D Slicer --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_headers_of_segmentations(seed: int, tmp_path: Path, survives: Survives) -> None:
    root, rng = tmp_path / "data", random.Random(seed)
    for folder, name in (("images", "a.nrrd"), ("labels", "a.seg.nrrd")):
        (root / folder).mkdir(parents=True)
        image = sitk.GetImageFromArray(np.ones((4, 5, 6, 2), np.uint8)[..., : 1 + (folder == "labels")], isVector=True)
        facts = {"Name": "liver", "LabelValue": "1", "Layer": "0", "Extent": "0 5 0 4 0 3"}
        for number in range(2 if folder == "labels" else 0):
            for key, value in facts.items():
                image.SetMetaData(f"Segment{number}_{key}", value.replace("liver", f"liver {number}"))
        sitk.WriteImage(image, str(root / folder / name))
    content = bytearray((root / "labels" / "a.seg.nrrd").read_bytes())
    end = content.index(b"\n\n")
    for _ in range(rng.randint(1, 6)):
        content[rng.randrange(end)] = rng.choice([rng.randrange(256), ord("9"), ord("-"), ord("\n"), 0])
    cut = len(content) if rng.random() < 0.7 else rng.randrange(len(content))
    (root / "labels" / "a.seg.nrrd").write_bytes(content[:cut])
    survives(everything(root))


# --- the commands ----------------------------------------------------------------------------------------------


def test_training_on_a_hostile_dataset_writes_nothing(small: Config, tmp_path: Path, refused: Refused) -> None:
    root = pictures(tmp_path / "data", content=json.dumps(COCO).replace("a.png", "../a.png"))
    refused(lambda: api.train(root, tmp_path / "run", small))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("verb", "name", "content"), [("train", "annotations.xml", laughs()), ("evaluate", "dataset.json", "[" * 10**5)]
)
def test_the_commands_say_what_is_wrong_with_status_2(verb: str, name: str, content: str, tmp_path: Path) -> None:
    root = pictures(tmp_path / "data", name, content)
    done = masg_sam(verb, root, *(("--out", tmp_path / "run") if verb == "train" else (root,)))
    assert done.returncode == 2
    assert name in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
