from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from masg_sam.data.task import Task
from masg_sam.data.volume import Geometry, Volume
from masg_sam.errors import CheckpointError
from masg_sam.files import parse
from masg_sam.inference.familiarity import Familiarity
from masg_sam.inference.quality import Calibration, Quality, label_next, read_quality
from masg_sam.inference.signals import NAMES, Agreement, Certainty, Signals

Make = Callable[..., Task]
FAMILIAR = Familiarity(((1.0, 1.0),) * 3, ((-9.0, 9.0),) * 5, (0.0, 0.0), (1.0, 1.0), 2.0)


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def points(values: list[float], **others: float) -> list[dict[str, float]]:
    return [dict.fromkeys(NAMES, math.nan) | {"soft_dice": value} | others for value in values]


def signals(voxels: list[list[float]], probability: float = 0.9) -> Signals:
    """Slices x classes of voxels, each found with one probability."""
    count = np.array(voxels, float)
    sure = Certainty(count, count * probability, count * probability, count, count * 0.1)
    same = Agreement(count, count, count)
    return Signals(sure, same, None, np.full(count.shape[1], np.nan), np.zeros(2), tuple(range(len(count))))


def scan(spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Volume:
    data = np.random.default_rng(0).normal(size=(1, 4, 8, 8)).astype(np.float32)
    return Volume(data, spacing, np.eye(4), Geometry("array", (4, 8, 8), None), Path("x"))


def fit(signals: list[dict[str, float]], dice: list[float]) -> Calibration:
    """Of one class."""
    return Calibration.fit(signals, dice, [0] * len(dice), 1)


def test_a_line_through_logits_is_found_again() -> None:
    """Signals with logits -1, 0, 1 and a Dice that follows half of them: slope half the spread, no error."""
    values = [1 / (1 + math.exp(-x)) for x in (-1, 0, 1)]
    dice = [1 / (1 + math.exp(-(0.3 + x / 2))) for x in (-1, 0, 1)]
    fitted = fit(points(values), dice)
    spread = math.sqrt(2 / 3)
    assert fitted.scales["soft_dice"].centre == pytest.approx((0,)) and fitted.scales[
        "soft_dice"
    ].spread == pytest.approx(spread)
    assert fitted.slope == pytest.approx(spread / 2) and fitted.offset == pytest.approx((0.3,))
    assert fitted.cases == 3 and fitted.error == pytest.approx(0, abs=1e-9)
    assert fitted.expect(points([values[2]])[0], 0) == pytest.approx(dice[2])


def test_better_signals_never_mean_a_worse_mask() -> None:
    fitted = fit(points([0.2, 0.5, 0.8]), [0.9, 0.5, 0.1])
    expected = [fitted.expect(point, 0) for point in points([0.1, 0.5, 0.9])]
    assert expected == sorted(expected) and expected[0] < expected[-1]


def test_signals_that_do_not_vary_say_nothing() -> None:
    fitted = fit(points([0.2, 0.5, 0.8], kept=1.0), [0.3, 0.5, 0.9])
    assert set(fitted.scales) == {"soft_dice"}
    assert fitted.expect(points([0.5], kept=0.1)[0], 0) == fitted.expect(points([0.5])[0], 0)


def test_signals_weigh_what_they_explain() -> None:
    """Dice follows one signal, hardly another and falls with the third."""
    up = [-1.0, 0.0, 1.0]
    rows = [
        points([sigmoid(a)], edge=sigmoid(b), steady=sigmoid(-a))[0] for a, b in zip(up, [-1.0, 1.0, 0.0], strict=True)
    ]
    fitted = fit(rows, [sigmoid(a) for a in up])
    weights = {name: scale.weight for name, scale in fitted.scales.items()}
    assert weights == pytest.approx({"soft_dice": 1, "edge": 0.25, "steady": 0})  # correlations 1, 1/2 and -1
    spread = math.sqrt(2 / 3)
    some = points([sigmoid(0.4)], edge=sigmoid(-0.8), steady=0.99)[0]
    z = (1 * 0.4 / spread + 0.25 * -0.8 / spread) / 1.25
    assert fitted.expect(some, 0) == pytest.approx(sigmoid(fitted.offset[0] + fitted.slope * z))
    unknown = points([math.nan], steady=0.99)[0]
    assert fitted.expect(unknown, 0) == pytest.approx(sigmoid(fitted.offset[0]))


def test_one_mask_gives_its_own_dice_to_all() -> None:
    fitted = fit(points([0.7]), [0.8])
    assert fitted.expect(points([0.3])[0], 0) == pytest.approx(0.8)


def test_a_thin_class_is_not_measured_by_a_thick_one() -> None:
    """Signals of one class lie low and of the other high, at the same Dice; within each, the better is the better."""
    thin, thick = points([0.3, 0.35, 0.4] * 20), points([0.9, 0.92, 0.94] * 20)
    dice = [0.7, 0.75, 0.8] * 40
    fitted = Calibration.fit([*thin, *thick], dice, [0] * 60 + [1] * 60, 3)
    expected = [fitted.expect(one, k) for k, some in enumerate((thin, thick)) for one in some[:3]]
    assert expected == pytest.approx(dice[:6], abs=0.03)
    assert fitted.error < 0.03
    own = [np.mean([logit(one["soft_dice"]) for one in some]) for some in (thin, thick)]
    drawn = [(60 * mean + 4 * np.mean(own)) / 64 for mean in own]
    assert fitted.scales["soft_dice"].centre == pytest.approx((*drawn, np.mean(own)))
    standing = (logit(0.92) - drawn[1]) / fitted.scales["soft_dice"].spread
    line = fitted.offset[1] + fitted.slope * standing
    assert fitted.expect(thick[1], 1) == pytest.approx(1 / (1 + math.exp(-line)))
    pooled = fit([*thin, *thick], dice)
    assert pooled.error > fitted.error
    unseen = fitted.expect(points([0.7])[0], 2)  # the mean of all
    assert 0.7 < unseen < 0.8


def test_few_masks_say_little_of_a_class() -> None:
    """One mask of class 1 at 0.9 among twelve of class 0 at 0.5: (0.9's logit + 4 times the mean's) / 5."""
    fitted = Calibration.fit(points([0.5] * 13), [0.5] * 12 + [0.9], [0] * 12 + [1], 2)
    mean = logit(0.9) / 13
    assert fitted.offset == pytest.approx((4 * mean / 16, (logit(0.9) + 4 * mean) / 5))


def test_perfect_and_hopeless_masks_stay_finite() -> None:
    fitted = fit(points([0.0, 1.0]), [0.0, 1.0])
    assert 0 < fitted.expect(points([0.0])[0], 0) < fitted.expect(points([1.0])[0], 0) < 1


def quality(always: tuple[bool, ...]) -> Quality:
    return Quality(fit(points([0.5, 0.9]), [0.4, 0.9]), FAMILIAR, always)


def test_a_class_that_was_always_there_and_is_not_found() -> None:
    model = quality((True, True, False))
    expected = model.expected_dice(signals([[5, 0, 0]]))
    assert expected[0] == pytest.approx(0.95, abs=0.02) and expected[1:] == (0.0, None)


def test_warnings_name_the_class(make_task: Make) -> None:
    said = quality((True, True)).warnings(scan(), signals([[5, 0]], probability=0.4), make_task(2))
    assert len(said) == 2
    assert said[0].startswith("organ 1: a Dice of only about 0.") and said[1].startswith("organ 2 was not found")


def test_nothing_is_said_of_a_familiar_case(make_task: Make) -> None:
    assert quality((True,)).warnings(scan(), signals([[5]]), make_task(1)) == []


def test_quality_survives_json() -> None:
    model = quality((True, False))
    assert parse(Quality, json.loads(json.dumps(model.to_dict()))) == model


class Model:
    def __init__(self, facts: dict[str, object]) -> None:
        self.facts = facts


def test_a_model_that_was_not_calibrated_has_none() -> None:
    assert read_quality(Model({})) is None  # type: ignore[arg-type]


def test_damaged_facts_are_refused() -> None:
    with pytest.raises(CheckpointError, match="damaged"):
        read_quality(Model({"quality": {"calibration": {"slope": 1}}}))  # type: ignore[arg-type]


def test_slices_to_label_are_the_most_doubtful_and_lie_apart() -> None:
    voxels = np.ones((36, 1))
    inside = voxels.copy()
    for number, doubt in ((10, 0.9), (11, 0.8), (12, 0.7), (20, 0.6), (13, 0.5), (30, 0.1)):
        inside[number] -= doubt
    certainty = Certainty(voxels, inside, inside, voxels, voxels)
    assert label_next(certainty) == [10, 20, 13]


def test_where_all_is_sure_nothing_need_be_labelled() -> None:
    sure = np.ones((5, 2))
    assert label_next(Certainty(sure, sure, sure, sure, sure)) == []


def test_of_a_picture_there_is_one_slice() -> None:
    one = np.ones((1, 1))
    assert label_next(Certainty(one, 0.7 * one, one, one, one)) == [0]
