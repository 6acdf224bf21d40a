"""Damaged and hostile files: a volume or a typed error, nothing else, and soon."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image

from masg_sam.data.io import read_image, read_label
from masg_sam.errors import InputError

KINDS = (".nii", ".nii.gz", ".mha", ".nrrd", ".png", ".jpg", ".bmp", ".tif")


def write(path: Path) -> bytes:
    values = np.random.default_rng(0).integers(0, 200, (12, 10, 8)).astype(np.uint8)
    if path.name.endswith((".nii", ".nii.gz")):
        nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    elif path.suffix in (".mha", ".nrrd"):
        sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    elif path.suffix == ".tif":
        tifffile.imwrite(path, values[..., 0])
    else:
        Image.fromarray(values[..., 0]).save(path)
    return path.read_bytes()


def survives(path: Path) -> None:
    for read in (read_image, read_label):
        try:
            volume = read(path)
        except InputError as error:
            assert error.exit_code == 2
            assert path.name in str(error)
        else:
            assert volume.data.ndim == 4


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_truncated_anywhere(tmp_path: Path, suffix: str, seed: int) -> None:
    path = tmp_path / f"a{suffix}"
    content = write(path)
    path.write_bytes(content[: int(np.random.default_rng(seed).integers(1, len(content)))])
    survives(path)


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("part", [0.02, 0.5, 0.8])
def test_half_a_file_is_never_taken_for_a_whole_one(tmp_path: Path, suffix: str, part: float) -> None:
    path = tmp_path / f"a{suffix}"
    content = write(path)
    path.write_bytes(content[: int(part * len(content))])
    for read in (read_image, read_label):
        with pytest.raises(InputError, match=path.name):
            read(path)


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_contents_of_another_format(tmp_path: Path, suffix: str, other: str) -> None:
    content = write(tmp_path / f"source{other}")
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    survives(path)


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("seed", range(12))
def test_bytes_flipped_near_the_header(tmp_path: Path, suffix: str, seed: int) -> None:
    path = tmp_path / f"a{suffix}"
    content = bytearray(write(path))
    rng = np.random.default_rng(seed)
    for place in rng.integers(0, min(len(content), 352), 6):
        content[place] = int(rng.integers(256))
    path.write_bytes(bytes(content))
    survives(path)


@pytest.mark.parametrize("suffix", KINDS)
def test_empty_foreign_or_a_folder(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"empty{suffix}").write_bytes(b"")
    (tmp_path / f"text{suffix}").write_text("this is no image\n" * 30)
    (tmp_path / f"folder{suffix}").mkdir()
    for name in ("empty", "text", "folder", "missing"):
        with pytest.raises(InputError, match=name):
            read_image(tmp_path / f"{name}{suffix}")


def test_a_header_that_claims_terabytes(tmp_path: Path) -> None:
    write(tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[40:56] = np.array([3, 30000, 30000, 30000, 1, 1, 1, 1], np.int16).tobytes()
    (tmp_path / "a.nii").write_bytes(bytes(content))
    with pytest.raises(InputError, match="more voxels than can be meant"):
        read_image(tmp_path / "a.nii")
    (tmp_path / "b.mha").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 90000 90000 90000\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    )
    with pytest.raises(InputError, match=r"b\.mha"):
        read_image(tmp_path / "b.mha")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_header_that_claims_more_than_its_file_holds(tmp_path: Path, name: str) -> None:
    """Refused by arithmetic: 800 MB are not asked for."""
    write(tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[40:48] = np.array([3, 1000, 1000, 800], np.int16).tobytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else bytes(content))
    tracemalloc.start()
    with pytest.raises(InputError, match="more voxels than the file holds"):
        read_image(tmp_path / name)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10_000_000


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_a_picture_that_unfolds_to_gigabytes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    content = bytearray(write(path))
    place, order = (16, ">u4") if suffix == ".png" else (18, "<u4")  # width and height
    content[place : place + 8] = np.array([50000, 40000], order).tobytes()
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=path.name):
        read_image(path)


def test_an_unknown_suffix_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "a.docx").write_bytes(b"x")
    with pytest.raises(InputError, match=r"\.nii\.gz"):
        read_image(tmp_path / "a.docx")
