"""COCO, CVAT and LabelMe: the files as the tools write them, the datasets they come in, and what is wrong with some."""

from __future__ import annotations

import base64
import io
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import masg_sam

from masg_sam.config import Config
from masg_sam.data.check import check_training, read_case
from masg_sam.data.io import read_label
from masg_sam.data.layouts import Dataset, find_labels, find_training_cases
from masg_sam.errors import GeometryError, InputError, LabelError, LayoutError

SIZE = (6, 8)  # rows, columns
BOX = [2, 1, 5, 1, 5, 3, 2, 3]  # columns 2 to 4 of rows 1 and 2
EXPECTED = np.zeros(SIZE, int)
EXPECTED[1:3, 2:5] = 1


def picture(path: Path, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(sum(path.stem.encode())).integers(80, 100, (*size, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def label_of(dataset: Dataset, name: str) -> np.ndarray:
    (case,) = [case for case in dataset.cases if case.name == name]
    return read_case(case)[1].data[0, 0]


def coco(**changes: Any) -> dict[str, Any]:
    """Two pictures; a polygon of class 7 on the first, nothing on the second; class 0 is Roboflow's group."""
    facts = {
        "images": [
            {"id": 3, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]},
            {"id": 4, "file_name": "b.png", "height": SIZE[0], "width": SIZE[1]},
        ],
        "categories": [{"id": 7, "name": "polyp"}, {"id": 0, "name": "group"}, {"id": 2, "name": "tool"}],
        "annotations": [{"id": 1, "image_id": 3, "category_id": 7, "segmentation": [BOX], "bbox": [2, 1, 3, 2]}],
    }
    return facts | changes


def annotation(segmentation: Any, category: int = 7, image: int = 3) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "segmentation": segmentation}


def numbered(segmentation: Any, category: int = 7, image: int = 3) -> dict[str, Any]:
    return {"id": 5, **annotation(segmentation, category, image)}


def write_coco(root: Path, name: str = "annotations.json", folder: str = "images", **changes: Any) -> Path:
    for stem in ("a", "b"):
        picture(root / folder / f"{stem}.png")
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(coco(**changes)), encoding="utf-8")
    return root


# --- COCO ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("annotations.json", "images"),
        ("annotations/instances_default.json", "images/default"),
        ("annotations/instances_train2017.json", "train2017"),
        ("_annotations.coco.json", ""),
        ("train/_annotations.coco.json", "train"),
        ("images/annotations.json", "images"),
    ],
)
def test_coco_as_tools_lay_it_out(name: str, folder: str, tmp_path: Path) -> None:
    dataset = find_training_cases(write_coco(tmp_path, name, folder))
    assert dataset.layout == "coco"
    assert [case.images for case in dataset.cases] == [(tmp_path / folder / f"{stem}.png",) for stem in "ab"]
    assert dataset.class_names == {1: "polyp"}  # the first that is drawn; nobody drew a tool or a group
    np.testing.assert_array_equal(label_of(dataset, "a"), EXPECTED)
    assert not label_of(dataset, "b").any()


def test_a_picture_without_shapes_is_background_and_said_to_be(tmp_path: Path) -> None:
    check = check_training(find_training_cases(write_coco(tmp_path)))
    assert [finding.message for finding in check.findings if "empty" in finding.message] == [
        "b: the label is empty; the case only teaches background"
    ]


def test_pictures_that_nobody_listed_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    picture(write_coco(tmp_path) / "images" / "c.png")
    with caplog.at_level(logging.WARNING, "masg_sam"):
        assert [case.name for case in find_training_cases(tmp_path).cases] == ["a", "b"]
    assert "1 pictures" in caplog.text and "images/c.png" in caplog.text


@pytest.mark.parametrize("listed", ["fu\u0308r", "f\u00fcr"])
@pytest.mark.parametrize("folder", ["", "f\u00fcr/"])
def test_names_of_pictures_are_composed(listed: str, folder: str, tmp_path: Path) -> None:
    """macOS takes letters and their marks apart."""
    images = [{"id": 3, "file_name": f"{folder}{listed}.png", "height": SIZE[0], "width": SIZE[1]}]
    picture(write_coco(tmp_path, images=images) / "images" / folder.replace("\u00fc", "u\u0308") / "fu\u0308r.png")
    assert [case.name for case in find_training_cases(tmp_path).cases] == ["f\u00fcr"]
    assert list(find_labels(tmp_path)[0]) == ["f\u00fcr"]


