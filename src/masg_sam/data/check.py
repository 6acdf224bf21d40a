"""What is looked at before training: every case is read once, and what cannot be used is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from masg_sam.data.io import merge_channels, read_image, read_label, same_grid
from masg_sam.data.labels import LabelMap, fit_label_map
from masg_sam.data.layouts import Case, Dataset
from masg_sam.data.volume import Volume
from masg_sam.errors import ImageError, LayoutError

AIR_HU, CT_LEAST = -300.0, 0.01  # this part of the voxels below -300 says Hounsfield units


@dataclass(frozen=True)
class Finding:
    """Something a user should know.

    Attributes:
        level: ``warning`` or ``note``.
        case: where; ``None`` for the whole set.
        message: one sentence.
    """

    level: Literal["warning", "note"]
    case: str | None
    message: str


@dataclass(frozen=True)
class CaseSummary:
    """What planning needs to know of a case.

    Attributes:
        name: of the case.
        shape: voxels along ``Z, Y, X``.
        spacing: mm along ``Z, Y, X``.
        channels: image channels.
        picture: whether it is a 2-D picture.
        labelled: labelled voxels.
        air: part of the voxels below -300, which only Hounsfield units reach.
    """

    name: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    channels: int
    picture: bool
    labelled: int
    air: float


@dataclass
class TrainingCheck:
    """What the check found.

    Attributes:
        label_map: what the label values mean.
        cases: one summary a case.
        findings: warnings and notes.
    """

    label_map: LabelMap
    cases: list[CaseSummary]
    findings: list[Finding] = field(default_factory=list)


def read_case(case: Case) -> tuple[Volume, Volume]:
    """Read image and label of a training case, and make sure that they fit.

    Raises:
        InputError: unreadable, not on one grid, or no label.
    """
    image = merge_channels([read_image(path) for path in case.images])
    if case.label is None:
        raise LayoutError("no label for this case", path=case.images[0], mend="add it, or take the image out")
    label = read_label(case.label)
    same_grid(image, label)
    return image, label


def check_training(dataset: Dataset) -> TrainingCheck:
    """Read every case once.

    Raises:
        InputError: the first thing that cannot be used, with its file.
    """
    summaries: list[CaseSummary] = []
    digests: dict[str, str] = {}
    findings: list[Finding] = []

    def labels() -> Iterator[Volume]:
        for case in dataset.cases:
            image, label = read_case(case)
            summaries.append(_summary(case, image, label))
            digest = hashlib.sha256(image.data.tobytes()).hexdigest()
            twin = digests.setdefault(digest, case.name)
            if twin != case.name:
                findings.append(Finding("warning", case.name, f"{case.name}: the same image as {twin}"))
            yield label

    label_map, notes = fit_label_map(labels(), dataset.class_names)
    findings += [Finding("warning" if "cannot learn" in note else "note", None, note) for note in notes]
    _alike(dataset, summaries)
    findings += _odd_cases(summaries)
    return TrainingCheck(label_map, summaries, findings)


def guess_modality(dataset: Dataset, check: TrainingCheck) -> str:
    """The modality as ``dataset.json`` names it; else CT where voxels reach Hounsfield units of air."""
    if dataset.channel_names:
        name = dataset.channel_names[0]
        return "CT" if name.strip().lower() in ("ct", "computed tomography") else name
    if all(case.picture for case in check.cases):
        return "medical"
    return "CT" if np.median([case.air for case in check.cases]) > CT_LEAST else "MRI"


def _summary(case: Case, image: Volume, label: Volume) -> CaseSummary:
    return CaseSummary(
        name=case.name,
        shape=image.shape,
        spacing=image.spacing,
        channels=image.data.shape[0],
        picture=image.is_picture,
        labelled=int(np.count_nonzero(label.data)),
        air=float((image.data[0] < AIR_HU).mean()),
    )


def _alike(dataset: Dataset, cases: list[CaseSummary]) -> None:
    first = cases[0]
    for case, summary in zip(dataset.cases, cases, strict=True):
        if summary.channels != first.channels:
            raise ImageError(
                f"another number of channels than {first.name}",
                path=case.images[0],
                found=summary.channels,
                expected=first.channels,
                mend="convert the pictures alike (all grey or all RGB), or complete the channels",
            )
        if summary.picture != first.picture:
            raise LayoutError("scans and pictures in one dataset", path=case.images[0], mend="train them apart")


def _odd_cases(cases: list[CaseSummary]) -> list[Finding]:
    findings = [
        Finding("warning", case.name, f"{case.name}: the label is empty; the case only teaches background")
        for case in cases
        if not case.labelled
    ]
    typical = np.median(np.array([case.spacing for case in cases]), axis=0)
    for case in cases:
        ratio = np.array(case.spacing) / typical
        if max(ratio.max(), 1 / ratio.min()) > 2:
            shown = " x ".join(f"{v:.2g}" for v in case.spacing)
            usual = " x ".join(f"{v:.2g}" for v in typical)
            findings.append(
                Finding("warning", case.name, f"{case.name}: spacing {shown} mm is far from the usual {usual} mm")
            )
    return findings
