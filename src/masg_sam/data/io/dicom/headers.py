"""One DICOM file: its header, its voxels' meaning, and how damage in it is reported."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from masg_sam.data.io.limits import damaged
from masg_sam.errors import ImageError, InputError

SERIES = ("SOPClassUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality", "InstanceNumber")
SHAPE = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel")
PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices")
SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
NO_IMAGES = frozenset(  # modalities of objects that may have pixels, or refer to them, and show no patient
    ("SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "RTRECORD", "SR", "PR", "KO", "REG", "FID", "DOC", "ECG", "PLAN", "M3D")
)
MACROS = {  # where an enhanced, multi-frame file keeps what is an attribute of its own elsewhere
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "SpacingBetweenSlices": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
}


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever the DICOM libraries raise over a damaged file into an error that names it.

    Args:
        path: the file, as the user knows it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            raise damaged(path, error, "DICOM") from error


def read_header(file: Path, shown: Path) -> Dataset:
    """What finding, sorting and placing slices needs, without the voxels.

    Args:
        file: where it lies.
        shown: its name for messages.

    Raises:
        ImageError: damaged, or compressed as a whole.
    """
    with reading(shown):
        if read_file_meta_info(file).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            raise _deflated(shown)
        header = dcmread(file, stop_before_pixels=True, specific_tags=[*SERIES, *SHAPE, *PLACE, SHARED, PER_FRAME])
        for element in header:  # values are parsed when they are asked for
            _ = element.value
        if is_image(header) and not header.get("Rows"):
            raise ValueError("the file ends in its header, or has no rows")
    return header


def is_image(header: Dataset) -> bool:
    """Whether a file shows a patient: by its class, or because it has rows of pixels."""
    kind = header.file_meta.get("MediaStorageSOPClassUID")
    named = kind is None or "Image Storage" in UID(kind).name
    return (named or "Rows" in header) and str(header.get("Modality") or "").upper() not in NO_IMAGES


def frame_count(header: Dataset) -> int:
    """Frames of a file; one where it does not say."""
    return int(header.get("NumberOfFrames") or 1)


def frame_values(header: Dataset, frame: int, keyword: str, count: int) -> np.ndarray | None:
    """Numbers that belong to a frame, from its own groups, from those of all frames, or from the file.

    Args:
        header: of the file.
        frame: number in the file, from 0.
        keyword: the attribute.
        count: of numbers it must have.

    Returns:
        ``count`` numbers; ``None`` where there are none.

    Raises:
        ValueError: another count, or something that is no finite number.
    """
    found = (place.get(keyword) for place in _places(header, frame, keyword))
    value = next((value for value in found if value is not None and value != ""), None)
    if value is None:
        return None
    values = np.atleast_1d(np.asarray(value, dtype=np.float64))
    if values.shape != (count,) or not np.isfinite(values).all():
        raise ValueError(f"{keyword} of {value}, not {count} finite numbers")
    return values


def _places(header: Dataset, frame: int, keyword: str) -> Iterator[Dataset]:
    per_frame, shared = header.get(PER_FRAME) or [], header.get(SHARED) or []
    for group in (*per_frame[frame : frame + 1], *shared[:1]):
        yield from (group.get(MACROS[keyword]) or [])[:1]
    yield header


def _deflated(path: Path) -> ImageError:
    return ImageError(
        "a DICOM file that is compressed as a whole",
        path=path,
        found="transfer syntax Deflated Explicit VR Little Endian",
        expected="any other; compressed pixels are understood",
        mend="convert it, with `dcmconv +te` for instance",
    )