def test_objects_of_several_parts_overlaps_and_class_order(tmp_path: Path) -> None:
    parts = [BOX, [0, 5, 2, 5, 2, 6, 0, 6]]
    later = [4, 0, 6, 0, 6, 2, 4, 2]
    write_coco(tmp_path, annotations=[annotation(parts), annotation([later], category=2)])
    dataset = find_training_cases(tmp_path)
    expected = 2 * EXPECTED
    expected[5, :2], expected[:2, 4:6] = 2, 1
    np.testing.assert_array_equal(label_of(dataset, "a"), expected)
    assert dataset.class_names == {1: "tool", 2: "polyp"}


@pytest.mark.parametrize("counts", [[13, 2, 4, 2, 4, 2, 21], "=24000a0"])
def test_run_lengths_plain_and_packed(counts: Any, tmp_path: Path) -> None:
    """Down the columns of 6: 13 to row 1 of column 2, then two of each six."""
    write_coco(tmp_path, annotations=[annotation({"size": list(SIZE), "counts": counts}) | {"iscrowd": 1}])
    np.testing.assert_array_equal(label_of(find_training_cases(tmp_path), "a"), EXPECTED)


def test_dataset_json_gives_the_values(tmp_path: Path) -> None:
    write_coco(tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "tool": 1, "polyp": 4}}))
    dataset = find_training_cases(tmp_path)
    assert dataset.class_names == {1: "tool", 4: "polyp"}
    np.testing.assert_array_equal(label_of(dataset, "a"), 4 * EXPECTED)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "tool": 1}}))
    with pytest.raises(LabelError, match="does not name") as caught:
        find_training_cases(tmp_path)
    assert caught.value.found == "polyp"


def test_names_that_differ_in_capitals_and_spaces_are_one_class(tmp_path: Path) -> None:
    """As everywhere; it is called as it was written first."""
    categories = [{"id": 7, "name": "Flat polyp"}, {"id": 2, "name": "tool"}, {"id": 5, "name": "flat_polyp"}]
    shapes = [annotation([BOX]), annotation([BOX], category=2, image=4), annotation([BOX], category=5, image=4)]
    root = write_coco(tmp_path, categories=categories, annotations=shapes)
    dataset = find_training_cases(root)
    assert dataset.class_names == {1: "tool", 2: "flat_polyp"}  # in the order of their numbers
    assert label_of(dataset, "a").max() == label_of(dataset, "b").max() == 2
    (root / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "tool": 4, "FLAT POLYP": 9}}))
    assert label_of(find_training_cases(root), "a").max() == 9


def test_shapes_of_the_background_take_away_and_ignore_is_nobodys(tmp_path: Path) -> None:
    categories = [{"id": i, "name": name} for i, name in enumerate(("polyp", "background", "ignore"))]
    shapes = [
        annotation([BOX], 0),
        annotation([[2, 1, 3, 1, 3, 2, 2, 2]], 1),
        annotation([[0, 0, 1, 0, 1, 1, 0, 1]], 2),
    ]
    write_coco(tmp_path, categories=categories, annotations=shapes)
    dataset = find_training_cases(tmp_path)
    assert dataset.class_names == {1: "polyp", 2: "ignore"}
    expected = EXPECTED.copy()
    expected[1, 2], expected[0, 0] = 0, 2
    np.testing.assert_array_equal(label_of(dataset, "a"), expected)
    assert check_training(dataset).label_map.ignore == 2


