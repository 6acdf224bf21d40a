"""The verbs in Python: :func:`check`, :func:`convert`, :func:`train`, :func:`predict`, :func:`evaluate`,
:func:`compare`, :func:`report`, :func:`describe`.

The command line calls these; of its own it has the sample, the demonstration, tables, CSV and plots.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from masg_sam.config import Config
from masg_sam.data.address import Address, is_address, parse_address
from masg_sam.data.io.formats import check_format
from masg_sam.devices import resolve_device
from masg_sam.errors import ConfigError
from masg_sam.files import PathLike, must_be_folder
from masg_sam.models.checkpoint import find_model, read_about
from masg_sam.segmenter import CaseResult, MasgSam

if TYPE_CHECKING:
    from masg_sam.data.check import TrainingCheck
    from masg_sam.data.dicomweb import Server
    from masg_sam.evaluation.compare import Comparison
    from masg_sam.evaluation.scores import Evaluation

COMPARED = ("dice", "hd95_mm", "surface_dice")


def check(data: PathLike, out: PathLike | None = None) -> TrainingCheck:
    """Look at a dataset before training: every case is read, and everything that is wrong is told.

    Args:
        data: as for :func:`train`.
        out: folder for ``check.json`` and an overlay picture of each case without errors; ``None`` writes nothing.

    Returns:
        Summaries of the cases, and the findings; errors among them are not raised.

    Raises:
        InputError: there is nothing of this name, or the folder cannot be written to.
    """
    from masg_sam.data.check import examine_folder
    from masg_sam.inference.check_pictures import write_check

    if out is None:
        return examine_folder(Path(data))
    must_be_folder(Path(out))
    found = examine_folder(Path(data))
    write_check(found, Path(out))
    return found


def convert(data: PathLike, out: PathLike, to: str, link: bool = False) -> Path:
    """Write a dataset in another layout; see :func:`masg_sam.data.convert.convert`.

    Args:
        data: as for :func:`train`.
        out: folder, new or empty.
        to: ``nnunet``, ``msd``, ``folders`` or ``bids``.
        link: make hard links of files that need not change, instead of copies.

    Returns:
        ``out``.

    Raises:
        InputError: data that a training would refuse, or that the other layout cannot hold; nothing was written.
    """
    from masg_sam.data.convert import convert as run

    run(Path(data), Path(out), to, link)
    return Path(out)


def train(
    data: PathLike,
    out: PathLike,
    config: Config | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> MasgSam:
    """Train a segmenter on labelled cases.

    Args:
        data: nnU-Net raw, Medical Segmentation Decathlon, BIDS, ``images/`` with ``labels/``, or a CSV or JSON list.
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

    console = console or Console(stderr=True, markup=False)
    model = run_training(Path(data), Path(out), config or Config(), resume, console)
    device = config.training.device if config else "auto"
    return MasgSam(model, device, source=str(Path(out).resolve()))


def predict(
    run: PathLike,
    images: PathLike | Sequence[PathLike],
    out: PathLike,
    *,
    device: str = "auto",
    batch_size: int = 8,
    pictures: bool = False,
    prompts: PathLike | None = None,
    mask_format: str | None = None,
    store: bool = False,
) -> Iterator[CaseResult]:
    """Segment files with a trained model; see :meth:`MasgSam.predict`.

    Args:
        run: folder that :func:`train` wrote, or a hub id.
        images: files or folders; of DICOM folders, files, ``.zip``, and ``FOLDER#2`` for the second series in one; or
            one study or series of a PACS, ``dicomweb://HOST:PORT/.../studies/UID``.
        out: folder of the masks.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        batch_size: slices at a time.
        pictures: write an overlay picture of each case too.
        prompts: JSON file with clicks, boxes and rough masks; none are needed.
        mask_format: of the masks; that of the images if not given.
        store: send the results to the PACS that the images came from.

    Returns:
        The results. What is wrong with the call is raised at once, and the model is loaded; images are read, or
        fetched from the PACS, when their results are asked for.

    Raises:
        ConfigError: an address beside files, or something to store without a PACS to store it in.
        InputError: as :meth:`MasgSam.from_pretrained` and :meth:`MasgSam.predict` raise it.
        ServerError: while iterating; the PACS does not answer, refuses, or does not have the images.
    """
    address = _server_address(images)
    if store and (address is None or mask_format not in (None, "dicom-seg", "rtstruct")):
        raise ConfigError(
            "nothing to store in a PACS",
            found="files" if address is None else f"masks as {mask_format}",
            expected="a dicomweb:// address, and masks as dicom-seg or rtstruct",
            mend="leave out --store, or change the images or --format",
        )
    if mask_format is not None:
        check_format(mask_format, ())
    server = None if address is None else _server(address)
    model = MasgSam.from_pretrained(run, device, batch_size)
    if server is None:
        return model.predict(images, out, prompts or (), pictures, mask_format)
    return _predict_from(server, model, Path(out), prompts or (), pictures, mask_format, store)


