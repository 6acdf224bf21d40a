from __future__ import annotations

import pytest
import torch
from transformers import SamMaskDecoderConfig
from transformers.models.sam.modeling_sam import SamMaskDecoder

from masg_sam.models.sam.decoder import MaskDecoder, apply_kernels

WIDTH = 32


def sam_decoder() -> SamMaskDecoder:
    torch.manual_seed(0)
    config = SamMaskDecoderConfig(hidden_size=WIDTH, mlp_dim=64, num_attention_heads=4, iou_head_hidden_dim=32)
    config._attn_implementation = "sdpa"
    return SamMaskDecoder(config).eval()


def inputs(batch: int = 2, points: int = 1, grid: tuple[int, int] = (4, 6)) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    return (
        torch.randn(batch, WIDTH, *grid),
        torch.randn(1, WIDTH, *grid),
        torch.randn(batch, points, WIDTH),
        torch.randn(batch, WIDTH, *grid),
    )


def four_masks(sam: SamMaskDecoder, arguments: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """SAM's single mask and its three others, ``B x 4 x 4h x 4w``."""
    embedding, position, sparse, dense = arguments
    found = [
        sam(
            image_embeddings=embedding,
            image_positional_embeddings=position.expand(len(embedding), -1, -1, -1),
            sparse_prompt_embeddings=sparse[:, None],
            dense_prompt_embeddings=dense,
            multimask_output=several,
        )[0][:, 0]
        for several in (False, True)
    ]
    return torch.cat(found, 1)


@pytest.mark.parametrize("points", [1, 4])
def test_three_classes_start_as_sams_own_four_masks(points: int) -> None:
    sam, arguments = sam_decoder(), inputs(points=points)
    with torch.no_grad():
        expected = four_masks(sam, arguments)
        output = MaskDecoder(sam, 3).eval()(*arguments)
    torch.testing.assert_close(output.logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_classes_reuse_sams_tokens_in_turn(classes: int) -> None:
    sam = sam_decoder()
    decoder = MaskDecoder(sam, classes)
    tokens = sam.mask_tokens.weight
    for k in range(1, classes + 1):
        assert torch.equal(decoder.class_tokens[k], tokens[1 + (k - 1) % 3])
    assert torch.equal(decoder.class_tokens[0], tokens[0])
    assert decoder(*inputs()).logits.shape == (2, classes + 1, 16, 24)


def test_copies_of_one_token_may_part() -> None:
    decoder = MaskDecoder(sam_decoder(), 4)
    with torch.no_grad():
        decoder.hypernetworks[4].proj_out.bias += 1
    kernels = decoder(*inputs()).kernels
    assert (kernels[:, 1] - kernels[:, 4]).abs().max() > 0.5


def test_kernels_by_hand() -> None:
    kernels = torch.tensor([[[1.0, 2.0], [3.0, -1.0]]])
    features = torch.tensor([10.0, 20.0]).view(1, 2, 1, 1)
    assert apply_kernels(kernels, features).flatten().tolist() == pytest.approx([10 + 40, 30 - 20])


def test_levels_join_with_no_effect_at_first() -> None:
    decoder = MaskDecoder(sam_decoder(), 2, level_channels=5).eval()
    arguments = inputs()
    levels = torch.randn(2, 5, 8, 12), torch.randn(2, 5, 16, 24)
    with torch.no_grad():
        plain, joined = decoder(*arguments), decoder(*arguments, levels=levels)
        assert torch.equal(plain.logits, joined.logits)
        decoder.join8.weight.normal_()
        assert not torch.equal(decoder(*arguments, levels=levels).features, plain.features)
        coarse = torch.randn(2, 5, 4, 6), torch.randn(2, 5, 4, 6)  # a ViT's levels all lie at stride 16
        assert decoder(*arguments, levels=coarse).features.shape == plain.features.shape


def test_a_shift_moves_the_class_tokens_of_its_image() -> None:
    decoder = MaskDecoder(sam_decoder(), 2).eval()
    arguments, shift = inputs(), torch.randn(3, WIDTH)
    with torch.no_grad():
        plain, shifted = decoder(*arguments), decoder(*arguments, class_shift=torch.stack([0 * shift, shift]))
        decoder.class_tokens += shift
        moved = decoder(*arguments)
    torch.testing.assert_close(shifted.logits[0], plain.logits[0])
    torch.testing.assert_close(shifted.logits[1], moved.logits[1])
    assert not torch.allclose(plain.logits[1], moved.logits[1])


def test_items_of_a_batch_do_not_see_each_other() -> None:
    decoder = MaskDecoder(sam_decoder(), 2).eval()
    embedding, position, sparse, dense = inputs(batch=3, points=2)
    with torch.no_grad():
        together = decoder(embedding, position, sparse, dense).logits
        alone = decoder(embedding[1:2], position, sparse[1:2], dense[1:2]).logits
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_weight() -> None:
    decoder = MaskDecoder(sam_decoder(), 2, level_channels=5)
    levels = torch.randn(2, 5, 8, 12), torch.randn(2, 5, 16, 24)
    decoder(*inputs(points=2), levels=levels).logits.square().mean().backward()
    silent = [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert silent == []
