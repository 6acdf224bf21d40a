"""TinyViT, the image encoder of MobileSAM, as a pyramid that runs at any input size.

Source: Wu et al., "TinyViT: Fast Pretraining Distillation for Small Vision Transformers", ECCV 2022, in the
5M variant that Zhang et al. distilled from SAM ViT-H ("Faster Segment Anything", 2023). Batch norms are
folded into their convolutions: with a handful of images their statistics could not be trained anyway.
Module names follow the published checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masg_sam.models.sam.encoder import EncoderFeatures, SamEncoder
from masg_sam.models.sam.layers import LayerNorm2d

WIDTHS = (64, 128, 160, 320)
DEPTHS = (2, 2, 6, 2)
HEADS = (2, 4, 5, 10)
WINDOWS = (7, 7, 14, 7)
STRIDES = (4, 8, 16, 16)
LARGEST = 1.5  # window, as a multiple of that it was trained with
PADDING = 0.1  # of the grid's side, with which windows still fit


class MBConv(nn.Module):
    """Inverted bottleneck: expand by 4, depth-wise 3 x 3, project, add.

    Args:
        width: channels in and out.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = 4 * width
        self.conv1 = nn.Conv2d(width, hidden, 1)
        self.conv2 = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.conv3 = nn.Conv2d(hidden, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``B x C x H x W`` to the same shape."""
        hidden = F.gelu(self.conv2(F.gelu(self.conv1(x))))
        return F.gelu(x + self.conv3(hidden))


class PatchMerging(nn.Module):
    """Change of width between two stages, with stride 2 or 1.

    Args:
        width: channels in.
        out_width: channels out.
        stride: 2 halves the resolution, 1 keeps it.
    """

    def __init__(self, width: int, out_width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, out_width, 1)
        self.conv2 = nn.Conv2d(out_width, out_width, 3, stride=stride, padding=1, groups=out_width)
        self.conv3 = nn.Conv2d(out_width, out_width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``B x C x H x W`` to ``B x C' x H/stride x W/stride``."""
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))


class WindowAttention(nn.Module):
    """Self-attention inside square windows with a learned bias for each offset ``(|dy|, |dx|)``.

    Args:
        width: channels, a multiple of ``heads``.
        heads: attention heads.
        window: side of the window in tokens.
    """

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))

    def forward(self, x: Tensor, shape: tuple[int, int]) -> Tensor:
        """Windows ``N x (rows columns) x C`` to the same; ``shape`` is their rows and columns."""
        n, length, width = x.shape
        # Each head's query, key and value lie side by side: N x length x heads x 3d.
        qkv = self.qkv(self.norm(x)).view(n, length, self.heads, -1).transpose(1, 2)
        query, key, value = qkv.chunk(3, dim=-1)  # N x heads x length x d
        offsets = _offset_index(shape, self.window, x.device)
        bias = self.attention_biases[:, offsets]  # heads x length x length
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype)[None])
        return self.proj(out.transpose(1, 2).reshape(n, length, width))


class Mlp(nn.Module):
    """Pre-normed two-layer perceptron over the channels.

    Args:
        width: channels in and out; the hidden layer has four times as many.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``... x C`` to the same shape."""
        return self.fc2(F.gelu(self.fc1(self.norm(x))))