def test_masks_beside_annotations_are_taken_first(tmp_path: Path) -> None:
    write_coco(tmp_path)
    for stem in "ab":
        Image.fromarray(np.full(SIZE, 9, np.uint8)).save(
            (tmp_path / "masks").mkdir(exist_ok=True) or tmp_path / "masks" / f"{stem}.png"
        )
    assert find_training_cases(tmp_path).layout == "folders"


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"annotations": None}, "NoneType"),
        ({"images": [{"id": 3}]}, "file_name"),
        ({"categories": {}}, "which `categories` does not list"),
        ({"images": coco()["images"][:1] * 2}, "one id"),
        ({"annotations": [numbered([BOX], image=9)]}, "annotation 5 is on image 9, which `images` does not list"),
        (
            {"annotations": [numbered([BOX], category=9)]},
            "annotation 5 on a.png is of category 9, which `categories` does not list",
        ),
        ({"annotations": [numbered([])]}, "annotation 5 on a.png has a box and no outline"),
        ({"annotations": [numbered([["a", 1]])]}, "annotation 5 on a.png: "),
        ({"annotations": [{"id": 5, "category_id": 7}]}, "annotation 5 has no `image_id`"),
        ({"annotations": [{"id": 5, "image_id": 3}]}, "annotation 5 on a.png has no `category_id`"),
        ({"annotations": [annotation([])]}, "annotation None on a.png has a box and no outline"),
        ({"annotations": [annotation([[1, 2, 3, 4, 5]])]}, "reshape"),
        ({"annotations": [annotation([["a", 1]])]}, "float"),
        ({"annotations": [annotation({"size": [6, 8], "counts": [1, 2]})]}, "run lengths"),
        ({"annotations": [annotation({"size": [8, 6], "counts": [48]})]}, "a mask of"),
        ({"annotations": [annotation({"size": [6, 8], "counts": "\x7f\x7f"})]}, "packed"),
    ],
)
def test_coco_that_is_broken(changes: dict[str, Any], found: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="cannot be read as COCO") as caught:
        find_training_cases(write_coco(tmp_path, **changes))
    assert found in str(caught.value.found)
    assert caught.value.path == tmp_path / "annotations.json"


