from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masg_sam.models.sam.tiny_vit import (
    MBConv,
    PatchMerging,
    TinyVit,
    TinyVitBlock,
    WindowAttention,
    _from_windows,
    _to_windows,
    window_side,
)


@pytest.fixture(scope="module")
def encoder() -> TinyVit:
    torch.manual_seed(0)
    return TinyVit().eval()


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (224, 32)])
@torch.no_grad()
def test_shapes_at_any_multiple_of_32(encoder: TinyVit, size: tuple[int, int]) -> None:
    features = encoder(torch.randn(1, 3, *size))
    rows, columns = size
    for tap, channels, stride in zip(features.taps, encoder.tap_channels, encoder.tap_strides, strict=True):
        assert tap.shape == (1, channels, rows // stride, columns // stride)
    assert features.neck.shape == (1, 256, rows // 16, columns // 16)


def test_size_is_that_of_mobile_sams_encoder(encoder: TinyVit) -> None:
    """5.73 million values with folded batch norms and without the classification head."""
    assert sum(p.numel() for p in encoder.parameters()) == pytest.approx(5.73e6, rel=5e-3)


@torch.no_grad()
def test_images_of_a_batch_do_not_see_each_other(encoder: TinyVit) -> None:
    pixels = torch.randn(3, 3, 64, 64)
    torch.testing.assert_close(encoder(pixels).neck[1:2], encoder(pixels[1:2]).neck, rtol=1e-4, atol=1e-4)


def test_merging_halves_or_keeps() -> None:
    x = torch.randn(1, 8, 10, 6)
    assert PatchMerging(8, 12, 2)(x).shape == (1, 12, 5, 3)
    assert PatchMerging(8, 12, 1)(x).shape == (1, 12, 10, 6)


def test_a_silent_bottleneck_is_a_gelu() -> None:
    block, x = MBConv(4), torch.randn(1, 4, 5, 5)
    torch.nn.init.zeros_(block.conv3.weight)
    torch.nn.init.zeros_(block.conv3.bias)
    torch.testing.assert_close(block(x), torch.nn.functional.gelu(x))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 7), st.integers(1, 7))
def test_windows_and_back(height: int, width: int, rows: int, columns: int) -> None:
    tokens = torch.arange(2 * height * width * 3.0).view(2, height, width, 3)
    windows, grid = _to_windows(tokens, (rows, columns))
    assert grid == (-(-height // rows), -(-width // columns))
    assert windows.shape == (2 * grid[0] * grid[1], rows * columns, 3)
    back = _from_windows(windows, (rows, columns), grid)
    assert torch.equal(back[:, :height, :width], tokens)
    assert not back[:, height:].any() and not back[:, :, width:].any()


def by_hand(attention: WindowAttention, x: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """The attention of one window with loops over heads and token pairs."""
    qkv = attention.qkv(attention.norm(x))[0]
    depth = x.shape[-1] // attention.heads
    places = [(r, c) for r in range(rows) for c in range(columns)]
    heads = []
    for h in range(attention.heads):
        query, key, value = qkv[:, 3 * depth * h : 3 * depth * (h + 1)].split(depth, 1)
        scores = query @ key.T / depth**0.5
        for i, (r, c) in enumerate(places):
            for j, (s, d) in enumerate(places):
                down, across = (min(abs(n), attention.window - 1) for n in (r - s, c - d))
                scores[i, j] += attention.attention_biases[h, down * attention.window + across]
        heads.append(scores.softmax(-1) @ value)
    return attention.proj(torch.cat(heads, 1))[None]


@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (2, 3), (1, 2), (4, 3), (2, 5)])
@torch.no_grad()
def test_window_attention_by_hand(rows: int, columns: int) -> None:
    torch.manual_seed(0)
    attention = WindowAttention(8, 2, 3)
    attention.attention_biases.normal_()
    x = torch.randn(1, rows * columns, 8)
    torch.testing.assert_close(attention(x, (rows, columns)), by_hand(attention, x, rows, columns))


@torch.no_grad()
def test_a_grid_smaller_than_the_window_is_one_window_without_padding() -> None:
    """Were it padded, the zeros would draw attention and change the result."""
    torch.manual_seed(0)
    block = TinyVitBlock(8, 2, 7)
    x = torch.randn(1, 8, 3, 5)
    tokens = x.permute(0, 2, 3, 1)
    attended = tokens + block.attn(tokens.reshape(1, 15, 8), (3, 5)).view(1, 3, 5, 8)
    tokens = block.local_conv(attended.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(block(x), (tokens + block.mlp(tokens)).permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("tokens", "window", "side"),
    [
        (9, 14, 9),  # a smaller grid is one window
        (16, 14, 16),  # and so is a slightly larger one: two of 14 would be nearly half padding
        (21, 14, 21),
        (22, 14, 11),
        (28, 14, 14),
        (32, 14, 16),
        (64, 14, 14),  # of SAM's 1024 pixels, as MobileSAM was trained: 70 with its padding
        (128, 7, 7),
        (64, 7, 7),
    ],
)
def test_windows_fit_the_grid(tokens: int, window: int, side: int) -> None:
    assert window_side(tokens, window) == side


@given(st.integers(1, 200), st.sampled_from([7, 14]))
def test_little_of_a_grid_is_padding(tokens: int, window: int) -> None:
    side = window_side(tokens, window)
    assert side <= 1.5 * window
    assert -tokens % side <= 0.2 * tokens


@torch.no_grad()
def test_the_last_columns_of_a_wide_image_attend_to_the_others(encoder: TinyVit) -> None:
    """256 pixels are 16 tokens, two more than the window: they must not be left alone with padding."""
    torch.manual_seed(0)
    block = TinyVitBlock(8, 2, 14)
    x = torch.randn(1, 8, 12, 16)
    other = x.clone()
    other[..., 0] += torch.randn(1, 8, 12)
    assert not torch.equal(block(x)[..., -1], block(other)[..., -1])
