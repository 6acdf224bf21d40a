"""Chooses the report that belongs to a folder."""

from __future__ import annotations

from pathlib import Path

from masg_sam.errors import InputError
from masg_sam.evaluation.evaluate import check_tolerance
from masg_sam.models.checkpoint import FACTS
from masg_sam.reports.content import Limits, Report
from masg_sam.reports.masks import report_masks
from masg_sam.reports.run import report_run
from masg_sam.segmenter import PREDICTIONS


def gather(
    folder: Path,
    labels: Path | None = None,
    run: str | None = None,
    limits: Limits | None = None,
    device: str = "auto",
    tolerance_mm: float = 2.0,
) -> Report:
    """Collect the report of a run, or of masks.

    Args:
        folder: as ``train`` or ``predict`` left it.
        labels: of the masks; with them the report has scores.
        run: the model of the masks, where it is not where it was.
        limits: how much to show.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        tolerance_mm: of the surface Dice; pixels in pictures.

    Raises:
        ConfigError: a tolerance that is no distance.
        InputError: the folder is neither, or something in it is damaged.
    """
    limits = limits or Limits()
    check_tolerance(tolerance_mm)
    if (folder / FACTS).is_file():
        return report_run(folder, limits, device)
    if (folder / PREDICTIONS).is_file():
        return report_masks(folder, labels, run, limits, device, tolerance_mm)
    raise InputError(
        "neither a trained model nor a folder of masks",
        path=folder,
        expected=f"{FACTS} (of `masg-sam train`) or {PREDICTIONS} (of `masg-sam predict`)",
        mend="name the folder that was given as --out",
    )
