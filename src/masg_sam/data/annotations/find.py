"""Finds what annotation tools export, and the pictures that it belongs to."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from masg_sam.data.annotations.coco import read_coco
from masg_sam.data.annotations.cvat import read_cvat
from masg_sam.data.annotations.drawn import DrawnLabel, Picture, Sheet, drawn_label, drawn_values, value_names
from masg_sam.data.annotations.labelme import read_labelme
from masg_sam.data.dataset_json import FILE, composed
from masg_sam.data.io.kinds import SUFFIXES, suffix_of
from masg_sam.errors import LayoutError, few
from masg_sam.files import CHECKED, PICTURES, PREDICTED, read_json

log = logging.getLogger(__name__)
SHEET = re.compile(r"annotations\.(json|xml)|_annotations\.coco\.json|instances.*\.json")
EXPORTED = frozenset(("shapes", "annotations", "categories"))
SHEET_FOLDERS = ("", "annotations", "images")
DRAWN_FOLDERS = ("labels", "label", "masks", "mask", "annotations", "images", "image", "imgs", "img", "")


@dataclass(frozen=True)
class Drawn:
    """A folder of pictures with drawn labels.

    Attributes:
        kind: ``coco``, ``cvat`` or ``labelme``.
        pairs: picture and label.
        class_names: name of each label value.
    """

    kind: str
    pairs: tuple[tuple[Path, DrawnLabel], ...]
    class_names: dict[int, str]


def find_drawn(root: Path, given: Mapping[int, str]) -> Drawn | None:
    """Pictures of a folder with what is drawn on them; ``None`` where no annotation tool left a file.

    A picture that the file lists and on which nothing is drawn is all background. Pictures that no file lists are
    left out, and a warning says so.

    Args:
        root: a folder with an export of COCO, CVAT or LabelMe.
        given: name of each label value, from ``dataset.json``; empty where there is none.

    Raises:
        LayoutError: the export is broken, or names a picture that is not there.
        LabelError: classes that ``dataset.json`` does not name.
    """
    sheet = _find_sheet(root)
    if sheet is None:
        return None
    places = _Places(root)
    values = drawn_values(sheet, given)
    files = [(picture, places.of(picture)) for picture in sheet.pictures]
    pairs = tuple((file, drawn_label(picture, values, file)) for picture, file in files)
    if left := places.without(path for path, _ in pairs):
        log.warning("%d pictures that %s does not list are left out: %s", len(left), sheet.path, few(left))
    return Drawn(sheet.kind, pairs, dict(given) or value_names(values))


def find_drawn_labels(path: Path, given: Mapping[int, str]) -> tuple[dict[str, DrawnLabel], dict[int, str]] | None:
    """Drawn labels by the name of their picture, which need not be there; ``None`` where there are none.

    Args:
        path: an annotation file, or a folder as for :func:`find_drawn`.
        given: name of each label value, from ``dataset.json``; empty where there is none.

    Raises:
        LayoutError, LabelError: as :func:`find_drawn`, or two pictures of one name.
    """
    sheet = _find_sheet(path)
    if sheet is None:
        return None
    values, places = drawn_values(sheet, given), _Places(_root_of(path), usual=path.is_file())
    found: dict[str, DrawnLabel] = {}
    for picture in sheet.pictures:
        name = composed(picture.name if sheet.kind == "labelme" else Path(_parts(picture)[-1]).stem)
        if name in found:
            raise LayoutError("two pictures of the same name", path=picture.path, found=name, mend="rename one")
        found[name] = drawn_label(picture, values, places.find(picture))
    return found, dict(given) or value_names(values)


def is_export(path: Path) -> bool:
    """Whether a JSON file looks like one of COCO or LabelMe."""
    if path.suffix.lower() != ".json":
        return False
    try:
        return not EXPORTED.isdisjoint(read_json(path, LayoutError))
    except LayoutError:
        return False


def _find_sheet(path: Path) -> Sheet | None:
    """The one export there is; of several, that of the training part."""
    if path.is_file():
        return _read_sheet(path) if path.suffix.lower() in (".json", ".xml") else None
    folders = [path / name for name in SHEET_FOLDERS if (path / name).is_dir()]
    found = [file for folder in folders for file in sorted(folder.iterdir()) if SHEET.fullmatch(file.name.lower())]
    training = [file for file in found if "train" in file.name.lower()]
    if len(found) > 1 and len(training) != 1:
        names = few([str(file.relative_to(path)) for file in found])
        mend = "keep one, or name the file itself where labels are compared"
        raise LayoutError("several annotation files", path=path, found=names, expected="one", mend=mend)
    if found:
        return _read_sheet((training or found)[0])
    return next((sheet for name in DRAWN_FOLDERS if (sheet := _labelme(path, path / name))), None)


def _root_of(path: Path) -> Path:
    """The dataset's folder, of an annotation file in it or in a folder for them."""
    if path.is_dir():
        return path
    return path.parent.parent if path.parent.name in DRAWN_FOLDERS else path.parent


