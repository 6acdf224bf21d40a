"""Whether two files lie on the same grid, and one file a channel put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from masg_sam.data.io.formats import STACK
from masg_sam.data.io.kinds import SLICER_SUFFIX, suffix_of
from masg_sam.data.volume import Volume
from masg_sam.errors import GeometryError

TOLERANCE = 1e-3  # of spacing, relative to a voxel
CORNER_TOLERANCE = 1e-2  # of positions, relative to a voxel: rounding in a header adds up along an axis
TOLERANCE_MM = 1e-3  # of positions, in any case
FARTHEST = 2**31  # voxels between the corners of an image and its label
MEND = "resample one onto the other (a label with nearest neighbour), or take the matching file"


def merge_channels(volumes: Sequence[Volume]) -> Volume:
    """Put files with one channel each together.

    Raises:
        GeometryError: they do not lie on the same grid.
    """
    first = volumes[0]
    for other in volumes[1:]:
        same_grid(first, other)
    if len(volumes) == 1:
        return first
    return replace(first, data=np.concatenate([volume.data for volume in volumes]))


def same_grid(image: Volume, other: Volume) -> None:
    """Make sure that two files lie on the same grid, whatever their own axis orders.

    Raises:
        GeometryError: shapes differ, spacings by more than a thousandth of a voxel, or corners by more than
            a hundredth of one and 1e-3 mm; or one is a picture, which has no more than a shape, and one is a scan.
    """
    same_shape(image, other)
    if image.affine is None or other.affine is None:
        if image.affine is not other.affine:
            raise _other_kind(image, other)
        return
    voxel = min(image.spacing)
    if np.abs(np.subtract(image.spacing, other.spacing)).max() > TOLERANCE * voxel:
        raise _apart(
            "another spacing than",
            image,
            other,
            f"{_times(other.spacing)} mm (Z, Y, X)",
            f"{_times(image.spacing)} mm",
        )
    apart = _corners_apart(image.affine, other.affine, image.shape)
    if apart > max(CORNER_TOLERANCE * voxel, TOLERANCE_MM):
        raise _apart("lies elsewhere than", image, other, f"a corner {apart:.3g} mm away", "the same affine")


def on_grid(image: Volume, label: Volume) -> Volume:
    """A label on the grid of its image: one that 3D Slicer cropped is filled up, the others must lie there.

    A TIFF stack without a voxel size lies where its image lies, if it has its shape.

    Raises:
        GeometryError: it lies on another grid, or has labelled voxels outside the image.
    """
    if _is_unsized(label):
        same_shape(image, label)
        return replace(label, spacing=image.spacing, affine=image.affine)
    if not is_loose(label):
        same_grid(image, label)
        return label
    offset = _whole_offset(image, label)
    if offset is None:
        same_grid(image, label)
        return label
    data = np.zeros((1, *image.shape), label.data.dtype)
    pairs = [_overlap(at, most, length) for at, most, length in zip(offset, image.shape, label.shape, strict=True)]
    inside, taken = (tuple(pair[i] for pair in pairs) for i in (0, 1))
    data[0][inside] = label.data[0][taken]
    if outside := np.count_nonzero(label.data) - np.count_nonzero(data):
        found, expected = f"{outside} labelled voxels outside it", "a label within the image"
        raise _apart("lies partly outside", image, label, found, expected)
    return replace(label, data=data, spacing=image.spacing, affine=image.affine)


def is_loose(label: Volume) -> bool:
    """Whether :func:`on_grid` may move a label: its file does not tell the whole grid."""
    return _is_unsized(label) or suffix_of(label.path) == SLICER_SUFFIX  # saves what is labelled, not the whole grid


def _is_unsized(label: Volume) -> bool:
    """Whether it is a TIFF stack without a voxel size."""
    return label.geometry.format == STACK and not label.geometry.header


def same_shape(image: Volume, other: Volume) -> None:
    """Make sure that two files have as many voxels along each axis.

    Raises:
        GeometryError: they have not.
    """
    if image.shape != other.shape:
        found, expected = (f"{_times(other.shape)} voxels (Z, Y, X)", f"{_times(image.shape)} voxels")
        raise _apart("another shape than", image, other, found, expected)


def _whole_offset(image: Volume, label: Volume) -> tuple[int, ...] | None:
    """Where the label's first voxel lies in the image, ``Z, Y, X``; ``None`` if their voxels do not coincide."""
    if image.affine is None or label.affine is None:
        return None
    between = np.linalg.solve(image.affine, label.affine)
    drift = np.abs(between[:3, :3] - np.eye(3)) @ label.shape[::-1]
    offset = between[:3, 3].round()
    if np.abs(between[:3, 3] - offset).max() + drift.max() > CORNER_TOLERANCE or np.abs(offset).max() > FARTHEST:
        return None
    return tuple(int(at) for at in offset[::-1])


def _overlap(at: int, most: int, length: int) -> tuple[slice, slice]:
    """What of ``length`` voxels from ``at`` lies within ``most``: there, and counted from the first."""
    start, stop = min(max(at, 0), most), min(max(at + length, 0), most)
    return slice(start, stop), slice(start - at, stop - at)


def _corners_apart(affine: np.ndarray, other: np.ndarray, shape: tuple[int, int, int]) -> float:
    z, y, x = shape
    corners = np.array([(i, j, k, 1) for i in (0, x - 1) for j in (0, y - 1) for k in (0, z - 1)])
    return float(np.linalg.norm(((affine - other) @ corners.T)[:3], axis=0).max())


def _apart(problem: str, image: Volume, other: Volume, found: str, expected: str) -> GeometryError:
    return GeometryError(f"{problem} {image.path.name}", path=other.path, found=found, expected=expected, mend=MEND)


def _other_kind(image: Volume, other: Volume) -> GeometryError:
    """Rows and columns of a picture do not say which axes of a scan they are, nor in which direction they run."""
    kinds = ["a picture" if volume.affine is None else "a scan, which says where it lies" for volume in (other, image)]
    return GeometryError(
        f"cannot be laid on {image.path.name}",
        path=other.path,
        found=kinds[0],
        expected=kinds[1],
        mend="save both as one kind: pictures as PNG, scans with the same affine",
    )


def _times(values: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)
