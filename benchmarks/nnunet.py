"""nnU-Net v2 as a peer: its own environment, planning, preprocessing, training by the clock, prediction.

python benchmarks/nnunet.py install ENV
python benchmarks/nnunet.py prepare DATA --out RUN --env ENV [--configuration 2d]
python benchmarks/nnunet.py train RUN --env ENV --minutes 20
python benchmarks/nnunet.py predict RUN IMAGES --out MASKS --env ENV

Scans are trained in 3-D (`3d_fullres`), pictures in 2-D, unless `--configuration` says otherwise. The environment
takes about 5 GB, and is only made by `install`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from masg_sam.data.convert import convert
from masg_sam.data.io import merge_channels, read_image, suffix_of
from masg_sam.data.io.export import write_image
from masg_sam.data.layouts import find_images

HERE = Path(__file__).parent
PACKAGES = ("torch==2.14.1", "torchvision==0.29.1", "nnunetv2==2.8.1")
DATASET, NUMBER = "Dataset001_MASG", "1"
TRAINER, PLANS = "MinutesTrainer", "nnUNetPlans"
DEADLINE, SEED = "MASG_SAM_NNUNET_DEADLINE", "MASG_SAM_NNUNET_SEED"
PROCESSES = str(min(4, os.cpu_count() or 1))


def install(place: Path) -> None:
    """Make the environment, where it has no nnU-Net yet."""
    if installed(place):
        return
    sys.stderr.write(f"installing {', '.join(PACKAGES)} into {place}: about 5 GB\n")
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    subprocess.run([str(place / "bin/python"), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)


def installed(place: Path) -> bool:
    """Whether the environment has nnU-Net."""
    python = place / "bin/python"
    found = "import importlib.util, sys; sys.exit(importlib.util.find_spec('nnunetv2') is None)"
    return python.exists() and subprocess.run([str(python), "-c", found]).returncode == 0


def prepare(data: Path, run: Path, env: Path, configuration: str | None) -> None:
    """Convert, plan, preprocess; an unfinished try is thrown away."""
    shutil.rmtree(run / "nnunet", ignore_errors=True)
    ending, cases = write_training(data, run / "nnunet/raw" / DATASET)
    configuration = configuration or ("2d" if ending == ".png" else "3d_fullres")
    call(env, run, *planning(configuration))
    settings = {"configuration": configuration, "cases": cases, "ending": ending}
    (run / "prepared.json").write_text(json.dumps(settings), encoding="utf-8")


def write_training(data: Path, raw: Path) -> tuple[str, list[str]]:
    """The labelled cases alone in nnU-Net's raw layout; returns the ending of the files, and the cases."""
    convert(data, raw, "nnunet")
    for part in ("imagesTs", "labelsTs", "imagesVal", "labelsVal"):
        shutil.rmtree(raw / part, ignore_errors=True)
    ending = json.loads((raw / "dataset.json").read_text(encoding="utf-8"))["file_ending"]
    return ending, sorted(path.name[: -len(ending)] for path in (raw / "labelsTr").iterdir())


def write_images(source: Path, place: Path, ending: str) -> None:
    """Images to segment, with the names and the ending that nnU-Net wants."""
    place.mkdir(parents=True)
    for case in find_images(source):
        if all(suffix_of(path) == ending for path in case.images):
            for channel, path in enumerate(case.images):
                shutil.copy(path, place / f"{case.name}_{channel:04d}{ending}")
            continue
        volume = merge_channels([read_image(path) for path in case.images])
        count = 1 if volume.is_picture else len(volume.data)
        write_image(volume, [place / f"{case.name}_{channel:04d}{ending}" for channel in range(count)])


def train(run: Path, env: Path, minutes: float, seed: int) -> None:
    """Train on all cases until the minutes are over, counted from here, and write ``run.json``."""
    deadline = time.time() + 60 * minutes
    prepared = json.loads((run / "prepared.json").read_text(encoding="utf-8"))
    call(env, run, *training(prepared["configuration"], device(env)), **{DEADLINE: str(deadline), SEED: str(seed)})
    facts = json.loads((model(run, prepared["configuration"]) / "fold_all/minutes.json").read_text(encoding="utf-8"))
    result = {
        "steps": facts["iterations"],
        "task": {"size": facts["patch_size"]},
        "cases": prepared["cases"],
        "facts": facts | {"configuration": prepared["configuration"], "minutes": minutes},
    }
    (run / "run.json").write_text(json.dumps(result, indent=1), encoding="utf-8")


