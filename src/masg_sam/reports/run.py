"""The report of a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from masg_sam.data.check import read_case
from masg_sam.data.layouts import Case, find_training_cases
from masg_sam.data.volume import Volume
from masg_sam.errors import InputError
from masg_sam.files import read_json
from masg_sam.models.checkpoint import LOG, RUN
from masg_sam.reports import charts
from masg_sam.reports.content import Chart, Limits, Report, Table, Value
from masg_sam.reports.maps import add_maps
from masg_sam.reports.pictures import case_pictures, legend
from masg_sam.reports.records import Step, counted, listed, model_facts, place, read_lines
from masg_sam.segmenter import MasgSam

TRAINING_CASES = 3  # that are segmented for the report


def report_run(folder: Path, limits: Limits, device: str) -> Report:
    """What was trained on what, its curves, and some training cases as the model segments them.

    Raises:
        InputError: something in the folder is damaged.
    """
    model = MasgSam.from_pretrained(folder, device)
    record = read_json(folder / RUN) if (folder / RUN).is_file() else {}
    task = model.model.task
    report = Report(
        f"Model {place(folder)}",
        f"Segments {listed(task.labels.names)} in {task.modality}; "
        f"trained on {counted(record.get('cases', []), 'case')}.",
        legend=legend(task.labels.names),
    )
    lines = read_lines(folder / LOG, Step) if (folder / LOG).is_file() else []
    report.training = _curves(lines)
    report.tiles = [("training cases", str(len(record.get("cases", [])))), ("steps", str(record.get("steps", "–")))]
    if lines:
        minutes = sum(line.get("seconds") or 0 for line in lines) / 60
        report.tiles.append(("minutes of training steps", f"{minutes:.1f}"))
    report.facts = model_facts(model, record)
    report.cases = _add_cases(report, model, record, limits)
    return report


def _add_cases(report: Report, model: MasgSam, record: dict[str, Any], limits: Limits) -> Table | None:
    """Pictures of the first cases that were trained on, where they still are; the maps of one, the volumes of all."""
    task = model.model.task
    rows: list[list[Value]] = []
    for case in _trained_on(report, record)[:TRAINING_CASES]:
        try:
            volume, label = read_case(case)
            masks = {"prediction": model.predictor.segment(volume).mask, "label": task.labels.encode_to_draw(label)}
        except InputError as error:
            report.missing.append(f"Pictures of {case.name}: {error.problem} ({error.path}).")
            continue
        caption = "a training case: the model has seen it"
        report.pictures.append(case_pictures(case.name, caption, volume, masks, task.axis, limits.slices))
        if not report.maps:
            add_maps(report, model, volume, masks["prediction"], case.name)
        rows.append([case.name, *_volumes_ml(masks["prediction"], volume, len(task.labels.names))])
    if not rows:
        return None
    report.layers = list(report.pictures[0].slices[0].layers)
    return Table(["training case", *(f"{name}, mL" for name in task.labels.names)], rows)


def _trained_on(report: Report, record: dict[str, Any]) -> list[Case]:
    """The cases of the run that are still in its data folder."""
    if not record.get("data"):
        return []
    try:
        cases = find_training_cases(Path(record["data"])).cases
    except InputError as error:
        report.missing.append(f"Pictures of training cases: {error.problem} ({error.path}).")
        return []
    return [case for case in cases if case.name in record.get("cases", [])]


def _curves(lines: Sequence[dict[str, Any]]) -> list[Chart]:
    if not lines:
        return []
    steps = [line["step"] for line in lines]

    def values(prefix: str) -> dict[str, list[float | None]]:
        names = sorted({key for line in lines for key in line if key.startswith(prefix)})
        return {key.removeprefix(prefix): [line.get(key) for line in lines] for key in names}

    loss = {"all": [line.get("loss") for line in lines]} | values("loss/")
    found = [charts.curves("Loss", "All terms, weighted, and their sum.", steps, loss)]
    levels = values("hae/attention_")
    if levels:
        named = {f"level {name}": v for name, v in levels.items()}
        found.append(charts.curves("HAE: attention over levels", "Mean over positions; sums to one.", steps, named))
    drift = {k: v for k, v in values("hae/").items() if not k.startswith("attention")}
    if drift:
        found.append(charts.curves("HAE: diversity and drift", "Similarity of levels; cosine distance.", steps, drift))
    gates = values("dsf/gate_")
    if gates:
        found.append(charts.curves("DSF: gates", "Mean over positions; 0 is closed.", steps, gates))
    return found


def _volumes_ml(mask: np.ndarray, volume: Volume, classes: int) -> list[Value]:
    counts = np.bincount(mask.ravel(), minlength=classes + 1)[1:].tolist()
    return [volume.voxel_ml and round(count * volume.voxel_ml, 2) for count in counts]
