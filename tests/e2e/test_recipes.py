"""Every recipe in configs/ trains for a few steps, with small random weights in the real formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer, SamConfig, SamModel

from masg_sam import api
from masg_sam.config import Config, load_config, override, to_dict
from masg_sam.data.io import read_image

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def small_sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT of four narrow blocks with SAM's own decoder, in transformers' format."""
    torch.manual_seed(0)
    vision = {
        "hidden_size": 24,
        "num_hidden_layers": 12,
        "num_attention_heads": 2,
        "mlp_dim": 48,
        "image_size": 128,
        "window_size": 3,
        "global_attn_indexes": [2, 5, 8, 11],
    }
    folder = tmp_path_factory.mktemp("sam")
    SamModel(SamConfig(vision_config=vision)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP text tower of one narrow layer with a tokenizer of single letters."""
    folder = tmp_path_factory.mktemp("clip")
    letters = [chr(i) for i in range(97, 123)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.save_pretrained(folder)
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=16,
        bos_token_id=len(words) - 2,
        eos_token_id=len(words) - 1,
        pad_token_id=len(words) - 1,
    )
    CLIPTextModelWithProjection(config).save_pretrained(folder)
    return folder


def few_steps(config: Config) -> Config:
    settings = {"training.steps": 2, "training.batch_size": 2, "training.trackers": [], "training.device": "cpu"}
    return override(config, settings)


def test_default_recipe_is_the_default(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    config = load_config(CONFIGS / "default.yaml")
    assert to_dict(config) == to_dict(Config())
    small = {"data.size": 64, "model.encoder.weights": "scratch", "model.dsf.text": "random"}
    api.train(make_dataset(), tmp_path / "run", override(few_steps(config), small))
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_vit_b_lora(make_dataset: Callable[..., Path], small_sam: Path, tmp_path: Path) -> None:
    config = few_steps(load_config(CONFIGS / "vit-b-lora.yaml"))
    assert (config.model.encoder.name, config.model.encoder.tuning, config.data.size) == ("sam-vit-b", "lora", 512)
    small = {"model.encoder.weights": str(small_sam), "data.size": 96, "model.dsf.text": "random"}
    model = api.train(make_dataset(), tmp_path / "run", override(config, small))
    trained = [n for n, p in model.model.network.encoder.named_parameters() if p.requires_grad]
    assert trained and all("lora_" in name for name in trained)
    data = make_dataset(name="again")
    loaded = api.MasgSam.from_pretrained(tmp_path / "run")
    assert not any("lora_" in name for name, _ in loaded.model.network.named_parameters())
    image = read_image(data / "imagesTs" / "case0_0000.nii.gz")
    with_lora, merged = model.predictor.segment(image), loaded.predictor.segment(image)
    assert with_lora.confidence == pytest.approx(merged.confidence, abs=1e-3)
    assert (with_lora.mask == merged.mask).mean() > 0.999


def test_paper(make_dataset: Callable[..., Path], small_sam: Path, small_clip: Path, tmp_path: Path) -> None:
    config = few_steps(load_config(CONFIGS / "paper.yaml"))
    assert (config.data.size, config.model.encoder.taps) == (1024, [3, 5, 7, 11])
    assert (config.model.dsf.text, config.model.dsf.location) == ("clip", "openai/clip-vit-base-patch16")
    small = {"model.encoder.weights": str(small_sam), "model.dsf.location": str(small_clip), "data.size": 128}
    model = api.train(make_dataset(classes=2), tmp_path / "run", override(config, small))
    assert model.model.facts["text"]["source"].startswith("CLIP")
    assert model.model.network.encoder.taps == (3, 5, 7, 11)
