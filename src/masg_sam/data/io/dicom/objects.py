"""DICOM files that mark structures in a series: segmentations and structure sets, and the series they refer to."""

from __future__ import annotations

import os
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage, SegmentationStorage

from masg_sam.data.io.dicom.grid import source_datasets
from masg_sam.data.io.dicom.headers import reading
from masg_sam.data.io.dicom.read import read_series
from masg_sam.data.io.dicom.series import find_series
from masg_sam.data.io.kinds import case_stem, is_dicom_file
from masg_sam.data.volume import Volume
from masg_sam.errors import LabelError, OutputError, few

LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"  # segmentations with one value a voxel, of 2024
SEGMENTATIONS = (SegmentationStorage, LABEL_MAP_STORAGE)
IMAGE_FOLDERS = ("imagesTs", "imagesTr", "images", "image", "imgs", "img")

# What DICOM wants of patient and study, empty where it is not known; anonymised files leave some out.
PATIENT_AND_STUDY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "ReferringPhysicianName"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
)


def must_be_label(dataset: Dataset, path: Path) -> Dataset:
    """The file, if it is a segmentation or a structure set.

    Raises:
        LabelError: it is something else.
    """
    if dataset.get("SOPClassUID") in (*SEGMENTATIONS, RTStructureSetStorage):
        return dataset
    raise LabelError(
        "DICOM where a label is expected, that is none",
        path=path,
        found=dataset.get("Modality") or "no modality",
        expected="a segmentation (SEG) or a structure set (RTSTRUCT)",
        mend="export the label as one of these, or in another format; images may stay DICOM",
    )


def is_segmentation(dataset: Dataset) -> bool:
    """Whether it is a segmentation, not a structure set."""
    return dataset.SOPClassUID in SEGMENTATIONS


def frame_of_reference(dataset: Dataset) -> str | None:
    """Of a segmentation, a structure set or an image: the identifier of the space its millimetres belong to."""
    first = next(iter(dataset.get("ReferencedFrameOfReferenceSequence") or []), Dataset())
    return first.get("FrameOfReferenceUID") or dataset.get("FrameOfReferenceUID")


def sources_of(volume: Volume) -> list[Dataset]:
    """The images of a series in slice order, for a result to refer to.

    What DICOM wants of patient and study is empty where they leave it out.

    Raises:
        OutputError: they name no frame of reference.
        ImageError: a file is no longer there, or damaged.
    """
    sources = source_datasets(volume)
    for source in sources:
        for keyword in PATIENT_AND_STUDY:
            if keyword not in source:
                setattr(source, keyword, "")
        if not source.get("FrameOfReferenceUID"):
            raise OutputError(
                "no DICOM result can refer to these images",
                path=volume.path,
                expected="a FrameOfReferenceUID",
                mend="give --format nifti",
            )
    return sources


def series_referred_to(dataset: Dataset) -> set[str]:
    """Identifiers of the image series."""
    found = list(dataset.get("ReferencedSeriesSequence") or [])
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or []:
        for study in frame.get("RTReferencedStudySequence") or []:
            found += study.get("RTReferencedSeriesSequence") or []
    return {str(item.SeriesInstanceUID) for item in found}


def read_source(path: Path, dataset: Dataset) -> Volume:
    """The series that a label refers to, from around its file.

    Looked through are its own folder and those in it, the image folders of its dataset, and the folders beside its
    own.

    Args:
        path: of the label.
        dataset: its content.

    Raises:
        LabelError: the series is not there.
        InputError: it cannot be read.
    """
    wanted = series_referred_to(dataset)
    folders = _folders(path)
    for folder in folders:
        for file in (item for item in _visible(folder) if item.is_file() and is_dicom_file(item)):
            with reading(file):
                header = dcmread(file, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"])
                uid = str(header.get("SeriesInstanceUID"))
            if uid in wanted:
                return read_series(next(series for series in find_series(folder) if series.uid == uid))
    raise LabelError(
        "the series it refers to is not near it",
        path=path,
        found=f"DICOM of other series, or none, in {few([folder.name for folder in folders])}",
        expected=f"images of series {' or '.join(sorted(wanted)) or 'that the file does not name'}",
        mend="put the series into images/ (imagesTr/, imagesTs/) beside the folder of labels, or into the same folder",
    )


def _folders(path: Path) -> list[Path]:
    """Where the series may be; folders named like the case first."""
    own = path.parent
    beside = [item for item in _subfolders(own.parent) if item != own]
    images = [Path(root) for item in beside if item.name in IMAGE_FOLDERS for root, _, _ in os.walk(item)]
    found = [own, *_subfolders(own), *images, *(item for item in beside if item.name not in IMAGE_FOLDERS)]
    return sorted(found, key=lambda folder: folder.name != case_stem(path))


def _subfolders(folder: Path) -> list[Path]:
    return [item for item in _visible(folder) if item.is_dir()]


def _visible(folder: Path) -> list[Path]:
    """What is in a folder, hidden things left out; nothing where it may not be read."""
    try:
        return sorted(item for item in folder.iterdir() if not item.name.startswith("."))
    except OSError:
        return []
