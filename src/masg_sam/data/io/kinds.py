"""What kind of image a path is: by its ending, and DICOM, which has any ending or none, by its mark."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

SEGMENTATION_SUFFIX, STRUCTURES_SUFFIX = ".seg.dcm", ".rtstruct.dcm"  # of masks that we write
SLICER_SUFFIX = ".seg.nrrd"  # of 3D Slicer's segmentations
SUFFIXES = {
    SLICER_SUFFIX: "itk",
    ".nii.gz": "nifti",
    ".nii": "nifti",
    ".nrrd": "itk",
    ".nhdr": "itk",
    ".mha": "itk",
    ".mhd": "itk",
    ".png": "picture",
    ".jpg": "picture",
    ".jpeg": "picture",
    ".bmp": "picture",
    ".tif": "picture",
    ".tiff": "picture",
    SEGMENTATION_SUFFIX: "dicom",
    STRUCTURES_SUFFIX: "dicom",
    ".dcm": "dicom",
    ".zip": "dicom",
}
READABLE_SUFFIXES = tuple(SUFFIXES)
CHOICE = "#"  # FOLDER#2 is the second series of a folder
DICOM_PREFIX, DICOM_MARK = 132, b"DICM"  # bytes of a preamble with the mark at its end (DICOM PS3.10, section 7.1)
DICOM_INDEX = "DICOMDIR"


def suffix_of(path: Path) -> str | None:
    """The known ending of a file name, ``.nii.gz`` as one; ``None`` if there is none."""
    name = path.name.lower()
    return next((suffix for suffix in READABLE_SUFFIXES if name.endswith(suffix)), None)


def case_stem(path: Path) -> str:
    """File name without its known ending; a folder's name, and that of a DICOM file without one, as it is."""
    base, choice = split_choice(path)
    if choice is not None:
        return f"{case_stem(base)}_{choice}"
    suffix, folder = suffix_of(path), os.path.isdir(path)  # which says no of a name that no file can have
    if suffix and not folder:
        return path.name[: -len(suffix)]
    return path.name if folder or is_dicom_file(path) else path.stem


def format_of(path: Path) -> str | None:
    """The reader-writer that a path needs; ``None`` if it is none of ours."""
    if split_choice(path)[1] is not None or path.is_dir():
        return "dicom"
    suffix = suffix_of(path)
    if suffix is not None:
        return SUFFIXES[suffix]
    return "dicom" if is_dicom_file(path) else None


def split_choice(path: Path) -> tuple[Path, str | None]:
    """``FOLDER#2`` as folder and ``2``; a path that exists as it is chooses nothing."""
    name, mark, choice = path.name.rpartition(CHOICE)
    base = path.with_name(name) if name else path
    chooses = mark and name and choice and not os.path.exists(path) and os.path.exists(base)
    return (base, choice) if chooses else (path, None)


def is_there(path: Path) -> bool:
    """Whether a path, or what it chooses from, exists; not where no file can have such a name."""
    return os.path.exists(split_choice(path)[0])


def is_dicom_file(path: Path) -> bool:
    """Whether a file begins as DICOM does; not the index of a disk, ``DICOMDIR``."""
    if path.name.upper() == DICOM_INDEX or not os.path.isfile(path):  # a pipe would never end
        return False
    try:
        with path.open("rb") as file:
            return is_dicom_mark(file.read(DICOM_PREFIX))
    except OSError:
        return False


def is_dicom_mark(start: bytes) -> bool:
    """Whether these are the first bytes of a DICOM file."""
    return start[-len(DICOM_MARK) :] == DICOM_MARK and len(start) == DICOM_PREFIX


def dicom_files(folder: Path) -> Iterator[Path]:
    """DICOM files of a folder and of those in it, with any ending or none; not hidden ones.

    What ends in ``.dcm`` is one, whatever it holds: a slice that was cut short is not to be left out unnoticed.
    """
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            suffix = suffix_of(path)
            if name.startswith(".") or SUFFIXES.get(suffix or "", "dicom") != "dicom":
                continue
            named = (suffix or "").endswith(".dcm") and (path.is_file() or not path.exists())  # a pipe would never end
            if named or is_dicom_file(path):
                yield path
