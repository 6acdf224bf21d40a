"""Whether a case looks like those the model was trained on: voxel size, intensities, features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from masg_sam.data.borders import content_box
from masg_sam.data.intensity import even_stride
from masg_sam.data.task import Task
from masg_sam.data.volume import Volume
from masg_sam.inference.signals import Signals

LEVELS = (5, 25, 50, 75, 95)  # percentiles of the normalised intensities
MOST_VOXELS = 100_000
SPACING_FACTOR = 1.5  # voxels this much finer or coarser than any in training are worth a warning
INTENSITY_MARGIN = 0.5  # standard deviations of the normalised intensities
FEATURE_MARGIN = 1.5  # times the largest distance among the calibration cases
FEWEST = 8  # of these, to tell how far they spread
AXES = ("Z", "Y", "X")


@dataclass(frozen=True)
class Familiarity:
    """The ranges of the training cases.

    Attributes:
        spacing: least and largest voxel size in mm, along ``Z, Y, X``; empty for pictures.
        intensity: least and largest of five percentiles of the normalised intensities.
        centre, spread: of the image embedding over the calibration cases, ``2 D`` each.
        limit: largest distance from the centre that is familiar; ``None`` where too few cases tell.
    """

    spacing: tuple[tuple[float, float], ...]
    intensity: tuple[tuple[float, float], ...]
    centre: tuple[float, ...]
    spread: tuple[float, ...]
    limit: float | None

    @classmethod
    def fit(
        cls,
        spacings: Sequence[tuple[float, float, float]],
        percentiles: Sequence[np.ndarray],
        embeddings: Sequence[np.ndarray],
    ) -> Familiarity:
        """Take the ranges of the training cases.

        Args:
            spacings: mm along ``Z, Y, X``; empty for pictures.
            percentiles: of each case, as :func:`intensity_percentiles` gives them.
            embeddings: of cases and changed cases, ``2 D`` each.
        """
        table = np.array(embeddings)
        centre, spread = table.mean(0), table.std(0) + 1e-3
        distances = [_distance(row, centre, spread) for row in table]
        return cls(
            _ranges(np.array(spacings)) if spacings else (),
            _ranges(np.array(percentiles)),
            tuple(centre.round(5).tolist()),
            tuple(spread.round(5).tolist()),
            round(FEATURE_MARGIN * max(distances), 4) if len(table) >= FEWEST else None,
        )

    def distance(self, embedding: np.ndarray) -> float:
        """Of an image embedding from the training cases, in standard deviations."""
        return _distance(embedding, np.array(self.centre), np.array(self.spread))

    def warnings(self, volume: Volume, signals: Signals, task: Task) -> list[str]:
        """What of a case lies outside of the training cases, one sentence each."""
        notes = []
        if self.spacing and not volume.is_picture:
            notes += self._spacing_warnings(volume.spacing)
        found = intensity_percentiles(volume, task)
        apart = [max(low - value, value - high) for (low, high), value in zip(self.intensity, found, strict=True)]
        if max(apart) > INTENSITY_MARGIN:
            level = LEVELS[int(np.argmax(apart))]
            low, high = self.intensity[int(np.argmax(apart))]
            notes.append(
                f"intensities are unlike the training cases': their {level}th percentile, normalised, is "
                f"{found[int(np.argmax(apart))]:.2f}; {low:.2f} to {high:.2f} in training"
            )
        distance = self.distance(signals.embedding)
        if self.limit is not None and distance > self.limit:
            notes.append(
                f"image features are unlike the training cases': distance {distance:.1f}, at most {self.limit:.1f} "
                "is familiar; another region, sequence or scanner?"
            )
        return notes

    def _spacing_warnings(self, spacing: tuple[float, float, float]) -> list[str]:
        return [
            f"voxels of {mm:.2f} mm along {axis}; {low:.2f} to {high:.2f} mm in training"
            for axis, mm, (low, high) in zip(AXES, spacing, self.spacing, strict=True)
            if mm > SPACING_FACTOR * high or mm < low / SPACING_FACTOR
        ]


def intensity_percentiles(volume: Volume, task: Task) -> np.ndarray:
    """Five percentiles of the normalised intensities, without a picture's black frame; mean over the channels."""
    rows, columns = content_box(volume, task.in_colour)
    inside = volume.data[..., rows, columns]
    stride = even_stride(inside.shape[1:], MOST_VOXELS)
    sampled = inside.reshape(len(inside), -1)[:, None, None, ::stride]  # C x 1 x 1 x N
    return np.percentile(task.intensity(sampled)[:, 0, 0], LEVELS, axis=1).mean(1)


def _distance(embedding: np.ndarray, centre: np.ndarray, spread: np.ndarray) -> float:
    return float(np.sqrt(np.mean(((embedding - centre) / spread) ** 2)))


def _ranges(table: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Least and largest of each column."""
    low, high = table.min(0).round(4).tolist(), table.max(0).round(4).tolist()
    return tuple(zip(low, high, strict=True))
