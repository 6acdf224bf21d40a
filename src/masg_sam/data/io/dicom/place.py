"""Where the files of a DICOM input lie: in a folder, alone, or unpacked from an archive for as long as needed."""

from __future__ import annotations

import lzma
import shutil
import struct
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from masg_sam.data.io.kinds import DICOM_PREFIX, dicom_files, is_dicom_mark
from masg_sam.data.io.limits import MOST_BYTES
from masg_sam.errors import ImageError

MOST_ENTRIES = 50_000
ENCRYPTED = 0x1
CHUNK = 1 << 20
DAMAGE: tuple[type[Exception], ...] = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(OSError, EOFError, ValueError, RuntimeError, MemoryError),
)


@dataclass(frozen=True)
class Place:
    """Files of one DICOM input.

    Attributes:
        source: the folder, file or archive that was named.
        root: the folder its files lie in.
        files: the DICOM files of it.
        keep: what must live as long as the files do; they go with it.
    """

    source: Path
    root: Path
    files: tuple[Path, ...]
    keep: object = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, source: Path) -> Place:
        """Look through a folder and those in it, or unpack an archive.

        Raises:
            ImageError: an archive that is damaged, encrypted, too large, or leads out of its folder.
        """
        if source.is_dir():
            return cls(source, source, tuple(dicom_files(source)))
        if source.suffix.lower() != ".zip":
            return cls(source, source, (source,))
        folder = Unpacked()
        _unpack(source, folder.path)
        return cls(source, folder.path, tuple(dicom_files(folder.path)), folder)

    def shown(self, file: Path) -> Path:
        """The file as the user knows it."""
        return self.source / file.relative_to(self.root)


class Unpacked:
    """A temporary folder, removed when nothing refers to it any more or the program ends."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="masg-sam-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def _unpack(source: Path, folder: Path) -> None:
    """The DICOM files of an archive; whatever else it holds stays packed."""
    try:
        with zipfile.ZipFile(source) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _must_be_safe(source, entries)
            for entry in entries:
                _unpack_entry(archive, entry, folder)
    except DAMAGE as error:
        raise _refused(
            source, "cannot be unpacked", f"{type(error).__name__}: {error}", "pack or copy it again"
        ) from error


def _must_be_safe(source: Path, entries: Sequence[zipfile.ZipInfo]) -> None:
    for entry in entries:
        parts = PurePosixPath(entry.filename.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in entry.filename:
            raise _refused(source, "an archive that leads out of its folder", entry.filename, "pack it again")
        if entry.flag_bits & ENCRYPTED:
            raise _refused(source, "an encrypted archive", entry.filename, "unpack it yourself and name the folder")
    claimed = sum(entry.file_size for entry in entries)
    if claimed > MOST_BYTES or len(entries) > MOST_ENTRIES:
        found = f"{len(entries)} files of {claimed} bytes"
        raise _refused(
            source, "an archive that unpacks to more than can be meant", found, "name a folder of one series"
        )
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names):
        raise _refused(source, "an archive with two files of one name", f"{len(names)} files", "pack it again")


def _unpack_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    with archive.open(entry) as packed:
        start = packed.read(DICOM_PREFIX)
        if not (is_dicom_mark(start) or entry.filename.lower().endswith(".dcm")):
            return
        path = folder / PurePosixPath(entry.filename.replace("\\", "/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(start)
            _copy(packed, file, entry.file_size - len(start))


def _copy(packed: IO[bytes], file: IO[bytes], most: int) -> None:
    """No more than the archive's list of contents claims."""
    while chunk := packed.read(CHUNK):
        most -= len(chunk)
        if most < 0:
            raise zipfile.BadZipFile("a file is larger than the archive claims")
        file.write(chunk)


def _refused(source: Path, problem: str, found: str, mend: str) -> ImageError:
    return ImageError(problem, path=source, found=found, expected="a .zip of the files of one series", mend=mend)
