"""Figures as inline SVG whose text and axes take the colour of the page, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from masg_sam.colours import BLUE, LINES, colour_of
from masg_sam.figures import draw_box, names_as_they_are
from masg_sam.reports.content import Chart

INK = "#010203"  # stands for the page's text colour until the figure is SVG
SMOOTHED = 25  # values of the running mean of a curve, at most


@names_as_they_are()
def curves(title: str, caption: str, steps: Sequence[float], lines: Mapping[str, Sequence[float | None]]) -> Chart:
    """Values over training steps: faint as they were, strong as a running mean."""
    figure, axes = _figure(5.6, 3.0)
    for i, (name, values) in enumerate(lines.items()):
        known = np.array([v if v is not None else np.nan for v in values], float)
        places = np.flatnonzero(np.isfinite(known))
        colour = LINES[i % len(LINES)]
        where, what = np.asarray(steps)[places], known[places]
        width = min(SMOOTHED, len(what) // 8)
        if width > 1:
            axes.plot(where, what, color=colour, alpha=0.2, linewidth=0.7)
            where, what = where[width - 1 :], np.convolve(what, np.ones(width) / width, "valid")
        axes.plot(where, what, color=colour, linewidth=1.6, label=name)
    axes.set_xlabel("step")
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return Chart(title, _svg(figure, title), caption)


@names_as_they_are()
def boxes(title: str, caption: str, groups: Mapping[str, Sequence[float]], unit: str = "") -> Chart:
    """One box a group, with every case as a dot."""
    figure, axes = _figure(5.6, 0.9 + 0.45 * len(groups))
    for place, values in enumerate(groups.values()):
        draw_box(axes, place, values, colour_of(place + 1), INK)
    axes.set_yticks(range(len(groups)), list(groups))
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlabel(unit)
    return Chart(title, _svg(figure, title), caption)


def scatter(title: str, caption: str, expected: Sequence[float], true: Sequence[float]) -> Chart:
    """Dice that was expected against Dice that came out; on the line they agree."""
    figure, axes = _figure(3.8, 3.6)
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
    axes.plot(expected, true, "o", color=BLUE, markersize=5, alpha=0.75, markeredgewidth=0)
    low = max(0.0, min([*expected, *true]) - 0.05)
    axes.set_xlim(low, 1)
    axes.set_ylim(low, 1)
    axes.set_aspect("equal")
    axes.locator_params(nbins=5)
    axes.set_xlabel("expected Dice")
    axes.set_ylabel("Dice")
    return Chart(title, _svg(figure, title), caption)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, labelsize=8)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    return figure, axes


def _svg(figure: Figure, title: str) -> str:
    """Without header and metadata; identifiers differ from figure to figure, for they share a page."""
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.family": "sans-serif"}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    prefix = re.sub(r"\W+", "-", title.lower())
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r"font: (\S+) [^;\"]*", r"font: \1 inherit", text)
    size = rf'style="max-width: {figure.get_figwidth():g}in" role="presentation"'
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', size, text, count=1)
