"""One training run: check the data, plan, build the network, train, write the model."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console

from masg_sam.config import Config, TrainingConfig, to_dict
from masg_sam.data.check import TrainingCheck, examine, guess_modality, read_case
from masg_sam.data.dataset import AlternatingPlanes, TrainingCase, TrainingSamples, prepare_case
from masg_sam.data.intensity import fit_intensity
from masg_sam.data.layouts import Dataset, look_for_cases
from masg_sam.data.slices import must_be_drawable
from masg_sam.data.task import Task, describe_slices
from masg_sam.errors import OutputError
from masg_sam.files import must_be_folder, write_text
from masg_sam.inference.predictor import Predictor
from masg_sam.models.checkpoint import FACTS, LOG, RUN, SETTINGS, STATE, WEIGHTS, TrainedModel, save_model
from masg_sam.models.masg_sam import MasgSamNetwork
from masg_sam.models.sam.weights import load_sam
from masg_sam.models.text import TextVectors, embed_classes
from masg_sam.training import checkpoint
from masg_sam.training.calibration import calibrate
from masg_sam.training.optimization import check_available
from masg_sam.training.planning import check_settings, make_task, plan_grid, plan_steps, single_pieces
from masg_sam.training.trainer import Trainer
from masg_sam.versions import package_versions

log = logging.getLogger(__name__)


@dataclass
class Prepared:
    """Training data in memory.

    Attributes:
        dataset: where it came from.
        check: what was found in it.
        task: the plan.
        steps: how long to train.
        cases: at the network's pixel size, of each plane.
    """

    dataset: Dataset
    check: TrainingCheck
    task: Task
    steps: int
    cases: list[list[TrainingCase]]

    def samples(self, config: TrainingConfig, prompts: float) -> AlternatingPlanes:
        """What a run sees; ``prompts`` is the part that comes with one."""
        planes = [
            TrainingSamples(cases, view, self.steps * config.batch_size, config.seed, prompts)
            for cases, view in zip(self.cases, self.task.views, strict=True)
        ]
        return AlternatingPlanes(planes, config.batch_size)


def run_training(data: Path, out: Path, config: Config, resume: bool, console: Console) -> TrainedModel:
    """Train on a folder of labelled cases and write the model into ``out``.

    Raises:
        InputError: data, settings or the output folder are wrong; nothing was written, but for the settings where it
            is a tracker that cannot be started.
        TrainingError: training broke down; the last state is in ``out``.
    """
    _check_output(out, data, resume)
    check_settings(config.model)
    check_available(config.training)
    prepared = prepare(data, config)
    torch.manual_seed(config.training.seed)
    network, facts, architecture = build_network(prepared.task, config)
    prompts = config.data.prompts if config.model.decoder.kind == "sam" else 0.0
    samples = prepared.samples(config.training, prompts)
    shared = {
        "settings": _shared_settings(config),
        "steps": prepared.steps,
        "cases": [case.name for case in prepared.dataset.cases],
        "task": prepared.task.to_dict(),
        "texts": facts.get("text"),
    }
    checkpoint.check_state(out, shared)
    _write_settings(out, config, prepared, facts)
    _announce(console, prepared, facts)
    trainer = Trainer(network, samples, prepared.steps, config.training, out, shared, console)
    average = trainer.run(resume)
    network.load_state_dict(average)
    if config.training.calibration:
        facts = facts | {"quality": _calibrate(network, prepared, config, trainer, console)}
    model = TrainedModel(network.cpu().eval(), prepared.task, config, architecture, facts)
    save_model(model, out)
    (out / STATE).unlink(missing_ok=True)
    return model


def _calibrate(
    network: MasgSamNetwork, prepared: Prepared, config: Config, trainer: Trainer, console: Console
) -> dict[str, Any] | None:
    console.print("learning which Dice to expect, on changed training cases")
    training, labels = config.training, prepared.check.label_map
    device = str(trainer.accelerator.device)
    predictor = Predictor(network, prepared.task, device, precision=training.precision)
    cases, summaries = prepared.dataset.cases, prepared.check.cases
    quality = calibrate(predictor, cases, summaries, labels, training.calibration, training.seed)
    return None if quality is None else quality.to_dict()


def prepare(data: Path, config: Config) -> Prepared:
    """Check and load the training cases, say what was found, and plan from them.

    Raises:
        InputError: a case cannot be used; the message names it, and every other one.
    """
    dataset = look_for_cases(data)
    check = examine(dataset)
    for finding in check.findings:
        if finding.level != "error":  # those are in what is raised
            log.log(logging.WARNING if finding.level == "warning" else logging.INFO, "%s", finding)
    check.must_pass()
    check.label_map = check.label_map.renamed(config.data.class_names)
    modality = config.data.modality or guess_modality(dataset, check)
    labels = check.label_map
    volumes, encoded = [], []
    for case in dataset.cases:
        volume, label = read_case(case)
        volumes.append(volume)
        encoded.append(labels.encode(label))
    grid = plan_grid(check.cases, encoded, config)
    intensity = fit_intensity(zip(volumes, encoded, strict=True), modality)
    single = single_pieces(encoded, labels.num_classes)
    channels = dataset.name_channels(volumes[0].data.shape[0])
    task = make_task(grid, labels, modality, channels, intensity, check.cases, single, config)
    for volume in volumes:
        must_be_drawable(volume, task)
    loaded = list(zip(dataset.cases, volumes, encoded, strict=True))
    cases = [[prepare_case(case.name, volume, label, view) for case, volume, label in loaded] for view in task.views]
    return Prepared(dataset, check, task, plan_steps(config, task, grid.windows), cases)


def build_network(task: Task, config: Config) -> tuple[MasgSamNetwork, dict[str, Any], dict[str, Any]]:
    """Load SAM and the class texts.

    Returns:
        The network, facts about its sources, and SAM's architecture.

    Raises:
        WeightsError: weights or text encoder are not to be had.
    """
    model = config.model
    sam = load_sam(model.encoder)
    facts: dict[str, Any] = {"weights": sam.source, "versions": package_versions()}
    text: TextVectors | None = None
    if model.decoder.kind == "sam" and model.dsf.enabled:
        text = embed_classes(
            task.labels.names,
            source=model.dsf.text,
            location=model.dsf.location,
            modality=task.modality,
            plane="" if task.pictures or task.across else task.plane,
            sentences=model.dsf.sentences,
            seed=config.training.seed,
        )
        facts["text"] = text.to_metadata()
    vectors = None if text is None else text.vectors
    classes = task.labels.num_classes
    network = MasgSamNetwork(model, sam, classes, task.in_channels, vectors)
    if model.encoder.tuning == "frozen":
        network.encoder.requires_grad_(False)
    elif model.encoder.tuning == "lora":
        network.encoder.add_lora(model.encoder.lora_rank)
    return network, facts, sam.architecture


def _check_output(out: Path, data: Path, resume: bool) -> None:
    must_be_folder(out)
    if out.resolve() == data.resolve():
        raise OutputError("the run would lie among the data", path=out, mend="give --out another folder")
    if (out / FACTS).exists():
        raise OutputError(
            "holds a trained model",
            path=out,
            found=FACTS,
            mend="train into another folder, or delete this one",
        )
    if not resume and (out / STATE).exists():
        raise OutputError(
            "holds a training that did not end",
            path=out,
            found=STATE,
            mend="continue it with --resume, or train into another folder",
        )
    ours = (out / RUN).exists() or (out / STATE).exists()
    if found := [name for name in (SETTINGS, LOG, WEIGHTS) if not ours and (out / name).exists()]:
        raise OutputError(
            "holds files of another origin, which a run would replace",
            path=out,
            found=", ".join(found),
            expected="a new folder, or one of a training",
            mend="give --out another folder",
        )


def _write_settings(out: Path, config: Config, prepared: Prepared, facts: dict[str, Any]) -> None:
    """What is needed to run it again: settings, data, versions."""
    settings = yaml.safe_dump(to_dict(config), sort_keys=False)
    record = {
        "data": str(prepared.dataset.root.resolve()),
        "layout": prepared.dataset.layout,
        "cases": [case.name for case in prepared.dataset.cases],
        "findings": [finding.to_dict() for finding in prepared.check.findings],
        "steps": prepared.steps,
        "task": prepared.task.to_dict(),
        "facts": facts,
    }
    for name, text in ((RUN, json.dumps(record, indent=1)), (SETTINGS, settings)):  # the first one marks it as a run's
        write_text(out / name, text)


def _announce(console: Console, prepared: Prepared, facts: dict[str, Any]) -> None:
    task = prepared.task
    count, classes = len(prepared.dataset.cases), ", ".join(task.labels.names)
    pixels = f"{task.size[0]} x {task.size[1]} pixels" + (f" of {task.pixel:.2f} mm" if task.pixel else "")
    console.print(f"{count} labelled case{'s' if count > 1 else ''}, {task.modality}; classes: {classes}")
    console.print(f"input {pixels}, {describe_slices(task)}, {prepared.steps} steps")
    console.print(f"weights: {facts['weights']}")
    if "text" in facts:
        console.print(f"class texts: {facts['text']['source']}")


def _shared_settings(config: Config) -> dict[str, Any]:
    """The settings that decide the weights; where to log and when to save do not."""
    values = to_dict(config)
    for name in ("calibration", "save_seconds", "trackers", "workers", "device"):
        values["training"].pop(name)
    return values
