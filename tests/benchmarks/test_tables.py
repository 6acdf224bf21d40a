"""The tables by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Script = Callable[[str], ModuleType]


def record(dice: dict[str, float | None]) -> dict[str, object]:
    return {"cases": {case: {"x": {"dice": value}, "y": {"dice": None}} for case, value in dice.items()}}


def test_the_short_tables_go_between_their_marks(script: Script, tmp_path: Path) -> None:
    short, page = script("short"), tmp_path / "README.md"
    records = [
        whole("defaults", "masg-sam", 0.9, minutes=12.3, cpu_minutes=21.4, peak_gb=1.8),
        whole("defaults", "plain decoder", 0.85),
        whole("modules", "masg-sam", 0.1),  # another study
    ]
    (opened, closed), (second, last) = map(short.marks, ("results", "modules"))
    page.write_text(f"before\n{opened}\nold\n{closed}\nbetween\n{second}\n{last}\nafter\n", encoding="utf-8")
    for _ in range(2):
        short.put(page, records)
    lines = page.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "before" and lines[5:8] == [closed, "between", second] and lines[-2:] == [last, "after"]
    assert lines[4] == "| LA, 4 scans | left atrium | 0.900 | 0.850 | – | 1 | 21 | 1.8 | abc |" and len(lines) == 13
    assert lines[8:11] == ["| method | LA, 4 scans |", "| --- | --- |", "| masg-sam | 0.100 |"]
    records += [whole("peers", "nnU-Net", 0.4), whole("peers", "nnU-Net 2d", 0.6)]  # the better of the two is shown
    assert "| 0.900 | 0.850 | 0.600 | 1 | 21 |" in short.headline(records)
    records[1]["commit"] = "def"  # of other code than the first: both are told
    assert short.headline(records).splitlines()[2].endswith("| 1.8 | abc, def |")
    page.write_text("no marks", encoding="utf-8")
    short.put(page, records)
    assert page.read_text(encoding="utf-8") == "no marks"


def test_a_star_where_the_interval_is_away_from_zero(script: Script) -> None:
    """Four cases: -0.1 in each is sure; -0.1, -0.1, -0.1, +0.1 is not."""
    records = [whole("modules", name, 0.5) for name in ("masg-sam", "without HAE", "without BFE", "without DSF")]
    for record, changes in zip(records[1:], ([-0.1] * 4, [-0.1, -0.1, -0.1, 0.1], [0.1] * 4), strict=True):
        record["cases"] = {f"s{i}": {"left atrium": {"dice": 0.5 + change}} for i, change in enumerate(changes)}
    rows = script("short").ablation(records).splitlines()[2:]
    assert rows == [
        "| masg-sam | 0.500 |",
        "| without HAE | 0.500 (-0.100*) |",
        "| without BFE | 0.500 (-0.050) |",
        "| without DSF | 0.500 (+0.100*) |",
    ]


def test_the_pages_say_what_the_files_say(script: Script, tmp_path: Path) -> None:
    tables, short = script("tables"), script("short")
    tables.write(tables.HERE / "results", tmp_path / "RESULTS.md")
    written = (tables.HERE / "RESULTS.md").read_text(encoding="utf-8")
    assert (tmp_path / "RESULTS.md").read_text(encoding="utf-8") == written, "run benchmarks/tables.py"
    readme = (tables.HERE.parent / "README.md").read_text(encoding="utf-8")
    records = script("records").read(tables.HERE / "results")
    for name, make in short.TABLES.items():
        opened, closed = short.marks(name)
        assert f"{opened}\n{make(records)}\n{closed}" in readme, "run benchmarks/tables.py"


def test_differences_are_paired_by_case_and_averaged_over_seeds(script: Script) -> None:
    first = [record({"a": 0.8, "b": 0.6, "c": 0.5}), record({"a": 0.6, "b": 0.6, "c": 0.5})]
    second = [record({"b": 0.5, "a": 0.5, "c": None})]
    assert script("records").paired(first, second, "dice") == [pytest.approx(0.2), pytest.approx(0.1)]


def test_the_worst_tenth_is_one_case_at_least(script: Script) -> None:
    worst = script("records").worst
    assert worst([record({"a": 0.8, "b": 0.6, "c": None}), record({"a": 0.4, "b": 0.8, "c": None})]) == (
        pytest.approx(0.6),
        pytest.approx(0.6),
    )
    assert worst([record({f"{i}": i / 100 for i in range(25)})]) == (0.0, pytest.approx(0.005))  # 0 and 1 of 25
    assert worst([record({"a": None})]) == (None, None)


def whole(study: str, method: str, dice: float, **train: float) -> dict[str, object]:
    scores = {"dice": dice, "iou": dice, "hd95_mm": 2.0, "surface_dice": dice, "boundary_f1": dice}
    return {
        "study": study, "dataset": "la4", "method": method, "seed": 0, "shots": None, "every": None, "quick": False,
        "steps": 600, "size": [192, 256], "train": train, "predict": {"minutes": 4.5}, "mean": scores, "sd": scores,
        "classes": {"left atrium": scores}, "cases": {f"s{i}": {"left atrium": scores} for i in range(4)},
        "confidence": None, "commit": "abc", "machine": "2 cores",
    }  # fmt: skip


def test_wall_clock_and_cpu_side_by_side_and_older_records_without(script: Script, tmp_path: Path) -> None:
    made = {
        "defaults/a": whole("defaults", "masg-sam", 0.9, minutes=21.1, peak_gb=1.8),
        "peers/b": whole("peers", "nnU-Net", 0.6, minutes=21.2, cpu_minutes=41.3, peak_gb=2.5),
        "published/c": whole("published", "masg-sam", 0.9, minutes=1.0, peak_gb=1.8) | {"dataset": "promise12"},
    }
    for name, one in made.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.json").write_text(json.dumps(one), encoding="utf-8")
    script("tables").write(tmp_path, tmp_path / "out.md")
    text = (tmp_path / "out.md").read_text(encoding="utf-8")
    assert "| 600 | 192 x 256 | 21.1 | – | 1.8 | 4.5 |" in text
    peers = text[text.index("## Whole methods of others") :]
    assert (
        "+0.300 (+0.300 to +0.300)" in peers
        and "| 600 | 21.2 | 41.3 | 4.5 | abc |" in peers
        and "| 21.1 | – | 4.5 |" in peers
    )
    assert "| LA, 4 scans | masg-sam | 0 | left atrium 0.900 | 0.900 | 0.900 |" in text
    assert "| PROMISE12, 3 scans | masg-sam | 0 | 0.900" in text
