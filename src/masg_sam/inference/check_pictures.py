"""Writes what the check before training found: ``check.json``, and a picture of each labelled case."""

from __future__ import annotations

import json
from pathlib import Path

from masg_sam.data.check import CaseSummary, TrainingCheck, read_case
from masg_sam.data.check.show import to_json
from masg_sam.data.task import PLANES, choose_plane
from masg_sam.files import CHECKED, PICTURES, write_text
from masg_sam.inference.overlay import write_overlay


def write_check(check: TrainingCheck, out: Path) -> None:
    """Write pictures of the cases without errors, read again one at a time, and then the facts.

    Raises:
        OutputError: the folder cannot be written to.
    """
    broken = {finding.case for finding in check.findings if finding.level == "error"}
    sound = [case for case in check.cases if case.name not in broken]
    if sound and None not in broken:  # an error of the whole set leaves no meaning to the labels
        _write_pictures(check, sound, out / PICTURES)
    write_text(out / CHECKED, json.dumps(to_json(check), indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def _write_pictures(check: TrainingCheck, sound: list[CaseSummary], folder: Path) -> None:
    names = {case.name for case in sound}
    axis = PLANES.index(choose_plane([case.shape for case in sound], [case.spacing for case in sound]))
    for case in (case for case in check.dataset.cases if case.name in names):
        image, label = read_case(case)
        classes = check.label_map.encode_to_draw(label)
        write_overlay(image, {"label": classes}, check.label_map.names, folder / f"{case.name}.png", axis)
