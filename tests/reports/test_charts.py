"""Figures in the page's own colour, which can share a page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from masg_sam.reports import charts


def figures() -> list[charts.Chart]:
    return [
        charts.curves("Loss", "c", range(100), {"all": [1 / (i + 1) for i in range(100)], "part": [None, 1.0] * 50}),
        charts.boxes("Dice", "c", {"a": [0.5, 0.7, 0.9], "nothing": []}, "mm"),
        charts.scatter("Confidence", "c", [0.5, 0.9], [0.6, 0.8]),
    ]


@pytest.mark.parametrize("chart", figures(), ids=lambda chart: chart.title)
def test_is_svg_that_asks_for_nothing(chart):
    root = ElementTree.fromstring(chart.svg)
    assert root.tag.endswith("svg") and "viewBox" in root.attrib
    links = [v for item in root.iter() for k, v in item.attrib.items() if k.endswith("href")]
    assert all(link.startswith("#") for link in links)
    assert "currentColor" in chart.svg and charts.INK not in chart.svg
    assert "<metadata" not in chart.svg


def test_identifiers_differ_and_lead_somewhere():
    found = [set(re.findall(r'\bid="([^"]+)"', chart.svg)) for chart in figures()]
    assert all(a.isdisjoint(b) for i, a in enumerate(found) for b in found[i + 1 :])
    for known, chart in zip(found, figures(), strict=True):
        assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', chart.svg)) <= known


def test_a_figure_is_the_same_twice():
    assert [one.svg for one in figures()] == [one.svg for one in figures()]


def test_names_are_escaped():
    chart = charts.boxes("Dice", "c", {"<script>alert(1)</script>": [0.5, 0.6]})
    assert "<script" not in chart.svg
