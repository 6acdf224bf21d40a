"""NRRD and MetaImage through SimpleITK."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from masg_sam.data.io.itk_header import Voxels, find_voxels, must_unpack
from masg_sam.data.io.limits import damaged, must_be_one_volume, must_fit
from masg_sam.data.io.orientation import Orientation, must_place_voxels, spacing_of
from masg_sam.data.volume import Geometry, Volume
from masg_sam.errors import GeometryError, ImageError


def read(path: Path, *, label: bool = False, channels: int | None = 1) -> Volume:
    """Read an NRRD or MetaImage file of two or three dimensions, with any number of components.

    Raises:
        ImageError: damaged, or more than one volume.
        GeometryError: directions or a spacing that place no voxels.
    """
    try:
        image = _load(path)
        voxels = sitk.GetArrayFromImage(image)  # z x y x x (x C)
    except (RuntimeError, MemoryError, OSError, ValueError) as error:
        if "spacing" in str(error).lower():
            raise _no_spacing(path, error) from error
        raise damaged(path, error, "NRRD or MetaImage") from error
    if np.iscomplexobj(voxels):
        raise ImageError("voxels are not single numbers", path=path, found="complex numbers", mend="convert the file")
    shape = image.GetSize()
    volume = image if image.GetDimension() == 3 else sitk.JoinSeries(image)
    voxels = voxels if image.GetDimension() == 3 else voxels[None]
    affine = _affine(volume)
    must_place_voxels(path, affine)
    orientation = Orientation.nearest(affine)
    placed = orientation.affine(affine, volume.GetSize())
    grid = (image.GetOrigin(), image.GetSpacing(), image.GetDirection())
    ours = orientation.to_ours(np.moveaxis(voxels, (2, 1, 0), (0, 1, 2)))
    return Volume(ours, spacing_of(placed), placed, Geometry("itk", shape, (grid, orientation)), path)


def write(mask: np.ndarray, like: Volume, path: Path, names: Mapping[int, str]) -> None:
    """Write a mask with the image's own origin, spacing, directions and axis order."""
    (origin, spacing, direction), orientation = like.geometry.header
    _save(
        orientation.to_file(mask).transpose(2, 1, 0).reshape(like.geometry.shape[::-1]),
        origin,
        spacing,
        direction,
        path,
    )


def write_new(voxels: np.ndarray, affine: np.ndarray, path: Path) -> None:
    """Write a mask ``x x y x z`` with its affine to LPS mm."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction = affine[:3, :3] / spacing
    _save(voxels.transpose(2, 1, 0), affine[:3, 3].tolist(), spacing.tolist(), direction.ravel().tolist(), path)


def _save(
    voxels: np.ndarray, origin: Sequence[float], spacing: Sequence[float], direction: Sequence[float], path: Path
) -> None:
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels))
    image.SetOrigin(origin)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise OSError(str(error).strip().splitlines()[-1]) from error


def orientation(volume: Volume) -> Orientation:
    """Between the file's axes and ours."""
    return volume.geometry.header[1]


def mask_suffix(volume: Volume) -> str:
    """The image's own format, with header and voxels in one file."""
    return ".nrrd" if volume.path.suffix.lower() in (".nrrd", ".nhdr") else ".mha"


def read_metadata(path: Path) -> dict[str, str]:
    """What a header says beside the grid, by key.

    Raises:
        ImageError: damaged.
    """
    try:
        reader, _ = _opened(path)
        return {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
    except (RuntimeError, OSError, ValueError, TypeError) as error:  # the last for keys that are no UTF-8
        raise damaged(path, error, "NRRD or MetaImage") from error


def _opened(path: Path) -> tuple[sitk.ImageFileReader, Voxels]:
    """A reader that knows the header, and where the voxels are."""
    voxels = find_voxels(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader, voxels


def _load(path: Path) -> sitk.Image:
    reader, voxels = _opened(path)
    size = reader.GetSize()
    must_fit(path, (*size, reader.GetNumberOfComponents()), ratio=voxels.ratio)
    must_be_one_volume(path, size)
    image = reader.Execute()
    must_unpack(path, voxels, math.prod(size) * image.GetSizeOfPixelComponent() * image.GetNumberOfComponentsPerPixel())
    while image.GetDimension() > 3:
        image = image[..., 0]
    return image


def _affine(image: sitk.Image) -> np.ndarray:
    """Of ``x, y, z``; ITK's world is LPS already."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return affine


def _no_spacing(path: Path, error: Exception) -> GeometryError:
    return GeometryError(
        "a voxel size of zero",
        path=path,
        found=str(error).strip().splitlines()[-1],
        expected="voxel sizes in mm",
        mend="restore the spacing in the header, from the scanner's files for instance",
    )
