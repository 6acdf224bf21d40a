"""Fewer labelled cases, fewer labelled slices."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np

Script = Callable[[str], ModuleType]


def test_fewer_labels_are_drawn_by_the_seed(script: Script, data: Path, tmp_path: Path) -> None:
    studies, subsets = script("studies"), script("subsets")
    drawn = []
    for seed in range(8):
        place = subsets.few_labels(
            studies.Run("shots", "la4", "masg-sam", seed, shots=2), data / "la4", tmp_path / str(seed)
        )
        drawn.append(tuple(sorted(path.name for path in (place / "labelsTr").iterdir())))
        assert len(list((place / "imagesTr").iterdir())) == 2
    assert all(len(names) == 2 for names in drawn) and len(set(drawn)) > 1


def test_all_labels_are_the_dataset_itself(script: Script, data: Path, tmp_path: Path) -> None:
    one = script("studies").Run("defaults", "la4", "masg-sam", 0)
    assert script("subsets").few_labels(one, data / "la4", tmp_path / "none") == data / "la4"
    assert not (tmp_path / "none").exists()


def test_sparse_labels_keep_every_nth_slice(script: Script, data: Path, tmp_path: Path) -> None:
    one = script("studies").Run("sparse", "la4", "masg-sam", 0, shots=1, every=5)
    place = script("subsets").few_labels(one, data / "la4", tmp_path / "sparse")
    (path,) = (place / "labelsTr").iterdir()
    kept, whole = (np.asarray(nib.load(folder / path.name).dataobj) for folder in (path.parent, data / "la4/labelsTr"))
    shown = [z for z in range(24) if not (kept[..., z] == 2).all()]
    assert shown == [2, 7, 12, 17, 22]
    assert np.array_equal(kept[..., shown], whole[..., shown])
    assert json.loads((place / "dataset.json").read_text())["labels"] == {"background": 0, "atrium": 1, "ignore": 2}
