"""Compressed pixels: which library decodes which compression, and nothing larger than the header says.

Damaged files must end in an error, not in the death of the program or in minutes of decoding. The libraries chosen here
were tried with thousands of damaged files; GDCM aborts on some, and others decode JPEG 2000 for minutes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder
from pydicom.pixels.decoders.base import DecodeRunner

PLUGIN = "imagecodecs"
PLUGINS = {
    uid.JPEGBaseline8Bit: "pillow",
    uid.JPEG2000Lossless: "pillow",
    uid.JPEG2000: "pillow",
    uid.RLELossless: "pydicom",
}
DECODERS: dict[str, Callable[[bytes], np.ndarray]] = {
    uid.JPEGExtended12Bit: imagecodecs.jpeg8_decode,
    uid.JPEGLossless: imagecodecs.jpeg8_decode,
    uid.JPEGLosslessSV1: imagecodecs.jpeg8_decode,
    uid.JPEGLSLossless: imagecodecs.jpegls_decode,
    uid.JPEGLSNearLossless: imagecodecs.jpegls_decode,
}
DECODER_DEPENDENCIES = dict.fromkeys(DECODERS, (PLUGIN,))  # this and the next two: what pydicom asks of a plugin
J2K_START = b"\xff\x4f\xff\x51"
NO_SIZE = (0xC4, 0xC8, 0xCC)  # markers among those of a JPEG frame that begin none
JPEG_LS_FRAME = 0xF7


def is_available(syntax: str) -> bool:
    """Whether this module decodes a transfer syntax."""
    return syntax in DECODERS


def decode_frame(source: bytes, runner: DecodeRunner) -> bytes:
    """One frame as stored pixels, in the layout that the runner is told of."""
    pixels = DECODERS[runner.transfer_syntax](source)
    runner.set_option("bits_allocated", pixels.dtype.itemsize * 8)
    if runner.samples_per_pixel > 1:
        runner.set_option("planar_configuration", 0)
    return pixels.tobytes()


def stored_pixels(dataset: Dataset) -> np.ndarray:
    """The stored pixels of a file, YBR colours as RGB.

    Args:
        dataset: with its pixels, and no more of them in the header than fit.

    Raises:
        ValueError: a compressed frame of another size than the header says, or a compression that is not known.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        _must_agree(dataset)
        dataset.pixel_array_options(decoding_plugin=_plugin(syntax))
    return dataset.pixel_array


def _plugin(syntax: uid.UID) -> str:
    if syntax in PLUGINS:
        return PLUGINS[syntax]
    if syntax not in DECODERS:
        raise ValueError(f"compression not known: {syntax.name}")
    decoder = get_decoder(syntax)
    if PLUGIN not in decoder.available_plugins:
        decoder.add_plugin(PLUGIN, (__name__, decode_frame.__name__))
    return PLUGIN


def _must_agree(dataset: Dataset) -> None:
    count = int(dataset.get("NumberOfFrames") or 1)
    expected = (int(dataset.Rows), int(dataset.Columns))
    if dataset.file_meta.TransferSyntaxUID == uid.RLELossless:
        return  # has no size of its own
    for frame in generate_frames(dataset.PixelData, number_of_frames=count):
        if (found := _coded_size(frame)) != expected:
            raise ValueError(f"compressed pixels of {found}, not {expected} rows and columns")


def _coded_size(frame: bytes) -> tuple[int, int]:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 frame claims for itself."""
    at = frame.find(J2K_START)
    if at >= 0:
        right, bottom, left, top = struct.unpack_from(">4I", frame, at + 8)
        return bottom - top, right - left
    at = 2
    while at + 9 <= len(frame):
        _, marker, length, _, rows, columns = struct.unpack_from(">BBHBHH", frame, at)
        if marker == JPEG_LS_FRAME or (marker & 0xF0 == 0xC0 and marker not in NO_SIZE):
            return rows, columns
        at += 2 + length
    raise ValueError("compressed pixels without a size")
