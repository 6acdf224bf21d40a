"""The tables by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Script = Callable[[str], ModuleType]


def record(dice: dict[str, float | None], seed: int = 0) -> dict[str, object]:
    return {"seed": seed, "cases": {case: {"x": {"dice": value}, "y": {"dice": None}} for case, value in dice.items()}}


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
    assert lines[4] == "| LA, 4 scans | 0.900 | 0.850 | +0.050 (+0.050 to +0.050) | – | 1 | 21 | 1.8 | abc |"
    assert len(lines) == 13
    assert lines[8:11] == ["| method | LA, 4 scans |", "| --- | --- |", "| masg-sam | 0.100 |"]
    records.append(whole("peers", "nnU-Net 2d", 0.6))
    assert "| 0.600 (2-D, 600 steps) | 1 | 21 |" in short.headline(records)
    records.append(whole("peers", "nnU-Net", 0.4))  # what comes first is shown, and not what is better
    assert "| 0.400 (3-D, 600 steps) | 1 | 21 |" in short.headline(records)
    records[1]["commit"] = "def"  # of other code than the first: both are told
    records.append(whole("defaults", "masg-sam", 0.9, minutes=12.3, cpu_minutes=21.4, peak_gb=1.8) | {"seed": 1})
    assert short.headline(records).splitlines()[2].endswith("| 2/1 | 21 | 1.8 | abc, def |")
    page.write_text("no marks", encoding="utf-8")
    short.put(page, records)
    assert page.read_text(encoding="utf-8") == "no marks"


def test_a_star_where_the_difference_holds(script: Script) -> None:
    """Twelve cases: all a little worse or better; all worse but for one far better."""
    names = ("masg-sam", "without HAE", "without BFE", "without DSF")
    records = [whole("modules", name, 0.5) for name in names]
    small = [0.1 + 0.001 * i for i in range(12)]
    changes = ([0.0] * 12, [-one for one in small], [0.49, *(-0.01 * one for one in small[1:])], small)
    for record, apart in zip(records, changes, strict=True):
        record["cases"] = {f"s{i}": {"left atrium": {"dice": 0.5 + change}} for i, change in enumerate(apart)}
    rows = script("short").ablation(records).splitlines()[2:]
    assert rows == [
        "| masg-sam | 0.500 |",
        "| without HAE | 0.500 (-0.106*) |",
        "| without BFE | 0.500 (+0.040) |",
        "| without DSF | 0.500 (+0.106*) |",
    ]


def test_a_star_needs_the_same_sign_with_every_seed(script: Script) -> None:
    """Better by 0.3 and by 0.1 over twelve cases; then by 0.3 and worse by 0.1, which still holds over the cases."""
    records, short = script("records"), script("short")
    for second, star in ((0.4, "*"), (0.6, "")):
        found = []
        for name, seed, dice in (("masg-sam", 0, 0.5), ("masg-sam", 1, 0.5), ("U-Net", 0, 0.2), ("U-Net", 1, second)):
            one = whole("modules", name, dice) | {"seed": seed}
            one["cases"] = {f"s{i}": {"left atrium": {"dice": dice + 0.001 * i * seed}} for i in range(12)}
            found.append(one)
        groups = records.grouped(found, "dataset", "method")
        pair = records.against_reference(groups, "la4", "dice")["U-Net"]
        assert pair.holds and records.holds(groups, "la4", "U-Net", pair, "dice") is (star == "*")
        assert f"{-pair.mean:+.3f}{star})" in short.ablation(found)


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


def test_all_was_scored_within_the_tolerance_of_its_dataset(script: Script) -> None:
    tables = script("tables")
    for one in script("records").read(tables.HERE / "results"):
        assert one.get("tolerance", 2.0) == tables.DATASETS[one["dataset"]].tolerance, "run.py --rescore"


def test_differences_are_paired_by_case_seed_and_class(script: Script) -> None:
    """A seed that only one of the two has says nothing, nor a class that one of them missed."""
    first = [record({"a": 0.8, "b": 0.6, "c": 0.5}), record({"a": 0.6, "b": 0.6, "c": 0.5}, seed=1)]
    second = [record({"b": 0.5, "a": 0.5, "c": None})]
    groups = {("la4", "masg-sam"): first, ("la4", "U-Net"): second, ("kvasir20", "U-Net"): second}
    records = script("records")
    found = records.against_reference(groups, "la4", "dice")
    assert found.keys() == {"U-Net"}
    assert found["U-Net"].cases == {"a": pytest.approx(0.3), "b": pytest.approx(0.1)}
    assert records.against_reference(groups, "la4", "dice", "y")["U-Net"].cases == {}
    assert records.against_reference(groups, "kvasir20", "dice") == {}


def test_differences_seed_by_seed(script: Script) -> None:
    """Seeds 0 and 2 are common: (0.1 + 0.3) / 2 and -0.1."""
    first = [record({"a": 0.8, "b": 0.6}, seed) for seed in (2, 1, 0)]
    second = [record({"a": 0.7, "b": 0.3}), record({"a": 0.9, "b": 0.7}, 2)]
    groups = {("la4", "masg-sam"): first, ("la4", "U-Net"): second}
    by_seed = script("records").seed_by_seed
    assert by_seed(groups, "la4", "U-Net") == [pytest.approx(0.2), pytest.approx(-0.1)]
    assert by_seed(groups, "la4", "without HAE") == []


def test_only_the_methods_of_a_dataset_are_corrected_together(script: Script) -> None:
    groups = {
        (dataset, method): [record({f"{i}": 0.5 + 0.01 * i * (method == "masg-sam") for i in range(1, 11)})]
        for dataset in ("la4", "kvasir20")
        for method in ("masg-sam", "U-Net", "plain decoder")
    }
    found = script("records").against_reference(groups, "la4", "dice")["U-Net"]
    assert found.tested == 2 and found.p_holm == pytest.approx(2 * found.p) == pytest.approx(2 * 2 / 2**10)


def test_the_worst_tenth_is_one_case_at_least(script: Script) -> None:
    worst = script("records").worst
    assert worst([record({"a": 0.8, "b": 0.6, "c": None}), record({"a": 0.4, "b": 0.8, "c": None}, seed=1)]) == (
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
        "confidence": None, "commit": "abc", "machine": "2 cores", "command": "masg-sam train la4 --out RUN --x 1",
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
    assert "| LA, 4 scans | masg-sam | 0 | 0.900 ± 0.900 | 0.900 | 2.0 ± 2.0 | 2.0 | 0 |" in text
    assert "| PROMISE12, 3 scans | masg-sam | 0 | 0.900" in text


def test_the_change_of_each_seed_stands_beside_the_mean(script: Script) -> None:
    runs = [whole("modules", "masg-sam", dice) | {"seed": seed} for seed, dice in enumerate((0.9, 0.8))]
    others = [whole("modules", "plain decoder", dice) | {"seed": seed} for seed, dice in enumerate((0.7, 0.9))]
    rows = script("tables").methods("title", "text", [*runs, *others, whole("modules", "U-Net", 0.5)]).splitlines()[-3:]
    assert "| 2 | 0.850 ± 0.071 | 0.850 | 2.0 ± 0.0 | 0.850 ± 0.071 | – | – |" in rows[0]
    assert "| +0.050 (+0.050 to +0.050) | +0.200, -0.100 | +0.0 (" in rows[1]
    assert "| +0.400 (+0.400 to +0.400) | – |" in rows[2]  # of one seed there is nothing to tell apart
    assert "| plain decoder | 0.800 ± 0.141 (-0.050) |" in script("short").ablation([*runs, *others])


def test_what_a_module_adds_by_itself_with_the_same_seeds(script: Script, tmp_path: Path) -> None:
    """Seed 0 is common: 0.8 - 0.7; the module's seed 1 and the other dataset's module have nothing beside them."""
    runs = [whole("modules", "BFE alone", 0.8), whole("modules", "BFE alone", 0.1) | {"seed": 1}]
    runs += [whole("modules", "without all three", 0.7), whole("modules", "HAE alone", 0.9) | {"dataset": "kvasir20"}]
    (row,) = script("tables").additions(runs).splitlines()[-1:]
    assert row.startswith("| LA, 4 scans | BFE alone | 1 | 0.700 | 0.800 | +0.100 (+0.100 to +0.100) |")
    for number, one in enumerate(runs):
        (tmp_path / "modules").mkdir(exist_ok=True)
        (tmp_path / "modules" / f"{number}.json").write_text(json.dumps(one), encoding="utf-8")
    script("tables").write(tmp_path, tmp_path / "out.md")
    assert row in (tmp_path / "out.md").read_text(encoding="utf-8")


def test_each_commit_is_named_once(script: Script) -> None:
    made = [{"commit": "a"}, {"commit": "a, b"}, {"commit": "b, c"}]
    assert script("records").commits(made) == "a, b, c"


def test_labels_are_counted_by_what_was_trained_on(script: Script, tmp_path: Path) -> None:
    """All of them too, which the record does not name by number; in the order of the numbers."""
    shots = {"all": (None, [f"s{i}" for i in range(20)], 0.8), "few": (5, [f"s{i}" for i in range(5)], 0.6)}
    for name, (number, cases, dice) in shots.items():
        made = whole("shots", "masg-sam", dice) | {"shots": number, "trained_on": cases}
        (tmp_path / "shots").mkdir(exist_ok=True)
        (tmp_path / f"shots/{name}.json").write_text(json.dumps(made), encoding="utf-8")
    rows = script("tables").shots("Labels", "", script("records").read(tmp_path)).splitlines()[-2:]
    assert [row.split(" | ")[2:] for row in rows] == [["5", "1", "0.600 |"], ["20", "1", "0.800 |"]]


def test_what_was_missed_is_counted(script: Script) -> None:
    records, tables = script("records"), script("tables")
    made = whole("defaults", "masg-sam", 0.9)
    made["cases"] = {
        "a": {"x": {"dice": 0.0, "hd95_mm": None}, "y": {"dice": None, "hd95_mm": None}},
        "b": {"x": {"dice": 0.8, "hd95_mm": 4.0}, "y": {"dice": 0.6, "hd95_mm": 6.0}},
    }
    assert records.without_distance([made, made]) == 2
    assert tables.scores_of([made], "hd95_mm") == [None, 5.0]
    assert tables.deviation(made) == pytest.approx(0.35)  # of 0 and 0.7 from 0.35


def test_classes_side_by_side(script: Script) -> None:
    """The first class better in all ten cases, the second worse in one and the same in nine."""
    ours, theirs = whole("modules", "masg-sam", 0.9), whole("modules", "without DSF", 0.9)
    scores = {"hd95_mm": 2.0, "surface_dice": 0.5}
    for one, far in ((ours, 0.0), (theirs, 0.1)):
        one["classes"] = {"x": {}, "y": {}}
        one["cases"] = {
            f"s{i}": {"x": {"dice": 0.9 - far - far * i / 100, **scores}, "y": {"dice": 0.5 + far * (i == 3), **scores}}
            for i in range(10)
        }
    another = {**ours, "seed": 1, "cases": {}}  # which has no partner
    another["cases"] = {case: {name: {"dice": 0.1, **scores} for name in "xy"} for case in ours["cases"]}
    rows = script("tables").classes("title", [ours, theirs, another]).splitlines()[-2:]
    assert rows[0].startswith("| LA, 4 scans | x | without DSF | 0.900 | 0.796 | +0.105 (+0.103 to +0.106)* | 10 / 0 |")
    assert "| 0.500 | 0.510 | -0.010 (" in rows[1] and "| 0 / 1 |" in rows[1]
