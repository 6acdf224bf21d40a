"""A series with a mask on it, for the tests of segmentations and structure sets."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import dicom_files
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from masg_sam.data.io import read_image
from masg_sam.data.volume import Volume

NAMES = {1: "Liver", 3: "left kidney", 4: "whatever"}
STACKS = {
    "axial": {},
    "oblique": {"directions": dicom_files.OBLIQUE},
    "sagittal": {"directions": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)},
    "tilted": {"step": (0.0, 0.9, 2.5)},
}
PATIENT = {
    "PatientID": "p-1",
    "PatientName": "Doe^Jane",
    "PatientBirthDate": "19700101",
    "PatientSex": "F",
    "StudyID": "7",
    "StudyDate": "20240102",
    "StudyTime": "030405",
    "AccessionNumber": "",
    "FrameOfReferenceUID": "1.2.9",
}


def series(folder: Path, kind: str = "axial", **attributes: object) -> Path:
    stack = dicom_files.voxels((5, 12, 14))
    return dicom_files.write_series(folder, dicom_files.slices(stack, **STACKS[kind], **(PATIENT | attributes)))


def marked(folder: Path, kind: str = "axial", **attributes: object) -> tuple[Volume, np.ndarray]:
    """A series, and a mask that is nowhere symmetric; class 4 is empty, class 3 has holes and touches the edges."""
    volume = read_image(series(folder, kind, **attributes))
    mask = np.random.default_rng(0).choice(np.array([0, 1, 3], np.uint8), volume.shape, p=(0.6, 0.1, 0.3))
    mask[volume.data[0] == volume.data.min()] = 0  # what lies beside a tilted stack is filled with that
    return volume, mask


def by_slice(volume: Volume, mask: np.ndarray) -> dict[str, np.ndarray]:
    """A mask as it must lie on each file, by SOP instance: found from the files' own positions, not by our code.

    Every voxel of a file has a value of its own, by which its place in our volume is known.
    """
    values = {value: place for place, value in np.ndenumerate(volume.data[0])}
    found = {}
    for file in (dcmread(path) for path in volume.path.iterdir()):
        pixels = file.pixel_array + float(file.RescaleIntercept)
        found[str(file.SOPInstanceUID)] = np.vectorize(lambda value: mask[values[value]])(pixels)
    return found


def check(tool: str, path: Path) -> str:
    """What a validator says of a file; the test is skipped where it is missing."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed (Debian: dcmtk, dicom3tools)")
    result = subprocess.run([tool, str(path)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


def errors(report: str) -> list[str]:
    return [line for line in report.splitlines() if line.startswith(("Error", "E:"))]


def image_of(item: Dataset) -> str:
    return str(item.ReferencedSOPInstanceUID)
