"""Structure sets of radiotherapy (RTSTRUCT): contours on the slices of a series."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import cast

import numpy as np
from matplotlib.colors import to_rgb
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from masg_sam import __version__
from masg_sam.colours import colour_of
from masg_sam.data.io.dicom.contours import mask_of, polygons_of
from masg_sam.data.io.dicom.grid import slices_of_files
from masg_sam.data.io.dicom.headers import frame_count, frame_values, reading
from masg_sam.data.io.dicom.objects import PATIENT_AND_STUDY, sources_of
from masg_sam.data.io.dicom.painting import OFF, Canvas
from masg_sam.data.io.dicom.segmentation import SERIES_NUMBER, TOOL
from masg_sam.data.volume import Volume
from masg_sam.errors import GeometryError

CLOSED, CLOSED_XOR = "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"
STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"  # of the study a structure set refers to, retired and still asked for


def write_rtstruct(mask: np.ndarray, like: Volume, path: Path, names: Mapping[int, str]) -> None:
    """Write a structure set with one region for each name; a class that was not found has no contours.

    Contours run half-way between voxels inside and outside; a hole is joined to its outline by a keyhole.

    Args:
        mask: label values ``Z x Y x X`` in our order.
        like: the series that was segmented.
        path: where to write.
        names: class name of each label value.

    Raises:
        OutputError: images without a frame of reference.
    """
    sources = sources_of(like)
    slices = slices_of_files(mask, like)
    dataset = _header(sources[0])
    dataset.ReferencedFrameOfReferenceSequence = Sequence([_reference(sources)])
    frames = [(sources[file], frame) for file, frame in like.geometry.header.frames]
    for number, value in enumerate(sorted(names), start=1):
        _add_region(dataset, number, names[value], _contours(slices == value, frames))
    dataset.save_as(path, enforce_file_format=True)


def region_names(dataset: Dataset) -> dict[int, str]:
    """The name of each region by its number."""
    regions = dataset.get("StructureSetROISequence") or []
    return {int(item.ROINumber): str(item.get("ROIName") or f"region {item.ROINumber}") for item in regions}


def region_masks(
    dataset: Dataset, canvas: Canvas, path: Path, wanted: Container[int]
) -> Iterator[tuple[int, np.ndarray]]:
    """The regions as they lie on an image: voxels whose centres lie in an odd number of contours of their slice.

    Points and open lines mark no voxels.

    Args:
        dataset: the structure set.
        canvas: grid of the image.
        path: of the structure set, for messages.
        wanted: numbers of the regions to look at; the others may lie anywhere.

    Yields:
        Region number, and its mask ``x x y x z`` of the canvas.

    Raises:
        ImageError: damaged.
        GeometryError: contours between the image's slices or beside them.
    """
    with reading(path):
        by_number = {int(item.ReferencedROINumber): item for item in dataset.get("ROIContourSequence") or []}
        names = region_names(dataset)
    for number in (number for number in names if number in wanted):
        with reading(path):
            contours = by_number.get(number, Dataset()).get("ContourSequence") or []
            mask = _region(contours, canvas, path, names[number])
        yield number, mask


def _region(contours: Iterable[Dataset], canvas: Canvas, path: Path, name: str) -> np.ndarray:
    mask = canvas.empty()
    closed = [item for item in contours if item.ContourGeometricType in (CLOSED, CLOSED_XOR)]
    for (axis, place), polygons in _by_slice(closed, canvas, path, name).items():
        plane = np.moveaxis(mask, axis, 0)[place]
        plane ^= mask_of([polygon[:, ::-1] for polygon in polygons], plane.shape)
    return mask


def _by_slice(
    contours: list[Dataset], canvas: Canvas, path: Path, name: str
) -> dict[tuple[int, int], list[np.ndarray]]:
    """Polygons of each axis and slice across it, by the two other axes."""
    found: dict[tuple[int, int], list[np.ndarray]] = {}
    for contour in contours:
        points = canvas.index(np.array(contour.ContourData, np.float64).reshape(-1, 3))
        axis = int(np.ptp(points, axis=0).argmin())
        place = round(float(points[:, axis].mean()))
        if np.abs(points[:, axis] - place).max() > OFF or not 0 <= place < canvas.shape[axis]:
            raise GeometryError(
                f"a contour of {name} lies on no slice of {canvas.path.name}",
                path=path,
                found=f"slice {points[:, axis].mean():.2f}, counted from 0",
                expected=f"whole numbers up to {canvas.shape[axis] - 1}",
                mend="take the series it was drawn on; with classes named in dataset.json, others are left out",
            )
        found.setdefault((axis, place), []).append(np.delete(points, axis, axis=1))
    return found


def _contours(slices: np.ndarray, frames: list[tuple[Dataset, int]]) -> list[Dataset]:
    found = []
    for mask, (source, frame) in zip(slices, frames, strict=True):
        for polygon in polygons_of(mask):
            contour = Dataset()
            contour.ContourImageSequence = Sequence([_image(source, frame)])
            contour.ContourGeometricType = CLOSED
            contour.NumberOfContourPoints = len(polygon)
            points = _millimetres(polygon, source, frame)
            contour.ContourData = [f"{value:.4f}" for value in points.ravel()]
            found.append(contour)
    return found


def _millimetres(polygon: np.ndarray, source: Dataset, frame: int) -> np.ndarray:
    """Points ``N x 2`` of columns and rows of a frame to LPS mm, ``N x 3``."""
    wanted = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}  # it was read by them
    corner, turn, spacing = (cast(np.ndarray, frame_values(source, frame, *one)) for one in wanted.items())
    return corner + (polygon * spacing[::-1]) @ turn.reshape(2, 3)


def _image(source: Dataset, frame: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    if frame is not None and frame_count(source) > 1:
        item.ReferencedFrameNumber = frame + 1
    return item


def _reference(sources: list[Dataset]) -> Dataset:
    """Frame of reference, study, series and images, one in another."""
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = sources[0].SeriesInstanceUID
    series.ContourImageSequence = Sequence([_image(source) for source in sources])
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = STUDY_CLASS, sources[0].StudyInstanceUID
    study.RTReferencedSeriesSequence = Sequence([series])
    frame.FrameOfReferenceUID = sources[0].FrameOfReferenceUID
    frame.RTReferencedStudySequence = Sequence([study])
    return frame


def _header(source: Dataset) -> FileDataset:
    """A structure set without structures, of the patient and study of an image."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for keyword in (*PATIENT_AND_STUDY, "StudyInstanceUID", "FrameOfReferenceUID", "PositionReferenceIndicator"):
        setattr(dataset, keyword, source.get(keyword, ""))
    if "SpecificCharacterSet" in source:
        dataset.SpecificCharacterSet = source.SpecificCharacterSet
    now = datetime.now()
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTStructureSetStorage, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.SeriesInstanceUID, dataset.SeriesNumber = "RTSTRUCT", generate_uid(), SERIES_NUMBER + 1
    dataset.SeriesDescription, dataset.StructureSetLabel = f"{TOOL} structures", "masg-sam"
    dataset.OperatorsName, dataset.InstanceNumber, dataset.ApprovalStatus = "", 1, "UNAPPROVED"
    dataset.Manufacturer = dataset.ManufacturerModelName = TOOL
    dataset.SoftwareVersions = __version__
    dataset.StructureSetDate = dataset.InstanceCreationDate = now.strftime("%Y%m%d")
    dataset.StructureSetTime = dataset.InstanceCreationTime = now.strftime("%H%M%S")
    dataset.StructureSetROISequence, dataset.ROIContourSequence = Sequence(), Sequence()
    dataset.RTROIObservationsSequence = Sequence()
    return dataset


def _add_region(dataset: Dataset, number: int, name: str, contours: list[Dataset]) -> None:
    region, drawn, observation = Dataset(), Dataset(), Dataset()
    region.ROINumber, region.ROIName = number, name[:64]
    region.ReferencedFrameOfReferenceUID = dataset.FrameOfReferenceUID
    region.ROIGenerationAlgorithm, region.ROIGenerationDescription = "AUTOMATIC", f"{TOOL} {__version__}"
    drawn.ROIDisplayColor = [round(255 * part) for part in to_rgb(colour_of(number))]
    drawn.ReferencedROINumber = number
    if contours:
        drawn.ContourSequence = Sequence(contours)
    observation.ObservationNumber, observation.ReferencedROINumber = number, number
    observation.RTROIInterpretedType, observation.ROIInterpreter = "", ""
    dataset.StructureSetROISequence.append(region)
    dataset.ROIContourSequence.append(drawn)
    dataset.RTROIObservationsSequence.append(observation)
