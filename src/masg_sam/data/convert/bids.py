"""BIDS: where it keeps files, and what it says of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from masg_sam import __version__
from masg_sam.data.convert.source import SCAN, TRAINING, Source, exact, must_be_scans, named_values, to_json
from masg_sam.data.layouts import Case
from masg_sam.errors import LayoutError, few

CONTRASTS = {"t1": "T1w", "t1w": "T1w", "t2": "T2w", "t2w": "T2w", "pd": "PDw", "pdw": "PDw", "flair": "FLAIR"}
VERSION = "1.9.0"
SUBJECT_PREFIX = "sub-"
SUBJECT = re.compile(r"sub-[A-Za-z0-9]+(_[a-z]+-[A-Za-z0-9]+)*")


class Bids:
    """BIDS: raw images of one contrast, labels in ``derivatives/labels``; test cases have no place in it."""

    parts: tuple[str, ...] = (TRAINING,)
    as_stored = False

    def __init__(self, source: Source) -> None:
        must_be_scans(source, "BIDS")
        contrasts = [CONTRASTS.get(name.lower()) for name in source.channels]
        if len(contrasts) != 1 or contrasts[0] is None:
            raise LayoutError(
                "no single contrast that BIDS has a name for",
                path=source.dataset.root,
                found=few(source.channels),
                expected="one channel: T1w, T2w, PDw or FLAIR",
                mend="name it so in `channel_names` of dataset.json, if it is one of these",
            )
        self.source, self.labels, self.contrast = source, exact(source.labels), contrasts[0]
        self.names = {case.name: _subject(case.name) for case in source.parts[TRAINING]}
        if nameless := [case for case, subject in self.names.items() if subject == SUBJECT_PREFIX]:
            raise LayoutError(
                "case names with no letter or digit that BIDS knows",
                path=source.dataset.root,
                found=few(nameless),
                expected="names with letters from A to Z, or digits",
                mend="rename them",
            )
        if len(set(self.names.values())) < len(self.names):
            raise LayoutError(
                "case names that are the same without their punctuation",
                path=source.dataset.root,
                found=few(_same_subject(self.names)),
                expected="names that differ in letters and digits, as BIDS has no others",
                mend="rename them",
            )

    def suffix(self, path: Path) -> str:
        """NIfTI."""
        return SCAN

    def images(self, part: str, case: Case) -> list[str]:
        """In the folder of the subject, and of the session if its name has one."""
        return [f"{self._folder(case)}/{self.names[case.name]}_{self.contrast}"]

    def label(self, part: str, case: Case) -> str:
        """A dseg of the same entities."""
        return f"derivatives/labels/{self._folder(case)}/{self.names[case.name]}_dseg"

    def facts(self) -> dict[str, str]:
        """What BIDS asks of a raw dataset and of a derived one, and the table of classes."""
        name = self.source.dataset.root.resolve().name
        raw = {"Name": name, "BIDSVersion": VERSION, "DatasetType": "raw"}
        made = {"DatasetType": "derivative", "GeneratedBy": [{"Name": "masg-sam", "Version": __version__}]}
        rows = [f"{value}\t{name}" for name, value in named_values(self.labels).items()]
        return {
            "dataset_description.json": to_json(raw),
            "README": f"{name}, converted by masg-sam.\n",
            "derivatives/labels/dataset_description.json": to_json(raw | made),
            "derivatives/labels/dseg.tsv": "\n".join(["index\tname", *rows]) + "\n",
        }

    def _folder(self, case: Case) -> str:
        entities = self.names[case.name].split("_")
        return "/".join([*(part for part in entities if part.startswith(("sub-", "ses-"))), "anat"])


def _same_subject(subjects: Mapping[str, str]) -> list[str]:
    count = Counter(subjects.values())
    return [name for name, subject in subjects.items() if count[subject] > 1]


def _subject(name: str) -> str:
    return name if SUBJECT.fullmatch(name) else SUBJECT_PREFIX + re.sub(r"[^A-Za-z0-9]", "", name)
