"""The plain decoder to compare with: a feature pyramid on the encoder's taps, nothing of SAM's decoder."""

from __future__ import annotations

from torch import Tensor, nn

from masg_sam.models.sam.layers import LayerNorm2d, resize

WIDTH = 128  # channels of the pyramid


class PlainDecoder(nn.Module):
    """Feature pyramid network (Lin et al., CVPR 2017) with a two-layer head at the finest tap's stride.

    Args:
        tap_channels: channels of each encoder tap, fine to coarse.
        num_classes: foreground classes K.
    """

    def __init__(self, tap_channels: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList([nn.Conv2d(c, WIDTH, 1) for c in tap_channels])
        self.smooth = nn.ModuleList([_block() for _ in tap_channels])
        self.head = nn.Conv2d(WIDTH, num_classes + 1, 1)

    def forward(self, taps: tuple[Tensor, ...]) -> Tensor:
        """Taps ``B x C_l x H/s_l x W/s_l`` to logits ``B x K+1 x H/s_1 x W/s_1``."""
        x: Tensor | None = None
        for tap, lateral, smooth in zip(taps[::-1], self.lateral[::-1], self.smooth[::-1], strict=True):
            level = lateral(tap)
            x = smooth(level if x is None else level + resize(x, level.shape[-2:]))
        return self.head(x)


def _block() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), LayerNorm2d(WIDTH), nn.GELU())
