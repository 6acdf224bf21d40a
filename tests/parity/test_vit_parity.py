"""Our use of SAM's ViT against transformers' own forward pass, at its own size and at others."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from support import tiny_vision_config
from torch import Tensor, nn
from transformers import SamVisionConfig
from transformers.models.sam.modeling_sam import SamVisionEncoder

from masg_sam.errors import ConfigError, WeightsError
from masg_sam.models.sam.vit import VitEncoder, default_taps

TOLERANCE = 1e-6  # relative to features of about 1
NATIVE = 64  # pixels of the small ViT
GRID = NATIVE // 16


def reference(**sizes: object) -> SamVisionEncoder:
    """transformers' encoder with random tables too, which are zero when fresh."""
    torch.manual_seed(0)
    config = tiny_vision_config(output_channels=16, **sizes)
    config._attn_implementation = "sdpa"
    encoder = SamVisionEncoder(config).eval()
    for value in encoder.parameters():
        nn.init.normal_(value, std=0.2)
    return encoder


def ours(model: SamVisionEncoder, **options: object) -> VitEncoder:
    encoder = VitEncoder(copy.deepcopy(model.config), **options).eval()
    encoder.load_vision_state(model.state_dict())
    return encoder


def pixels(*size: int) -> Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


def distance(a: Tensor, b: Tensor) -> float:
    return ((a - b).abs().max() / b.abs().max()).item()


def linear_table(table: Tensor, length: int) -> Tensor:
    """Rows of a relative table at another length: linear, pixel centres aligned, written out."""
    at = ((torch.arange(length) + 0.5) * len(table) / length - 0.5).clamp(0, len(table) - 1)
    low = at.floor().long()
    high = (low + 1).clamp(max=len(table) - 1)
    part = (at - low)[:, None]
    return table[low] * (1 - part) + table[high] * part


def resized(model: SamVisionEncoder, side: int) -> SamVisionEncoder:
    """transformers' encoder built for another size, its tables made by hand from the trained ones."""
    grid = side // 16
    state = model.state_dict()
    position = state["pos_embed"].permute(0, 3, 1, 2)
    position = F.interpolate(position, size=(grid, grid), mode="bicubic", align_corners=False, antialias=True)
    state["pos_embed"] = position.permute(0, 2, 3, 1)
    for index in model.config.global_attn_indexes:
        for axis in "hw":
            name = f"layers.{index}.attn.rel_pos_{axis}"
            state[name] = linear_table(state[name], 2 * grid - 1)
    config = SamVisionConfig(**(model.config.to_dict() | {"image_size": side}))
    config._attn_implementation = "sdpa"
    other = SamVisionEncoder(config).eval()
    other.load_state_dict(state, strict=True)
    return other


@torch.no_grad()
def test_the_native_size_is_transformers_own() -> None:
    model, x = reference(), pixels(NATIVE, NATIVE)
    features = ours(model)(x)
    expected = model(x, output_hidden_states=True)
    assert distance(features.neck, expected.last_hidden_state) <= TOLERANCE


@torch.no_grad()
def test_taps_are_the_outputs_of_their_blocks() -> None:
    model, x = reference(), pixels(NATIVE, NATIVE)
    seen: dict[int, Tensor] = {}
    for index, layer in enumerate(model.layers):
        layer.register_forward_hook(
            lambda _, __, out, index=index: seen.update({index: out[0] if isinstance(out, tuple) else out})
        )
    model(x)
    features = ours(model, taps=[0, 2, 3])(x)
    for tap, index in zip(features.taps, (0, 2, 3), strict=True):
        assert tap.shape == (2, 32, GRID, GRID)
        assert distance(tap, seen[index].permute(0, 3, 1, 2)) <= TOLERANCE


@pytest.mark.parametrize("side", [32, 96, 160])
@torch.no_grad()
def test_another_size_is_the_model_with_resized_tables(side: int) -> None:
    model, x = reference(), pixels(side, side)
    expected = resized(model, side)(x).last_hidden_state
    assert distance(ours(model)(x).neck, expected) <= 10 * TOLERANCE  # two ways to interpolate in float32


@torch.no_grad()
def test_tables_matter_at_another_size() -> None:
    """The reference above would also agree if both ignored the tables."""
    model, x = reference(), pixels(96, 96)
    before = ours(model)(x).neck
    for name in ("pos_embed", "layers.0.attn.rel_pos_h", "layers.1.attn.rel_pos_w"):
        changed = copy.deepcopy(model)
        changed.get_parameter(name).add_(torch.randn(changed.get_parameter(name).shape))
        assert distance(ours(changed)(x).neck, before) > 1e-3, name


@torch.no_grad()
def test_global_blocks_are_told_by_index() -> None:
    """Blocks 1 and 11 share a digit: only the configuration says which one sees everything."""
    model = reference(num_hidden_layers=12, global_attn_indexes=[11], window_size=2)
    far, near = pixels(96, 96), pixels(96, 96)
    near[:, :, 64:, 64:] = 0  # outside the first window of 2 x 2 patches
    encoder = ours(model, taps=[0, 1, 10, 11])
    a, b = encoder(far).taps, encoder(near).taps
    for windowed in (0, 1, 2):
        assert torch.equal(a[windowed][..., :2, :2], b[windowed][..., :2, :2])
    assert not torch.allclose(a[3][..., :2, :2], b[3][..., :2, :2])
    lengths = [len(layer.attn.rel_pos_h) for layer in encoder.vision.layers]
    assert lengths == [2 * 2 - 1] * 11 + [2 * GRID - 1]


