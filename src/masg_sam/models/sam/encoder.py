"""The one interface of all image encoders."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


class EncoderFeatures(NamedTuple):
    """What an image encoder returns.

    Attributes:
        taps: intermediate feature maps, fine to coarse, ``B x C_l x H/s_l x W/s_l``.
        neck: SAM's image embedding, ``B x 256 x H/16 x W/16``.
    """

    taps: tuple[Tensor, ...]
    neck: Tensor


class SamEncoder(nn.Module):
    """Base of the image encoders: normalised pixels in, :class:`EncoderFeatures` out.

    Attributes:
        tap_channels: channels of each tap.
        tap_strides: stride of each tap in input pixels.
    """

    tap_channels: tuple[int, ...]
    tap_strides: tuple[int, ...]

    def forward(self, pixels: Tensor) -> EncoderFeatures:
        """Encode ``B x 3 x H x W`` normalised pixels; H and W are multiples of 32."""
        raise NotImplementedError
