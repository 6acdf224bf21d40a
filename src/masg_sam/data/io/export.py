"""Images written anew, where another tool cannot read the format they came in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from masg_sam.data.volume import Volume
from masg_sam.errors import ImageError

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
INTEGERS = (np.uint8, np.int16, np.uint16, np.int32)
PIXELS = (np.uint8, np.uint16)  # what PNG holds


def write_image(volume: Volume, paths: Sequence[Path]) -> None:
    """Write a scan as NIfTI, a file a channel, or a picture as one PNG.

    The voxels are those of the volume, in its own order, as integers where they are whole numbers.

    Args:
        volume: the image.
        paths: of the files, in folders that exist.

    Raises:
        ImageError: a picture whose values PNG cannot hold.
    """
    if volume.is_picture:
        _write_picture(volume, paths[0])
        return
    for channel, path in zip(volume.data, paths, strict=True):
        voxels = channel.astype(_fitting(channel, INTEGERS) or np.float32).transpose(2, 1, 0)
        nib.save(nib.Nifti1Image(voxels, LPS_TO_RAS @ volume.affine), path)


def _write_picture(volume: Volume, path: Path) -> None:
    pixels = np.moveaxis(volume.data[:, 0], 0, -1)  # r x c x C
    kind = _fitting(pixels, PIXELS[:1] if len(volume.data) > 1 else PIXELS)
    if kind is None or pixels.shape[-1] not in (1, 3):
        raise ImageError(
            "a picture that PNG cannot hold",
            path=volume.path,
            found=f"{pixels.shape[-1]} channels of {pixels.min():g} to {pixels.max():g}",
            expected="whole numbers, grey to 65535 or RGB to 255",
            mend="scale it to 8 bits a channel",
        )
    Image.fromarray(pixels.astype(kind).squeeze(-1) if pixels.shape[-1] == 1 else pixels.astype(kind)).save(path)


def _fitting(values: np.ndarray, kinds: Sequence[type[np.integer]]) -> type[np.integer] | None:
    """The first of these types that holds all values exactly."""
    if (values != np.rint(values)).any():
        return None
    least, most = values.min(), values.max()
    return next((kind for kind in kinds if np.iinfo(kind).min <= least and most <= np.iinfo(kind).max), None)
