"""One case: read whole, with everything that is wrong with it, and summed up in a few numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from masg_sam.data.borders import content_box, is_colour
from masg_sam.data.intensity import thinned
from masg_sam.data.io import label_on_grid, merge_channels, read_image, read_label
from masg_sam.data.layouts import Case, fault_of
from masg_sam.data.volume import Volume
from masg_sam.errors import InputError, together

AIR_HU = -300.0  # only air and lung lie below, in Hounsfield units
RAISED_HU = (900.0, 1200.0)  # where soft tissue lies when 1024 was added
SAMPLED = 1_000_000  # voxels at most, that percentiles are taken from

Given = TypeVar("Given")
Read = TypeVar("Read")


@dataclass(frozen=True)
class CaseSummary:
    """What planning and the rules of the check need to know of a case.

    Attributes:
        name: of the case.
        shape: voxels along ``Z, Y, X``.
        spacing: mm along ``Z, Y, X``.
        channels: image channels.
        picture: whether it is a 2-D picture.
        air: part of the voxels below -300, which only Hounsfield units reach.
        voxels: labelled voxels of each foreground class.
        raised: part of the voxels from 900 to 1200, where soft tissue lies in HU + 1024.
        ranges: 1st and 99th percentile of each channel.
        constant: channels of one value everywhere.
        path: of the first image.
        content: rows and columns inside of a picture's black frame; ``None`` where that was not looked for.
    """

    name: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    channels: int
    picture: bool
    air: float
    voxels: tuple[int, ...] = ()
    raised: float = 0.0
    ranges: tuple[tuple[float, float], ...] = ()
    constant: tuple[int, ...] = ()
    path: Path | None = None
    content: tuple[int, int] | None = None

    @property
    def labelled(self) -> int:
        """Labelled voxels of all classes."""
        return sum(self.voxels)


@dataclass
class Look:
    """What reading a case gave.

    Attributes:
        image: ``None`` where a channel cannot be read, or the channels do not fit.
        label: ``None`` where it is missing or cannot be read.
        errors: everything that is wrong.
    """

    image: Volume | None = None
    label: Volume | None = None
    errors: list[InputError] = field(default_factory=list)

    def tried(self, call: Callable[[Given], Read], given: Given) -> Read | None:
        """What a call gives; where it raises, ``None`` and the error is kept."""
        try:
            return call(given)
        except InputError as error:
            self.errors.append(error)
            return None


def look_at(case: Case) -> Look:
    """Read image and label of a case, and see whether they fit; nothing is raised."""
    look = Look()
    if fault := fault_of(case):
        look.errors.append(fault)
    count = case.channels if len(case.images) == 1 else 1
    tried = (look.tried(lambda path: read_image(path, count), path) for path in case.images)
    channels = [channel for channel in tried if channel is not None]
    if channels and len(channels) == len(case.images):
        look.image = look.tried(merge_channels, channels)
    if case.label is not None:
        look.label = look.tried(lambda path: read_label(path, look.image, case.label_names or None), case.label)
    if look.image is not None and look.label is not None:
        image = look.image
        look.label = look.tried(lambda label: label_on_grid(image, label), look.label) or look.label
    return look


def read_case(case: Case) -> tuple[Volume, Volume]:
    """Read image and label of a training case, and make sure that they fit.

    Raises:
        InputError: unreadable, not on one grid, or no label.
    """
    look = look_at(case)
    if look.errors or look.image is None or look.label is None:
        raise together(look.errors, case.name)
    return look.image, look.label


def sum_up(case: Case, image: Volume) -> CaseSummary:
    """The numbers of an image; those of its label come later, with the meaning of its values."""
    first, low, high = image.data[0], *RAISED_HU
    down, across = content_box(image, is_colour(image))
    return CaseSummary(
        name=case.name,
        shape=image.shape,
        spacing=image.spacing,
        channels=image.data.shape[0],
        picture=image.is_picture,
        air=float((first < AIR_HU).mean()),
        raised=float(((first >= low) & (first <= high)).mean()),
        ranges=tuple(_range(channel) for channel in image.data),
        constant=tuple(i for i, channel in enumerate(image.data) if channel.min() == channel.max()),
        path=case.images[0],
        content=(down.stop - down.start, across.stop - across.start) if image.is_picture else None,
    )


def digest(image: Volume) -> str:
    """The same for images of the same voxels, whatever their files."""
    whole = hashlib.sha256(repr(image.data.shape).encode())
    whole.update(np.ascontiguousarray(image.data).data)
    return whole.hexdigest()


def _range(channel: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(thinned(channel, SAMPLED), (1, 99))
    return float(low), float(high)
