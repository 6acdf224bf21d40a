"""What compare is given, and what it draws and writes."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masg_sam import api
from masg_sam.errors import ConfigError, InputError, OutputError
from masg_sam.evaluation.compare import compare, write_csv
from masg_sam.evaluation.methods import evaluate_methods, name_methods
from masg_sam.evaluation.metrics import score
from masg_sam.evaluation.plots import write_plot
from masg_sam.evaluation.scores import CaseScores, Evaluation

POINT = np.ones((1, 1, 1), bool)


def evaluation(shift: float = 0.0, cases: int = 8) -> Evaluation:
    """Two classes; the second has no HD95 in the first case."""
    perfect = score(POINT, POINT, (1.0, 1.0, 1.0))
    found = []
    for i in range(cases):
        a = replace(perfect, dice=0.6 + 0.01 * i + shift, hd95_mm=3.0 - shift * i)
        found.append(CaseScores(f"p{i}", {"a": a, "b": replace(perfect, hd95_mm=None if i == 0 else 1.0)}))
    return Evaluation(found, 2.0, ["a note"])


def test_json_and_back(tmp_path):
    before = evaluation()
    before.write_json(tmp_path / "e.json")
    assert Evaluation.read_json(tmp_path / "e.json") == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda facts: [],
        lambda facts: facts | {"cases": []},
        lambda facts: {k: v for k, v in facts.items() if k != "tolerance_mm"},
        lambda facts: facts | {"cases": [facts["cases"][0], {"case": "x", "classes": {}}]},
        lambda facts: facts | {"cases": [{"case": "x", "classes": {"a": {"dice": "high"}}}]},
    ],
)
def test_other_files_are_refused(tmp_path, damage):
    path = tmp_path / "e.json"
    path.write_text(json.dumps(damage(evaluation().to_json())))
    with pytest.raises(InputError) as caught:
        Evaluation.read_json(path)
    assert caught.value.path == path and caught.value.mend


def test_no_json_at_all(tmp_path):
    (tmp_path / "e.json").write_bytes(b"\x00{")
    with pytest.raises(InputError, match="no evaluation"):
        Evaluation.read_json(tmp_path / "e.json")


def test_names_of_methods(tmp_path):
    for one in ("x/masks", "y/masks", "y/other"):
        (tmp_path / one).mkdir(parents=True)
    paths = [str(tmp_path / one) for one in ("x/masks", "y/masks", "y/other")]
    assert list(name_methods(paths)) == ["x/masks", "y/masks", "other"]
    assert list(name_methods([f"new={paths[0]}", paths[1]])) == ["new", "masks"]
    assert name_methods([f"new={paths[0]}"])["new"] == Path(paths[0])


def test_a_path_with_an_equals_sign(tmp_path):
    (tmp_path / "lr=1").mkdir()
    assert name_methods([str(tmp_path / "lr=1")]) == {"lr=1": tmp_path / "lr=1"}


def test_a_dot_in_the_name_of_a_folder_is_no_ending(tmp_path):
    assert list(name_methods(["m_v1.0", "m_v1.1", "scores.json"])) == ["m_v1.0", "m_v1.1", "scores"]


def test_two_methods_of_one_name():
    with pytest.raises(ConfigError, match="two methods of one name"):
        name_methods(["a=x", "a=y"])


def test_masks_need_labels(tmp_path):
    with pytest.raises(InputError, match="no labels to compare"):
        evaluate_methods({"a": tmp_path}, None)


def test_one_class_alone():
    found = compare({"new": evaluation(0.1), "old": evaluation()}, "dice", "a")
    assert found.title == "Dice, a"
    assert found.pairs[0].mean == pytest.approx(0.1)
    assert found.in_words()[0].startswith("new is better than old in Dice of a: +0.1 ")
    assert compare({"new": evaluation(0.1), "old": evaluation()}, "dice", "b").pairs[0].mean == 0


def test_csv(tmp_path):
    methods = {"new": evaluation(0.1), "old": evaluation(), "older": evaluation(-0.1)}
    write_csv([compare(methods, "dice"), compare(methods, "hd95_mm", "b")], tmp_path / "c.csv")
    rows = list(csv.DictReader((tmp_path / "c.csv").open()))
    assert [(row["metric"], row["class"], row["first"]) for row in rows] == [
        *[("dice", "all", "new"), ("dice", "all", "new"), ("dice", "all", "old")],
        *[("hd95_mm", "b", "new"), ("hd95_mm", "b", "new"), ("hd95_mm", "b", "old")],
    ]
    assert float(rows[0]["difference"]) == pytest.approx(0.05)  # the mean over the two classes
    assert (rows[3]["undefined"], rows[3]["holds"], rows[3]["cases"]) == ("0", "False", "7")  # missed by all in one


def test_plot(tmp_path):
    methods = {"new": evaluation(0.1), "old": evaluation()}
    write_plot([compare(methods, "dice"), compare(methods, "hd95_mm")], tmp_path / "p.png")
    picture = np.asarray(Image.open(tmp_path / "p.png").convert("RGB")).astype(int)
    blue = np.abs(picture - (0x00, 0x72, 0xB2)).max(-1) < 8
    assert picture.shape[0] > 400 and blue.sum() > 200
    assert sorted(item.name for item in tmp_path.iterdir()) == ["p.png"]


def test_plot_of_nothing_defined(tmp_path):
    one = compare({"a": evaluation(cases=1), "b": evaluation(cases=1)}, "hd95_mm", "b")
    write_plot([one], tmp_path / "p.svg")
    assert (tmp_path / "p.svg").read_text().count("<svg") == 1


def test_plot_of_another_kind(tmp_path):
    with pytest.raises(OutputError, match="no picture"):
        write_plot([compare({"a": evaluation(), "b": evaluation()})], tmp_path / "p.docx")


def test_a_call_that_compares_nothing_evaluates_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("masg_sam.evaluation.methods.evaluate", lambda *_, **__: pytest.fail("evaluated"))
    with pytest.raises(ConfigError, match="metric") as caught:
        api.compare({"a": tmp_path}, tmp_path, metrics=["dice", "dicee"])
    assert caught.value.found == "dicee"
    for methods in ({}, {"a": tmp_path}):
        with pytest.raises(InputError, match="nothing to compare"):
            api.compare(methods, tmp_path)


def test_a_dollar_sign_in_a_name_is_drawn(tmp_path):
    write_plot([compare({"a$_{1$": evaluation(0.1), "b": evaluation()}, "dice")], tmp_path / "p.png")
    assert (tmp_path / "p.png").exists()
