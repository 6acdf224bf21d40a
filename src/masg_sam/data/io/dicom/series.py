"""The image series of a folder, a file or an archive, and the choice of one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from masg_sam.data.io.dicom.headers import SHARED, frame_count, frame_values, is_image, read_header, reading
from masg_sam.data.io.dicom.place import Place
from masg_sam.data.io.kinds import CHOICE, is_dicom_file, split_choice
from masg_sam.errors import ImageError

SHOWN_UID = 20  # last characters of an identifier in a list


@dataclass(frozen=True)
class Series:
    """The images of one series.

    Attributes:
        uid: SeriesInstanceUID.
        modality: CT, MR, ...; empty where the files do not say.
        description: what the scanner or its operator called it; may be empty.
        files: in slice order, from the first to the last along the normal of the slices.
        number: in the list of its folder, from 1.
        shape: slices (frames of all files), rows, columns.
        path: as it was named.
        place: where the files lie; holds what was unpacked.
        headers: of the files, without voxels.
    """

    uid: str
    modality: str
    description: str
    files: tuple[Path, ...]
    number: int
    shape: tuple[int, int, int]
    path: Path
    place: Place = field(repr=False, compare=False)
    headers: tuple[Dataset, ...] = field(repr=False, compare=False)

    def __str__(self) -> str:
        """One line that tells it from the others."""
        count, rows, columns = self.shape
        uid = self.uid if len(self.uid) <= SHOWN_UID else "..." + self.uid[-SHOWN_UID:]
        about = f"{self.modality or 'no modality'}, {self.description or 'no description'}"
        return f"{self.number}: {about}, {count} images of {rows} x {columns}, {uid}"


def find_series(path: Path) -> list[Series]:
    """The image series of a folder and the folders in it, of a DICOM file, or of a ``.zip`` of such files.

    Segmentations, structure sets, doses, reports and presentation states are no image series.

    Args:
        path: with ``#2`` or ``#END-OF-UID`` behind it only the series chosen.

    Returns:
        In the order of their series numbers, numbered from 1.

    Raises:
        ImageError: no image series there, a damaged file, an archive that cannot be unpacked, or a choice that
            fits none or several.
    """
    path = Path(path)
    source, choice = split_choice(path)
    if source.is_file() and source.suffix.lower() != ".zip" and not is_dicom_file(source):
        raise _no_dicom(source)
    place = Place.of(source)
    found = _grouped(path, place, [read_header(file, place.shown(file)) for file in place.files])
    if not found:
        raise _no_series(source, len(place.files))
    return found if choice is None else [_choose(source, choice, found)]


def one_series(path: Path) -> Series:
    """The only image series there, or the one that ``FOLDER#...`` chooses.

    Raises:
        ImageError: as :func:`find_series`, or several of them; the message lists them.
    """
    found = find_series(path)
    if len(found) > 1:
        raise _not_one(path, f"{len(found)} image series where one is expected", found)
    return found[0]


def _grouped(path: Path, place: Place, headers: Sequence[Dataset]) -> list[Series]:
    groups: dict[str, list[tuple[Path, Dataset]]] = {}
    for file, header in zip(place.files, headers, strict=True):
        with reading(place.shown(file)):
            if is_image(header):
                groups.setdefault(str(header.get("SeriesInstanceUID") or ""), []).append((file, header))
    ordered = sorted(groups.items(), key=lambda item: (_number(item[1][0][1].get("SeriesNumber")), item[0]))
    return [_series(path, place, uid, number, files) for number, (uid, files) in enumerate(ordered, start=1)]


def _series(path: Path, place: Place, uid: str, number: int, files: Sequence[tuple[Path, Dataset]]) -> Series:
    ordered = _in_slice_order(files, place)
    first = ordered[0][1]
    with reading(place.shown(ordered[0][0])):
        shape = (sum(frame_count(header) for _, header in ordered), int(first.Rows), int(first.Columns))
    about = (str(first.get("Modality") or ""), str(first.get("SeriesDescription") or ""))
    paths, headers = zip(*ordered, strict=True)
    return Series(uid, *about, paths, number, shape, path, place, headers)


def separate_images(files: Sequence[Path]) -> list[Path] | None:
    """Those files of a folder that are each a whole image: a picture, or the only file of its series.

    Returns:
        The files, without those that show no patient; ``None`` where files belong together.
    """
    images, seen = [], set()
    for file in files:
        try:
            header = read_header(file, file)
        except ImageError:  # whoever reads it says why
            images.append(file)
            continue
        if not is_image(header):
            continue
        images.append(file)
        uid = header.get("SeriesInstanceUID")
        if uid in seen:
            return None
        if "ImagePositionPatient" in header or SHARED in header:
            seen.add(uid)
    return images


def _in_slice_order(files: Sequence[tuple[Path, Dataset]], place: Place) -> list[tuple[Path, Dataset]]:
    """Along the normal of the first file's slices; by instance number where they have no place."""
    along = []
    for file, header in files:
        with reading(place.shown(file)):
            at = frame_values(header, 0, "ImagePositionPatient", 3)
            turn = frame_values(files[0][1], 0, "ImageOrientationPatient", 6)
        if at is None or turn is None:
            return sorted(files, key=lambda item: (_number(item[1].get("InstanceNumber")), item[0].name))
        along.append(float(at @ np.cross(turn[:3], turn[3:])))
    return [files[i] for i in np.argsort(along, kind="stable")]


def _number(value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        return 0


def _choose(source: Path, choice: str, found: Sequence[Series]) -> Series:
    """By number, else by the end of the identifier."""
    fits = [series for series in found if str(series.number) == choice]
    fits = fits or [series for series in found if series.uid.endswith(choice)]
    if len(fits) != 1:
        raise _not_one(source, f"{len(fits) or 'no'} image series for the choice {choice}", fits or found)
    return fits[0]


def _not_one(path: Path, problem: str, found: Sequence[Series]) -> ImageError:
    return ImageError(
        problem,
        path=path,
        found="".join(f"\n    {series}" for series in found),
        expected="one series",
        mend=f"choose by number or by the end of the identifier: {path}{CHOICE}{found[0].number}",
    )


def _no_dicom(path: Path) -> ImageError:
    return ImageError(
        "not a DICOM file",
        path=path,
        found=f"{path.stat().st_size} bytes without the mark DICM after the preamble",
        expected="a file as DICOM PS3.10 has it",
        mend="the file is damaged or something else: copy or export it again",
    )


def _no_series(path: Path, files: int) -> ImageError:
    return ImageError(
        "a folder without DICOM images" if path.is_dir() else "no DICOM images in it",
        path=path,
        found=f"{files} DICOM files without images" if files else "no DICOM file",
        expected="the files of an image series",
        mend="name the folder of the series, or the image file itself",
    )
