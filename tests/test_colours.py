"""Colours that all pictures share."""

from __future__ import annotations

from masg_sam.colours import CLASSES, colour_of


def test_classes_are_counted_from_one_and_colours_come_round() -> None:
    assert [colour_of(number) for number in range(1, 8)] == list(CLASSES)
    assert len(set(CLASSES)) == len(CLASSES)
    assert colour_of(8) == colour_of(1)
