"""A learning rate that follows the clock. Plain arithmetic: it needs no nnU-Net."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """The time that a training has.

    Attributes:
        started: seconds since 1970.
        deadline: the same.
    """

    started: float
    deadline: float

    def passed(self, now: float) -> float:
        """The part of the time that is gone, 0..1."""
        return min(1.0, (now - self.started) / max(self.deadline - self.started, 1e-6))

    def fits(self, now: float, done: int) -> bool:
        """Whether one more iteration ends in time, at the mean pace of the ``done`` ones."""
        return now + (now - self.started) / done <= self.deadline


def polynomial(initial: float, passed: float) -> float:
    """nnU-Net's learning rate: ``initial * (1 - passed) ** 0.9``, with the time gone in place of the epochs done."""
    return initial * (1 - passed) ** 0.9
