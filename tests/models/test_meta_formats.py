"""Meta's checkpoints against transformers' modules: names, folded batch norms, files that are refused."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from support import tiny_vision_config
from torch import Tensor, nn
from transformers import SamConfig, SamModel

from masg_sam.errors import WeightsError
from masg_sam.models.sam.meta import (
    State,
    detect_variant,
    mask_decoder_from_meta,
    prompt_encoder_from_meta,
    read_state,
    tiny_vit_from_meta,
    vit_from_meta,
)
from masg_sam.models.sam.tiny_vit import TinyVit
from masg_sam.models.sam.vit import VitEncoder

MLP = r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d|iou_prediction_head))\."
# transformers' names to Meta's, written down the other way round than the package does
TO_META = (
    (r"^vision_encoder\.patch_embed\.projection", "image_encoder.patch_embed.proj"),
    (r"^vision_encoder\.layers\.(\d+)\.layer_norm", r"image_encoder.blocks.\1.norm"),
    (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
    (r"^vision_encoder\.neck\.conv1", "image_encoder.neck.0"),
    (r"^vision_encoder\.neck\.layer_norm1", "image_encoder.neck.1"),
    (r"^vision_encoder\.neck\.conv2", "image_encoder.neck.2"),
    (r"^vision_encoder\.neck\.layer_norm2", "image_encoder.neck.3"),
    (r"^vision_encoder\.", "image_encoder."),
    (r"shared_embedding\.positional_embedding", "pe_layer.positional_encoding_gaussian_matrix"),
    (r"^prompt_encoder\.point_embed\.", "prompt_encoder.point_embeddings."),
    (r"mask_embed\.conv1", "mask_downscaling.0"),
    (r"mask_embed\.layer_norm1", "mask_downscaling.1"),
    (r"mask_embed\.conv2", "mask_downscaling.3"),
    (r"mask_embed\.layer_norm2", "mask_downscaling.4"),
    (r"mask_embed\.conv3", "mask_downscaling.6"),
    (MLP + r"layers\.0", r"\1.layers.1"),
    (MLP + "proj_in", r"\1.layers.0"),
    (MLP + "proj_out", r"\1.layers.2"),
    (r"transformer\.layer_norm_final_attn", "transformer.norm_final_attn"),
    (r"(mask_decoder\.transformer\.layers\.\d)\.layer_norm", r"\1.norm"),
    (r"upscale_conv1", "output_upscaling.0"),
    (r"upscale_layer_norm", "output_upscaling.1"),
    (r"upscale_conv2", "output_upscaling.3"),
)  # fmt: skip
# names as they are in the published files, one of each kind
PUBLISHED = (
    "image_encoder.pos_embed",
    "image_encoder.patch_embed.proj.weight",
    "image_encoder.blocks.0.norm1.weight",
    "image_encoder.blocks.0.attn.qkv.weight",
    "image_encoder.blocks.1.attn.rel_pos_h",
    "image_encoder.blocks.3.mlp.lin2.bias",
    "image_encoder.neck.3.bias",
    "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    "prompt_encoder.point_embeddings.3.weight",
    "prompt_encoder.not_a_point_embed.weight",
    "prompt_encoder.no_mask_embed.weight",
    "prompt_encoder.mask_downscaling.6.bias",
    "mask_decoder.iou_token.weight",
    "mask_decoder.mask_tokens.weight",
    "mask_decoder.transformer.layers.1.cross_attn_image_to_token.out_proj.bias",
    "mask_decoder.transformer.layers.0.norm4.weight",
    "mask_decoder.transformer.layers.0.mlp.lin1.weight",
    "mask_decoder.transformer.norm_final_attn.weight",
    "mask_decoder.transformer.final_attn_token_to_image.q_proj.weight",
    "mask_decoder.output_upscaling.3.weight",
    "mask_decoder.output_hypernetworks_mlps.3.layers.2.bias",
    "mask_decoder.iou_prediction_head.layers.1.weight",
)


def to_meta(state: State) -> State:
    """transformers' ``SamModel`` state under Meta's names."""
    result = {}
    for name, value in state.items():
        if name.startswith("shared_image_embedding."):  # the same tensor as the prompt encoder's
            continue
        for pattern, replacement in TO_META:
            name = re.sub(pattern, replacement, name)
        result[name] = value
    return result


@pytest.fixture(scope="module")
def model() -> SamModel:
    torch.manual_seed(0)
    sam = SamModel(SamConfig(vision_config=tiny_vision_config(output_channels=256).to_dict())).eval()
    for value in sam.parameters():
        nn.init.normal_(value, std=0.1)
    return sam


@pytest.fixture(scope="module")
def meta(model: SamModel) -> State:
    return to_meta(model.state_dict())


def test_the_published_names_are_among_them(meta: State) -> None:
    assert not set(PUBLISHED) - set(meta)


@pytest.mark.parametrize(
    ("convert", "part"),
    [
        (vit_from_meta, "vision_encoder"),
        (prompt_encoder_from_meta, "prompt_encoder"),
        (mask_decoder_from_meta, "mask_decoder"),
    ],
)
def test_the_mapping_is_a_bijection(model: SamModel, meta: State, convert, part: str) -> None:
    expected = getattr(model, part).state_dict()
    mapped = convert(meta)
    assert mapped.keys() == expected.keys()
    assert all(torch.equal(mapped[name], expected[name]) for name in expected)


@pytest.mark.parametrize("ending", ["pth", "pt", "bin", "safetensors"])
@pytest.mark.parametrize("size", [(64, 64), (96, 128)])
def test_both_formats_give_the_same_features(
    model: SamModel, meta: State, tmp_path: Path, ending: str, size: tuple[int, int]
) -> None:
    save = save_file if ending == "safetensors" else torch.save
    save({name: value.contiguous() for name, value in meta.items()}, tmp_path / f"sam.{ending}")
    model.save_pretrained(tmp_path / "sam")
    encoders = [VitEncoder(tiny_vision_config(output_channels=256)).eval() for _ in range(2)]
    encoders[0].load_vision_state(vit_from_meta(read_state(tmp_path / f"sam.{ending}")))
    encoders[1].load_vision_state(SamModel.from_pretrained(tmp_path / "sam").vision_encoder.state_dict())
    pixels = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        one, two = (encoder(pixels) for encoder in encoders)
    assert one.neck.shape == (1, 256, size[0] // 16, size[1] // 16)
    assert torch.equal(one.neck, two.neck)
    assert all(torch.equal(a, b) for a, b in zip(one.taps, two.taps, strict=True))


def test_a_training_checkpoint_around_the_weights(tmp_path: Path) -> None:
    for key in ("model", "state_dict"):
        torch.save({key: {"a": torch.ones(2)}, "epoch": 3}, tmp_path / "w.pth")
        assert read_state(tmp_path / "w.pth")["a"].tolist() == [1, 1]


# MobileSAM -----------------------------------------------------------------------------------------------


def published_tiny_vit() -> State:
    """Random values in the published layout: every convolution outside the neck with a batch norm of its own."""
    generator = torch.Generator().manual_seed(3)
    state = {}
    for name, value in TinyVit().state_dict().items():
        module = name.removesuffix(".weight")
        if value.ndim == 4 and not name.startswith("neck."):
            state[f"image_encoder.{module}.c.weight"] = torch.randn(value.shape, generator=generator)
            for key in ("weight", "bias", "running_mean", "running_var"):
                drawn = torch.rand(len(value), generator=generator) + 0.5
                state[f"image_encoder.{module}.bn.{key}"] = drawn
            state[f"image_encoder.{module}.bn.num_batches_tracked"] = torch.tensor(1)
    for name, value in TinyVit().state_dict().items():
        module = name.rpartition(".")[0]
        if f"image_encoder.{module}.c.weight" not in state:
            state[f"image_encoder.{name}"] = value
    return state


def test_tiny_vit_is_filled_completely() -> None:
    state = published_tiny_vit()
    state["image_encoder.norm_head.weight"] = state["image_encoder.norm_head.bias"] = torch.ones(320)
    state["image_encoder.head.weight"] = torch.ones(1000, 320)
    state["image_encoder.layers.1.blocks.0.attn.attention_bias_idxs"] = torch.zeros(49, 49, dtype=torch.long)
    state["mask_decoder.iou_token.weight"] = torch.ones(1, 256)
    TinyVit().load_state_dict(tiny_vit_from_meta(state), strict=True)


def test_a_batch_norm_folded_by_hand() -> None:
    state = {
        "image_encoder.patch_embed.seq.0.c.weight": torch.tensor([3.0, 5.0]).view(2, 1, 1, 1),
        "image_encoder.patch_embed.seq.0.bn.weight": torch.tensor([2.0, 1.0]),
        "image_encoder.patch_embed.seq.0.bn.bias": torch.tensor([1.0, 0.0]),
        "image_encoder.patch_embed.seq.0.bn.running_mean": torch.tensor([4.0, 7.0]),
        "image_encoder.patch_embed.seq.0.bn.running_var": torch.tensor([4.0 - 1e-5, 0.25 - 1e-5]),
    }
    folded = tiny_vit_from_meta(state)
    assert folded.keys() == {"patch_embed.seq.0.weight", "patch_embed.seq.0.bias"}
    # scale is gamma / sqrt(var): 2 / 2 = 1 and 1 / 0.5 = 2
    torch.testing.assert_close(folded["patch_embed.seq.0.weight"].flatten(), torch.tensor([3.0, 10.0]))
    torch.testing.assert_close(folded["patch_embed.seq.0.bias"], torch.tensor([1.0 - 4.0, 0.0 - 14.0]))


@pytest.mark.parametrize("groups", [1, 6])
def test_a_folded_convolution_is_the_convolution_and_its_norm(groups: int) -> None:
    torch.manual_seed(0)
    pair = nn.Sequential()
    pair.add_module("c", nn.Conv2d(6, 6, 3, padding=1, groups=groups, bias=False))
    pair.add_module("bn", nn.BatchNorm2d(6))
    with torch.no_grad():
        for _ in range(20):
            pair(torch.randn(4, 6, 8, 8) * 3 + 1)
        nn.init.normal_(pair.bn.weight)
        nn.init.normal_(pair.bn.bias)
        folded = nn.Conv2d(6, 6, 3, padding=1, groups=groups)
        state = tiny_vit_from_meta({f"image_encoder.local_conv.{k}": v for k, v in pair.state_dict().items()})
        folded.load_state_dict({k.removeprefix("local_conv."): v for k, v in state.items()})
        x = torch.randn(2, 6, 9, 7)
        torch.testing.assert_close(folded(x), pair.eval()(x), rtol=1e-5, atol=1e-5)


# which encoder -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "name"), [(768, "sam-vit-b"), (1024, "sam-vit-l"), (1280, "sam-vit-h")])
def test_a_vit_is_known_by_its_width(width: int, name: str) -> None:
    assert detect_variant({"image_encoder.pos_embed": torch.zeros(1, 64, 64, width)}) == name


def test_mobile_sam_is_known_by_its_patch_embedding() -> None:
    assert detect_variant(published_tiny_vit()) == "mobile-sam"


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ({"image_encoder.pos_embed": torch.zeros(1, 4, 4, 32)}, "a ViT of width 32"),
        ({"layer1.0.conv1.weight": torch.zeros(1)}, "layer1.0.conv1.weight ..."),
    ],
)
def test_another_network_is_refused_and_named(state: dict[str, Tensor], found: str) -> None:
    with pytest.raises(WeightsError) as caught:
        detect_variant(state)
    assert caught.value.found == found
    assert "768, 1024, 1280" in str(caught.value.expected)


# files that are refused ----------------------------------------------------------------------------------


class Code:
    """What a malicious checkpoint does: unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("save", [torch.save, lambda what, path: path.write_bytes(pickle.dumps(what, protocol=2))])