def _read_sheet(path: Path) -> Sheet:
    if path.suffix.lower() == ".xml":
        return read_cvat(path)
    if "shapes" in read_json(path, LayoutError):
        return _of_labelme(path, [path])
    return read_coco(path)


def _labelme(root: Path, folder: Path) -> Sheet | None:
    """LabelMe's files of a folder: those that have a picture's name, or all where there are no pictures."""
    files = [file for file in sorted(folder.glob("[!.]*.json")) if file.name != FILE] if folder.is_dir() else []
    known = _Places(root).named if files else {}
    named = [file for file in files if composed(file.stem) in known or (not known and is_export(file))]
    return _of_labelme(folder, named) if named and "shapes" in read_json(named[0], LayoutError) else None


def _of_labelme(path: Path, files: Iterable[Path]) -> Sheet:
    pictures = tuple(read_labelme(file) for file in files)
    return Sheet("labelme", path, pictures, tuple(sorted({name for one in pictures for name, _ in one.shapes})))


class _Places:
    """The pictures of a folder and of those in it, by what an annotation file may call them.

    Nothing else is ever opened: a name in a file is only looked up.

    Args:
        root: the folder.
        usual: whether to look only into folders of the usual names, since ``root`` may be any folder.
    """

    def __init__(self, root: Path, usual: bool = False) -> None:
        self.root = root
        self.named: dict[str, list[tuple[str, ...]]] = {}  # by the last part, with and without its ending
        for folder, names in _folders(root, usual):
            for name in sorted(names):
                if SUFFIXES.get(suffix_of(Path(name)) or "") == "picture" and not name.startswith("."):
                    place = (*Path(folder).relative_to(root).parts, name)
                    self.named.setdefault(composed(name), []).append(place)
                    self.named.setdefault(composed(Path(name).stem), []).append(place)

    def of(self, picture: Picture) -> Path:
        """The one picture whose path ends in the name; of several, that beside the file or in ``images``."""
        if (path := self.find(picture)) is not None:
            return path
        raise LayoutError(
            "several pictures of that name" if self._called(_parts(picture)) else "a picture that is not there",
            path=picture.path,
            found=picture.name,
            expected=f"one under {self.root}",
            mend="copy the picture there, or take its entry out",
        )

    def find(self, picture: Picture) -> Path | None:
        """The same; ``None`` where there is none, or several."""
        parts = _parts(picture)
        found = self._called(parts)
        homes = (picture.path.parent.relative_to(self.root).parts, ("images",), ())
        near = [file for home in homes for file in found if file[:-1] == home + parts[:-1]]
        return self.root.joinpath(*(near or found)[0]) if near or len(found) == 1 else None

    def _called(self, parts: tuple[str, ...]) -> list[tuple[str, ...]]:
        """The pictures whose path ends so."""
        *folders, name = map(composed, parts)
        return [file for file in self.named.get(name, []) if [*map(composed, file[-len(parts) : -1])] == folders]

    def without(self, used: Iterable[Path]) -> list[str]:
        """Names of the others."""
        known = set(used)
        every = {place for places in self.named.values() for place in places}
        return sorted("/".join(place) for place in every if self.root.joinpath(*place) not in known)


def _folders(root: Path, usual: bool) -> Iterator[tuple[str, list[str]]]:
    """A folder and those in it, each with its files; of folders of the usual names, links that lead out too.

    What ``check`` has drawn and ``predict`` has written is none of it.
    """
    links = [root / name for name in DRAWN_FOLDERS if name and (root / name).is_symlink() and (root / name).is_dir()]
    here = root.resolve()
    out = [one for one in links if not (here in one.resolve().parents or one.resolve() in (here, *here.parents))]
    for start in (root, *out):
        for folder, inner, names in os.walk(start):
            if PREDICTED in names and Path(folder) != root:
                inner.clear()
                continue
            drawn = {PICTURES} if CHECKED in names or PREDICTED in names else set()
            kept = (name for name in inner if not name.startswith(".") and name not in drawn)
            inner[:] = sorted(name for name in kept if not usual or name in DRAWN_FOLDERS)
            yield folder, names


def _parts(picture: Picture) -> tuple[str, ...]:
    """The parts of a picture's name, which may be written with either slash, and may not lead anywhere else."""
    parts = PurePosixPath(picture.name.replace("\\", "/")).parts
    if not parts or ".." in parts or parts[0] == "/" or re.fullmatch("[A-Za-z]:", parts[0]):
        raise LayoutError(
            "a picture's name leads out of the dataset",
            path=picture.path,
            found=picture.name[:200],
            expected="a path within the dataset",
            mend="write the path of the picture from the dataset's folder",
        )
    return parts
