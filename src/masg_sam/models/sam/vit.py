"""SAM's own ViT-B / L / H image encoder through transformers, at any input size.

Source: Kirillov et al., "Segment Anything", ICCV 2023; Li et al., "Exploring Plain Vision Transformer
Backbones for Object Detection", ECCV 2022.
"""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import SamVisionConfig
from transformers.models.sam.modeling_sam import SamVisionEncoder

from masg_sam.errors import ConfigError, WeightsError
from masg_sam.models.sam.encoder import EncoderFeatures, SamEncoder


class VitEncoder(SamEncoder):
    """SAM's ViT with its intermediate blocks as taps.

    The absolute position table stays as trained and is interpolated to the input's grid on the way; so are the
    relative tables of the global blocks, which the configuration tells apart from the windowed ones by index.

    Args:
        config: transformers' configuration of the encoder.
        taps: blocks whose outputs are returned; ``None`` for the usual four, see :func:`default_taps`.
    """

    def __init__(self, config: SamVisionConfig, taps: list[int] | None = None) -> None:
        super().__init__()
        config._attn_implementation = "sdpa"
        self.vision = SamVisionEncoder(config)
        self.taps: tuple[int, ...] = tuple(taps) if taps else default_taps(config.num_hidden_layers)
        wrong = [block for block in self.taps if not 0 <= block < config.num_hidden_layers]
        if wrong:
            raise ConfigError(
                "no such blocks to tap",
                found=wrong,
                expected=f"0 to {config.num_hidden_layers - 1}",
                mend="correct --model.encoder.taps, or leave it out",
            )
        self.tap_channels = (config.hidden_size,) * len(self.taps)
        self.tap_strides = (cast(int, config.patch_size),) * len(self.taps)
        self.checkpointing = False

    def forward(self, pixels: Tensor) -> EncoderFeatures:
        """Encode normalised images ``B x 3 x H x W``; H and W are multiples of 32."""
        x = self.vision.patch_embed.projection(pixels).permute(0, 2, 3, 1)  # B x h x w x C
        if self.vision.pos_embed is not None:
            x = x + self._position(self.vision.pos_embed, (x.shape[1], x.shape[2]))
        taps = {}
        for index, layer in enumerate(self.vision.layers):
            recompute = self.checkpointing and self.training
            x = checkpoint(layer, x, use_reentrant=False) if recompute else layer(x)
            x = x[0] if isinstance(x, tuple) else x
            if index in self.taps:
                taps[index] = x.permute(0, 3, 1, 2)
        return EncoderFeatures(tuple(taps[index] for index in self.taps), self.vision.neck(x))

    def set_gradient_checkpointing(self, enabled: bool) -> None:
        """Recompute activations during backpropagation instead of keeping them."""
        self.checkpointing = enabled

    def load_vision_state(self, state: dict[str, Tensor]) -> None:
        """Fill with weights under transformers' names (``SamVisionEncoder``).

        Raises:
            WeightsError: a tensor is missing, left over, or of another shape.
        """
        state = {name.removeprefix("vision_encoder."): value for name, value in state.items()}
        try:
            self.vision.load_state_dict(state, strict=True)
        except RuntimeError as error:
            raise WeightsError("weights do not fit this ViT", found=error) from error

    def _position(self, table: Tensor, grid: tuple[int, int]) -> Tensor:
        """``1 x 64 x 64 x C``, at 1024 pixels, to the codes of a grid."""
        if tuple(table.shape[1:3]) == grid:
            return table
        resized = F.interpolate(
            table.permute(0, 3, 1, 2).float(), size=grid, mode="bicubic", align_corners=False, antialias=True
        )
        return resized.permute(0, 2, 3, 1).to(table.dtype)


def default_taps(depth: int) -> tuple[int, ...]:
    """Four levels: blocks 3, 5, 7, 11 of ViT-B as in MASG-SAM's repository, every quarter of deeper ones."""
    if depth == 12:
        return (3, 5, 7, 11)
    count = min(4, depth)
    return tuple(depth * (i + 1) // count - 1 for i in range(count))
