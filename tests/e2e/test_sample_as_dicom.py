"""The embedded sample as a DICOM series: predicted as the NIfTI file is, its labels through DICOM-SEG and RTSTRUCT."""

from __future__ import annotations

from pathlib import Path

import dicom_files
import highdicom as hd
import numpy as np
import pytest
from dicom_marked import check, errors
from rich.console import Console

from masg_sam import api
from masg_sam.config import Config
from masg_sam.data.io import label_on_grid, read_image, read_label, write_label
from masg_sam.data.volume import Volume

NAMES = {1: "grey matter", 2: "white matter"}


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    pytest.importorskip("nilearn")
    from masg_sam.data.sample import write_sample

    write_sample(tmp_path / "data", slices=2)
    return tmp_path / "data"


def as_series(volume: Volume, folder: Path) -> Path:
    """One file a slice, in the patient's own axes: LPS."""
    z, y, x = volume.spacing
    origin = volume.affine[:3, 3]
    files = dicom_files.slices(
        volume.data[0].astype(np.int16),
        step=(0.0, 0.0, z),
        origin=origin,
        spacing=(y, x),
        RescaleIntercept=0,
        SliceThickness=z,
    )
    return dicom_files.write_series(folder, files)


def test_predicted_like_the_file_it_was_written_from(sample: Path, tiny: Config, tmp_path: Path) -> None:
    api.train(sample, tmp_path / "run", tiny, console=Console(quiet=True))
    image = sample / "imagesTs" / "icbm152_0000.nii.gz"
    series = as_series(read_image(image), tmp_path / "scan")
    (one,) = api.predict(tmp_path / "run", image, tmp_path / "from_nifti", device="cpu")
    (two,) = api.predict(tmp_path / "run", series, tmp_path / "from_dicom", device="cpu", mask_format="nifti")
    masks = [read_label(tmp_path / folder / found.file) for folder, found in (("from_nifti", one), ("from_dicom", two))]
    np.testing.assert_array_equal(masks[0].data, masks[1].data)
    np.testing.assert_allclose(masks[0].affine, masks[1].affine, atol=1e-4)
    (three,) = api.predict(tmp_path / "run", series, tmp_path / "seg", device="cpu", mask_format="dicom-seg")
    again = label_on_grid(read_image(series), read_label(tmp_path / "seg" / three.file, read_image(series), NAMES))
    np.testing.assert_array_equal(again.data, masks[1].data)


@pytest.mark.parametrize("ending", [".seg.dcm", ".rtstruct.dcm"])
def test_its_labels_come_back_and_validate(ending: str, sample: Path, tmp_path: Path) -> None:
    label = read_label(sample / "labelsTs" / "icbm152.nii.gz")
    volume = read_image(as_series(read_image(sample / "imagesTs" / "icbm152_0000.nii.gz"), tmp_path / "scan"))
    mask = label.data[0].astype(np.uint8)
    path = write_label(mask, volume, tmp_path / f"icbm152{ending}", NAMES)
    again = label_on_grid(volume, read_label(path, volume, NAMES))
    np.testing.assert_array_equal(again.data[0], mask)
    if ending == ".seg.dcm":
        found = hd.seg.segread(path).get_volume(combine_segments=True).array
        assert [(found == k).sum() for k in NAMES] == [(mask == k).sum() for k in NAMES]
    assert not errors(check("dcmdump", path))
