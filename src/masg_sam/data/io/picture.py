"""PNG, JPEG and BMP through Pillow, TIFF through tifffile."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from masg_sam.data.volume import Geometry, Volume
from masg_sam.errors import ImageError

MOST_PIXELS = 2**28
DAMAGE = (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, KeyError, IndexError, MemoryError)
DAMAGE += (Image.DecompressionBombError, tifffile.TiffFileError, TypeError, ZeroDivisionError, OverflowError)
DAMAGE += (AttributeError, RuntimeError)


def read(path: Path) -> Volume:
    """Read a picture as stored, whatever its EXIF orientation says, so that a mask fits its pixels."""
    try:
        pixels = _tiff(path) if path.suffix.lower() in (".tif", ".tiff") else _pillow(path)
    except ImageError:
        raise
    except DAMAGE as error:
        raise ImageError(
            "cannot be read as a picture",
            path=path,
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no detail'}",
            expected="a whole PNG, JPEG, BMP or TIFF file",
            mend="the file is truncated or damaged, or has the wrong suffix: export it again",
        ) from error
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 2, 3, 4):
        raise ImageError(
            "not one picture",
            path=path,
            found=f"array of {' x '.join(map(str, pixels.shape))}",
            expected="rows x columns of grey or RGB",
            mend="save each page of a stack as a file of its own, or the stack as NIfTI",
        )
    channels = {2: 1, 4: 3}.get(pixels.shape[-1], pixels.shape[-1])  # without alpha
    data = np.moveaxis(pixels[..., :channels], -1, 0)[:, None]  # C x 1 x Y x X
    return Volume(data, (1.0, 1.0, 1.0), None, Geometry("picture", data.shape[2:], None), path)


def write(mask: np.ndarray, like: Volume, path: Path) -> None:
    """Write a grey PNG, 8 or 16 bit, one value a class."""
    Image.fromarray(mask[0]).save(path, format="PNG")


def mask_suffix(volume: Volume) -> str:
    """Masks of pictures are PNG: no loss."""
    return ".png"


def _pillow(path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as image:
                _check_size(path, image.size)
                if image.mode in ("P", "PA"):
                    return _palette(image)
                if image.mode in ("1", "CMYK", "YCbCr", "HSV", "LAB"):
                    image = image.convert("L" if image.mode == "1" else "RGB")
                return np.asarray(image)
        except Image.DecompressionBombWarning as error:
            raise ImageError("more pixels than can be meant", path=path, found=error) from error


def _palette(image: Image.Image) -> np.ndarray:
    """Indexed pictures: the colours; a grey palette of a mask becomes its grey values."""
    colours = np.asarray(image.convert("RGB"))
    return colours


def _tiff(path: Path) -> np.ndarray:
    with tifffile.TiffFile(path) as file:
        if not file.series:
            raise ImageError("no picture in the file", path=path, expected="one page")
        series = file.series[0]
        _check_size(path, (int(np.prod(series.shape, dtype=np.float64)), 1))
        pixels = series.asarray()
    pixels = np.squeeze(pixels)
    if pixels.ndim == 3 and "S" in series.axes and series.axes.index("S") == 0:
        pixels = np.moveaxis(pixels, 0, -1)
    return pixels


def _check_size(path: Path, size: tuple[int, int]) -> None:
    if size[0] * size[1] > MOST_PIXELS:
        raise ImageError(
            "more pixels than can be meant",
            path=path,
            found=f"{size[0]} x {size[1]}",
            expected=f"at most {MOST_PIXELS}",
            mend="cut the picture into tiles",
        )
