from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from masg_sam.data.io import read_image
from masg_sam.data.volume import Volume
from masg_sam.errors import GeometryError, ImageError, InputError
from masg_sam.inference.prompt_file import PromptFile
from masg_sam.inference.prompting import Box, Click, RoughMask

SHAPE = (6, 5, 4)  # of the file: i, j, k
LAS = np.diag([-1.0, 1, 1, 1])  # stored from right to left, back to front, foot to head


@pytest.fixture
def scan(tmp_path: Path) -> Volume:
    voxels = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    nib.save(nib.Nifti1Image(voxels, LAS), tmp_path / "scan_0000.nii.gz")
    return read_image(tmp_path / "scan_0000.nii.gz")


def written(folder: Path, *prompts: object, case: str = "scan") -> PromptFile:
    path = folder / "prompts.json"
    path.write_text(json.dumps({case: list(prompts)}))
    return PromptFile(path)


def test_clicks_and_boxes_land_on_the_files_voxels(tmp_path: Path, scan: Volume) -> None:
    """Here i already runs to the left as our X does; j runs to the front and our Y to the back: y = 4 - j."""
    file = written(
        tmp_path,
        {"class": "liver", "click": [2, 1, 3]},
        {"class": "liver", "click": [0, 0, 0], "inside": False},
        {"class": "spleen", "box": [[1, 0, 2], [4, 3, 2]]},
    )
    assert file.place("scan", scan) == [
        Click((3, 3, 2), "liver"),
        Click((0, 4, 0), "liver", inside=False),
        Box((2, 4, 1), (2, 1, 4), "spleen"),
    ]
    assert scan.data[0][3, 3, 2] == np.ravel_multi_index((2, 1, 3), SHAPE)
    assert file.place("another", scan) == []


def test_a_rough_mask_lies_beside_the_file(tmp_path: Path, scan: Volume) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[2, 1, 3] = 7
    (tmp_path / "rough").mkdir()
    nib.save(nib.Nifti1Image(mask, LAS), tmp_path / "rough" / "mask.nii.gz")
    (prompt,) = written(tmp_path, {"class": "liver", "mask": "rough/mask.nii.gz"}).place("scan", scan)
    assert isinstance(prompt, RoughMask) and prompt.mask.sum() == 1 and prompt.mask[3, 3, 2]

    nib.save(nib.Nifti1Image(mask[:-1], LAS), tmp_path / "rough" / "mask.nii.gz")
    with pytest.raises(GeometryError, match=r"mask\.nii\.gz"):
        written(tmp_path, {"class": "liver", "mask": "rough/mask.nii.gz"}).place("scan", scan)
    with pytest.raises(ImageError, match="no such file"):
        written(tmp_path, {"class": "liver", "mask": "nowhere.nii.gz"}).place("scan", scan)


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ({"class": "liver"}, "one of click, box and mask"),
        ({"class": "liver", "click": [1, 1, 1], "box": [[0, 0, 0], [1, 1, 0]]}, "one of click, box and mask"),
        ({"class": "liver", "box": [[0, 0, 0], [1, 1, 0]], "inside": False}, "inside goes with a click"),
        ({"click": [1, 1, 1]}, "class"),
        ({"class": "liver", "click": [1]}, "click"),
        ({"class": "liver", "click": [1, 1, 1, 1]}, "click"),
        ({"class": "liver", "click": [1, -1, 1]}, "click"),
        ({"class": "liver", "click": [1, 1.5, 1]}, "click"),
        ({"class": "liver", "clik": [1, 1, 1]}, "clik"),
        ("liver", "scan 0"),
    ],
)
def test_what_is_not_well_formed_is_named(tmp_path: Path, prompt: object, named: str) -> None:
    with pytest.raises(InputError, match=named) as caught:
        written(tmp_path, prompt)
    assert caught.value.path == tmp_path / "prompts.json" and "click" in caught.value.expected and caught.value.mend


@pytest.mark.parametrize("text", ["", "[]", '{"scan": {}}', "{"])
def test_a_file_that_is_no_prompt_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "prompts.json").write_text(text)
    with pytest.raises(InputError) as caught:
        PromptFile(tmp_path / "prompts.json")
    assert caught.value.path == tmp_path / "prompts.json"


def test_unknown_cases_and_classes_are_refused_before_any_work(tmp_path: Path) -> None:
    file = written(tmp_path, {"class": "liver", "click": [1, 1, 1]})
    file.check(["scan", "more"], ["spleen", "liver"])
    with pytest.raises(InputError, match="unknown case") as caught:
        file.check(["scan_1"], ["liver"])
    assert caught.value.found == "scan" and caught.value.expected == ["scan_1"]
    with pytest.raises(InputError, match="case scan: prompt for an unknown class") as caught:
        file.check(["scan"], ["spleen"])
    assert caught.value.found == "liver"


def test_a_click_outside_the_image_names_the_image(tmp_path: Path, scan: Volume) -> None:
    with pytest.raises(InputError, match=r"scan_0000\.nii\.gz: voxel outside") as caught:
        written(tmp_path, {"class": "liver", "click": [6, 0, 0]}).place("scan", scan)
    assert caught.value.found == (6, 0, 0)
