"""Cases that a file lists: ``dataset.json`` of the Decathlon, and CSV or JSON lists of any files anywhere."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from glob import escape
from pathlib import Path
from typing import Any

from masg_sam.data.annotations.find import is_export
from masg_sam.data.dataset_json import composed
from masg_sam.data.io.kinds import case_stem, is_there
from masg_sam.data.layouts.case import Case, case_name, in_order
from masg_sam.data.layouts.folders import CHANNEL
from masg_sam.errors import LayoutError

SUFFIXES = (".csv", ".json")
COLUMNS = ("image", "label", "case")
DELIMITERS, BETWEEN_CHANNELS = ",;\t", "|"
EXPECTED = {
    ".csv": "a first line `image,label`, then a line a case",
    ".json": '[{"image": "a.nii.gz", "label": "a_label.nii.gz"}, ...]',
}


def is_list(path: Path) -> bool:
    """Whether a path is the file of a list, and not what an annotation tool exported."""
    return path.suffix.lower() in SUFFIXES and path.is_file() and not is_export(path)


def decathlon_cases(pairs: Iterable[tuple[Path, Path]]) -> tuple[Case, ...]:
    """Cases that dataset.json lists; the first nnU-Net left the channel out of their names."""
    cases = []
    for image, label in pairs:
        stem = case_stem(image)
        numbered = f"{escape(stem)}_[0-9][0-9][0-9][0-9]{image.name[len(stem) :]}"
        channels = [image] if image.exists() else sorted(image.parent.glob(numbered))
        cases.append(_listed(case_name(image), channels or [image], label, "dataset.json"))
    return in_order(cases)


def read_list(path: Path) -> tuple[Case, ...]:
    """Cases of a CSV or JSON list.

    Each names an ``image``, or several, one a channel (in CSV with ``|`` between them, in JSON as a list), and as far
    as there are any its ``label`` and the name of its ``case``. Paths are relative to the list.

    Raises:
        LayoutError: it is no such list, or two cases have one name.
    """
    rows = _json_rows(path) if path.suffix.lower() == ".json" else _csv_rows(path)
    cases = [_case(path, number, row) for number, row in enumerate(rows, start=1)]
    if not cases:
        raise _no_list(path, "no cases")
    return in_order(cases, mend="give each case a name of its own in `case`")


def _case(path: Path, number: int, row: Mapping[str, Any]) -> Case:
    images, label, case = (row.get(column) for column in COLUMNS)
    case = str(case) if isinstance(case, int) else case
    names = images if isinstance(images, list) else [images]
    texts = [*names, *(entry for entry in (label, case) if entry)]
    if not names or not all(isinstance(text, str) and text.strip() for text in texts):
        raise _no_list(path, f"case {number}: {dict(row)}")
    files = [path.parent / str(text) for text in names]
    name = composed(str(case or _stem(files)).strip())
    if Path(name).name != name:
        raise LayoutError(
            "a case name that is no file name",
            path=path,
            found=name,
            expected="a name without slashes",
            mend="change it",
        )
    return _listed(name, files, path.parent / str(label) if label else None, path.name)


def _listed(name: str, images: list[Path], label: Path | None, source: str) -> Case:
    """A case; of files that are missing the first is its fault."""
    there = tuple(path for path in images if is_there(path))
    missing = next((path for path in (*images, label) if path is not None and not is_there(path)), None)
    if missing is None:
        return Case(name, there, label)
    fault = LayoutError(
        f"a file that {source} names is missing",
        path=missing,
        expected="the file of this name",
        mend="copy it there, or correct the name",
    )
    return Case(name, there, None if label == missing else label, fault)


def _stem(files: list[Path]) -> str:
    stem = case_stem(files[0])
    numbered = CHANNEL.fullmatch(stem) if len(files) > 1 else None
    return numbered["name"] if numbered else stem


def _json_rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise _no_list(path, error) from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _no_list(path, f"a JSON {type(rows).__name__}")
    return rows


def _csv_rows(path: Path) -> list[dict[str, Any]]:
    text = _text(path)
    head = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(DELIMITERS, key=head.count), strict=True)
    try:
        lines = [(reader.line_num, [*map(str.strip, line)]) for line in reader if any(map(str.strip, line))]
    except (csv.Error, ValueError) as error:
        raise _no_list(path, error) from error
    names = [name.lower() for _, first in lines[:1] for name in first]
    if names.count("image") != 1:
        raise _no_list(path, f"columns {', '.join(names) or 'none'}")
    return [_csv_row(path, number, names, line) for number, line in lines[1:]]


def _csv_row(path: Path, number: int, names: list[str], line: list[str]) -> dict[str, Any]:
    row = dict(zip(names, line, strict=False))
    if "image" not in row:
        raise _no_list(path, f"line {number} ({', '.join(line)}) has no image")
    return row | {"image": [entry.strip() for entry in row["image"].split(BETWEEN_CHANNELS)]}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise _no_list(path, error) from error


def _no_list(path: Path, found: object) -> LayoutError:
    return LayoutError(
        "is no list of cases",
        path=path,
        found=found,
        expected=EXPECTED[path.suffix.lower()],
        mend="name an image a case, and its label",
    )
