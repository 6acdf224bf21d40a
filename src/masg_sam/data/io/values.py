"""What the numbers in an image, a label and a mask may be."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from masg_sam.data.labels import LOSSY
from masg_sam.errors import ImageError, LabelError

MOST_LABEL = 2**16 - 1  # the largest value a mask can be written with
WHOLE = 1e-3  # from a whole number, that labels stored as floats may be away
GREY_SPREAD, GREY_PART = 24, 0.001  # levels between channels of a grey JPEG, and pixels of it that may exceed them
DEPTHS = (2**8 - 1, 2**12 - 1, 2**16 - 1)  # the largest colours of 8, 12 and 16 bits
OVERSHOOT = 0.05  # of that range, by which colours that were resampled may leave it


def finite(data: np.ndarray, path: Path) -> np.ndarray:
    """An image as float32.

    Raises:
        ImageError: NaN or infinite voxels.
    """
    data = np.ascontiguousarray(data, dtype=np.float32)
    bad = int(data.size - np.isfinite(data).sum())
    if bad:
        raise ImageError(
            "voxels that are not numbers",
            path=path,
            found=f"{bad} NaN or infinite of {data.size}",
            expected="finite values",
            mend="replace them, by the value of the background for instance, and save again",
        )
    return data


def whole_numbers(data: np.ndarray, path: Path) -> np.ndarray:
    """A label as integers, stored as such or as floats that are whole.

    Raises:
        LabelError: fractional values, or NaN.
    """
    if np.issubdtype(data.dtype, np.integer):
        return data
    whole = np.rint(data)
    fits = np.isfinite(data).all() and np.abs(data).max() < 2**31
    if not fits or np.abs(whole - data).max() > WHOLE:
        raise LabelError(
            "label values are not whole numbers",
            path=path,
            found=f"values between {data.min():g} and {data.max():g}",
            expected="one whole number a class, 0 for the background",
            mend="threshold probabilities, or save the label with an integer type",
        )
    return whole.astype(np.int32)


def one_grey_channel(data: np.ndarray, path: Path) -> np.ndarray:
    """A label of one channel, or of grey levels saved as RGB: exactly grey, or in a JPEG up to its colour noise.

    Raises:
        LabelError: channels that differ.
    """
    if data.shape[0] == 1:
        return data
    noise, part = (GREY_SPREAD, GREY_PART) if path.suffix.lower() in LOSSY else (0, 0.0)
    coloured = np.ptp(data.astype(np.int64), axis=0) > noise
    if coloured.mean() > part:
        raise LabelError(
            "a coloured label",
            path=path,
            found=f"{coloured.sum()} of {coloured.size} pixels are not grey",
            expected="one channel with one whole number a class",
            mend="map each colour to a number and save as grey PNG",
        )
    return np.median(data, axis=0, keepdims=True).astype(np.int32)


def eight_bits(colours: np.ndarray, path: Path) -> np.ndarray:
    """Colours from 0 to 255, as the network takes them.

    Fractions go up to 1. Of whole numbers the fewest bits that hold the largest count: microscopes store 12 in 16.

    Raises:
        ImageError: they go beyond 16 bits, or below 0.
    """
    if colours.dtype == np.uint8:
        return colours
    low, high = float(colours.min()), float(colours.max())
    ranges = (1, *DEPTHS) if np.issubdtype(colours.dtype, np.floating) else DEPTHS
    whole = next((most for most in ranges if high <= most * (1 + OVERSHOOT)), None)
    if whole is None or low < -whole * OVERSHOOT:
        raise ImageError(
            "colours of no known range",
            path=path,
            found=f"{colours.dtype} from {low:g} to {high:g}",
            expected="8, 12 or 16 bits, or fractions from 0 to 1",
            mend="save the picture with 8 bits a channel",
        )
    return np.clip(colours.astype(np.float32) * np.float32(255 / whole), 0, 255)


def storable(mask: np.ndarray, path: Path) -> np.ndarray:
    """A mask as uint8, or uint16 where its values need it.

    Raises:
        LabelError: fractional, negative or too large values.
    """
    whole = mask.dtype == bool or np.issubdtype(mask.dtype, np.integer)
    least, most = (int(mask.min()), int(mask.max())) if whole else (0, 0)
    if not whole or least < 0 or most > MOST_LABEL:
        raise LabelError(
            "mask values that cannot be written",
            path=path,
            found=f"{least} to {most}" if whole else mask.dtype,
            expected=f"whole numbers from 0 to {MOST_LABEL}",
            mend="number the classes from 1",
        )
    return mask.astype(np.uint8 if most < 2**8 else np.uint16)
