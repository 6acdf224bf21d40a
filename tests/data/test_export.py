"""Images written anew show the same voxels at the same places, as other readers see them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from masg_sam.data.io import read_image, same_file_axes
from masg_sam.data.io.export import write_image
from masg_sam.errors import ImageError

DIRECTION = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # axes of the file: Y, Z, X of the patient


def turned(path: Path, voxels: np.ndarray, vector: bool = False) -> sitk.Image:
    """An image whose axes are not those of the patient, with unequal spacing, away from the origin."""
    image = sitk.GetImageFromArray(voxels, isVector=vector)
    image.SetDirection(DIRECTION)
    image.SetSpacing((1.0, 2.0, 3.0))
    image.SetOrigin((10.0, -20.0, 30.0))
    sitk.WriteImage(image, str(path))
    return image


def test_a_scan_keeps_its_voxels_where_they_are(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6)).astype(np.int16)
    old = turned(tmp_path / "a.mha", voxels)
    write_image(read_image(tmp_path / "a.mha"), [tmp_path / "a.nii.gz"])
    new = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    for index in ((0, 0, 0), (5, 4, 3), (2, 1, 3), (4, 0, 1)):
        place = old.TransformIndexToPhysicalPoint(index)
        assert new[new.TransformPhysicalPointToIndex(place)] == old[index]
    assert nib.load(tmp_path / "a.nii.gz").get_data_dtype() == np.int16
    assert sorted(new.GetSize()) == [4, 5, 6]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 255], np.uint8),
        ([-1, 9], np.int16),
        ([0, 40000], np.uint16),
        ([0, 99999], np.int32),
        ([0, 0.5], np.float32),
    ],
)
def test_whole_numbers_are_stored_as_such(values: list[float], kind: type, tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.array(values, np.float32).reshape(2, 1, 1), np.eye(4)), tmp_path / "a.nii")
    write_image(read_image(tmp_path / "a.nii"), [tmp_path / "b.nii.gz"])
    written = nib.load(tmp_path / "b.nii.gz")
    assert written.get_data_dtype() == kind and set(written.get_fdata().ravel()) == set(values)


def test_channels_of_one_file_become_files(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).normal(size=(4, 5, 6, 2)).astype(np.float32)
    turned(tmp_path / "a.nrrd", voxels, vector=True)
    write_image(read_image(tmp_path / "a.nrrd"), [tmp_path / "a_0.nii.gz", tmp_path / "a_1.nii.gz"])
    first, second = (read_image(tmp_path / f"a_{i}.nii.gz").data[0] for i in range(2))
    assert np.array_equal(np.stack([first, second]), read_image(tmp_path / "a.nrrd").data)


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3)])
def test_a_picture_becomes_png(shape: tuple[int, ...], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.bmp")
    write_image(read_image(tmp_path / "a.bmp"), [tmp_path / "a.png"])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), pixels)


def test_a_picture_that_png_cannot_hold(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="PNG cannot hold") as caught:
        write_image(read_image(tmp_path / "a.tif"), [tmp_path / "a.png"])
    assert caught.value.path == tmp_path / "a.tif"


def test_files_of_one_axis_order(tmp_path: Path) -> None:
    turned(tmp_path / "a.mha", np.zeros((4, 5, 6), np.int16))
    turned(tmp_path / "b.nrrd", np.ones((4, 5, 6), np.int16))
    first, second = read_image(tmp_path / "a.mha"), read_image(tmp_path / "b.nrrd")
    write_image(first, [tmp_path / "c.nii.gz"])
    assert same_file_axes(first, second)
    assert not same_file_axes(first, read_image(tmp_path / "c.nii.gz"))
    for name in "de":
        Image.new("L", (5, 4)).save(tmp_path / f"{name}.png")
    assert same_file_axes(read_image(tmp_path / "d.png"), read_image(tmp_path / "e.png"))
