"""Self-training: masks that a first model gave to unlabelled scans join the labels of a second training.

python benchmarks/self_training.py DATA IMAGES MASKS --out JOINED
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from subsets import copy_case, describe

from masg_sam.data.io import suffix_of
from masg_sam.data.layouts import find_images, find_training_cases


def join(data: Path, images: Path, masks: Path, out: Path) -> None:
    """Labelled cases, and images with their predicted masks, as one dataset in nnU-Net's layout.

    Args:
        data: the labelled cases, in any layout.
        images: those without labels.
        masks: what `masg-sam predict` wrote for them.
        out: folder of the dataset.
    """
    dataset = find_training_cases(data)
    guessed = {path.name.removesuffix(suffix_of(path) or ""): path for path in masks.iterdir() if suffix_of(path)}
    others = [replace(case, label=guessed.get(case.name)) for case in find_images([images])]
    names = [case.name for case in (*dataset.cases, *others)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SystemExit(f"{', '.join(twice)}: labelled, and among the images without labels")
    for case in (*dataset.cases, *others):
        copy_case(case, out)
    describe(dataset, out)


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("masks", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    join(given.data, given.images, given.masks, given.out)


if __name__ == "__main__":
    main()
