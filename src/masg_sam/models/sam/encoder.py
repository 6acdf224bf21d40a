"""The one interface of all image encoders."""

from __future__ import annotations

from typing import NamedTuple

from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

LORA_TARGET = "qkv"  # the layer that makes queries, keys and values, in TinyViT as in SAM's ViT
ADAPTER = "default"  # peft's name of the one adapter


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
        lora_scale: of the low-rank updates; 0 without them.
    """

    tap_channels: tuple[int, ...]
    tap_strides: tuple[int, ...]
    lora_scale = 0.0

    def forward(self, pixels: Tensor) -> EncoderFeatures:
        """Encode ``B x 3 x H x W`` normalised pixels; H and W are multiples of 32."""
        raise NotImplementedError

    def add_lora(self, rank: int, alpha: int | None = None) -> None:
        """Freeze the encoder but for low-rank updates of its queries, keys and values (Hu et al., ICLR 2022).

        Args:
            rank: of the updates.
            alpha: their scale is ``alpha / rank``; ``rank`` if not given.
        """
        alpha = rank if alpha is None else alpha
        self.requires_grad_(False)
        lora = LoraConfig(r=rank, lora_alpha=alpha, target_modules=[LORA_TARGET], lora_dropout=0.0, bias="none")
        inject_adapter_in_model(lora, self, adapter_name=ADAPTER)
        self.lora_scale = alpha / rank

    def merge_state(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A state of this module with the updates added to the weights they update; plain names again."""
        if not self.lora_scale:
            return state
        merged = {k.replace(".base_layer.", "."): v.clone() for k, v in state.items() if ".lora_" not in k}
        for name, down in state.items():
            if f".lora_A.{ADAPTER}.weight" in name:
                up = state[name.replace(".lora_A.", ".lora_B.")]
                merged[name.replace(f".lora_A.{ADAPTER}.weight", ".weight")] += self.lora_scale * (up @ down)
        return merged
