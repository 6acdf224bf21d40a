"""BIDS: raw images of subjects, and labels of them in ``derivatives/`` (Gorgolewski et al., Scientific Data 2016)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from masg_sam.data.dataset_json import class_names
from masg_sam.data.layouts.case import Case, Dataset, in_order, natural
from masg_sam.errors import LayoutError, few

NAME = re.compile(r"(?P<entities>(?:[A-Za-z0-9]+-[A-Za-z0-9+]+_)*)(?P<suffix>[A-Za-z0-9]+)\.nii(\.gz)?")
PLACES = ("sub-*/anat", "sub-*/ses-*/anat")
FIRST_CONTRAST = "T1w"
NO_IMAGES = ("dseg", "mask", "probseg", "defacemask")
OF_THE_LABEL = ("space", "desc", "label", "res", "den", "hemi", "seg", "atlas")  # entities that its image has not
OWN_SPACES = ("orig", "individual", "T1w")  # of labels that lie on their raw image
MEND = "keep one, or list images and labels in a CSV file"


@dataclass(frozen=True)
class Named:
    """A file with its name taken apart.

    Attributes:
        path: the file.
        entities: ``sub``, ``ses``, ``run`` ... to their labels, in order.
        suffix: ``T1w``, ``dseg`` ...
    """

    path: Path
    entities: dict[str, str]
    suffix: str

    @property
    def case(self) -> str:
        """The name without its suffix."""
        return "_".join(f"{key}-{value}" for key, value in self.entities.items())

    def belongs_to(self, image: Named) -> bool:
        """Whether this is a label of that image."""
        own = {item for item in self.entities.items() if item[0] not in OF_THE_LABEL}
        return own <= image.entities.items()


def is_bids(root: Path) -> bool:
    """Whether a folder holds subjects with anatomical images."""
    return any(True for place in PLACES for _ in root.glob(place))


def find_bids(root: Path) -> Dataset:
    """All images of one contrast, with their labels where ``derivatives/`` has them.

    The contrast is T1w where there is one, else the only one there is. A label is a ``dseg``, or where there is none
    a ``label-NAME_mask`` of the one class NAME; labels in the space of a template are passed over. A case is named
    by its entities: ``sub-01_ses-2``.

    Raises:
        LayoutError: several contrasts, or several classes in masks of their own; a broken table of names.
    """
    images = _one_contrast(root, [file for file in _files(root, PLACES) if file.suffix not in NO_IMAGES])
    labels = _labels(root)
    cases = [_pair(image, images, labels) for image in images]
    alone = [label for label in labels if not any(map(label.belongs_to, images))]
    cases += [Case(label.path.name, (), label.path) for label in alone]
    return Dataset(root, "bids", in_order(cases), _names(root, labels), (images[0].suffix,))


def _one_contrast(root: Path, images: Sequence[Named]) -> list[Named]:
    contrasts = sorted({image.suffix for image in images})
    chosen = FIRST_CONTRAST if FIRST_CONTRAST in contrasts else contrasts[0] if len(contrasts) == 1 else None
    if chosen is None:
        raise LayoutError(
            "several contrasts, none of them T1w" if contrasts else "no images of subjects",
            path=root,
            found=few(contrasts) or "no sub-*/anat/sub-*_T1w.nii.gz",
            expected="T1w images, or images of one contrast",
            mend="list images and labels in a CSV file",
        )
    return [image for image in images if image.suffix == chosen]


def _labels(root: Path) -> list[Named]:
    files = _files(root, [f"derivatives/*/{place}" for place in PLACES])
    own = [file for file in files if file.entities.get("space", OWN_SPACES[0]) in OWN_SPACES]
    maps = [file for file in own if file.suffix == "dseg"]
    masks = [file for file in own if file.suffix == "mask" and "label" in file.entities]
    classes = sorted({mask.entities["label"] for mask in masks})
    if not maps and len(classes) > 1:
        raise LayoutError(
            "masks of several classes in files of their own",
            path=root / "derivatives",
            found=few(classes),
            expected="one *_dseg.nii.gz a case",
            mend="write the masks of each case into one dseg file, a value a class",
        )
    return maps or masks


def _pair(image: Named, images: Sequence[Named], labels: Sequence[Named]) -> Case:
    """An image with its label; a fault where it is not clear which that is."""
    fitting = [label for label in labels if label.belongs_to(image)]
    if not fitting:
        return Case(image.case, (image.path,), None)
    label, fault = fitting[0].path, None
    rivals = [other for other in images if fitting[0].belongs_to(other)]
    if len(fitting) > 1:
        fault = _unclear("several labels of one image", image.path, fitting)
    elif len(rivals) > 1:
        fault = _unclear("a label that fits several images", label, rivals)
    return Case(image.case, (image.path,), label, fault)


def _unclear(problem: str, path: Path, files: Sequence[Named]) -> LayoutError:
    found = few([str(file.path) for file in files])
    return LayoutError(problem, path=path, found=found, expected="one label an image", mend=MEND)


def _names(root: Path, labels: Sequence[Named]) -> dict[int, str]:
    """From the tables that stand beside or above the labels; a mask's from its own name."""
    if labels and labels[0].suffix == "mask":
        return {1: labels[0].entities["label"]}
    names: dict[str, str] = {}
    tables = _tables(root, labels)
    for table in tables:
        for index, name in _rows(table):
            if names.setdefault(index, name) != name:
                found = f"{index}: {names[index]}, {name}"
                raise LayoutError("two names of one class", path=table, found=found, mend="keep one of them")
    return class_names({"labels": names}, tables[-1]) if names else {}


def _tables(root: Path, labels: Sequence[Named]) -> list[Path]:
    """Those that apply by the inheritance principle: they say of themselves nothing that the label does not."""
    places = {root, *(label.path.parent for label in labels)}
    places |= {root.joinpath(*label.path.relative_to(root).parts[:2]) for label in labels}  # derivatives/PIPELINE
    found = [table for place in sorted(places) for table in sorted(place.glob("*dseg.tsv"))]
    return [table for table in found if any(_entities(table) <= label.entities.items() for label in labels)]


def _entities(table: Path) -> set[tuple[str, str]]:
    pairs = (part.partition("-") for part in table.stem.split("_")[:-1])
    return {(key, value) for key, _, value in pairs}


def _rows(table: Path) -> list[tuple[str, str]]:
    """Value and name of each class."""
    try:
        lines = csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig")), delimiter="\t")
        return [(line["index"].strip(), line["name"].strip()) for line in lines]
    except (OSError, ValueError, KeyError, AttributeError, csv.Error) as error:
        raise LayoutError(
            "is no table of classes",
            path=table,
            found=f"{type(error).__name__}: {error}",
            expected="columns `index` and `name`, with tabs between them",
            mend="mend or remove it",
        ) from error


def _files(root: Path, places: Iterable[str]) -> list[Named]:
    found = sorted((file for place in places for file in root.glob(f"{place}/sub-*")), key=lambda f: natural(f.name))
    return [named for file in found if (named := _take_apart(file))]


def _take_apart(path: Path) -> Named | None:
    parts = NAME.fullmatch(path.name)
    if parts is None:
        return None
    entities = dict(part.split("-", 1) for part in parts["entities"].split("_") if part)
    return Named(path, entities, parts["suffix"])
