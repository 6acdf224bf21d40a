"""How long our scores take beside MONAI's own metrics on the same masks.

python benchmarks/metrics.py --labels DATA/la4/labelsTs [--masks MASKS]

Without masks, the labels serve as such, grown by two voxels and moved by one. Both sides compute Dice, HD95, ASSD and
surface Dice from arrays in memory; ours computes everything else of `masg-sam evaluate` too. The sides take turns, and
the medians of the rounds are compared.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_surface_dice,
)
from scipy import ndimage

from masg_sam.data.io import read_label
from masg_sam.data.layouts import find_labels
from masg_sam.evaluation.metrics import Spacing, score

TOLERANCE_MM = 2.0
Case = tuple[np.ndarray, np.ndarray, Spacing]


def ours(case: Case) -> dict[str, float]:
    """Every score of the package."""
    found = score(*case, TOLERANCE_MM)
    return {"dice": found.dice, "hd95": found.hd95_mm, "assd": found.assd_mm, "surface_dice": found.surface_dice}


def monai(case: Case) -> dict[str, float]:
    """The four that MONAI has."""
    mask, label = (torch.from_numpy(one)[None, None].float() for one in case[:2])
    both = {"y_pred": mask, "y": label, "include_background": True}
    spacing = {"spacing": case[2]}
    return {
        "dice": compute_dice(mask, label).item(),
        "hd95": compute_hausdorff_distance(**both, **spacing, percentile=95).item(),
        "assd": compute_average_surface_distance(**both, **spacing, symmetric=True).item(),
        "surface_dice": compute_surface_dice(**both, **spacing, class_thresholds=[TOLERANCE_MM]).item(),
    }


def timed(work: Callable[[Case], dict[str, float]], cases: list[Case]) -> tuple[float, list[dict[str, float]]]:
    """Seconds over all cases, and the values."""
    started = time.perf_counter()
    values = [work(case) for case in cases]
    return time.perf_counter() - started, values


def main() -> None:
    """Read, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--masks", type=Path)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    truths, _ = find_labels(arguments.labels)
    masks = find_labels(arguments.masks)[0] if arguments.masks else {}
    cases: list[Case] = []
    for name, path in list(truths.items())[: arguments.cases]:
        volume = read_label(path)
        label = volume.data[0] > 0
        mask = read_label(masks[name]).data[0] > 0 if masks else np.roll(ndimage.binary_dilation(label, None, 2), 1, 2)
        cases.append((mask, label, volume.spacing))
    seconds: dict[str, list[float]] = {"masg-sam": [], "MONAI": []}
    values = {}
    for _ in range(arguments.rounds):
        for name, work in (("masg-sam", ours), ("MONAI", monai)):
            spent, values[name] = timed(work, cases)
            seconds[name].append(spent)
    apart = max(abs(a[k] - b[k]) for a, b in zip(values["masg-sam"], values["MONAI"], strict=True) for k in a)
    medians = {name: statistics.median(spent) for name, spent in seconds.items()}
    for name, spent in medians.items():
        print(f"{name:<10}{spent:7.2f} s for {len(cases)} cases, median of {arguments.rounds} rounds")
    print(f"ratio {medians['masg-sam'] / medians['MONAI']:.2f}; largest difference of a value {apart:.1e}")


if __name__ == "__main__":
    main()
