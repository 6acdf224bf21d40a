from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import OBLIQUE, slices, voxels, write_series
from support import write_scan

from masg_sam.data.io import check_format, label_on_grid, read_image, read_label, write_label
from masg_sam.errors import ConfigError, OutputError


def oblique() -> np.ndarray:
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, -1.0]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * (1.0, 2.0, 3.0), (5.0, -7.0, 11.0)
    return affine


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii.gz"])
@pytest.mark.parametrize("source", ["nifti", "mha", "series", "tilted"])
def test_a_mask_in_another_format_lies_on_the_same_voxels(source: str, suffix: str, tmp_path: Path) -> None:
    """Each voxel of the file is in the same place in the world as in the image, by readers that are not ours."""
    if source == "nifti":
        image = tmp_path / "scan.nii.gz"
        write_scan(image, np.zeros((3, 4, 5), np.int16), oblique())
    elif source == "mha":
        image = tmp_path / "scan.mha"
        stored = sitk.GetImageFromArray(np.zeros((5, 4, 3), np.int16))
        stored.SetDirection((0, 0, 1, 1, 0, 0, 0, -1, 0))
        stored.SetSpacing((1.0, 2.0, 3.0))
        sitk.WriteImage(stored, str(image))
    else:
        lean = {"directions": OBLIQUE} if source == "series" else {"step": (0.0, 0.6, 2.5)}
        image = write_series(tmp_path / "scan", slices(voxels((5, 6, 7)), **lean))
    volume = read_image(image)
    mask = (np.random.default_rng(0).random(volume.shape) > 0.5).astype(np.uint8)
    path = write_label(mask, volume, tmp_path / f"m{suffix}")
    again = label_on_grid(volume, read_label(path))
    known = write_label(mask, volume, tmp_path / f"known{'.seg.dcm' if image.is_dir() else image.name[4:]}")
    np.testing.assert_array_equal(again.data, read_label(known, volume).data)
    if source == "nifti" and suffix != ".nii.gz":
        theirs = sitk.ReadImage(str(path))
        index = (2, 3, 4)
        place = nib.load(image).affine @ (*index, 1)
        np.testing.assert_allclose(theirs.TransformIndexToPhysicalPoint(index), place[:3] * (-1, -1, 1), atol=1e-5)
    if source == "series" and suffix == ".nii.gz":
        np.testing.assert_allclose(nib.load(path).affine[:3, 3], (10.0, -20.0, 30.0), atol=1e-4)
        assert nib.load(path).shape == (7, 6, 5) and nib.load(path).get_qform(coded=True)[1] == 1


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        ("png", "a.nii.gz", "nifti or nrrd or mha"),
        ("dicom-seg", "a.nrrd", "nifti or nrrd or mha"),
        ("rtstruct", "a.png", "png"),
        ("nifti", "a.jpg", "png"),
    ],
)
def test_formats_that_do_not_fit_are_refused_by_the_name_of_the_image(name: str, image: str, expected: str) -> None:
    with pytest.raises(OutputError, match=expected):
        check_format(name, [Path("b.dcm"), Path(image)])


def test_formats_that_fit(tmp_path: Path) -> None:
    for name in ("nifti", "nrrd", "mha", "dicom-seg", "rtstruct"):
        check_format(name, [tmp_path])  # a folder of DICOM
    check_format("mha", [Path("a.nii")])
    check_format("png", [Path("a.tif")])
    with pytest.raises(ConfigError, match="dicom-seg"):
        check_format("dicom", [tmp_path])
