"""A trained model on disk: ``model.safetensors`` with the weights, ``model.json`` with everything else.

The folder is complete: text vectors, class names, intensity handling and architecture are in it, so that
prediction needs no hub, no text encoder and no training data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from masg_sam import __version__
from masg_sam.config import Config, from_dict, to_dict
from masg_sam.data.task import Task
from masg_sam.errors import CheckpointError, ConfigError, WeightsError
from masg_sam.files import PathLike, moved_into_place, parse, read_json, write_text
from masg_sam.models.hub import fetch_folder
from masg_sam.models.masg_sam import MasgSamNetwork
from masg_sam.models.sam.weights import build_sam

WEIGHTS, FACTS = "model.safetensors", "model.json"
STATE, SETTINGS, RUN, LOG = "last.safetensors", "config.yaml", "run.json", "log.jsonl"  # beside them, of a training
# 2: planes across the main one, expected Dice by class; 3: weights of the quality signals; 4: HAE's reach;
# 5: DSF's prototypes
FORMAT = 5


@dataclass
class TrainedModel:
    """A network with what it needs to be used.

    Attributes:
        network: the network, in evaluation mode.
        task: its classes, and how images become its input.
        config: how it was trained.
        architecture: SAM's sizes, as transformers' ``SamConfig`` in a dictionary.
        facts: text source and sentences, weights' source, versions, for people and reports; and ``quality``, what the
            model learned of itself.
    """

    network: MasgSamNetwork
    task: Task
    config: Config
    architecture: dict[str, Any]
    facts: dict[str, Any]


def save_model(model: TrainedModel, folder: Path, state: dict[str, Tensor] | None = None) -> None:
    """Write a model, each file beside its place and then moved in.

    Args:
        model: what to write.
        folder: made when missing.
        state: weights to write instead of the network's own (averaged ones).
    """
    state = state if state is not None else model.network.state_dict()
    state = model.network.encoder_merged(state)
    facts = {
        "format": FORMAT,
        "masg_sam": __version__,
        "config": to_dict(model.config),
        "task": model.task.to_dict(),
        "architecture": _plain(model.architecture),
        "text_width": model.network.dsf_width,
        "facts": model.facts,
    }
    with moved_into_place(folder / WEIGHTS) as place:
        save_file({k: v.detach().cpu().contiguous() for k, v in state.items()}, place)
    write_text(folder / FACTS, json.dumps(facts, indent=1))


def find_model(location: PathLike) -> tuple[Path, str]:
    """The folder of a model, and the name it goes by: the whole path, or the hub id.

    Args:
        location: folder, or hub id; a folder that is there comes first.

    Raises:
        WeightsError: neither a folder that is there nor a hub id that can be fetched.
    """
    folder, name = Path(location).expanduser(), str(location)
    if folder.exists() or name.count("/") != 1 or name.startswith((".", "~", "/")):
        return folder, str(folder.resolve())
    try:
        return fetch_folder(name, (FACTS, WEIGHTS)), name
    except WeightsError as error:
        raise WeightsError(
            f"no folder of this name here; as a hub id: {error.problem}",
            path=name,
            found=error.found,
            expected=error.expected,
            mend=f"check the path; of a hub id: {error.mend}" if error.mend else "check the path",
        ) from error


def load_model(folder: Path) -> TrainedModel:
    """Read a model written by :func:`save_model`; no network, no text encoder.

    Raises:
        CheckpointError: the folder holds no model, a damaged one, or one of another version's format.
    """
    stored = _read_facts(folder)
    config, task, facts = _understood(folder, stored)
    with _told_as_damage(folder):
        network, architecture = _empty_network(config, task, stored["architecture"], stored["text_width"])
    try:
        network.load_state_dict(load_file(folder / WEIGHTS), strict=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise CheckpointError(
            "weights of the model cannot be used",
            path=folder / WEIGHTS,
            found=str(error).splitlines()[0],
            expected="the file written beside model.json",
            mend="copy the whole folder again, or train again",
        ) from error
    return TrainedModel(network.eval(), task, config, architecture, facts)


def read_about(folder: Path) -> tuple[Config, Task, dict[str, Any]]:
    """How a model was trained, what it is for, and facts about its sources; its weights are not read.

    Raises:
        CheckpointError: as for :func:`load_model`.
    """
    return _understood(folder, _read_facts(folder))


def _understood(folder: Path, stored: dict[str, Any]) -> tuple[Config, Task, dict[str, Any]]:
    with _told_as_damage(folder):
        config = from_dict(stored["config"], source=folder / FACTS)
        return config, parse(Task, stored["task"]), dict(stored["facts"].items())


@contextmanager
def _told_as_damage(folder: Path) -> Iterator[None]:
    """What goes wrong with the facts of a model is told as an error of ours."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError, ConfigError) as error:
        raise CheckpointError(
            "facts of the model are damaged",
            path=folder / FACTS,
            found=f"{type(error).__name__}: {error}",
            mend="copy the whole folder again, or train again",
        ) from error


def _empty_network(
    config: Config, task: Task, architecture: Any, text_width: int | None
) -> tuple[MasgSamNetwork, dict[str, Any]]:
    """The network without its weights, and SAM's sizes."""
    text = None if text_width is None else torch.zeros(task.labels.num_classes, text_width)
    sam = build_sam(config.model.encoder, architecture)
    return MasgSamNetwork(config.model, sam, task.labels.num_classes, task.in_channels, text), sam.architecture


def _read_facts(folder: Path) -> dict[str, Any]:
    path = folder / FACTS
    mend = "give the folder that `masg-sam train --out` wrote, after training ended"
    if not path.is_file():
        found = "no such folder" if not folder.exists() else f"no {FACTS}"
        if (folder / STATE).is_file():
            found, mend = "a training that did not end", "continue it with `masg-sam train ... --resume`"
        raise CheckpointError("no trained model", path=folder, found=found, expected=FACTS, mend=mend)
    facts = read_json(path, CheckpointError, mend)
    if facts.get("format") != FORMAT:
        version = facts.get("masg_sam")
        raise CheckpointError(
            "model of another format",
            path=path,
            found=f"written by version {version}" if version else "not written by masg-sam",
            expected=f"format {FORMAT}, as version {__version__} writes it",
            mend=f"train again, or use the version that wrote it: {version}" if version else mend,
        )
    return facts


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """What JSON can hold of an architecture."""
    return json.loads(json.dumps(values, default=str))
