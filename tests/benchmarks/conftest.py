"""The scripts of `benchmarks/` as modules, small data in the layouts of the real ones, a recipe that takes seconds."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from support import blobs, write_scan

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder's scripts import each other by name, and are forgotten after each test."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCHMARKS)):
            del sys.modules[name]


@pytest.fixture
def script(scripts: None) -> Callable[[str], ModuleType]:
    """A script by its name."""
    return importlib.import_module


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four labelled scans, three test scans and three without labels, as LA lies on disk."""
    root = tmp_path / "data" / "la4"
    for part, count in (("Tr", 4), ("Ts", 3)):
        for i in range(count):
            image, label = blobs(i, shape=(40, 36, 24))
            write_scan(root / f"images{part}" / f"s{i}_0000.nii.gz", image)
            write_scan(root / f"labels{part}" / f"s{i}.nii.gz", label)
    for i in range(3):
        write_scan(root / "imagesUn" / f"u{i}_0000.nii.gz", blobs(i, shape=(40, 36, 24))[0])
    facts = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "atrium": 1}, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(facts), encoding="utf-8")
    return root.parent


@pytest.fixture
def recipe(tiny_sam: Path, tmp_path: Path) -> Path:
    """Runs that start from it take milliseconds a step and fetch nothing."""
    settings = {
        "model": {
            "encoder": {"name": "sam-vit-b", "weights": str(tiny_sam)},
            "dsf": {"text": "random"},
            "hae": {"width": 16},
        },
        "data": {"size": 64},
        "training": {"steps": 2, "batch_size": 2, "calibration": 1, "trackers": []},
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path
