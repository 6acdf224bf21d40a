"""The black frame around a picture, as video and fundus cameras leave it."""

from __future__ import annotations

import numpy as np

from masg_sam.data.volume import Volume

BLACK = 12  # of 255; what compression makes of black is no brighter
LIT = 0.2  # part of a line's pixels that are brighter, for it to be of the content; a caption has fewer
FILLED = 0.6  # part of the content's pixels that are brighter; bright spots on black are no framed picture
WORTHWHILE = 0.85  # of the longer side; training scales by more, so a frame that leaves more than this is let be
COLOURS = 3
EIGHT_BITS = 255  # colours go no higher; three grey pictures of a case may


def is_colour(volume: Volume) -> bool:
    """Whether this is an RGB picture, and not a scan or grey pictures of several channels."""
    return volume.is_picture and volume.data.shape[0] == COLOURS and float(volume.data.max()) <= EIGHT_BITS


def content_box(volume: Volume) -> tuple[slice, slice]:
    """Rows and columns of a picture inside of its black frame; all of them where there is none, and of a scan.

    Two frames of the same organ, one from a video with black sides and one without, are so brought to one scale. Only
    colour pictures are looked at: the dark margin of an X-ray or a fluorescence image is part of it.

    Args:
        volume: the picture.
    """
    rows, columns = volume.shape[1:]
    whole = slice(0, rows), slice(0, columns)
    if not is_colour(volume):
        return whole
    lit = volume.data.max((0, 1)) > BLACK  # Y x X
    held = [np.flatnonzero(lit.mean(axis) > LIT) for axis in (1, 0)]
    if not all(map(len, held)):
        return whole
    down, across = (slice(int(lines[0]), int(lines[-1]) + 1) for lines in held)
    longest = max(box.stop - box.start for box in (down, across))
    framed = longest <= WORTHWHILE * max(rows, columns) and lit[down, across].mean() >= FILLED
    return (down, across) if framed else whole
