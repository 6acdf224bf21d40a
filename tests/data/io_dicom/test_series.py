"""Which series there are in folders, files and archives, and which one is meant."""

from __future__ import annotations

import gc
import io
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from dicom_files import dataset, enhanced, picture, save, slices, voxels, write_series
from pydicom.data import get_testdata_file

from masg_sam.data.io import case_stem, read_image
from masg_sam.data.io.dicom import find_series, source_datasets
from masg_sam.data.io.dicom import place as archives
from masg_sam.errors import ImageError


def two_series(folder: Path) -> Path:
    """A CT of five slices and an MR of three, in folders of their own, among files that are no images."""
    mr = {"Modality": "MR", "SeriesInstanceUID": "1.2.840.77", "SeriesNumber": 9, "SeriesDescription": "T2 tra"}
    ct = {"SeriesInstanceUID": "1.2.840.12", "SeriesNumber": 10, "SeriesDescription": "thorax"}
    write_series(folder / "a", slices(voxels(), **ct))
    write_series(folder / "b" / "deep", slices(voxels((3, 6, 7)), **mr))
    for name in ("liver_1frame.dcm", "rtdose.dcm", "test-SR.dcm", "rtplan.dcm"):
        shutil.copy(get_testdata_file(name), folder / "b")
    (folder / "README").write_text("no image")
    (folder / "a" / "notes.pdf").write_bytes(b"%PDF" + b"\0" * 300)
    shutil.copy(folder / "a" / "IM0000", folder / ".hidden")
    save(dataset(np.zeros((2, 2), np.uint8), SeriesInstanceUID="9"), folder / "DICOMDIR")
    return folder


def test_only_image_series_are_found_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    mr, ct = find_series(two_series(tmp_path))
    assert (mr.uid, mr.modality, mr.description, mr.number) == ("1.2.840.77", "MR", "T2 tra", 1)
    assert (ct.uid, ct.modality, ct.description, ct.shape) == ("1.2.840.12", "CT", "thorax", (5, 6, 7))
    assert len(mr.files) == 3 and {file.parent for file in mr.files} == {tmp_path / "b" / "deep"}


def test_files_are_in_slice_order_whatever_their_names_and_numbers_say(tmp_path: Path) -> None:
    (series,) = find_series(write_series(tmp_path, slices(voxels())))
    assert [header.ImagePositionPatient[2] for header in series.headers] == [30, 32.5, 35, 37.5, 40]
    assert [file.name for file in series.files] != sorted(file.name for file in series.files)
    positions = [file.ImagePositionPatient[2] for file in source_datasets(read_image(tmp_path))]
    assert positions == [30, 32.5, 35, 37.5, 40]


def test_several_series_are_listed_with_how_to_choose(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="2 image series where one is expected") as caught:
        read_image(two_series(tmp_path))
    assert "1: MR, T2 tra, 3 images of 6 x 7, 1.2.840.77" in caught.value.found
    assert "2: CT, thorax, 5 images of 6 x 7, 1.2.840.12" in caught.value.found
    assert f"{tmp_path}#1" in caught.value.mend


@pytest.mark.parametrize(("choice", "slices_there"), [("1", 3), ("2", 5), ("77", 3), ("0.12", 5), ("1.2.840.77", 3)])
def test_choosing_by_number_or_end_of_the_identifier(tmp_path: Path, choice: str, slices_there: int) -> None:
    two_series(tmp_path / "study")
    path = tmp_path / f"study#{choice}"
    volume = read_image(path)
    assert volume.shape == (slices_there, 6, 7) and volume.path == path
    assert case_stem(path) == f"study_{choice}"


@pytest.mark.parametrize(("choice", "problem"), [("3", "no image series for"), ("1.9", "no image series for")])
def test_a_choice_that_fits_nothing(tmp_path: Path, choice: str, problem: str) -> None:
    two_series(tmp_path / "study")
    with pytest.raises(ImageError, match=problem) as caught:
        read_image(tmp_path / f"study#{choice}")
    assert caught.value.found.count("\n") == 2


