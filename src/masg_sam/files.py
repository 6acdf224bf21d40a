"""Writing files so that a reader, or a kill, never meets half of one; and reading JSON that may be anything."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError

from masg_sam.errors import InputError, OutputError, WriteError

PathLike = str | os.PathLike[str]
UNFINISHED = ".writing-"  # how the names of unfinished files begin; what a kill leaves does not count
CHECKED, PREDICTED, PICTURES = "check.json", "prediction.json", "pictures"  # in the folders of `check` and `predict`
MOST_TEXT = 256 * 2**20  # bytes of a JSON or XML file
T = TypeVar("T")


@contextmanager
def moved_into_place(path: Path) -> Iterator[Path]:
    """A place to write to beside ``path``; what lies there is moved in whole when the block ends well.

    The file keeps its name while it is written, for writers that go by the suffix. When the block fails, ``path``
    is as it was and nothing is left beside it.

    Args:
        path: where the file belongs; its folder is made when missing.

    Raises:
        WriteError: the place cannot be written to.
    """
    folder: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=UNFINISHED))
        yield folder / path.name
        os.chmod(folder / path.name, _usual_mode(folder))
        os.replace(folder / path.name, path)
    except (OSError, SafetensorError) as error:
        raise _unwritable(path, error) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def folder_moved_into_place(path: Path) -> Iterator[Path]:
    """An empty folder to fill beside ``path``, or in it where it is there; moved in when the block ends well.

    Args:
        path: where the folder belongs: a new name, or an empty folder, which may be a mount or a link to one.

    Raises:
        OutputError: something is there.
        WriteError: the place cannot be written to.
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
        raise _unwritable(path, error) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, line ends as they are, moved into place whole; what is no text as JSON escapes it."""
    with moved_into_place(path) as place:
        place.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")


def append_text(path: Path, text: str) -> None:
    """Add UTF-8 text to a file that grows, all of it or nothing; made when missing.

    Raises:
        WriteError: the place cannot be written to.
    """
    size = path.stat().st_size if path.exists() else 0
    try:
        with open(path, "ab", buffering=0) as file:
            if file.write(text.encode()) < len(text.encode()):
                os.truncate(path, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise _unwritable(path, error) from error


def must_be_folder(path: Path) -> None:
    """Refuse a place where no folder can be, before there is anything to write.

    Raises:
        OutputError: a file is there, or above it.
        WriteError: the folder, or the one that it would be made in, may not be written to.
    """
    there = next((place for place in (path, *path.absolute().parents) if os.path.lexists(place)), None)
    if there is not None and not there.is_dir():
        found, mend = "a link to nothing" if there.is_symlink() else "a file", "give --out another name"
        raise OutputError("not a folder", path=there, found=found, expected="a folder, or nothing", mend=mend)
    if there is None or not os.access(there, os.W_OK | os.X_OK):
        raise _unwritable(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(there or path)))


def read_json(path: Path, kind: type[InputError] = InputError, mend: str = "mend or rewrite it") -> dict[str, Any]:
    """A file of one JSON object, with or without a byte order mark.

    Args:
        path: the file.
        kind: of the error.
        mend: what the user can do about a damaged one.

    Raises:
        InputError: of the kind asked for; the file is missing, damaged, or holds something else.
    """
    refuse_large(path, kind)
    try:
        facts = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise kind("cannot be read as JSON", path=path, found=error, mend=mend) from error
    if not isinstance(facts, dict):
        raise kind("is not a JSON object", path=path, found=type(facts).__name__, expected="{...}", mend=mend)
    return facts


def parse(kind: type[T], values: Any) -> T:
    """Plain values, as JSON gives them, as a dataclass.

    Args:
        kind: the dataclass.
        values: of its fields, by name.

    Raises:
        ValueError: a field is missing or of another type; the message names it.
    """
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in (kind.__name__, *first["loc"]))
        raise ValueError(f"{name}: {first['msg']}") from error


def refuse_large(path: Path, kind: type[InputError] = InputError) -> None:
    """Refuse a JSON or XML file that is larger than can be meant.

    Raises:
        InputError: of the kind asked for; the file is larger.
    """
    if path.is_file() and path.stat().st_size > MOST_TEXT:
        found, expected = f"{path.stat().st_size} bytes", f"at most {MOST_TEXT}"
        raise kind("larger than can be meant", path=path, found=found, expected=expected, mend="split it")


def _unwritable(path: Path, error: Exception) -> WriteError:
    mend = "check the folder, its permissions and the space left"
    return WriteError("cannot be written", path=path, found=error, mend=mend)


def _usual_mode(folder: Path) -> int:
    """The permissions a new file gets here; some writers make theirs private."""
    probe = folder / ".mode"
    probe.touch()
    return probe.stat().st_mode & 0o777
