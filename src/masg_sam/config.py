"""One tree of dataclasses: the arguments in Python, the YAML recipe and the flags of the command line.

``Config()`` is the default recipe. :func:`load_config` reads a YAML file with the same names, and
:func:`override` sets single values by their dotted name (``training.steps``), which is what the flags do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from masg_sam.errors import ConfigError

_CHECKED = ConfigDict(extra="forbid", validate_default=True)
MOST_SEED = 2**63  # what a generator takes
Positive = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0)]


@dataclass(config=_CHECKED)
class _Settings:
    """How a value is read before its type is checked, wherever it comes from."""

    @field_validator("*", mode="before")
    @classmethod
    def _read(cls, value: Any, info: ValidationInfo) -> Any:
        """``none``, as help and reference write it, is ``None`` where that is allowed; a bool is no number."""
        hint = cls.__pydantic_fields__[info.field_name or ""].annotation  # type: ignore[attr-defined]
        kinds = get_args(hint) or (hint,)
        if isinstance(value, str) and value.lower() in ("none", "null") and type(None) in kinds:
            return None
        if isinstance(value, bool) and bool not in kinds:
            raise PydanticCustomError("bool", "true and false are no value of it")
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign what passes the checks of a recipe.

        Raises:
            ConfigError: an unknown name or a wrong value.
        """
        try:
            self.__pydantic_validator__.validate_assignment(self, name, value)  # type: ignore[attr-defined]
        except ValidationError as error:
            raise _refusal(error) from error


@dataclass(config=_CHECKED)
class EncoderConfig(_Settings):
    """SAM's image encoder."""

    name: Annotated[
        Literal["mobile-sam", "sam-vit-b", "sam-vit-l", "sam-vit-h"],
        Field(description="mobile-sam (TinyViT) or SAM's own ViT"),
    ] = "mobile-sam"
    weights: Annotated[
        str, Field(description="auto, a file, a folder or a hub id; 'scratch' starts from random values")
    ] = "auto"
    tuning: Annotated[Literal["full", "lora", "frozen"], Field(description="what of the encoder is trained")] = "full"
    lora_rank: Annotated[Positive, Field(description="rank of the LoRA updates")] = 8
    taps: Annotated[
        list[int] | None,
        Field(
            description="ViT blocks whose outputs are the levels; none: 3, 5, 7, 11 of ViT-B, quarters of larger ones"
        ),
    ] = None
    checkpointing: Annotated[
        bool, Field(description="recompute activations during backpropagation: less memory, more time (ViT)")
    ] = False


@dataclass(config=_CHECKED)
class HaeConfig(_Settings):
    """HAE, hierarchical attention enhancement."""

    enabled: Annotated[bool, Field(description="use HAE")] = True
    width: Annotated[Positive, Field(description="channels of a level inside HAE")] = 128
    diversity_weight: Annotated[Weight, Field(description="weight of the diversity term")] = 0.05
    entropy_floor: Annotated[
        float, Field(ge=0, le=1, description="least entropy of the mean attention, as a part of its maximum")
    ] = 0.5
    drift_weight: Annotated[Weight, Field(description="weight of the drift term")] = 0.05
    drift_margin: Annotated[
        float, Field(ge=0, le=2, description="cosine distance from SAM's embedding that is free")
    ] = 0.3


@dataclass(config=_CHECKED)
class BfeConfig(_Settings):
    """BFE, boundary feature enhancement."""

    enabled: Annotated[bool, Field(description="use BFE")] = True
    weight: Annotated[Weight, Field(description="weight of the boundary loss")] = 0.3
    band: Annotated[Positive, Field(description="half width of the boundary band, input pixels")] = 2
    stride: Annotated[Literal[2, 4], Field(description="stride of the refined mask, input pixels")] = 2


