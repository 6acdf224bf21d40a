"""A tilted gantry: upright for the network, and masks on the very slices of the files."""

from __future__ import annotations

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_files import OBLIQUE, normal, slices, voxels, write_series

from masg_sam.data.check import read_case
from masg_sam.data.io import file_slice, label_on_grid, read_image, read_label, voxel_from_file, write_label
from masg_sam.data.io.dicom import slices_of_files
from masg_sam.data.layouts import Case
from masg_sam.errors import GeometryError

STEP = (0.0, -0.7, 2.5)  # per slice of 0.5 mm rows: 0, -1.4, -2.8, -4.2, -5.6 rows aside


def tilted(folder: Path, step: tuple[float, ...] = STEP) -> Path:
    return write_series(folder, slices(voxels(), step=step, RescaleIntercept=1))


def test_slices_are_moved_aside_by_whole_pixels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="masg_sam"):
        volume = read_image(tilted(tmp_path / "t"))
    assert "tilted by 15.6 degrees" in caplog.text
    assert volume.shape == (5, 6 + 6, 7) and volume.spacing == pytest.approx((2.5, 0.5, 0.75))
    np.testing.assert_allclose(volume.affine, [[0.75, 0, 0, -10], [0, 0.5, 0, 17], [0, 0, 2.5, 30], [0, 0, 0, 1]])
    for number, down in enumerate((6, 5, 3, 2, 0)):  # rows from the one that lies furthest aside
        np.testing.assert_array_equal(volume.data[0, number, down : down + 6], voxels()[number] + 1.0)
    assert (volume.data == 1).sum() == 5 * 6 * 7 + 1  # the least value beside, and where it was
    assert volume.geometry.header.tilt == pytest.approx(15.6, abs=0.1)


def test_positions_are_right_to_half_a_pixel(tmp_path: Path) -> None:
    volume = read_image(write_series(tmp_path / "t", slices(voxels(), OBLIQUE, step=(0.9, -0.2, 2.9))))
    grid = volume.geometry.header
    for index in np.ndindex(*volume.geometry.shape):
        at = voxel_from_file(volume, index)
        assert volume.data[0][at] == voxels()[index[::-1]] - 1024
        apart = volume.affine @ (*at[::-1], 1) - grid.affine @ (*index, 1)
        assert np.linalg.norm(apart) < 0.5 * np.hypot(0.5, 0.75) + 1e-6
        assert abs(apart[:3] @ normal(OBLIQUE)) < 1e-5


def test_a_mask_goes_back_exactly(tmp_path: Path) -> None:
    volume = read_image(tilted(tmp_path / "t"))
    mask = (volume.data[0] % 3).astype(np.uint8)
    expected = ((voxels() + 1) % 3).astype(np.uint8)
    np.testing.assert_array_equal(slices_of_files(mask, volume), expected)
    written = nib.load(write_label(mask, volume, tmp_path / "mask.nii.gz"))
    np.testing.assert_array_equal(written.get_fdata().transpose(2, 1, 0), expected)
    np.testing.assert_allclose(written.affine[:3, 2], (0, 0.7, 2.5), atol=1e-6)
    assert written.header["sform_code"] == 1 and written.header["qform_code"] == 0
    back = label_on_grid(volume, read_label(tmp_path / "mask.nii.gz"))
    np.testing.assert_array_equal(slices_of_files(back.data[0], volume), expected)
    assert back.data.sum() == expected.sum()


def test_a_label_on_the_files_grid_teaches_and_another_is_refused(tmp_path: Path) -> None:
    """The label's own axes run otherwise than the files'."""
    expected = (voxels() % 2).astype(np.uint8)
    affine = np.array([[-0.75, 0, 0, 10], [0, -0.5, 0.7, -20], [0, 0, 2.5, 30], [0, 0, 0, 1]])
    stored = nib.Nifti1Image(expected.transpose(2, 1, 0), affine)
    turned = stored.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    nib.save(turned, tmp_path / "label.nii.gz")
    image, label = read_case(Case("t", (tilted(tmp_path / "t"),), tmp_path / "label.nii.gz"))
    assert label.shape == image.shape
    np.testing.assert_array_equal(slices_of_files(label.data[0], image), expected)
    affine[1, 2] = 0
    nib.save(nib.Nifti1Image(expected.transpose(2, 1, 0), affine), tmp_path / "label.nii.gz")
    with pytest.raises(GeometryError, match="another spacing than t"):
        read_case(Case("t", (tmp_path / "t",), tmp_path / "label.nii.gz"))


def test_a_label_of_a_stack_whose_axes_run_backwards(tmp_path: Path) -> None:
    """Columns to the front, rows to the feet, slices to the right: every axis is another one of ours, turned."""
    directions, step = (0.0, -1.0, 0.0, 0.0, 0.0, -1.0), (2.5, 0.0, -0.7)
    image = read_image(write_series(tmp_path / "t", slices(voxels(), directions, step)))
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.geometry.header.affine
    nib.save(nib.Nifti1Image(voxels().transpose(2, 1, 0), affine), tmp_path / "label.nii.gz")
    label = label_on_grid(image, read_label(tmp_path / "label.nii.gz"))
    np.testing.assert_array_equal(slices_of_files(label.data[0], image), voxels())


def test_slices_across_a_tilted_stack_are_numbered_by_the_middle_one(tmp_path: Path) -> None:
    volume = read_image(tilted(tmp_path / "t"))
    assert [file_slice(volume, 0, i) for i in (0, 4)] == [0, 4]
    assert [file_slice(volume, 1, i) for i in (0, 3, 8, 11)] == [0, 0, 5, 5]
    assert file_slice(volume, 2, 3) == 3


def test_less_than_half_a_pixel_is_no_tilt(tmp_path: Path) -> None:
    volume = read_image(tilted(tmp_path / "t", (0.0, 0.06, 2.5)))
    assert volume.shape == (5, 6, 7) and volume.geometry.header.tilt == 0
    np.testing.assert_allclose(volume.affine[:3, 2], (0, 0.06, 2.5), atol=1e-6)
