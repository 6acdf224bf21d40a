from __future__ import annotations

import pytest
import torch
from transformers import SamConfig
from transformers.models.sam.modeling_sam import SamPromptEncoder

from masg_sam.data.prompt_input import BOX_END, BOX_START, NEGATIVE, PADDING, POSITIVE, SLOTS
from masg_sam.models.sam.prompts import PromptEncoder, Prompts

WIDTH, SIZE, GRID = 32, (64, 96), (4, 6)


@pytest.fixture
def encoder() -> PromptEncoder:
    torch.manual_seed(0)
    config = SamConfig(
        prompt_encoder_config={"hidden_size": WIDTH, "image_size": 64},
        vision_config={"num_pos_feats": WIDTH // 2, "output_channels": WIDTH, "image_size": 64},
    )
    return PromptEncoder(SamPromptEncoder(config), num_classes=3)


def points(kinds: list[int], classes: list[int]) -> Prompts:
    at = torch.tensor([[[5.0 + 10 * i, 7.0] for i in range(len(kinds))]])
    return Prompts(at, torch.tensor([kinds]), torch.tensor([classes]))


def test_no_prompt_is_padding_as_in_training(encoder: PromptEncoder) -> None:
    prompts = Prompts.none(2)
    sparse = encoder.sparse(prompts, SIZE)
    assert torch.equal(sparse, encoder.sam.not_a_point_embed.weight.expand(2, SLOTS, -1))
    dense = encoder.dense(prompts, GRID)
    assert torch.equal(dense, encoder.sam.no_mask_embed.weight[..., None, None].expand(2, -1, *GRID))


def test_position_of_a_square_grid_is_sams(encoder: PromptEncoder) -> None:
    steps = (torch.arange(4) + 0.5) / 4
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    expected = encoder.sam.shared_embedding(torch.stack([columns, rows], -1)).permute(2, 0, 1)[None]
    torch.testing.assert_close(encoder.position((4, 4)), expected)


def test_a_point_at_a_cells_centre_has_the_cells_position(encoder: PromptEncoder) -> None:
    """Row 1, column 4 of a 4 x 6 grid at stride 16: its centre is the pixel coordinate (71.5, 23.5)."""
    prompts = Prompts(torch.tensor([[[71.5, 23.5]]]), torch.tensor([[POSITIVE]]), torch.tensor([[1]]))
    code = encoder.sparse(prompts, SIZE)[0, 0] - encoder.sam.point_embed[1].weight[0]
    torch.testing.assert_close(code, encoder.position(GRID)[0, :, 1, 4], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [NEGATIVE, POSITIVE, BOX_START, BOX_END])
def test_each_kind_has_sams_own_embedding(encoder: PromptEncoder, kind: int) -> None:
    prompts = points([kind], [2])
    code = encoder.sam.shared_embedding((prompts.points + 0.5) / torch.tensor([96.0, 64.0]))
    expected = code + encoder.sam.point_embed[kind].weight
    torch.testing.assert_close(encoder.sparse(prompts, SIZE), expected)


def test_padding_among_points_stays_padding(encoder: PromptEncoder) -> None:
    sparse = encoder.sparse(points([POSITIVE, PADDING], [1, 0]), SIZE)
    assert torch.equal(sparse[0, 1], encoder.sam.not_a_point_embed.weight[0])
    assert not torch.equal(sparse[0, 0], sparse[0, 1])


def test_class_tags_start_silent_and_tell_classes_apart_later(encoder: PromptEncoder) -> None:
    one, two = points([POSITIVE], [1]), points([POSITIVE], [2])
    assert torch.equal(encoder.sparse(one, SIZE), encoder.sparse(two, SIZE))
    with torch.no_grad():
        encoder.class_tag.weight[2] += 1
    torch.testing.assert_close(encoder.sparse(two, SIZE) - encoder.sparse(one, SIZE), torch.ones(1, 1, WIDTH))


def with_masks(has_mask: torch.Tensor | None) -> Prompts:
    torch.manual_seed(3)
    none = Prompts.none(2)
    return Prompts(none.points, none.kinds, none.classes, torch.randn(2, 3, 16, 24), has_mask)


def test_masks_are_averaged_over_the_classes_that_have_one(encoder: PromptEncoder) -> None:
    has = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    prompts = with_masks(has)
    dense = encoder.dense(prompts, GRID)
    coded = [encoder.sam.mask_embed(prompts.masks[:1, k : k + 1])[0] for k in range(3)]
    torch.testing.assert_close(dense[0], (coded[0] + coded[2]) / 2, rtol=1e-4, atol=1e-5)
    nothing = encoder.sam.no_mask_embed.weight[0][:, None, None].expand(-1, *GRID)
    torch.testing.assert_close(dense[1], nothing)


def test_without_flags_every_mask_counts(encoder: PromptEncoder) -> None:
    everyone = encoder.dense(with_masks(torch.ones(2, 3)), GRID)
    torch.testing.assert_close(encoder.dense(with_masks(None), GRID), everyone)


def test_mask_tags_tell_the_classes_apart(encoder: PromptEncoder) -> None:
    masks = torch.randn(1, 1, 16, 24).expand(1, 3, 16, 24)
    same = encoder.mask_features(masks, GRID)
    torch.testing.assert_close(same[:, 0], same[:, 2])
    with torch.no_grad():
        encoder.mask_tag.weight[2] = 1.0
    torch.testing.assert_close(encoder.mask_features(masks, GRID)[:, 2], 2 * same[:, 2])


def test_masks_of_any_size_are_brought_to_a_quarter(encoder: PromptEncoder) -> None:
    assert encoder.mask_features(torch.randn(1, 3, *SIZE), GRID).shape == (1, 3, WIDTH, *GRID)


def test_a_copy_on_a_device_keeps_what_is_not_there() -> None:
    moved = Prompts.none(1).to("cpu")
    assert moved.masks is None and moved.has_mask is None
    assert with_masks(torch.ones(2, 3)).to("cpu").has_mask.sum() == 6


def test_position_codes_keep_full_precision_under_autocast(encoder: PromptEncoder) -> None:
    """In bfloat16 the phases, which run over many turns, would be off by a tenth."""
    plain = encoder.position((6, 5))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encoder.position((6, 5)), plain)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [(), (2,), (3,), (2, 3)])
