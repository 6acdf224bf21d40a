"""From stored voxel values to the range the network reads; fitted once and kept with the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from masg_sam.data.volume import Volume

SAM_MEAN, SAM_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
MOST_VOXELS = 200_000  # sampled from a volume when percentiles are taken
Kind = Literal["window", "scan", "colour"]


@dataclass(frozen=True)
class Intensity:
    """How the voxels of a volume become network input of about zero mean and unit deviation.

    Attributes:
        kind: ``window`` clips to fixed stored values and scales by the training set's mean and deviation (CT:
            the values mean the same in every scan); ``scan`` takes clip, mean and deviation from each
            volume's own non-background voxels (MR, X-ray, ultrasound, grey pictures); ``colour`` is SAM's own
            normalisation of 8-bit RGB.
        low, high: the window, one value a channel.
        mean, std: of the voxels inside it, one value a channel.
    """

    kind: Kind
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __call__(self, data: np.ndarray) -> np.ndarray:
        """Normalise ``C x Z x Y x X``; float32 in and out."""
        if self.kind == "colour":
            return _scale(data, np.array(SAM_MEAN), np.array(SAM_STD))
        if self.kind == "window":
            low, high = np.array(self.low, np.float32), np.array(self.high, np.float32)
            clipped = np.clip(data, low[:, None, None, None], high[:, None, None, None])
            return _scale(clipped, np.array(self.mean), np.array(self.std))
        return np.stack([_own_range(channel) for channel in data])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Intensity:
        """The inverse of :meth:`to_dict`."""
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def fit_intensity(cases: Iterable[tuple[Volume, np.ndarray]], modality: str) -> Intensity:
    """Choose the kind from the modality and fit what it needs.

    The window of CT spans the 0.5 and 99.5 percentile of the labelled voxels of all cases, as nnU-Net does
    (Isensee et al., Nature Methods 2021).

    Args:
        cases: volumes with their encoded labels ``Z x Y x X``.
        modality: ``CT``, ``MRI``, ``endoscopy`` ...
    """
    iterator = iter(cases)
    first = next(iterator)
    if first[0].is_picture and first[0].data.shape[0] == 3:
        return Intensity("colour")
    if not is_ct(modality):
        return Intensity("scan")
    return _fit_window(_chain(first, iterator))


def is_ct(modality: str) -> bool:
    """Whether a modality's name says computed tomography."""
    return modality.strip().lower() in ("ct", "cbct", "computed tomography", "cect", "ldct")


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _fit_window(cases: Iterable[tuple[Volume, np.ndarray]]) -> Intensity:
    samples: list[list[np.ndarray]] = []
    rng = np.random.default_rng(0)
    for volume, label in cases:
        inside = label > 0
        if not inside.any():
            continue
        values = volume.data[:, inside]
        keep = rng.permutation(values.shape[1])[:MOST_VOXELS]
        samples.append([channel[keep] for channel in values])
    channels = [np.concatenate(parts) for parts in zip(*samples, strict=True)]
    low, high = zip(*(np.percentile(c, (0.5, 99.5)) for c in channels), strict=True)
    inside = [np.clip(c, a, b) for c, a, b in zip(channels, low, high, strict=True)]
    return Intensity(
        "window",
        tuple(float(v) for v in low),
        tuple(float(v) for v in high),
        tuple(float(c.mean()) for c in inside),
        tuple(max(float(c.std()), 1e-3) for c in inside),
    )


def _own_range(channel: np.ndarray) -> np.ndarray:
    """Clip to the 0.5 and 99.5 percentile of what is not background, then standardise by the same voxels."""
    stride = max(1, channel.size // MOST_VOXELS)
    sample = channel.ravel()[::stride]
    background = sample.min()
    inside = sample[sample > background] if (sample > background).any() else sample
    low, high = np.percentile(inside, (0.5, 99.5))
    inside = np.clip(inside, low, high)
    scaled = np.clip(channel, min(low, background), high)
    return ((scaled - inside.mean()) / max(float(inside.std()), 1e-6)).astype(np.float32)


def _scale(data: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    shape = (-1, 1, 1, 1)
    return ((data - mean.reshape(shape)) / std.reshape(shape)).astype(np.float32)
