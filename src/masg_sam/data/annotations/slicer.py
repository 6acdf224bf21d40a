"""The segments of 3D Slicer's ``.seg.nrrd``: names, values and layers stand in the header.

https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from masg_sam.data.annotations.drawn import class_values, value_names
from masg_sam.data.io import SLICER_SUFFIX, LabelSource, itk, suffix_of
from masg_sam.data.volume import Volume
from masg_sam.errors import LabelError

log = logging.getLogger(__name__)
MOST_SEGMENTS = 1000


@dataclass(frozen=True)
class Segment:
    """One segment, as the header has it.

    Attributes:
        name: of the class.
        value: that stands for it in its layer.
        layer: component of the file; segments that overlap lie in different ones.
    """

    name: str
    value: int
    layer: int


@dataclass(frozen=True, eq=False)
class SegmentLabel:
    """A segmentation, for :func:`masg_sam.data.io.read_label`.

    Attributes:
        path: the file.
        values: label value of each class, by name; 0 for the background.
    """

    path: Path
    values: Mapping[str, int]

    def read(self) -> Volume:
        """Read its segments into one array; where two overlap the later one is kept, and a warning says so.

        Raises:
            ImageError, GeometryError: as :func:`masg_sam.data.io.read_label`.
            LabelError: a segment without its layer, or without a class.
        """
        volume = itk.read(self.path, label=True)
        label = np.zeros(volume.shape, np.uint16)
        for segment in read_segments(self.path):
            if segment.layer >= len(volume.data) or segment.name not in self.values:
                raise _not_there(self.path, segment, len(volume.data))
            region, value = volume.data[segment.layer] == segment.value, self.values[segment.name]
            if overlap := np.count_nonzero(label[region] != 0) - np.count_nonzero(label[region] == value):
                log.warning(
                    "%s: %s lies over %d voxels of other segments and is kept", self.path, segment.name, overlap
                )
            label[region] = value
        return replace(volume, data=label[None])


def read_segments(path: Path) -> list[Segment]:
    """The segments that the header lists, in its order.

    Raises:
        ImageError: it cannot be read.
        LabelError: it lists none, or with a value that is no whole number.
    """
    facts = itk.read_metadata(path)
    found: list[Segment] = []
    while (name := facts.get(f"Segment{len(found)}_Name")) is not None and len(found) < MOST_SEGMENTS:
        numbers = (facts.get(f"Segment{len(found)}_LabelValue", "1"), facts.get(f"Segment{len(found)}_Layer"))
        value, layer = (str(len(found)) if number is None else number.strip() for number in numbers)
        if not (value.isdecimal() and layer.isdecimal() and max(len(value), len(layer)) < 6):
            raise _no_segments(path, f"{name}: value {value[:20]}, layer {layer[:20]}")
        found.append(Segment(name.strip(), int(value), int(layer)))
    if not found:
        raise _no_segments(path, "none")
    return found


def with_segments(
    labels: Mapping[str, Path], given: Mapping[int, str]
) -> tuple[dict[str, LabelSource], dict[int, str]]:
    """Labels of which some may be segmentations of 3D Slicer, with the names of their values.

    Slicer numbers the segments of each file by itself, so classes go by name: to the values of ``dataset.json``, else
    from 1 in the order in which they come up.

    Args:
        labels: by case.
        given: name of each label value, from ``dataset.json``; empty where there is none.

    Raises:
        LabelError: segments that ``dataset.json`` does not name, or other labels among them and no names.
    """
    named = {case: path for case, path in labels.items() if suffix_of(path) == SLICER_SUFFIX}
    if not named:
        return dict(labels), dict(given)
    names = list(dict.fromkeys(segment.name for path in named.values() for segment in read_segments(path)))
    folder = next(iter(named.values())).parent
    if len(named) < len(labels) and not given:
        raise LabelError(
            "some labels have names for their values and others have not",
            path=folder,
            found=f"{len(named)} of {len(labels)} labels are {SLICER_SUFFIX}",
            expected="one kind, or a dataset.json that names the values",
            mend='write a dataset.json with {"labels": {"background": 0, "liver": 1}}',
        )
    values = class_values(names, given, folder)
    sources: dict[str, LabelSource] = {
        case: SegmentLabel(path, values) if case in named else path for case, path in labels.items()
    }
    return sources, dict(given) or value_names(values)


def _no_segments(path: Path, found: str) -> LabelError:
    return LabelError(
        "no segments of 3D Slicer",
        path=path,
        found=found,
        expected="Segment0_Name, Segment0_LabelValue, Segment0_Layer, ... in the header",
        mend=f"save it with 3D Slicer, or name it .nrrd instead of {SLICER_SUFFIX}",
    )


def _not_there(path: Path, segment: Segment, layers: int) -> LabelError:
    return LabelError(
        f"the segment {segment.name} is not where the header says",
        path=path,
        found=f"layer {segment.layer} of {layers}",
        mend="save it again with 3D Slicer",
    )
