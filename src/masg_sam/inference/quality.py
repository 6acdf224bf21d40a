"""Quality without labels: the Dice to expect, warnings, and the slices most worth labelling next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from masg_sam.data.task import Task
from masg_sam.data.volume import Volume
from masg_sam.errors import CheckpointError
from masg_sam.files import parse
from masg_sam.inference.familiarity import Familiarity
from masg_sam.inference.predictor import Predictor
from masg_sam.inference.segmentation import Segmentation
from masg_sam.inference.signals import NAMES, Certainty, Signals
from masg_sam.models.checkpoint import TrainedModel

NEAREST, FARTHEST = 0.01, 0.99  # signals and Dice are kept this far from 0 and 1, where a logit has no end
LEAST_SPREAD = 1e-3  # of a signal's logits; one that does not vary says nothing
PRIOR = 4  # masks of the mean kind that each class is taken to have had, for few masks say little of a class
FLAT, STEEP = 0.1, 3.0  # bounds of the slope: better signals never mean a worse mask
DOUBTFUL = 0.5  # an expected Dice below this is worth a warning
NEXT_SLICES = 3
APART = 12  # slices to label lie at least a 12th of the scan apart


@dataclass(frozen=True)
class Scale:
    """What a signal is measured by.

    Attributes:
        centre: of its logit, one a class.
        spread: of its logit, within classes.
        weight: the part of the variance of the Dice that it explains, within classes; 1 where none explains any.
    """

    centre: tuple[float, ...]
    spread: float
    weight: float


@dataclass(frozen=True)
class Calibration:
    """From signals to the Dice to expect: ``logit(Dice) = offset_k + slope * z``, for class k.

    ``z`` is the weighted mean of the signals' logits, each less its usual value for the class and by its usual spread:
    a thin structure has low signals where it is segmented well, and is not to be measured by a thick one's.

    Attributes:
        scales: of the signals, by name; those that do not vary are left out.
        offset: of the line, one a class.
        slope: of the line, the same for all classes.
        cases: number of class masks it was fitted on.
        error: mean absolute difference between expected and true Dice on them.
    """

    scales: dict[str, Scale]
    offset: tuple[float, ...]
    slope: float
    cases: int
    error: float

    @classmethod
    def fit(
        cls, signals: Sequence[dict[str, float]], dice: Sequence[float], classes: Sequence[int], count: int
    ) -> Calibration:
        """Fit on class masks whose labels are known.

        Args:
            signals: of each mask, by name; undefined ones are NaN.
            dice: true Dice of each mask.
            classes: index of each mask's class, from 0.
            count: classes there are; one without a mask gets the mean of all masks.
        """
        of = np.asarray(classes)
        target = _logit(np.asarray(dice, float))
        level = _class_means(target, of, count)
        worth = target - level[of]
        scales: dict[str, Scale] = {}
        for name in NAMES:
            logits = _logit(np.array([one[name] for one in signals], float))
            means = _class_means(logits, of, count)
            known = ~np.isnan(logits)
            apart = (logits - means[of])[known]
            if known.any() and np.std(apart) > LEAST_SPREAD:
                scales[name] = Scale(tuple(means.tolist()), float(np.std(apart)), _explained(worth[known], apart))
        if not any(scale.weight for scale in scales.values()):
            scales = {name: replace(scale, weight=1.0) for name, scale in scales.items()}
        z = np.array([_standing(one, k, scales) for one, k in zip(signals, classes, strict=True)])
        middle = _class_means(z, of, count)
        apart = z - middle[of]
        slope = float(np.clip((apart * worth).mean() / apart.var(), FLAT, STEEP)) if apart.var() > 0 else FLAT
        offset = level - slope * middle
        error = float(np.abs(_sigmoid(offset[of] + slope * z) - dice).mean())
        return cls(scales, tuple(offset.tolist()), slope, len(dice), error)

    def expect(self, signals: dict[str, float], k: int) -> float:
        """The Dice to expect of a mask of class ``k``, from 0, with these signals."""
        return float(_sigmoid(self.offset[k] + self.slope * _standing(signals, k, self.scales)))


@dataclass(frozen=True)
class Quality:
    """What a model knows about how far to trust it.

    Attributes:
        calibration: from signals to Dice.
        familiarity: what the training cases look like.
        always: for each class, whether every training label holds it.
    """

    calibration: Calibration
    familiarity: Familiarity
    always: tuple[bool, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def expected_dice(self, signals: Signals) -> tuple[float | None, ...]:
        """Of each class; of one that was not found 0 if every training label holds it, ``None`` if some lack it."""
        by_class = signals.by_class()
        found = signals.certainty.voxels.sum(0) > 0
        return tuple(
            round(self.calibration.expect({name: float(values[k]) for name, values in by_class.items()}, k), 4)
            if found[k]
            else (0.0 if always else None)
            for k, always in enumerate(self.always)
        )

    def warnings(self, volume: Volume, signals: Signals, task: Task) -> list[str]:
        """What a reader should know before trusting the mask, one sentence each."""
        notes = self.familiarity.warnings(volume, signals, task)
        expected = self.expected_dice(signals)
        for name, dice, voxels in zip(task.labels.names, expected, signals.certainty.voxels.sum(0), strict=True):
            if dice is not None and not voxels:
                notes.append(f"{name} was not found, though every training label holds it")
            elif dice is not None and dice < DOUBTFUL:
                notes.append(f"{name}: a Dice of only about {dice:.2f} is to be expected")
        return notes


@dataclass(frozen=True)
class Assessment:
    """What is said of a segmented case.

    Attributes:
        expected_dice: of each class; ``None`` where it cannot be said.
        warnings: one sentence each.
        label_next: slices most worth labelling, the most doubtful first.
    """

    expected_dice: tuple[float | None, ...]
    warnings: list[str]
    label_next: list[int]


def assess(quality: Quality | None, predictor: Predictor, volume: Volume, found: Segmentation) -> Assessment:
    """Ask the network again about a case, and say how far to trust its mask.

    Args:
        quality: of the model; ``None`` for one that was not calibrated: only the slices can be told then.
        predictor: that segmented the case.
        volume: the case.
        found: what the predictor returned for it.
    """
    if quality is None:
        return Assessment((None,) * len(found.confidence), [], label_next(found.certainty))
    signals = predictor.signals(volume, found)
    return Assessment(
        quality.expected_dice(signals),
        quality.warnings(volume, signals, predictor.task),
        label_next(found.certainty),
    )


def read_quality(model: TrainedModel) -> Quality | None:
    """What a model learned of itself; ``None`` for one that was not calibrated.

    Raises:
        CheckpointError: the facts are damaged.
    """
    facts = model.facts.get("quality")
    if facts is None:
        return None
    try:
        return parse(Quality, facts)
    except ValueError as error:
        raise CheckpointError(
            "what the model learned of its quality is damaged",
            found=error,
            mend="copy the whole folder again, or train again",
        ) from error


def label_next(certainty: Certainty) -> list[int]:
    """The slices most worth labelling: those with the most doubtful voxels, some slices apart from each other."""
    doubt = certainty.doubt()
    gap = max(1, len(doubt) // APART)
    chosen: list[int] = []
    for number in np.argsort(-doubt, kind="stable").tolist():
        if len(chosen) < NEXT_SLICES and doubt[number] > 0 and all(abs(number - other) >= gap for other in chosen):
            chosen.append(number)
    return chosen


def _standing(signals: dict[str, float], k: int, scales: dict[str, Scale]) -> float:
    """Weighted mean of the defined signals' logits, standardised for a class; 0, the middle, where nothing counts."""
    known = {name: scale for name, scale in scales.items() if scale.weight and not np.isnan(signals[name])}
    z = [(_logit(signals[name]) - scale.centre[k]) / scale.spread for name, scale in known.items()]
    return float(np.average(z, weights=[scale.weight for scale in known.values()])) if known else 0.0


def _explained(values: np.ndarray, by: np.ndarray) -> float:
    """Part of the variance that goes along with another, the squared correlation; 0 where one falls as the other rises.

    Where ``values`` do not vary nothing can be said, and 1 is returned.
    """
    if np.std(values) < LEAST_SPREAD:
        return 1.0
    return float(max(np.corrcoef(values, by)[0, 1], 0.0) ** 2)


def _class_means(values: np.ndarray, of: np.ndarray, count: int) -> np.ndarray:
    """Of each class, drawn towards the mean of all as if it had four values more that lie there; NaN are left out."""
    known = ~np.isnan(values)
    overall = values[known].mean() if known.any() else 0.0
    sums, numbers = (np.bincount(of[known], weights=w, minlength=count) for w in (values[known], np.ones(known.sum())))
    return (sums + PRIOR * overall) / (numbers + PRIOR)


def _logit(value: Any) -> Any:
    clipped = np.clip(value, NEAREST, FARTHEST)
    return np.log(clipped / (1 - clipped))


def _sigmoid(value: Any) -> Any:
    return 1 / (1 + np.exp(-value))
