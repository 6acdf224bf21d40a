"""The verbs in Python: :func:`train`, :func:`predict`, :func:`evaluate`, :func:`compare`,
:func:`report`, and :class:`MasgSam`.

The command line calls these and adds nothing.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from masg_sam.config import Config
from masg_sam.data.io import file_slice, mask_suffix, merge_channels, read_image, write_label
from masg_sam.data.layouts import Case, find_images
from masg_sam.data.volume import Geometry, Volume
from masg_sam.errors import InputError, OutputError
from masg_sam.files import write_text
from masg_sam.inference.predictor import Predictor, Segmentation
from masg_sam.inference.prompting import UserPrompt
from masg_sam.inference.quality import assess, read_quality
from masg_sam.models.checkpoint import FACTS, WEIGHTS, TrainedModel, load_model, save_model
from masg_sam.models.hub import fetch_folder

if TYPE_CHECKING:
    from masg_sam.evaluation.compare import Comparison
    from masg_sam.evaluation.scores import Evaluation

log = logging.getLogger(__name__)
PathLike = str | os.PathLike[str]
COMPARED = ("dice", "hd95_mm", "surface_dice")
PREDICTIONS, PREDICTED, CLASSES, PICTURES = "predictions.jsonl", "prediction.json", "dataset.json", "pictures"


@dataclass(frozen=True)
class CaseResult:
    """What prediction says of one case.

    Attributes:
        case: its name.
        file: the mask that was written.
        volume_ml: millilitres of each class; ``None`` in pictures, which have no millimetres.
        voxels: voxels of each class.
        confidence: mean probability of each class over its voxels, ``None`` where it was not found.
        expected_dice: the Dice to expect of each class, by what the model learned of itself on its training
            cases; ``None`` where it cannot be said.
        warnings: what to know before trusting the mask, one sentence each.
        label_next: the slices most worth labelling, the most doubtful first, numbered as in the file from 0.
        images: absolute paths of its image, one file a channel.
        seconds: from reading to writing.
    """

    case: str
    file: str
    volume_ml: dict[str, float | None]
    voxels: dict[str, int]
    confidence: dict[str, float | None]
    expected_dice: dict[str, float | None]
    warnings: list[str]
    label_next: list[int]
    images: list[str]
    seconds: float

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))


class MasgSam:
    """A trained segmenter.

    Args:
        model: as :func:`masg_sam.models.checkpoint.load_model` returns it.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        batch_size: slices at a time.
        source: folder or hub id that the model came from, for the record that prediction leaves.
    """

    def __init__(
        self, model: TrainedModel, device: str = "auto", batch_size: int = 8, source: str | None = None
    ) -> None:
        self.model, self.source = model, source
        self.predictor = Predictor(model.network, model.task, resolve_device(device), batch_size)
        self.quality = read_quality(model)

    @classmethod
    def from_pretrained(cls, location: PathLike, device: str = "auto", batch_size: int = 8) -> MasgSam:
        """Load a model from a run's folder or a hub id.

        Raises:
            CheckpointError: the folder holds no model of ours.
            WeightsError: a hub id that cannot be fetched.
        """
        folder = Path(location).expanduser()
        if not folder.exists() and str(location).count("/") == 1 and not str(location).startswith((".", "~")):
            folder = fetch_folder(str(location), (FACTS, WEIGHTS))
            return cls(load_model(folder), device, batch_size, str(location))
        return cls(load_model(folder), device, batch_size, str(folder.resolve()))

    def save_pretrained(self, folder: PathLike) -> None:
        """Write the model where :meth:`from_pretrained` reads it; existing files are replaced whole."""
        save_model(self.model, Path(folder))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Foreground classes 1..K."""
        return self.model.task.labels.names

    def segment(
        self,
        image: np.ndarray,
        spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
        prompts: Sequence[UserPrompt] = (),
    ) -> Segmentation:
        """Segment an array.

        Args:
            image: ``C x Z x Y x X`` or ``Z x Y x X`` of a volume (Z to the head, Y to the back, X to the left of
                the patient); ``C x 1 x Y x X`` of a picture.
            spacing: millimetres along Z, Y, X.
            prompts: clicks, boxes and rough masks; none are needed.

        Returns:
            The mask ``Z x Y x X`` of classes 0..K, with a confidence for each class.
        """
        data = np.asarray(image, np.float32)
        data = data[None] if data.ndim == 3 else data
        if data.ndim != 4 or not np.isfinite(data).all():
            raise InputError("image array cannot be used", found=f"shape {data.shape}", expected="finite C x Z x Y x X")
        geometry = Geometry("array", data.shape[1:], None)
        volume = Volume(data, spacing, None if self.model.task.pictures else np.eye(4), geometry, Path("array"))
        return self.predictor.segment(volume, prompts)

    def predict(
        self,
        images: PathLike | Sequence[PathLike],
        out: PathLike,
        prompts: Sequence[UserPrompt] = (),
        pictures: bool = False,
    ) -> Iterator[CaseResult]:
        """Segment files and write one mask each, exactly on the input's grid.

        Args:
            images: files or folders; labels are not needed.
            out: folder of the masks, made when missing.
            prompts: for the one case there is.
            pictures: write an overlay picture beside each mask too.

        Yields:
            The result of each case, as soon as its mask is written.

        Raises:
            InputError: at the end, if a case could not be read; all the others are done by then.
        """
        cases, folder = find_images(_paths(images)), Path(out)
        if prompts and len(cases) != 1:
            raise InputError("prompts belong to one case", found=f"{len(cases)} cases", mend="predict one file")
        _check_masks_folder(cases, folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / CLASSES, json.dumps({"labels": self._label_values()}, indent=1))
        write_text(folder / PREDICTED, json.dumps({"run": self.source, "versions": self.model.facts.get("versions")}))
        failed: list[InputError] = []
        for case in cases:
            try:
                result = self._predict_case(case, folder, prompts, pictures)
            except InputError as error:
                log.error("%s", error)
                failed.append(error)
                continue
            _append(folder / PREDICTIONS, result)
            yield result
        if len(failed) == 1:
            raise failed[0]
        if failed:
            raise InputError(
                f"{len(failed)} of {len(cases)} cases could not be segmented",
                found="\n" + "\n".join(str(error) for error in failed),
                mend="mend these files and predict them again; the other masks are written",
            )

    def _predict_case(self, case: Case, folder: Path, prompts: Sequence[UserPrompt], pictures: bool) -> CaseResult:
        started = time.monotonic()
        volume = merge_channels([read_image(path) for path in case.images])
        found = self.predictor.segment(volume, prompts)
        labels = self.model.task.labels
        path = folder / f"{case.name}{mask_suffix(volume)}"
        write_label(labels.decode(found.mask), volume, path)
        if pictures:
            from masg_sam.inference.overlay import write_overlay

            picture = folder / PICTURES / f"{case.name}.png"
            write_overlay(volume, {"prediction": found.mask}, labels.names, picture, self.model.task.axis)
        assessment = assess(self.quality, self.predictor, volume, found)
        counts = np.bincount(found.mask.ravel(), minlength=labels.num_classes + 1)[1:].tolist()
        voxel = volume.voxel_ml
        return CaseResult(
            case.name,
            path.name,
            {n: voxel and round(c * voxel, 4) for n, c in zip(labels.names, counts, strict=True)},
            dict(zip(labels.names, counts, strict=True)),
            dict(zip(labels.names, found.confidence, strict=True)),
            dict(zip(labels.names, assessment.expected_dice, strict=True)),
            assessment.warnings,
            [file_slice(volume, self.model.task.axis, number) for number in assessment.label_next],
            [str(image.resolve()) for image in case.images],
            round(time.monotonic() - started, 3),
        )

    def _label_values(self) -> dict[str, int]:
        labels = self.model.task.labels
        return {"background": 0} | dict(zip(labels.names, labels.values, strict=True))