def test_a_choice_that_fits_several(tmp_path: Path) -> None:
    for number in (1, 2):
        write_series(tmp_path / "s" / str(number), slices(voxels(), SeriesInstanceUID=f"1.{number}.55"))
    with pytest.raises(ImageError, match="2 image series for the choice 5"):
        read_image(tmp_path / "s#5")


def test_a_name_with_the_mark_is_a_name_where_it_exists(tmp_path: Path) -> None:
    write_series(tmp_path / "s#1", slices(voxels()))
    assert read_image(tmp_path / "s#1").shape == (5, 6, 7) and case_stem(tmp_path / "s#1") == "s#1"


def test_a_single_file_with_and_without_a_suffix(tmp_path: Path) -> None:
    for name in ("a.dcm", "A.DCM", "IM0001", "1.2.840.5"):
        path = save(enhanced(voxels((2, 3, 4)), (1, 1)), tmp_path / name)
        assert read_image(path).shape == (2, 3, 4)
    assert [case_stem(tmp_path / name) for name in ("a.dcm", "IM0001", "1.2.840.5")] == ["a", "IM0001", "1.2.840.5"]


def test_folders_and_files_without_images(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.dcm").write_text("no DICOM")
    shutil.copy(get_testdata_file("test-SR.dcm"), tmp_path / "report.dcm")
    for name, problem in (
        ("empty", "without DICOM images"),
        ("text.dcm", "not a DICOM"),
        ("report.dcm", "no DICOM images"),
    ):
        with pytest.raises(ImageError, match=problem) as caught:
            read_image(tmp_path / name)
        assert caught.value.path == tmp_path / name


def test_a_file_that_is_deflated_as_a_whole_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="compressed as a whole"):
        read_image(Path(get_testdata_file("image_dfl.dcm")))


# --- archives --------------------------------------------------------------------------------------------------


def packed(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


def test_an_archive_lives_as_long_as_its_volume(tmp_path: Path) -> None:
    stack = voxels()
    write_series(tmp_path / "s" / "study one", slices(stack))
    (tmp_path / "s" / "autorun.exe").write_bytes(b"MZ" * 100)
    volume = read_image(packed(tmp_path / "s.zip", tmp_path / "s"))
    np.testing.assert_array_equal(volume.data[0], stack - 1024.0)
    root = volume.geometry.header.place.root
    assert len(source_datasets(volume)) == 5 and volume.path == tmp_path / "s.zip"
    assert not list(root.rglob("*.exe"))
    del volume
    gc.collect()
    assert not root.exists()


def test_choosing_within_an_archive_and_naming_its_files(tmp_path: Path) -> None:
    two_series(tmp_path / "s")
    archive = packed(tmp_path / "s.zip", tmp_path / "s")
    with pytest.raises(ImageError, match="2 image series"):
        read_image(archive)
    assert read_image(tmp_path / "s.zip#77").shape == (3, 6, 7)
    broken = slices(voxels())
    save(broken[2], tmp_path / "t" / "c").write_bytes((tmp_path / "t" / "c").read_bytes()[:-20])
    with pytest.raises(ImageError, match=r"t\.zip/c") as caught:
        read_image(packed(tmp_path / "t.zip", tmp_path / "t"))
    assert caught.value.path == tmp_path / "t.zip" / "c"


@pytest.mark.parametrize("name", ["../evil.dcm", "/tmp/evil.dcm", "a/../../evil.dcm", "..\\evil.dcm", "C:\\evil.dcm"])
def test_an_archive_that_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    content = save(slices(voxels((1, 3, 4)))[0], tmp_path / "ok").read_bytes()
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("ok", content)
        archive.writestr(name, content)
    with pytest.raises(ImageError, match="leads out of its folder"):
        read_image(tmp_path / "evil.zip")
    assert not list(tmp_path.parent.glob("evil.dcm"))


def bomb(path: Path, claimed: int | None = None) -> Path:
    """A DICOM file of zeros; the archive's list may claim another size than it has."""
    content = b"\0" * 128 + b"DICM" + b"\0" * 3_000_000
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", content)
        archive.writestr("b", content)
    if claimed is not None:
        data = path.read_bytes()
        path.write_bytes(data.replace(len(content).to_bytes(4, "little"), claimed.to_bytes(4, "little")))
    return path


def test_an_archive_that_claims_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match="more than can be meant"):
        read_image(bomb(tmp_path / "a.zip", 2**31 + 1))
    monkeypatch.setattr(archives, "MOST_BYTES", 2_000_000)
    with pytest.raises(ImageError, match="more than can be meant"):
        read_image(bomb(tmp_path / "b.zip"))
    monkeypatch.setattr(archives, "MOST_ENTRIES", 0)
    with pytest.raises(ImageError, match="more than can be meant"):
        read_image(bomb(tmp_path / "c.zip", 200))


