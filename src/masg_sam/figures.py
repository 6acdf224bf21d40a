"""What all pictures share: box plots, and names as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from masg_sam.colours import ORANGE


@contextmanager
def names_as_they_are() -> Iterator[None]:
    """A dollar sign in the name of a class or method is one, and no beginning of mathematics."""
    with rc_context({"text.parse_math": False}):
        yield


def draw_box(axes: Axes, place: float, values: Sequence[float], colour: str, ink: str = "black") -> None:
    """A lying box plot in row ``place``, with every value as a dot.

    Args:
        axes: to draw on.
        place: of the row.
        values: none draw nothing.
        colour: of the dots.
        ink: of the box.
    """
    if not values:
        return
    line = {"color": ink, "linewidth": 1}
    axes.boxplot(
        list(values),
        positions=[place],
        orientation="horizontal",
        widths=0.5,
        showfliers=False,
        boxprops=line,
        whiskerprops=line,
        capprops=line,
        medianprops={"color": ORANGE, "linewidth": 2},
    )
    axes.plot(values, scattered(place, len(values)), ".", color=colour, markersize=6, markeredgewidth=0, alpha=0.8)


def scattered(place: float, count: int) -> np.ndarray:
    """Places around a row, so that equal values do not cover each other; the same at each call."""
    return place + np.random.default_rng(0).uniform(-0.15, 0.15, count)
