"""What a model is for: its classes, and how a file's voxels become network input. Kept with the weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from masg_sam.data.intensity import Intensity
from masg_sam.data.labels import LabelMap

PLANES = ("axial", "coronal", "sagittal")  # slices lie along Z, Y, X
Plane = Annotated[str, Field(pattern=f"^({'|'.join(PLANES)})$")]
Side = Annotated[int, Field(gt=0, multiple_of=32)]
Size = tuple[Side, Side]  # rows, columns


@dataclass(frozen=True)
class Task:
    """Everything about the training data that prediction must repeat.

    Attributes:
        labels: class names, and the values that stand for them in files.
        modality: ``CT``, ``MRI``, ``endoscopy`` ...
        channels: names of the image channels.
        intensity: how voxel values are normalised.
        plane: which slices of a volume are segmented.
        reach: a slice comes with the two that are this many slices away as channels (2.5-D); 0 for none.
        pixel: side of an input pixel in mm; for pictures 0: their longest side, inside of a black frame, is scaled to
            fit.
        size: rows and columns of the training input, multiples of 32.
        single: for each class, whether each training label is one connected piece.
        pictures: whether the training images were 2-D pictures.
        mirror: whether a mirrored image is as good as the image: training mirrors at random, and prediction
            averages over the mirrored views.
        across: other planes in which a volume is segmented too, and the size of the training input in each.
    """

    labels: LabelMap
    modality: str
    channels: tuple[str, ...]
    intensity: Intensity
    plane: Plane
    reach: Annotated[int, Field(ge=0)]
    pixel: Annotated[float, Field(ge=0)]
    size: Size
    single: tuple[bool, ...]
    pictures: bool
    mirror: bool = False
    across: dict[Plane, Size] = field(default_factory=dict)

    @property
    def axis(self) -> int:
        """The array axis of ``Z x Y x X`` along which the slices lie."""
        return PLANES.index(self.plane)

    @property
    def views(self) -> tuple[Task, ...]:
        """The same task in one plane each, its own plane first."""
        others = (replace(self, plane=plane, size=size, across={}) for plane, size in self.across.items())
        return (replace(self, across={}), *others)

    @property
    def in_channels(self) -> int:
        """Channels of the network input."""
        return 3 if self.reach else len(self.channels)

    @property
    def in_colour(self) -> bool:
        """Whether the images are RGB pictures."""
        return self.intensity.kind == "colour"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def describe_slices(task: Task) -> str:
    """What the network sees, in words: pictures, or slices of which planes."""
    return "pictures" if task.pictures else ", ".join([task.plane, *task.across]) + " slices"


def choose_plane(shapes: list[tuple[int, int, int]], spacings: list[tuple[float, float, float]]) -> str:
    """The plane of the finest in-plane resolution: across the coarsest axis, axial when nearly equal.

    Volumes that are one voxel thick along an axis are slices across it, however thick.

    Args:
        shapes: of the volumes, ``Z, Y, X``.
        spacings: mm along the same axes.
    """
    flat = (np.array(shapes) == 1).mean(0)
    if flat.max() > 0.5:
        return PLANES[int(flat.argmax())]
    median = np.median(np.array(spacings), axis=0)
    axis = int(median.argmax())
    return PLANES[axis] if median[axis] > 1.5 * np.delete(median, axis).max() else PLANES[0]
