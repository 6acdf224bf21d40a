"""Intensities that cannot be right, or are not what the other cases have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from masg_sam.data.check.cases import AIR_HU, CaseSummary
from masg_sam.data.check.findings import Finding, note, warning
from masg_sam.errors import ImageError

FEWEST = 3  # cases, before one of them can be far from the others
FAR_RANGE = 10  # times the usual width between the percentiles, or a part of it
AIR_PART = 0.01  # of the voxels below -300 says Hounsfield units
TISSUE_PART = 0.02  # of the voxels around 1024, and none below 0, says HU + 1024
HU, RAISED, NO_AIR = "Hounsfield units", "HU + 1024", "no air"
MESSAGES = {
    RAISED: "values like HU + 1024 (soft tissue near 1024, nothing below 0)",
    NO_AIR: f"CT with next to nothing below {AIR_HU:g} HU, where air is",
}
ADVICE = {
    RAISED: "subtract 1024",
    NO_AIR: "see whether it was windowed, scaled or cut to an organ, or whether it is no CT",
}


def constant_images(cases: Sequence[CaseSummary]) -> Iterator[Finding]:
    """An error for an image of one value with a label on it; a warning without, or for one channel."""
    for case in cases:
        if case.labelled and len(case.constant) == case.channels:
            error = ImageError(
                "an image of one value everywhere, with a label on it",
                path=case.path,
                found=f"{case.ranges[0][0]:g} in every voxel, {case.labelled} voxels labelled",
                expected="an image that shows what is labelled",
                mend="export the image again, or take the case out",
            )
            yield Finding.of(error, case.name)
        elif case.constant:
            where = ", ".join(f"channel {i + 1} is {case.ranges[i][0]:g}" for i in case.constant)
            message = f"{case.name}: {where} in every voxel"
            yield warning(case.name, message, "see whether the export failed, or take the case out")


def far_ranges(cases: Sequence[CaseSummary]) -> Iterator[Finding]:
    """Warnings of values far from those of the other cases, by the 1st and 99th percentile of each channel."""
    told = [case for case in cases if case.ranges]
    channels = min((len(case.ranges) for case in told), default=0)
    if len(told) < FEWEST:
        return
    for channel in range(channels):
        ranges = np.array([case.ranges[channel] for case in told])  # cases x 2
        usual = np.median(ranges, axis=0)
        for case, (low, high) in zip(told, ranges, strict=True):
            if channel not in case.constant and _is_far(low, high, usual):
                message = (
                    f"{case.name}: values from {low:.4g} to {high:.4g} are far from the usual "
                    f"{usual[0]:.4g} to {usual[1]:.4g}" + (f" in channel {channel + 1}" if channels > 1 else "")
                )
                yield warning(
                    case.name, message, "see whether it was scaled or windowed, and export it like the others"
                )


def hounsfield(cases: Sequence[CaseSummary]) -> Iterator[Finding]:
    """Of CT: a note where no image holds Hounsfield units, a warning of each that differs from most."""
    scales = [_scale(case) for case in cases]
    if not scales:
        return
    usual = Counter(scales).most_common(1)[0][0]
    if usual != HU:
        message = f"{MESSAGES[usual]} in {scales.count(usual)} of {len(scales)} images"
        yield note(None, message, f"{ADVICE[usual]}; images to segment must be prepared alike")
    for case, scale in zip(cases, scales, strict=True):
        if scale == HU and usual != HU:
            yield warning(case.name, f"{case.name}: Hounsfield units, unlike most images", "bring all to one scale")
        elif scale != usual:
            yield warning(case.name, f"{case.name}: {MESSAGES[scale]}, unlike most images", ADVICE[scale])


def _is_far(low: float, high: float, usual: np.ndarray) -> bool:
    width, usual_width = high - low, usual[1] - usual[0]
    if usual_width <= 0:
        return False
    apart = low > usual[1] or high < usual[0]
    return bool(apart or width > FAR_RANGE * usual_width or width * FAR_RANGE < usual_width)


def _scale(case: CaseSummary) -> str:
    if case.air > AIR_PART:
        return HU
    low = case.ranges[0][0] if case.ranges else 0.0
    return RAISED if low >= 0 and case.raised > TISSUE_PART else NO_AIR
