"""What a check tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from masg_sam.errors import InputError

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """Something a user should know.

    Attributes:
        level: ``error`` for what no training can use, ``warning`` for what may spoil it, ``note`` for the rest.
        case: where; ``None`` for the whole set.
        message: one sentence.
        advice: what to do about it, one sentence; empty where nothing need be done.
        error: of that level, what stops a training.
    """

    level: Level
    case: str | None
    message: str
    advice: str
    error: InputError | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, error: InputError, case: str | None, level: Level = "error") -> Finding:
        """An error as a finding: file, problem, what was found and expected in one sentence, how to mend it."""
        message = error.problem if error.path is None else f"{error.path}: {error.problem}"
        for name, value in (("found", error.found), ("expected", error.expected)):
            message += f"; {name} {value}" if value is not None else ""
        return cls(level, case, message, error.mend or "", error if level == "error" else None)

    def __str__(self) -> str:
        return f"{self.message} ({self.advice})" if self.advice else self.message

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"level": self.level, "case": self.case, "message": self.message, "advice": self.advice}


def warning(case: str | None, message: str, advice: str) -> Finding:
    """Something that may spoil a training."""
    return Finding("warning", case, message, advice)


def note(case: str | None, message: str, advice: str) -> Finding:
    """Something worth knowing."""
    return Finding("note", case, message, advice)
