"""Means and spreads with undefined values left out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from masg_sam.evaluation import statistics


def test_undefined_values_are_left_out():
    values = [1.0, None, 2.0, 6.0]
    assert statistics.mean(values) == 3
    assert statistics.median(values) == 2
    assert statistics.sd(values) == pytest.approx(np.sqrt(7))  # (4 + 1 + 9) / 2


@pytest.mark.parametrize("values", [[], [None, None]])
def test_nothing_defined_is_no_number(values):
    assert [statistics.mean(values), statistics.sd(values), statistics.median(values)] == [None] * 3
    assert statistics.bootstrap_interval(values) is None


def test_one_value_has_no_spread():
    assert statistics.sd([0.5]) is None
    assert statistics.bootstrap_interval([0.5, None]) is None


def test_interval_is_the_same_each_time_and_that_of_scipy():
    values = np.random.default_rng(3).normal(0.8, 0.1, 30).tolist()
    low, high = statistics.bootstrap_interval(values)
    assert (low, high) == statistics.bootstrap_interval(values)
    reference = bootstrap((values,), np.mean, method="BCa", n_resamples=4000, rng=1).confidence_interval
    assert (low, high) == pytest.approx(tuple(reference), abs=0.004)


def test_interval_leans_to_the_side_of_the_far_values():
    """The bias correction that small, skewed samples need: percentiles alone reach less far to the long tail."""
    values = [0.0] * 3 + [0.1] * 12 + [1.0] * 2
    low, high = statistics.bootstrap_interval(values)
    plain = bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=1).confidence_interval
    assert high > plain.high + 0.02 and low > plain.low


def test_interval_of_a_constant_is_a_point():
    assert statistics.bootstrap_interval([0.5] * 4) == (0.5, 0.5)


def test_rounding_is_no_spread():
    """0.9 and its next numbers are what one voxel of 0.9 mm comes to; BCa of them is no number."""
    low, high = statistics.bootstrap_interval([0.9, 0.9000000000000004, 0.8999999999999999, 0.9])
    assert low == high == pytest.approx(0.9)
