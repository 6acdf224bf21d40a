"""Images that are there twice, and patients who are on both sides of a split."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from masg_sam.data.check.cases import digest
from masg_sam.data.check.findings import Finding, warning
from masg_sam.data.io import read_channels
from masg_sam.data.layouts import Case, Dataset, find_held_out
from masg_sam.data.volume import Volume
from masg_sam.errors import InputError, few

PATIENT = re.compile(
    r"(?:^|[^a-z])(?:subject|sub|patient|pat|pid)(?:[-_ ]?(?P<number>\d+)|[-_ ](?P<code>[a-z]+\d+))", re.IGNORECASE
)


class Twins:
    """Finds images that are the same voxel for voxel, whatever their files are called."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._names: dict[str, str] = {}

    def look(self, name: str, image: Volume) -> None:
        """Compare the image of a training case with those before it."""
        twin = self._names.setdefault(digest(image), name)
        if twin != name:
            self.findings.append(warning(name, f"{name}: the same image as {twin}", "take one of them out"))

    def held_out(self, dataset: Dataset) -> Iterator[Finding]:
        """Compare the test and validation cases, each read once, with the training cases."""
        try:
            parts = find_held_out(dataset)
        except InputError as error:
            yield Finding.of(error, None, "warning")
            return
        for part, cases in parts.items():
            yield from self._same_images(part, cases)
            yield from same_patients(part, cases, dataset.cases)

    def _same_images(self, part: str, cases: Sequence[Case]) -> Iterator[Finding]:
        for case in cases:
            try:
                if case.fault is not None:
                    raise case.fault
                twin = self._names.get(digest(read_channels(case.images, case.channels)))
            except InputError as error:
                yield Finding.of(error, None, "warning")
                continue
            if twin is not None:
                message = f"{twin}: the same image as {case.name} of the {part} cases"
                yield warning(twin, message, f"take it out of one side, or the scores of the {part} cases say nothing")


def same_patients(part: str, cases: Sequence[Case], training: Sequence[Case]) -> Iterator[Finding]:
    """Warn of patients on both sides, where names say which patient a case is (``patient012``, ``sub-01``)."""
    both = _patients(cases).keys() & _patients(training).keys()
    if both:
        message = f"patients in both training and {part} cases: {few(sorted(both))}"
        yield warning(None, message, "keep all cases of a patient on one side, or scores will be too high")


def _patients(cases: Sequence[Case]) -> Mapping[str, str]:
    found = {case.name: PATIENT.search(case.name) for case in cases}
    return {(match["number"] or match["code"]).lower(): name for name, match in found.items() if match}
