"""Masks of one slice as closed polygons and back; exact for masks, whose voxels are in or out by their centres."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import cast

import numpy as np
from contourpy import FillType, contour_generator
from matplotlib.path import Path as Outline

HALF = 0.5  # a contour runs half-way between the centres of voxels inside and outside
ASIDE = 0.25  # of a voxel, from a row of centres to a cut: no reader must decide about a centre on an edge


def polygons_of(mask: np.ndarray) -> list[np.ndarray]:
    """The outlines of a mask; a hole is joined to what is around it by a keyhole, a cut there and back.

    One polygon stands for one piece, so readers that unite polygons and readers that take the exclusive or see the
    same voxels.

    Args:
        mask: ``row x column`` of bool.

    Returns:
        Polygons ``N x 2`` of columns and rows, not closed: the last point is not the first again.
    """
    padded = np.pad(mask.astype(np.float64), 1)
    generator = contour_generator(z=padded, fill_type=FillType.OuterOffset)
    points, offsets = cast("tuple[list[np.ndarray], list[np.ndarray]]", generator.filled(HALF, np.inf))
    return [_joined(_rings(piece - 1, ends)) for piece, ends in zip(points, offsets, strict=True)]


def mask_of(polygons: Iterable[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """The voxels whose centres lie in an odd number of polygons: one inside another is a hole.

    Args:
        polygons: each ``N x 2`` of columns and rows.
        shape: rows and columns.

    Returns:
        ``row x column`` of bool.
    """
    mask = np.zeros(shape, bool)
    for polygon in polygons:
        if len(polygon) < 3:
            continue
        low = np.maximum(np.ceil(polygon.min(axis=0)), 0).astype(int)
        high = np.minimum(np.floor(polygon.max(axis=0)), np.array(shape[::-1]) - 1).astype(int) + 1
        if (high <= low).any():
            continue
        columns, rows = np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)))
        centres = np.column_stack([columns.ravel(), rows.ravel()])
        inside = Outline(np.vstack([polygon, polygon[:1]])).contains_points(centres).reshape(rows.shape)
        mask[low[1] : high[1], low[0] : high[0]] ^= inside
    return mask


def _rings(points: np.ndarray, offsets: np.ndarray) -> list[np.ndarray]:
    """The outer outline, then the holes, each without its repeated last point."""
    return [points[start : stop - 1] for start, stop in pairwise(offsets)]


def _joined(rings: list[np.ndarray]) -> np.ndarray:
    """One outline; the rightmost hole first, so that a cut to the right meets no other hole."""
    outline, *holes = rings
    for hole in sorted(holes, key=lambda ring: -ring[:, 0].max()):
        ring = np.roll(hole, -int(hole[:, 0].argmax()), axis=0)
        side = ring[1] - ring[0]
        start = ring[0] + side * ASIDE / abs(side[1])
        edge, meeting = _to_the_right(outline, start)
        cut = np.vstack([meeting, start, ring[1:], ring[:1], start, meeting])
        outline = np.insert(outline, edge + 1, cut, axis=0)
    return outline


def _to_the_right(outline: np.ndarray, point: np.ndarray) -> tuple[int, np.ndarray]:
    """Number of the edge that a line from ``point`` to the right meets first, and where."""
    start, end = outline, np.roll(outline, -1, axis=0)
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    crosses = np.flatnonzero((low <= point[1]) & (point[1] <= high) & (low < high))
    part = (point[1] - start[crosses, 1]) / (end[crosses, 1] - start[crosses, 1])
    columns = start[crosses, 0] + part * (end[crosses, 0] - start[crosses, 0])
    columns[columns < point[0]] = np.inf
    nearest = int(columns.argmin())
    return int(crosses[nearest]), np.array([columns[nearest], point[1]])
