"""CLIP's text tower as we load it against transformers' CLIP, and true CLIP vectors where there are some."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, CLIPTextModelWithProjection, CLIPTokenizer

from masg_sam.errors import WeightsError
from masg_sam.models.text import CLIP_ID, _ClipEncoder, centre, class_sentences, embed_classes

TEXTS = ["an axial MRI image of the left atrium", "liver"]
CONTEXT = 64  # tokens of the small CLIP, which spells every word


def small_tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP's tokenizer with single bytes for a vocabulary."""
    units = sorted(ByteLevel.alphabet())
    tokens = [*units, *(f"{unit}</w>" for unit in units), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    return CLIPTokenizer.from_pretrained(folder)


def small_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "projection_dim": 16}
    words = {
        "num_hidden_layers": 2,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": CONTEXT,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    picture = {"num_hidden_layers": 1, "image_size": 32, "patch_size": 16}
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=sizes | words, vision_config=sizes | picture, projection_dim=16))
    for value in model.parameters():
        nn.init.normal_(value, std=0.2)
    return model.eval()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[CLIPModel, Path]:
    """A small CLIP with random values, and its folder: text and image tower together, as hubs hold it."""
    folder = tmp_path_factory.mktemp("clip")
    tokenizer = small_tokenizer(folder)
    model = small_clip(tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, folder


@pytest.fixture
def copy_of(clip: tuple[CLIPModel, Path], tmp_path: Path) -> Path:
    for item in clip[1].iterdir():
        (tmp_path / item.name).write_bytes(item.read_bytes())
    return tmp_path


@torch.no_grad()
def by_hand(model: CLIPModel, folder: Path, texts: list[str]) -> Tensor:
    """One text at a time, without padding: the hidden state at the end token, normalised, projected."""
    tokenizer, rows = CLIPTokenizer.from_pretrained(folder), []
    for item in texts:
        ids = tokenizer(item, return_tensors="pt").input_ids
        hidden = model.text_model(input_ids=ids).last_hidden_state[0, -1]
        rows.append(model.text_projection(hidden))
    return torch.stack(rows)


def test_vectors_of_a_whole_clip(clip: tuple[CLIPModel, Path]) -> None:
    model, folder = clip
    vectors = _ClipEncoder(str(folder))(TEXTS)
    assert vectors.shape == (2, 16)
    torch.testing.assert_close(vectors, by_hand(model, folder, TEXTS), atol=1e-5, rtol=1e-5)


def test_a_text_tower_alone_gives_the_same(clip: tuple[CLIPModel, Path], copy_of: Path) -> None:
    _, folder = clip
    tower = CLIPTextModelWithProjection.from_pretrained(folder)
    (copy_of / "model.safetensors").unlink()
    tower.save_pretrained(copy_of)
    assert torch.equal(_ClipEncoder(str(copy_of))(TEXTS), _ClipEncoder(str(folder))(TEXTS))


def test_pickled_weights_give_the_same(clip: tuple[CLIPModel, Path], copy_of: Path) -> None:
    model, folder = clip
    (copy_of / "model.safetensors").unlink()
    torch.save(model.state_dict(), copy_of / "pytorch_model.bin")
    assert torch.equal(_ClipEncoder(str(copy_of))(TEXTS), _ClipEncoder(str(folder))(TEXTS))


def test_class_vectors_are_centred_averages(clip: tuple[CLIPModel, Path]) -> None:
    from masg_sam.models.text import REFERENCE

    model, folder = clip
    result = embed_classes(["liver", "left_atrium"], source="clip", location=str(folder), modality="CT")
    raw = [by_hand(model, folder, list(class_sentences(name, "CT", "", {}))) for name in ("liver", "left_atrium")]
    means = torch.stack([nn.functional.normalize(rows, dim=-1).mean(0) for rows in raw])
    reference = by_hand(model, folder, [class_sentences(name, "CT", "", {})[0] for name in REFERENCE])
    torch.testing.assert_close(result.vectors, centre(means, reference), atol=1e-4, rtol=1e-4)
    assert result.source == f"CLIP {folder}" and result.sentences[1][0] == "a CT image of the left atrium"


def test_a_long_sentence_is_cut_to_the_context(clip: tuple[CLIPModel, Path]) -> None:
    encoder = _ClipEncoder(str(clip[1]))
    long = "a" * (3 * CONTEXT)
    vectors = encoder([long, long + "b", "b" + long])
    assert torch.equal(vectors[0], vectors[1]) and not torch.allclose(vectors[0], vectors[2])


def test_loading_is_quiet(
    clip: tuple[CLIPModel, Path], capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        _ClipEncoder(str(clip[1]))
    assert capfd.readouterr() == ("", "") and not caplog.records


# never anything in place of what was asked for -----------------------------------------------------------


def refusal(folder: Path) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        embed_classes(["liver"], source="clip", location=str(folder))
    assert caught.value.path == str(folder) and caught.value.exit_code == 2
    return caught.value


def test_truncated_weights(copy_of: Path) -> None:
    content = (copy_of / "model.safetensors").read_bytes()
    (copy_of / "model.safetensors").write_bytes(content[: len(content) // 2])
    assert "--model.dsf.location" in refusal(copy_of).mend


def test_weights_that_lack_a_tensor_are_not_filled_by_chance(clip: tuple[CLIPModel, Path], copy_of: Path) -> None:
    from safetensors.torch import save_file

    state = {k: v.contiguous() for k, v in clip[0].state_dict().items() if k != "text_projection.weight"}
    save_file(state, copy_of / "model.safetensors", metadata={"format": "pt"})
    assert "text_projection.weight" in str(refusal(copy_of).found)


def test_a_configuration_of_another_size(copy_of: Path) -> None:
    facts = json.loads((copy_of / "config.json").read_text(encoding="utf-8"))
    facts["text_config"]["projection_dim"] = 8
    (copy_of / "config.json").write_text(json.dumps(facts), encoding="utf-8")
    refusal(copy_of)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_with_a_file_missing(copy_of: Path, name: str) -> None:
    (copy_of / name).unlink()
    refusal(copy_of)


def test_without_a_network_it_says_so_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    started = time.monotonic()
    with pytest.raises(WeightsError) as caught:
        embed_classes(["liver"], source="clip", location="nobody/not-in-any-cache")
    assert time.monotonic() - started < 5
    assert "nobody/not-in-any-cache" in caught.value.problem and "folder" in caught.value.mend
    assert CLIP_ID.count("/") == 1


# true CLIP vectors ---------------------------------------------------------------------------------------


def test_true_vectors_lie_close_together_until_centred(real_data: Path) -> None:
    path = real_data.parent / "clip" / "vit_b32_text.npy"
    if not path.is_file():
        pytest.skip("no CLIP vectors beside the real data")
    result = embed_classes(["left_kidney", "Liver", "aorta"], source="vectors", location=str(path))
    before, after = result.mean_cosine
    assert result.vectors.shape == (3, 512) and before > 0.7 and after < 0.2
    rows = np.load(path)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    names = [row["name"] for row in json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["rows"]]
    expected = unit[[names.index(name) for name in ("left kidney", "liver", "aorta")]] - unit.mean(0)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(result.vectors.numpy(), expected, atol=1e-5)
