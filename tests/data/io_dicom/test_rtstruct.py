"""RTSTRUCT as it is written, filled by another library on each slice, and read as other tools write it."""

from __future__ import annotations

from pathlib import Path

import dicom_files
import numpy as np
import pytest
from dicom_marked import NAMES, STACKS, by_slice, check, errors, image_of, marked
from PIL import Image, ImageDraw
from pydicom import dcmread
from pydicom.dataset import Dataset

from masg_sam.data.io import label_on_grid, read_image, read_label, write_label
from masg_sam.errors import GeometryError

FINE = 16  # parts of a voxel that the other library fills


def filled(file: Dataset, number: int, sources: dict[str, Dataset]) -> dict[str, np.ndarray]:
    """A region on each image, filled by Pillow on a finer grid, by the image's own position, directions, spacing."""
    found = {}
    (region,) = (one for one in file.ROIContourSequence if one.ReferencedROINumber == number)
    for contour in region.get("ContourSequence", []):
        (image,) = contour.ContourImageSequence
        source = sources[image_of(image)]
        assert contour.ContourGeometricType == "CLOSED_PLANAR"
        offset = np.array(contour.ContourData, float).reshape(-1, 3) - np.array(source.ImagePositionPatient, float)
        right, down = np.array(source.ImageOrientationPatient, float).reshape(2, 3)
        assert len(offset) == contour.NumberOfContourPoints
        assert np.abs(offset @ np.cross(right, down)).max() < 1e-3  # in the plane of the image it names
        points = np.stack([offset @ right / source.PixelSpacing[1], offset @ down / source.PixelSpacing[0]], axis=1)
        canvas = Image.new("1", (source.Columns * FINE, source.Rows * FINE))
        ImageDraw.Draw(canvas).polygon([tuple(point) for point in (points + 0.5) * FINE], fill=1)
        mask = found.setdefault(image_of(image), np.zeros((source.Rows, source.Columns), bool))
        mask |= np.asarray(canvas)[FINE // 2 :: FINE, FINE // 2 :: FINE]
    return found


@pytest.mark.parametrize("kind", STACKS)
def test_the_contours_enclose_the_mask_on_each_slice(kind: str, tmp_path: Path) -> None:
    volume, mask = marked(tmp_path / "scan", kind)
    path = write_label(mask, volume, tmp_path / "a.rtstruct.dcm", NAMES)
    file, expected = dcmread(path), by_slice(volume, mask)
    sources = {str(one.SOPInstanceUID): one for one in map(dcmread, (tmp_path / "scan").iterdir())}
    for number, value in enumerate(NAMES, start=1):
        found = filled(file, number, sources)
        for uid, pixels in expected.items():
            assert np.array_equal(found.get(uid, np.zeros(pixels.shape, bool)), pixels == value)
    again = label_on_grid(volume, read_label(path, volume, NAMES))
    assert np.array_equal(again.data[0], mask)
    assert np.array_equal(read_label(path, None, NAMES).data[0], mask)


def test_what_it_says_of_itself(tmp_path: Path) -> None:
    volume, mask = marked(tmp_path / "scan")
    file = dcmread(write_label(mask, volume, tmp_path / "a.rtstruct.dcm", NAMES))
    source = dcmread(next((tmp_path / "scan").iterdir()))
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "StudyDate"):
        assert file[keyword].value == source[keyword].value
    (frame,) = file.ReferencedFrameOfReferenceSequence
    (study,) = frame.RTReferencedStudySequence
    (referenced,) = study.RTReferencedSeriesSequence
    assert frame.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert study.ReferencedSOPInstanceUID == source.StudyInstanceUID
    assert referenced.SeriesInstanceUID == source.SeriesInstanceUID != file.SeriesInstanceUID
    assert {image_of(item) for item in referenced.ContourImageSequence} == set(by_slice(volume, mask))
    regions = file.StructureSetROISequence
    assert [(one.ROINumber, one.ROIName) for one in regions] == list(enumerate(NAMES.values(), start=1))
    assert {one.ReferencedFrameOfReferenceUID for one in regions} == {source.FrameOfReferenceUID}
    assert list(file.ROIContourSequence[0].ROIDisplayColor) == [230, 159, 0]
    assert "ContourSequence" not in file.ROIContourSequence[2]  # nothing was found of it
    assert [one.ReferencedROINumber for one in file.RTROIObservationsSequence] == [1, 2, 3]


