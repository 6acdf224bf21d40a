"""What is looked at before training: every case is read once, and what cannot be used is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from masg_sam.data.io import merge_channels, on_grid, read_image, read_label
from masg_sam.data.labels import LabelMap, fit_label_map
from masg_sam.data.layouts import Case, Dataset
from masg_sam.data.volume import Volume
from masg_sam.errors import ImageError, LayoutError

AIR_HU, CT_LEAST = -300.0, 0.01  # this part of the voxels below -300 says Hounsfield units
FAR_SPACING = 2  # times the median, or a part of it, before a warning is due


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
        air: part of the voxels below -300, which only Hounsfield units reach.
        voxels: labelled voxels of each foreground class.
    """

    name: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    channels: int
    picture: bool
    air: float
    voxels: tuple[int, ...] = ()

    @property
    def labelled(self) -> int:
        """Labelled voxels of all classes."""
        return sum(self.voxels)


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
    return image, on_grid(image, read_label(case.label))


def check_training(dataset: Dataset) -> TrainingCheck:
    """Read every case once.

    Raises:
        InputError: the first thing that cannot be used, with its file.
    """
    survey = _Survey(dataset)
    label_map, notes = fit_label_map(survey.labels(), dataset.class_names)
    cases = survey.summaries(label_map)
    findings = [Finding("note", None, note) for note in notes]
    findings += [*survey.twins, *_unseen(cases, label_map), *_empty(cases), *_far_spacing(cases)]
    return TrainingCheck(label_map, cases, findings)


def guess_modality(dataset: Dataset, check: TrainingCheck) -> str:
    """The modality as ``dataset.json`` names it; else CT where voxels reach Hounsfield units of air."""
    if dataset.channel_names:
        name = dataset.channel_names[0]
        return "CT" if name.strip().lower() in ("ct", "computed tomography") else name
    if all(case.picture for case in check.cases):
        return "medical"
    return "CT" if np.median([case.air for case in check.cases]) > CT_LEAST else "MRI"


class _Survey:
    """Reads each case once, hands its label on, and keeps what is small."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.twins: list[Finding] = []
        self._facts: list[CaseSummary] = []
        self._counts: list[dict[int, int]] = []  # voxels by label value
        self._digests: dict[str, str] = {}

    def labels(self) -> Iterator[Volume]:
        """The label of each case, while its image is looked at."""
        for case in self.dataset.cases:
            image, label = read_case(case)
            facts = _summary(case, image)
            _must_be_alike(case, facts, self._facts[0] if self._facts else facts)
            self._facts.append(facts)
            self._counts.append(_count(label))
            self._look_for_twin(case.name, image)
            yield label

    def summaries(self, label_map: LabelMap) -> list[CaseSummary]:
        """Of all cases, once the labels have been read."""
        return [
            replace(facts, voxels=_by_class(counts, label_map))
            for facts, counts in zip(self._facts, self._counts, strict=True)
        ]

    def _look_for_twin(self, name: str, image: Volume) -> None:
        digest = hashlib.sha256(repr(image.shape).encode() + image.data.tobytes()).hexdigest()
        twin = self._digests.setdefault(digest, name)
        if twin != name:
            self.twins.append(Finding("warning", name, f"{name}: the same image as {twin}"))


def _summary(case: Case, image: Volume) -> CaseSummary:
    return CaseSummary(
        name=case.name,
        shape=image.shape,
        spacing=image.spacing,
        channels=image.data.shape[0],
        picture=image.is_picture,
        air=float((image.data[0] < AIR_HU).mean()),
    )


def _count(label: Volume) -> dict[int, int]:
    values, counts = np.unique(label.data, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _by_class(counts: dict[int, int], label_map: LabelMap) -> tuple[int, ...]:
    voxels = [0] * (label_map.num_classes + 1)
    for value, count in counts.items():
        voxels[label_map.class_of(value)] += count
    return tuple(voxels[1:])


def _must_be_alike(case: Case, facts: CaseSummary, first: CaseSummary) -> None:
    if facts.picture != first.picture:
        raise LayoutError(
            "scans and pictures in one dataset",
            path=case.images[0],
            found="a picture" if facts.picture else "a scan",
            expected=f"what {first.name} is",
            mend="train them apart",
        )
    if facts.channels != first.channels:
        raise ImageError(
            f"another number of channels than {first.name}",
            path=case.images[0],
            found=facts.channels,
            expected=first.channels,
            mend="convert the pictures alike (all grey or all RGB), or complete the channels",
        )


def _unseen(cases: list[CaseSummary], label_map: LabelMap) -> Iterator[Finding]:
    for k, name in enumerate(label_map.names):
        if not any(case.voxels[k] for case in cases):
            yield Finding("warning", None, f"no label shows {name}: the model cannot learn it")


def _empty(cases: list[CaseSummary]) -> Iterator[Finding]:
    for case in cases:
        if not case.labelled:
            message = f"{case.name}: the label is empty; the case only teaches background"
            yield Finding("warning", case.name, message)


def _far_spacing(cases: list[CaseSummary]) -> Iterator[Finding]:
    typical = np.median(np.array([case.spacing for case in cases]), axis=0)
    for case in cases:
        ratio = np.array(case.spacing) / typical
        if max(ratio.max(), 1 / ratio.min()) > FAR_SPACING:
            shown, usual = (" x ".join(f"{v:.2g}" for v in spacing) for spacing in (case.spacing, typical))
            message = f"{case.name}: spacing {shown} mm is far from the usual {usual} mm (Z, Y, X)"
            yield Finding("warning", case.name, message)
