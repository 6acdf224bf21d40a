"""Writing files so that a reader, or a kill, never meets half of one; and reading JSON that may be anything."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from masg_sam.errors import InputError, OutputError

PathLike = str | os.PathLike[str]
UNFINISHED = ".writing-"  # how the names of unfinished files begin; what a kill leaves does not count
MOST_TEXT = 256 * 2**20  # bytes of a JSON or XML file


@contextmanager
def moved_into_place(path: Path) -> Iterator[Path]:
    """A place to write to beside ``path``; what lies there is moved in whole when the block ends well.

    The file keeps its name while it is written, for writers that go by the suffix. When the block fails, ``path``
    is as it was and nothing is left beside it.

    Args:
        path: where the file belongs; its folder is made when missing.

    Raises:
        OutputError: the place cannot be written to.
    """
    folder: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=UNFINISHED))
        yield folder / path.name
        os.chmod(folder / path.name, _usual_mode(folder))
        os.replace(folder / path.name, path)
    except (OSError, SafetensorError) as error:
        raise OutputError(
            "cannot be written", path=path, found=error, mend="check the folder, its permissions and the space left"
        ) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def folder_moved_into_place(path: Path) -> Iterator[Path]:
    """An empty folder to fill beside ``path``, or in it where it is there; moved in when the block ends well.

    Args:
        path: where the folder belongs: a new name, or an empty folder, which may be a mount or a link to one.

    Raises:
        OutputError: something is there, or the place cannot be written to.
    """
    path, folder = Path(os.path.realpath(path)), None
    try:
        there = os.path.lexists(path)
        if there and (not path.is_dir() or any(not item.name.startswith(UNFINISHED) for item in path.iterdir())):
            raise OutputError("not an empty folder", path=path, mend="name a new folder, or delete this one")
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=path if there else path.parent, prefix=UNFINISHED))
        (folder / path.name).mkdir()
        yield folder / path.name
        for item in sorted((folder / path.name).iterdir(), key=Path.is_file) if there else [folder / path.name]:
            os.replace(item, path / item.name if there else path)  # what describes the folders comes last
    except OSError as error:
        raise OutputError(
            "cannot be written", path=path, found=error, mend="check the folder, its permissions and the space left"
        ) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, line ends as they are, moved into place whole."""
    with moved_into_place(path) as place:
        place.write_text(text, encoding="utf-8", newline="")


def read_json(path: Path, kind: type[InputError] = InputError, mend: str = "mend or rewrite it") -> dict[str, Any]:
    """A file of one JSON object, with or without a byte order mark.

    Args:
        path: the file.
        kind: of the error.
        mend: what the user can do about a damaged one.

    Raises:
        InputError: of the kind asked for, if it is none.
    """
    refuse_large(path, kind)
    try:
        facts = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise kind("cannot be read as JSON", path=path, found=error, mend=mend) from error
    if not isinstance(facts, dict):
        raise kind("is not a JSON object", path=path, found=type(facts).__name__, expected="{...}", mend=mend)
    return facts


def refuse_large(path: Path, kind: type[InputError] = InputError) -> None:
    """Refuse a JSON or XML file that is larger than can be meant.

    Raises:
        InputError: of the kind asked for, if it is.
    """
    if path.is_file() and path.stat().st_size > MOST_TEXT:
        found, expected = f"{path.stat().st_size} bytes", f"at most {MOST_TEXT}"
        raise kind("larger than can be meant", path=path, found=found, expected=expected, mend="split it")


def _usual_mode(folder: Path) -> int:
    """The permissions a new file gets here; some writers make theirs private."""
    probe = folder / ".mode"
    probe.touch()
    return probe.stat().st_mode & 0o777