@pytest.mark.parametrize(
    "name", ["../a.png", "/etc/a.png", "images/../../a.png", "C:\\pictures\\a.png", "..\\a.png", ""]
)
def test_names_that_lead_out(name: str, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    images = [{"id": 3, "file_name": name, "height": 6, "width": 8}]
    with pytest.raises(LayoutError, match="leads out"):
        find_training_cases(write_coco(tmp_path / "data", images=images))


@pytest.mark.parametrize("name", ["images/a.png", "images\\a.png", "./a.png", "a.png"])
def test_names_of_pictures_as_tools_write_them(name: str, tmp_path: Path) -> None:
    images = [{"id": 3, "file_name": name, "height": 6, "width": 8}]
    dataset = find_training_cases(write_coco(tmp_path, images=images))
    assert dataset.cases[0].images == (tmp_path / "images" / "a.png",)


def test_pictures_that_are_missing_of_another_size_or_twice_there(tmp_path: Path) -> None:
    write_coco(tmp_path)
    (tmp_path / "images" / "b.png").unlink()
    with pytest.raises(LayoutError, match="not there") as caught:
        find_training_cases(tmp_path)
    assert caught.value.found == "b.png"
    picture(tmp_path / "images" / "x" / "b.png")
    picture(tmp_path / "images" / "y" / "b.png")
    with pytest.raises(LayoutError, match="several pictures"):
        find_training_cases(tmp_path)
    picture(tmp_path / "images" / "b.png", (7, 8))
    with pytest.raises(GeometryError, match=r"another shape than b\.png"):
        check_training(find_training_cases(tmp_path))


def test_pictures_behind_a_link(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_coco(root)
    (root / "images").rename(tmp_path / "elsewhere")
    (root / "images").symlink_to(tmp_path / "elsewhere")
    assert [case.name for case in find_training_cases(root).cases] == ["a", "b"]


def test_links_within_and_upwards_lead_nowhere(tmp_path: Path) -> None:
    """They would show each picture twice, or those of other datasets."""
    root = tmp_path / "data"
    write_coco(root, folder="pics")
    write_coco(tmp_path / "other")
    (root / "images").symlink_to(root / "pics")
    (root / "masks").symlink_to(tmp_path)
    (root / "up").symlink_to(tmp_path)
    assert [case.images[0] for case in find_training_cases(root).cases] == [root / "pics/a.png", root / "pics/b.png"]


@pytest.mark.parametrize("out", [".", "checked", "pics"])
def test_pictures_of_our_own_check_are_no_pictures_of_the_dataset(out: str, tmp_path: Path) -> None:
    write_coco(tmp_path, folder="pics")
    assert masg_sam("check", tmp_path, "--out", tmp_path / out).returncode == 0
    assert (tmp_path / out / "pictures" / "a.png").exists()
    assert [case.name for case in find_training_cases(tmp_path).cases] == ["a", "b"]


def test_masks_that_were_predicted_are_no_pictures_of_the_dataset(tmp_path: Path) -> None:
    write_coco(tmp_path, folder="pics")
    picture(tmp_path / "found" / "a.png")
    (tmp_path / "found" / "prediction.json").write_text("{}")
    assert [case.name for case in find_training_cases(tmp_path).cases] == ["a", "b"]


def test_of_several_files_the_training_part_is_taken(tmp_path: Path) -> None:
    write_coco(tmp_path, "annotations/instances_val.json")
    write_coco(tmp_path, "annotations/instances_other.json")
    with pytest.raises(LayoutError, match="several annotation files"):
        find_training_cases(tmp_path)
    write_coco(tmp_path, "annotations/instances_train.json", images=coco()["images"][:1])
    assert [case.name for case in find_training_cases(tmp_path).cases] == ["a"]


# --- CVAT ------------------------------------------------------------------------------------------------------

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><labels>
<label><name>tool</name><attributes/></label><label><name>polyp</name></label><label><name>unused</name></label>
</labels></task></meta>
<image id="0" name="a.png" width="8" height="6">{shapes}</image>
<image id="1" name="b.png" width="8" height="6"><tag label="polyp" source="manual"/></image>
</annotations>"""
POLYGON = '<polygon label="polyp" occluded="0" points="2.0,1.0;5.0,1.0;5.0,3.0;2.0,3.0" z_order="{z}"/>'
MASK = '<mask label="tool" rle="0, 2, 1, 1" left="4" top="2" width="2" height="2" z_order="{z}"/>'


def write_cvat(root: Path, shapes: str, text: str = CVAT) -> Path:
    for stem in ("a", "b"):
        picture(root / "images" / f"{stem}.png")
    (root / "annotations.xml").write_text(text.replace("{shapes}", shapes), encoding="utf-8")
    return root


@pytest.mark.parametrize("mask_above", [True, False])
def test_cvat_polygons_and_masks_by_z_order(mask_above: bool, tmp_path: Path) -> None:
    write_cvat(tmp_path, MASK.format(z=int(mask_above)) + POLYGON.format(z=int(not mask_above)))
    dataset = find_training_cases(tmp_path)
    expected = 2 * EXPECTED
    expected[2, 4:6], expected[3, 5] = 1, 1
    expected[2, 4] = 1 if mask_above else 2
    assert (dataset.layout, dataset.class_names) == ("cvat", {1: "tool", 2: "polyp"})
    np.testing.assert_array_equal(label_of(dataset, "a"), expected)
    assert not label_of(dataset, "b").any()


def test_cvat_ellipses(tmp_path: Path) -> None:
    write_cvat(tmp_path, '<ellipse label="polyp" cx="4" cy="3" rx="2" ry="1" z_order="0"/>')
    found = label_of(find_training_cases(tmp_path), "a")
    assert found[2, 3] == found[3, 4] == 1 and found.sum() == 8  # rows 2 and 3, columns 2 to 5: centres within


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        ('<box label="polyp" xtl="1" ytl="1" xbr="3" ybr="3" z_order="0"/>', "a box"),
        ('<points label="polyp" points="1,1" z_order="0"/>', "a points"),
        ('<polygon label="polyp" points="1,1;x,2" z_order="0"/>', "float"),
        ('<polygon points="1,1;2,2;3,1" z_order="0"/>', "label"),
        (MASK.format(z=0).replace("0, 2, 1, 1", "0, 2, 1"), "run lengths"),
        (MASK.format(z=0).replace('width="2"', 'width="200"'), "a mask of"),
        (POLYGON.format(z="up"), "up"),
    ],
)
def test_cvat_that_is_broken(shapes: str, found: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="cannot be read as CVAT") as caught:
        find_training_cases(write_cvat(tmp_path, shapes))
    assert found in str(caught.value.found)


@pytest.mark.parametrize(
    "text",
    [
        "<annotations><track id='0'/></annotations>",
        "<annotations/>x",
        "<other/>",
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hosts">]><annotations><image>&b;</image></annotations>',
    ],
)
def test_xml_that_is_not_cvats_for_images(text: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="cannot be read as CVAT"):
        find_training_cases(write_cvat(tmp_path, "", text))


# --- LabelMe ---------------------------------------------------------------------------------------------------


def labelme(*shapes: dict[str, Any], **changes: Any) -> str:
    facts = {"version": "5.4.1", "imagePath": "..\\a.png", "imageData": None, "imageHeight": 6, "imageWidth": 8}
    return json.dumps(facts | {"shapes": list(shapes)} | changes)


def shape(label: str, points: list[list[float]], kind: str = "polygon", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}} | more


CORNERS = [[2, 1], [5, 3]]
RING = [[2, 1], [5, 1], [5, 3], [2, 3]]


def mask_png(mask: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize("folder", ["images", "labels", "annotations"])
@pytest.mark.parametrize(
    "one",
    [
        shape("polyp", RING),
        shape("polyp", CORNERS, "rectangle"),
        shape("polyp", RING, "rectangle"),
        shape("polyp", [[2, 1], [4, 2]], "mask", mask=mask_png(np.ones((2, 3), bool))),
    ],
)
def test_labelme_beside_the_pictures_or_apart(one: dict[str, Any], folder: str, tmp_path: Path) -> None:
    for stem in ("a", "b"):
        picture(tmp_path / "images" / f"{stem}.jpg")
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "a.json").write_text(labelme(one), encoding="utf-8")
    dataset = find_training_cases(tmp_path)
    assert (dataset.layout, dataset.class_names, len(dataset.cases)) == ("labelme", {1: "polyp"}, 1)
    np.testing.assert_array_equal(label_of(dataset, "a"), EXPECTED)


def test_labelme_in_one_folder_with_later_shapes_on_top_and_classes_by_name(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    top = shape("arm", [[3, 1], [4, 2]], "rectangle")
    circle = shape("_background_", [[2.5, 2.5], [2.5, 3.1]], "circle")
    (tmp_path / "a.json").write_text(labelme(shape("polyp", RING), top, circle), encoding="utf-8")
    dataset = find_training_cases(tmp_path)
    expected = 2 * EXPECTED
    expected[1, 3], expected[2, 2] = 1, 0
    np.testing.assert_array_equal(label_of(dataset, "a"), expected)
    assert dataset.class_names == {1: "arm", 2: "polyp"}


@pytest.mark.parametrize(
    "text",
    [
        labelme(shape("polyp", RING, "linestrip")),
        labelme(shape("polyp", [[1, 2]], "rectangle")),
        labelme(shape("polyp", [["a", 2]])),
        labelme(shape("polyp", CORNERS, "mask", mask="no png")),
        labelme(shape("polyp", CORNERS, "mask", mask=mask_png(np.ones((90, 90), bool)))),
        labelme(shape("polyp", RING), imageHeight=None),
        labelme(shape("polyp", RING), imageHeight=10**9, imageWidth=10**9),
        json.dumps({"shapes": 3}),
    ],
)
def test_labelme_that_is_broken(text: str, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(LayoutError, match="cannot be read as LabelMe"):
        find_training_cases(tmp_path)


def test_json_of_another_kind_beside_pictures_is_no_annotation(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "a.json").write_text(json.dumps({"patient": "x"}))
    with pytest.raises(LayoutError, match="no labelled cases"):
        find_training_cases(tmp_path)
    assert list(find_labels(tmp_path)[0]) == ["a"]  # a folder of masks


def test_labelme_files_pair_however_their_letters_are_composed(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "fu\u0308r.png")
    (tmp_path / "images" / "f\u00fcr.json").write_text(labelme(shape("polyp", RING)), encoding="utf-8")
    (case,) = find_training_cases(tmp_path).cases
    assert (case.name, case.images[0].name) == ("f\u00fcr", "fu\u0308r.png")


# --- photographs that are shown turned --------------------------------------------------------------------------


def turn(path: Path, orientation: int) -> Path:
    """Write in a picture's EXIF how it is to be shown."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(path) as image:
        image.load()
        image.save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_labels_drawn_on_a_picture_that_is_shown_turned(orientation: int, suffix: str, tmp_path: Path) -> None:
    """The picture is read as stored, and the tool drew on it as shown: the label would lie elsewhere."""
    (tmp_path / "labels").mkdir()
    for stem in "ab":
        picture(tmp_path / "images" / f"{stem}{suffix}")
        (tmp_path / "labels" / f"{stem}.json").write_text(labelme(shape("polyp", RING)), encoding="utf-8")
    path = turn(tmp_path / "images" / f"a{suffix}", orientation)
    for labels in (find_labels(tmp_path)[0], {case.name: case.label for case in find_training_cases(tmp_path).cases}):
        with pytest.raises(GeometryError, match="shown turned") as caught:
            read_label(labels["a"])
        assert caught.value.path == path and caught.value.found == f"EXIF orientation {orientation}"
        assert "upright" in caught.value.mend and "again" in caught.value.mend
        np.testing.assert_array_equal(read_label(labels["b"]).data[0, 0], EXPECTED)


def test_the_other_tools_and_an_orientation_that_turns_nothing(tmp_path: Path) -> None:
    for folder in (write_coco(tmp_path / "coco"), write_cvat(tmp_path / "cvat", POLYGON.format(z=0))):
        for orientation in (0, 1, 9):
            turn(folder / "images" / "a.png", orientation)
            np.testing.assert_array_equal(label_of(find_training_cases(folder), "a"), EXPECTED)
        turn(folder / "images" / "a.png", 8)
        with pytest.raises(GeometryError, match="shown turned"):
            label_of(find_training_cases(folder), "a")


@pytest.mark.parametrize("name", ["annotations.json", "annotations/annotations.json", "images/annotations.json"])
def test_a_single_file_of_labels_has_its_pictures_around_it(name: str, tmp_path: Path) -> None:
    turn(write_coco(tmp_path, name) / "images" / "a.png", 3)
    found = find_labels(tmp_path / name)[0]
    with pytest.raises(GeometryError, match="shown turned"):
        read_label(found["a"])
    np.testing.assert_array_equal(read_label(found["b"]).data[0, 0], np.zeros(SIZE))


def test_masks_of_the_stored_shape_fit_a_picture_that_is_shown_turned(tmp_path: Path) -> None:
    turn(picture(tmp_path / "images" / "a.png"), 6)
    (tmp_path / "masks").mkdir()
    Image.fromarray(EXPECTED.astype(np.uint8)).save(tmp_path / "masks" / "a.png")
    np.testing.assert_array_equal(label_of(find_training_cases(tmp_path), "a"), EXPECTED)


# --- as labels to compare with, and as a whole ------------------------------------------------------------------


@pytest.mark.parametrize("given", ["", "annotations.json"])
def test_labels_to_compare_with_need_no_pictures(given: str, tmp_path: Path) -> None:
    (tmp_path / "annotations.json").write_text(json.dumps(coco()), encoding="utf-8")
    found, names = find_labels(tmp_path / given)
    assert (list(found), names) == (["a", "b"], {1: "polyp"})
    np.testing.assert_array_equal(read_label(found["a"]).data[0, 0], EXPECTED)


def test_a_folder_of_labelmes_files_alone_may_be_compared_with(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(labelme(shape("polyp", RING)), encoding="utf-8")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "polyp": 3}}))
    for given in (tmp_path, tmp_path / "a.json"):
        found, names = find_labels(given)
        assert (list(found), names) == (["a"], {3: "polyp"})
        np.testing.assert_array_equal(read_label(found["a"]).data[0, 0], 3 * EXPECTED)


