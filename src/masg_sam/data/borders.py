"""The black frame around a picture, as video and fundus cameras leave it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from masg_sam.data.labels import IGNORED
from masg_sam.data.volume import Volume

BLACK = 24  # of 255; the black of videos, 16, after compression is no brighter
LIT = 0.2  # part of a line's pixels that are brighter, for it to be of the content; a caption has fewer
FEW = 0.02  # as much is enough for a line beside the content, such as the edge of a round one
FILLED = 0.6  # part of the content's pixels that are brighter; spots on black, or a fan, are no framed picture
WORTHWHILE = 0.85  # of the longer side; training scales by more, so a frame that leaves more than this is let be
COLOURS = 3
EIGHT_BITS = 255  # colours go no higher; three grey pictures of a case may


def is_colour(volume: Volume) -> bool:
    """Whether this is an RGB picture, and not a scan or grey pictures of several channels."""
    return volume.is_picture and volume.data.shape[0] == COLOURS and float(volume.data.max()) <= EIGHT_BITS


def content_box(volume: Volume, colour: bool) -> tuple[slice, slice]:
    """Rows and columns of a colour picture inside of its black frame; all of them where there is none.

    Two frames of the same organ, one from a video with black sides and one without, are so brought to one scale.

    Args:
        volume: the picture.
        colour: whether it is one of colours; the dark margin of an X-ray or a scan is part of it.
    """
    slices, rows, columns = volume.shape
    whole = slice(0, rows), slice(0, columns)
    if not colour or slices > 1:
        return whole
    lit = volume.data.max((0, 1)) > BLACK  # Y x X
    held = [np.flatnonzero(lit.mean(axis) > LIT) for axis in (1, 0)]
    if not all(map(len, held)):
        return whole
    down, across = (slice(int(lines[0]), int(lines[-1]) + 1) for lines in held)
    for _ in range(2):  # wider rows may show more columns, and these more rows
        down = _grown(down, lit[:, across].mean(1) > FEW)
        across = _grown(across, lit[down].mean(0) > FEW)
    longest = max(box.stop - box.start for box in (down, across))
    framed = longest <= WORTHWHILE * max(rows, columns) and lit[down, across].mean() >= FILLED
    return (down, across) if framed else whole


def without_frame(volume: Volume, label: np.ndarray, colour: bool) -> tuple[Volume, np.ndarray]:
    """A labelled picture inside of its black frame, and as far as something is labelled.

    Args:
        volume: the picture.
        label: its classes, ``1 x Y x X``.
        colour: as for :func:`content_box`.
    """
    rows, columns = content_box(volume, colour)
    drawn = ((label > 0) & (label != IGNORED)).any(0)  # Y x X
    rows, columns = _holding(rows, drawn.any(1)), _holding(columns, drawn.any(0))
    return replace(volume, data=volume.data[..., rows, columns]), label[:, rows, columns]


def _grown(box: slice, some: np.ndarray) -> slice:
    """A box of lines, and those after each other on both sides that hold some."""
    start, stop = box.start, box.stop
    while start > 0 and some[start - 1]:
        start -= 1
    while stop < len(some) and some[stop]:
        stop += 1
    return slice(start, stop)


def _holding(box: slice, drawn: np.ndarray) -> slice:
    """A box of lines that holds all that are drawn on."""
    lines = np.flatnonzero(drawn)
    if not len(lines):
        return box
    return slice(min(box.start, int(lines[0])), max(box.stop, int(lines[-1]) + 1))
