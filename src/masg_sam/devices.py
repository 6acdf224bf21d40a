"""Where the network runs, in which arithmetic, and how it lies in memory."""

from __future__ import annotations

from typing import Any

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


def resolve_precision(precision: str, device: str) -> str:
    """What ``auto`` means on this machine: bfloat16 where the processor computes with it, else float32."""
    if precision != "auto":
        return precision
    if device in ("auto", "cuda") and torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device == "mps" or (device == "auto" and torch.backends.mps.is_available()):
        return "fp32"
    features: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # from PyTorch 2.9 on
    return "bf16" if features.get("avx512_bf16") or features.get("amx_bf16") else "fp32"


def mixed_precision(precision: str, device: torch.device) -> torch.autocast:
    """The arithmetic of prediction: bfloat16 where training would use it, else float32.

    Never float16, whose loss scaling tells training of an overflow; nothing would tell prediction.

    Args:
        precision: as the model was trained with: ``auto``, ``fp32``, ``bf16``, ``fp16``.
        device: where the network is.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=resolve_precision(precision, device.type) == "bf16")


def memory_format(device: torch.device) -> torch.memory_format:
    """How images and weights lie in memory: channels last, in which convolutions are quicker.

    Not on Apple's GPUs, where gradients in that order have been wrong (PyTorch's issue 175189).
    """
    return torch.contiguous_format if device.type == "mps" else torch.channels_last