@pytest.mark.parametrize("tool", ["dciodvfy", "dcmdump"])
@pytest.mark.parametrize("found", [True, False])
def test_validators_have_nothing_against_it(tool: str, found: bool, tmp_path: Path) -> None:
    volume, mask = marked(tmp_path / "scan", "oblique")
    path = write_label(mask * np.uint8(found), volume, tmp_path / "a.rtstruct.dcm", NAMES)
    assert not errors(check(tool, path))
    assert read_label(path, volume).data.any() == found


def test_a_file_of_many_frames_is_referred_to_by_frame(tmp_path: Path) -> None:
    """Its frames lie in the reverse order of their positions: our first slice is its last frame."""
    file = dicom_files.enhanced(dicom_files.voxels((4, 6, 7)), [1, 1, 1, 1])
    volume = read_image(dicom_files.save(file, tmp_path / "scan.dcm"))
    mask = np.zeros(volume.shape, np.uint8)
    mask[0, 2:4, 2:4] = 1
    path = write_label(mask, volume, tmp_path / "a.rtstruct.dcm", {1: "Liver"})
    (contour,) = dcmread(path).ROIContourSequence[0].ContourSequence
    (image,) = contour.ContourImageSequence
    assert image.ReferencedFrameNumber == 4 and image.ReferencedSOPInstanceUID == file.SOPInstanceUID
    assert set(contour.ContourData[2::3]) == {21.0}  # 30 - 3 * 3 mm
    assert np.array_equal(read_label(path, volume).data[0], mask)


def contour(points: list[tuple[float, float, float]], kind: str = "CLOSED_PLANAR") -> Dataset:
    item = Dataset()
    item.ContourGeometricType, item.NumberOfContourPoints = kind, len(points)
    item.ContourData = [value for point in points for value in point]
    return item


def square(low: float, high: float, z: float = 30.0) -> list[tuple[float, float, float]]:
    """On the axial series, from voxel ``low`` to ``high`` in columns and rows."""
    columns, rows = (-10 + 0.75 * v for v in (low, high)), (20 + 0.5 * v for v in (low, high))
    (left, right), (top, bottom) = columns, rows
    return [(left, top, z), (right, top, z), (right, bottom, z), (left, bottom, z)]


def drawn(folder: Path, *contours: Dataset) -> Path:
    """A structure set of one region, as another tool might have written it."""
    volume, mask = marked(folder / "scan")
    path = write_label(mask, volume, folder / "a.rtstruct.dcm", {1: "Liver"})
    file = dcmread(path)
    file.ROIContourSequence[0].ContourSequence = list(contours)
    file.save_as(path)
    return path


def test_holes_of_other_tools_are_contours_inside_contours(tmp_path: Path) -> None:
    path = drawn(
        tmp_path,
        contour(square(0.5, 8.5), "CLOSEDPLANAR_XOR"),
        contour(square(2.5, 5.5), "CLOSEDPLANAR_XOR"),
        contour([(0.0, 21.0, 30.0)], "POINT"),
        contour(square(8.5, 9.5, 32.5)[:2], "OPEN_PLANAR"),
    )
    expected = np.zeros((5, 12, 14), np.uint8)
    expected[0, 1:9, 1:9] = 1
    expected[0, 3:6, 3:6] = 0
    assert np.array_equal(read_label(path).data[0], expected)


@pytest.mark.parametrize("z", [31.25, 60.0])
def test_contours_between_or_beside_the_slices_are_refused(z: float, tmp_path: Path) -> None:
    path = drawn(tmp_path, contour(square(0.5, 8.5, z)))
    with pytest.raises(GeometryError, match="lies on no slice"):
        read_label(path)
