"""Colours and box plots that all pictures share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

# Okabe & Ito's palette, which colour-blind readers can tell apart (Color Universal Design, 2008).
AMBER, SKY, GREEN, YELLOW, ORANGE, PURPLE, BLUE = (
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#D55E00",
    "#CC79A7",
    "#0072B2",
)
GREY = "#888888"
CLASSES = (AMBER, SKY, GREEN, YELLOW, ORANGE, PURPLE, BLUE)
LINES = (BLUE, AMBER, GREEN, PURPLE, ORANGE, SKY)  # yellow is too faint for a line


def colour_of(number: int) -> str:
    """Colour of class ``number``, counted from 1."""
    return CLASSES[(number - 1) % len(CLASSES)]


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
