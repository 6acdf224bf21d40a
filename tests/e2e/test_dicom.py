"""Whole commands on DICOM: trained on folders and archives, a series in, masks on its very slices out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from dicom_files import OBLIQUE, slices, write_series
from support import blobs, masg_sam

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
TILTED = (0.4, -1.3, 1.8)


def case(root: Path, part: str, name: str, seed: int, step: tuple[float, ...] | None) -> Path:
    """A series and its label in NIfTI, on the grid that SimpleITK, or arithmetic where it is tilted, gives it."""
    image, label = (array.transpose(2, 1, 0) for array in blobs(seed))
    files = slices(image, OBLIQUE, step, spacing=(1.0, 1.0), SeriesInstanceUID=f"1.2.{seed}")
    folder = write_series(root / f"images{part}" / name, files)
    ends = np.array([file.ImagePositionPatient for file in files], float)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([OBLIQUE[:3], OBLIQUE[3:], (ends[-1] - ends[0]) / (len(ends) - 1)], axis=1)
    affine[:3, 3] = ends[0]
    (root / f"labels{part}").mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(label.transpose(2, 1, 0), LPS_TO_RAS @ affine), root / f"labels{part}" / f"{name}.nii.gz")
    return folder


def test_train_predict_evaluate_report_and_choose(flags: list[str], tmp_path: Path) -> None:
    data, run, masks = tmp_path / "data", tmp_path / "run", tmp_path / "masks"
    packed = case(data, "Tr", "anna", 0, None)
    shutil.make_archive(str(packed), "zip", packed)
    shutil.rmtree(packed)
    case(data, "Tr", "bert", 1, TILTED)
    straight, leaning = case(data, "Ts", "carl", 2, None), case(data, "Ts", "dora", 3, TILTED)
    trained = masg_sam("train", data, "--out", run, *flags)
    assert trained.returncode == 0, trained.stderr

    predicted = masg_sam("predict", run, straight, leaning, "--out", masks, "--pictures", "--format", "nifti")
    assert predicted.returncode == 0, predicted.stderr
    first, second = map(json.loads, predicted.stdout.splitlines())
    assert (first["case"], first["file"]) == ("carl", "carl.nii.gz") and first["images"] == [str(straight)]
    assert "tilted by" in predicted.stderr and second["case"] == "dora"
    mask = sitk.ReadImage(str(masks / "carl.nii.gz"))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(straight)))
    image = reader.Execute()
    assert mask.GetSize() == image.GetSize()
    np.testing.assert_allclose(mask.GetDirection(), image.GetDirection(), atol=1e-5)
    np.testing.assert_allclose(mask.GetOrigin(), image.GetOrigin(), atol=1e-4)
    leaning_mask, label = nib.load(masks / "dora.nii.gz"), nib.load(data / "labelsTs" / "dora.nii.gz")
    assert leaning_mask.shape == label.shape == (40, 36, 6)
    np.testing.assert_allclose(leaning_mask.affine, label.affine, atol=1e-5)
    assert second["voxels"] == {"foreground": int((leaning_mask.get_fdata() > 0).sum())}

    evaluated = masg_sam("evaluate", masks, data / "labelsTs", "--json")
    assert evaluated.returncode == 0, evaluated.stderr
    assert [entry["case"] for entry in json.loads(evaluated.stdout)["cases"]] == ["carl", "dora"]
    reported = masg_sam("report", masks, "--labels", data / "labelsTs", "--out", tmp_path / "report.html")
    assert reported.returncode == 0, reported.stderr
    assert "Pictures of" not in (tmp_path / "report.html").read_text(encoding="utf-8")

    into_series = masg_sam("predict", run, straight, "--out", straight)
    assert into_series.returncode == 2 and "among the images" in into_series.stderr

    study = tmp_path / "study"
    for name in ("carl", "dora"):
        shutil.copytree(data / "imagesTs" / name, study / name)
    for file in study.glob("*/*"):
        shutil.move(file, study / f"{file.parent.name}-{file.name}")
    asked = masg_sam("predict", run, study, "--out", tmp_path / "chosen")
    assert asked.returncode == 2 and "2 image series" in asked.stderr and "study#1" in asked.stderr
    chosen = masg_sam("predict", run, f"{study}#1.2.2", "--out", tmp_path / "chosen")
    assert chosen.returncode == 0, chosen.stderr
    assert json.loads(chosen.stdout)["case"] == "study_1.2.2" and json.loads(chosen.stdout)["voxels"] == first["voxels"]