def test_code_in_a_checkpoint_does_not_run(tmp_path: Path, save) -> None:
    save({"weight": Code(tmp_path / "ran")}, tmp_path / "w.pth")
    with pytest.raises(WeightsError) as caught:
        read_state(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()
    assert "code" in str(caught.value.found) and "weights_only" not in str(caught.value)


@pytest.mark.parametrize("content", [[torch.ones(1)], {"weight": torch.ones(1), "epoch": 3}, torch.ones(2)])
def test_what_is_not_a_table_of_tensors(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="not a table of tensors"):
        read_state(tmp_path / "w.pt")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for name in ("w.pt", "w.safetensors"):
        with pytest.raises(WeightsError) as caught:
            read_state(tmp_path / name)
        assert caught.value.path == tmp_path / name and caught.value.mend


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), ending=st.sampled_from(["pt", "safetensors"]), legacy=st.booleans())
def test_damage_never_ends_in_another_error(tmp_path: Path, data: st.DataObject, ending: str, legacy: bool) -> None:
    path = tmp_path / f"w.{ending}"
    if ending == "pt":
        torch.save({"weight": torch.ones(3)}, path, _use_new_zipfile_serialization=not legacy)
    else:
        save_file({"weight": torch.ones(3)}, path)
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3)):
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        assert isinstance(read_state(path), dict)
    except WeightsError as error:
        assert error.path == path
