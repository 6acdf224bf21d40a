"""PNG, JPEG and BMP through Pillow, TIFF through tifffile; of several pages, it is a volume."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import ExifTags, Image

from masg_sam.data.io.limits import damaged
from masg_sam.data.io.orientation import Orientation
from masg_sam.data.io.stack import is_stack, read_stack
from masg_sam.data.io.values import eight_bits
from masg_sam.data.volume import Geometry, Volume
from masg_sam.errors import ImageError, LabelError

FORMATS = ("PNG", "JPEG", "BMP", "TIFF")  # whatever a file is named, nothing else is tried on it
MOST_PIXELS = 80_000_000  # of one picture; below what Pillow takes for a decompression bomb
DEEP = ";16B"  # how Pillow calls pixels of 16 bits, of which it keeps 8 in several channels
UPRIGHT = 1  # the EXIF orientation of a picture that is shown as it is stored
CHANNELS = {1: 1, 2: 1, 3: 3, 4: 3}  # stored channels to those without alpha
DAMAGE: tuple[type[Exception], ...] = (
    *(OSError, ValueError, SyntaxError, EOFError, KeyError, IndexError, TypeError, AttributeError),
    *(ArithmeticError, RuntimeError, MemoryError, struct.error, zlib.error),
    *(tifffile.TiffFileError, Image.DecompressionBombError, Image.DecompressionBombWarning),
)


def read(path: Path, *, label: bool = False, channels: int | None = 1) -> Volume:
    """Read a picture or a stack as stored, whatever its EXIF orientation says, so that a mask fits its pixels.

    Colours of a picture are brought to 0..255, see :func:`~masg_sam.data.io.values.eight_bits`.

    Args:
        path: the file.
        label: whether the indices of a coloured palette are wanted, and not its colours, and all of 16 bits.

    Raises:
        ImageError: damaged, too large, of several channels or time points, or colours of no known range.
        LabelError: indices that a grey palette does not tell apart.
    """
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            with tifffile.TiffFile(path) as file:
                if is_stack(file):
                    volume = read_stack(path, file, label)
                    return replace(volume, data=volume.data[: CHANNELS[len(volume.data)]])
                pixels = _read_tiff(path, file, label)
        else:
            pixels = _read_pillow(path, label)
    except DAMAGE as error:
        raise damaged(path, error, "PNG, JPEG, BMP or TIFF") from error
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[-1] not in CHANNELS:
        raise _stack(path, pixels.shape)
    if np.iscomplexobj(pixels):
        raise ImageError("pixels are not single numbers", path=path, found="complex numbers", mend="convert the file")
    pixels = pixels.astype(np.uint8) if pixels.dtype == bool else pixels
    data = np.moveaxis(pixels[..., : CHANNELS[pixels.shape[-1]]], -1, 0)[:, None]  # C x 1 x Y x X
    data = data if label or len(data) == 1 else eight_bits(data, path)
    return Volume(data, (1.0, 1.0, 1.0), None, Geometry("picture", data.shape[2:], None), path)


def write(mask: np.ndarray, like: Volume, path: Path, names: Mapping[int, str]) -> None:
    """Write a grey PNG, 8 or 16 bit, one value a class."""
    Image.fromarray(mask[0]).save(path, format="PNG")


def shown_as(path: Path) -> int:
    """The EXIF orientation by which a picture is shown, 1..8; 1, as stored, where it says nothing of it."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            found = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except DAMAGE:  # told where the picture itself is read
        return UPRIGHT
    return int(found) if found in range(UPRIGHT, 9) else UPRIGHT


def stored_mode(path: Path) -> str:
    """How a picture's pixels are stored, as Pillow names it: ``L``, ``RGB``, ``P`` ...; empty where it cannot tell."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return str(image.mode)
    except DAMAGE:
        return ""


def orientation(volume: Volume) -> Orientation | None:
    """Between the file's axes and ours; none: rows and columns of a picture stay as they are."""
    return None


def mask_suffix(volume: Volume) -> str:
    """Masks of pictures are PNG: no loss."""
    return ".png"


def _read_pillow(path: Path, label: bool) -> np.ndarray:
    with Image.open(path, formats=FORMATS) as image:
        _must_be_picture(path, image.size)
        if image.mode in ("P", "PA"):
            return _classes(path, image) if label else _colours(image)
        if label and len(image.getbands()) > 1 and image.format == "PNG" and str(image.tile[0][3]).endswith(DEEP):
            return imagecodecs.png_decode(path.read_bytes())
        if image.mode in ("CMYK", "YCbCr", "HSV", "LAB"):
            return np.asarray(image.convert("RGB"))
        return np.asarray(image.convert("L") if image.mode == "1" else image)


def _colours(image: Image.Image) -> np.ndarray:
    """Indexed pixels as colours, or as greys where there is no other."""
    colours = np.asarray(image.convert("RGB"))
    return colours[..., 0] if (colours == colours[..., :1]).all() else colours


def _classes(path: Path, image: Image.Image) -> np.ndarray:
    """Indexed pixels of a label: the indices, or where the palette holds greys alone, those.

    The palette decides, not the pixels: so all labels that were drawn with one palette are read alike. Tools that
    make files small write grey levels with a palette of greys, in any order.
    """
    indices = np.asarray(image if image.mode == "P" else image.getchannel("P"))
    palette = np.reshape(image.getpalette() or [], (-1, 3))
    if (palette != palette[:, :1]).any():
        return indices
    greys = np.asarray(image.convert("RGB"))[..., 0]
    if (kinds := len(np.unique(indices))) > (levels := len(np.unique(greys))):
        raise LabelError(
            "several indices of one grey",
            path=path,
            found=f"{kinds} indices, {levels} grey levels",
            expected="a palette with colours, or a grey for each index",
            mend="save the indices as grey PNG, without a palette",
        )
    return greys


def _read_tiff(path: Path, file: tifffile.TiffFile, label: bool) -> np.ndarray:
    series, page = file.series[0], file.series[0].keyframe
    sizes = {axis: n for axis, n in zip(series.axes, series.shape, strict=True) if axis in "YXS" or n > 1}
    if sizes.keys() - set("YXS") or len(file.series) > 1:
        raise _stack(path, series.shape)
    _must_be_picture(path, (sizes["X"], sizes["Y"]))
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        return _read_pillow(path, label)
    try:
        pixels = series.asarray().reshape(tuple(sizes.values()))
    except ValueError:  # a compression that tifffile leaves to others
        return _read_pillow(path, label)
    return np.moveaxis(pixels, 0, -1) if next(iter(sizes)) == "S" else pixels


def _must_be_picture(path: Path, shape: tuple[int, ...]) -> None:
    pixels = int(np.prod(shape, dtype=np.float64))
    if not 0 < pixels <= MOST_PIXELS:
        raise ImageError(
            "more pixels than can be meant" if pixels else "picture has no pixels",
            path=path,
            found=" x ".join(map(str, shape)),
            expected=f"1 to {MOST_PIXELS} pixels",
            mend="the header is damaged; otherwise cut the picture into tiles",
        )


def _stack(path: Path, shape: tuple[int, ...]) -> ImageError:
    return ImageError(
        "neither one picture nor one stack of slices",
        path=path,
        found=f"array of {' x '.join(map(str, shape))}",
        expected="rows x columns of grey or RGB, or pages of them",
        mend="save each channel, time point and size as a file of its own (channels: NAME_0000, NAME_0001, ...)",
    )
