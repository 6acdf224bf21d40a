"""A check as a table for people, and as JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from masg_sam.data.check import TrainingCheck, guess_modality
from masg_sam.data.check.cases import CaseSummary
from masg_sam.data.check.findings import LEVELS, Finding

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
NOTHING = "–"


def to_json(check: TrainingCheck) -> dict[str, Any]:
    """One object: ``ok``, ``cases`` and ``findings``, and what the set is."""
    names = check.label_map.names
    return {
        "data": str(check.dataset.root),
        "layout": check.dataset.layout,
        "ok": not check.errors,
        "modality": guess_modality(check.dataset, check),
        "classes": dict(zip(names, check.label_map.values, strict=True)),
        "cases": [_case_json(case, names) for case in check.cases],
        "findings": [finding.to_dict() for finding in check.findings],
    }


def to_text(check: TrainingCheck) -> Group:
    """A table of the cases, then the findings, the worst first, each with its advice."""
    from rich.console import Group
    from rich.text import Text

    lines = [
        Text.assemble((finding.level, STYLES[finding.level]), f"  {finding.message}")
        + Text(f"\n  → {finding.advice}" if finding.advice else "", style="dim")
        for finding in check.findings
    ]
    return Group(_table(check), *lines, Text(_summary(check), style="bold"))


def _case_json(case: CaseSummary, names: Iterable[str]) -> dict[str, Any]:
    return {
        "case": case.name,
        "shape": case.shape,
        "spacing_mm": None if case.picture else case.spacing,
        "channels": case.channels,
        "ranges": case.ranges,
        "voxels": dict(zip(names, case.voxels, strict=True)),
    }


def _table(check: TrainingCheck) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column("case", overflow="fold")
    for name in ("shape", "spacing, mm", "channels"):
        table.add_column(name, no_wrap=True)
    for name in ("labelled voxels", "findings"):
        table.add_column(name)
    summaries = {case.name: case for case in check.cases}
    for name in (case.name for case in check.dataset.cases):
        found = [finding for finding in check.findings if finding.case == name]
        table.add_row(*map(Text, (name, *_cells(summaries.get(name), check.label_map.names), _counted(found))))
    return table


def _cells(case: CaseSummary | None, names: Sequence[str]) -> list[str]:
    """Shape, spacing, channels, and voxels of each class; nothing of an image that cannot be read."""
    if case is None:
        return [NOTHING] * 4
    spacing = NOTHING if case.picture else " x ".join(f"{value:.3g}" for value in case.spacing)
    voxels = ", ".join(f"{name} {count}" for name, count in zip(names, case.voxels, strict=True))
    return [" x ".join(map(str, case.shape)), spacing, str(case.channels), voxels]


def _summary(check: TrainingCheck) -> str:
    count = len(check.dataset.cases)
    return f"{count} case{'' if count == 1 else 's'}: {_counted(check.findings) or 'nothing to mend'}"


def _counted(findings: Iterable[Finding]) -> str:
    """How many findings of each level: ``1 error, 2 warnings``."""
    counts = Counter(finding.level for finding in findings)
    return ", ".join(f"{counts[level]} {level}{'' if counts[level] == 1 else 's'}" for level in LEVELS if counts[level])
