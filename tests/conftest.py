"""What many tests share: small datasets on disk, small networks in memory, the place of real data."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support import blobs, tiny_vision_config, write_scan
from transformers import SamConfig, SamModel

from masg_sam.config import Config, ModelConfig, override
from masg_sam.data.intensity import Intensity
from masg_sam.data.labels import LabelMap
from masg_sam.data.task import Task
from masg_sam.models.masg_sam import MasgSamNetwork
from masg_sam.models.sam.weights import build_sam

SETTINGS = {
    "model.encoder.weights": "scratch",
    "model.dsf.text": "random",
    "data.size": 64,
    "training.steps": 2,
    "training.batch_size": 2,
    "training.calibration": 2,
    "training.trackers": [],
}


@pytest.fixture
def small() -> Config:
    """Two steps at 64 pixels from random weights: nothing is fetched."""
    return override(Config(), SETTINGS)


@pytest.fixture
def flags() -> list[str]:
    """The same on the command line."""
    return [part for name, value in SETTINGS.items() for part in (f"--{name}", json.dumps(value).strip('"'))]


@pytest.fixture
def real_data() -> Path:
    """Real data, where the environment names their folder."""
    folder = os.environ.get("MASG_SAM_DATA")
    if not folder:
        pytest.skip("MASG_SAM_DATA names no folder of real data")
    return Path(folder)


@pytest.fixture
def make_task() -> Callable[..., Task]:
    """A task of K classes on axial slices."""

    def make(classes: int = 1, **changes: object) -> Task:
        names = tuple(f"organ {k}" for k in range(1, classes + 1))
        values = {
            "labels": LabelMap(tuple(range(1, classes + 1)), names),
            "modality": "MRI",
            "channels": ("MRI",),
            "intensity": Intensity("scan"),
            "plane": "axial",
            "reach": 1,
            "pixel": 1.0,
            "size": (64, 64),
            "single": (False,) * classes,
            "pictures": False,
        }
        return Task(**(values | changes))  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_network() -> Callable[..., MasgSamNetwork]:
    """A network with random weights, the same for the same arguments."""

    def make(classes: int = 2, channels: int = 3, **settings: object) -> MasgSamNetwork:
        torch.manual_seed(0)
        config: ModelConfig = override(
            Config(), {f"model.{k.replace('__', '.')}": v for k, v in settings.items()}
        ).model
        text = torch.randn(classes, 16)
        return MasgSamNetwork(config, build_sam(config.encoder), classes, channels, text)

    return make


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Path]:
    """A dataset of blobs in nnU-Net's raw layout, with test images and labels."""

    def make(cases: int = 2, classes: int = 1, name: str = "blobs") -> Path:
        root = tmp_path / name
        for part, count in (("Tr", cases), ("Ts", 1)):
            for i in range(count):
                image, label = blobs(i if part == "Tr" else 100 + i, classes)
                write_scan(root / f"images{part}" / f"case{i}_0000.nii.gz", image)
                write_scan(root / f"labels{part}" / f"case{i}.nii.gz", label)
        labels = {"background": 0} | {f"organ {k}": k for k in range(1, classes + 1)}
        facts = {
            "channel_names": {"0": "MRI"},
            "labels": labels,
            "numTraining": cases,
            "file_ending": ".nii.gz",
        }
        (root / "dataset.json").write_text(json.dumps(facts), encoding="utf-8")
        return root

    return make


@pytest.fixture(scope="session")
def tiny_sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SAM of width 32 in transformers' format: the whole training takes milliseconds a step."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "image_size": 64}
    config = SamConfig(
        vision_config=tiny_vision_config(output_channels=32, num_pos_feats=16, initializer_range=0.1).to_dict(),
        prompt_encoder_config=sizes,
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 64,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": 32,
        },
    )
    folder = tmp_path_factory.mktemp("weights") / "tiny-sam"
    SamModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def tiny(small: Config, tiny_sam: Path) -> Config:
    """Training with that SAM, in float32 on one device."""
    settings = {
        "model.encoder.name": "sam-vit-b",
        "model.encoder.weights": str(tiny_sam),
        "model.hae.width": 16,
    }
    return override(small, settings | {"training.precision": "fp32", "training.device": "cpu"})
