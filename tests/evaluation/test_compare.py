"""Differences between evaluations of the same cases."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import wilcoxon

from masg_sam.errors import ConfigError, InputError
from masg_sam.evaluation.compare import compare
from masg_sam.evaluation.metrics import score
from masg_sam.evaluation.paired import holm
from masg_sam.evaluation.scores import CaseScores, Evaluation

POINT = np.ones((1, 1, 1), bool)


def evaluation(*dice: float | None, metric: str = "dice", **changes: object) -> Evaluation:
    """Cases of one class with these values."""
    perfect = score(POINT, POINT, (1.0, 1.0, 1.0))
    cases = [CaseScores(f"p{i}", {"a": replace(perfect, **{metric: value})}) for i, value in enumerate(dice)]
    return replace(Evaluation(cases, 2.0), **changes)


RISING = tuple(0.5 + 0.01 * i for i in range(10))
BETTER = tuple(value + 0.1 + 0.001 * i for i, value in enumerate(RISING))


def test_a_clear_difference_holds():
    found = compare({"new": evaluation(*BETTER), "old": evaluation(*RISING)})
    (pair,) = found.pairs
    assert (pair.first, pair.second, pair.undefined) == ("new", "old", 0)
    assert pair.cases["p3"] == pytest.approx(0.103)
    assert pair.mean == pytest.approx(0.1045)
    assert pair.interval[0] < pair.mean < pair.interval[1]
    assert pair.p == pair.p_holm == pytest.approx(2 / 2**10)  # all ten of one sign, exact
    assert pair.holds
    assert found.in_words()[0].startswith("new is better than old in Dice: +0.10")
    assert found.means == {"new": pytest.approx(0.6495), "old": pytest.approx(0.545)}


def test_p_is_that_of_the_signed_rank_test():
    first, second = np.random.default_rng(0).uniform(size=(2, 12))
    found = compare({"a": evaluation(*first), "b": evaluation(*second)})
    assert found.pairs[0].p == pytest.approx(wilcoxon(first, second).pvalue)
    assert not found.pairs[0].holds
    assert "cannot be told apart" in found.in_words()[0]


def test_less_is_better_for_distances():
    near, far = evaluation(*RISING, metric="hd95_mm"), evaluation(*BETTER, metric="hd95_mm")
    found = compare({"near": near, "far": far}, "hd95_mm")
    assert found.ranks == {"near": 1, "far": 2}
    assert found.in_words()[0].startswith("near is better than far in HD95: -0.10")
    assert " mm (" in found.in_words()[0]


def test_few_cases_never_hold():
    found = compare({"a": evaluation(0.9, 0.8, 0.95), "b": evaluation(0.1, 0.2, 0.3)})
    assert not found.pairs[0].holds
    assert "too few for a difference to hold" in found.in_words()[0]


def test_more_methods_need_more_cases():
    """Six cases give 2 / 2**6 = 0.031 at least: enough for one pair, not for three."""
    high, middle, low = ([base + 0.01 * i for i in range(6)] for base in (0.9, 0.7, 0.5))
    two = compare({"a": evaluation(*high), "b": evaluation(*low)})
    assert two.pairs[0].holds and "too few" not in two.in_words()[0]
    three = compare({"a": evaluation(*high), "b": evaluation(*middle), "c": evaluation(*low)})
    assert not any(pair.holds for pair in three.pairs)
    assert all("too few for a difference to hold" in sentence for sentence in three.in_words())


def test_one_far_case_does_not_turn_the_ranks_round():
    """Better in nineteen cases, far worse in one: the ranks say better, the mean worse, and neither is claimed."""
    ours = [0.8 + 0.01 * i / 20 for i in range(20)]
    theirs = [value - 0.01 - 0.0001 * i for i, value in enumerate(ours)]
    ours[0] = 0.2
    (pair,) = (found := compare({"ours": evaluation(*ours), "theirs": evaluation(*theirs)})).pairs
    assert pair.mean < 0 < pair.rank_biserial and pair.p_holm < 0.05
    assert not pair.holds
    assert "cannot be told apart" in found.in_words()[0]
    assert "most cases say otherwise than their mean" in found.in_words()[0]


def several(*cases: dict[str, float | None]) -> Evaluation:
    """HD95 of the classes of each case."""
    perfect = score(POINT, POINT, (1.0, 1.0, 1.0))
    scored = [{name: replace(perfect, hd95_mm=value) for name, value in case.items()} for case in cases]
    return Evaluation([CaseScores(f"p{i}", one) for i, one in enumerate(scored)], 2.0)


def test_a_missed_class_is_left_out_on_both_sides():
    """The second method misses the hard class: its mean distance is the lower one, and it is the worse method."""
    finds = several(*({"easy": 2.0, "hard": 20.0 + i} for i in range(8)))
    misses = several(*({"hard": None, "easy": 3.0 + 0.1 * i} for i in range(8)))
    found = compare({"finds": finds, "misses": misses}, "hd95_mm")
    (pair,) = found.pairs
    assert found.means["misses"] < found.means["finds"]
    assert pair.cases["p2"] == pytest.approx(2.0 - 3.2)
    assert (pair.undefined, pair.holds, found.ranks) == (8, True, {"finds": 1, "misses": 2})
    assert found.in_words()[0].startswith("finds is better than misses in HD95")
    assert "8 defined for one of the two only and left out" in found.in_words()[0]


def test_equal_methods():
    found = compare({"a": evaluation(*RISING), "b": evaluation(*RISING)})
    assert (found.pairs[0].p, found.pairs[0].mean, found.ranks) == (1, 0, {"a": 1.5, "b": 1.5})


def test_undefined_cases_are_left_out_and_counted():
    found = compare({"a": evaluation(0.9, None, 0.7), "b": evaluation(0.8, 0.5, None)})
    (pair,) = found.pairs
    assert (list(pair.cases), pair.undefined) == (["p0"], 2)
    assert "1 case," in found.in_words()[0] and "2 defined for one of the two only and left out" in found.in_words()[0]
    assert found.ranks == {"a": 1, "b": 2}


def test_nothing_defined_in_common():
    found = compare({"a": evaluation(0.9, None), "b": evaluation(None, 0.5)})
    assert (found.pairs[0].mean, found.pairs[0].p_holm, found.ranks) == (None, None, {"a": None, "b": None})
    assert "no case" in found.in_words()[0]
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["pairs"][0]["interval"] is None


def test_ranks_by_hand_with_a_tie():
    found = compare({"a": evaluation(0.9, 0.5, 0.7), "b": evaluation(0.8, 0.5, 0.9), "c": evaluation(0.1, 0.6, 0.8)})
    # a: 1, 2.5, 3   b: 2, 2.5, 1   c: 3, 1, 2
    assert found.ranks == {
        "a": pytest.approx(6.5 / 3),
        "b": pytest.approx(5.5 / 3),
        "c": pytest.approx(6 / 3),
    }
    assert [(pair.first, pair.second) for pair in found.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]


def test_several_pairs_are_corrected_together():
    third = evaluation(*(value - 0.1 for value in RISING))
    found = compare({"a": evaluation(*BETTER), "b": evaluation(*RISING), "c": third})
    assert [pair.p_holm for pair in found.pairs] == pytest.approx(holm([pair.p for pair in found.pairs]), rel=1e-12)
    assert found.pairs[0].p_holm == pytest.approx(3 * found.pairs[0].p)


def test_cases_are_paired_by_name_and_not_by_place():
    first, second = evaluation(0.9, 0.1), evaluation(0.8, 0.05)
    found = compare({"a": first, "b": replace(second, cases=second.cases[::-1])})
    assert found.pairs[0].cases == {"p0": pytest.approx(0.1), "p1": pytest.approx(0.05)}
    assert found.ranks == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        (evaluation(0.5, 0.5, 0.5), "cases"),
        (evaluation(0.5, 0.5, tolerance_mm=1.0), "tolerances"),
        (evaluation(0.5, 0.5, unit="pixels"), "units"),
        (Evaluation([CaseScores(f"p{i}", {}) for i in range(2)], 2.0), "classes"),
    ],
)
def test_evaluations_of_something_else_are_refused(other, kind):
    with pytest.raises(InputError, match=f"one and two were evaluated on different {kind}"):
        compare({"one": evaluation(0.5, 0.5), "two": other})


def test_one_evaluation_is_nothing_to_compare():
    with pytest.raises(InputError, match="nothing to compare"):
        compare({"one": evaluation(0.5)})


@pytest.mark.parametrize("metric", ["relative_volume_error", "dise"])
def test_metrics_without_a_better_side_are_refused(metric):
    with pytest.raises(ConfigError, match="cannot be compared") as caught:
        compare({"a": evaluation(0.5), "b": evaluation(0.5)}, metric)
    assert "surface_dice" in str(caught.value.expected)


def test_table_and_json():
    found = compare({"old": evaluation(*RISING), "[b]new": evaluation(*BETTER)})
    with open("/dev/null", "w") as nowhere:
        console = Console(width=150, record=True, file=nowhere)
        console.print(found.table())
    text = console.export_text()
    assert text.index("[b]new") < text.index("old ")  # the best rank first
    assert "1.00" in text and "old is worse than [b]new" in " ".join(text.split())
    facts = found.to_json()
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["pairs"][0]["holds"] is True


def test_what_a_reader_of_the_evaluations_should_know_is_kept():
    one = compare({"new": evaluation(*BETTER, notes=["a is missed"]), "old": evaluation(*RISING)})
    assert one.notes == one.to_json()["notes"] == {"new": ["a is missed"], "old": []}
