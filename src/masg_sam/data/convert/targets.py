"""nnU-Net, Decathlon and plain folders: where they keep files, in which formats, and what they say of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from masg_sam.data.convert.source import (
    SCAN,
    TEST,
    TRAINING,
    Source,
    consecutive,
    exact,
    file_count,
    must_be_scans,
    named_values,
    numbered,
    to_json,
)
from masg_sam.data.dataset_json import FILE
from masg_sam.data.io import label_path, suffix_of
from masg_sam.data.io.kinds import format_of
from masg_sam.data.labels import LabelMap
from masg_sam.data.layouts import Case

ENDINGS = {TRAINING: "Tr", TEST: "Ts", "validation": "Val"}
FOLDERS = {TRAINING: "", TEST: "test/", "validation": "val/"}
KEPT = (".nii.gz", ".nrrd", ".mha", ".png")  # nnU-Net reads these by their ending alone
TWO_FILES = (".mhd", ".nhdr")  # a header, and voxels in another file


class NnUnet:
    """nnU-Net v2: files of one ending, channels numbered, classes counted from 1 without gaps."""

    parts: tuple[str, ...] = tuple(ENDINGS)
    as_stored = True

    def __init__(self, source: Source) -> None:
        self.source, self.labels = source, consecutive(source.labels)
        cases = [case for part in source.parts.values() for case in part]
        files = [path for case in cases for path in case.images]
        files += [label_path(case.label) for case in cases if case.label is not None]
        endings = {suffix_of(path) for path in files}
        whole = all(len(case.images) == file_count(source, case) for case in cases)
        kept = endings.pop() if whole and len(endings) == 1 else None
        self.ending = kept if kept in KEPT else source.usual_suffix

    def suffix(self, path: Path) -> str:
        """One for all."""
        return self.ending

    def images(self, part: str, case: Case) -> list[str]:
        """A file a channel; one of all colours for a picture."""
        return [f"images{ENDINGS[part]}/{case.name}_{i:04d}" for i in range(file_count(self.source, case))]

    def label(self, part: str, case: Case) -> str:
        """By the name of the case."""
        return f"labels{ENDINGS[part]}/{case.name}"

    def facts(self) -> dict[str, str]:
        """dataset.json with what nnU-Net asks for."""
        facts = _channels_and_labels(self.source, self.labels)
        facts |= {"numTraining": len(self.source.parts[TRAINING]), "file_ending": self.ending}
        return {FILE: to_json(facts)}


class Decathlon:
    """Medical Segmentation Decathlon: NIfTI, and a list of pairs; several channels as the first nnU-Net had them."""

    parts: tuple[str, ...] = tuple(ENDINGS)
    as_stored = False

    def __init__(self, source: Source) -> None:
        must_be_scans(source, "the Decathlon's layout")
        self.source, self.labels = source, exact(source.labels)

    def suffix(self, path: Path) -> str:
        """NIfTI."""
        return SCAN

    def images(self, part: str, case: Case) -> list[str]:
        """The listed name, or with several channels that name and a number."""
        count = file_count(self.source, case)
        return [f"images{ENDINGS[part]}/{name}" for name in numbered(case.name, count)]

    def label(self, part: str, case: Case) -> str:
        """By the name of the case."""
        return f"labels{ENDINGS[part]}/{case.name}"

    def facts(self) -> dict[str, str]:
        """dataset.json with all that the Decathlon's own have."""
        training, test = (self.source.parts.get(part, ()) for part in (TRAINING, TEST))
        names = [f"{case.name}{SCAN}" for case in training]
        values = {"0": "background"} | {str(value): name for name, value in named_values(self.labels).items() if value}
        facts = {
            "name": self.source.dataset.root.resolve().name,
            "description": "",
            "reference": "",
            "licence": "",
            "release": "",
            "tensorImageSize": "3D",
            "modality": {str(i): name for i, name in enumerate(self.source.channels)},
            "labels": values,
            "numTraining": len(training),
            "numTest": len(test),
            "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names],
            "test": [f"./imagesTs/{case.name}{SCAN}" for case in test],
        }
        return {FILE: to_json(facts)}


class Folders:
    """images/ and labels/, the test and validation cases in test/ and val/; formats as they are, but no DICOM."""

    parts: tuple[str, ...] = tuple(FOLDERS)
    as_stored = False

    def __init__(self, source: Source) -> None:
        self.source, self.labels = source, exact(source.labels)

    def suffix(self, path: Path) -> str:
        """The file's own, if it holds all of the image."""
        own = suffix_of(path)
        kept = own and own not in TWO_FILES and format_of(path) != "dicom" and path.is_file()
        return own if own and kept else self.source.usual_suffix

    def images(self, part: str, case: Case) -> list[str]:
        """The name of the case, or with several files that name and a number."""
        kept = all(self.suffix(path) == suffix_of(path) for path in case.images)
        count = len(case.images) if kept else file_count(self.source, case)
        return [f"{FOLDERS[part]}images/{name}" for name in numbered(case.name, count)]

    def label(self, part: str, case: Case) -> str:
        """By the name of the case."""
        return f"{FOLDERS[part]}labels/{case.name}"

    def facts(self) -> dict[str, str]:
        """dataset.json with the names."""
        return {FILE: to_json(_channels_and_labels(self.source, self.labels))}


def _channels_and_labels(source: Source, labels: LabelMap) -> dict[str, Any]:
    channels = {str(i): name for i, name in enumerate(source.channels)}
    return {"channel_names": channels, "labels": named_values(labels)}
