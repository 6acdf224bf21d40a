"""What is looked at before training: every case is read once, and all that is wrong is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from masg_sam.data.check.cases import CaseSummary, look_at, read_case, sum_up
from masg_sam.data.check.findings import LEVELS, Finding, note
from masg_sam.data.check.intensities import AIR_PART, constant_images, far_ranges, hounsfield
from masg_sam.data.check.sets import alike, deeper_folders, far_spacing, label_findings, unnamed_channels
from masg_sam.data.check.splits import Twins
from masg_sam.data.intensity import is_ct
from masg_sam.data.labels import LabelMap, count_values, fit_label_map
from masg_sam.data.layouts import Case, Dataset, look_for_cases
from masg_sam.data.volume import Volume
from masg_sam.errors import InputError, LabelError, together

COLOURS = (("r", "g", "b"), ("red", "green", "blue"))  # channels of these names name no modality

__all__ = [
    "CaseSummary",
    "Finding",
    "TrainingCheck",
    "check_training",
    "examine",
    "examine_folder",
    "guess_modality",
    "read_case",
]


@dataclass
class TrainingCheck:
    """What the check found.

    Attributes:
        dataset: what was looked at.
        label_map: what the label values mean; without classes where they have no meaning.
        cases: one summary a case whose image can be read.
        findings: errors, then warnings, then notes.
    """

    dataset: Dataset
    label_map: LabelMap
    cases: list[CaseSummary]
    findings: list[Finding] = field(default_factory=list)

    @property
    def errors(self) -> list[InputError]:
        """What no training can use."""
        return [finding.error for finding in self.findings if finding.error is not None]

    def must_pass(self) -> None:
        """Refuse a set with errors.

        Raises:
            InputError: the error there is; of several, a :class:`~masg_sam.errors.DatasetError` that tells them all.
        """
        if self.errors:
            raise together(self.errors, self.dataset.root)


def check_training(dataset: Dataset) -> TrainingCheck:
    """Look at a dataset, and refuse one with errors.

    Raises:
        InputError: as :meth:`TrainingCheck.must_pass`.
    """
    check = examine(dataset)
    check.must_pass()
    return check


def examine(dataset: Dataset) -> TrainingCheck:
    """Read every case once, one at a time, and tell everything that is wrong or should be known."""
    survey = _Survey(dataset)
    label_map, findings = survey.fit()
    cases = survey.summaries(label_map)
    check = TrainingCheck(dataset, label_map, cases)
    sound = [case for case in cases if case.name not in survey.broken]
    findings += [*survey.errors, *survey.twins.findings, *survey.twins.held_out(dataset)]
    findings += [
        *alike(cases),
        *unnamed_channels(cases, dataset),
        *deeper_folders(dataset),
        *label_findings(sound, label_map),
        *far_spacing(cases),
    ]
    findings += [*constant_images(cases), *far_ranges(cases)]
    if is_ct(guess_modality(dataset, check)):
        findings += hounsfield(cases)
    check.findings = sorted(findings, key=lambda finding: LEVELS.index(finding.level))
    return check


def examine_folder(data: Path) -> TrainingCheck:
    """:func:`examine` what is in a folder or list; where its layout cannot be read, that is the one finding.

    Raises:
        LayoutError: there is nothing of this name.
    """
    try:
        dataset = look_for_cases(data)
    except InputError as error:
        if not data.exists():
            raise
        unknown = Dataset(data, "unknown", (), {}, ())
        return TrainingCheck(unknown, LabelMap((), ()), [], [Finding.of(error, None)])
    return examine(dataset)


def guess_modality(dataset: Dataset, check: TrainingCheck) -> str:
    """The modality as ``dataset.json`` names it; else CT where voxels reach Hounsfield units of air."""
    if dataset.channel_names and tuple(name.lower() for name in dataset.channel_names) not in COLOURS:
        name = dataset.channel_names[0]
        return "CT" if name.strip().lower() in ("ct", "computed tomography") else name
    if all(case.picture for case in check.cases):
        return "medical"
    return "CT" if np.median([case.air for case in check.cases]) > AIR_PART else "MRI"


class _Survey:
    """Reads each case once, hands its label on, and keeps what is small."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.twins = Twins()
        self.errors: list[Finding] = []
        self.broken: set[str] = set()
        self._named = LabelMap.from_names(dataset.class_names)
        self._facts: list[CaseSummary] = []
        self._counts: dict[str, dict[int, int]] = {}  # voxels by label value

    def fit(self) -> tuple[LabelMap, list[Finding]]:
        """What the label values mean, and what was noticed about them."""
        try:
            label_map, notes = fit_label_map(self._labels(), self.dataset.class_names)
        except LabelError as error:
            told = [Finding.of(error, None)] if len(self.broken) < len(self.dataset.cases) else []
            return self._named, told
        return label_map, [note(None, text, "") for text in notes]

    def summaries(self, label_map: LabelMap) -> list[CaseSummary]:
        """Of all cases whose image can be read, once the labels have been read."""
        return [replace(facts, voxels=_by_class(self._counts.get(facts.name, {}), label_map)) for facts in self._facts]

    def _labels(self) -> Iterator[Volume]:
        """The labels that can be used, while everything is looked at."""
        for case in self.dataset.cases:
            label = self._look(case)
            if label is not None:
                yield label

    def _look(self, case: Case) -> Volume | None:
        look = look_at(case)
        if look.label is not None:
            path, self._counts[case.name] = look.label.path, count_values(look.label)
            if self.dataset.class_names:
                look.tried(lambda counts: self._named.must_know(counts, path), self._counts[case.name])
        if look.image is not None:
            self._facts.append(sum_up(case, look.image))
            self.twins.look(case.name, look.image)
        if look.errors:
            self.broken.add(case.name)
            self.errors += [Finding.of(error, case.name) for error in look.errors]
            return None
        return look.label


def _by_class(counts: dict[int, int], label_map: LabelMap) -> tuple[int, ...]:
    voxels = [0] * (label_map.num_classes + 1)
    for value, count in counts.items():
        voxels[label_map.class_of(value)] += count
    return tuple(voxels[1:])
