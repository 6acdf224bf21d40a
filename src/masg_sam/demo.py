"""The demonstration: the main job, end to end, on the embedded sample."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from masg_sam import api
from masg_sam.config import Config, override
from masg_sam.data.io import read_image, read_label
from masg_sam.data.sample import CASE, CLASSES, FACTS, write_sample
from masg_sam.inference.overlay import write_overlay
from masg_sam.models import checkpoint

STEPS = 150


def run_demo(out: Path, notes: Console, console: Console) -> None:
    """Train on a few slices of the sample, segment the whole brain, score it, draw it.

    A finished training in ``out`` is used again; an unfinished one is continued.

    Args:
        out: folder of everything that is made.
        notes: where progress goes.
        console: where the scores go.

    Raises:
        InputError: nilearn is missing, or ``out`` holds something else.
    """
    data, run, masks = out / "data", out / "run", out / "masks"
    minutes: dict[str, float] = {}
    if not (data / FACTS).exists():
        with _timed("sample", minutes):
            write_sample(data)
    with _timed("training", minutes):
        _train(data, run, notes)
    with _timed("prediction", minutes):
        results = list(api.predict(run, data / "imagesTs", masks))
    with _timed("evaluation", minutes):
        evaluation = api.evaluate(masks, data / "labelsTs")
        picture = _draw(data, masks, out / "pictures")
    with _timed("report", minutes):
        page = api.report(masks, out / "report.html", labels=data / "labelsTs")
    console.print(evaluation.table())
    for result in results:
        volumes = ", ".join(f"{name} {value:.0f} mL" for name, value in result.volume_ml.items() if value is not None)
        console.print(f"volumes:  {volumes}", highlight=False)
    console.print("minutes:  " + ", ".join(f"{stage} {spent:.1f}" for stage, spent in minutes.items()), highlight=False)
    console.print(
        f"masks:    {masks}\npictures: {picture}\nreport:   {page}\nmodel:    {run}", highlight=False, soft_wrap=True
    )
    console.print(
        "The slices it learned from are of this same brain: the scores show that everything works, no more.",
        style="dim",
    )


def _train(data: Path, run: Path, notes: Console) -> None:
    if (run / checkpoint.FACTS).exists():
        notes.print(f"using the model trained before; delete {run} to train again", highlight=False, soft_wrap=True)
        return
    api.train(data, run, override(Config(), {"training.steps": STEPS}), resume=True, console=notes)


def _draw(data: Path, masks: Path, folder: Path) -> Path:
    image = read_image(data / "imagesTs" / f"{CASE}_0000.nii.gz")
    drawn = {
        "prediction": read_label(masks / f"{CASE}.nii.gz").data[0],
        "label": read_label(data / "labelsTs" / f"{CASE}.nii.gz").data[0],
    }
    return write_overlay(image, drawn, [name for name in CLASSES if name != "background"], folder / f"{CASE}.png")


@contextmanager
def _timed(stage: str, minutes: dict[str, float]) -> Iterator[None]:
    started = time.monotonic()
    yield
    minutes[stage] = (time.monotonic() - started) / 60
