"""What ITK does not look at in the headers of MetaImage and NRRD: where they lead, and whether voxels unpack whole."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from masg_sam.data.io.limits import DEFLATE_RATIO, damaged
from masg_sam.errors import ImageError

MOST_HEADER = 2**16  # bytes
MOST_DIMENSIONS = 5
CHUNK = 2**22  # bytes unpacked at a time
VOXELS_IN = re.compile(rb"^(?:ElementDataFile[ \t]*=|data ?file:)([^\r\n]*)\r?\n?", re.MULTILINE | re.IGNORECASE)
DIMENSIONS = re.compile(rb"^(?:NDims[ \t]*=|dimension:)([^\r\n]*)", re.MULTILINE | re.IGNORECASE)
DEFLATED = re.compile(rb"^CompressedData[ \t]*=[ \t]*(?:true|1)", re.MULTILINE | re.IGNORECASE)
PACKED_BEYOND_DEFLATE = re.compile(rb"^encoding:[ \t]*bz", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class Voxels:
    """Where the voxels of a header lie.

    Attributes:
        path: the file itself, or the one it names in its folder.
        start: of the voxels in a MetaImage file, bytes.
        deflated: whether they are packed as MetaImage does.
        ratio: bytes that a byte of the file may unpack to; ``None`` where that is not known.
    """

    path: Path
    start: int
    deflated: bool
    ratio: float | None


def find_voxels(path: Path) -> Voxels:
    """Read what a header says of its voxels, before ITK does.

    Raises:
        ImageError: they lie outside the header's folder or in more than one file, or have no or too many dimensions.
    """
    with path.open("rb") as file:
        header = file.read(MOST_HEADER)
    count = DIMENSIONS.search(header)
    if count is None or not count[1].strip().isdigit() or not 1 <= int(count[1]) <= MOST_DIMENSIONS:
        raise ImageError(
            "cannot be read as NRRD or MetaImage",
            path=path,
            found=f"{count[1][:20].decode(errors='replace').strip() if count else 'no number of'} dimensions",
            expected=f"1 to {MOST_DIMENSIONS}",
            mend="the file is damaged, or has the wrong suffix: copy or export it again",
        )
    name, deflated = VOXELS_IN.search(header), DEFLATED.search(header) is not None
    if name is None or name[1].strip() == b"LOCAL":
        ratio = None if PACKED_BEYOND_DEFLATE.search(header) else DEFLATE_RATIO
        return Voxels(path, name.end() if name else 0, deflated, ratio)
    return Voxels(_beside(path, name[1].decode(errors="replace").strip()), 0, deflated, None)


def must_unpack(path: Path, voxels: Voxels, size: int) -> None:
    """Refuse packed voxels of MetaImage that do not unpack to their size: ITK takes them, with holes.

    Args:
        path: the header, for messages.
        voxels: where they lie.
        size: bytes of all of them.

    Raises:
        ImageError: they are damaged, or unpack to more or less than their size.
    """
    if not voxels.deflated:
        return
    unpacker, count = zlib.decompressobj(), 0
    try:
        with voxels.path.open("rb") as file:
            file.seek(voxels.start)
            while count <= size and not unpacker.eof and (rest := unpacker.unconsumed_tail or file.read(CHUNK)):
                count += len(unpacker.decompress(rest, CHUNK))
    except zlib.error as error:
        raise damaged(path, error, "NRRD or MetaImage") from error
    if count != size or not unpacker.eof:
        raise damaged(path, EOFError(f"{count} of {size} bytes unpack"), "NRRD or MetaImage")


def _beside(path: Path, name: str) -> Path:
    """The file of voxels that a header names."""
    place = None
    if not name.startswith("LIST") and "%" not in name:
        try:
            place = (path.parent / name).resolve()
            found = place.is_relative_to(path.parent.resolve()) and place.is_file() and place != path.resolve()
        except (OSError, ValueError, RuntimeError):  # a name that no file can have, links in a circle
            found = False
    if place is None or not found:
        raise ImageError(
            "voxels that lie elsewhere",
            path=path,
            found=name[:200],
            expected="one file in the header's folder",
            mend="save header and voxels in one file: .nrrd, .mha",
        )
    return place
