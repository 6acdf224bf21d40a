"""The state of an unfinished training, in one file that is replaced whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from masg_sam.errors import CheckpointError
from masg_sam.files import moved_into_place
from masg_sam.models.checkpoint import STATE


def save_state(
    folder: Path,
    step: int,
    network: nn.Module,
    average: dict[str, Tensor],
    optimizer: Optimizer,
    facts: dict[str, Any],
) -> None:
    """Write weights, averaged weights and optimiser; a kill at any moment leaves the old file or the new.

    Args:
        folder: the run.
        step: steps done.
        network: its weights.
        average: exponential moving average, by parameter name.
        optimizer: AdamW, its moments.
        facts: compared when the run is resumed.
    """
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": v for k, v in values.items()}
    tensors = {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
    with moved_into_place(folder / STATE) as place:
        save_file(tensors, place, metadata={"step": str(step), "facts": json.dumps(facts, sort_keys=True)})


def check_state(folder: Path, facts: dict[str, Any]) -> None:
    """See before anything is written that a run, if it was begun, can go on with these facts.

    Raises:
        CheckpointError: the file is damaged, or belongs to other settings or other data.
    """
    if (folder / STATE).exists():
        with _reading(folder / STATE) as file:
            saved = json.loads((file.metadata() or {})["facts"])
        _compare(folder / STATE, saved, facts)


def load_state(
    folder: Path, network: nn.Module, average: dict[str, Tensor], optimizer: Optimizer, facts: dict[str, Any]
) -> int:
    """Put a saved state back.

    Returns:
        The number of steps done.

    Raises:
        CheckpointError: the file is damaged, or belongs to other settings or other data.
    """
    check_state(folder, facts)
    with _reading(folder / STATE) as file:
        step = int(file.metadata()["step"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    network.load_state_dict(_part(tensors, "network."))
    for name, value in _part(tensors, "average.").items():
        average[name].copy_(value)
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _part(tensors, "optimizer.").items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return step


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """An open state; what is wrong in it is told as an error of ours."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(
            "training state is damaged",
            path=path,
            found=error,
            mend="delete the run's folder and train again",
        ) from error


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _compare(path: Path, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    found = _difference(saved, json.loads(json.dumps(wanted)), "")
    if found is not None:
        name, before, now = found
        raise CheckpointError(
            f"the run was started with another {name or 'version of this program'}",
            path=path,
            found=before,
            expected=now,
            mend="resume with the settings and data it was started with, or train into a new folder",
        )


def _difference(before: Any, now: Any, name: str) -> tuple[str, Any, Any] | None:
    """The first place where two trees of facts differ: its name, and both values."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return None if before == now else (name, before, now)
    for key in sorted(before.keys() | now.keys()):
        inner = _difference(before.get(key), now.get(key), f"{name}.{key}" if name else key)
        if inner is not None:
            return inner
    return None
