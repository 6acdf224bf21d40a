"""The report of a folder of masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from masg_sam.data.io import is_there, label_on_grid, read_channels, read_label
from masg_sam.data.labels import LabelMap
from masg_sam.data.volume import Volume
from masg_sam.errors import InputError, MasgSamError
from masg_sam.evaluation import statistics
from masg_sam.evaluation.evaluate import Matched, match, score_pairs
from masg_sam.evaluation.masks import by_name, encode_mask, find_masks
from masg_sam.evaluation.scores import Evaluation
from masg_sam.files import PREDICTED, read_json
from masg_sam.models.checkpoint import RUN
from masg_sam.reports import charts
from masg_sam.reports.content import Chart, Limits, Report, Table, Value
from masg_sam.reports.maps import add_maps
from masg_sam.reports.pictures import case_pictures, legend
from masg_sam.reports.records import counted, model_facts, place, read_lines
from masg_sam.segmenter import PREDICTIONS, CaseResult, MasgSam

MOST_COLUMNS = 8  # classes with a column of their own


def report_masks(
    folder: Path, labels: Path | None, run: str | None, limits: Limits, device: str, tolerance_mm: float
) -> Report:
    """Scores where there are labels, a table of cases, pictures of the worst, and the modules' maps of one.

    Raises:
        InputError: something in the folder is damaged, or the labels do not go with it.
    """
    results = read_lines(folder / PREDICTIONS, CaseResult)
    if not results:
        raise InputError("no case in it", path=folder / PREDICTIONS, expected="a line of JSON a case", mend="predict")
    facts = read_json(folder / PREDICTED) if (folder / PREDICTED).is_file() else {}
    where = run or facts.get("run")
    report = Report(f"Masks in {place(folder)}", f"{counted(results, 'case')} segmented with masg-sam.")
    model = None
    try:
        model = MasgSam.from_pretrained(where, device) if where else None
    except MasgSamError as error:
        report.missing.append(f"Module maps and facts of the model: {str(error).splitlines()[0]}; give --run RUN.")
    found = match(folder, labels) if labels is not None else None
    scores = score_pairs(found, tolerance_mm) if found is not None else None
    names = list(results[0].get("volume_ml") or {})
    report.legend = legend(names)
    report.warnings = {one["case"]: one["warnings"] for one in results if one.get("warnings")}
    report.cases = _case_table(results, scores, names)
    if scores is not None:
        report.scores = _score_charts(scores, results)
        report.tiles = _score_tiles(scores)
    else:
        report.missing.append("Scores and error maps: there are no labels; give --labels LABELS.")
    report.tiles = [("cases", str(len(results))), *report.tiles, ("cases with a warning", str(len(report.warnings)))]
    _add_masks(report, folder, found, results, scores, model, limits)
    report.facts = model_facts(model, _run_record(where)) if model else {}
    if scores is not None:
        report.facts["Evaluation"] = [
            ("tolerance", f"{scores.tolerance_mm:g} {scores.unit}"),
            ("rules", scores.to_json()["rules"]),
            *(("note", note) for note in scores.notes),
        ]
    return report


def _add_masks(
    report: Report,
    folder: Path,
    found: Matched | None,
    results: Sequence[dict[str, Any]],
    scores: Evaluation | None,
    model: MasgSam | None,
    limits: Limits,
) -> None:
    """Pictures of the worst cases, and the maps of the very worst."""
    masks, mask_names = find_masks(folder)
    order = _worst_first(results, scores)
    lost, maskless = 0, 0
    axis = model.model.task.axis if model else 0
    for result in order[: limits.cases]:
        paths = [Path(path) for path in result.get("images") or []]
        mask = masks.get(result["case"])
        if not isinstance(mask, Path):
            maskless += 1
        elif not paths or not all(is_there(path) for path in paths):
            lost += 1
        else:
            try:
                volume, layers = _layers(result["case"], paths, mask, mask_names, found)
            except InputError as error:
                report.missing.append(f"Pictures of {result['case']}: {error}")
                continue
            caption = _caption(result, scores)
            report.pictures.append(case_pictures(result["case"], caption, volume, layers, axis, limits.slices))
            if model is not None and not report.maps:
                add_maps(report, model, volume, layers["prediction"], result["case"])
    report.layers = list(dict.fromkeys(name for one in report.pictures for name in one.slices[0].layers))
    if lost:
        report.missing.append(
            f"Pictures of {lost} cases: their images are not where they were when they were segmented."
        )
    if maskless:
        report.missing.append(f"Pictures of {maskless} cases: their masks are no longer there.")
    if len(order) > limits.cases:
        report.missing.append(f"Pictures of {len(order) - limits.cases} more cases: raise --cases.")


def _layers(
    case: str, images: Sequence[Path], mask_path: Path, names: Mapping[int, str], found: Matched | None
) -> tuple[Volume, dict[str, np.ndarray]]:
    """The image of a case, and the classes of its mask and label on the image's grid.

    Raises:
        InputError: a file is damaged, or is no longer that of this case.
    """
    volume = read_channels(images, channels=None)
    mask = read_label(mask_path, volume, names or None)
    classes = LabelMap.from_names(names or {int(v): str(v) for v in np.unique(mask.data) if v})
    layers = {"prediction": encode_mask(mask, classes)}
    if found is not None and case in found.pairs:
        truth = found.labels.encode_to_draw(found.read_label(case))
        layers["label"] = by_name(found.labels, classes)[truth]
    on_grid = {name: label_on_grid(volume, replace(mask, data=layer[None])).data[0] for name, layer in layers.items()}
    return volume, on_grid


def _case_table(results: Sequence[dict[str, Any]], scores: Evaluation | None, names: Sequence[str]) -> Table:
    columns = ["case"]
    by_case = {case.case: case for case in scores.cases} if scores is not None else {}
    shown = names if len(names) <= MOST_COLUMNS else []
    if scores is not None:
        columns += ["Dice", *([f"Dice {name}" for name in scores.class_names] if len(shown) > 1 else [])]
        columns += [f"HD95, {scores.unit}", "surface Dice"]
    columns += ["expected Dice", *(f"{name}, mL" for name in shown), "warnings", "label next", "seconds"]
    rows: list[list[Value]] = []
    for result in results:
        row: list[Value] = [result["case"]]
        if scores is not None:
            case = by_case.get(result["case"])
            row.append(_rounded(case.mean("dice")) if case else None)
            if len(shown) > 1:
                row += [_rounded(case.classes[name].dice) if case else None for name in scores.class_names]
            row += [_rounded(case.mean("hd95_mm"), 2) if case else None]
            row += [_rounded(case.mean("surface_dice")) if case else None]
        row.append(_rounded(_expected(result)))
        row += [_rounded((result.get("volume_ml") or {}).get(name), 2) for name in shown]
        row += [len(result.get("warnings") or []), ", ".join(map(str, result.get("label_next") or []))]
        rows.append([*row, _rounded(result.get("seconds"), 1)])
    empty = [i for i, name in enumerate(columns) if i and all(row[i] in (None, "") for row in rows)]
    kept = [i for i in range(len(columns)) if i not in empty]
    return Table([columns[i] for i in kept], [[row[i] for i in kept] for row in rows])


def _score_tiles(scores: Evaluation) -> list[tuple[str, str]]:
    dice, interval = statistics.mean(scores.values("dice")), scores.interval()
    spread = f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
    hd95 = statistics.mean(scores.values("hd95_mm"))
    tiles = [("mean Dice (95 % interval over cases)", "–" if dice is None else f"{dice:.3f}{spread}")]
    return [*tiles, (f"mean HD95, {scores.unit}", "–" if hd95 is None else f"{hd95:.1f}")]


def _score_charts(scores: Evaluation, results: Sequence[dict[str, Any]]) -> list[Chart]:
    found = []
    for metric, title, unit in (("dice", "Dice", ""), ("hd95_mm", "HD95", scores.unit)):
        groups = {name: statistics.defined(scores.values(metric, name)) for name in scores.class_names}
        if any(groups.values()):
            found.append(charts.boxes(title, "Each dot is a case; the box holds the middle half.", groups, unit))
    true = {case.case: case.mean("dice") for case in scores.cases}
    pairs = [(_expected(one), true.get(one["case"])) for one in results]
    known = [(e, t) for e, t in pairs if e is not None and t is not None]
    if len(known) > 1:
        from scipy.stats import spearmanr

        expected, dice = zip(*known, strict=True)
        caption = "Expected without labels, on the line where it came true."
        if len(set(expected)) > 1 and len(set(dice)) > 1:
            caption = f"Spearman’s rho {spearmanr(expected, dice).statistic:.2f} over {len(known)} cases. " + caption
        found.append(charts.scatter("Confidence against Dice", caption, expected, dice))
    return found


def _worst_first(results: Sequence[dict[str, Any]], scores: Evaluation | None) -> list[dict[str, Any]]:
    dice = {case.case: case.mean("dice") for case in scores.cases} if scores is not None else {}

    def badness(result: dict[str, Any]) -> float:
        value = dice.get(result["case"], _expected(result))
        return 2.0 if value is None else value

    return sorted(results, key=badness)


def _caption(result: dict[str, Any], scores: Evaluation | None) -> str:
    parts = []
    if scores is not None:
        case = next((one for one in scores.cases if one.case == result["case"]), None)
        for metric, title, unit in (("dice", "Dice", ""), ("hd95_mm", "HD95", f" {scores.unit}")):
            value = case.mean(metric) if case else None
            if value is not None:
                parts.append(f"{title} {value:.3f}" if not unit else f"{title} {value:.1f}{unit}")
    expected = _expected(result)
    if expected is not None:
        parts.append(f"expected Dice {expected:.3f}")
    return ", ".join(parts)


def _expected(result: Mapping[str, Any]) -> float | None:
    return statistics.mean((result.get("expected_dice") or {}).values())


def _run_record(where: str | None) -> dict[str, Any]:
    path = Path(where or "") / RUN
    return read_json(path) if path.is_file() else {}


def _rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)
