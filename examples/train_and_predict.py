"""Train on a folder of labelled cases, segment others, and print their volumes.

python examples/train_and_predict.py DATA IMAGES OUT [STEPS]
"""

from __future__ import annotations

import sys
from pathlib import Path

from masg_sam import Config, train


def main(data: str, images: str, out: str, steps: int | None = None) -> None:
    """Leave ``OUT/run`` with the model and ``OUT/masks`` with one mask a case."""
    config = Config()
    config.training.steps = steps
    model = train(data, Path(out) / "run", config)
    for result in model.predict(images, Path(out) / "masks", pictures=True):
        volumes = ", ".join(f"{name} {value} mL" for name, value in result.volume_ml.items())
        print(f"{result.case}: {volumes}")


if __name__ == "__main__":
    main(*sys.argv[1:4], steps=int(sys.argv[4]) if len(sys.argv) > 4 else None)
