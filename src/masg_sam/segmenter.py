"""A trained segmenter: loaded, saved, applied to arrays and to files."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from masg_sam.data.io import (
    MASK_FORMATS,
    check_format,
    check_suffix,
    file_slice,
    mask_suffix,
    read_channels,
    write_label,
)
from masg_sam.data.io.formats import STACK_SUFFIXES
from masg_sam.data.layouts import Case, find_images
from masg_sam.data.volume import Volume
from masg_sam.devices import resolve_device
from masg_sam.errors import InputError, OutputError, WriteError
from masg_sam.files import PICTURES, PREDICTED, PathLike, append_text, must_be_folder, read_json, write_text
from masg_sam.inference.arrays import array_volume
from masg_sam.inference.predictor import Predictor
from masg_sam.inference.prompt_file import PromptFile
from masg_sam.inference.prompting import UserPrompt
from masg_sam.inference.quality import assess, read_quality
from masg_sam.inference.segmentation import Segmentation
from masg_sam.inference.session import Session
from masg_sam.models.checkpoint import TrainedModel, find_model, load_model, save_model

log = logging.getLogger(__name__)
PREDICTIONS, CLASSES = "predictions.jsonl", "dataset.json"

PromptsOf = Callable[[str, Volume], Sequence[UserPrompt]]  # by case name and image


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
        images: absolute paths of its image, one file a channel; the address of one that came from a server.
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
        precision = model.config.training.precision
        self.predictor = Predictor(model.network, model.task, resolve_device(device), batch_size, precision)
        self.quality = read_quality(model)

    @classmethod
    def from_pretrained(cls, location: PathLike, device: str = "auto", batch_size: int = 8) -> MasgSam:
        """Load a model from a run's folder or a hub id.

        Raises:
            CheckpointError: there is no such folder, or it holds no model of ours.
            ConfigError: a device that is not there.
            WeightsError: no such folder, and no hub id that can be fetched.
        """
        folder, source = find_model(location)
        return cls(load_model(folder), device, batch_size, source)

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
        spacing: Sequence[float] | None = None,
        prompts: Sequence[UserPrompt] = (),
    ) -> Segmentation:
        """Segment an array.

        Args:
            image: of a model of scans ``Z x Y x X`` or ``C x Z x Y x X`` (Z to the head, Y to the back, X to the left
                of the patient); of a model of pictures ``Y x X``, ``Y x X x C`` or ``C x 1 x Y x X``.
            spacing: millimetres along Z, Y, X, which scans need and pictures do not have.
            prompts: clicks, boxes and rough masks; none are needed.

        Returns:
            The mask ``Z x Y x X`` of classes 0..K, with a confidence for each class; Z is 1 for a picture.

        Raises:
            InputError: an array of other axes or channels, a scan without three positive numbers as spacing, or prompts
                that lie elsewhere.
        """
        return self.predictor.segment(array_volume(image, spacing, self.model.task), prompts)

    def session(self, image: np.ndarray, spacing: Sequence[float] | None = None) -> Session:
        """Ask the network about an array once, to correct its mask with clicks, boxes and rough masks in moments.

        Args:
            image, spacing: as in :meth:`segment`.

        Returns:
            Its ``segment(prompts)`` gives the mask with all these prompts.

        Raises:
            InputError: an array of other axes or channels, or a scan without three positive numbers as spacing.
        """
        return self.predictor.session(array_volume(image, spacing, self.model.task))

    def predict(
        self,
        images: PathLike | Sequence[PathLike] | Case,
        out: PathLike,
        prompts: Sequence[UserPrompt] | PathLike = (),
        pictures: bool = False,
        mask_format: str | None = None,
    ) -> Iterator[CaseResult]:
        """Segment files and write one mask each, exactly on the input's grid.

        Args:
            images: files or folders, of DICOM also ``FOLDER#2``; or one case. Labels are not needed.
            out: folder of the masks, made when missing.
            prompts: for the one case there is; or a JSON file of the prompts of any, see
                :class:`~masg_sam.inference.prompt_file.FilePrompt`.
            pictures: write an overlay picture beside each mask too.
            mask_format: of the masks: ``nifti``, ``nrrd``, ``mha``, ``png``, ``tiff``, ``dicom-seg``, ``rtstruct``;
                that of the images if not given.

        Returns:
            The results, each as soon as its mask is written; a case is segmented when its result is asked for.

        Raises:
            ConfigError, OutputError: at the call, for a format that is none or does not fit an image, or a folder
                that holds something else; nothing is done.
            InputError: at the call, for images or prompts that are not there.
            WriteError: while iterating, if nothing can be written, as on a full disk.
            InputError: at the end, if a case could not be read; all the others are done by then.
        """
        channels, folder = len(self.model.task.channels), Path(out)
        cases = (images,) if isinstance(images, Case) else find_images(_paths(images), channels)
        if mask_format is not None:
            check_format(mask_format, [path for case in cases for path in case.images])
        prompts_of = self._prompts(prompts, cases)
        _check_masks_folder(cases, folder, self._label_values())
        return self._predict_cases(cases, folder, prompts_of, pictures, mask_format)

    def _predict_cases(
        self, cases: Sequence[Case], folder: Path, prompts_of: PromptsOf, pictures: bool, mask_format: str | None
    ) -> Iterator[CaseResult]:
        before, whole = _predicted(folder / PREDICTIONS)
        failed: list[InputError] = []
        for case in cases:
            try:
                result = self._predict_case(case, folder, prompts_of, pictures, mask_format)
            except WriteError:  # no fault of the images, and the next ones would fare no better
                raise
            except InputError as error:
                if len(cases) > 1:  # a single one is told when it is raised
                    log.error("%s", error)
                failed.append(error)
                continue
            _remove_mask(folder, before.get(case.name), result)
            _record(folder / PREDICTIONS, result, again=case.name in before or not whole)
            whole = True
            before[case.name] = result.file
            yield result
        if len(failed) == 1:
            raise failed[0]
        if failed:
            raise InputError(
                f"{len(failed)} of {len(cases)} cases could not be segmented",
                found="\n" + "\n".join(str(error) for error in failed),
                mend="mend these files and predict them again; the other masks are written",
            )

    def _prompts(self, prompts: Sequence[UserPrompt] | PathLike, cases: Sequence[Case]) -> PromptsOf:
        """The prompts of each case, once its image is there."""
        if isinstance(prompts, str | os.PathLike):
            file = PromptFile(Path(prompts))
            file.check([case.name for case in cases], self.class_names)
            return file.place
        if prompts and len(cases) != 1:
            raise InputError(
                "prompts belong to one case",
                found=f"{len(cases)} cases",
                mend="predict one file, or give the prompts of each case in a JSON file",
            )
        return lambda case, volume: prompts

    def _predict_case(
        self, case: Case, folder: Path, prompts_of: PromptsOf, pictures: bool, mask_format: str | None
    ) -> CaseResult:
        started = time.monotonic()
        volume = read_channels(case.images, len(self.model.task.channels))
        suffix = MASK_FORMATS[mask_format] if mask_format else mask_suffix(volume)
        path = folder / f"{case.name}{suffix}"
        check_suffix(path, volume)
        found = self.predictor.segment(volume, prompts_of(case.name, volume))
        labels = self.model.task.labels
        self._describe(folder)  # not before there is a mask: a folder without one stays as it was
        write_label(labels.decode(found.mask), volume, path, dict(zip(labels.values, labels.names, strict=True)))
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
            [case.source] if case.source else [str(image.resolve()) for image in case.images],
            round(time.monotonic() - started, 3),
        )

    def _describe(self, folder: Path) -> None:
        """Write what the values of the masks mean, and what made them."""
        write_text(folder / PREDICTED, json.dumps({"run": self.source, "versions": self.model.facts.get("versions")}))
        write_text(folder / CLASSES, json.dumps({"labels": self._label_values()}, indent=1))

    def _label_values(self) -> dict[str, int]:
        labels = self.model.task.labels
        return {"background": 0} | dict(zip(labels.names, labels.values, strict=True))


def _paths(images: PathLike | Sequence[PathLike]) -> list[Path]:
    if isinstance(images, str | os.PathLike):
        return [Path(images)]
    return [Path(item) for item in images]


def _check_masks_folder(cases: Sequence[Case], folder: Path, labels: dict[str, int]) -> None:
    """Masks replace masks of the same classes that were predicted, and nothing else."""
    must_be_folder(folder)
    for case in cases:
        if any(folder.resolve() in (path.parent.resolve(), path.resolve()) for path in case.images):
            raise OutputError(
                "masks would lie among the images, and might replace them",
                path=folder,
                expected="a folder without images",
                mend="give --out another folder",
            )
    if (folder / PREDICTED).exists():
        _check_classes(folder, labels)
    elif folder.exists():
        _check_strangers(folder, tuple(f"{case.name}." for case in cases))


def _check_classes(folder: Path, labels: dict[str, int]) -> None:
    """Of masks that were predicted before; the file that says so may be missing after a kill."""
    path, mend = folder / CLASSES, "give --out another folder"
    before = read_json(path, mend=mend).get("labels") if path.exists() else labels
    if before != labels:
        raise OutputError("masks of other classes lie there", path=folder, found=before, expected=labels, mend=mend)


def _check_strangers(folder: Path, names: tuple[str, ...]) -> None:
    """Nothing was predicted into the folder: it holds no dataset, and no file whose name begins like a mask's."""
    for path in sorted(folder.iterdir()):
        if path.name == CLASSES or path.name.startswith(names):
            raise OutputError(
                "this file was not predicted, and might be replaced",
                path=path,
                expected="a new folder, or one of masks that were predicted",
                mend="give --out another folder",
            )


def _predicted(path: Path) -> tuple[dict[str, Any], bool]:
    """The mask of each case, as the lines of earlier predictions name it; and whether none of them was cut short."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    found = [_line(line) for line in text.splitlines()]
    masks = {one["case"]: one.get("file") for one in found if isinstance(one.get("case"), str)}
    return masks, all(found) and (not text or text.endswith("\n"))


def _line(text: str) -> dict[str, Any]:
    """A line of predictions; empty for one that is damaged."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _remove_mask(folder: Path, name: Any, result: CaseResult) -> None:
    """Remove the mask that a case had in another format: two masks of one case are no evaluation."""
    masks = [result.case + suffix for suffix in (*MASK_FORMATS.values(), *STACK_SUFFIXES)]
    if name in masks and name != result.file:
        (folder / name).unlink(missing_ok=True)


def _record(path: Path, result: CaseResult, again: bool) -> None:
    """Add a line; with ``again``, older lines of the same case go, and damaged ones.

    Raises:
        WriteError: it cannot be written; the file is as it was.
    """
    if again:
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if (known := _line(line)) and known.get("case") != result.case]
        write_text(path, "".join(line + "\n" for line in [*kept, result.to_json()]))
    else:
        append_text(path, result.to_json() + "\n")
