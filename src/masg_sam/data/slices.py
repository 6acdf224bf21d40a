"""Between a volume and the network: slices of one plane at one pixel size, and back to the volume's grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from masg_sam.data.borders import content_box
from masg_sam.data.task import Task
from masg_sam.data.volume import Volume
from masg_sam.errors import ImageError

Number = TypeVar("Number", int, float)
STRIDE = 32  # input sizes are multiples of it
MOST_SIDE = 4096  # pixels of a slice
MARGIN = 8  # pixels of the input, kept around what is in a scan


def round_up(length: float) -> int:
    """The next multiple of 32 pixels, one at least."""
    return max(1, int(np.ceil(length / STRIDE - 1e-6))) * STRIDE


def spread_slices(held: np.ndarray, most: int) -> tuple[int, ...]:
    """At most so many slices, evenly spread through those that hold something, or through all.

    Args:
        held: whether each slice does, ``S``.
        most: slices to choose.
    """
    among = np.flatnonzero(held) if held.any() else np.arange(len(held))
    places = np.linspace(0, len(among) - 1, min(most, len(among))).round().astype(int)
    return tuple(among[np.unique(places)].tolist())


def in_plane(values: tuple[Number, Number, Number], axis: int) -> tuple[Number, Number]:
    """What belongs to the rows and the columns of the slices along ``axis``."""
    rows, columns = (value for i, value in enumerate(values) if i != axis)
    return rows, columns


def working_shape(volume: Volume, task: Task) -> tuple[int, int]:
    """Rows and columns of a slice at the network's pixel size, not yet padded.

    A picture is scaled so that what its black frame holds fills the input.
    """
    shape = in_plane(volume.shape, task.axis)
    if not task.pixel:
        longest = max(side.stop - side.start for side in content_box(volume, task.in_colour))
        factors = (max(task.size) / longest,) * 2
    else:
        down, across = in_plane(volume.spacing, task.axis)
        factors = (down / task.pixel, across / task.pixel)
    return max(1, round(shape[0] * factors[0])), max(1, round(shape[1] * factors[1]))


def canvas_shape(working: tuple[int, int], task: Task) -> tuple[int, int]:
    """The padded input: as in training, larger where a slice needs it."""
    return max(task.size[0], round_up(working[0])), max(task.size[1], round_up(working[1]))


def must_be_drawable(volume: Volume, task: Task) -> None:
    """Refuse a scan whose voxels, at the network's pixel size, make slices that no memory holds.

    Raises:
        ImageError: they would, as with a voxel size in another unit.
    """
    if not task.pixel:  # of pictures, which are scaled to fit
        return
    largest = max(max(canvas_shape(working_shape(volume, view), view)) for view in task.views)
    if largest > MOST_SIDE:
        raise ImageError(
            f"slices of {largest} pixels at the model's pixel size",
            path=volume.path,
            found=f"voxels of {' x '.join(f'{mm:g}' for mm in volume.spacing)} mm (Z, Y, X)",
            expected=f"at most {MOST_SIDE} pixels of {task.pixel:.3g} mm",
            mend="see whether the voxel size in the header is right; otherwise crop the scan",
        )


def empty_voxels(data: np.ndarray) -> np.ndarray:
    """The voxels of ``C x Z x Y x X`` that are as the corner is, ``Z x Y x X``."""
    return (data == data[:, :1, :1, :1]).all(0)


def filled_window(volume: Volume, task: Task) -> tuple[slice, slice]:
    """Rows and columns of the padded input that hold something; beyond them a scan is as empty as its corner.

    Scans often lie in a wide margin of one value: the air of a CT that was masked, or a head without its skull; and
    pictures in a black frame. Time is not to be spent there. The window is no smaller than the training input, and its
    sides are multiples of 32 pixels.

    Args:
        volume: its image.
        task: how voxels become network input.
    """
    working = working_shape(volume, task)
    canvas = canvas_shape(working, task)
    sides = zip(in_plane(volume.shape, task.axis), working, canvas, task.size, strict=True)
    if volume.is_picture or task.in_colour:
        boxes = content_box(volume, task.in_colour)
        down, across = (_middle(box, *side) for box, side in zip(boxes, sides, strict=True))
        return down, across
    filled = ~empty_voxels(volume.data)
    rows, columns = (axis for axis in range(3) if axis != task.axis)
    held = np.any(filled, (task.axis, columns)), np.any(filled, (task.axis, rows))
    down, across = (_window(np.flatnonzero(one), *side) for one, side in zip(held, sides, strict=True))
    return down, across


def _middle(box: slice, pixels: int, working: int, canvas: int, least: int) -> slice:
    """Along one side: what is inside a picture's frame, in the middle of the window."""
    scale = working / pixels
    length = min(canvas, max(least, round_up((box.stop - box.start) * scale - 0.5)))  # rounding is no reason for more
    middle = (box.start + box.stop) * scale / 2 + (canvas - working) // 2
    first = min(max(0, round(middle - length / 2)), canvas - length)
    return slice(first, first + length)