@dataclass(config=_CHECKED)
class DsfConfig(_Settings):
    """DSF, dynamic semantic fusion with class texts."""

    enabled: Annotated[bool, Field(description="use DSF")] = True
    text: Annotated[
        Literal["sentence", "clip", "vectors", "random", "learned", "shuffled"],
        Field(description="where the class vectors come from"),
    ] = "sentence"
    location: Annotated[str | None, Field(description="hub id, folder or file of the text encoder or the vectors")] = (
        None
    )
    sentences: Annotated[dict[str, str], Field(description="a sentence of your own for a class, by class name")] = (
        field(default_factory=dict)
    )
    match_weight: Annotated[Weight, Field(description="weight of the loss of the similarity maps")] = 0.2


@dataclass(config=_CHECKED)
class DecoderConfig(_Settings):
    """The mask decoder."""

    kind: Annotated[Literal["sam", "fpn"], Field(description="SAM's decoder, or a plain pyramid to compare with")] = (
        "sam"
    )
    passes: Annotated[Literal[1, 2], Field(description="2: the soft coarse mask guides a second pass")] = 2
    coarse_weight: Annotated[Weight, Field(description="weight of the loss of the coarse mask")] = 0.4


@dataclass(config=_CHECKED)
class ModelConfig(_Settings):
    """The network."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    hae: HaeConfig = field(default_factory=HaeConfig)
    bfe: BfeConfig = field(default_factory=BfeConfig)
    dsf: DsfConfig = field(default_factory=DsfConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)


@dataclass(config=_CHECKED)
class DataConfig(_Settings):
    """How images become network input."""

    size: Annotated[
        int | None,
        Field(
            ge=32,
            le=2048,
            multiple_of=32,
            description="longest side of a picture, or of the median scan's slices, pixels; none: chosen",
        ),
    ] = None
    pixel: Annotated[
        float | None,
        Field(gt=0, allow_inf_nan=False, description="side of an input pixel of a scan, mm; none: chosen"),
    ] = None
    modality: Annotated[
        str | None, Field(description="CT, MRI, endoscopy, ...; none: from dataset.json or the voxels")
    ] = None
    class_names: Annotated[
        list[str] | None, Field(description="of the label values from the lowest up; none: from dataset.json")
    ] = None
    plane: Annotated[Literal["auto", "axial", "coronal", "sagittal"], Field(description="the slices of a volume")] = (
        "auto"
    )
    planes: Annotated[
        Literal[1, 3] | None,
        Field(description="planes a volume is cut in; none: 3 where all are deep and voxels not too long, else 1"),
    ] = None
    flips: Annotated[
        bool | None, Field(description="mirror while training; none: only pictures without left and right")
    ] = None
    prompts: Annotated[float, Field(ge=0, le=1, description="part of the training samples that come with a prompt")] = (
        0.25
    )


@dataclass(config=_CHECKED)
class TrainingConfig(_Settings):
    """Optimisation."""

    steps: Annotated[Positive | None, Field(description="optimiser steps; none: chosen from size")] = None
    batch_size: Annotated[Positive, Field(description="slices a step")] = 8
    lr: Annotated[float, Field(gt=0, description="peak learning rate of new layers")] = 1e-3
    decoder_lr: Annotated[float, Field(gt=0, description="peak learning rate of SAM's decoder")] = 5e-4
    encoder_lr: Annotated[float, Field(gt=0, description="peak learning rate of the encoder; 5e-3 suits LoRA")] = 2e-4
    weight_decay: Annotated[Weight, Field(description="AdamW weight decay")] = 0.01
    clip_norm: Annotated[float, Field(gt=0, description="largest gradient norm")] = 5.0
    ema: Annotated[float, Field(ge=0, lt=1, description="decay of the averaged weights")] = 0.99
    seed: Annotated[int, Field(ge=0, lt=MOST_SEED, description="seed of everything random")] = 0
    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], Field(description="arithmetic of the network")] = (
        "auto"
    )
    device: Annotated[str, Field(description="auto, cpu, cuda, mps")] = "auto"
    workers: Annotated[
        int | None, Field(ge=0, description="processes that prepare samples; none: some beside a GPU, else 0")
    ] = None
    cached_samples: Annotated[Positive, Field(description="augmented samples encoded once for a frozen encoder")] = 256
    calibration: Annotated[
        int, Field(ge=0, description="changed blocks of training cases that the expected Dice is learned on; 0: none")
    ] = 24
    save_seconds: Annotated[float, Field(gt=0, description="seconds between checkpoints")] = 60.0
    trackers: Annotated[
        list[Literal["tensorboard", "mlflow"]], Field(description="where curves go beside log.jsonl")
    ] = field(default_factory=lambda: ["tensorboard"])


@dataclass(config=_CHECKED)
class Config(_Settings):
    """Everything a training run needs to know beside its data."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)


