"""Sums over cases, and what is written of them."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from rich.console import Console

from masg_sam.errors import OutputError
from masg_sam.evaluation.metrics import METRICS, score
from masg_sam.evaluation.scores import CaseScores, Evaluation

LINE = (1.0, 1.0, 1.0)


def line(*places: int) -> np.ndarray:
    mask = np.zeros((1, 1, 12), bool)
    mask[0, 0, list(places)] = True
    return mask


@pytest.fixture
def evaluation() -> Evaluation:
    """Three cases, two classes. Dice of a: 1, 2/3, missed; of b: both empty, false alarm, 1."""
    a = [score(line(1), line(1), LINE), score(line(1, 2), line(1), LINE), score(line(), line(4), LINE)]
    b = [score(line(), line(), LINE), score(line(9), line(), LINE), score(line(3), line(3), LINE)]
    cases = [CaseScores(name, {"a": x, "b": y}) for name, x, y in zip(("p1", "p2", "p10"), a, b, strict=True)]
    return Evaluation(cases, 2.0, ["a note"])


def test_mean_is_over_cases_of_the_mean_over_defined_classes(evaluation):
    assert evaluation.values("dice") == pytest.approx([1, 1 / 3, 1 / 2])
    assert evaluation.to_json()["mean"]["dice"] == pytest.approx((1 + 1 / 3 + 1 / 2) / 3)
    assert evaluation.to_json()["median"]["dice"] == pytest.approx(1 / 2)
    assert evaluation.to_json()["sd"]["dice"] == pytest.approx(np.std([1, 1 / 3, 1 / 2], ddof=1))


def test_classes_with_counts_of_what_was_empty(evaluation):
    facts = evaluation.to_json()["classes"]
    assert facts["a"]["dice"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert facts["b"]["dice"] == pytest.approx(1 / 2)  # the one that is empty in both is left out
    assert (facts["a"]["n"]["dice"], facts["b"]["n"]["dice"], facts["a"]["n"]["hd95_mm"]) == (3, 2, 2)
    assert facts["a"]["counts"] == {
        "both_present": 2,
        "both_empty": 0,
        "only_prediction": 0,
        "missed": 1,
        "lesions_found": 2,
        "lesions_missed": 1,
        "lesions_false": 0,
    }
    assert facts["b"]["counts"]["only_prediction"] == facts["b"]["counts"]["both_empty"] == 1


def test_a_missed_class_has_no_distance(evaluation):
    missed = evaluation.to_json()["cases"][2]["classes"]["a"]
    assert missed["dice"] == 0
    assert [missed[key] for key in ("hd95_mm", "hd_mm", "assd_mm", "precision")] == [None] * 4


def test_json_is_strict_and_survives_the_way_there_and_back(evaluation, tmp_path):
    facts = evaluation.to_json()
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert {"mean", "classes", "cases"} <= facts.keys()
    assert set(facts["mean"]) == set(METRICS)
    assert [case["case"] for case in facts["cases"]] == ["p1", "p2", "p10"]
    evaluation.write_json(tmp_path / "new" / "scores.json")
    assert json.loads((tmp_path / "new" / "scores.json").read_text(encoding="utf-8")) == facts


def test_csv_has_a_row_for_each_case_and_class(evaluation, tmp_path):
    evaluation.write_csv(tmp_path / "scores.csv")
    with open(tmp_path / "scores.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["case"], row["class"]) for row in rows] == [
        (case, name) for case in ("p1", "p2", "p10") for name in "ab"
    ]
    assert float(rows[2]["dice"]) == pytest.approx(2 / 3)
    assert (rows[4]["state"], rows[4]["dice"], rows[4]["hd95_mm"]) == ("missed", "0.0", "")
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


def test_nothing_is_left_where_writing_fails(evaluation, tmp_path):
    (tmp_path / "scores.csv").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        evaluation.write_csv(tmp_path / "scores.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OutputError):
        evaluation.write_json(tmp_path / "file" / "scores.json")
    assert (tmp_path / "file").read_text() == "kept"


def test_worst_cases_come_lowest_first(evaluation):
    assert evaluation.worst(2) == [("p2", pytest.approx(1 / 3)), ("p10", pytest.approx(1 / 2))]
    assert evaluation.to_json()["worst"][0]["case"] == "p2"


def shown(evaluation: Evaluation) -> str:
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(evaluation.table())
    return console.export_text()


def test_table_for_the_terminal(evaluation):
    text = shown(evaluation)
    assert "0.556 ± 0.509" in text  # class a
    assert "0.611 ± 0.347" in text  # all
    assert "a: missed in 1 of 3 cases" in text
    assert "b: both empty in 1, only prediction in 1 of 3 cases" in text
    assert "3 cases: mean ± sd; surface Dice within 2 mm" in text
    assert "HD95 mm" in text and "95 % interval" in text and "a note" in text
    assert "lowest Dice" not in text  # three cases are on the table's own scale


def test_table_lists_the_worst_of_many_and_leaves_out_what_is_undefined(evaluation):
    empty = CaseScores("p0", {name: score(line(), line(), LINE) for name in "ab"})
    more = Evaluation([*evaluation.cases, empty], 2.0, unit="pixels")
    assert "lowest Dice: p2 0.333, p10 0.500, p1 1.000" in shown(more)
    assert "HD95 pixels" in shown(more)


def test_table_of_one_case_where_nothing_is_defined():
    empty = score(line(), line(), LINE)
    text = shown(Evaluation([CaseScores("p", {"[red]a": empty})], 2.0))
    assert "–" in text and "1 case:" in text and "[red]a" in text
    assert " all " not in text
