from __future__ import annotations

import torch

from masg_sam.models.fpn import PlainDecoder

TAPS = (8, 12, 16)


def taps() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    sizes = ((16, 24), (8, 12), (8, 12))
    return tuple(torch.randn(2, c, *size) for c, size in zip(TAPS, sizes, strict=True))


def make() -> PlainDecoder:
    torch.manual_seed(0)
    return PlainDecoder(TAPS, 3)


def test_logits_lie_at_the_finest_stride() -> None:
    assert make()(taps()).shape == (2, 4, 16, 24)


def test_every_level_counts() -> None:
    module, levels = make(), taps()
    whole = module(levels)
    for i in range(len(levels)):
        changed = [level + 1 if i == j else level for j, level in enumerate(levels)]
        assert (module(tuple(changed)) - whole).abs().max() > 1e-3


def test_coarse_levels_come_before_fine_ones() -> None:
    """The finest level passes one block of the pyramid, the coarsest all three."""
    module = make()
    reached: list[int] = []
    for i, block in enumerate(module.smooth):
        block.register_forward_hook(lambda *_, i=i: reached.append(i))
    module(taps())
    assert reached == [2, 1, 0]


def test_gradients_reach_every_weight() -> None:
    module = make()
    module(taps()).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() for p in module.parameters())
