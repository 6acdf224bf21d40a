"""DSF, dynamic semantic fusion: class texts as queries, fused by a gate that follows the training.

The paper (Zhou et al., IEEE JBHI 2025) promises CLIP text semantics, an adaptive fusion while training goes
on, and semantic guidance combined with spatial adjustment. The definition here is this project's own.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masg_sam.models.sam.layers import zeroed

TEMPERATURE = 0.1  # of the cosines, where they are logits


class DsfOutput(NamedTuple):
    """What DSF returns.

    Attributes:
        embedding: the embedding after the image tokens attended to the class queries, ``B x 256 x h x w``.
        dense: what the similarity maps add to the dense prompt, ``B x 256 x h x w``.
        token_shift: what the texts add to the class tokens, ``B x K+1 x 256``.
        similarity: cosine to each class query, background first, ``B x K+1 x h x w``.
        logits: the class of each token as the texts alone tell it, the same shape.
        gate: the two gates (semantic, spatial), ``B x 2 x h x w`` in 0..1.
    """

    embedding: Tensor
    dense: Tensor
    token_shift: Tensor
    similarity: Tensor
    logits: Tensor
    gate: Tensor


class SemanticFusion(nn.Module):
    """DSF: guidance by class texts, in three places, each zero at the start.

    Args:
        vectors: centred text vectors of the classes, ``K x D``; they stay in the checkpoint.
        channels: channels of the image embedding.
        trainable: train the vectors too (the control "learned").
    """

    def __init__(self, vectors: Tensor, channels: int = 256, trainable: bool = False) -> None:
        super().__init__()
        unit = F.normalize(vectors.float(), dim=-1)
        if trainable:
            self.text = nn.Parameter(unit)
        else:
            self.register_buffer("text", unit)
        self.project = nn.Linear(vectors.shape[1], channels)
        self.background = nn.Parameter(torch.randn(1, channels) / math.sqrt(channels))
        self.pixel = nn.Conv2d(channels, channels, 1)
        self.token = zeroed(nn.Linear(channels, channels, bias=False))
        self.prototype = nn.Sequential(nn.LayerNorm(channels), zeroed(nn.Linear(channels, channels, bias=False)))
        self.spatial = zeroed(nn.Linear(channels, channels, bias=False))
        self.query, self.key = nn.Conv2d(channels, channels, 1), nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))
        self.gate = nn.Sequential(nn.Conv2d(channels + 5, 64, 1), nn.GELU(), nn.Conv2d(64, 2, 1))

    def forward(self, embedding: Tensor, progress: float) -> DsfOutput:
        """Fuse the class semantics into the embedding.

        Args:
            embedding: image embedding Z', ``B x 256 x h x w``.
            progress: part of the training that is done, 0..1; 1 at prediction.
        """
        queries = F.normalize(torch.cat([self.background, self.project(self.text)]), dim=-1)  # K+1 x 256
        pixels = F.normalize(self.pixel(embedding), dim=1)
        similarity = torch.einsum("bchw,kc->bkhw", pixels, queries.to(pixels.dtype))
        gate = self._gate(embedding, similarity, progress)
        attended = self._attend(embedding, queries)
        fused = embedding + gate[:, :1] * attended
        dense = torch.einsum("bkhw,kc->bchw", similarity, self.spatial(queries).to(similarity.dtype))
        logits = similarity.float() / TEMPERATURE
        token_shift = self.token(queries) + self.prototype(prototypes(fused, logits))
        return DsfOutput(fused, gate[:, 1:] * dense, token_shift, similarity, logits, gate)

    def _gate(self, embedding: Tensor, similarity: Tensor, progress: float) -> Tensor:
        """``sigmoid(MLP([Z', S, phi(s)]))``, with S as its two extremes so that K may vary."""
        batch, _, height, width = embedding.shape
        phase = (progress, math.sin(math.pi * progress), math.cos(math.pi * progress))
        code = embedding.new_tensor(phase).view(1, 3, 1, 1).expand(batch, 3, height, width)
        extremes = [similarity[:, :1], similarity[:, 1:].amax(1, keepdim=True)]
        return self.gate(torch.cat([embedding, *extremes, code], dim=1)).sigmoid()

    def _attend(self, embedding: Tensor, queries: Tensor) -> Tensor:
        """Cross-attention of the image tokens to the class queries."""
        channels = embedding.shape[1]
        scores = torch.einsum("bchw,kc->bkhw", self.query(embedding), self.key(queries)) / math.sqrt(channels)
        mixed = torch.einsum("bkhw,kc->bchw", scores.softmax(1), self.value(queries).to(scores.dtype))
        return self.out(mixed)


def prototypes(embedding: Tensor, logits: Tensor) -> Tensor:
    """What each class looks like in this image: the mean of the image tokens that its text claims.

    Args:
        embedding: image embedding, ``B x 256 x h x w``.
        logits: of each class, ``B x K+1 x h x w``; their softmax parts each token among the classes.

    Returns:
        ``B x K+1 x 256``; small for a class that claims less than a token in all.
    """
    claims = logits.softmax(1).flatten(2)  # B x K+1 x hw
    total = torch.einsum("bkn,bcn->bkc", claims, embedding.float().flatten(2))
    return total / claims.sum(2, keepdim=True).clamp(min=1)
