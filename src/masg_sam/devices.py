"""Where the network runs."""

from __future__ import annotations

import torch

from masg_sam.errors import ConfigError


def resolve_device(device: str) -> str:
    """What ``auto`` means on this machine; any other name is returned once it is known to be there.

    Args:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` ..., ``mps``.

    Raises:
        ConfigError: there is no such device.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    apple = torch.backends.mps.is_available()
    if device == "auto":
        return "cuda" if gpus else "mps" if apple else "cpu"
    there = ["cpu", *(["mps"] if apple else []), *(["cuda"] if gpus else []), *(f"cuda:{i}" for i in range(gpus))]
    if device not in there:
        raise ConfigError(
            f"device {device} is not available",
            found=", ".join(there),
            expected="auto, or one of these",
            mend="use auto",
        )
    return device
