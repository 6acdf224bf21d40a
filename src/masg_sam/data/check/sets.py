"""What is seen only when the cases of a set lie side by side: shapes, spacings and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from masg_sam.data.check.cases import CaseSummary
from masg_sam.data.check.findings import Finding, warning
from masg_sam.data.io.kinds import dicom_files
from masg_sam.data.labels import LabelMap
from masg_sam.data.layouts import Dataset
from masg_sam.data.layouts.folders import readable
from masg_sam.errors import ImageError, LayoutError, few

FAR_SPACING = 2  # times the median, or a part of it, before a warning is due
FEW_VOXELS, FEW_PART = 10, 1e-3  # of a class in a case, fewer than both: rather strays than an organ


def alike(cases: Sequence[CaseSummary]) -> Iterator[Finding]:
    """Errors where a case is another kind of image than most, or has other channels."""
    for kind in ("picture", "channels"):
        values = [getattr(case, kind) for case in cases]
        usual = Counter(values).most_common(1)[0][0] if values else None
        for case, value in zip(cases, values, strict=True):
            if value != usual:
                yield _odd(case, cases[values.index(usual)])


def unnamed_channels(cases: Sequence[CaseSummary], dataset: Dataset) -> Iterator[Finding]:
    """A warning where ``dataset.json`` names more channels than any image has."""
    most, names = max((case.channels for case in cases), default=0), dataset.channel_names
    if 0 < most < len(names):
        message = f"dataset.json names {len(names)} channels ({few(names)}), and every image has {most}"
        yield warning(None, message, "add the files of the other channels (_0001, ...), or take their names out")


def deeper_folders(dataset: Dataset) -> Iterator[Finding]:
    """Warnings of pictures or scans in folders among the images of plain folders, which are not looked into."""
    if dataset.layout != "folders":
        return
    for folder in sorted({case.images[0].parent for case in dataset.cases if case.images}):
        inner = sorted(item for item in folder.iterdir() if item.is_dir() and not item.name.startswith("."))
        if left := [item.name for item in inner if _holds_images(item)]:
            message = f"{folder}: folders among the images are not looked into: {few(left)}"
            yield warning(None, message, "move their images up, and their labels")


def _holds_images(folder: Path) -> bool:
    try:
        return bool(readable(folder)) and next(dicom_files(folder), None) is None
    except OSError:  # one that may not be read, as of a file system
        return False


def label_findings(cases: Sequence[CaseSummary], label_map: LabelMap) -> Iterator[Finding]:
    """Warnings of labels that are empty, and of classes that are missing, rare, or hardly there."""
    yield from _unseen(cases, label_map)
    yield from _rare(cases, label_map)
    for case in cases:
        if not case.labelled and label_map.num_classes:  # what the values mean is known
            message = f"{case.name}: the label is empty; the case only teaches background"
            yield warning(case.name, message, "see whether the right label was exported, or take the case out")
        yield from _strays(case, label_map)


def far_spacing(cases: Sequence[CaseSummary]) -> Iterator[Finding]:
    """Warnings of voxels that are much larger or smaller than usual."""
    if not cases:
        return
    typical = np.median(np.array([case.spacing for case in cases]), axis=0)
    for case in cases:
        ratio = np.array(case.spacing) / typical
        if max(ratio.max(), 1 / ratio.min()) > FAR_SPACING:
            shown, usual = (" x ".join(f"{v:.2g}" for v in spacing) for spacing in (case.spacing, typical))
            message = f"{case.name}: spacing {shown} mm is far from the usual {usual} mm (Z, Y, X)"
            yield warning(case.name, message, "see whether the header is right, or take the case out")


def _odd(case: CaseSummary, usual: CaseSummary) -> Finding:
    if case.picture != usual.picture:
        return Finding.of(
            LayoutError(
                "scans and pictures in one dataset",
                path=case.path,
                found="a picture" if case.picture else "a scan",
                expected=f"what {usual.name} is",
                mend="train them apart",
            ),
            case.name,
        )
    return Finding.of(
        ImageError(
            f"another number of channels than {usual.name}",
            path=case.path,
            found=case.channels,
            expected=usual.channels,
            mend="convert the pictures alike (all grey or all RGB), or complete the channels",
        ),
        case.name,
    )


def _unseen(cases: Sequence[CaseSummary], label_map: LabelMap) -> Iterator[Finding]:
    for k, name in enumerate(label_map.names):
        if cases and not any(case.voxels[k] for case in cases):
            message = f"no label shows {name}: the model cannot learn it"
            yield warning(None, message, "label it in some cases, or take it out of `labels` in dataset.json")


def _rare(cases: Sequence[CaseSummary], label_map: LabelMap) -> Iterator[Finding]:
    shown = {name: sum(case.voxels[k] > 0 for case in cases) for k, name in enumerate(label_map.names)}
    rare = [f"{name} ({count} of {len(cases)})" for name, count in shown.items() if 0 < 2 * count < len(cases)]
    if rare:
        message = f"in fewer than half of the cases: {few(rare)}"
        yield warning(None, message, "label it wherever it is seen, for what is not labelled is learned as background")


def _strays(case: CaseSummary, label_map: LabelMap) -> Iterator[Finding]:
    size = np.prod(case.shape)
    for name, count in zip(label_map.names, case.voxels, strict=True):
        if 0 < count < min(FEW_VOXELS, FEW_PART * size):
            message = f"{case.name}: {name} has only {count} voxel{'s' if count > 1 else ''}"
            yield warning(case.name, message, "see whether these are strays of a brush, or a label that was cut off")
