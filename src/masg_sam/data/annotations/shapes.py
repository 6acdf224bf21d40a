"""What annotators draw, as pixels.

Coordinates are those of the tools: ``x, y`` from the outer corner of the first pixel, whose centre is at 0.5, 0.5.
A pixel belongs to a shape when its centre does, as in COCO's own tools; Pillow rounds vertices to whole pixels and
paints both edges, which makes small structures a pixel too large.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FARTHEST = 1e6  # pixels from the picture's corner that anything may lie
MOST_CROSSINGS = 20_000_000  # of an outline with rows of pixels
ROUND = 128  # corners of an ellipse


@dataclass(frozen=True, eq=False)
class Outline:
    """A closed line; what it goes around an odd number of times is inside.

    Attributes:
        points: ``N x 2`` of ``x, y``; what lies off the picture is cut off.
    """

    points: np.ndarray

    def paint(self, canvas: np.ndarray, value: int) -> None:
        """Set the pixels inside."""
        rows, columns = canvas.shape
        edge, row = self._crossings(rows)
        if not len(row):
            return
        x, y, x_next, y_next = self._edges()
        along = (row - y[edge]) / (y_next[edge] - y[edge])
        column = np.ceil(x[edge] + along * (x_next[edge] - x[edge])).clip(0, columns).astype(np.intp)
        top = row.min()
        turns = np.zeros((row.max() - top + 1, columns + 1), bool)
        np.logical_xor.at(turns, (row - top, column), True)
        inside = np.logical_xor.accumulate(turns, axis=1)[:, :columns]
        canvas[top : top + len(inside)][inside] = value

    def _edges(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Both ends of each edge, where the centres of pixels are whole numbers."""
        x, y = self.points.T - 0.5
        return x, y, np.roll(x, -1), np.roll(y, -1)

    def _crossings(self, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Edge and row of each crossing of the line with the middle of a row of pixels."""
        _, y, _, y_next = self._edges()
        first = np.ceil(np.minimum(y, y_next)).clip(0, rows).astype(np.intp)
        count = np.ceil(np.maximum(y, y_next)).clip(0, rows).astype(np.intp) - first
        if count.sum() > MOST_CROSSINGS:
            raise ValueError(f"an outline that crosses {count.sum()} rows of pixels")
        edge = np.repeat(np.arange(len(count)), count)
        return edge, np.arange(len(edge)) + np.repeat(first - np.cumsum(count) + count, count)


@dataclass(frozen=True, eq=False)
class Pixels:
    """A mask of a part of the picture, kept as run lengths.

    Attributes:
        counts: lengths of the runs, background first; they add up to the mask.
        size: rows and columns of the mask.
        top: row of its first pixel in the picture.
        left: column of it; what lies off the picture is cut off.
        by_column: whether the runs go down the columns, as in COCO, or along the rows, as in CVAT.
    """

    counts: np.ndarray
    size: tuple[int, int]
    top: int = 0
    left: int = 0
    by_column: bool = False

    def paint(self, canvas: np.ndarray, value: int) -> None:
        """Set the pixels inside."""
        flat = np.repeat(np.arange(len(self.counts)) % 2 == 1, self.counts)
        mask = flat.reshape(self.size, order="F" if self.by_column else "C")
        mask = mask[max(0, -self.top) :, max(0, -self.left) :]
        part = canvas[max(0, self.top) :, max(0, self.left) :][: mask.shape[0], : mask.shape[1]]
        part[mask[: part.shape[0], : part.shape[1]]] = value


Shape = Outline | Pixels


def outline(points: Sequence[Sequence[float]] | np.ndarray) -> Outline:
    """A polygon of ``x, y``.

    Raises:
        ValueError: vertices that are no pair of numbers, or lie far off.
    """
    found = np.asarray(points, np.float64).reshape(-1, 2)
    if not (np.abs(found) <= FARTHEST).all():
        raise ValueError("a vertex that is no number, or lies far off the picture")
    return Outline(found)


def rectangle(left: float, top: float, right: float, bottom: float) -> Outline:
    """A box by its edges.

    Raises:
        ValueError: as :func:`outline`.
    """
    return outline([(left, top), (right, top), (right, bottom), (left, bottom)])


def ellipse(x: float, y: float, half_width: float, half_height: float, degrees: float = 0.0) -> Outline:
    """An ellipse around ``x, y``, turned clockwise as one looks at the picture.

    Raises:
        ValueError: as :func:`outline`.
    """
    around = np.arange(ROUND) * 2 * math.pi / ROUND
    across, down = half_width * np.cos(around), half_height * np.sin(around)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return outline(np.stack([x + cos * across - sin * down, y + sin * across + cos * down], axis=-1))


def runs(counts: Sequence[int], size: tuple[int, int], most: int, **place: int) -> Pixels:
    """A mask from the lengths of its runs.

    Args:
        counts: of pixels, background first.
        size: rows and columns.
        most: pixels it may have.
        place: ``top``, ``left`` and ``by_column`` of :class:`Pixels`.

    Raises:
        ValueError: they do not make such a mask.
    """
    found, pixels = np.array([int(count) for count in counts], np.float64), size[0] * size[1]
    if not (min(size) > 0 and pixels <= most and (np.abs([*place.values()]) <= FARTHEST).all()):
        raise ValueError(f"a mask of {size[0]} x {size[1]} pixels in a picture of {most}")
    if (found < 0).any() or found.sum() != pixels:
        raise ValueError(f"run lengths for {found.sum():.0f} of {pixels} pixels")
    return Pixels(found.astype(np.intp), size, **place)  # type: ignore[arg-type]
