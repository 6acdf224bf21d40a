"""DICOM-SEG as it is written, read by highdicom, by dcmqi, by its bits, and validated by others' tools."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import dicom_files
import highdicom as hd
import numpy as np
import pytest
from dicom_marked import NAMES, STACKS, by_slice, check, errors, image_of, marked
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

import masg_sam
from masg_sam.data.io import label_on_grid, mask_suffix, read_image, read_label, write_label
from masg_sam.errors import GeometryError, OutputError

LIVER = hd.sr.CodedConcept("10200004", "SCT", "Liver")


def frames_by_bits(path: Path) -> list[tuple[int, str, np.ndarray]]:
    """Segment, image and voxels of each frame, unpacked by hand: the lowest bit of a byte comes first."""
    file = dcmread(path)
    size = file.Rows * file.Columns
    bits = [byte >> place & 1 for byte in file.PixelData for place in range(8)]
    found = []
    for number, group in enumerate(file.PerFrameFunctionalGroupsSequence):
        segment = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        source = image_of(group.DerivationImageSequence[0].SourceImageSequence[0])
        pixels = np.array(bits[number * size : (number + 1) * size]).reshape(file.Rows, file.Columns)
        found.append((segment, source, pixels))
    return found


@pytest.mark.parametrize("kind", STACKS)
def test_every_reader_finds_the_mask_on_the_slices_of_the_series(kind: str, tmp_path: Path) -> None:
    volume, mask = marked(tmp_path / "scan", kind)
    path = write_label(mask, volume, tmp_path / f"a{mask_suffix(volume)}", NAMES)
    assert path.name == "a.seg.dcm"
    expected = by_slice(volume, mask)

    for segment, source, pixels in frames_by_bits(path):
        assert np.array_equal(pixels, expected[source] == (1, 3, 4)[segment - 1])
    assert sum(pixels.sum() for *_, pixels in frames_by_bits(path)) == (mask > 0).sum()

    segmentation = hd.seg.segread(path)
    found = segmentation.get_pixels_by_source_instance(
        list(expected), combine_segments=True, assert_missing_frames_are_empty=True
    )
    assert np.array_equal(np.array([0, 1, 3, 4])[found], np.stack(list(expected.values())))

    again = label_on_grid(volume, read_label(path, volume, NAMES))
    assert np.array_equal(again.data[0], mask) and again.path == path
    assert np.array_equal(read_label(path, None, NAMES).data[0], mask)  # the series is found beside it


def test_what_it_says_of_itself(tmp_path: Path) -> None:
    volume, mask = marked(tmp_path / "scan")
    file = dcmread(write_label(mask, volume, tmp_path / "a.seg.dcm", NAMES))
    source = dcmread(next((tmp_path / "scan").iterdir()))
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "StudyDate"):
        assert file[keyword].value == source[keyword].value
    assert file.SeriesInstanceUID != source.SeriesInstanceUID and file.SegmentationType == "BINARY"
    (referenced,) = file.ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == source.SeriesInstanceUID
    assert {image_of(item) for item in referenced.ReferencedInstanceSequence} == set(by_slice(volume, mask))
    liver, kidney, other = file.SegmentSequence
    assert [item.SegmentLabel for item in (liver, kidney, other)] == list(NAMES.values())
    assert liver.SegmentAlgorithmName == "masg-sam" and liver.SegmentAlgorithmType == "AUTOMATIC"
    assert liver.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == masg_sam.__version__
    assert liver.SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    (kind,) = kidney.SegmentedPropertyTypeCodeSequence
    assert kind.CodeValue == "64033007" and kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert other.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == "Tissue"
    # #E69F00 in CIELab is 70.6, 16.5, 74.7 by hand; DICOM stores L of 100 and a, b of -128..127 in 16 bits.
    stored = np.array(liver.RecommendedDisplayCIELabValue)
    shown = stored / 65535 * (100, 255, 255) - (0, 128, 128)
    np.testing.assert_allclose(shown, (70.6, 16.5, 74.7), atol=0.1)


def test_dcmqi_reads_the_same_voxels(tmp_path: Path) -> None:
    tool = shutil.which("segimage2itkimage", path=str(Path(sys.executable).parent))
    if tool is None:
        pytest.skip("dcmqi is not installed (pip install dcmqi)")
    import SimpleITK as sitk

    volume, mask = marked(tmp_path / "scan", "oblique")
    path = write_label(mask, volume, tmp_path / "a.seg.dcm", {1: "Liver", 3: "left kidney"})
    out = tmp_path / "out"
    out.mkdir()
    call = [tool, "--inputDICOM", str(path), "--outputDirectory", str(out), "--outputType", "nrrd"]
    result = subprocess.run(call, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    about = json.loads((out / "meta.json").read_text())
    assert [one["SegmentLabel"] for (one,) in about["segmentAttributes"]] == ["Liver", "left kidney"]
    for number, value in ((1, 1), (2, 3)):
        theirs = sitk.ReadImage(str(out / f"{number}.nrrd"))
        places = np.argwhere(sitk.GetArrayViewFromImage(theirs))  # z, y, x of their own, maybe smaller, grid
        mm = np.array([theirs.TransformIndexToPhysicalPoint([int(v) for v in place[::-1]]) for place in places])
        ours = np.argwhere(mask == value)[:, ::-1] @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        assert len(mm) == len(ours)
        np.testing.assert_allclose(np.sort(mm.round(2), axis=0), np.sort(ours.round(2), axis=0), atol=0.011)


@pytest.mark.parametrize("tool", ["dciodvfy", "dcmdump"])
@pytest.mark.parametrize("filled", [True, False])
def test_validators_have_nothing_against_it(tool: str, filled: bool, tmp_path: Path) -> None:
    volume, mask = marked(tmp_path / "scan", "oblique")
    path = write_label(mask * np.uint8(filled), volume, tmp_path / "a.seg.dcm", NAMES)
    assert not errors(check(tool, path))


def test_nothing_found_is_a_segmentation_of_empty_segments(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    volume, mask = marked(tmp_path / "scan")
    with caplog.at_level(logging.WARNING):
        path = write_label(np.zeros_like(mask), volume, tmp_path / "a.seg.dcm", NAMES)
    assert "no class was found" in caplog.text
    assert [item.SegmentLabel for item in dcmread(path).SegmentSequence] == list(NAMES.values())
    assert not any(pixels.any() for *_, pixels in frames_by_bits(path)) and not read_label(path, volume).data.any()


def test_a_file_of_many_frames(tmp_path: Path) -> None:
    """Its frames lie in the reverse order of their positions."""
    stack = dicom_files.voxels((4, 6, 7))
    file = dicom_files.enhanced(stack, [1, 1, 1, 1], FrameOfReferenceUID="1.2.9")
    volume = read_image(dicom_files.save(file, tmp_path / "scan.dcm"))
    mask = (volume.data[0] > np.median(volume.data)).astype(np.uint8)
    path = write_label(mask, volume, tmp_path / "a.seg.dcm", {1: "Liver"})
    found = hd.seg.segread(path).get_pixels_by_source_frame(
        str(file.SOPInstanceUID), [1, 2, 3, 4], combine_segments=True, assert_missing_frames_are_empty=True
    )
    assert np.array_equal(found, stack - 1000 > np.median(volume.data))
    assert np.array_equal(read_label(path, volume).data[0], mask)


def test_images_without_a_frame_of_reference_are_refused(tmp_path: Path) -> None:
    volume = read_image(
        dicom_files.write_series(tmp_path / "scan", dicom_files.slices(dicom_files.voxels(), FrameOfReferenceUID=None))
    )
    with pytest.raises(OutputError, match="--format nifti"):
        write_label(np.ones(volume.shape, np.uint8), volume, tmp_path / "out" / "a.seg.dcm", {1: "Liver"})
    assert not list((tmp_path / "out").iterdir())


def rewritten(path: Path, **changes: object) -> Path:
    file = dcmread(path)
    for keyword, value in changes.items():
        setattr(file, keyword, value)
    file.save_as(path)
    return path


def test_segmentations_of_other_kinds(tmp_path: Path) -> None:
    """Fractional ones, from half of the most on; and label maps, whose frames hold all segments."""
    volume, mask = marked(tmp_path / "scan")
    path = write_label(mask, volume, tmp_path / "a.seg.dcm", {1: "Liver"})
    pixels = dcmread(path).pixel_array
    fractions = np.where(pixels > 0, 128, 127).astype(np.uint8)
    bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelData": fractions.tobytes()}
    rewritten(path, SegmentationType="FRACTIONAL", MaximumFractionalValue=255, **bits)
    assert np.array_equal(read_label(path, volume).data[0], mask == 1)
    sources = [dcmread(file) for file in sorted((tmp_path / "scan").iterdir())]
    expected = by_slice(volume, mask)
    labels = np.stack([expected[str(one.SOPInstanceUID)] for one in sources])
    segments = [
        hd.seg.SegmentDescription(n, name, hd.sr.CodedConcept("85756007", "SCT", "Tissue"), LIVER, "MANUAL")
        for n, name in ((1, "Liver"), (3, "left kidney"))
    ]
    told = ("masg", "masg", "1", "0")
    hd.seg.Segmentation(sources, labels, "LABELMAP", segments, generate_uid(), 1, generate_uid(), 1, *told).save_as(
        tmp_path / "b.seg.dcm"
    )
    assert np.array_equal(read_label(tmp_path / "b.seg.dcm", volume).data[0], mask)


def test_a_segmentation_of_another_place_is_refused(tmp_path: Path) -> None:
    volume, mask = marked(tmp_path / "scan")
    path = write_label(mask, volume, tmp_path / "a.seg.dcm", NAMES)
    other, _ = marked(tmp_path / "other", FrameOfReferenceUID="1.2.8")
    with pytest.raises(GeometryError, match="drawn on other images"):
        read_label(path, other)
    moved = dicom_files.slices(dicom_files.voxels((5, 12, 14)), origin=(-10.2, 20.0, 30.0), FrameOfReferenceUID="1.2.9")
    with pytest.raises(GeometryError, match="does not lie on the voxels"):
        read_label(path, read_image(dicom_files.write_series(tmp_path / "moved", moved)))
    fewer = dicom_files.slices(dicom_files.voxels((3, 12, 14)), FrameOfReferenceUID="1.2.9")
    with pytest.raises(GeometryError, match="does not lie on the voxels"):
        read_label(path, read_image(dicom_files.write_series(tmp_path / "fewer", fewer)))


def test_damage_is_told(tmp_path: Path) -> None:
    volume, mask = marked(tmp_path / "scan")
    path = write_label(mask, volume, tmp_path / "a.seg.dcm", NAMES)
    frames = dcmread(path).PerFrameFunctionalGroupsSequence
    for group in frames:
        group.PlanePositionSequence = [Dataset()]
    rewritten(path, PerFrameFunctionalGroupsSequence=frames)
    with pytest.raises(GeometryError, match="does not say where it lies"):
        read_label(path, volume)
