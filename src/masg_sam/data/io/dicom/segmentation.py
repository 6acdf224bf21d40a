"""DICOM segmentations (DICOM-SEG): written with highdicom, read from any tool."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

import highdicom as hd
import numpy as np
from highdicom.color import CIELabColor
from matplotlib.colors import to_rgb
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from masg_sam import __version__
from masg_sam.colours import colour_of
from masg_sam.data.io.dicom.anatomy import SCHEME, Term, codes_of
from masg_sam.data.io.dicom.grid import slices_of_files
from masg_sam.data.io.dicom.headers import PER_FRAME, SHARED, frame_count, frame_values, reading
from masg_sam.data.io.dicom.objects import sources_of
from masg_sam.data.io.dicom.painting import Canvas
from masg_sam.data.io.limits import must_fit
from masg_sam.data.volume import Volume
from masg_sam.errors import GeometryError, OutputError

log = logging.getLogger(__name__)

TOOL = "masg-sam"
SERIES_NUMBER = 1000


def write_segmentation(mask: np.ndarray, like: Volume, path: Path, names: Mapping[int, str]) -> None:
    """Write a binary segmentation with one segment for each name, on the very slices of the series.

    A class that was not found keeps its segment, without frames. Where none was found, the segments get empty frames,
    for a segmentation must have some.

    Args:
        mask: label values ``Z x Y x X`` in our order.
        like: the series that was segmented.
        path: where to write.
        names: class name of each label value.

    Raises:
        OutputError: images that no segmentation can refer to.
    """
    sources = sources_of(like)
    if not mask.any():
        log.warning("%s: no class was found; its segmentation holds empty segments", like.path)
    values = sorted(names)
    masks = np.stack([_by_file(slices_of_files(mask, like), like) == value for value in values], axis=-1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _segmentation(sources, masks, [names[value] for value in values]).save_as(path)
    except (AttributeError, ValueError, TypeError) as error:
        raise OutputError(
            "no segmentation can refer to these images",
            path=like.path,
            found=error,
            expected="a series of single slices or one file of frames, in one frame of reference",
            mend="give --format nifti",
        ) from error


def segment_labels(dataset: Dataset) -> dict[int, str]:
    """The name of each segment number; a segment without one is called by its number."""
    segments = dataset.get("SegmentSequence") or []
    return {
        int(item.SegmentNumber): str(item.get("SegmentLabel") or f"segment {item.SegmentNumber}") for item in segments
    }


def segment_masks(
    dataset: Dataset, canvas: Canvas, path: Path, wanted: Container[int]
) -> Iterator[tuple[int, np.ndarray]]:
    """The segments as they lie on an image.

    Args:
        dataset: with its voxels.
        canvas: grid of the image.
        path: of the segmentation, for messages.
        wanted: numbers of the segments to look at; the others may lie anywhere.

    Yields:
        Segment number, and its mask ``x x y x z`` of the canvas.

    Raises:
        ImageError: damaged.
        GeometryError: frames that do not lie on the image's voxels.
    """
    with reading(path):
        shape = (frame_count(dataset), int(dataset.Rows), int(dataset.Columns))
        must_fit(path, shape)
        pixels = dataset.pixel_array.reshape(shape)
        frames = [_segment_of(dataset, number) for number in range(len(pixels))]
        labels = segment_labels(dataset)
    for segment in (number for number in labels if number in wanted):
        mask = canvas.empty()
        with reading(path):
            for number in range(len(pixels)):
                if frames[number] in (segment, None):
                    _paint(mask, dataset, number, _inside(pixels[number], dataset, segment), canvas, path)
        yield segment, mask


def _segmentation(sources: list[Dataset], masks: np.ndarray, names: list[str]) -> hd.seg.Segmentation:
    return hd.seg.Segmentation(
        source_images=sources,
        pixel_array=masks,
        omit_empty_frames=bool(masks.any()),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(number, name) for number, name in enumerate(names, start=1)],
        series_instance_uid=generate_uid(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer=TOOL,
        manufacturer_model_name=TOOL,
        software_versions=__version__,
        device_serial_number="0",
        content_label="SEGMENTATION",
        series_description=f"{TOOL} segmentation",
    )


def _description(number: int, name: str) -> hd.seg.SegmentDescription:
    found = codes_of(name)
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=_code(found.category),
        segmented_property_type=_code(found.kind),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=TOOL, family=codes.DCM.ArtificialIntelligence, version=__version__
        ),
        display_color=CIELabColor.from_rgb(*(round(255 * part) for part in to_rgb(colour_of(number)))),
    )
    if found.side is not None:
        kind = description.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [hd.sr.CodedConcept.from_code(_code(found.side))]
    return description


def _code(term: Term) -> Code:
    return Code(term.value, SCHEME, term.meaning)


def _by_file(slices: np.ndarray, like: Volume) -> np.ndarray:
    """Slices in the order of the files' frames."""
    grid = like.geometry.header
    if len(grid.files) > 1:
        return slices
    ordered = np.zeros_like(slices)
    for slice_, (_, frame) in zip(slices, grid.frames, strict=True):
        ordered[frame] = slice_
    return ordered


def _segment_of(dataset: Dataset, frame: int) -> int | None:
    """Of a frame; none where frames hold all segments."""
    per_frame, shared = dataset.get(PER_FRAME) or [], dataset.get(SHARED) or []
    for group in (*per_frame[frame : frame + 1], *shared[:1]):
        for item in group.get("SegmentIdentificationSequence") or []:
            return int(item.ReferencedSegmentNumber)
    return None


def _inside(pixels: np.ndarray, dataset: Dataset, segment: int) -> np.ndarray:
    kind = str(dataset.SegmentationType)
    if kind == "LABELMAP":
        return pixels == segment
    return pixels >= int(dataset.MaximumFractionalValue) / 2 if kind == "FRACTIONAL" else pixels > 0


def _paint(mask: np.ndarray, dataset: Dataset, number: int, frame: np.ndarray, canvas: Canvas, path: Path) -> None:
    corner = frame_values(dataset, number, "ImagePositionPatient", 3)
    turn = frame_values(dataset, number, "ImageOrientationPatient", 6)
    spacing = frame_values(dataset, number, "PixelSpacing", 2)
    if corner is None or turn is None or spacing is None:
        raise GeometryError("a frame does not say where it lies", path=path, found=f"frame {number + 1}")
    steps = turn.reshape(2, 3).T * spacing[::-1]
    if frame.any() and not canvas.paint_frame(mask, frame, corner, steps):
        raise GeometryError(
            f"does not lie on the voxels of {canvas.path.name}",
            path=path,
            found=f"frame {number + 1} at {', '.join(f'{value:g}' for value in corner)} mm",
            expected="a segmentation of that very series",
            mend="take the series it was drawn on, or resample it",
        )
