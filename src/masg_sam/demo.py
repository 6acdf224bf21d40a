"""The demonstration: the main job, end to end, on the embedded sample."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from masg_sam import api
from masg_sam.config import Config, override
from masg_sam.data.io import read_image, read_label
from masg_sam.data.sample import CASE, CLASSES, write_sample
from masg_sam.inference.overlay import write_overlay

STEPS = 150


def run_demo(out: Path, notes: Console, console: Console) -> None:
    """Train on a few slices of the sample, segment the whole brain, score it, draw it.

    A finished training in ``out`` is used again; an unfinished one is continued.

    Args:
        out: folder of everything that is made.
        notes: where progress goes.
        console: where the scores go.
    """
    data, run, masks = out / "data", out / "run", out / "masks"
    started = time.monotonic()
    if not (data / "dataset.json").exists():
        write_sample(data)
    if not (run / "model.json").exists():
        config = override(Config(), {"training.steps": STEPS})
        api.train(data, run, config, resume=True, console=notes)
    trained = time.monotonic()
    results = list(api.predict(run, data / "imagesTs", masks))
    evaluation = api.evaluate(masks, data / "labelsTs")
    picture = _draw(data, masks, out / "pictures")
    console.print(evaluation.table())
    for result in results:
        volumes = ", ".join(f"{name} {value:.0f} mL" for name, value in result.volume_ml.items() if value is not None)
        console.print(f"volumes: {volumes}", highlight=False)
    done = time.monotonic()
    console.print(
        f"training {(trained - started) / 60:.1f} min, the rest {(done - trained) / 60:.1f} min",
        highlight=False,
    )
    console.print(f"masks:    {masks}\npictures: {picture}\nmodel:    {run}", highlight=False, soft_wrap=True)
    console.print(
        "The slices it learned from are of this same brain: the scores show that everything works, no more.",
        style="dim",
    )


def _draw(data: Path, masks: Path, folder: Path) -> Path:
    image = read_image(data / "imagesTs" / f"{CASE}_0000.nii.gz")
    drawn = {
        "prediction": read_label(masks / f"{CASE}.nii.gz").data[0],
        "label": read_label(data / "labelsTs" / f"{CASE}.nii.gz").data[0],
    }
    return write_overlay(image, drawn, [name for name in CLASSES if name != "background"], folder / f"{CASE}.png")
