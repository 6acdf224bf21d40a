"""Reads what training and prediction left beside the model and the masks, and puts it into words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masg_sam.data.task import describe_slices
from masg_sam.errors import InputError
from masg_sam.files import parse
from masg_sam.segmenter import CaseResult, MasgSam


@dataclass(frozen=True)
class Step:
    """What every line of a training's log holds."""

    step: int
    seconds: float
    loss: float


def read_lines(path: Path, kind: type[CaseResult] | type[Step]) -> list[dict[str, Any]]:
    """The lines of ``predictions.jsonl`` or ``log.jsonl``.

    Args:
        path: the file.
        kind: what each line is, a :class:`CaseResult` or a :class:`Step`.

    Raises:
        InputError: a line is not what such a file holds.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError("cannot be read as lines of JSON", path=path, found=error, mend="make it again") from error
    for line in lines:
        try:
            parse(kind, line)
        except ValueError as error:
            expected = "a line as masg-sam writes it"
            raise InputError("a line of another kind", path=path, found=error, expected=expected) from error
    return lines


def model_facts(model: MasgSam, record: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """What a model was made of: section title to names and values."""
    task, facts = model.model.task, model.model.facts
    config = model.model.config
    data = [
        ("classes", listed(task.labels.names)),
        ("modality", task.modality),
        ("training cases", listed(record.get("cases", [])) or "–"),
        ("data", str(record.get("data", "–"))),
        ("input", f"{task.size[0]} x {task.size[1]} pixels" + (f" of {task.pixel:.2f} mm" if task.pixel else "")),
        ("slices", describe_slices(task)),
    ]
    data += [(finding["level"], finding["message"]) for finding in record.get("findings", [])]
    text = facts.get("text") or {}
    switches = {"HAE": config.model.hae.enabled, "BFE": config.model.bfe.enabled, "DSF": config.model.dsf.enabled}
    plain = config.model.decoder.kind == "fpn"
    method = [
        ("encoder", f"{config.model.encoder.name}, {config.model.encoder.tuning}"),
        ("weights", str(facts.get("weights", "–"))),
        ("modules", "plain decoder" if plain else listed(name for name, on in switches.items() if on) or "none"),
        ("class texts", str(text.get("source", "none"))),
        ("seed", str(config.training.seed)),
    ]
    sentences = [(name, "; ".join(lines)) for name, lines in (text.get("sentences") or {}).items()]
    versions = [(name, str(value)) for name, value in (facts.get("versions") or {}).items()]
    sections = {"Data": data, "Method": method, "Class texts": sentences, "Versions": versions}
    return {title: rows for title, rows in sections.items() if rows}


def place(folder: Path) -> str:
    """A folder by its last two parts."""
    return "/".join(folder.resolve().parts[-2:])


def listed(names: Iterable[str]) -> str:
    """Names in one line."""
    return ", ".join(names)


def counted(items: Sequence[Any], noun: str) -> str:
    """A number of things, in words."""
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"
