"""The studies, cut down, on small data in the layouts of the real ones; and the tables by hand."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
from support import blobs, write_scan

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder's scripts import each other by name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in ("studies", "subsets", "trust", "tables"):
        sys.modules.pop(name, None)


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four labelled scans and three test scans, as LA lies on disk."""
    root = tmp_path / "data" / "la4"
    for part, count in (("Tr", 4), ("Ts", 3)):
        for i in range(count):
            image, label = blobs(i, shape=(40, 36, 24))
            write_scan(root / f"images{part}" / f"s{i}_0000.nii.gz", image)
            write_scan(root / f"labels{part}" / f"s{i}.nii.gz", label)
    facts = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "atrium": 1}, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(facts), encoding="utf-8")
    return root.parent


def run(data: Path, place: Path, *arguments: str) -> None:
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--data", str(data), "--datasets", "la4", "--quick"]
    folders = ["--work", str(place / "work"), "--results", str(place / "results")]
    result = subprocess.run([*command, *folders, *arguments], capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stderr


def test_quick_studies_and_their_tables(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path, "--study", "defaults", "shots", "sparse", "--methods", "masg-sam")
    run(data, tmp_path, "--study", "modules", "--methods", "masg-sam", "SAMed-style", "U-Net")
    results = tmp_path / "results"
    found = {f"{path.parent.name}/{path.stem}" for path in results.glob("*/*.json")}
    assert {"defaults/la4-masg-sam-0", "modules/la4-U-Net-0", "shots/la4-masg-sam-1-shots-0"} <= found
    assert {f"sparse/la4-masg-sam-1-shots-every-{n}-0" for n in (5, 10, 20)} <= found and len(found) == 1 + 3 + 3 + 3
    record = json.loads((results / "shots" / "la4-masg-sam-2-shots-0.json").read_text())
    assert len(record["trained_on"]) == 2 and len(record["cases"]) == 2 and record["quick"]
    assert record["train"]["minutes"] > 0 and record["train"]["peak_gb"] > 0.1

    before = {path: path.stat().st_mtime_ns for path in results.glob("*/*.json")}
    run(data, tmp_path, "--study", "modules", "--methods", "masg-sam", "U-Net")
    assert before == {path: path.stat().st_mtime_ns for path in results.glob("*/*.json")}

    out = tmp_path / "RESULTS.md"
    command = [sys.executable, str(BENCHMARKS / "tables.py"), "--results", str(results), "--out", str(out)]
    subprocess.run(command, check=True, timeout=120)
    text = out.read_text(encoding="utf-8")
    assert "| LA, 4 scans | U-Net | 1 |" in text and "every 20th slice" in text and "cut down" in text
    assert (tmp_path / "shots.svg").stat().st_size > 1000


def test_fewer_labels_are_drawn_by_the_seed(data: Path, tmp_path: Path) -> None:
    studies, subsets = script("studies"), script("subsets")
    drawn = []
    for seed in range(8):
        place = subsets.few_labels(
            studies.Run("shots", "la4", "masg-sam", seed, shots=2), data / "la4", tmp_path / str(seed)
        )
        drawn.append(tuple(sorted(path.name for path in (place / "labelsTr").iterdir())))
        assert len(list((place / "imagesTr").iterdir())) == 2
    assert all(len(names) == 2 for names in drawn) and len(set(drawn)) > 1


def test_all_labels_are_the_dataset_itself(data: Path, tmp_path: Path) -> None:
    one = script("studies").Run("defaults", "la4", "masg-sam", 0)
    assert script("subsets").few_labels(one, data / "la4", tmp_path / "none") == data / "la4"
    assert not (tmp_path / "none").exists()


def test_sparse_labels_keep_every_nth_slice(data: Path, tmp_path: Path) -> None:
    one = script("studies").Run("sparse", "la4", "masg-sam", 0, shots=1, every=5)
    place = script("subsets").few_labels(one, data / "la4", tmp_path / "sparse")
    (path,) = (place / "labelsTr").iterdir()
    kept, whole = (np.asarray(nib.load(folder / path.name).dataobj) for folder in (path.parent, data / "la4/labelsTr"))
    shown = [z for z in range(24) if not (kept[..., z] == 2).all()]
    assert shown == [2, 7, 12, 17, 22]
    assert np.array_equal(kept[..., shown], whole[..., shown])
    assert json.loads((place / "dataset.json").read_text())["labels"] == {"background": 0, "atrium": 1, "ignore": 2}


def test_every_study_names_what_exists() -> None:
    studies = script("studies")
    keys = [run.key + run.study for make in studies.STUDIES.values() for run in make([0, 1, 2])]
    assert len(set(keys)) == len(keys)
    for make in studies.STUDIES.values():
        for one in make([0, 3]):
            assert one.method in studies.METHODS and one.dataset in studies.DATASETS
            flags = one.flags()
            assert ("--training.seed" in flags) == (one.seed != 0)


def report(dice: dict[str, float]) -> dict[str, object]:
    return {"cases": [{"case": case, "classes": {"a": {"dice": value}}} for case, value in dice.items()]}


def test_confidence_by_hand(tmp_path: Path) -> None:
    """Five cases in the right order but for a swap of two neighbours; too high by 0.1 each."""
    true = {"a": 0.5, "b": 0.6, "c": 0.7, "d": 0.8, "e": 0.9}
    said = {"a": 0.6, "b": 0.8, "c": 0.7, "d": 0.9, "e": 1.0}
    lines = [json.dumps({"case": case, "expected_dice": {"a": value}}) for case, value in said.items()]
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    found = script("trust").confidence(tmp_path / "p.jsonl", report(true))
    assert found["spearman"] == pytest.approx(0.9) and found["cases"] == 5
    assert found["error"] == pytest.approx(0.1) and found["bias"] == pytest.approx(0.1)
    assert found["worst_fifth"] == 1.0


def test_no_confidence_without_expectations(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text(json.dumps({"case": "a", "expected_dice": {"a": None}}))
    assert script("trust").confidence(tmp_path / "p.jsonl", report({"a": 0.5})) is None


def record(dice: dict[str, float | None]) -> dict[str, object]:
    return {"cases": {case: {"x": {"dice": value}, "y": {"dice": None}} for case, value in dice.items()}}


def test_differences_are_paired_by_case_and_averaged_over_seeds() -> None:
    first = [record({"a": 0.8, "b": 0.6, "c": 0.5}), record({"a": 0.6, "b": 0.6, "c": 0.5})]
    second = [record({"b": 0.5, "a": 0.5, "c": None})]
    assert script("tables").paired(first, second, "dice") == [pytest.approx(0.2), pytest.approx(0.1)]


def test_metrics_beside_monai(data: Path) -> None:
    """Both sides agree on masks that are no copies of the labels; the times are not judged."""
    command = [
        sys.executable,
        str(BENCHMARKS / "metrics.py"),
        "--labels",
        str(data / "la4" / "labelsTs"),
        "--rounds",
        "1",
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    words = result.stdout.split()
    assert "MONAI" in words and float(words[-1]) < 1e-6
