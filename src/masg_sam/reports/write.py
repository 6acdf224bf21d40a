"""Puts a report into one HTML file: no request leaves it."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from masg_sam import __version__
from masg_sam.errors import OutputError
from masg_sam.files import write_text
from masg_sam.reports.content import Report
from masg_sam.reports.pictures import FALSE_ALARM, MISSED, WRONG_CLASS

ERRORS = {"false alarm": FALSE_ALARM, "missed": MISSED, "another class": WRONG_CLASS}


def write_report(report: Report, path: Path) -> Path:
    """Write the page, moved into place whole.

    Returns:
        ``path``.

    Raises:
        OutputError: the place cannot be written to, or is no HTML file.
    """
    must_be_html(path)
    write_text(path, render(report))
    return path


def must_be_html(path: Path) -> None:
    """Refuse a name of another kind of file.

    Raises:
        OutputError: it does not end in ``.html``.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise OutputError("a report is an HTML file", path=path, expected="a name ending in .html", mend="name it so")


def render(report: Report) -> str:
    """The page; everything that comes from files is escaped."""
    loader = PackageLoader("masg_sam.reports", "page")
    page = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = {name: Markup(loader.get_source(page, name)[0]) for name in ("style.css", "script.js")}
    return page.get_template("report.html.jinja").render(
        report=report,
        style=source["style.css"],
        script=source["script.js"],
        errors=ERRORS,
        version=__version__,
        made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        svg=Markup,
    )