def _window(held: np.ndarray, voxels: int, working: int, canvas: int, least: int) -> slice:
    """Along one side: the voxels that are held, in pixels of the input, with a margin."""
    if not len(held):
        return slice(0, canvas)
    scale, padding = working / voxels, (canvas - working) // 2
    first = max(0, int(held[0] * scale) + padding - MARGIN) // STRIDE * STRIDE
    last = min(canvas, round_up((held[-1] + 1) * scale + padding + MARGIN))
    first = max(0, min(first, last - least))
    return slice(first, max(last, first + least))


def to_slices(data: np.ndarray, axis: int) -> np.ndarray:
    """``C x Z x Y x X`` to ``S x C x rows x columns``."""
    return np.moveaxis(data, axis + 1, 0)


def from_slices(slices: np.ndarray, axis: int) -> np.ndarray:
    """``S x rows x columns`` back to ``Z x Y x X``."""
    return np.moveaxis(slices, 0, axis)


def resize_images(slices: Tensor, shape: tuple[int, int]) -> Tensor:
    """Bilinear, with anti-aliasing where it shrinks: ``S x C x r x c`` to ``S x C x shape``."""
    if tuple(slices.shape[-2:]) == tuple(shape):
        return slices
    return F.interpolate(slices, size=shape, mode="bilinear", align_corners=False, antialias=True)


def resize_labels(slices: Tensor, shape: tuple[int, int]) -> Tensor:
    """Nearest neighbour: ``S x r x c`` of uint8 to ``S x shape``."""
    if tuple(slices.shape[-2:]) == tuple(shape):
        return slices
    return F.interpolate(slices[:, None].float(), size=shape, mode="nearest-exact")[:, 0].to(slices.dtype)


def with_neighbours(slices: Tensor, index: int, reach: int) -> Tensor:
    """A slice between the two that are ``reach`` away, the outermost repeated: ``S x 1 x r x c`` to ``3 x r x c``."""
    last = len(slices) - 1
    return torch.cat([slices[max(index - reach, 0)], slices[index], slices[min(index + reach, last)]])


def pad_to(image: Tensor, canvas: tuple[int, int]) -> Tensor:
    """Zeros around ``... x r x c``, the image in the middle."""
    rows, columns = (canvas[0] - image.shape[-2], canvas[1] - image.shape[-1])
    return F.pad(image, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


def cut_around(image: Tensor, middle: tuple[int, int], shape: tuple[int, int]) -> Tensor:
    """What lies around a pixel of ``... x r x c``, with zeros beyond its edges: ``... x shape``."""
    top, left = (whole // 2 - at for whole, at in zip(shape, middle, strict=True))
    bottom, right = (shape[0] - top - image.shape[-2], shape[1] - left - image.shape[-1])
    return F.pad(image, (left, right, top, bottom))  # what is negative is cut off


def unpad(image: Tensor, working: tuple[int, int]) -> Tensor:
    """The inverse of :func:`pad_to`."""
    top, left = ((image.shape[-2] - working[0]) // 2, (image.shape[-1] - working[1]) // 2)
    return image[..., top : top + working[0], left : left + working[1]]


def network_batches(
    volume: Volume,
    task: Task,
    batch_size: int,
    numbers: Sequence[int] | None = None,
    normalised: np.ndarray | None = None,
) -> Iterator[Tensor]:
    """The network input of a volume, a few slices at a time: ``B x C x H x W``.

    Slices are resampled batch by batch: beside the volume, memory holds its normalised voxels and one batch.

    Args:
        volume: its image.
        task: how voxels become network input.
        batch_size: slices at a time.
        numbers: of the slices wanted, ascending; ``None`` for all.
        normalised: voxels of the volume as ``task.intensity`` gives them, where they are at hand.
    """
    slices = to_slices(task.intensity(volume.data) if normalised is None else normalised, task.axis)
    if task.in_colour:
        slices = _blank_outside(slices, content_box(volume, task.in_colour))
    working = working_shape(volume, task)
    canvas = canvas_shape(working, task)
    wanted = range(len(slices)) if numbers is None else numbers
    for start in range(0, len(wanted), batch_size):
        batch = wanted[start : start + batch_size]
        near = sorted({min(max(i + d, 0), len(slices) - 1) for i in batch for d in range(-task.reach, task.reach + 1)})
        block = torch.from_numpy(np.ascontiguousarray(slices[near]))
        block = pad_to(resize_images(block, working), canvas)
        yield torch.stack([_with_known_neighbours(block, near, i, task.reach) for i in batch])


def _blank_outside(slices: np.ndarray, box: tuple[slice, slice]) -> np.ndarray:
    """``S x C x rows x columns`` with zeros around a box, as there are around what training saw."""
    whole = tuple(slice(0, length) for length in slices.shape[-2:])
    if box == whole:
        return slices
    blank = np.zeros_like(slices)
    blank[..., box[0], box[1]] = slices[..., box[0], box[1]]
    return blank


def _with_known_neighbours(block: Tensor, near: list[int], number: int, reach: int) -> Tensor:
    """Slice ``number`` as network input, from a block that holds the slices ``near``."""
    if not reach:
        return block[near.index(number)]
    around = (min(max(number + step, near[0]), near[-1]) for step in (-reach, 0, reach))
    return torch.cat([block[near.index(i)] for i in around])