class TinyVitBlock(nn.Module):
    """Window attention, a depth-wise convolution that joins the windows, and a perceptron.

    Args:
        width: channels in and out.
        heads: attention heads.
        window: side of the attention windows in tokens.
    """

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.attn = WindowAttention(width, heads, window)
        self.local_conv = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        """``B x C x H x W`` to the same shape."""
        height, width = x.shape[2:]
        tokens = x.permute(0, 2, 3, 1)  # B x H x W x C
        shape = (window_side(height, self.attn.window), window_side(width, self.attn.window))
        windows, grid = _to_windows(tokens, shape)
        tokens = tokens + _from_windows(self.attn(windows, shape), shape, grid)[:, :height, :width]
        tokens = self.local_conv(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        tokens = tokens + self.mlp(tokens)
        return tokens.permute(0, 3, 1, 2)


class Stage(nn.Module):
    """Blocks of one width, then the change to the next width where there is one."""

    def __init__(self, blocks: list[nn.Module], downsample: PatchMerging | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample


class TinyVit(SamEncoder):
    """MobileSAM's image encoder.

    Taps are the outputs of the four stages: 64 channels at stride 4, 128 at 8, 160 at 16, 320 at 16. There
    is no absolute position table, so any size that is a multiple of 32 works. Attention windows are those it
    was trained with where these fit the grid, as they do for 224, 448 and 1024 pixels; else windows of nearly
    their size that do (see :func:`window_side`).
    """

    tap_channels = WIDTHS
    tap_strides = STRIDES

    def __init__(self) -> None:
        super().__init__()
        stem = nn.Sequential(
            nn.Conv2d(3, WIDTHS[0] // 2, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(WIDTHS[0] // 2, WIDTHS[0], 3, stride=2, padding=1),
        )
        self.patch_embed = nn.ModuleDict({"seq": stem})
        self.layers = nn.ModuleList([_stage(i) for i in range(len(WIDTHS))])
        self.neck = nn.Sequential(
            nn.Conv2d(WIDTHS[-1], 256, 1, bias=False),
            LayerNorm2d(256),
            nn.Conv2d(256, 256, 3, padding=1, bias=False),
            LayerNorm2d(256),
        )

    def forward(self, pixels: Tensor) -> EncoderFeatures:
        """Encode normalised images.

        Args:
            pixels: ``B x 3 x H x W``; H and W are multiples of 32.

        Returns:
            The four taps and the neck output ``B x 256 x H/16 x W/16``.
        """
        x = self.patch_embed["seq"](pixels)  # B x 64 x H/4 x W/4
        taps = []
        for stage in cast("Iterable[Stage]", self.layers):
            for block in stage.blocks:
                x = block(x)
            taps.append(x)
            if stage.downsample is not None:
                x = stage.downsample(x)
        return EncoderFeatures(tuple(taps), self.neck(x))


def _stage(index: int) -> Stage:
    width, depth = WIDTHS[index], DEPTHS[index]
    if index == 0:
        blocks: list[nn.Module] = [MBConv(width) for _ in range(depth)]
    else:
        blocks = [TinyVitBlock(width, HEADS[index], WINDOWS[index]) for _ in range(depth)]
    if index + 1 == len(WIDTHS):
        return Stage(blocks, None)
    stride = STRIDES[index + 1] // STRIDES[index]
    return Stage(blocks, PatchMerging(width, WIDTHS[index + 1], stride))


def window_side(tokens: int, window: int) -> int:
    """Side of the attention windows along one axis of the grid.

    Zero-padding to whole windows, as published, would leave the last 2 of 16 tokens alone with 12 of padding.

    Args:
        tokens: of the grid along the axis.
        window: side that the encoder was trained with.
    """
    if tokens <= LARGEST * window:
        return tokens
    if -tokens % window <= PADDING * tokens:
        return window
    return math.ceil(tokens / round(tokens / window))


def _offset_index(shape: tuple[int, int], window: int, device: torch.device) -> Tensor:
    """Index into the bias table for each pair of a window's tokens; the table's last offset serves those beyond it."""
    row, column = torch.meshgrid(*(torch.arange(n, device=device) for n in shape), indexing="ij")
    row, column = row.flatten(), column.flatten()
    down, across = (row[:, None] - row).abs(), (column[:, None] - column).abs()
    return down.clamp(max=window - 1) * window + across.clamp(max=window - 1)


def _to_windows(tokens: Tensor, shape: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
    """``B x H x W x C`` to ``(B nH nW) x (rows columns) x C``, zero-padded to whole windows of ``shape``."""
    _, height, width, channels = tokens.shape
    rows, columns = shape
    pad_h, pad_w = -height % rows, -width % columns
    if pad_h or pad_w:
        tokens = F.pad(tokens, (0, 0, 0, pad_w, 0, pad_h))
    down, across = (height + pad_h) // rows, (width + pad_w) // columns
    grid = tokens.reshape(-1, down, rows, across, columns, channels).transpose(2, 3)
    return grid.reshape(-1, rows * columns, channels), (down, across)


def _from_windows(windows: Tensor, shape: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """The inverse of :func:`_to_windows`, padding still on: ``B x nH*rows x nW*columns x C``."""
    (rows, columns), (down, across) = shape, grid
    channels = windows.shape[-1]
    tokens = windows.reshape(-1, down, across, rows, columns, channels).transpose(2, 3)
    return tokens.reshape(-1, down * rows, across * columns, channels)
