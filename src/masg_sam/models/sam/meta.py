"""Meta's checkpoint names, and how they map to transformers' modules and to our TinyViT."""

from __future__ import annotations

import pickle
import re
import struct
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from masg_sam.errors import WeightsError

State = dict[str, Tensor]
ENCODER = "image_encoder."
NORM_EPS = 1e-5  # of the batch norms that are folded
WIDTHS = {768: "sam-vit-b", 1024: "sam-vit-l", 1280: "sam-vit-h"}

# What reading a damaged or foreign file ends in, as found by feeding such files.
_UNREADABLE = (
    OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, AssertionError,
    struct.error, SafetensorError,
)  # fmt: skip

_VIT = (
    (r"^patch_embed\.proj\.", "patch_embed.projection."),
    (r"^blocks\.(\d+)\.norm([12])\.", r"layers.\1.layer_norm\2."),
    (r"^blocks\.(\d+)\.", r"layers.\1."),
    (r"^neck\.0\.", "neck.conv1."),
    (r"^neck\.1\.", "neck.layer_norm1."),
    (r"^neck\.2\.", "neck.conv2."),
    (r"^neck\.3\.", "neck.layer_norm2."),
)
_PROMPT = (
    (r"^pe_layer\.positional_encoding_gaussian_matrix", "shared_embedding.positional_embedding"),
    (r"^point_embeddings\.", "point_embed."),
    (r"^mask_downscaling\.0\.", "mask_embed.conv1."),
    (r"^mask_downscaling\.1\.", "mask_embed.layer_norm1."),
    (r"^mask_downscaling\.3\.", "mask_embed.conv2."),
    (r"^mask_downscaling\.4\.", "mask_embed.layer_norm2."),
    (r"^mask_downscaling\.6\.", "mask_embed.conv3."),
)
_DECODER = (
    (r"^transformer\.norm_final_attn\.", "transformer.layer_norm_final_attn."),
    (r"^(transformer\.layers\.\d+)\.norm(\d)\.", r"\1.layer_norm\2."),
    (r"^output_upscaling\.0\.", "upscale_conv1."),
    (r"^output_upscaling\.1\.", "upscale_layer_norm."),
    (r"^output_upscaling\.3\.", "upscale_conv2."),
    (r"^(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.0\.", r"\1.proj_in."),
    (r"^(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.2\.", r"\1.proj_out."),
    (r"^(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.1\.", r"\1.layers.0."),
)


def read_state(path: Path) -> State:
    """Read tensors by name from ``.safetensors``, ``.pt``, ``.pth`` or ``.bin``; code in pickles is refused.

    Raises:
        WeightsError: damaged, or not a flat table of tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            "cannot be read as weights",
            path=path,
            found="a damaged pickle, or one that holds code or objects",
            expected="tensors by name, without code",
            mend="get the file again, or have its maker convert it to safetensors",
        ) from error
    except _UNREADABLE as error:
        raise WeightsError(
            "cannot be read as weights",
            path=path,
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            expected="tensors by name, without code",
            mend="the file is truncated or of another kind: get it again, or convert it to safetensors",
        ) from error
    for key in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError("not a table of tensors", path=path, found=type(state).__name__, expected="name to tensor")
    return state


def detect_variant(state: State) -> str:
    """Which encoder a checkpoint with Meta's names holds.

    Raises:
        WeightsError: it has no image encoder, or one that we do not know.
    """
    if any(name.startswith(f"{ENCODER}patch_embed.seq.") for name in state):
        return "mobile-sam"
    position = state.get(f"{ENCODER}pos_embed")
    if position is not None and position.shape[-1] in WIDTHS:
        return WIDTHS[position.shape[-1]]
    found = ", ".join(sorted(state)[:4]) + " ..."
    raise WeightsError(
        "no SAM image encoder that we know in the weights",
        found=found if position is None else f"a ViT of width {position.shape[-1]}",
        expected=f"{ENCODER}pos_embed of width {', '.join(map(str, WIDTHS))} (ViT), "
        f"or {ENCODER}patch_embed.seq.* (MobileSAM)",
    )


def vit_from_meta(state: State) -> State:
    """``image_encoder.*`` to the names of transformers' ``SamVisionEncoder``."""
    return _renamed(state, ENCODER, _VIT)


def prompt_encoder_from_meta(state: State) -> State:
    """``prompt_encoder.*`` to the names of transformers' ``SamPromptEncoder``."""
    return _renamed(state, "prompt_encoder.", _PROMPT)


def mask_decoder_from_meta(state: State) -> State:
    """``mask_decoder.*`` to the names of transformers' ``SamMaskDecoder``."""
    return _renamed(state, "mask_decoder.", _DECODER)


def tiny_vit_from_meta(state: State) -> State:
    """MobileSAM's ``image_encoder.*`` to our TinyViT: each batch norm folded into its convolution.

    The classification head of the original TinyViT has no place here and is left out.
    """
    own = {k.removeprefix(ENCODER): v for k, v in state.items() if k.startswith(ENCODER)}
    result: State = {}
    for name, value in own.items():
        if name.startswith(("norm_head.", "head.")) or name.endswith("attention_bias_idxs") or ".bn." in name:
            continue
        if name.endswith(".c.weight"):
            module = name.removesuffix(".c.weight")
            result[f"{module}.weight"], result[f"{module}.bias"] = _fold(own, module)
        else:
            result[name] = value
    return result


def _fold(state: State, module: str) -> tuple[Tensor, Tensor]:
    """Convolution without bias, then batch norm, as one convolution."""
    norm = {k: state[f"{module}.bn.{k}"].double() for k in ("weight", "bias", "running_mean", "running_var")}
    scale = norm["weight"] / (norm["running_var"] + NORM_EPS).sqrt()
    weight = state[f"{module}.c.weight"].double() * scale[:, None, None, None]
    return weight.float(), (norm["bias"] - norm["running_mean"] * scale).float()


def _renamed(state: State, prefix: str, rules: tuple[tuple[str, str], ...]) -> State:
    result: State = {}
    for name, value in state.items():
        if name.startswith(prefix):
            name = name.removeprefix(prefix)
            for pattern, replacement in rules:
                name = re.sub(pattern, replacement, name)
            result[name] = value
    return result
