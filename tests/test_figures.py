"""Box plots that all pictures share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from masg_sam.figures import draw_box, scattered


@pytest.fixture
def axes() -> Iterator[Axes]:
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def test_equal_values_lie_beside_each_other_and_always_the_same() -> None:
    places = scattered(3, 20)
    assert len(np.unique(places)) == 20
    assert np.abs(places - 3).max() <= 0.15
    assert (places == scattered(3, 20)).all()


def test_a_box_plot_shows_every_value(axes: Axes) -> None:
    draw_box(axes, 2, [0.1, 0.5, 0.9], "red")
    dots = next(line for line in axes.lines if line.get_marker() == ".")
    assert list(dots.get_xdata()) == [0.1, 0.5, 0.9]
    median = next(line for line in axes.lines if line.get_linewidth() == 2)
    assert list(median.get_xdata()) == [0.5, 0.5]


def test_no_values_draw_nothing(axes: Axes) -> None:
    draw_box(axes, 2, [], "red")
    assert not axes.has_data()