def predict(run: Path, images: Path, out: Path, env: Path) -> None:
    """Segment as nnU-Net does by default: sliding window, mirrored views. What an earlier try finished is kept."""
    prepared = json.loads((run / "prepared.json").read_text(encoding="utf-8"))
    inputs = run / "nnunet/images"
    shutil.rmtree(inputs, ignore_errors=True)
    write_images(images, inputs, prepared["ending"])
    if masks := sorted(out.glob(f"*{prepared['ending']}"), key=lambda path: path.stat().st_mtime):
        masks[-1].unlink()  # it may have been cut short
    call(env, run, *prediction(inputs, out, model(run, prepared["configuration"]), device(env)))


def planning(configuration: str) -> list[str]:
    """The command that plans and preprocesses."""
    processes = ["-npfp", PROCESSES, "-np", PROCESSES, "--no_pbar"]
    return ["nnUNetv2_plan_and_preprocess", "-d", NUMBER, "-c", configuration, *processes]


def training(configuration: str, on: str) -> list[str]:
    """The command that trains on every case."""
    return ["nnUNetv2_train", NUMBER, configuration, "all", "-tr", TRAINER, "-p", PLANS, "-device", on]


def prediction(images: Path, out: Path, folder: Path, on: str) -> list[str]:
    """The command that segments."""
    places = ["-i", str(images), "-o", str(out), "-m", str(folder), "-f", "all"]
    again = ["--continue_prediction", "-npp", "1", "-nps", "1"]
    return ["nnUNetv2_predict_from_modelfolder", *places, "-device", on, *again]


def model(run: Path, configuration: str) -> Path:
    """Where nnU-Net puts what it trained."""
    return run / "nnunet/results" / DATASET / f"{TRAINER}__{PLANS}__{configuration}"


def variables(run: Path) -> dict[str, str]:
    """What nnU-Net reads from the environment; compiling would cost a good part of a budget of minutes."""
    folders = {f"nnUNet_{name}": str(run / "nnunet" / name) for name in ("raw", "preprocessed", "results")}
    return folders | {"nnUNet_extTrainer": str(HERE / "nnunet_trainer"), "nnUNet_compile": "f"}


def call(env: Path, run: Path, *command: str, **more: str) -> None:
    """Run one of nnU-Net's commands."""
    program = [str(env / "bin" / command[0]), *command[1:]]
    result = subprocess.run(program, env=os.environ | variables(run) | more, stdout=sys.stderr)
    if result.returncode:
        raise SystemExit(f"failed with status {result.returncode}: {' '.join(program)}")


def device(env: Path) -> str:
    """``cuda`` where the environment's PyTorch sees one."""
    asked = "import torch; print('cuda' if torch.cuda.is_available() else 'cpu')"
    return subprocess.run(
        [str(env / "bin/python"), "-c", asked], check=True, capture_output=True, text=True
    ).stdout.strip()


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("install").add_argument("env", type=Path)
    for verb in ("prepare", "train", "predict"):
        verbs.add_parser(verb).add_argument("--env", type=Path, required=True)
    preparer, trainer, predictor = (verbs.choices[verb] for verb in ("prepare", "train", "predict"))
    preparer.add_argument("data", type=Path)
    preparer.add_argument("--out", type=Path, required=True)
    preparer.add_argument("--configuration", choices=["2d", "3d_fullres"])
    trainer.add_argument("run", type=Path)
    trainer.add_argument("--minutes", type=float, required=True)
    trainer.add_argument("--seed", type=int, default=0)
    predictor.add_argument("run", type=Path)
    predictor.add_argument("images", type=Path)
    predictor.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    if given.verb == "install":
        install(given.env)
    elif given.verb == "prepare":
        prepare(given.data, given.out, given.env, given.configuration)
    elif given.verb == "train":
        train(given.run, given.env, given.minutes, given.seed)
    else:
        predict(given.run, given.images, given.out, given.env)


if __name__ == "__main__":
    main()