def test_two_pictures_of_one_name_cannot_be_compared(tmp_path: Path) -> None:
    images = [entry | {"file_name": f"{entry['id']}/a.png"} for entry in coco()["images"]]
    (tmp_path / "annotations.json").write_text(json.dumps(coco(images=images)), encoding="utf-8")
    with pytest.raises(InputError, match="two pictures of the same name"):
        find_labels(tmp_path)


def test_train_predict_and_evaluate_on_annotations(tiny: Config, tmp_path: Path) -> None:
    from masg_sam import api

    data = tmp_path / "data"
    box = [10, 10, 50, 10, 50, 40, 10, 40]
    images = [{"id": i, "file_name": f"{i}.png", "height": 64, "width": 72} for i in range(2)]
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 90, (64, 72, 3)).astype(np.uint8)
        pixels[10:40, 10:50] += 120
        (data / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(data / "images" / f"{i}.png")
    facts = coco(images=images, annotations=[annotation([box], image=i) for i in range(2)])
    (data / "annotations.json").write_text(json.dumps(facts), encoding="utf-8")
    model = api.train(data, tmp_path / "run", tiny)
    assert model.class_names == ("polyp",)
    assert len(list(model.predict(data, tmp_path / "masks"))) == 2
    done = masg_sam("evaluate", tmp_path / "masks", data / "annotations.json", "--json")
    assert done.returncode == 0, done.stderr
    assert [case["case"] for case in json.loads(done.stdout)["cases"]] == ["0", "1"]
    same = masg_sam("evaluate", data / "annotations.json", data, "--json")
    assert same.returncode == 0, same.stderr
    assert all(case["classes"]["polyp"]["dice"] == 1 for case in json.loads(same.stdout)["cases"])
