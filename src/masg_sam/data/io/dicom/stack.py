"""From slices in any order to a stack: sorted, evenly spaced, upright or tilted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from masg_sam.data.io.dicom.frames import Frame
from masg_sam.errors import GeometryError, few

TURNED = 1e-3  # of direction cosines, that may be rounding
RESIZED = 1e-3  # of the pixel spacing, relative
UNEVEN = 0.1  # of the distance between slices, that a slice may be off
SAME_PLACE_MM = 1e-3
MISSING = 1.5  # times the usual distance, from which a slice is missing between


@dataclass(frozen=True)
class Stack:
    """Slices from the first to the last along their normal.

    Attributes:
        frames: one a slice.
        affine: 4 x 4, ``(column, row, slice)`` to LPS mm; its third axis leans where the gantry was tilted.
        shifts: ``S x 2`` whole pixels along columns and rows by which each slice lies aside from the first.
    """

    frames: tuple[Frame, ...]
    affine: np.ndarray
    shifts: np.ndarray

    @property
    def tilt(self) -> float:
        """Degrees between the third axis and the normal of the slices."""
        step = self.affine[:3, 2]
        return float(np.degrees(np.arccos(min(1.0, step @ self.frames[0].normal / np.linalg.norm(step)))))


def stack_of(frames: Sequence[Frame], path: Path) -> Stack:
    """Sort slices along their normal.

    Args:
        frames: one or more, in any order.
        path: of the series, for messages.

    Raises:
        GeometryError: slices of different directions, pixels or shapes, twice at one place, with gaps, or that lie
            on no line.
    """
    normal = frames[0].normal
    ordered = sorted(frames, key=lambda frame: float(frame.position @ normal))
    _must_be_parallel(ordered, path)
    positions = np.stack([frame.position for frame in ordered])
    _must_be_even(ordered, positions @ normal, path)
    first = ordered[0]
    last = max(len(ordered) - 1, 1)
    step = (positions[-1] - positions[0]) / last if len(ordered) > 1 else normal * first.thickness
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = first.along_row * first.spacing[1], first.along_column * first.spacing[0]
    affine[:3, 2], affine[:3, 3] = step, first.position
    aside = (positions - first.position) @ np.stack([first.along_row, first.along_column]).T / first.spacing[::-1]
    _must_be_on_a_line(ordered, aside, path)
    return Stack(tuple(ordered), affine, np.rint(aside).astype(int))


def _must_be_parallel(frames: Sequence[Frame], path: Path) -> None:
    usual = _usual(frames)
    others = [frame for frame in frames if not _alike(frame, usual)]
    if not others:
        return
    raise GeometryError(
        f"{len(others)} of {len(frames)} slices have another direction, pixel size or shape",
        path=path,
        found=few([f"{frame.name}: {_about(frame)}" for frame in others]),
        expected=_about(usual),
        mend="take them out of the series; they may be a localizer, or a series of their own",
    )


def _usual(frames: Sequence[Frame]) -> Frame:
    """One like the most of them."""
    groups: list[list[Frame]] = []
    for frame in frames:
        group = next((group for group in groups if _alike(frame, group[0])), None)
        groups.append([frame]) if group is None else group.append(frame)
    return max(groups, key=len)[0]


def _alike(frame: Frame, other: Frame) -> bool:
    turned = max(np.abs(frame.along_row - other.along_row).max(), np.abs(frame.along_column - other.along_column).max())
    resized = np.abs(frame.spacing / other.spacing - 1).max()
    return frame.shape == other.shape and turned <= TURNED and resized <= RESIZED


def _about(frame: Frame) -> str:
    axes = ", ".join(f"{value:.3g}" for value in (*frame.along_row, *frame.along_column))
    rows, columns = frame.shape
    return f"{rows} x {columns} pixels of {frame.spacing[0]:g} x {frame.spacing[1]:g} mm, directions {axes}"


def _must_be_even(frames: Sequence[Frame], along: np.ndarray, path: Path) -> None:
    """Gaps between neighbours that differ name the slices beside them."""
    gaps = np.diff(along)
    if not len(gaps):
        return
    double = [f"{frames[i].name} and {frames[i + 1].name}" for i in np.flatnonzero(gaps < SAME_PLACE_MM).tolist()]
    if double:
        raise GeometryError(
            f"{len(double) + 1} slices of {len(frames)} lie at the place of another",
            path=path,
            found=few(double),
            expected="one slice a place",
            mend="keep one copy of each; of several times, echoes or contrasts make a series each",
        )
    usual = float(np.median(gaps))
    wrong = np.flatnonzero(np.abs(gaps - usual) > UNEVEN * usual)
    if len(wrong):
        raise _uneven(frames, gaps, usual, wrong, path)
    drift = np.abs(along - np.linspace(along[0], along[-1], len(along))).max()
    if drift > usual / 2:
        raise _crooked(path, f"a slice {drift:.3g} mm from its place in an even stack")


def _uneven(frames: Sequence[Frame], gaps: np.ndarray, usual: float, wrong: np.ndarray, path: Path) -> GeometryError:
    missing = int(sum(round(gap / usual) - 1 for gap in gaps[wrong] if gap > MISSING * usual))
    places = [f"{gaps[i]:g} mm between {frames[i].name} and {frames[i + 1].name}" for i in wrong.tolist()]
    return GeometryError(
        f"about {missing} slices are missing" if missing else "the distance between slices changes",
        path=path,
        found=few(places),
        expected=f"{usual:g} mm between neighbours everywhere",
        mend="copy or export the missing slices; a series of changing distances must be cut or resampled before",
    )


def _must_be_on_a_line(frames: Sequence[Frame], aside: np.ndarray, path: Path) -> None:
    """A tilted gantry moves each slice aside by the same; what else moves them cannot be put right."""
    even = np.linspace(aside[0], aside[-1], len(aside))
    off = np.abs(aside - even).max(axis=1)
    if off.max() > 1:
        worst = int(off.argmax())
        raise _crooked(path, f"{frames[worst].name} lies {off[worst]:.3g} pixels aside")


def _crooked(path: Path, found: str) -> GeometryError:
    return GeometryError(
        "slices that do not lie on one line",
        path=path,
        found=found,
        expected="a stack with one step from slice to slice",
        mend="take out the slices that do not belong to it, or resample the series before",
    )
