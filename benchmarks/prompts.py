"""What prompts are worth: Dice after each click of a simulated user, and with a box in every slice.

    python benchmarks/prompts.py RUN IMAGES LABELS --name "LA, 20 scans" --out benchmarks/results/prompts-la4.json

The user clicks into the middle of the largest piece that is wrong, which needs the label; the network is asked once a
case. `tables.py` makes a table of all files `results/prompts-*.json`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mdtable import number
from run import commit, machine, write
from scipy import ndimage

from masg_sam import Box, Click, MasgSam
from masg_sam.data.io import read_channels, read_label
from masg_sam.data.labels import IGNORED
from masg_sam.data.layouts import find_images, find_labels
from masg_sam.data.task import Task
from masg_sam.evaluation.metrics import score
from masg_sam.evaluation.statistics import mean
from masg_sam.inference.prompting import UserPrompt

MOVED = 0.1  # of a box's height and width: so far from the true place each of its sides may lie


def next_click(mask: np.ndarray, label: np.ndarray, spacing: tuple[float, ...], names: tuple[str, ...]) -> Click | None:
    """The click that a user would make: in the middle of the largest piece where one class stands for another.

    Args:
        mask, label: classes 0..K, ``Z x Y x X``; what nobody labelled is right.
        spacing: mm along these axes.
        names: of the classes.

    Returns:
        On the class of the label; where that is background, a click that takes the mask's class away. ``None`` where
        all is right.
    """
    largest, where = 0, None
    for true, found in np.unique(np.stack([label, mask])[:, mask != label], axis=1).T:
        if true == IGNORED:
            continue
        pieces, _ = ndimage.label((label == true) & (mask == found))
        sizes = np.bincount(pieces.ravel())[1:]
        if sizes.max() > largest:
            largest, where = sizes.max(), (true, found, pieces == sizes.argmax() + 1)
    if where is None:
        return None
    true, found, piece = where
    rim = [int(n > 1) for n in piece.shape]  # of a picture there is nothing above and below
    depth = ndimage.distance_transform_edt(np.pad(piece, [(n, n) for n in rim]), spacing)
    z, y, x = (int(i) - n for i, n in zip(np.unravel_index(depth.argmax(), depth.shape), rim, strict=True))
    return Click((z, y, x), names[(true or found) - 1], inside=bool(true))


def boxes(label: np.ndarray, task: Task, rng: np.random.Generator) -> list[Box]:
    """Around each class in each slice of the task's plane, its sides moved by up to a tenth."""
    found = []
    for value, name in enumerate(task.labels.names, start=1):
        for index, piece in enumerate(np.moveaxis(label == value, task.axis, 0)):
            if piece.any():
                sides = [_moved(np.flatnonzero(piece.any(axis)), piece.shape[1 - axis], rng) for axis in (1, 0)]
                start, end = ([side[i] for side in sides] for i in (0, 1))
                for corner in (start, end):
                    corner.insert(task.axis, index)
                found.append(Box(tuple(start), tuple(end), name))
    return found


def _moved(places: np.ndarray, length: int, rng: np.random.Generator) -> list[int]:
    """First and last place, moved; within the image, and in their order."""
    ends = np.array([places[0], places[-1]]) + rng.uniform(-MOVED, MOVED, 2) * (places[-1] - places[0] + 1)
    return sorted(int(i) for i in np.round(ends).clip(0, length - 1))


def dice(mask: np.ndarray, label: np.ndarray, spacing: tuple[float, float, float], classes: int) -> float | None:
    """Mean over the classes, as `masg-sam evaluate` has it: of those that mask or label have."""
    known = label != IGNORED
    return mean(score(mask == k, label == k, spacing, labelled=known).dice for k in range(1, classes + 1))


def prompted(model: MasgSam, images: Path, labels: Path, clicks: int) -> dict[str, Any]:
    """Dice of every case without prompts, after each click, and with boxes; and the seconds that they take."""
    task, files = model.model.task, find_labels(labels)[0]
    cases: dict[str, dict[str, Any]] = {}
    network, answers = [], []
    for case in find_images([images], len(task.channels)):
        volume = read_channels(case.images, len(task.channels))
        label = task.labels.encode(read_label(files[case.name], volume))
        started = time.monotonic()
        session = model.predictor.session(volume)
        network.append(time.monotonic() - started)

        def answer(prompts: list[UserPrompt], session: Any = session) -> np.ndarray:
            started = time.monotonic()
            mask = session.segment(prompts).mask
            answers.append(time.monotonic() - started)
            return mask

        measure = partial(dice, label=label, spacing=volume.spacing, classes=task.labels.num_classes)
        given: list[UserPrompt] = []
        mask = session.segment().mask
        scores = [measure(mask)]
        for _ in range(clicks):
            click = next_click(mask, label, volume.spacing, task.labels.names)
            if click is not None:
                given.append(click)
                mask = answer(given)
            scores.append(measure(mask))
        boxed = answer(list(boxes(label, task, np.random.default_rng(0))))
        cases[case.name] = {"clicks": scores, "boxes": measure(boxed)}
        print(case.name, *map(number, scores), "boxes", number(cases[case.name]["boxes"]), flush=True)
    return {"cases": cases, "network_seconds": statistics.median(network), "seconds": statistics.median(answers)}


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a trained model")
    parser.add_argument("images", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--clicks", type=int, default=5)
    parser.add_argument("--name", required=True, help="of the data, for the table")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    given = parser.parse_args()
    found = prompted(MasgSam.from_pretrained(given.run), given.images, given.labels, given.clicks)
    write({"name": given.name, "commit": commit(), "machine": machine(), **found}, given.out)


if __name__ == "__main__":
    main()