def test_an_archive_that_holds_more_than_it_claims(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be unpacked"):
        read_image(bomb(tmp_path / "a.zip", 1000))
    with pytest.raises(zipfile.BadZipFile, match="larger than the archive claims"):
        archives._copy(io.BytesIO(b"123456"), io.BytesIO(), 5)


def test_encrypted_double_and_damaged_archives(tmp_path: Path) -> None:
    content = save(slices(voxels((1, 3, 4)))[0], tmp_path / "ok").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", content)
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[6] |= 1  # of the file's own header
    data[data.index(b"PK\x01\x02") + 8] |= 1  # of the list of contents
    (tmp_path / "locked.zip").write_bytes(data)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "double.zip", "w") as archive:
        archive.writestr("a", content)
        archive.writestr("a", content)
    (tmp_path / "half.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:-40])
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("a.txt", "text")
    for name, problem in (
        ("locked", "encrypted"),
        ("double", "two files of one name"),
        ("half", "cannot be unpacked"),
        ("none", "no DICOM images"),
    ):
        with pytest.raises(ImageError, match=problem) as caught:
            read_image(tmp_path / f"{name}.zip")
        assert caught.value.path == tmp_path / f"{name}.zip"


def test_a_picture_in_an_archive(tmp_path: Path) -> None:
    save(picture(np.arange(12, dtype=np.uint8).reshape(3, 4)), tmp_path / "s" / "x")
    volume = read_image(packed(tmp_path / "s.zip", tmp_path / "s"))
    assert volume.is_picture and volume.shape == (1, 3, 4)


@pytest.mark.parametrize("length", [300, 500, 700])
def test_a_slice_that_ends_in_its_header_is_not_left_out_in_silence(tmp_path: Path, length: int) -> None:
    write_series(tmp_path, slices(voxels()), shuffled=False)
    last = tmp_path / "IM0004"
    last.write_bytes(last.read_bytes()[:length])
    with pytest.raises(ImageError, match="IM0004"):
        read_image(tmp_path)


@pytest.mark.parametrize("length", [0, 100])
def test_a_slice_without_a_header_is_not_left_out_in_silence(tmp_path: Path, length: int) -> None:
    write_series(tmp_path, slices(voxels()))
    last = sorted(tmp_path.iterdir())[-1]
    last.with_suffix(".dcm").write_bytes(last.read_bytes()[:length])
    last.unlink()
    with pytest.raises(ImageError, match=f"{last.name}.dcm: cannot be read"):
        read_image(tmp_path)


def test_a_pipe_is_no_slice(tmp_path: Path) -> None:
    write_series(tmp_path, slices(voxels()))
    os.mkfifo(tmp_path / "pipe.dcm")
    assert read_image(tmp_path).shape == (5, 6, 7)


def test_nor_is_such_a_slice_left_out_of_an_archive(tmp_path: Path) -> None:
    write_series(tmp_path / "a", slices(voxels()))
    (tmp_path / "a" / "cut.dcm").write_bytes(b"\0" * 40)
    with pytest.raises(ImageError, match=r"cut\.dcm"):
        read_image(packed(tmp_path / "a.zip", tmp_path / "a"))
