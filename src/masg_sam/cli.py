"""The command ``masg-sam VERB``: parses, calls :mod:`masg_sam.api`, writes and prints what it returns.

``sample`` and ``demo``, which have no data of the user, call their own modules.
"""

from __future__ import annotations

import inspect
import io
import json
import logging
import sys
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler

from masg_sam import __version__
from masg_sam.config import Config, load_config, override, walk
from masg_sam.errors import MasgSamError

app = typer.Typer(
    help="A handful of labelled scans in, a trained segmenter and masks out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
notes = Console(stderr=True, markup=False)  # names and paths may hold brackets
LABELLED = "labelled cases: nnU-Net raw, MSD, BIDS, images/ with labels/, or a CSV or JSON list"
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, mps")]


def with_settings(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb one flag for each setting of the configuration tree; it gets those set as ``settings``."""

    def run(**values: Any) -> None:
        given = {name: values.pop(key) for key, name in keys.items()}
        verb(**values, settings={name: value for name, value in given.items() if value is not None})

    keys = {name.replace(".", "__"): name for name, _, _ in walk()}
    defaults = Config()
    own = inspect.signature(verb, eval_str=True)
    parameters = [p for p in own.parameters.values() if p.name != "settings"]
    for name, _, description in walk():
        flag = typer.Option(
            f"--{name}",
            help=f"{description} \\[default: {json.dumps(attrgetter(name)(defaults))}]",
            rich_help_panel=f"Settings: {name.rpartition('.')[0]}",
            metavar="VALUE",
        )
        key = name.replace(".", "__")
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(key, kind, default=None, annotation=Annotated[str | None, flag]))
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    run.__name__, run.__doc__ = verb.__name__, verb.__doc__
    return run


@app.callback(invoke_without_command=True)
def common(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    """A handful of labelled scans in, a trained segmenter and masks out."""
    handler = RichHandler(console=notes, show_time=False, show_path=False, markup=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    logging.getLogger("masg_sam").setLevel(logging.INFO)
    if version:
        typer.echo(f"masg-sam {__version__}")
        raise typer.Exit


@app.command()
def check(
    data: Annotated[Path, typer.Argument(help=LABELLED)],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of the table")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="write check.json and a picture a case here")] = None,
) -> None:
    """Look at labelled cases before training: what is wrong, and how to mend it. Exit status 2 with errors."""
    from masg_sam import api
    from masg_sam.data.check.show import to_json, to_text

    found = api.check(data, out)
    if as_json:
        typer.echo(json.dumps(to_json(found), allow_nan=False))
    else:
        Console(markup=False).print(to_text(found))
    if found.errors:
        raise typer.Exit(2)


@app.command()
def convert(
    data: Annotated[Path, typer.Argument(help=LABELLED)],
    out: Annotated[Path, typer.Argument(help="folder to write, new or empty")],
    to: Annotated[str, typer.Option(help="nnunet, msd, folders, bids")],
    link: Annotated[bool, typer.Option("--link", help="hard links where files need not change, not copies")] = False,
) -> None:
    """Write a dataset in another layout; formats change only where that layout needs it."""
    from masg_sam import api

    api.convert(data, out, to, link)
    notes.print(f"converted to {out}; next: masg-sam train {out} --out RUN", highlight=False)


@app.command()
@with_settings
def train(
    data: Annotated[Path, typer.Argument(help=LABELLED)],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder of the run")],
    config: Annotated[Path | None, typer.Option("--config", "-c", help="YAML recipe, see configs/")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="continue a training that was interrupted")] = False,
    *,
    settings: dict[str, str],
) -> None:
    """Train a segmenter on a few labelled cases."""
    chosen = override(load_config(config) if config else Config(), settings)
    from masg_sam import api

    api.train(data, out, chosen, resume, notes)
    notes.print(f"model written to {out}; next: masg-sam predict {out} IMAGES --out MASKS", highlight=False)


@app.command()
def predict(
    run: Annotated[str, typer.Argument(help="folder that train wrote, or a hub id")],
    images: Annotated[
        list[str],
        typer.Argument(
            help="files or folders of images, folders or .zip of DICOM series (FOLDER#2: the second in it), or "
            "dicomweb://HOST:PORT/.../studies/UID of a PACS"
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder of the masks")],
    device: Device = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="slices at a time")] = 8,
    pictures: Annotated[bool, typer.Option("--pictures", help="write an overlay picture of each case too")] = False,
    prompts: Annotated[
        Path | None, typer.Option(help="JSON file with clicks, boxes, rough masks of some cases")
    ] = None,
    mask_format: Annotated[
        str | None,
        typer.Option("--format", help="nifti, nrrd, mha, png, tiff, dicom-seg, rtstruct; else what fits the image"),
    ] = None,
    store: Annotated[bool, typer.Option("--store", help="send the results to the PACS too")] = False,
) -> None:
    """Segment images; prints one line of JSON a case."""
    from masg_sam import api

    for result in api.predict(
        run,
        images,
        out,
        device=device,
        batch_size=batch_size,
        pictures=pictures,
        prompts=prompts,
        mask_format=mask_format,
        store=store,
    ):
        typer.echo(result.to_json())


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="a mask or a folder of masks")],
    labels: Annotated[Path, typer.Argument(help="a label, a folder of labels, or a dataset")],
    tolerance: Annotated[float, typer.Option(min=0, help="of the surface Dice, mm (pixels in pictures)")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of the table")] = False,
    csv: Annotated[Path | None, typer.Option(help="write one row a case and class here")] = None,
    names: Annotated[
        Path | None, typer.Option(help='JSON with the names of the masks\' values, {"liver": 1}, where they have none')
    ] = None,
) -> None:
    """Compare masks of any tool with labels: Dice, IoU, HD95 and surface Dice, per case and class."""
    from masg_sam import api

    result = api.evaluate(predictions, labels, tolerance, names)
    if csv is not None:
        result.write_csv(csv)
    if as_json:
        typer.echo(json.dumps(result.to_json(), allow_nan=False))
    else:
        Console(markup=False).print(result.table())


@app.command()
def compare(
    methods: Annotated[
        list[str], typer.Argument(help="two or more, each [NAME=]PATH: masks, or what `evaluate --json` printed")
    ],
    labels: Annotated[Path | None, typer.Option(help="what masks are compared with")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="dice, hd95_mm, surface_dice, ...; repeatable")] = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="compare each class by itself too")] = False,
    tolerance: Annotated[float, typer.Option(min=0, help="of the surface Dice, mm (pixels in pictures)")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of the tables")] = False,
    csv: Annotated[Path | None, typer.Option(help="write one row a metric and pair here")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="draw box plots and paired differences here (PNG, SVG, PDF)")
    ] = None,
) -> None:
    """Say which of several methods is better on the same cases, and which differences hold."""
    from masg_sam import api
    from masg_sam.evaluation.methods import name_methods
    from masg_sam.evaluation.plots import check_kind, write_plot

    if plot is not None:
        check_kind(plot)
    found = api.compare(name_methods(methods), labels, metric or api.COMPARED, tolerance, per_class)
    if csv is not None:
        from masg_sam.evaluation.compare import write_csv

        write_csv(found, csv)
    if plot is not None:
        write_plot(found, plot)
    if as_json:
        typer.echo(json.dumps({"comparisons": [one.to_json() for one in found]}, allow_nan=False))
        return
    console = Console(markup=False)
    for one in found:
        console.print(one.table())
    for method, said in found[0].notes.items():
        for note in said:
            console.print(f"{method}: {note}", soft_wrap=True)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="a run, or a folder of masks that `predict` wrote")],
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML file to write")] = Path("report.html"),
    labels: Annotated[Path | None, typer.Option(help="of the masks: scores and error maps")] = None,
    run: Annotated[str | None, typer.Option(help="the model of the masks, where it has moved")] = None,
    cases: Annotated[int, typer.Option(min=1, help="cases with pictures, the worst first")] = 20,
    slices: Annotated[int, typer.Option(min=1, help="slices of each of them")] = 12,
    device: Device = "auto",
    tolerance: Annotated[float, typer.Option(min=0, help="of the surface Dice, mm (pixels in pictures)")] = 2.0,
) -> None:
    """Write one HTML file about a model or a folder of masks, with pictures; it opens offline."""
    from masg_sam import api

    typer.echo(api.report(folder, out, labels, run, cases, slices, device, tolerance))


@app.command()
def sample(
    out: Annotated[Path, typer.Argument(help="folder to write")],
    slices: Annotated[int, typer.Option(min=1, help="labelled slices for training")] = 6,
) -> None:
    """Write the embedded sample: ICBM152 T1 template with grey and white matter, in nnU-Net's layout."""
    from masg_sam.data.sample import write_sample

    write_sample(out, slices)
    notes.print(f"sample written to {out}; next: masg-sam train {out} --out RUN", highlight=False)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="folder of everything the demonstration makes")] = Path(
        "demo"
    ),
) -> None:
    """Train on a few slices of the embedded sample, segment the whole brain, show the scores and pictures."""
    from masg_sam.demo import run_demo

    run_demo(out, notes, Console(markup=False))


@app.command()
def info(
    run: Annotated[str | None, typer.Argument(help="a trained model to describe: its folder, or a hub id")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Say what this installation has, or what a trained model is."""
    from masg_sam import api

    facts = api.describe(run)
    if as_json:
        typer.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        typer.echo(f"{name:<16}{value}")


def main() -> None:
    """Run the command: exit status 0 done, 1 failed inside, 2 the call or the input is wrong."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter shows a question mark
    try:
        app()
    except MasgSamError as error:
        notes.print("error:", style="bold red", end=" ")
        notes.print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        notes.print("interrupted")
        sys.exit(130)
