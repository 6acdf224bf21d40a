"""HAE, hierarchical attention enhancement: attention over the levels of the encoder, at every position.

The paper (Zhou et al., IEEE JBHI 2025) promises a better attention distribution over hierarchical feature
maps, more feature diversity and less feature drift. The definition here is this project's own.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masg_sam.config import HaeConfig
from masg_sam.models.sam.layers import LayerNorm2d, resize

REACH, FADE = 4, 2  # cells: how far beyond the coarse mask the levels go; over so many to either side they fade


class HaeOutput(NamedTuple):
    """What HAE returns.

    Attributes:
        embedding: enhanced image embedding Z', ``B x 256 x H/16 x W/16``.
        levels: gated levels at their own strides, ``B x D x H/s_l x W/s_l``.
        attention: attention over the L levels, ``B x L x H/16 x W/16``; sums to 1 over L.
        diversity: diversity loss, a scalar: level similarity plus the shortfall of entropy.
        drift: mean cosine distance between Z' and Z, a scalar.
        drift_loss: the part of that distance past the margin, a scalar.
    """

    embedding: Tensor
    levels: tuple[Tensor, ...]
    attention: Tensor
    diversity: Tensor
    drift: Tensor
    drift_loss: Tensor


class Level(nn.Module):
    """Brings one tap to the common width, then gates its channels and its positions.

    Unnormalised encoder features degrade the pre-trained decoder, so each level has its own norms.

    Args:
        channels: channels of the tap.
        width: channels of the level.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.neck = nn.Sequential(
            nn.Conv2d(channels, width, 1, bias=False),
            LayerNorm2d(width),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            LayerNorm2d(width),
        )
        self.channel_gate = nn.Sequential(nn.Linear(width, width // 4), nn.GELU(), nn.Linear(width // 4, width))
        self.spatial_gate = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, tap: Tensor) -> Tensor:
        """``B x C_l x h x w`` to ``B x D x h x w``."""
        x = self.neck(tap)
        x = x * (2 * torch.sigmoid(self.channel_gate(x.mean((2, 3)))))[:, :, None, None]
        summary = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)  # B x 2 x h x w
        return x * (2 * torch.sigmoid(self.spatial_gate(summary)))


class HierarchicalAttention(nn.Module):
    """HAE: ``Z' = Z + gamma * W_o(sum_l alpha_l * V_l)``.

    ``gamma`` is zero at the start, so training starts from SAM itself.

    Args:
        tap_channels: channels of each encoder tap, fine to coarse.
        channels: channels of the embedding Z.
        config: width and the two loss terms.
    """

    def __init__(self, tap_channels: tuple[int, ...], channels: int, config: HaeConfig) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.levels = nn.ModuleList([Level(c, width) for c in tap_channels])
        self.query = nn.Conv2d(channels, width, 1)
        self.keys = nn.ModuleList([nn.Conv2d(width, width, 1) for _ in tap_channels])
        self.values = nn.ModuleList([nn.Conv2d(width, width, 1) for _ in tap_channels])
        self.out = nn.Conv2d(width, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(channels))

    def forward(self, taps: tuple[Tensor, ...], embedding: Tensor) -> HaeOutput:
        """Enhance the embedding with all levels.

        Args:
            taps: encoder taps ``B x C_l x H/s_l x W/s_l``.
            embedding: SAM's embedding Z, ``B x 256 x H/16 x W/16``.
        """
        levels = tuple(level(tap) for level, tap in zip(self.levels, taps, strict=True))
        grid = (embedding.shape[2], embedding.shape[3])
        pooled = [F.adaptive_avg_pool2d(level, grid) for level in levels]  # each B x D x h x w
        query = self.query(embedding)  # B x D x h x w
        keys = torch.stack([key(x) for key, x in zip(self.keys, pooled, strict=True)], 1)
        values = torch.stack([value(x) for value, x in zip(self.values, pooled, strict=True)], 1)
        scores = (query[:, None] * keys).sum(2) / math.sqrt(query.shape[1])  # B x L x h x w
        attention = scores.softmax(1)
        mixed = (attention[:, :, None] * values).sum(1)  # B x D x h x w
        enhanced = embedding + self.gamma[:, None, None] * self.out(mixed)
        drift = 1 - F.cosine_similarity(enhanced.float(), embedding.float(), dim=1)  # B x h x w
        return HaeOutput(
            enhanced,
            levels,
            attention,
            self._diversity(values, attention),
            drift.mean(),
            F.relu(drift - self.config.drift_margin).mean(),
        )

    def _diversity(self, values: Tensor, attention: Tensor) -> Tensor:
        """Mean squared cosine between the levels' descriptors, plus the shortfall of the entropy."""
        descriptors = F.normalize(values.float().mean((3, 4)), dim=-1)  # B x L x D
        cosines = descriptors @ descriptors.transpose(1, 2)  # B x L x L
        levels = cosines.shape[1]
        if levels < 2:
            return cosines.new_zeros(())
        off_diagonal = ~torch.eye(levels, dtype=torch.bool, device=cosines.device)
        mean = attention.float().mean((0, 2, 3))  # L
        entropy = -(mean * (mean + 1e-8).log()).sum() / math.log(levels)
        return cosines[:, off_diagonal].square().mean() + F.relu(self.config.entropy_floor - entropy)


def confine(levels: tuple[Tensor, Tensor], coarse: Tensor) -> tuple[Tensor, Tensor]:
    """Levels faded out where no class is near: the embedding says where, the levels say how exactly.

    Fine levels by themselves take the texture of a handful of images for the structure, far away from it too.

    Args:
        levels: those at strides 8 and 4, ``B x D x . x .`` each.
        coarse: logits of the first pass, background first, ``B x K+1 x H/4 x W/4``; it is not trained by this.

    Returns:
        The levels times a weight in 0..1 for each position: the foreground's largest probability within reach.
    """
    foreground = 1 - coarse.detach().float().softmax(1)[:, :1]
    reach = F.max_pool2d(foreground, 2 * REACH + 1, stride=1, padding=REACH)
    weight = F.avg_pool2d(reach, 2 * FADE + 1, stride=1, padding=FADE, count_include_pad=False)  # B x 1 x H/4 x W/4
    middle, fine = (level * resize(weight.to(level.dtype), level.shape[-2:]) for level in levels)
    return middle, fine
