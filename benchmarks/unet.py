"""MONAI's U-Net from scratch, through the same loaders, augmentation, steps, prediction and evaluation.

python benchmarks/unet.py train DATA --out RUN [settings as of masg-sam train]
python benchmarks/unet.py predict RUN IMAGES --out MASKS
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from monai.networks.nets import UNet
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from masg_sam.config import Config, ModelConfig, from_dict, load_config, override, to_dict
from masg_sam.data.task import Task
from masg_sam.files import parse
from masg_sam.models.checkpoint import TrainedModel
from masg_sam.models.masg_sam import MasgSamOutput
from masg_sam.segmenter import MasgSam
from masg_sam.training.run import prepare
from masg_sam.training.trainer import Trainer
from masg_sam.versions import package_versions

CHANNELS = (32, 64, 128, 256, 320)
LR = 1e-3


class UNetPeer(nn.Module):
    """A residual 2-D U-Net that trainer and predictor take for one of ours.

    Args:
        task: classes and input channels.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.config = ModelConfig()
        self.adapter = nn.Identity()
        self.plain = True
        # Under the encoder's name all of it has one learning rate, and counts as trained.
        self.encoder = UNet(2, task.in_channels, task.labels.num_classes + 1, CHANNELS, (2,) * 4, num_res_units=2)

    def forward(self, images: Tensor, prompts: object = None, progress: float = 1.0) -> MasgSamOutput:
        """``B x C x H x W`` to logits ``B x K+1 x H x W``."""
        return MasgSamOutput(self.encoder(images))


def train(data: Path, out: Path, config: Config) -> None:
    """Train as `masg-sam train` does, with the other network."""
    prepared = prepare(data, config)
    task, steps = prepared.task, prepared.steps
    torch.manual_seed(config.training.seed)
    samples = prepared.samples(config.training, prompts=0.0)
    out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(UNetPeer(task), samples, steps, config.training, out, {}, Console(stderr=True))
    state = trainer.run((out / "last.safetensors").exists())
    facts = {
        "steps": steps,
        "task": task.to_dict(),
        "cases": [case.name for case in prepared.dataset.cases],
        "config": to_dict(config),
        "facts": {"weights": "random values", "versions": package_versions()},
    }
    (out / "run.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    save_file({k: v.contiguous() for k, v in state.items()}, out / "model.safetensors")
    (out / "model.json").write_text("{}", encoding="utf-8")


def predict(run: Path, images: Path, out: Path) -> None:
    """Segment as `masg-sam predict` does."""
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    task = parse(Task, facts["task"])
    network = UNetPeer(task)
    network.load_state_dict(load_file(run / "model.safetensors"))
    model = MasgSam(TrainedModel(network, task, from_dict(facts["config"]), {}, {}))  # type: ignore[arg-type]
    for _ in model.predict(images, out):
        pass


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    trainer = verbs.add_parser("train")
    trainer.add_argument("data", type=Path)
    trainer.add_argument("--config", type=Path, help="YAML recipe")
    trainer.add_argument("--resume", action="store_true", help="an interrupted training is continued anyhow")
    predictor = verbs.add_parser("predict")
    predictor.add_argument("run", type=Path)
    predictor.add_argument("images", type=Path)
    for verb in (trainer, predictor):
        verb.add_argument("--out", type=Path, required=True)
    arguments, rest = parser.parse_known_args()
    if arguments.verb == "predict":
        predict(arguments.run, arguments.images, arguments.out)
        return
    settings = {flag.removeprefix("--"): value for flag, value in zip(rest[::2], rest[1::2], strict=True)}
    recipe = load_config(arguments.config) if arguments.config else Config()
    config = override(recipe, {"training.encoder_lr": LR, "training.trackers": []} | settings)
    train(arguments.data, arguments.out, config)


if __name__ == "__main__":
    main()
