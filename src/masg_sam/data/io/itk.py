"""NRRD and MetaImage through SimpleITK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform

from masg_sam.data.volume import Geometry, Volume
from masg_sam.errors import GeometryError, ImageError

IDENTITY = np.array([[0, 1], [1, 1], [2, 1]])  # ITK's world is LPS already
MOST_BYTES = 4 * 2**30


def read(path: Path) -> Volume:
    """Read an NRRD or MetaImage file of two or three dimensions."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        _check(path, reader)
        image = reader.Execute()
        stored = sitk.GetArrayFromImage(image)
    except RuntimeError as error:
        raise ImageError(
            "cannot be read",
            path=path,
            found=str(error).strip().splitlines()[-1],
            expected="a whole NRRD or MetaImage file",
            mend="the file is truncated or damaged, or its data file is missing: export it again",
        ) from error
    if image.GetDimension() == 2:
        image, stored = sitk.JoinSeries(image), stored[None]
    return _volume(path, image, stored)


def write(mask: np.ndarray, like: Volume, path: Path) -> None:
    """Write a mask with the image's own origin, spacing, directions and axis order."""
    stored: dict[str, Any] = like.geometry.header
    back = apply_orientation(mask.transpose(2, 1, 0), _inverse(stored["orientation"]))  # file's x, y, z
    image = sitk.GetImageFromArray(np.ascontiguousarray(back.transpose(2, 1, 0)))
    image.SetOrigin(stored["origin"])
    image.SetSpacing(stored["spacing"])
    image.SetDirection(stored["direction"])
    sitk.WriteImage(image, str(path), useCompression=True)


def mask_suffix(volume: Volume) -> str:
    """The image's own format, with the voxels in the same file."""
    return {".nhdr": ".nrrd", ".mhd": ".mha"}.get(volume.path.suffix.lower(), volume.path.suffix.lower())


def _check(path: Path, reader: sitk.ImageFileReader) -> None:
    size, channels = reader.GetSize(), reader.GetNumberOfComponents()
    if len(size) > 3 and any(n > 1 for n in size[3:]):
        raise ImageError(
            "more than three dimensions",
            path=path,
            found=" x ".join(map(str, size)),
            expected="one volume",
            mend="save each time point or channel as a file of its own (channels: NAME_0000, NAME_0001, ...)",
        )
    if np.prod(size, dtype=np.float64) * channels * 4 > MOST_BYTES:
        raise ImageError("header claims more voxels than can be meant", path=path, found=" x ".join(map(str, size)))


def _volume(path: Path, image: sitk.Image, stored: np.ndarray) -> Volume:
    data = np.moveaxis(stored, -1, 0) if stored.ndim == 4 else stored[None]  # C x z x y x x
    spacing, direction = np.array(image.GetSpacing()), np.array(image.GetDirection()).reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = direction * spacing, image.GetOrigin()
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise GeometryError("directions or spacing place no voxels", path=path, found=affine[:3].tolist())
    shape = data.shape[:0:-1]  # x, y, z
    orientation = ornt_transform(io_orientation(affine), IDENTITY)
    channels = [apply_orientation(channel.transpose(2, 1, 0), orientation).transpose(2, 1, 0) for channel in data]
    placed = affine @ inv_ornt_aff(orientation, shape)
    ours = np.sqrt((placed[:3, :3] ** 2).sum(0))
    header = {
        "origin": image.GetOrigin(),
        "spacing": image.GetSpacing(),
        "direction": image.GetDirection(),
        "orientation": orientation,
    }
    z, y, x = (float(v) for v in ours[::-1])
    return Volume(np.stack(channels), (z, y, x), placed, Geometry("itk", shape, header), path)


def _inverse(orientation: np.ndarray) -> np.ndarray:
    back = np.empty_like(orientation)
    for source, (target, flip) in enumerate(orientation):
        back[int(target)] = (source, flip)
    return back
