"""One figure on the embedded sample: what a plain decoder and MASG-SAM find, and what HAE, BFE and DSF see.

    python benchmarks/figures.py
    python benchmarks/figures.py --masg-sam RUN --plain RUN --out FILE.png

Without runs, both are trained first, on the six labelled slices of the sample. The slice that is drawn is none of them,
but of the same brain: the figure shows how the modules work, and not how well.
"""

from __future__ import annotations

import argparse
import base64
import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image
from rich.console import Console

from masg_sam import api
from masg_sam.colours import colour_of
from masg_sam.config import Config, load_config, override
from masg_sam.data.io import case_stem, file_slice, read_image, read_label
from masg_sam.data.sample import CASE, FACTS, write_sample
from masg_sam.data.volume import Volume
from masg_sam.files import moved_into_place
from masg_sam.inference.overlay import slice_picture, upright
from masg_sam.models import checkpoint
from masg_sam.reports.maps import module_maps
from masg_sam.segmenter import MasgSam

HERE = Path(__file__).parent
METHODS = {"plain decoder": "fpn", "MASG-SAM": "sam"}
COLUMNS, DPI, OPACITY, COLOURS = 4, 110, 0.5, 256
AXIAL = 0  # of Z x Y x X

Panel = tuple[str, np.ndarray]  # title, rows x columns x 3


def trained(run: Path, data: Path, kind: str, steps: int, recipe: Path | None) -> Path:
    """A run's folder; what is in it already is used or continued."""
    if not (run / checkpoint.FACTS).exists():
        config = load_config(recipe) if recipe else override(Config(), {"training.steps": steps})
        api.train(data, run, override(config, {"model.decoder.kind": kind}), resume=True, console=Console(stderr=True))
    return run


def chosen_slice(label: Volume, data: Path) -> int:
    """Of the axial slices that nothing was trained on, the one that holds most."""
    seen = {int(case_stem(path).removeprefix(f"{CASE}_slice")) for path in (data / "labelsTr").iterdir()}
    held = (label.data[0] > 0).sum((1, 2))
    for z in range(len(held)):
        held[z] *= file_slice(label, AXIAL, z) not in seen
    return int(held.argmax())


def panels(data: Path, runs: dict[str, Path]) -> list[list[Panel]]:
    """The rows of the figure: image and masks, then the maps of each module."""
    image = read_image(data / "imagesTs" / f"{CASE}_0000.nii.gz")
    label = read_label(data / "labelsTs" / f"{CASE}.nii.gz")
    number = chosen_slice(label, data)
    models = {name: MasgSam.from_pretrained(run) for name, run in runs.items()}
    masks = {"label": label.data[0]} | {name: one.predictor.segment(image).mask for name, one in models.items()}
    picture = slice_picture(image, number, AXIAL)
    first = [(name, painted(picture, upright(mask[number], AXIAL))) for name, mask in masks.items()]
    maps = module_maps(models["MASG-SAM"].predictor, image, number)
    rows = [[("image", picture), *first]]
    for modules in (("HAE",), ("BFE", "DSF")):
        rows.append([(f"{one.module}: {one.title}", decoded(one.picture)) for one in maps if one.module in modules])
    return [row for row in rows if row]


def painted(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Classes over a slice, ``rows x columns x 3``."""
    result = picture.copy()
    for value in np.unique(mask[mask > 0]):
        result[mask == value] = (1 - OPACITY) * picture[mask == value] + OPACITY * np.array(to_rgb(colour_of(value)))
    return result


def decoded(uri: str) -> np.ndarray:
    """The picture in a data URI, ``rows x columns x 3`` in 0..1."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")) / 255


def draw(rows: Sequence[Sequence[Panel]], names: Sequence[str], path: Path) -> None:
    """Write the figure, in few colours so that the file stays small."""
    columns = max(COLUMNS, *(len(row) for row in rows))
    figure = Figure(figsize=(2.3 * columns, 2.95 * len(rows)), dpi=DPI, facecolor="white", layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        for place, panel in zip(line, [*row, *[None] * (columns - len(row))], strict=True):
            show(place, panel)
    handles = [Patch(color=colour_of(k), label=name) for k, name in enumerate(names, start=1)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(names), frameon=False)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    whole = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    with moved_into_place(path) as place:
        whole.quantize(COLOURS).save(place, "PNG", optimize=True)


def show(axes: Axes, panel: Panel | None) -> None:
    """One panel with its title."""
    axes.set_axis_off()
    if panel is not None:
        axes.imshow(panel[1], interpolation="nearest")
        axes.set_title(textwrap.fill(panel[0], 32), loc="left", fontsize=8)


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masg-sam", type=Path, help="a run on the sample; trained when not given")
    parser.add_argument("--plain", type=Path, help="a run of the plain decoder on the sample; trained when not given")
    parser.add_argument("--steps", type=int, default=150, help="of each training")
    parser.add_argument("--config", type=Path, help="recipe of the trainings, in place of the defaults and --steps")
    parser.add_argument("--work", type=Path, default=Path("runs/figures"), help="where sample and runs go")
    parser.add_argument("--out", type=Path, default=HERE / "figures" / "sample.png")
    given = parser.parse_args()
    data = given.work / "data"
    if not (data / FACTS).exists():
        write_sample(data)
    runs = {
        name: run or trained(given.work / kind, data, kind, given.steps, given.config)
        for (name, kind), run in zip(METHODS.items(), (given.plain, given.masg_sam), strict=True)
    }
    rows = panels(data, runs)
    draw(rows, MasgSam.from_pretrained(runs["MASG-SAM"]).class_names, given.out)


if __name__ == "__main__":
    main()
