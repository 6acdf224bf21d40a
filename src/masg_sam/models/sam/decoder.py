"""SAM's mask decoder with a token for the background and one for each class."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers.models.sam.modeling_sam import SamMaskDecoder

from masg_sam.models.sam.layers import resize, zeroed


class DecoderOutput(NamedTuple):
    """What one pass of the decoder returns.

    Attributes:
        logits: background first, ``B x K+1 x H/4 x W/4``.
        features: upscaled mask features, ``B x 32 x H/4 x W/4``.
        kernels: one vector a class; their product with the features is the logits, ``B x K+1 x 32``.
    """

    logits: Tensor
    features: Tensor
    kernels: Tensor


class MaskDecoder(nn.Module):
    """SAM's two-way transformer and upscaling, with K + 1 class tokens.

    The background starts from SAM's first mask token and its hypernetwork, class k from token
    ``1 + (k - 1) mod 3``; with three classes and no additions the logits are SAM's own four masks.

    Args:
        sam: transformers' mask decoder, with its weights.
        num_classes: foreground classes K.
        level_channels: channels of the levels that join while upscaling; 0 for none.
    """

    def __init__(self, sam: SamMaskDecoder, num_classes: int, level_channels: int = 0) -> None:
        super().__init__()
        origin = [0] + [1 + k % (sam.num_mask_tokens - 1) for k in range(num_classes)]
        self.iou_token = nn.Parameter(sam.iou_token.weight.detach().clone())
        self.class_tokens = nn.Parameter(sam.mask_tokens.weight.detach()[origin].clone())
        self.hypernetworks = nn.ModuleList([copy.deepcopy(sam.output_hypernetworks_mlps[i]) for i in origin])
        self.transformer = sam.transformer
        self.upscale_conv1, self.upscale_conv2 = sam.upscale_conv1, sam.upscale_conv2
        self.upscale_layer_norm, self.activation = sam.upscale_layer_norm, sam.activation
        self.join8 = _joint(level_channels, self.upscale_conv1.out_channels)
        self.join4 = _joint(level_channels, self.upscale_conv2.out_channels)

    def forward(
        self,
        embedding: Tensor,
        position: Tensor,
        sparse: Tensor,
        dense: Tensor,
        class_shift: Tensor | None = None,
        levels: tuple[Tensor, Tensor] | None = None,
    ) -> DecoderOutput:
        """Decode one mask a class.

        Args:
            embedding: image embedding, ``B x 256 x h x w``.
            position: position codes of its grid, ``1 x 256 x h x w``.
            sparse: embedded points, ``B x N x 256``.
            dense: embedded masks, ``B x 256 x h x w``.
            class_shift: added to the class tokens, ``B x K+1 x 256``.
            levels: encoder levels to join at stride 8 and at stride 4, ``B x D x . x .`` each.
        """
        batch, channels, height, width = embedding.shape
        classes = self.class_tokens if class_shift is None else self.class_tokens + class_shift
        own = torch.cat([self.iou_token.expand(batch, -1, -1), classes.expand(batch, -1, -1)], dim=1)
        tokens = torch.cat([own.to(sparse.dtype), sparse], dim=1)[:, None]  # B x 1 x 2+K+N x 256
        tokens, image = self.transformer(
            point_embeddings=tokens,
            image_embeddings=embedding + dense,
            image_positional_embeddings=position.expand(batch, -1, -1, -1),
            attention_similarity=None,
        )[:2]
        image = image.transpose(2, 3).reshape(batch, channels, height, width)
        features = self._upscale(image, levels)
        kernels = torch.stack([net(tokens[:, 0, 1 + k]) for k, net in enumerate(self.hypernetworks)], 1)
        return DecoderOutput(apply_kernels(kernels, features), features, kernels)

    def _upscale(self, image: Tensor, levels: tuple[Tensor, Tensor] | None) -> Tensor:
        """``B x 256 x h x w`` to ``B x 32 x 4h x 4w``."""
        middle = self.upscale_conv1(image)  # B x 64 x 2h x 2w
        if levels is not None and self.join8 is not None:
            middle = middle + resize(self.join8(levels[0]), middle.shape[-2:])
        middle = self.activation(self.upscale_layer_norm(middle))
        fine = self.upscale_conv2(middle)  # B x 32 x 4h x 4w
        if levels is not None and self.join4 is not None:
            fine = fine + resize(self.join4(levels[1]), fine.shape[-2:])
        return self.activation(fine)


def apply_kernels(kernels: Tensor, features: Tensor) -> Tensor:
    """Logits ``B x K+1 x H x W`` from class vectors ``B x K+1 x C`` and features ``B x C x H x W``."""
    return torch.einsum("bkc,bchw->bkhw", kernels, features)


def _joint(channels: int, out_channels: int) -> nn.Conv2d | None:
    if not channels:
        return None
    return zeroed(nn.Conv2d(channels, out_channels, 1))
