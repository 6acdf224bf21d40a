"""Methods on the same cases, two by two: the differences, and which of them hold."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from masg_sam.evaluation import statistics

LEVEL = 0.05
DIGITS = 9  # of a difference; what follows is rounding, and no rank
Scores = Mapping[str, Mapping[Hashable, float | None]]
"""A metric by case, and in each case by class (or whatever else it is averaged over)."""


@dataclass(frozen=True)
class Difference:
    """Two methods on the same cases; a difference is the first one's value minus the second one's.

    Attributes:
        first, second: the methods.
        cases: case name to difference, the mean over the classes where the metric is defined for both.
        undefined: scores of a class in a case that are defined for one of the two only, and so left out.
        mean: of the differences; ``None`` where there are none.
        interval: its 95 % bootstrap interval over cases; ``None`` below two cases.
        p: of the Wilcoxon signed-rank test, two-sided; ``None`` where there are no cases.
        p_holm: the same, corrected for all that were tested together (Holm 1979).
        tested: how many these were.
        rank_biserial: of the same ranks, those of the positive differences minus those of the negative ones as a part
            of all: -1 to 1 (Kerby, Comprehensive Psychology 2014); ``None`` where there are no cases.
    """

    first: str
    second: str
    cases: dict[str, float]
    undefined: int
    mean: float | None
    interval: tuple[float, float] | None
    p: float | None
    p_holm: float | None
    tested: int
    rank_biserial: float | None

    @property
    def holds(self) -> bool:
        """Corrected p below 0.05, the interval away from zero, and mean and ranks on the same side of it.

        The test is one of ranks: a method that is a little better in most cases and far worse in one can have a
        small p and the lower mean. Such a difference does not hold either way.
        """
        return self.significant and not self.disagrees

    @property
    def significant(self) -> bool:
        """Whether the corrected p value is below 0.05."""
        return self.p_holm is not None and self.p_holm < LEVEL

    @property
    def disagrees(self) -> bool:
        """Whether the interval of the mean includes zero, or lies on the other side of it than the ranks."""
        if self.interval is None or self.rank_biserial is None:
            return False
        low, high = self.interval
        return not (low > 0 < self.rank_biserial or high < 0 > self.rank_biserial)

    @property
    def too_few(self) -> bool:
        """Whether so few cases could not hold whatever the differences, after the correction."""
        return self.tested * 2.0 ** (1 - len(self.cases)) >= LEVEL


def differences(scores: Mapping[str, Scores], pairs: Sequence[tuple[str, str]]) -> list[Difference]:
    """The differences of some pairs of methods, their p values corrected together.

    Args:
        scores: method to its scores.
        pairs: first and second method of each.
    """
    found = [_paired(scores[first], scores[second]) for first, second in pairs]
    tests = [_signed_ranks(list(cases.values())) for cases, _ in found]
    corrected = holm([p for p, _ in tests])
    return [
        Difference(
            first,
            second,
            cases,
            undefined,
            statistics.mean(cases.values()),
            statistics.bootstrap_interval(cases.values()),
            p,
            p_holm,
            sum(one is not None for one in corrected),
            ranks,
        )
        for (first, second), (cases, undefined), (p, ranks), p_holm in zip(pairs, found, tests, corrected, strict=True)
    ]


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction (Scand. J. Statist. 6, 1979); ``None`` stays and does not count."""
    order = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, i) in enumerate(order):
        highest = max(highest, min(1.0, p * (len(order) - rank)))
        corrected[i] = highest
    return corrected


def _paired(first: Scores, second: Scores) -> tuple[dict[str, float], int]:
    """Differences by case, and how many scores have no partner.

    Class by class: a class that one method missed has a distance for the other only, and would otherwise be compared
    with the classes that both found.
    """
    cases, undefined = {}, 0
    for case, values in first.items():
        partners = [(value, second[case].get(key)) for key, value in values.items()]
        both = [a - b for a, b in partners if a is not None and b is not None]
        undefined += sum((a is None) != (b is None) for a, b in partners)
        if both:
            cases[case] = round(float(np.mean(both)), DIGITS)
    return cases, undefined


def _signed_ranks(values: list[float]) -> tuple[float | None, float | None]:
    """P value of Wilcoxon's test and rank-biserial correlation.

    Cases without a difference say nothing, and alone they give p = 1.
    """
    from scipy.stats import rankdata, wilcoxon

    if not values:
        return None, None
    apart = np.array([value for value in values if value])
    if not len(apart):
        return 1.0, 0.0
    ranks = rankdata(np.abs(apart))
    return float(wilcoxon(apart).pvalue), float((np.sign(apart) * ranks).sum() / ranks.sum())
