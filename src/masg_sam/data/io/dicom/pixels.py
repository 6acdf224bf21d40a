"""Stored pixels to the values they stand for: Hounsfield units, grey levels that grow brighter, RGB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut

from masg_sam.data.io.dicom.codecs import stored_pixels
from masg_sam.data.io.dicom.headers import frame_count, frame_values, reading
from masg_sam.data.io.limits import must_fit

DARK_IS_MORE = "MONOCHROME1"
WITH_UNITS = ("CT", "PT", "NM")  # their values are measured; how a viewer paints them changes nothing
EIGHT_BITS = 2**8


def frame_pixels(file: Path, shown: Path) -> Iterator[np.ndarray]:
    """The frames of a file, ``row x column x C`` of float32.

    Args:
        file: where it lies.
        shown: its name for messages.

    Raises:
        ImageError: damaged, or pixels that cannot be decoded.
    """
    with reading(shown):
        dataset = dcmread(file)
        samples = int(dataset.get("SamplesPerPixel") or 1)
        shape = (frame_count(dataset), int(dataset.Rows), int(dataset.Columns), samples)
        must_fit(file, shape)
        stored = stored_pixels(dataset).reshape(shape)
        for number, frame in enumerate(stored):
            yield np.asarray(_values(frame, dataset, number), np.float32)


def _values(frame: np.ndarray, dataset: Dataset, number: int) -> np.ndarray:
    kind = str(dataset.get("PhotometricInterpretation"))
    if kind == "PALETTE COLOR":
        return _eight_bits(apply_color_lut(frame[..., 0], dataset))
    if frame.shape[-1] > 1:
        return _eight_bits(frame)
    grey = _modality(frame, dataset, number)
    if kind != DARK_IS_MORE or str(dataset.get("Modality")) in WITH_UNITS:
        return grey
    return _modality(_range(dataset, frame.dtype), dataset, number).sum() - grey


def _modality(stored: np.ndarray, dataset: Dataset, number: int) -> np.ndarray:
    """By the rescale of the frame, else by the table or the rescale of the file."""
    slope = frame_values(dataset, number, "RescaleSlope", 1)
    intercept = frame_values(dataset, number, "RescaleIntercept", 1)
    if "ModalityLUTSequence" in dataset or slope is None or intercept is None:
        return apply_modality_lut(stored, dataset)
    return stored * slope + intercept


def _range(dataset: Dataset, kind: np.dtype) -> np.ndarray:
    """The least and the largest value that can be stored."""
    bits = int(dataset.BitsStored)
    least = -(2 ** (bits - 1)) if int(dataset.get("PixelRepresentation") or 0) else 0
    return np.array([least, least + 2**bits - 1], np.int64).astype(kind)


def _eight_bits(colours: np.ndarray) -> np.ndarray:
    return colours if colours.dtype.itemsize == 1 else colours // EIGHT_BITS
