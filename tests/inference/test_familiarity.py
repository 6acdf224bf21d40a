from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from masg_sam.data.intensity import Intensity
from masg_sam.data.task import Task
from masg_sam.data.volume import Geometry, Volume
from masg_sam.files import parse
from masg_sam.inference import familiarity as module
from masg_sam.inference.familiarity import FEATURE_MARGIN, Familiarity, intensity_percentiles
from masg_sam.inference.signals import Agreement, Certainty, Signals

Make = Callable[..., Task]
CORNERS = [[0, 0], [2, 0], [0, 2], [2, 2]] * 2  # of a square: mean (1, 1), deviation 1 each


def scan(data: np.ndarray, spacing: tuple[float, float, float] = (2.0, 1.0, 1.0)) -> Volume:
    return Volume(data.astype(np.float32), spacing, np.eye(4), Geometry("array", data.shape[1:], None), Path("x"))


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 20, (1, 6, 20, 20))


def said(embedding: list[float]) -> Signals:
    none = np.zeros((1, 1))
    nothing = Agreement(none, none, none)
    return Signals(Certainty(none, none, none, none, none), nothing, None, none[0], np.array(embedding), (0,))


def fitted(task: Task) -> Familiarity:
    percentiles = [intensity_percentiles(scan(noise(seed)), task) for seed in (1, 2, 3)]
    spacings = [(2.0, 1.0, 1.0), (3.0, 1.2, 1.0)]
    return Familiarity.fit(spacings, percentiles, [np.array(v, float) for v in CORNERS])


def test_a_black_frame_is_no_part_of_the_intensities(make_task: Make) -> None:
    data = np.random.default_rng(0).uniform(60, 200, (3, 1, 100, 110))
    wide = np.pad(data, ((0, 0), (0, 0), (0, 0), (40, 50)))
    task = make_task(intensity=Intensity("colour"), pictures=True)
    found = [
        intensity_percentiles(Volume(one, (1.0, 1.0, 1.0), None, Geometry("picture", (), None), Path("x")), task)
        for one in (data, wide)
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_a_case_like_the_training_cases_is_familiar(make_task: Make) -> None:
    task = make_task()
    assert fitted(task).warnings(scan(noise(9)), said([1, 1]), task) == []


@pytest.mark.parametrize(("spacing", "axis"), [((5.0, 1.0, 1.0), "Z"), ((2.0, 0.6, 1.0), "Y"), ((2.0, 1.0, 1.6), "X")])
def test_other_voxel_sizes_are_told(make_task: Make, spacing: tuple[float, float, float], axis: str) -> None:
    task = make_task()
    (note,) = fitted(task).warnings(scan(noise(9), spacing), said([1, 1]), task)
    assert f"mm along {axis};" in note


def test_a_little_finer_or_coarser_is_no_matter(make_task: Make) -> None:
    task = make_task()
    assert fitted(task).warnings(scan(noise(9), (4.4, 0.7, 1.4)), said([1, 1]), task) == []


def test_other_intensities_are_told(make_task: Make) -> None:
    task = make_task()
    skewed = np.exp(np.random.default_rng(0).normal(0, 2.0, (1, 6, 20, 20)))
    (note,) = fitted(task).warnings(scan(skewed), said([1, 1]), task)
    assert note.startswith("intensities are unlike") and "in training" in note


def test_a_change_of_unit_is_no_change_for_a_scan_without_units(make_task: Make) -> None:
    task = make_task()
    np.testing.assert_allclose(
        intensity_percentiles(scan(noise()), task), intensity_percentiles(scan(7 * noise() + 50), task), atol=1e-4
    )


def test_distance_is_in_standard_deviations(make_task: Make) -> None:
    familiarity = fitted(make_task())  # centre (1, 1), deviation 1 each
    assert familiarity.distance(np.array([1.0, 1.0])) == 0
    assert familiarity.distance(np.array([4.0, 1.0])) == pytest.approx(3 / np.sqrt(2), rel=2e-3)
    assert familiarity.limit == pytest.approx(FEATURE_MARGIN, rel=2e-3)


def test_other_features_are_told(make_task: Make) -> None:
    task = make_task()
    (note,) = fitted(task).warnings(scan(noise(9)), said([5, 5]), task)
    assert note.startswith("image features are unlike")


def test_pictures_have_no_spacing(make_task: Make) -> None:
    task = make_task(pictures=True)
    familiarity = Familiarity.fit([], [np.zeros(5)], [np.zeros(2)])
    assert familiarity.spacing == () and not any(
        "mm" in note for note in familiarity.warnings(scan(noise()), said([0, 0]), task)
    )


def test_ranges_survive_json(make_task: Make) -> None:
    familiarity = fitted(make_task())
    assert parse(Familiarity, json.loads(json.dumps(asdict(familiarity)))) == familiarity


def test_few_cases_say_nothing_of_features(make_task: Make) -> None:
    """Seven cases lie too near to their own mean to tell how far others may."""
    task = make_task()
    percentiles = [intensity_percentiles(scan(noise(1)), task)]
    few = Familiarity.fit([(2.0, 1.0, 1.0)], percentiles, [np.array(v, float) for v in CORNERS[:7]])
    assert few.limit is None and few.warnings(scan(noise(1)), said([99, 99]), task) == []
    assert parse(Familiarity, json.loads(json.dumps(asdict(few)))) == few


def test_intensities_are_taken_from_all_columns(make_task: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40 x 64 x 64 voxels one in 64 would be of one column, were that the stride."""
    data = np.tile(np.arange(64.0), (1, 40, 64, 1))
    whole = intensity_percentiles(scan(data), make_task())
    monkeypatch.setattr(module, "MOST_VOXELS", 40 * 64)
    found = intensity_percentiles(scan(data), make_task())
    assert found == pytest.approx(whole, abs=0.1)
    assert found[-1] - found[0] > 2
