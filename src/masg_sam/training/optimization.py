"""Learning rates, averaged weights, device and arithmetic."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import ProjectConfiguration
from torch import Tensor, nn

from masg_sam.config import TrainingConfig
from masg_sam.devices import resolve_device, resolve_precision
from masg_sam.errors import ConfigError
from masg_sam.models.masg_sam import MasgSamNetwork

WARM_UP = 0.1  # part of the run in which the learning rate rises


def parameter_groups(network: MasgSamNetwork, config: TrainingConfig) -> list[dict[str, Any]]:
    """The encoder, SAM's decoder and the new layers, each with its own peak learning rate."""
    pretrained = ("decoder.", "prompt_encoder.sam.")
    groups: dict[str, list[nn.Parameter]] = {"encoder": [], "decoder": [], "new": []}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        kind = "new"
        if name.startswith("encoder."):
            kind = "encoder"
        elif name.startswith(pretrained) and not name.startswith(("decoder.join4", "decoder.join8")):
            kind = "decoder"
        groups[kind].append(parameter)
    peaks = {"encoder": config.encoder_lr, "decoder": config.decoder_lr, "new": config.lr}
    return [{"params": params, "lr": peaks[kind]} for kind, params in groups.items() if params]


def one_cycle(progress: float, peak: float) -> float:
    """Cosine from a 25th of the peak up to it, then down to nothing (Smith & Topin, 2019).

    Args:
        progress: part of the run that is done, 0..1.
        peak: highest learning rate.
    """
    if progress < WARM_UP:
        low, high, part = peak / 25, peak, progress / WARM_UP
    else:
        low, high, part = peak, peak * 1e-4, (progress - WARM_UP) / (1 - WARM_UP)
    return high + (low - high) * (1 + math.cos(math.pi * part)) / 2


class Average:
    """Exponential moving average of all weights.

    Its memory grows with the steps, so that a short run forgets its start as a long one does.

    Args:
        network: where the average starts.
        decay: part of the average that a step keeps, once there were enough steps.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state: dict[str, Tensor] = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after a step; ``step`` counts from 1."""
        weight = 1 - min(self.decay, step / (step + 9))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, weight)
            else:
                self.state[name].copy_(value)


def check_available(config: TrainingConfig) -> None:
    """See before anything is written that the device, its arithmetic and the trackers are there.

    Raises:
        ConfigError: one is not.
    """
    for tracker in config.trackers:
        if find_spec(tracker) is None:
            raise ConfigError(
                f"tracker {tracker} is not installed",
                expected=f"the package {tracker}",
                mend=f"pip install {tracker}, or leave it out of training.trackers",
            )
    device = resolve_device(config.device)
    if ":" in device:
        raise ConfigError(
            "training takes no number of a device",
            found=device,
            expected="cuda",
            mend=f"hide the others: CUDA_VISIBLE_DEVICES={device.partition(':')[2]}",
        )
    if device == "cpu" and config.precision == "fp16":
        raise ConfigError(
            "fp16 needs a GPU", found="device cpu", expected="fp32, bf16 or auto", mend="use --training.precision auto"
        )


def make_accelerator(config: TrainingConfig, folder: Path) -> Accelerator:
    """Device, mixed precision and trackers, through accelerate; they must be there, see :func:`check_available`."""
    AcceleratorState._reset_state(reset_partial_state=True)  # a process may train more than once
    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device)
    return Accelerator(
        cpu=device == "cpu",
        mixed_precision="no" if precision == "fp32" else precision,
        log_with=list(config.trackers) or None,
        project_config=ProjectConfiguration(project_dir=str(folder), logging_dir=str(folder / "curves")),
    )
