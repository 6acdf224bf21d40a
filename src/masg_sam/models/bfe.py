"""BFE, boundary feature enhancement: fine image detail, boundary maps, and a sharper mask.

The paper (Zhou et al., IEEE JBHI 2025) promises a boundary-sensitive module. The definition here is this
project's own; reverse attention follows the idea of Chen et al., "Reverse Attention for Salient Object
Detection", ECCV 2018.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masg_sam.models.sam.layers import LayerNorm2d, resize, zeroed

SCALES = (1.0, 2.0)
CHANNELS = 3  # of the network input


class BfeOutput(NamedTuple):
    """What BFE returns.

    Attributes:
        features: refined mask features, ``B x 32 x H/stride x W/stride``.
        boundary: boundary logits, one map a foreground class, ``B x K x H/4 x W/4``.
    """

    features: Tensor
    boundary: Tensor


class EdgeResponses(nn.Module):
    """Fixed edge filters: gradient magnitude (Sobel) and Laplacian of Gaussian, at two scales."""

    kernels: Tensor
    out_channels = 2 * len(SCALES) * CHANNELS  # response maps: two a scale and input channel

    def __init__(self) -> None:
        super().__init__()
        kernels = torch.stack([kernel for scale in SCALES for kernel in _edge_kernels(scale)])
        self.register_buffer("kernels", kernels.repeat(CHANNELS, 1, 1)[:, None], persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """``B x 3 x H x W`` to ``B x 12 x H x W``."""
        pad = self.kernels.shape[-1] // 2
        padded = F.pad(pixels, (pad, pad, pad, pad), mode="replicate")
        responses = F.conv2d(padded, self.kernels.to(pixels.dtype), groups=CHANNELS)
        maps = responses.unflatten(1, (CHANNELS * len(SCALES), 3))  # dx, dy, LoG
        magnitude = (maps[:, :, 0].square() + maps[:, :, 1].square() + 1e-6).sqrt()
        return torch.cat([magnitude, maps[:, :, 2]], dim=1)


class BoundaryEnhancement(nn.Module):
    """BFE: predicts K boundary maps and refines the decoder's features with them.

    The last layer of each residual branch is zero at the start.

    Args:
        tap_channels: channels of the finest encoder tap.
        channels: channels of the decoder's mask features.
        num_classes: foreground classes K.
        stride: stride of the refined features, 4 or 2.
    """

    def __init__(self, tap_channels: int, channels: int, num_classes: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.edges = EdgeResponses()
        self.stem2 = nn.Sequential(
            nn.Conv2d(self.edges.out_channels + CHANNELS, 16, 3, stride=2, padding=1), LayerNorm2d(16), nn.GELU()
        )
        self.stem4 = nn.Conv2d(16, channels, 3, stride=2, padding=1)
        self.tap = nn.Conv2d(tap_channels, channels, 1)
        self.detail = nn.Sequential(LayerNorm2d(channels), nn.GELU())
        self.boundary = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 3, padding=1), nn.GELU(), nn.Conv2d(channels, num_classes, 1)
        )
        self.refine4 = _residual_branch(3 * channels, channels)
        self.refine2 = _residual_branch(channels + 16, channels) if stride == 2 else None

    def forward(self, pixels: Tensor, tap: Tensor, features: Tensor, coarse: Tensor) -> BfeOutput:
        """Refine the mask features.

        Args:
            pixels: the network input, ``B x 3 x H x W``.
            tap: finest encoder tap, ``B x C x h x w``.
            features: the decoder's upscaled features, ``B x 32 x H/4 x W/4``.
            coarse: coarse logits, background first, ``B x K+1 x H/4 x W/4``.
        """
        detail2 = self.stem2(torch.cat([self.edges(pixels), pixels], dim=1))  # B x 16 x H/2 x W/2
        detail = self.detail(self.stem4(detail2) + resize(self.tap(tap), features.shape[-2:]))
        boundary = self.boundary(torch.cat([features, detail], dim=1))  # B x K x H/4 x W/4
        gate = boundary.sigmoid().amax(1, keepdim=True)  # B x 1 x H/4 x W/4
        missed = coarse.softmax(1)[:, :1]  # reverse attention: what no class holds
        features = features + self.refine4(torch.cat([features, detail * gate, detail * missed], dim=1))
        if self.refine2 is not None:
            size = detail2.shape[-2:]
            features = resize(features, size)  # B x 32 x H/2 x W/2
            features = features + self.refine2(torch.cat([features, detail2 * resize(gate, size)], dim=1))
        return BfeOutput(features, boundary)


def boundary_band(label: Tensor, num_classes: int, half_width: int) -> Tensor:
    """The band around each class's border.

    Args:
        label: class of each pixel, ``B x H x W``.
        num_classes: foreground classes K.
        half_width: pixels on each side of the border.

    Returns:
        ``B x K x H x W`` of 0 and 1; a pixel may lie in the bands of two touching classes.
    """
    classes = torch.arange(1, num_classes + 1, device=label.device)
    masks = (label[:, None] == classes[:, None, None]).float()
    window = 2 * half_width + 1
    grown = F.max_pool2d(masks, window, stride=1, padding=half_width)
    shrunk = -F.max_pool2d(-masks, window, stride=1, padding=half_width)
    return grown - shrunk


def _residual_branch(channels: int, out_channels: int) -> nn.Sequential:
    last = zeroed(nn.Conv2d(out_channels, out_channels, 1))
    return nn.Sequential(nn.Conv2d(channels, out_channels, 3, padding=1), nn.GELU(), last)


def _edge_kernels(sigma: float) -> tuple[Tensor, Tensor, Tensor]:
    """Sobel of a Gaussian along x and y, and the Laplacian of the Gaussian, each of unit L1 norm."""
    radius = round(3 * max(SCALES))
    axis = torch.arange(-radius, radius + 1, dtype=torch.float32)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    gaussian = torch.exp(-(x**2 + y**2) / (2 * sigma**2))
    sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    dx, dy = (F.conv2d(gaussian[None, None], kernel[None, None], padding=1)[0, 0] for kernel in (sobel, sobel.T))
    laplacian = (x**2 + y**2 - 2 * sigma**2) * gaussian
    laplacian = laplacian - laplacian.mean()
    return dx / dx.abs().sum(), dy / dy.abs().sum(), laplacian / laplacian.abs().sum()