def test_prompts_turn_with_their_image(turns: int, mirrored: tuple[int, ...]) -> None:
    """A pixel painted where each point lies is still there; a box keeps its corners in their order; masks follow."""
    size = (8, 12)
    places = torch.tensor([[[3.0, 1.0], [2.0, 4.0], [9.0, 6.0]]])
    kinds = torch.tensor([[POSITIVE, BOX_START, BOX_END]])
    masks = torch.arange(2 * 8 * 12.0).view(1, 2, 8, 12)
    prompts = Prompts(places, kinds, torch.ones_like(kinds), masks, torch.ones(1, 2))
    image = torch.zeros(1, 3, *size)
    for i, (x, y) in enumerate(places[0].long().tolist()):
        image[0, i, y, x] = 1

    turned = torch.rot90(image, turns, (2, 3)).flip(mirrored)
    found = prompts.turned(turns, mirrored, size)
    (x, y) = found.points[0, 0].long().tolist()
    assert turned[0, 0, y, x] == 1
    corners = torch.stack([turned[0, i].nonzero()[0].flip(0) for i in (1, 2)])  # x, y
    assert found.points[0, 1:].tolist() == [corners.amin(0).tolist(), corners.amax(0).tolist()]
    assert found.masks is not None and found.masks.equal(torch.rot90(masks, turns, (2, 3)).flip(mirrored))
    assert places[0, 0].tolist() == [3.0, 1.0] and found.kinds.equal(kinds)