def load_config(path: str | Path) -> Config:
    """Read a YAML recipe; what it leaves out keeps its default.

    Raises:
        ConfigError: the file is missing, not YAML, or holds an unknown name or a wrong value.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            "recipe cannot be read", path=path, found=error, mend="give a YAML file like those in configs/"
        ) from error
    return from_dict(values, source=path)


def from_dict(values: Mapping[str, Any], source: str | Path | None = None) -> Config:
    """Build a configuration from nested dictionaries.

    Raises:
        ConfigError: an unknown name or a wrong value, named with its dotted path.
    """
    try:
        return TypeAdapter(Config).validate_python(_without_empty(values) if isinstance(values, dict) else values)
    except ValidationError as error:
        raise _refusal(error, source) from error


def _without_empty(values: Mapping[str, Any], prefix: str = "") -> Mapping[str, Any]:
    """Without sections of which every line is a comment."""
    sections = {name[:end] for name, _, _ in walk() for end, letter in enumerate(name) if letter == "."}
    kept = {key: value for key, value in values.items() if value is not None or prefix + str(key) not in sections}
    return {k: _without_empty(v, f"{prefix}{k}.") if isinstance(v, dict) else v for k, v in kept.items()}


def _refusal(error: ValidationError, source: str | Path | None = None) -> ConfigError:
    """What pydantic found first, in our words."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    return ConfigError(
        f"setting {name or 'file'}: {first['msg']}",
        path=source,
        found=first["input"],
        expected=_known(name) if first["type"] == "unexpected_keyword_argument" else None,
        mend="`masg-sam train --help` lists every setting",
    )


def to_dict(config: Any) -> dict[str, Any]:
    """The configuration, or a part of it, as plain nested dictionaries."""
    return TypeAdapter(type(config)).dump_python(config, mode="json")


def override(config: Config, settings: Mapping[str, Any]) -> Config:
    """A copy with some values replaced, each given by its dotted name.

    Args:
        config: where the other values come from.
        settings: ``{"training.steps": 300}``; strings are read as YAML, as on the command line.

    Raises:
        ConfigError: an unknown name or a wrong value.
    """
    values = to_dict(config)
    for name, value in settings.items():
        *parents, last = name.split(".")
        branch = values
        for parent in parents:
            branch = branch.setdefault(parent, {})
            if not isinstance(branch, dict):
                raise ConfigError(f"unknown setting {name}", expected=_known(name))
        branch[last] = _read(name, value) if isinstance(value, str) else value
    return from_dict(values)


def _read(name: str, value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"setting {name} cannot be read",
            found=value,
            expected="a value of YAML",
            mend="put it in quotes: \"'...'\"",
        ) from error


def walk(kind: Any = Config, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """Every setting as ``(dotted name, type, description)``, in order."""
    hints = get_type_hints(kind, include_extras=True)
    for item in fields(kind):
        hint = hints[item.name]
        if is_dataclass(hint):
            yield from walk(hint, f"{prefix}{item.name}.")
        else:
            notes = [note.description for note in getattr(hint, "__metadata__", ()) if note.description]
            yield f"{prefix}{item.name}", hint, notes[-1] if notes else ""


def _known(name: str) -> str | None:
    """The settings beside an unknown one."""
    parent = name.rpartition(".")[0]
    names = [known for known, _, _ in walk() if known.rpartition(".")[0] == parent]
    return "one of " + ", ".join(names) if names else None
