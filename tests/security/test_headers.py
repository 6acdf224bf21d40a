"""Headers of volumes and pictures that claim what cannot be, or lead elsewhere."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile

from masg_sam.data.io import read_image, read_label
from masg_sam.errors import InputError

Refused = Callable[[Callable[[], object]], InputError]
Survives = Callable[[Callable[[], object]], None]
MEMBER = gzip.compress(bytes(2**24))  # 16 MB of zeros in 16 kB; gzip files may be strung together


def nifti(path: Path, shape: tuple[int, ...] = (4, 5, 6)) -> bytearray:
    nib.save(nib.Nifti1Image(np.ones(shape, np.uint8), np.eye(4)), path)
    return bytearray(path.read_bytes())


def both(path: Path) -> Callable[[], object]:
    return lambda: (read_image(path), read_label(path))


# --- NIfTI -----------------------------------------------------------------------------------------------------

FIELDS = [
    ("dimensions", 40, "<8h", values)
    for values in [
        (0, 4, 5, 6, 1, 1, 1, 1),
        (-1, 4, 5, 6, 1, 1, 1, 1),
        (8, 4, 5, 6, 1, 1, 1, 1),
        (32767, 4, 5, 6, 1, 1, 1, 1),
        (3, -4, 5, 6, 1, 1, 1, 1),
        (3, 0, 5, 6, 1, 1, 1, 1),
        (3, -32768, -32768, 6, 1, 1, 1, 1),
        (3, 32767, 32767, 32767, 1, 1, 1, 1),
        (7, 32767, 32767, 32767, 32767, 32767, 32767, 32767),
        (7, 4, 5, 6, 32767, 32767, 32767, 32767),
        (4, 4, 5, 6, 0, 1, 1, 1),
    ]
]
FIELDS += [
    ("datatype", 70, "<2h", (code, bits)) for code, bits in [(0, 0), (1, 1), (-1, 8), (9999, 8), (128, 24), (32, 64)]
]
FIELDS += [("offset", 108, "<f", (value,)) for value in (np.nan, np.inf, -np.inf, -352, 1e30, 351)]
FIELDS += [("srow", 280, "<4f", (value, 0, 0, 0)) for value in (np.nan, np.inf, 0, 1e38, -np.inf)]
FIELDS += [("magic", 344, "<4s", (b"XXXX",))]
MENDED = [("size of header", 0, "<i", (value,)) for value in (0, -1, 540, 347, 2**31 - 1)]
MENDED += [("extension", 348, "<4B", (1, 0, 0, 0)), ("magic", 344, "<4s", (b"ni1\0",))]
MENDED += [("slope", 112, "<2f", pair) for pair in [(np.nan, np.nan), (np.inf, 0), (1, np.nan), (1e38, 1e38), (0, 5)]]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("field", FIELDS, ids=lambda field: f"{field[0]} {field[3]}")
def test_nifti_fields(field: tuple[str, int, str, tuple], zipped: bool, tmp_path: Path, refused: Refused) -> None:
    _, place, kind, values = field
    path = tmp_path / ("a.nii.gz" if zipped else "a.nii")
    content = nifti(tmp_path / "a.nii")
    struct.pack_into(kind, content, place, *values)
    path.write_bytes(gzip.compress(content) if zipped else content)
    error = refused(both(path))
    assert error.path == path and error.mend


@pytest.mark.parametrize("field", MENDED, ids=lambda field: f"{field[0]} {field[3]}")
def test_nifti_fields_that_may_be_mended(
    field: tuple[str, int, str, tuple], tmp_path: Path, survives: Survives
) -> None:
    content = nifti(tmp_path / "a.nii")
    struct.pack_into(field[2], content, field[1], *field[3])
    (tmp_path / "a.nii").write_bytes(content)
    survives(both(tmp_path / "a.nii"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0])
@pytest.mark.parametrize("axis", [1, 2, 3])
def test_nifti_spacings_without_an_sform(value: float, axis: int, tmp_path: Path, refused: Refused) -> None:
    content = nifti(tmp_path / "a.nii")
    struct.pack_into("<2h", content, 252, 1, 0)  # qform_code, sform_code
    struct.pack_into("<f", content, 76 + 4 * axis, value)
    (tmp_path / "a.nii").write_bytes(content)
    refused(both(tmp_path / "a.nii"))


def test_a_gzip_bomb_behind_a_header_that_claims_it(tmp_path: Path, refused: Refused) -> None:
    """8 GB in 8 MB, and a header that asks for all of it."""
    content = nifti(tmp_path / "a.nii")
    struct.pack_into("<8h", content, 40, 3, 2000, 2000, 2000, 1, 1, 1, 1)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content) + 500 * MEMBER)
    assert "more voxels than can be meant" in str(refused(both(tmp_path / "a.nii.gz")))


def test_a_gzip_bomb_behind_a_small_image_is_not_unpacked(tmp_path: Path, survives: Survives) -> None:
    content = nifti(tmp_path / "a.nii")
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content) + 500 * MEMBER)
    survives(both(tmp_path / "a.nii.gz"))


def test_a_gzip_bomb_in_front_of_nothing(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "a.nii.gz").write_bytes(50 * MEMBER)
    refused(both(tmp_path / "a.nii.gz"))


# --- MetaImage and NRRD ----------------------------------------------------------------------------------------

META = {
    "ObjectType": "Image",
    "NDims": "3",
    "DimSize": "4 5 6",
    "ElementSpacing": "1 1 1",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "ElementType": "MET_UCHAR",
    "ElementDataFile": "LOCAL",
}
NRRD = {
    "type": "uchar",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "4 5 6",
    "space directions": "(1,0,0) (0,1,0) (0,0,1)",
    "encoding": "raw",
    "space origin": "(0,0,0)",
}


def meta(path: Path, **changes: str) -> Path:
    path.write_bytes("".join(f"{k} = {v}\n" for k, v in (META | changes).items()).encode() + bytes(120))
    return path


def nrrd(path: Path, changes: dict[str, str], voxels: bytes = bytes(120)) -> Path:
    lines = "".join(f"{key}: {value}\n" for key, value in (NRRD | changes).items())
    path.write_bytes(b"NRRD0004\n" + lines.encode() + b"\n" + voxels)
    return path


def test_the_headers_themselves_are_sound(tmp_path: Path) -> None:
    assert read_image(meta(tmp_path / "a.mha")).shape == read_image(nrrd(tmp_path / "a.nrrd", {})).shape == (6, 5, 4)


@pytest.mark.parametrize(
    "changes",
    [
        {"DimSize": "-4 5 6"},
        {"DimSize": "0 5 6"},
        {"DimSize": "4 5"},
        {"DimSize": "nan 5 6"},
        {"DimSize": "99999999999999999999 5 6"},
        {"DimSize": "60000 60000 60000"},
        {"DimSize": "1000 1000 900"},
        {"DimSize": "1000 1000 900", "CompressedData": "True"},
        {"NDims": "0"},
        {"NDims": "-3"},
        {"NDims": "100000"},
        {"ElementSpacing": "nan 1 1"},
        {"ElementSpacing": "0 1 1"},
        {"ElementSpacing": "inf 1 1"},
        {"TransformMatrix": "0 0 0 0 0 0 0 0 0"},
        {"TransformMatrix": "nan 0 0 0 1 0 0 0 1"},
        {"ElementType": "MET_NONSENSE"},
        {"CompressedData": "True"},
    ],
    ids=str,
)
def test_metaimage_headers(changes: dict[str, str], tmp_path: Path, refused: Refused) -> None:
    refused(both(meta(tmp_path / "a.mha", **changes)))


@pytest.mark.parametrize("channels", ["2000000000", "-1", "nan"])
def test_channels_of_metaimage(channels: str, tmp_path: Path, survives: Survives) -> None:
    survives(both(meta(tmp_path / "a.mha", ElementNumberOfChannels=channels)))


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd"])
@pytest.mark.parametrize("seed", range(5))
def test_packed_voxels_that_are_damaged(seed: int, suffix: str, tmp_path: Path, refused: Refused) -> None:
    """ITK takes them, with holes."""
    rng = np.random.default_rng(seed)
    image = sitk.GetImageFromArray(rng.integers(0, 200, (12, 10, 8)).astype(np.uint8))
    sitk.WriteImage(image, str(tmp_path / f"a{suffix}"), useCompression=True)
    path = max(tmp_path.iterdir(), key=lambda item: item.stat().st_size)
    assert read_image(tmp_path / f"a{suffix}").shape == (12, 10, 8)
    content = bytearray(path.read_bytes())
    content[-int(rng.integers(10, 800))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)
    refused(both(tmp_path / f"a{suffix}"))


@pytest.mark.parametrize(
    "changes",
    [
        {"sizes": "-4 5 6"},
        {"sizes": "0 5 6"},
        {"sizes": "4 5"},
        {"sizes": "99999999999999999999 5 6"},
        {"sizes": "60000 60000 60000"},
        {"sizes": "1000 1000 900"},
        {"sizes": "1000 1000 900", "encoding": "gzip"},
        {"dimension": "0"},
        {"dimension": "-1"},
        {"dimension": "17"},
        {"space directions": "(nan,0,0) (0,1,0) (0,0,1)"},
        {"space directions": "(0,0,0) (0,1,0) (0,0,1)"},
        {"space directions": "(1,0,0) (1,0,0) (0,0,1)"},
        {"space directions": "(1,0,0) (0,1,0)"},
        {"space origin": "(nan,0,0)"},
        {"type": "nonsense"},
        {"type": "block"},
        {"encoding": "bzip2"},
        {"encoding": "nonsense"},
        {"encoding": "hex"},
    ],
    ids=str,
)
def test_nrrd_headers(changes: dict[str, str], tmp_path: Path, refused: Refused) -> None:
    refused(both(nrrd(tmp_path / "a.nrrd", changes)))


def test_an_nrrd_bomb(tmp_path: Path, refused: Refused) -> None:
    nrrd(tmp_path / "a.nrrd", {"sizes": "2000 2000 2000", "encoding": "gzip"}, 500 * MEMBER)
    refused(both(tmp_path / "a.nrrd"))


ELSEWHERE = [
    "/etc/hosts",
    "../secret.raw",
    "/dev/zero",
    "/dev/random",
    "sub/../../secret.raw",
    "LIST",
    "%03d.raw",
    "missing.raw",
    "pipe",
    "loop",
    "",
    "a" * 5000,
]


@pytest.mark.parametrize("name", ELSEWHERE, ids=lambda name: name[:20])
@pytest.mark.parametrize("kind", ["mhd", "mha", "nhdr", "nrrd"])
def test_voxels_are_not_read_from_elsewhere(name: str, kind: str, tmp_path: Path, refused: Refused) -> None:
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.raw").write_bytes(bytes(120))
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to(folder / "loop")
    if kind.startswith("m"):
        path = meta(folder / f"a.{kind}", ElementDataFile=name)
    else:
        path = nrrd(folder / f"a.{kind}", {"data file": name})
    error = refused(both(path))
    assert error.path == path


def test_voxels_beside_the_header_are_read(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((6, 5, 4), np.uint8)), str(tmp_path / "a.mhd"))
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((6, 5, 4), np.uint8)), str(tmp_path / "a.nhdr"))
    assert read_image(tmp_path / "a.mhd").data.all() and read_image(tmp_path / "a.nhdr").data.all()


# --- pictures --------------------------------------------------------------------------------------------------


def png(path: Path, width: int, height: int, rows: bytes = b"") -> Path:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize("size", [(60000, 60000), (2**31 - 1, 1), (0, 5), (5, 0), (8000, 9000), (1, 2**31 - 1)])
def test_png_sizes(size: tuple[int, int], tmp_path: Path, refused: Refused) -> None:
    refused(both(png(tmp_path / "a.png", *size)))


@pytest.mark.parametrize("pages", [1, 3])
@pytest.mark.parametrize("size", [(60000, 60000), (2**31 - 1, 2**31 - 1), (0, 5), (8000, 9000), (2**32 - 1, 1)])
def test_tiff_sizes(size: tuple[int, int], pages: int, tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones((pages, 5, 6), np.uint8).squeeze(), photometric="minisblack", metadata=None)
    with tifffile.TiffFile(path) as file:
        places = [
            (page.tags[name].valueoffset, size[i])
            for page in file.pages
            for i, name in ((0, "ImageWidth"), (1, "ImageLength"))
        ]
        kinds = [page.tags[name].dtype for page in file.pages for name in ("ImageWidth", "ImageLength")]
    content = bytearray(path.read_bytes())
    for (place, value), kind in zip(places, kinds, strict=True):
        struct.pack_into("<H" if kind == 3 else "<I", content, place, value & 0xFFFF if kind == 3 else value)
    path.write_bytes(content)
    refused(both(path))


def test_a_tiff_of_a_million_pages_in_its_description(tmp_path: Path, survives: Survives) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.ones((3, 5, 6), np.uint8), imagej=True, metadata={"axes": "ZYX"})
    content = (tmp_path / "a.tif").read_bytes()
    assert b"images=3\nslices=3\n" in content
    content = content.replace(b"images=3\nslices=3\n", b"images=9999999\n\n\n\n")
    (tmp_path / "a.tif").write_bytes(content)
    survives(both(tmp_path / "a.tif"))


def test_pages_that_follow_each_other_in_a_circle(tmp_path: Path, survives: Survives) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones((3, 5, 6), np.uint8), photometric="minisblack", metadata=None)
    with tifffile.TiffFile(path) as file:
        first, last = file.pages[0].offset, file.pages[-1].offset
    content = bytearray(path.read_bytes())
    count = struct.unpack_from("<H", content, last)[0]
    struct.pack_into("<I", content, last + 2 + 12 * count, first)
    path.write_bytes(content)
    survives(both(path))


def pixels(inner: str = "", **facts: object) -> str:
    """OME's element of the pixels of a stack."""
    known = {"DimensionOrder": "XYZCT", "Type": "uint8", "SizeX": 6, "SizeY": 5, "SizeC": 1, "SizeZ": 3, "SizeT": 1}
    text = " ".join(f'{key}="{value}"' for key, value in (known | facts).items())
    return f"<OME><Image><Pixels {text}>{inner}</Pixels></Image></OME>"


