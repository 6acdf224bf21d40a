"""TIFF stacks: pages are slices, voxel sizes come and go with the file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from masg_sam.data.check import read_case
from masg_sam.data.io import file_slice, mask_suffix, read_image, read_label, voxel_from_file, write_label
from masg_sam.data.layouts import find_training_cases
from masg_sam.errors import GeometryError, ImageError
from masg_sam.evaluation.evaluate import evaluate

PAGES = np.arange(5 * 6 * 7, dtype=np.uint8).reshape(5, 6, 7)
IMAGEJ: dict[str, Any] = {
    "imagej": True,
    "resolution": (1 / 0.3, 1 / 0.25),
    "metadata": {"axes": "ZYX", "spacing": 1.3, "unit": "mm"},
}
SIZES = {"X": (0.3, "mm"), "Y": (250.0, "µm"), "Z": (0.13, "cm")}
OME: dict[str, Any] = {
    "ome": True,
    "metadata": {"axes": "ZYX"}
    | {f"PhysicalSize{axis}": size for axis, (size, _) in SIZES.items()}
    | {f"PhysicalSize{axis}Unit": unit for axis, (_, unit) in SIZES.items()},
}


def stack(path: Path, pixels: np.ndarray = PAGES, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, **({"photometric": "minisblack"} | options))
    return path


@pytest.mark.parametrize(
    ("options", "spacing"),
    [(IMAGEJ, (1.3, 0.25, 0.3)), (OME, (1.3, 0.25, 0.3)), ({}, (1, 1, 1)), ({"metadata": None}, (1, 1, 1))],
)
def test_a_stack_is_a_volume_and_its_mask_a_stack_of_the_same_voxels(
    options: dict[str, Any], spacing: tuple[float, ...], tmp_path: Path
) -> None:
    volume = read_image(stack(tmp_path / "a.tif", **options))
    np.testing.assert_array_equal(volume.data[0], PAGES)
    assert not volume.is_picture and volume.spacing == pytest.approx(spacing)
    np.testing.assert_allclose(volume.affine, np.diag([*spacing[::-1], 1]))
    assert (file_slice(volume, 0, 3), voxel_from_file(volume, (6, 5, 4))) == (3, (4, 5, 6))

    path = write_label((PAGES > 99).astype(np.uint8) * 3, volume, tmp_path / f"mask{mask_suffix(volume)}")
    mask = read_label(path)
    assert (mask.spacing, mask.geometry) == (volume.spacing, volume.geometry)
    np.testing.assert_array_equal(tifffile.imread(path), (PAGES > 99) * 3)
    with tifffile.TiffFile(path) as file:
        assert (file.series[0].axes, len(file.pages), file.is_imagej) == ("ZYX", 5, options is IMAGEJ)


@pytest.mark.parametrize("unit", ["um", "micron", "\\u00B5m", "?m"])
def test_micrometres_of_imagej(unit: str, tmp_path: Path) -> None:
    stack(tmp_path / "a.tif", **(IMAGEJ | {"metadata": {"axes": "ZYX", "spacing": -2, "unit": unit}}))
    path = tmp_path / "a.tif"
    path.write_bytes(path.read_bytes().replace(b"unit=?m", b"unit=\xb5m"))  # as older versions wrote it
    volume = read_image(path)
    assert volume.spacing == pytest.approx((0.002, 0.00025, 0.0003))
    mask = read_label(write_label(PAGES, volume, tmp_path / "m.tif"))
    assert mask.spacing == volume.spacing


@pytest.mark.parametrize("metadata", [{"unit": "pixel", "spacing": 2}, {"spacing": 2}, {"unit": "inch"}])
def test_half_a_voxel_size_is_none_and_a_note_says_so(
    metadata: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stack(tmp_path / "a.tif", **(IMAGEJ | {"metadata": {"axes": "ZYX"} | metadata}))
    with caplog.at_level(logging.INFO, "masg_sam"):
        assert read_image(tmp_path / "a.tif").spacing == (1, 1, 1)
    assert "without a voxel size; 1 mm is taken" in caplog.text


def test_imagej_leaves_out_a_distance_of_one_unit(tmp_path: Path) -> None:
    stack(tmp_path / "a.tif", **(IMAGEJ | {"metadata": {"axes": "ZYX", "unit": "mm"}}))
    volume = read_image(tmp_path / "a.tif")
    assert volume.spacing == pytest.approx((1, 0.25, 0.3))
    assert read_label(write_label(PAGES, volume, tmp_path / "m.tif")).spacing == volume.spacing


def test_stacks_of_pillow_of_colours_and_of_bits(tmp_path: Path) -> None:
    pages = [Image.fromarray(page) for page in PAGES]
    pages[0].save(tmp_path / "pillow.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(read_image(tmp_path / "pillow.tif").data[0], PAGES)
    colours = np.random.default_rng(0).integers(0, 255, (5, 6, 7, 4)).astype(np.uint8)
    volume = read_image(stack(tmp_path / "c.tif", colours[..., :3], photometric="rgb"))
    np.testing.assert_array_equal(volume.data, np.moveaxis(colours[..., :3], -1, 0))
    read_alpha = read_image(stack(tmp_path / "d.tif", colours, photometric="rgb", extrasamples=["unassalpha"]))
    np.testing.assert_array_equal(read_alpha.data, volume.data)
    planes = stack(tmp_path / "e.tif", np.moveaxis(colours[..., :3], -1, 1), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(planes).data, volume.data)
    mask = write_label(np.ones((5, 6, 7), np.uint8), volume, tmp_path / "m.tif")
    assert tifffile.imread(mask).shape == (5, 6, 7)
    bits = stack(tmp_path / "b.tif", PAGES > 99, metadata={"axes": "ZYX"})
    assert np.unique(read_label(bits).data).tolist() == [0, 1]


def test_thin_stacks_and_one_page(tmp_path: Path) -> None:
    for cut in (PAGES[:, :1], PAGES[:, :, :1], PAGES[:2, :1, :1]):
        volume = read_image(stack(tmp_path / "a.tif", cut[..., None], metadata={"axes": "ZYXS"}))
        np.testing.assert_array_equal(volume.data[0], cut)
        mask = write_label(cut.astype(int), volume, tmp_path / "m.tif")
        np.testing.assert_array_equal(read_label(mask).data[0], cut)
    assert read_image(stack(tmp_path / "b.tif", PAGES[:1])).is_picture


@pytest.mark.parametrize("axes", ["TYX", "CYX"])
def test_time_points_and_channels_are_refused_with_advice(axes: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="neither one picture nor one stack") as caught:
        read_image(stack(tmp_path / "a.tif", imagej=True, metadata={"axes": axes}))
    assert "_0000" in str(caught.value.mend)


def test_pages_of_different_sizes_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for size in (6, 8):
            file.write(np.zeros((size, size), np.uint8), photometric="minisblack")
    with pytest.raises(ImageError, match="neither"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("depth", [0, float("nan")])
def test_a_voxel_size_that_is_none(depth: float, tmp_path: Path) -> None:
    stack(tmp_path / "a.tif", **(IMAGEJ | {"metadata": {"axes": "ZYX", "spacing": depth, "unit": "mm"}}))
    with pytest.raises(GeometryError):
        read_image(tmp_path / "a.tif")


def test_a_label_without_a_voxel_size_lies_on_its_image(tmp_path: Path) -> None:
    stack(tmp_path / "images" / "a.tif", **IMAGEJ)
    stack(tmp_path / "labels" / "a.tif", (PAGES > 99).astype(np.uint8))
    image, label = read_case(find_training_cases(tmp_path).cases[0])
    assert label.spacing == image.spacing
    write_label(np.roll(PAGES > 99, 1, 0).astype(np.uint8), image, tmp_path / "masks" / "a.tif")
    result = evaluate(tmp_path / "masks", tmp_path / "labels")
    found = result.cases[0].classes["foreground"]
    assert result.unit == "mm" and found.label_ml == pytest.approx((PAGES > 99).sum() * 1.3 * 0.25 * 0.3 / 1000)


@pytest.mark.parametrize("cut", [np.s_[:, ::2, ::2], np.s_[1:], np.s_[:, :, :-1]])
def test_a_label_of_another_shape_lies_nowhere(cut: tuple[slice, ...], tmp_path: Path) -> None:
    stack(tmp_path / "images" / "a.tif", **IMAGEJ)
    path = stack(tmp_path / "labels" / "a.tif", (PAGES > 99).astype(np.uint8)[cut])
    with pytest.raises(GeometryError, match=r"another shape than a\.tif") as caught:
        read_case(find_training_cases(tmp_path).cases[0])
    assert caught.value.path == path and caught.value.expected == "5 x 6 x 7 voxels"
    for size in (IMAGEJ, {}):  # masks with a voxel size and without
        stack(tmp_path / "masks" / "a.tif", (PAGES > 99).astype(np.uint8), **size)
        for pair in (("masks", "labels"), ("labels", "masks")):
            with pytest.raises(GeometryError, match="another shape"):
                evaluate(*(tmp_path / name for name in pair))


def test_a_large_stack_of_bits_is_not_taken_for_half_a_file(tmp_path: Path) -> None:
    bits = np.random.default_rng(0).random((6, 90, 61)) > 0.5  # rows of 61 bits fill 8 bytes
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, bits)
    with tifffile.TiffFile(path) as file:
        assert file.pages[0].bitspersample == 1 and path.stat().st_size < bits.size
    np.testing.assert_array_equal(read_label(path).data[0], bits)
    tifffile.imwrite(path, bits, metadata=None)  # the last page at the end
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ImageError):
        read_label(path)