def _predict_from(
    server: Server,
    model: MasgSam,
    out: Path,
    prompts: PathLike | tuple[()],
    pictures: bool,
    mask_format: str | None,
    store: bool,
) -> Iterator[CaseResult]:
    """Fetch the one case of a PACS, segment it, and store the result there if asked for."""
    with server.retrieve() as case:
        for result in model.predict(case, out, prompts, pictures, mask_format):
            if store:
                server.store(out / result.file)
            yield result


def _server_address(images: PathLike | Sequence[PathLike]) -> Address | None:
    """The address among the images; ``None`` if all are files."""
    given = [images] if isinstance(images, str | os.PathLike) else list(images)
    addresses = [str(one) for one in given if is_address(one)]
    if addresses and len(given) > 1:
        raise ConfigError("an address beside other images", found=f"{len(given)} images", mend="predict it by itself")
    return parse_address(addresses[0]) if addresses else None


def _server(address: Address) -> Server:
    try:
        from masg_sam.data.dicomweb import Server
    except ImportError as error:
        mend = "pip install '.[dicomweb]' in a copy of the repository"
        raise ConfigError("the library dicomweb-client is not installed", found=error, mend=mend) from error
    return Server(address)


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

    Raises:
        ConfigError: a metric that cannot be compared.
        InputError: fewer than two methods, or what :func:`masg_sam.evaluation.compare.compare` and the evaluation of
            masks refuse.
    """
    from masg_sam.evaluation.compare import check_comparable
    from masg_sam.evaluation.compare import compare as run
    from masg_sam.evaluation.methods import evaluate_methods

    check_comparable(methods, metrics)
    paths = {name: Path(path) for name, path in methods.items()}
    evaluations = evaluate_methods(paths, None if labels is None else Path(labels), tolerance_mm)
    classes = next(iter(evaluations.values())).class_names
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
    tolerance_mm: float = 2.0,
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
        tolerance_mm: of the surface Dice; pixels in pictures.

    Raises:
        InputError: the folder is neither, or something in it is damaged.
        ConfigError: a tolerance that is no distance.
    """
    from masg_sam.reports.gather import Limits, gather
    from masg_sam.reports.write import must_be_html, write_report

    must_be_html(Path(out))
    known = None if labels is None else Path(labels)
    model = None if run is None else str(run)
    found = gather(Path(folder), known, model, Limits(cases, slices), device, tolerance_mm)
    return write_report(found, Path(out))


def describe(run: PathLike | None = None) -> dict[str, Any]:
    """What this installation has, or what a trained model is; plain values for JSON.

    Args:
        run: a run's folder, or a hub id; ``None`` for the installation.

    Raises:
        InputError: as :meth:`MasgSam.from_pretrained` raises it; the weights are not read.
    """
    from masg_sam.data.task import describe_slices
    from masg_sam.models.sam.weights import cache_folder
    from masg_sam.versions import package_versions

    if run is None:
        kept = sorted(path.name for path in cache_folder().glob("*.safetensors"))
        installed = {
            "device": resolve_device("auto"),
            "weights_cache": str(cache_folder()),
            "weights": ", ".join(kept),
        }
        return installed | package_versions()
    config, task, facts = read_about(find_model(run)[0])
    return {
        "classes": ", ".join(task.labels.names),
        "modality": task.modality,
        "channels": ", ".join(task.channels),
        "input": f"{task.size[0]} x {task.size[1]} pixels",
        "pixel_mm": task.pixel or None,
        "slices": describe_slices(task),
        "encoder": config.model.encoder.name,
        "weights": facts.get("weights"),
        "text": (facts.get("text") or {}).get("source"),
        "versions": ", ".join(f"{k} {v}" for k, v in facts.get("versions", {}).items()),
    }
