"""From one layout to another: files are copied, and written anew only where the other layout needs it."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from masg_sam.data.check import check_training, guess_modality
from masg_sam.data.convert.bids import Bids
from masg_sam.data.convert.source import TRAINING, Source, Target
from masg_sam.data.convert.targets import Decathlon, Folders, NnUnet
from masg_sam.data.io import (
    LabelSource,
    label_on_grid,
    label_path,
    mask_suffix,
    read_channels,
    read_image,
    read_label,
    same_file_axes,
    suffix_of,
    write_label,
)
from masg_sam.data.io.export import write_image
from masg_sam.data.io.kinds import format_of
from masg_sam.data.io.picture import stored_mode
from masg_sam.data.labels import IGNORED, MOST_CODES, LabelMap
from masg_sam.data.layouts import Case, Dataset, find_held_out, look_for_cases
from masg_sam.data.volume import Volume
from masg_sam.errors import ConfigError, ImageError, LabelError, OutputError, few
from masg_sam.files import folder_moved_into_place, write_text

log = logging.getLogger(__name__)
GREY = ("L", "I", "I;16", "I;16L", "I;16B")  # modes of pictures whose values are stored as they are
TARGETS: dict[str, Callable[[Source], Target]] = {"nnunet": NnUnet, "msd": Decathlon, "folders": Folders, "bids": Bids}


def convert(data: Path, out: Path, to: str, link: bool = False) -> None:
    """Write a dataset in another layout, its test and validation cases too where that has a place for them.

    Args:
        data: as :func:`~masg_sam.data.layouts.find_training_cases` takes it.
        out: folder, new or empty.
        to: ``nnunet``, ``msd``, ``folders`` or ``bids``.
        link: make hard links of files that need not change, instead of copies.

    Raises:
        InputError: a layout we do not know, a dataset that a training would refuse, or one that the other layout
            cannot hold; nothing was written.
        OutputError: ``out`` is not empty, or cannot be written to.
    """
    if to not in TARGETS:
        raise ConfigError("no such layout", found=to, expected=", ".join(TARGETS), mend="name one of these")
    with folder_moved_into_place(out) as place:
        source = _source(look_for_cases(data))
        target = TARGETS[to](source)
        for part, cases in source.parts.items():
            if part not in target.parts:
                log.warning("%s has no place for %s cases: %d left out", to, part, len(cases))
                continue
            for case in cases:
                _write_case(case, part, source, target, place, link)
        for name, text in target.facts().items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            write_text(place / name, text)


def _source(dataset: Dataset) -> Source:
    check = check_training(dataset)
    names = check.label_map.names
    if len({"background", *names}) <= len(names):
        raise LabelError(
            "two classes of one name",
            path=dataset.root,
            found=few(names),
            expected="a name of its own for each class, and none called background",
            mend="rename them in dataset.json",
        )
    count = check.cases[0].channels
    named = len(dataset.channel_names) == count or count > 1
    channels = dataset.name_channels(count) if named else (guess_modality(dataset, check),)
    parts = {TRAINING: dataset.cases} | find_held_out(dataset)
    return Source(dataset, check.label_map, channels, check.cases[0].picture, parts)


def _write_case(case: Case, part: str, source: Source, target: Target, place: Path, link: bool) -> None:
    if case.fault is not None:
        raise case.fault
    images = _write_images(case, part, source, target, place, link)
    if case.label is not None:
        path = place / target.label(part, case)
        path.parent.mkdir(parents=True, exist_ok=True)
        old = read_image(case.images[0], case.channels)
        kept = [suffix_of(image) for image in images] == [suffix_of(image) for image in case.images]
        grids = (old, old if kept else read_image(images[0]))
        _write_label(case.label, grids, path, source, target, link)


def _write_images(case: Case, part: str, source: Source, target: Target, place: Path, link: bool) -> list[Path]:
    """The images as they are; all of them anew where one has another format, or holds several channels."""
    names, endings = target.images(part, case), [target.suffix(path) for path in case.images]
    (place / names[0]).parent.mkdir(parents=True, exist_ok=True)
    plain = all(_is_plain(path, target, (*GREY, "RGB")) for path in case.images)
    if plain and len(names) == len(endings) and endings == [suffix_of(path) for path in case.images]:
        images = [place / (name + ending) for name, ending in zip(names, endings, strict=True)]
        for old, new in zip(case.images, images, strict=True):
            _copy(old, new, link)
        return images
    images = [place / (name + source.usual_suffix) for name in names]
    volume = read_channels(case.images, case.channels)
    if volume.data.shape[0] != len(source.channels):
        raise ImageError(
            "another number of channels than the training cases",
            path=case.images[0],
            found=volume.data.shape[0],
            expected=len(source.channels),
            mend="complete the channels, or take the case out",
        )
    write_image(volume, images)
    return images


def _write_label(
    label: LabelSource, grids: tuple[Volume, Volume], stem: Path, source: Source, target: Target, link: bool
) -> None:
    """The label as it is, or on the grid of the new image with the new values; ``grids`` are old and new image."""
    read = read_label(label, grids[0], source.dataset.class_names or None)
    found, like = label_on_grid(grids[0], read), grids[1]
    old, new, ending = source.labels, target.labels, target.suffix(label_path(label))
    classes = old.encode(found)
    fits = found is read and same_file_axes(like, found) and _same_values(old, new)
    if isinstance(label, Path) and suffix_of(label) == ending and fits and _is_plain(label, target, GREY):
        _copy(label, stem.with_name(stem.name + ending), link)
        return
    values = np.zeros(MOST_CODES, np.int64)
    values[: new.num_classes + 1] = (0, *new.values)
    if new.ignore is not None:
        values[IGNORED] = new.ignore
    write_label(values[classes], like, stem.with_name(stem.name + mask_suffix(like)))


def _same_values(old: LabelMap, new: LabelMap) -> bool:
    return (old.values, old.threshold, old.ignore) == (new.values, new.threshold, new.ignore)


def _is_plain(path: Path, target: Target, modes: Sequence[str]) -> bool:
    """Whether a file stores what the layout's readers are to find: a palette's indices or transparency they are not."""
    return not target.as_stored or format_of(path) != "picture" or stored_mode(path) in modes


def _copy(old: Path, new: Path, link: bool) -> None:
    if not link:
        shutil.copyfile(old, new)
        return
    try:
        os.link(old.resolve(), new)
    except OSError as error:
        raise OutputError("no hard link can be made", path=old, found=error, mend="convert without --link") from error