ONE = {f"PhysicalSize{axis}": 1 for axis in "XYZ"}
ELSEWHERE_XML = '<TiffData><UUID FileName="../../../etc/hosts">urn:uuid:1</UUID></TiffData>'


@pytest.mark.parametrize(
    "xml",
    [
        "<OME",
        "<OME/>",
        '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;&b;">]><OME><Pixels>&c;</Pixels></OME>',
        pixels(SizeZ=900000000),
        pixels(SizeX=-6),
        pixels("<TiffData/>", **(ONE | {"PhysicalSizeX": "nan"})),
        pixels("<TiffData/>", **(ONE | {"PhysicalSizeX": "x"})),
        pixels(ELSEWHERE_XML),
    ],
    ids=range(8),
)
def test_ome_descriptions(xml: str, tmp_path: Path, survives: Survives) -> None:
    text = f'<?xml version="1.0" encoding="UTF-8"?>{xml}'
    tifffile.imwrite(tmp_path / "a.ome.tif", np.ones((3, 5, 6), np.uint8), description=text, metadata=None)
    survives(both(tmp_path / "a.ome.tif"))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".seg.nrrd", ".mha", ".png", ".jpg", ".bmp", ".tif"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 500,
        b"text\n" * 100,
        gzip.compress(b"garbage" * 99),
        gzip.compress(gzip.compress(bytes(999))),
        b"PK\x03\x04" + bytes(99),
        b"%PDF-1.4",
        b"<html></html>",
        bytes(range(256)) * 4,
    ],
    ids=["nothing", "zeros", "text", "gzip", "gzip twice", "zip", "pdf", "html", "bytes"],
)
def test_foreign_contents(content: bytes, suffix: str, tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    assert refused(both(path)).path == path


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".png", ".tif"])
@pytest.mark.parametrize("make", ["folder", "loop", "dangling", "pipe", "device"])
def test_what_is_no_file(make: str, suffix: str, tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / f"a{suffix}"
    {
        "folder": lambda: path.mkdir(),
        "loop": lambda: path.symlink_to(path),
        "dangling": lambda: path.symlink_to(tmp_path / "nowhere"),
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
    }[make]()
    refused(both(path))
