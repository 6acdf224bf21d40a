"""Self-training: masks that a first model gave to unlabelled scans join the labels of a second training.

python benchmarks/self_training.py DATA IMAGES MASKS --out JOINED     # then: masg-sam train JOINED/cases.json --out RUN
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from subsets import describe

from masg_sam.data.layouts import find_images, find_labels, find_training_cases

LIST = "cases.json"


def join(data: Path, images: Path, masks: Path, out: Path) -> None:
    """List labelled cases, and images with their predicted masks, as one dataset; nothing is copied.

    Args:
        data: the labelled cases, in any layout.
        images: those without labels.
        masks: what `masg-sam predict` wrote for them.
        out: folder of the list.
    """
    dataset, others, (guesses, _) = find_training_cases(data), find_images([images]), find_labels(masks)
    if bare := [case.name for case in others if case.name not in guesses]:
        raise SystemExit(f"no mask of {', '.join(bare)} in {masks}")
    labelled = [(case, case.label) for case in dataset.cases] + [(case, guesses[case.name]) for case in others]
    rows = [
        {"case": case.name, "image": [str(path.resolve()) for path in case.images], "label": str(Path(label).resolve())}
        for case, label in labelled
    ]
    out.mkdir(parents=True, exist_ok=True)
    describe(dataset, out)
    (out / LIST).write_text(json.dumps(rows, indent=1), encoding="utf-8")


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "images", "masks"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    join(given.data, given.images, given.masks, given.out)


if __name__ == "__main__":
    main()
