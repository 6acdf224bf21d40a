"""Agreement between neighbouring slices, which the network sees one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

REACH = 2.5  # deviations on each side that the Gaussian is followed to


def smooth_slices(batches: Iterable[Tensor], sigma: float) -> Iterator[Tensor]:
    """Gaussian smoothing across slices, a few at a time; the outermost slices are repeated.

    Args:
        batches: consecutive slices, ``B x K x r x c``.
        sigma: in slices; below 0.2 nothing changes.

    Yields:
        The same slices in the same order, smoothed, in batches of other lengths. Memory holds one batch and the
        slices within reach.
    """
    radius = round(REACH * sigma)
    if radius < 1:
        yield from batches
        return
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    bell = torch.exp(-0.5 * (offsets / sigma) ** 2)
    weights: list[float] = (bell / bell.sum()).tolist()
    window: Tensor | None = None
    for batch in batches:
        before = batch[:1].expand(radius, *batch.shape[1:]) if window is None else window
        window = torch.cat([before, batch])
        ready = len(window) - 2 * radius
        if ready > 0:
            yield _blend(window, weights)
            window = window[ready:]
    if window is not None:
        yield _blend(torch.cat([window, window[-1:].expand(radius, *window.shape[1:])]), weights)


def _blend(window: Tensor, weights: list[float]) -> Tensor:
    ready = len(window) - len(weights) + 1
    found = (weight * window[i : i + ready] for i, weight in enumerate(weights))
    return sum(found, start=window.new_zeros(()))