def train(
    data: PathLike,
    out: PathLike,
    config: Config | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> MasgSam:
    """Train a segmenter on labelled cases.

    Args:
        data: nnU-Net raw, Medical Segmentation Decathlon, or ``images/`` with ``labels/``.
        out: folder of the run: model, settings, log, curves.
        config: settings; the defaults suit one image as well as ten scans.
        resume: continue a training that was interrupted.
        console: where progress is shown; standard error if not given.

    Returns:
        The trained segmenter, which is in ``out`` as well.

    Raises:
        InputError: data or settings are wrong; nothing was written.
        TrainingError: training broke down.
    """
    from masg_sam.training.run import run_training

    model = run_training(Path(data), Path(out), config or Config(), resume, console or Console(stderr=True))
    device = config.training.device if config else "auto"
    return MasgSam(model, device, source=str(Path(out).resolve()))


def predict(
    run: PathLike,
    images: PathLike | Sequence[PathLike],
    out: PathLike,
    device: str = "auto",
    batch_size: int = 8,
    pictures: bool = False,
) -> Iterator[CaseResult]:
    """Segment files with a trained model; see :meth:`MasgSam.predict`.

    Args:
        run: folder that :func:`train` wrote, or a hub id.
        images: files or folders.
        out: folder of the masks.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        batch_size: slices at a time.
        pictures: write an overlay picture of each case too.
    """
    yield from MasgSam.from_pretrained(run, device, batch_size).predict(images, out, pictures=pictures)


def evaluate(
    predictions: PathLike, labels: PathLike, tolerance_mm: float = 2.0, names: PathLike | None = None
) -> Evaluation:
    """Compare masks with labels; see :func:`masg_sam.evaluation.evaluate.evaluate`.

    Args:
        predictions: a mask or a folder of masks, of any tool.
        labels: a label, a folder of labels, or a dataset that has them.
        tolerance_mm: of the surface Dice.
        names: JSON file with the names of the masks' values, for masks without a ``dataset.json``.
    """
    from masg_sam.evaluation.evaluate import evaluate as run
    from masg_sam.evaluation.masks import read_names

    known = None if names is None else read_names(Path(names))
    return run(Path(predictions), Path(labels), tolerance_mm=tolerance_mm, names=known)


def compare(
    methods: Mapping[str, PathLike],
    labels: PathLike | None = None,
    metrics: Sequence[str] = COMPARED,
    tolerance_mm: float = 2.0,
    per_class: bool = False,
) -> list[Comparison]:
    """Compare methods on the same cases; see :func:`masg_sam.evaluation.compare.compare`.

    Args:
        methods: name to a folder of masks, or to a JSON file of ``masg-sam evaluate --json``.
        labels: what masks are compared with; JSON files need none.
        metrics: which to compare.
        tolerance_mm: of the surface Dice, for masks.
        per_class: compare each class by itself too.

    Returns:
        For each metric the comparison of the mean over classes, then those of the classes.
    """
    from masg_sam.evaluation.compare import compare as run
    from masg_sam.evaluation.methods import evaluate_methods

    paths = {name: Path(path) for name, path in methods.items()}
    evaluations = evaluate_methods(paths, None if labels is None else Path(labels), tolerance_mm)
    classes = next(iter(evaluations.values())).class_names if evaluations else []
    subjects = [None, *classes] if per_class and len(classes) > 1 else [None]
    return [run(evaluations, metric, subject) for metric in metrics for subject in subjects]


def report(
    folder: PathLike,
    out: PathLike,
    labels: PathLike | None = None,
    run: PathLike | None = None,
    cases: int = 20,
    slices: int = 12,
    device: str = "auto",
) -> Path:
    """Write one HTML file about a trained model or a folder of masks; it opens offline.

    Args:
        folder: as :func:`train` or :func:`predict` left it.
        out: HTML file.
        labels: of the masks; with them the report has scores and error maps.
        run: the model of the masks, where it is not where it was.
        cases: cases with pictures, the worst first.
        slices: of each of them.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.

    Raises:
        InputError: the folder is neither, or something in it is damaged.
    """
    from masg_sam.report.gather import Limits, gather
    from masg_sam.report.write import write_report

    known = None if labels is None else Path(labels)
    found = gather(Path(folder), known, None if run is None else str(run), Limits(cases, slices), device)
    return write_report(found, Path(out))


def describe(run: PathLike | None = None) -> dict[str, Any]:
    """What this installation has, or what a trained model is; plain values for JSON.

    Args:
        run: a run's folder; ``None`` for the installation.
    """
    from masg_sam.models.sam.weights import cache_folder
    from masg_sam.training.run import package_versions

    if run is None:
        kept = sorted(path.name for path in cache_folder().glob("*.safetensors"))
        facts = {
            "device": resolve_device("auto"),
            "weights_cache": str(cache_folder()),
            "weights": ", ".join(kept),
        }
        return facts | package_versions()
    model = load_model(Path(run))
    task = model.task
    return {
        "classes": ", ".join(task.labels.names),
        "modality": task.modality,
        "channels": ", ".join(task.channels),
        "input": f"{task.size[0]} x {task.size[1]} pixels",
        "pixel_mm": task.pixel or None,
        "plane": None if task.pictures else task.plane,
        "encoder": model.config.model.encoder.name,
        "weights": model.facts.get("weights"),
        "text": (model.facts.get("text") or {}).get("source"),
        "versions": ", ".join(f"{k} {v}" for k, v in model.facts.get("versions", {}).items()),
    }


def resolve_device(device: str) -> str:
    """What ``auto`` means on this machine."""
    import torch

    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _paths(images: PathLike | Sequence[PathLike]) -> list[Path]:
    single = isinstance(images, str | os.PathLike)
    return [Path(item) for item in ([images] if single else images)]  # type: ignore[list-item,union-attr]


def _check_masks_folder(cases: Sequence[Case], folder: Path) -> None:
    """A mask may have its image's name: never in its image's folder."""
    if folder.exists() and not folder.is_dir():
        raise OutputError("not a folder", path=folder, found="a file", mend="give --out another name")
    for case in cases:
        if any(path.parent.resolve() == folder.resolve() for path in case.images):
            raise OutputError(
                "masks would lie among the images, and might replace them",
                path=folder,
                expected="a folder without images",
                mend="give --out another folder",
            )


def _append(path: Path, result: CaseResult) -> None:
    """Add a line; an older line of the same case goes."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = [line for line in lines if _case_of(line) != result.case]
    write_text(path, "".join(line + "\n" for line in [*kept, result.to_json()]))


def _case_of(line: str) -> Any:
    try:
        return json.loads(line).get("case")
    except (json.JSONDecodeError, AttributeError):
        return None
