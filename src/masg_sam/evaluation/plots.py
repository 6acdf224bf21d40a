"""Pictures of a comparison: the cases of each method, and the differences of each pair."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from masg_sam.colours import BLUE, GREY
from masg_sam.errors import OutputError
from masg_sam.evaluation.compare import Comparison
from masg_sam.evaluation.statistics import defined
from masg_sam.figures import draw_box, names_as_they_are, scattered
from masg_sam.files import moved_into_place

KINDS = (".png", ".svg", ".pdf")
ROW_INCHES, DPI = 0.42, 150


def check_kind(path: Path) -> None:
    """Refuse a kind of picture that cannot be written.

    Raises:
        OutputError: the file's ending names no kind that can be drawn.
    """
    if path.suffix.lower() not in KINDS:
        raise OutputError("is no picture we can write", path=path, expected=", ".join(KINDS), mend="name it so")


@names_as_they_are()
def write_plot(comparisons: Sequence[Comparison], path: Path) -> None:
    """One row a comparison: box plots of the methods, best rank on top, beside the paired differences.

    Args:
        comparisons: as :func:`masg_sam.evaluation.compare.compare` returns them.
        path: PNG, SVG or PDF, moved into place whole.

    Raises:
        OutputError: the place cannot be written to, or is of another kind.
    """
    check_kind(path)
    first = comparisons[0]
    lines = max(len(first.means), len(first.pairs))
    figure = Figure(figsize=(10, len(comparisons) * (1.1 + ROW_INCHES * lines)), dpi=DPI, layout="constrained")
    for (left, right), comparison in zip(figure.subplots(len(comparisons), 2, squeeze=False), comparisons, strict=True):
        _boxes(left, comparison)
        _differences(right, comparison)
        for axes in (left, right):
            axes.spines[["top", "right", "left"]].set_visible(False)
            axes.tick_params(axis="y", length=0)
            axes.grid(axis="x", color="#dddddd", linewidth=0.6)
            axes.set_axisbelow(True)
    with moved_into_place(path) as place:
        figure.savefig(place)


def _boxes(axes: Axes, comparison: Comparison) -> None:
    order = sorted(comparison.ranks, key=lambda name: (comparison.ranks[name] is None, comparison.ranks[name] or 0))
    for place, name in enumerate(order):
        draw_box(axes, place, defined(comparison.values[name].values()), BLUE)
    axes.set_yticks(range(len(order)), order)
    axes.invert_yaxis()
    axes.set_title(comparison.title, loc="left", fontsize=10)


def _differences(axes: Axes, comparison: Comparison) -> None:
    axes.axvline(0, color=GREY, linewidth=1)
    names = []
    for place, pair in enumerate(comparison.pairs):
        names.append(f"{pair.first} − {pair.second}")
        values = list(pair.cases.values())
        axes.plot(values, scattered(place, len(values)), ".", color=GREY, alpha=0.5, markersize=4, markeredgewidth=0)
        if pair.mean is not None:
            colour = BLUE if pair.holds else GREY
            if pair.interval:
                axes.plot(pair.interval, [place, place], color=colour, linewidth=3, solid_capstyle="round")
            axes.plot(pair.mean, place, "o", color=colour, markersize=7, markeredgecolor="white")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_title("paired differences, mean with 95 % interval; blue: holds", loc="left", fontsize=10)
