"""Segmentations and structure sets as labels: one value a voxel, classes by their names."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from masg_sam.data.dataset_json import plain
from masg_sam.data.io.dicom.grid import source_datasets
from masg_sam.data.io.dicom.headers import reading
from masg_sam.data.io.dicom.objects import frame_of_reference, is_segmentation, must_be_label, read_source
from masg_sam.data.io.dicom.painting import Canvas
from masg_sam.data.io.dicom.rtstruct import region_masks, region_names
from masg_sam.data.io.dicom.segmentation import segment_labels, segment_masks
from masg_sam.data.volume import Volume
from masg_sam.errors import GeometryError, few

log = logging.getLogger(__name__)


def read_structures(path: Path, like: Volume | None, names: Mapping[int, str] | None) -> Volume:
    """Read a segmentation or structure set on the grid of the image it was drawn on.

    Where structures overlap, that of the higher value lies on top.

    Args:
        path: the file.
        like: the image; without it the series that the file refers to is looked for around it.
        names: class name of each value, for structures of that name; others are left out. Without it they are
            numbered as in the file.

    Raises:
        LabelError: no such label, or its series is not there.
        GeometryError: it was drawn on another image.
        ImageError: damaged.
    """
    with reading(path):
        dataset = must_be_label(dcmread(path), path)
    like = read_source(path, dataset) if like is None else like
    canvas = Canvas.of(like)
    _must_share_space(path, dataset, like)
    own = _names(dataset)
    values = {number: number for number in own} if names is None else _values(own, names)
    if own and not values:
        log.warning(
            "%s: of no class: %s; the classes are %s", path, few([*own.values()]), few([*(names or {}).values()])
        )
    masks = segment_masks if is_segmentation(dataset) else region_masks
    voxels = np.zeros(canvas.shape, np.uint16 if max(values.values(), default=0) > 255 else np.uint8)
    covered = 0
    for number, mask in masks(dataset, canvas, path, values.keys()):
        value = values[number]
        covered += int((mask & ~np.isin(voxels, (0, value))).sum())
        voxels[mask] = np.maximum(voxels[mask], value)
    if covered:
        log.warning("%s: %d voxels belong to several structures; that of the higher value counts", path, covered)
    data = np.ascontiguousarray(canvas.to_ours(voxels))
    return replace(like, data=data, path=path)


def structure_names(paths: Iterable[Path]) -> dict[int, str]:
    """The names of all structures of some labels, numbered from 1 in the order in which they come.

    Raises:
        InputError: a file that cannot be read, or is no label.
    """
    found: dict[str, str] = {}
    for path in paths:
        with reading(path):
            dataset = must_be_label(dcmread(path, stop_before_pixels=True), path)
            for name in _names(dataset).values():
                found.setdefault(plain(name), name)
    return dict(enumerate(found.values(), start=1))


def _names(dataset: Dataset) -> dict[int, str]:
    return segment_labels(dataset) if is_segmentation(dataset) else region_names(dataset)


def _values(own: Mapping[int, str], names: Mapping[int, str]) -> dict[int, int]:
    """Structure number to the value of its name."""
    wanted = {plain(name): value for value, name in names.items()}
    return {number: wanted[plain(name)] for number, name in own.items() if plain(name) in wanted}


def _must_share_space(path: Path, dataset: Dataset, like: Volume) -> None:
    if like.geometry.format != "dicom":
        return
    own, other = frame_of_reference(dataset), frame_of_reference(source_datasets(like)[0])
    if own and other and own != other:
        raise GeometryError(
            f"was drawn on other images than {like.path.name}",
            path=path,
            found=f"frame of reference {own}",
            expected=other,
            mend="take the label of this series",
        )
