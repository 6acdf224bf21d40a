"""Pictures of a case for people: slices with masks drawn over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from masg_sam.colours import colour_of
from masg_sam.data.slices import in_plane
from masg_sam.data.volume import Volume
from masg_sam.figures import names_as_they_are
from masg_sam.files import moved_into_place

OPACITY = 0.45
SLICES, DPI = 4, 130


@names_as_they_are()
def write_overlay(
    volume: Volume, masks: Mapping[str, np.ndarray], names: Sequence[str], path: Path, axis: int = 0
) -> Path:
    """Draw a few slices through what was found: the image in the first row, one row more for each mask.

    Args:
        volume: the image.
        masks: title to classes ``Z x Y x X`` (``{"prediction": ..., "label": ...}``).
        names: of the classes 1..K.
        path: PNG to write; its folder is made when missing.
        axis: of ``Z x Y x X``, along which the slices lie.

    Axial slices show the front of the body on top and its right side on the left, as radiologists look at them;
    coronal and sagittal ones show the head on top.

    Returns:
        ``path``.

    Raises:
        OutputError: the picture cannot be written.
    """
    indices = _slices(next(iter(masks.values())), axis)
    rows = 1 + len(masks)
    figure = Figure(figsize=(2.6 * len(indices), 2.6 * rows + 0.5), dpi=DPI, facecolor="white", layout="constrained")
    axes = figure.subplots(rows, len(indices), squeeze=False)
    spacing = in_plane(volume.spacing, axis)
    for column, index in enumerate(indices):
        picture = slice_picture(volume, index, axis)
        _show(axes[0][column], picture, "image" if column == 0 else "", spacing)
        for row, (title, mask) in enumerate(masks.items(), start=1):
            painted = _paint(picture, upright(np.moveaxis(mask, axis, 0)[index], axis))
            _show(axes[row][column], painted, title if column == 0 else "", spacing)
    handles = [Patch(color=colour_of(k), label=name) for k, name in enumerate(names, start=1)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(names), 4), frameon=False)
    _save(figure, path)
    return path


def _slices(mask: np.ndarray, axis: int) -> list[int]:
    """Evenly spread through the slices that hold something, or through all."""
    others = tuple(i for i in range(3) if i != axis)
    held = np.flatnonzero((mask > 0).any(axis=others))
    low, high = (held[0], held[-1]) if len(held) else (0, mask.shape[axis] - 1)
    wanted = np.linspace(low, high, SLICES + 2).round().astype(int)[1:-1]
    return sorted(set(wanted.tolist()))


def slice_picture(volume: Volume, index: int, axis: int) -> np.ndarray:
    """One slice as ``rows x columns x 3`` in 0..1."""
    data = np.moveaxis(volume.data, axis + 1, 0)[index]  # C x r x c
    low, high = np.percentile(data, (1, 99)) if data.max() > data.min() else (0.0, 1.0)
    scaled = np.clip((data - low) / max(high - low, 1e-6), 0, 1)
    channels = scaled if len(scaled) == 3 else scaled[:1].repeat(3, axis=0)
    return upright(np.moveaxis(channels, 0, -1), axis)


def upright(rows: np.ndarray, axis: int) -> np.ndarray:
    """Z runs towards the head: turned over where it runs down the rows."""
    return rows if axis == 0 else rows[::-1]


def _paint(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    result = picture.copy()
    for value in np.unique(mask[mask > 0]):
        colour = np.array(to_rgb(colour_of(int(value))))
        result[mask == value] = (1 - OPACITY) * result[mask == value] + OPACITY * colour
    return result


def _show(axes: Axes, picture: np.ndarray, title: str, spacing: tuple[float, float]) -> None:
    axes.imshow(picture, aspect=spacing[0] / spacing[1], interpolation="nearest")
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_axis_off()


def _save(figure: Figure, path: Path) -> None:
    with moved_into_place(path) as place:
        FigureCanvasAgg(figure).print_png(place)
