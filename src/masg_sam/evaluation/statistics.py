"""Means, spreads and intervals over cases; undefined values (``None``) are left out of all of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

RESAMPLES = 2000
Values = Iterable[float | None]


def defined(values: Values) -> list[float]:
    """Those that are not ``None``."""
    return [value for value in values if value is not None]


def mean(values: Values) -> float | None:
    """Arithmetic mean; ``None`` where nothing is defined."""
    known = defined(values)
    return float(np.mean(known)) if known else None


def sd(values: Values) -> float | None:
    """Standard deviation of a sample (``n - 1``); ``None`` below two values."""
    known = defined(values)
    return float(np.std(known, ddof=1)) if len(known) > 1 else None


def median(values: Values) -> float | None:
    """Median; ``None`` where nothing is defined."""
    known = defined(values)
    return float(np.median(known)) if known else None


def bootstrap_interval(values: Values) -> tuple[float, float] | None:
    """95 % percentile interval of the mean, from resampled cases (Efron & Tibshirani 1993, chapter 13).

    The draw is seeded: the same values give the same interval. ``None`` below two values.
    """
    known = np.array(defined(values))
    if len(known) < 2:
        return None
    means = np.random.default_rng(0).choice(known, (RESAMPLES, len(known))).mean(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)
