"""Damaged and hostile DICOM: a volume or a typed error, nothing else, and soon."""

from __future__ import annotations

import io
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from dicom_files import dataset, enhanced, picture, save, slices, voxels, write_series
from pydicom.data import get_testdata_file

from masg_sam.data.io import read_image
from masg_sam.data.layouts import find_images
from masg_sam.errors import InputError

SECONDS = 20  # far above what any takes, for a machine that is busy
BUNDLED = ("MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jpeg_gdcm.dcm")


def content(kind: str, folder: Path) -> bytes:
    """A valid file of each kind."""
    if kind in BUNDLED:
        return Path(get_testdata_file(kind)).read_bytes()
    files = {
        "slice": slices(voxels((1, 12, 10)))[0],
        "enhanced": enhanced(voxels((3, 8, 8)), (1, 1, 1)),
        "picture": picture(np.zeros((12, 10), np.uint8)),
    }
    return save(files[kind], folder / "valid").read_bytes()


def survives(path: Path) -> None:
    started = time.monotonic()
    try:
        volume = read_image(path)
    except InputError as error:
        assert error.exit_code == 2 and path.name in str(error)
    else:
        assert volume.data.ndim == 4
    assert time.monotonic() - started < SECONDS


@pytest.mark.parametrize("kind", ["slice", "enhanced", "picture", *BUNDLED])
def test_truncated_anywhere(tmp_path: Path, kind: str) -> None:
    whole, path = content(kind, tmp_path), tmp_path / "a.dcm"
    for at in np.random.default_rng(0).integers(1, len(whole), 25).tolist():
        path.write_bytes(whole[:at])
        survives(path)


@pytest.mark.parametrize("kind", ["slice", "enhanced", "picture"])
@pytest.mark.parametrize("lost", [1, 2, 60])
def test_a_file_that_lost_its_end_is_never_taken_for_a_whole_one(tmp_path: Path, kind: str, lost: int) -> None:
    (tmp_path / "a.dcm").write_bytes(content(kind, tmp_path)[:-lost])
    with pytest.raises(InputError, match=r"a\.dcm"):
        read_image(tmp_path / "a.dcm")


@pytest.mark.parametrize("kind", ["slice", "enhanced", "picture", *BUNDLED])
@pytest.mark.parametrize("seed", range(4))
def test_bytes_flipped_in_the_header(tmp_path: Path, kind: str, seed: int) -> None:
    whole, rng = content(kind, tmp_path), np.random.default_rng(seed)
    for _ in range(20):
        broken = bytearray(whole)
        for place in rng.integers(132, min(len(whole), 2500), 4):
            broken[place] = int(rng.integers(256))
        (tmp_path / "a.dcm").write_bytes(bytes(broken))
        survives(tmp_path / "a.dcm")


@pytest.mark.parametrize("seed", range(3))
def test_bytes_flipped_in_one_slice_of_a_series(tmp_path: Path, seed: int) -> None:
    folder = write_series(tmp_path / "s", slices(voxels()))
    path, rng = folder / "IM0002", np.random.default_rng(seed)
    whole = path.read_bytes()
    for _ in range(20):
        broken = bytearray(whole)
        broken[int(rng.integers(132, len(whole) - 84))] = int(rng.integers(256))
        path.write_bytes(bytes(broken))
        survives(folder)


@pytest.mark.parametrize("seed", range(4))
def test_bytes_flipped_in_an_archive(tmp_path: Path, seed: int) -> None:
    packed, rng = io.BytesIO(), np.random.default_rng(seed)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", content("slice", tmp_path))
    for _ in range(20):
        broken = bytearray(packed.getvalue())
        for place in rng.integers(0, len(broken), 3):
            broken[place] = int(rng.integers(256))
        (tmp_path / "a.zip").write_bytes(bytes(broken))
        survives(tmp_path / "a.zip")


@pytest.mark.parametrize(
    "changes",
    [
        {"Rows": 65535, "Columns": 65535},
        {"Rows": 30000, "Columns": 30000},
        {"Rows": 0},
        {"NumberOfFrames": 2**31 - 1},
        {"NumberOfFrames": 1000},
        {"NumberOfFrames": -3},
        {"SamplesPerPixel": 65535},
        {"BitsAllocated": 7},
        {"BitsAllocated": 0},
        {"BitsStored": 60000},
        {"PhotometricInterpretation": "PALETTE COLOR"},
        {"ImagePositionPatient": [1e30, 0, 0]},
        {"ImageOrientationPatient": [1, 0, 0, 0, 1]},
    ],
)
@pytest.mark.parametrize("kind", ["slice", "picture"])
def test_absurd_headers_cost_nothing(tmp_path: Path, kind: str, changes: dict[str, object]) -> None:
    files = {"slice": slices(voxels((1, 12, 10)))[0], "picture": picture(np.zeros((12, 10), np.uint16))}
    for keyword, value in changes.items():
        setattr(files[kind], keyword, value)
    path = save(files[kind], tmp_path / "a.dcm")
    tracemalloc.start()
    survives(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 50_000_000


@pytest.mark.parametrize(
    ("name", "start", "to_size"),
    [
        ("MR_small_jp2klossless.dcm", b"\xff\x4f\xff\x51", 8),
        ("MR_small_jpeg_ls_lossless.dcm", b"\xff\xf7", 5),
        ("SC_rgb_jpeg_gdcm.dcm", b"\xff\xc3", 5),
        ("SC_rgb_jpeg_dcmtk.dcm", b"\xff\xc0", 5),
    ],
)
def test_compressed_pixels_that_claim_more_than_the_header(
    tmp_path: Path, name: str, start: bytes, to_size: int
) -> None:
    broken = bytearray(Path(get_testdata_file(name)).read_bytes())
    at = broken.index(start, 300) + to_size
    broken[at : at + 2] = b"\x7f\xff"
    (tmp_path / "a.dcm").write_bytes(bytes(broken))
    with pytest.raises(InputError, match="compressed pixels of"):
        read_image(tmp_path / "a.dcm")


def test_an_absurd_slope_gives_no_infinite_voxels(tmp_path: Path) -> None:
    path = save(slices(voxels((1, 3, 4)), RescaleSlope="1e300")[0], tmp_path / "a.dcm")
    with pytest.raises(InputError, match="not numbers"):
        read_image(path)


def test_sequences_in_sequences_without_end(tmp_path: Path) -> None:
    """Ten thousand items, each in the one before."""
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + b"\x00\x52\x30\x92SQ\0\0\xff\xff\xff\xff"
    path = save(dataset(np.zeros((2, 2), np.int16)), tmp_path / "a.dcm")
    head = path.read_bytes()
    at = head.index(b"\xe0\x7f\x10\x00")
    path.write_bytes(head[:at] + b"\x00\x52\x30\x92SQ\0\0\xff\xff\xff\xff" + item * 10_000)
    survives(path)


def test_one_damaged_file_among_pictures_is_still_a_case(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(picture(np.zeros((3, 4), np.uint8)), tmp_path / f"{name}.dcm")
    (tmp_path / "c.dcm").write_bytes((tmp_path / "a.dcm").read_bytes()[:200])
    assert [case.name for case in find_images(tmp_path)] == ["a", "b", "c"]
