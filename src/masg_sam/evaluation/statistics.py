"""Means, spreads and intervals over cases; undefined values (``None``) are left out of all of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

RESAMPLES = 2000
ROUNDING = 1e-9  # of the values; closer than that they are one
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
    """95 % interval of the mean, from resampled cases, bias-corrected and accelerated (Efron, JASA 1987).

    The draw is seeded: the same values give the same interval. ``None`` below two values.
    """
    from scipy.stats import bootstrap

    known = np.array(defined(values))
    if len(known) < 2:
        return None
    if np.ptp(known) <= ROUNDING * max(1.0, np.abs(known).max()):
        return float(known[0]), float(known[0])
    draw = np.random.default_rng(0)
    low, high = bootstrap((known,), np.mean, n_resamples=RESAMPLES, method="BCa", random_state=draw).confidence_interval
    return float(low), float(high)