@torch.no_grad()
def test_non_square_images_know_their_axes() -> None:
    """A transposed image with transposed tables and kernels gives the transposed embedding."""
    model, x = reference(), pixels(96, 160)
    turned = copy.deepcopy(model)
    state = {name: value.clone() for name, value in turned.state_dict().items()}
    state["pos_embed"] = state["pos_embed"].transpose(1, 2)
    for name in [name for name in state if name.endswith("rel_pos_h")]:
        other = name[:-1] + "w"
        state[name], state[other] = state[other].clone(), state[name].clone()
    for name in ("patch_embed.projection.weight", "neck.conv2.weight"):
        state[name] = state[name].transpose(2, 3)
    turned.load_state_dict(state)
    one, two = ours(model)(x), ours(turned)(x.transpose(2, 3))
    assert one.neck.shape == (2, 16, 6, 10) and one.taps[0].shape == (2, 32, 6, 10)
    assert distance(two.neck.transpose(2, 3), one.neck) <= 1e-5


@torch.no_grad()
def test_the_trained_position_table_stays_as_it_was() -> None:
    model = reference()
    encoder = ours(model)
    encoder(pixels(96, 128))
    assert torch.equal(encoder.state_dict()["vision.pos_embed"], model.pos_embed)


def test_gradient_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for enabled in (False, True):
        encoder = ours(reference()).train()
        encoder.set_gradient_checkpointing(enabled)
        features = encoder(pixels(NATIVE, NATIVE))
        (features.neck.square().sum() + features.taps[0].sum()).backward()
        gradients.append({name: value.grad for name, value in encoder.named_parameters()})
    assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])


def test_gradient_checkpointing_recomputes() -> None:
    encoder, calls = ours(reference()).train(), []
    encoder.vision.layers[0].register_forward_pre_hook(lambda *_: calls.append(1))
    encoder.set_gradient_checkpointing(True)
    encoder(pixels(NATIVE, NATIVE)).neck.sum().backward()
    assert len(calls) == 2


# low-rank updates ----------------------------------------------------------------------------------------


@pytest.fixture
def adapted() -> VitEncoder:
    """With updates that are not zero any more, as after training."""
    encoder = ours(reference())
    encoder.add_lora(rank=2, alpha=6.0)
    for name, value in encoder.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(value, std=0.1)
    return encoder.eval()


def test_only_the_updates_are_trained(adapted: VitEncoder) -> None:
    trained = [name for name, value in adapted.named_parameters() if value.requires_grad]
    assert len(trained) == 2 * 4 and all(".attn.qkv.lora_" in name for name in trained)


@torch.no_grad()
def test_fresh_updates_change_nothing() -> None:
    model, x = reference(), pixels(NATIVE, NATIVE)
    encoder = ours(model)
    encoder.add_lora(rank=2)
    assert torch.equal(encoder.eval()(x).neck, ours(model)(x).neck)


@torch.no_grad()
def test_merged_updates_are_a_plain_model_again(adapted: VitEncoder) -> None:
    model, x = reference(), pixels(NATIVE, NATIVE)
    merged = adapted.merge_state(adapted.state_dict())
    plain = ours(model)
    plain.load_state_dict(merged, strict=True)
    assert distance(plain(x).neck, adapted(x).neck) <= 1e-5
    assert distance(plain(x).neck, ours(model)(x).neck) > 1e-3


@torch.no_grad()
def test_one_merged_weight_by_hand(adapted: VitEncoder) -> None:
    state = adapted.state_dict()
    name = "vision.layers.2.attn.qkv"
    down, up = state[f"{name}.lora_A.default.weight"], state[f"{name}.lora_B.default.weight"]
    expected = state[f"{name}.base_layer.weight"] + 6.0 / 2 * torch.einsum("or,ri->oi", up, down)
    kept = state[f"{name}.base_layer.weight"].clone()
    torch.testing.assert_close(adapted.merge_state(state)[f"{name}.weight"], expected)
    assert torch.equal(adapted.state_dict()[f"{name}.base_layer.weight"], kept)


def test_without_updates_a_state_stays_as_it_is() -> None:
    encoder = ours(reference())
    state = encoder.state_dict()
    assert encoder.merge_state(state) is state


# what it is built from -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "taps"),
    [(12, (3, 5, 7, 11)), (24, (5, 11, 17, 23)), (32, (7, 15, 23, 31)), (4, (0, 1, 2, 3)), (2, (0, 1)), (1, (0,))],
)
def test_usual_taps(depth: int, taps: tuple[int, ...]) -> None:
    assert default_taps(depth) == taps


def test_channels_and_strides_go_with_the_taps() -> None:
    encoder = VitEncoder(tiny_vision_config(), taps=[3, 1])
    assert encoder.tap_channels == (32, 32) and encoder.tap_strides == (16, 16)


@pytest.mark.parametrize("wrong", [[4], [0, -1]])
def test_blocks_that_are_not_there(wrong: list[int]) -> None:
    with pytest.raises(ConfigError) as caught:
        VitEncoder(tiny_vision_config(), taps=wrong)
    assert caught.value.found == [wrong[-1]] and caught.value.expected == "0 to 3"


def test_weights_of_another_size_are_refused() -> None:
    with pytest.raises(WeightsError, match="do not fit this ViT"):
        VitEncoder(tiny_vision_config()).load_vision_state(reference().state_dict())


def test_the_prefix_of_a_whole_model_is_taken_off() -> None:
    model = reference()
    encoder = VitEncoder(tiny_vision_config(output_channels=16))
    encoder.load_vision_state({f"vision_encoder.{name}": value for name, value in model.state_dict().items()})
    assert torch.equal(encoder.vision.pos_embed, model.pos_embed)
