"""DICOM files written with pydicom, for the tests that read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = (0.8, 0.6, 0.0, -0.48, 0.64, 0.6)  # two unit vectors at right angles


def voxels(shape: tuple[int, int, int] = (5, 6, 7), seed: int = 0) -> np.ndarray:
    """Stored values ``slice x row x column``, every one different."""
    count = int(np.prod(shape))
    return np.random.default_rng(seed).permutation(count).reshape(shape).astype(np.int16)


def normal(directions: Sequence[float]) -> np.ndarray:
    return np.cross(directions[:3], directions[3:])


def dataset(pixels: np.ndarray, **attributes: Any) -> Dataset:
    """One file of ``row x column`` (``x 3`` for RGB), or of frames with NumberOfFrames; attributes by keyword."""
    colour = pixels.shape[-1] == 3 and pixels.dtype == np.uint8
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.SOPClassUID = attributes.pop("SOPClassUID", CTImageStorage)
    file.SOPInstanceUID = generate_uid()
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID
    file.Modality, file.SeriesInstanceUID, file.StudyInstanceUID = "CT", "1.2.3.4", "1.2.3"
    file.FrameOfReferenceUID = "1.2.3.5"
    file.Rows, file.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    file.SamplesPerPixel, file.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    if colour:
        file.PlanarConfiguration = 0
    bits = pixels.dtype.itemsize * 8
    file.BitsAllocated, file.BitsStored, file.HighBit = bits, bits, bits - 1
    file.PixelRepresentation = int(pixels.dtype.kind == "i")
    file.add_new("PixelData", "OB" if bits == 8 else "OW", pixels.tobytes() + b"\0" * (pixels.nbytes % 2))
    for keyword, value in attributes.items():
        setattr(file, keyword, value)
    return file


def save(file: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return path


def slices(
    stack: np.ndarray,
    directions: Sequence[float] = AXIAL,
    step: Sequence[float] | None = None,
    origin: Sequence[float] = (-10.0, 20.0, 30.0),
    spacing: tuple[float, float] = (0.5, 0.75),
    **attributes: Any,
) -> list[Dataset]:
    """A classic series, one file a slice: ``spacing`` between rows and columns, ``step`` from slice to slice, mm."""
    move = normal(directions) * 2.5 if step is None else np.asarray(step)
    values = {"RescaleSlope": 1, "RescaleIntercept": -1024, "SliceThickness": 2.5} | attributes
    return [
        dataset(
            pixels,
            ImagePositionPatient=[round(float(v), 6) for v in np.add(origin, number * move)],
            ImageOrientationPatient=list(directions),
            PixelSpacing=list(spacing),
            InstanceNumber=number + 1,
            **values,
        )
        for number, pixels in enumerate(stack)
    ]


def write_series(folder: Path, files: Sequence[Dataset], shuffled: bool = True) -> Path:
    """Files with names and instance numbers that say nothing of their order, and no suffix."""
    order = np.random.default_rng(1).permutation(len(files)) if shuffled else np.arange(len(files))
    for file, number in zip(files, order.tolist(), strict=True):
        file.InstanceNumber = number + 1
        save(file, folder / f"IM{number:04d}")
    return folder


def enhanced(stack: np.ndarray, slopes: Sequence[float], step: float = 3.0, **attributes: Any) -> Dataset:
    """A multi-frame CT whose frames lie in the reverse order of their positions, each with a slope of its own."""
    frames = []
    for number, slope in enumerate(slopes):
        position, values = Dataset(), Dataset()
        position.ImagePositionPatient = [-10.0, 20.0, 30.0 - number * step]
        values.RescaleSlope, values.RescaleIntercept = slope, -1000
        frame = Dataset()
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = Items([position]), Items([values])
        frames.append(frame)
    directions, measures, shared = Dataset(), Dataset(), Dataset()
    directions.ImageOrientationPatient = list(AXIAL)
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.75], step
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Items([directions]), Items([measures])
    return dataset(
        stack,
        SOPClassUID=EnhancedCTImageStorage,
        NumberOfFrames=len(stack),
        SharedFunctionalGroupsSequence=Items([shared]),
        PerFrameFunctionalGroupsSequence=Items(frames),
        **attributes,
    )


def picture(pixels: np.ndarray, **attributes: Any) -> Dataset:
    """An image without a position."""
    values = {"SOPClassUID": SecondaryCaptureImageStorage, "Modality": "OT", "SeriesInstanceUID": generate_uid()}
    return dataset(pixels, **(values | attributes))
