"""Pairs of methods: ranks, correction, and what holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from masg_sam.evaluation.paired import Difference, differences, holm

CLEAR = Difference("a", "b", {f"p{i}": 0.1 for i in range(8)}, 0, 0.1, (0.05, 0.2), 0.01, 0.01, 1, 1.0)


def test_holm_by_hand():
    assert holm([0.01, 0.04, None, 0.03]) == [
        pytest.approx(0.03),
        pytest.approx(0.06),
        None,
        pytest.approx(0.06),
    ]
    assert holm([0.7, 0.6]) == [1, 1]
    assert holm([]) == []


def test_ranks_by_hand():
    """Differences 1, -2, 3, 3 and none: ranks 1, 2, 3.5, 3.5, of which 2 are negative."""
    first = {f"p{i}": {"a": value} for i, value in enumerate((1.0, 0.0, 3.0, 4.0, 5.0))}
    second = {f"p{i}": {"a": value} for i, value in enumerate((0.0, 2.0, 0.0, 1.0, 5.0))}
    (found,) = differences({"one": first, "two": second}, [("one", "two")])
    assert found.rank_biserial == pytest.approx((8 - 2) / 10)
    assert found.mean == pytest.approx(1.0)


def test_rounding_decides_no_rank():
    """2.7 - 1.8 and 1.8 - 0.9 are one difference: two ties of one rank each way, and no sign."""
    first, second = {"p": {"a": 2.7}, "q": {"a": 0.9}}, {"p": {"a": 1.8}, "q": {"a": 1.8}}
    (found,) = differences({"one": first, "two": second}, [("one", "two")])
    assert found.rank_biserial == 0 and found.cases == {"p": 0.9, "q": -0.9}


def test_a_case_is_the_mean_over_what_both_define():
    first = {"p": {"a": 1.0, "b": 5.0, "c": None, "d": None}}
    second = {"p": {"a": 0.5, "b": None, "c": 9.0, "d": None}}
    (found,) = differences({"one": first, "two": second}, [("one", "two")])
    assert (found.cases, found.undefined) == ({"p": 0.5}, 2)


def test_only_what_was_tested_is_corrected_for():
    value = {f"p{i}": {"a": float(i)} for i in range(3)}
    nothing = {f"p{i}": {"a": None} for i in range(3)}
    found = differences({"one": value, "none": nothing, "two": value}, [("one", "none"), ("one", "two")])
    assert [pair.tested for pair in found] == [1, 1]
    assert (found[0].p_holm, found[1].p_holm) == (None, 1.0)


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({}, True),
        ({"p_holm": 0.05}, False),
        ({"interval": (-0.01, 0.2)}, False),
        ({"interval": None}, True),
        ({"rank_biserial": -0.9}, False),
        ({"mean": -0.1, "interval": (-0.2, -0.05), "rank_biserial": -0.9}, True),
        ({"mean": -0.1, "interval": (-0.2, -0.05)}, False),
    ],
)
def test_what_holds(changes: dict[str, object], holds: bool) -> None:
    assert replace(CLEAR, **changes).holds is holds


@pytest.mark.parametrize(("cases", "tested", "few"), [(5, 1, True), (6, 1, False), (6, 2, True), (7, 3, False)])
def test_too_few_cases(cases: int, tested: int, few: bool) -> None:
    """The least p of n cases is 2 / 2**n, times the number of tests."""
    assert replace(CLEAR, cases={f"p{i}": 0.1 for i in range(cases)}, tested=tested).too_few is few
