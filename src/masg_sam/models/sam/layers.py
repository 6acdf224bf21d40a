"""Small layers that SAM's parts and the modules around them share."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Layer = TypeVar("Layer", bound=nn.Module)
EPSILON = 1e-6  # added to the variance


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of a feature map (Kirillov et al., "Segment Anything", 2023).

    Args:
        channels: number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """``B x C x H x W`` to the same shape."""
        channels_last = x.permute(0, 2, 3, 1)
        normed = F.layer_norm(channels_last, channels_last.shape[-1:], self.weight, self.bias, EPSILON)
        return normed.permute(0, 3, 1, 2)


def zeroed(layer: Layer) -> Layer:
    """The layer with all its weights at zero, so that what it adds grows from nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def resize(x: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Bilinear resize of ``B x C x H x W`` to ``size`` (rows, columns); free when the size is right."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
