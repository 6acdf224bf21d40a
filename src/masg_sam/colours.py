"""Colours that all pictures share."""

from __future__ import annotations

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
