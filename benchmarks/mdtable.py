"""Numbers and tables as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from masg_sam.evaluation.paired import Difference


def number(value: float | None, digits: int = 3) -> str:
    """A number, or a dash where it is not defined."""
    return "–" if value is None else f"{value:.{digits}f}"


def spread(values: Sequence[float | None], digits: int = 3) -> str:
    """Mean and standard deviation of what is defined."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    deviation = f" ± {np.std(known, ddof=1):.{digits}f}" if len(known) > 1 else ""
    return f"{np.mean(known):.{digits}f}{deviation}"


def difference(pair: Difference | None, digits: int) -> str:
    """Mean difference with its 95 % interval."""
    if pair is None or pair.mean is None or pair.interval is None:
        return "–"
    low, high = pair.interval
    return f"{pair.mean:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def section(title: str, text: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A heading, a text, a table."""
    return "\n\n".join(part for part in (f"## {title}", text, table(heads, rows)) if part)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Heads, a line, rows."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (heads, ["---"] * len(heads), *rows))
