"""Readers and writers: one anatomical order inside, the file's own grid outside."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import permutations, product
from pathlib import Path
from typing import Any

import imagecodecs
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from nibabel.orientations import axcodes2ornt, ornt_transform
from PIL import Image

from masg_sam.data.io import (
    case_stem,
    file_slice,
    label_on_grid,
    mask_suffix,
    merge_channels,
    read_channels,
    read_image,
    read_label,
    same_grid,
    suffix_of,
    voxel_from_file,
    write_label,
)
from masg_sam.data.io.values import one_grey_channel
from masg_sam.errors import GeometryError, ImageError, InputError, LabelError, OutputError

ORDERS = ["".join(p) for axes in product("LR", "AP", "SI") for p in permutations(axes)]
SHAPE = (3, 4, 5)  # x, y, z


def ras_image() -> nib.Nifti1Image:
    """Voxels in R, A, S order, anisotropic, away from the origin."""
    voxels = np.arange(60, dtype=np.int16).reshape(SHAPE)
    affine = np.array([[0.5, 0, 0, -7], [0, 0.75, 0, 11], [0, 0, 3, -20], [0, 0, 0, 1]])
    return nib.Nifti1Image(voxels, affine)


def turned(codes: str, image: nib.Nifti1Image | None = None) -> nib.Nifti1Image:
    """The same anatomy stored in another axis order."""
    return (image or ras_image()).as_reoriented(ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes)))


def saved(image: nib.Nifti1Image, folder: Path, name: str = "scan.nii.gz") -> Path:
    nib.save(image, folder / name)
    return folder / name


def picture(folder: Path, pixels: np.ndarray, name: str = "a.png", **options: object) -> Path:
    Image.fromarray(pixels).save(folder / name, **options)
    return folder / name


def oblique() -> np.ndarray:
    angle = np.radians(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * [0.7, 0.9, 2.5], [4, -5, 6]
    return affine


# --- orientation -----------------------------------------------------------------------------------------------


def test_there_are_48_axis_orders() -> None:
    assert len(set(ORDERS)) == 48


@pytest.mark.parametrize("codes", ORDERS)
def test_the_files_voxels_and_slices_are_found_in_every_axis_order(codes: str, tmp_path: Path) -> None:
    path = saved(turned(codes), tmp_path)
    volume, stored = read_image(path), nib.load(path).get_fdata()
    for index in np.ndindex(stored.shape):
        at = voxel_from_file(volume, index)
        assert volume.data[0][at] == stored[index]
        for axis, number in enumerate(at):
            assert file_slice(volume, axis, number) in index


def test_voxels_of_other_formats(tmp_path: Path) -> None:
    """ITK counts as NIfTI does, from the fastest axis; pictures by column and row."""
    image = sitk.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(5, 4, 3))
    image.SetDirection([-1, 0, 0, 0, 0, 1, 0, 1, 0])
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    volume = read_image(tmp_path / "a.mha")
    for index in np.ndindex(image.GetSize()):
        assert volume.data[0][voxel_from_file(volume, index)] == image[tuple(map(int, index))]
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    flat = read_image(picture(tmp_path, pixels))
    assert voxel_from_file(flat, (3, 1)) == voxel_from_file(flat, (3, 1, 0)) == (0, 1, 3)
    assert flat.data[0][voxel_from_file(flat, (3, 1))] == pixels[1, 3]


@pytest.mark.parametrize("index", [(3, 0, 0), (0, 4, 0), (0, 0, 5), (0, -1, 0), (1, 1)])
def test_voxels_outside_the_file_are_refused(index: tuple[int, ...], tmp_path: Path) -> None:
    volume = read_image(saved(ras_image(), tmp_path))
    with pytest.raises(InputError, match="outside") as caught:
        voxel_from_file(volume, index)
    assert caught.value.path == tmp_path / "scan.nii.gz" and caught.value.found == index
    assert "3 x 4 x 5" in caught.value.expected


@pytest.mark.parametrize("codes", ORDERS)
def test_every_axis_order_reads_alike_and_writes_back_exactly(codes: str, tmp_path: Path) -> None:
    path = saved(turned(codes), tmp_path)
    volume = read_image(path)
    expected = ras_image().get_fdata()[::-1, ::-1].transpose(2, 1, 0)  # RAS to LPS, then z, y, x
    np.testing.assert_array_equal(volume.data[0], expected)
    assert volume.spacing == (3.0, 0.75, 0.5)
    np.testing.assert_allclose(volume.affine, turned_affine(), atol=1e-6)

    out = nib.load(write_label(volume.data[0].astype(np.uint8), volume, tmp_path / "mask.nii.gz"))
    source = nib.load(path)
    np.testing.assert_array_equal(np.asarray(out.dataobj), np.asarray(source.dataobj))
    assert np.array_equal(out.affine, source.affine)


def turned_affine() -> np.ndarray:
    """Of the LPS array by hand: its first voxel is the last along R and A, at (-6, 13.25, -20) in RAS."""
    return np.array([[0.5, 0, 0, 6], [0, 0.75, 0, -13.25], [0, 0, 3, -20], [0, 0, 0, 1]])


def test_a_voxel_keeps_its_place_in_the_patient(tmp_path: Path) -> None:
    voxels = np.zeros(SHAPE, np.float32)
    voxels[2, 1, 4] = 1
    volume = read_image(saved(nib.Nifti1Image(voxels, oblique()), tmp_path))
    z, y, x = np.argwhere(volume.data[0])[0]
    ras = oblique() @ [2, 1, 4, 1]
    np.testing.assert_allclose(volume.affine @ [x, y, z, 1], ras * [-1, -1, 1, 1], atol=1e-5)
    assert volume.spacing == pytest.approx((2.5, 0.9, 0.7))


def test_a_voxel_that_leans_has_the_volume_of_its_base_times_its_height(tmp_path: Path) -> None:
    leaning = np.array([[0.5, 0, 0, 0], [0, -2, 1.2, 0], [0, 0, 2.5, 0], [0, 0, 0, 1]])
    volume = read_image(saved(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), leaning), tmp_path))
    assert volume.spacing == pytest.approx((np.hypot(1.2, 2.5), 2, 0.5))
    assert volume.voxel_ml == pytest.approx(0.5 * 2 * 2.5 / 1000)
    assert read_image(picture(tmp_path, np.zeros((4, 4), np.uint8))).voxel_ml is None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    matrix=st.lists(st.floats(-3, 3), min_size=9, max_size=9),
    shift=st.lists(st.floats(-500, 500), min_size=3, max_size=3),
    suffix=st.sampled_from([".nii", ".mha", ".nrrd"]),
)
def test_any_affine_round_trips(matrix: list[float], shift: list[float], suffix: str, tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = np.reshape(matrix, (3, 3)), shift
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    assume(lengths.min() > 0.1 and abs(np.linalg.det(affine[:3, :3])) > 0.1 * lengths.prod())
    voxels = np.random.default_rng(0).integers(0, 200, SHAPE).astype(np.uint8)
    path = tmp_path / f"scan{suffix}"
    write_with(path, voxels, affine)
    volume = read_label(path)
    write_label(volume.data[0], volume, tmp_path / f"mask{mask_suffix(volume)}")
    again = read_label(tmp_path / f"mask{mask_suffix(volume)}")
    same_grid(volume, again)
    np.testing.assert_array_equal(again.data, volume.data)
    assert np.sort(volume.data, axis=None).tolist() == np.sort(voxels, axis=None).tolist()


def write_with(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    if path.suffix == ".nii":
        nib.save(nib.Nifti1Image(voxels, affine), path)
        return
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T))
    image.SetSpacing(lengths.tolist())
    image.SetDirection((affine[:3, :3] / lengths).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    sitk.WriteImage(image, str(path))


@pytest.mark.parametrize("suffix", [".mha", ".nrrd", ".mhd", ".nhdr"])
def test_nifti_and_itk_agree_on_the_same_anatomy(suffix: str, tmp_path: Path) -> None:
    nifti = saved(turned("PIR"), tmp_path)
    sitk.WriteImage(sitk.ReadImage(str(nifti)), str(tmp_path / f"scan{suffix}"))
    ours, theirs = read_image(nifti), read_image(tmp_path / f"scan{suffix}")
    same_grid(ours, theirs)
    np.testing.assert_array_equal(ours.data, theirs.data)
    assert ours.spacing == pytest.approx(theirs.spacing)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_itk_mask_lies_exactly_on_its_image(suffix: str, tmp_path: Path) -> None:
    image = sitk.DICOMOrient(sitk.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(5, 4, 3)), "RIP")
    image.SetSpacing((0.7, 2.5, 0.9))
    image.SetOrigin((1.25, -3.5, 100))
    sitk.WriteImage(image, str(tmp_path / f"scan{suffix}"))
    volume = read_image(tmp_path / f"scan{suffix}")
    path = write_label(volume.data[0].astype(np.int64), volume, tmp_path / f"mask{mask_suffix(volume)}")
    mask = sitk.ReadImage(str(path))
    assert path.suffix == suffix
    assert mask.GetPixelIDTypeAsString() == "8-bit unsigned integer"
    for value in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(mask, value)() == getattr(image, value)()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(mask), sitk.GetArrayFromImage(image))


# --- NIfTI headers ---------------------------------------------------------------------------------------------


def test_forms_codes_and_units_come_back_bit_for_bit(tmp_path: Path) -> None:
    image = turned("LAS")
    image.header.set_xyzt_units("mm")
    image.set_sform(image.affine, 4)
    image.set_qform(image.affine, 2)
    path = saved(image, tmp_path)
    volume = read_image(path)
    mask = nib.load(write_label(np.zeros(volume.shape, np.uint8), volume, tmp_path / "m.nii.gz")).header
    source = nib.load(path).header
    fields = ("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "pixdim", "dim", "xyzt_units")
    for field in (*fields, "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"):
        assert np.array_equal(mask[field], source[field]), field
    assert mask.get_slope_inter() in ((1, 0), (None, None))


@pytest.mark.parametrize(("most", "dtype"), [(255, np.uint8), (256, np.uint16)])
def test_mask_type_is_the_smallest_that_holds_its_values(most: int, dtype: type, tmp_path: Path) -> None:
    volume = read_image(saved(ras_image(), tmp_path))
    mask = np.full(volume.shape, most)
    out = nib.load(write_label(mask, volume, tmp_path / "m.nii"))
    assert out.get_data_dtype() == dtype
    assert np.unique(np.asarray(out.dataobj)).tolist() == [most]


def test_slope_is_applied_to_images_and_not_left_on_masks(tmp_path: Path) -> None:
    image = ras_image()
    image.header.set_slope_inter(2, -1000)
    nib.save(image, tmp_path / "scan.nii")
    raw = bytearray((tmp_path / "scan.nii").read_bytes())
    raw[112:120] = np.array([2, -1000], "<f4").tobytes()  # scl_slope, scl_inter
    (tmp_path / "scan.nii").write_bytes(raw)
    volume = read_image(tmp_path / "scan.nii")
    assert volume.data.dtype == np.float32
    stored = np.asarray(nib.load(tmp_path / "scan.nii").dataobj.get_unscaled())
    assert (volume.data.min(), volume.data.max()) == (2 * stored.min() - 1000, 2 * stored.max() - 1000)
    out = nib.load(write_label(np.ones(volume.shape, np.uint8), volume, tmp_path / "m.nii"))
    assert np.unique(out.get_fdata()).tolist() == [1]


@pytest.mark.parametrize(("unit", "mm"), [("micron", 1e-3), ("meter", 1e3), ("mm", 1.0), ("unknown", 1.0)])
@pytest.mark.parametrize("codes", ["RAS", "LSP"])
@pytest.mark.parametrize("form", ["sform", "qform"])
def test_lengths_of_other_units_are_millimetres_in_memory(
    unit: str, mm: float, codes: str, form: str, tmp_path: Path
) -> None:
    """Voxels of 0.5 x 0.75 x 3 of the unit; the mask says the same of itself as its image."""
    image = turned(codes)
    image.set_qform(image.affine, 1)
    image.header["sform_code"] = int(form == "sform")
    image.header.set_xyzt_units(unit, "sec")
    path = saved(image, tmp_path)
    volume = read_image(path)
    assert volume.spacing == pytest.approx((3 * mm, 0.75 * mm, 0.5 * mm))
    np.testing.assert_allclose(volume.affine, np.diag([mm, mm, mm, 1]) @ turned_affine(), atol=1e-5 * mm)
    mask = nib.load(write_label(np.zeros(volume.shape, np.uint8), volume, tmp_path / "m.nii.gz")).header
    for field in ("srow_x", "srow_y", "srow_z", "pixdim", "xyzt_units", "qoffset_x", "sform_code", "qform_code"):
        assert np.array_equal(mask[field], nib.load(path).header[field]), field
    other = read_label(write_label(np.zeros(volume.shape, np.uint8), volume, tmp_path / "m.mha"))
    same_grid(volume, other)


def test_units_that_are_none_count_as_millimetres(tmp_path: Path) -> None:
    path = saved(ras_image(), tmp_path, "scan.nii")
    raw = bytearray(path.read_bytes())
    raw[123] = 5 + 8  # no such unit of length, and seconds
    path.write_bytes(raw)
    assert read_image(path).spacing == (3, 0.75, 0.5)


def test_forms_apart_are_told_in_millimetres(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = ras_image()
    image.set_sform(image.affine, 1)
    image.set_qform(np.diag([0.5, 0.75, 3, 1]), 1)
    image.header.set_xyzt_units("meter")
    with caplog.at_level(logging.WARNING, "masg_sam"):
        read_image(saved(image, tmp_path))
    assert "differ by up to 20000.00 mm" in caplog.text


def test_sform_wins_over_a_different_qform_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = ras_image()
    image.set_sform(image.affine, 1)
    image.set_qform(np.diag([0.5, 0.75, 3, 1]), 1)
    with caplog.at_level(logging.WARNING, "masg_sam"):
        volume = read_image(saved(image, tmp_path))
    np.testing.assert_allclose(volume.affine, turned_affine(), atol=1e-6)
    messages = [record.message for record in caplog.records]
    assert len(messages) == 1
    assert "differ by up to 20.00 mm; the sform is used" in messages[0]


def test_what_a_header_says_of_its_image_is_not_said_of_the_mask(tmp_path: Path) -> None:
    image = ras_image()
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    image.header["cal_max"] = 400
    volume = read_image(saved(image, tmp_path))
    header = nib.load(write_label(np.ones(volume.shape, int), volume, tmp_path / "m.nii")).header
    assert (len(header.extensions), float(header["cal_max"])) == (0, 0)
    assert b"Jane" not in (tmp_path / "m.nii").read_bytes()


def test_agreeing_forms_raise_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = ras_image()
    image.set_sform(image.affine, 1)
    image.set_qform(image.affine, 1)
    with caplog.at_level(logging.WARNING, "masg_sam"):
        read_image(saved(image, tmp_path))
    assert not caplog.records


def test_qform_alone_places_the_voxels(tmp_path: Path) -> None:
    image = ras_image()
    image.set_qform(image.affine, 1)
    image.header["sform_code"] = 0
    np.testing.assert_allclose(read_image(saved(image, tmp_path)).affine, turned_affine(), atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 4, 5, 1), (3, 4, 5, 1, 1), (3, 4)])
def test_axes_of_length_one_are_no_fourth_dimension(shape: tuple[int, ...], tmp_path: Path) -> None:
    voxels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    path = saved(nib.Nifti1Image(voxels, np.eye(4)), tmp_path)
    volume = read_label(path)
    assert volume.shape == ((*shape, 1)[2], 4, 3)
    out = nib.load(write_label(volume.data[0], volume, tmp_path / "m.nii.gz"))
    assert out.shape == shape
    np.testing.assert_array_equal(np.asarray(out.dataobj), voxels)


def test_nifti2_is_read_and_written_as_such(tmp_path: Path) -> None:
    voxels = np.ones(SHAPE, np.uint8)
    nib.save(nib.Nifti2Image(voxels, oblique()), tmp_path / "scan.nii")
    volume = read_image(tmp_path / "scan.nii")
    out = nib.load(write_label(volume.data[0].astype(int), volume, tmp_path / "m.nii"))
    assert isinstance(out, nib.Nifti2Image)
    assert np.array_equal(out.affine, oblique())


def test_big_endian_voxels_are_read(tmp_path: Path) -> None:
    header = nib.Nifti1Header(endianness=">")
    image = nib.Nifti1Image(np.arange(60, dtype=">i2").reshape(SHAPE), np.eye(4), header)
    volume = read_image(saved(image, tmp_path, "scan.nii"))
    assert volume.data.max() == 59


# --- NIfTI and ITK that cannot be used -------------------------------------------------------------------------


def test_four_dimensions_are_refused_with_advice(tmp_path: Path) -> None:
    path = saved(nib.Nifti1Image(np.zeros((3, 4, 5, 2), np.float32), np.eye(4)), tmp_path)
    with pytest.raises(ImageError, match="more than three dimensions") as caught:
        read_image(path)
    assert caught.value.path == path
    assert "_0000" in str(caught.value.mend)


@pytest.mark.parametrize("shape", [(*SHAPE, 2), (*SHAPE, 1, 2)])  # the second is NIfTI's own way for vectors
@pytest.mark.parametrize("codes", ["RAS", "LSP", "IPR"])
def test_a_fourth_dimension_holds_the_channels_that_are_known_of(
    shape: tuple[int, ...], codes: str, tmp_path: Path
) -> None:
    """As two files of one channel each would be read; the mask comes back with three dimensions on the same grid."""
    files = [turned(codes, nib.Nifti1Image(ras_image().get_fdata() + i, ras_image().affine)) for i in (0, 100)]
    voxels = np.stack([file.get_fdata() for file in files], -1)
    whole = nib.Nifti1Image(voxels.reshape((*voxels.shape[:3], *shape[3:])).astype(np.float32), files[0].affine)
    single = read_channels([saved(file, tmp_path, f"s_{i:04d}.nii.gz") for i, file in enumerate(files)])
    path = saved(whole, tmp_path)
    for count in (2, None):
        volume = read_channels([path], count)
        np.testing.assert_array_equal(volume.data, single.data)
        np.testing.assert_allclose(volume.affine, single.affine)
    mask = (volume.data[0] > 30).astype(np.uint8)
    back = nib.load(write_label(mask, volume, tmp_path / "mask.nii.gz"))
    assert back.shape == files[0].shape
    np.testing.assert_allclose(back.affine, files[0].affine, atol=1e-5)
    np.testing.assert_array_equal(back.get_fdata(), files[0].get_fdata() > 30)
    with pytest.raises(ImageError, match="more than three dimensions") as caught:
        read_image(path, 3)
    assert caught.value.expected == "one volume, or one of each of the 3 channels"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_no_numbers_are_counted(value: float, tmp_path: Path) -> None:
    voxels = np.zeros(SHAPE, np.float32)
    voxels[1, 2, 3] = voxels[0, 0, 0] = value
    with pytest.raises(ImageError, match="not numbers") as caught:
        read_image(saved(nib.Nifti1Image(voxels, np.eye(4)), tmp_path))
    assert caught.value.found == "2 NaN or infinite of 60"


@pytest.mark.parametrize("column", [[0, 0, 0], [0, 1, 0], [0, 1, 1e-8], [np.nan, 0, 1]])
def test_an_affine_that_places_nothing_is_refused(column: Sequence[float], tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[:3, 2] = column
    path = saved(ras_image(), tmp_path, "scan.nii")
    raw = bytearray(path.read_bytes())
    raw[280:328] = affine[:3].astype("<f4").tobytes()  # srow_x, srow_y, srow_z
    raw[252:256] = np.array([0, 1], "<i2").tobytes()  # qform_code, sform_code
    path.write_bytes(raw)
    with pytest.raises(GeometryError, match="affine"):
        read_image(path)


def test_a_voxel_size_of_zero_is_refused_and_not_taken_for_one(tmp_path: Path) -> None:
    path = saved(ras_image(), tmp_path, "scan.nii")
    raw = bytearray(path.read_bytes())
    raw[252:256] = bytes(4)  # no form
    raw[80:92] = np.array([1, 0, 1], "<f4").tobytes()  # pixdim
    path.write_bytes(raw)
    with pytest.raises(GeometryError, match="voxel size of zero"):
        read_image(path)


def test_voxels_of_a_micrometre_are_no_error(tmp_path: Path) -> None:
    volume = read_image(saved(nib.Nifti1Image(np.ones(SHAPE, np.float32), np.diag([5e-4, 5e-4, 1e-3, 1])), tmp_path))
    assert volume.spacing == pytest.approx((1e-3, 5e-4, 5e-4))


def test_a_flipped_bit_in_a_packed_file_is_noticed(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 2**15, (9, 9, 9)).astype(np.int16)
    path = saved(nib.Nifti1Image(voxels, np.eye(4)), tmp_path)
    raw = bytearray(path.read_bytes())
    raw[-5] ^= 1  # of the checksum that ends a gzip file, before four bytes of length
    path.write_bytes(raw)
    with pytest.raises(ImageError, match="CRC"):
        read_image(path)


def test_colour_nifti_is_refused(tmp_path: Path) -> None:
    voxels = np.zeros(SHAPE, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    with pytest.raises(ImageError, match="not single numbers"):
        read_image(saved(nib.Nifti1Image(voxels, np.eye(4)), tmp_path))


def test_metaimage_with_a_zero_spacing_is_refused(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((5, 4, 3), np.uint8)), str(tmp_path / "s.mha"))
    text = (tmp_path / "s.mha").read_bytes().replace(b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 0 1")
    (tmp_path / "s.mha").write_bytes(text)
    with pytest.raises(GeometryError):
        read_image(tmp_path / "s.mha")


def test_metaimage_of_two_dimensions_and_with_colours(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.arange(12, dtype=np.uint8).reshape(4, 3)), str(tmp_path / "s.mha"))
    volume = read_label(tmp_path / "s.mha")
    assert volume.shape == (1, 4, 3)
    out = sitk.ReadImage(str(write_label(volume.data[0], volume, tmp_path / "m.mha")))
    assert out.GetSize() == (3, 4)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(out), np.arange(12).reshape(4, 3))
    colours = np.arange(180, dtype=np.uint8).reshape(5, 4, 3, 3)
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(tmp_path / "c.nrrd"))
    np.testing.assert_array_equal(read_image(tmp_path / "c.nrrd").data, np.moveaxis(colours, -1, 0))


def test_metaimage_of_four_dimensions(tmp_path: Path) -> None:
    series = sitk.GetImageFromArray(np.zeros((2, 5, 4, 3), np.uint8), isVector=False)
    sitk.WriteImage(series, str(tmp_path / "s.mha"))
    with pytest.raises(ImageError, match="more than three dimensions"):
        read_image(tmp_path / "s.mha")
    sitk.WriteImage(series[..., :1], str(tmp_path / "one.mha"))
    assert read_image(tmp_path / "one.mha").data.shape == (1, 5, 4, 3)


# --- pictures --------------------------------------------------------------------------------------------------


def test_a_picture_is_channels_first_with_one_slice_and_no_affine(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 7, 3)).astype(np.uint8)
    volume = read_image(picture(tmp_path, pixels))
    assert volume.is_picture
    assert volume.spacing == (1.0, 1.0, 1.0)
    np.testing.assert_array_equal(volume.data[:, 0], np.moveaxis(pixels, -1, 0))


def test_transparency_is_dropped(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 7, 4)).astype(np.uint8)
    np.testing.assert_array_equal(read_image(picture(tmp_path, pixels)).data[:, 0], np.moveaxis(pixels[..., :3], -1, 0))


def test_exif_orientation_is_ignored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to show
    path = picture(tmp_path, np.zeros((6, 9), np.uint8), "a.jpg", exif=exif)
    assert read_image(path).shape == (1, 6, 9)


def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path) -> None:
    pixels = np.array([[0, 40000], [65535, 7]], np.uint16)
    assert read_image(picture(tmp_path, pixels)).data[0, 0].tolist() == pixels.tolist()
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    assert read_image(tmp_path / "a.tif").data[0, 0].tolist() == pixels.tolist()


@pytest.mark.parametrize(
    ("dtype", "whole"),
    [(np.uint8, 255), (np.uint16, 255), (np.uint16, 4095), (np.uint16, 65535), (np.float32, 1)],
)
def test_colours_are_of_eight_bits_however_they_are_stored(dtype: type, whole: int, tmp_path: Path) -> None:
    """SAM's normalisation of RGB takes them so; also where only some of 16 bits are used."""
    parts = np.random.default_rng(0).random((6, 7, 3))
    parts.flat[0] = 1
    colours = (parts * whole).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", colours, photometric="rgb")
    expected = np.moveaxis(colours.astype(np.float64) * 255 / whole, -1, 0)
    np.testing.assert_allclose(read_image(tmp_path / "a.tif").data[:, 0], expected, rtol=1e-5)


def test_alpha_says_nothing_of_the_range_and_labels_keep_their_values(tmp_path: Path) -> None:
    pixels = np.full((6, 7, 4), 65535, np.uint16)
    pixels[..., :3] = 4095
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    assert (read_image(tmp_path / "a.tif").data == 255).all()
    assert (read_label(tmp_path / "a.tif").data == 4095).all()


@pytest.mark.parametrize("wrong", [-300.0, 1e6])
def test_colours_of_no_known_range_are_refused(wrong: float, tmp_path: Path) -> None:
    colours = np.full((6, 7, 3), 200, np.float32)
    colours[0, 0, 0] = wrong
    tifffile.imwrite(tmp_path / "a.tif", colours, photometric="rgb")
    with pytest.raises(ImageError, match="colours of no known range") as caught:
        read_image(tmp_path / "a.tif")
    assert f"{wrong:g}" in str(caught.value.found)


@pytest.mark.parametrize("compression", [None, "zlib", "tiff_lzw"])
@pytest.mark.parametrize("channels", [1, 3])
def test_tiff(compression: str | None, channels: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 7, channels)).astype(np.uint8).squeeze()
    Image.fromarray(pixels).save(
        tmp_path / "a.tif", compression={"zlib": "tiff_adobe_deflate"}.get(compression or "", compression)
    )
    expected = np.moveaxis(pixels.reshape(6, 7, channels), -1, 0)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").data[:, 0], expected)


def test_tiff_with_planes_apart_and_tiff_one_pixel_wide(tmp_path: Path) -> None:
    planes = np.arange(3 * 6 * 7, dtype=np.uint8).reshape(3, 6, 7)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").data[:, 0], planes)
    tifffile.imwrite(tmp_path / "b.tif", np.arange(5, dtype=np.uint8).reshape(5, 1))
    assert read_image(tmp_path / "b.tif").shape == (1, 5, 1)


@pytest.mark.parametrize("options", [{}, {"rowsperstrip": 8}, {"tile": (16, 16), "compression": "zlib"}])
def test_half_a_tiff_is_not_filled_up_with_zeros(options: dict[str, Any], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(("values", "mode"), [([0, 255], "L"), ([0, 300], "I;16")])
def test_picture_masks_are_png_without_loss(values: list[int], mode: str, tmp_path: Path) -> None:
    volume = read_image(picture(tmp_path, np.zeros((6, 7, 3), np.uint8), "a.jpg"))
    mask = np.resize(values, (1, 6, 7))
    path = write_label(mask, volume, tmp_path / f"m{mask_suffix(volume)}")
    with Image.open(path) as image:
        assert (image.format, image.mode, image.size) == ("PNG", mode, (7, 6))
    np.testing.assert_array_equal(read_label(path).data[0], mask)


def test_a_bomb_is_refused_before_it_unfolds(tmp_path: Path) -> None:
    path = picture(tmp_path, np.zeros((4, 4), np.uint8))
    raw = bytearray(path.read_bytes())
    raw[16:24] = np.array([60000, 60000], ">u4").tobytes()  # IHDR width and height
    path.write_bytes(raw)
    with pytest.raises(ImageError):
        read_image(path)


# --- labels ----------------------------------------------------------------------------------------------------


def test_whole_numbers_stored_as_floats_are_a_label(tmp_path: Path) -> None:
    voxels = np.arange(60, dtype=np.float64).reshape(SHAPE)
    label = read_label(saved(nib.Nifti1Image(voxels, np.diag([-1, -1, 1, 1])), tmp_path))
    assert np.issubdtype(label.data.dtype, np.integer)
    np.testing.assert_array_equal(label.data[0], voxels.transpose(2, 1, 0))


@pytest.mark.parametrize("value", [0.5, np.nan, 1e20])
def test_probabilities_are_no_label(value: float, tmp_path: Path) -> None:
    voxels = np.zeros(SHAPE, np.float32)
    voxels[0, 0, 0] = value
    with pytest.raises(LabelError, match="whole numbers"):
        read_label(saved(nib.Nifti1Image(voxels, np.eye(4)), tmp_path))


def test_rgb_label_with_equal_channels_is_grey(tmp_path: Path) -> None:
    grey = np.repeat(np.array([[0, 255], [255, 0]], np.uint8), 8, 0).repeat(8, 1)
    path = picture(tmp_path, np.stack([grey] * 3, -1), "m.jpg", quality=95)
    label = read_label(path)
    assert label.data.shape == (1, 1, 16, 16)
    assert np.abs(label.data[0, 0] - grey).max() <= 2


def test_the_middle_of_three_channels_counts_in_a_jpeg() -> None:
    data = np.broadcast_to(np.array([3, 20, 9])[:, None, None, None], (3, 1, 4, 4))
    assert np.unique(one_grey_channel(data, Path("m.JPG"))).tolist() == [9]
    with pytest.raises(LabelError, match="coloured"):
        one_grey_channel(data, Path("m.png"))


def test_coloured_label_is_refused(tmp_path: Path) -> None:
    pixels = np.zeros((6, 7, 3), np.uint8)
    pixels[:3, :, 0] = 255
    with pytest.raises(LabelError, match="coloured") as caught:
        read_label(picture(tmp_path, pixels))
    assert "PNG" in str(caught.value.mend)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".nrrd"])
def test_one_coloured_pixel_makes_a_coloured_label_where_nothing_is_lost(suffix: str, tmp_path: Path) -> None:
    """A pixel of 40000 is less than the colour noise that a JPEG may have."""
    pixels = np.zeros((200, 200, 3), np.uint8)
    pixels[7, 9] = (255, 0, 0)
    path = tmp_path / f"m{suffix}"
    if suffix == ".nrrd":
        sitk.WriteImage(sitk.GetImageFromArray(pixels[None], isVector=True), str(path))
    else:
        picture(tmp_path, pixels, path.name)
    with pytest.raises(LabelError, match="coloured") as caught:
        read_label(path)
    assert caught.value.path == path and caught.value.found == "1 of 40000 pixels are not grey"


@pytest.mark.parametrize("kind", ["rgb", "rgb and alpha", "grey and alpha"])
def test_low_values_of_sixteen_bits_survive_in_a_label(kind: str, tmp_path: Path) -> None:
    grey = np.array([[0, 1, 2], [300, 65535, 7]], np.uint16)
    opaque = np.full_like(grey, 65535)
    layers = {"rgb": [grey] * 3, "rgb and alpha": [grey] * 3 + [opaque], "grey and alpha": [grey, opaque]}[kind]
    path = tmp_path / "m.png"
    path.write_bytes(imagecodecs.png_encode(np.stack(layers, -1)))
    assert read_label(path).data[0, 0].tolist() == grey.tolist()
    assert read_image(path).data.max() == 255  # the network's colours are of eight bits
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ImageError, match="cannot be read as PNG"):
        read_label(path)


def test_indices_of_a_coloured_palette_are_classes_of_a_label_and_colours_of_an_image(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "L").convert("P")
    image.putdata([0, 1, 2, 1])
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    image.save(tmp_path / "p.png")
    assert read_label(tmp_path / "p.png").data[0, 0].tolist() == [[0, 1], [2, 1]]
    assert read_image(tmp_path / "p.png").data[:, 0, 1, 0].tolist() == [0, 128, 0]


def indexed(path: Path, pixels: list[int], palette: list[int]) -> Path:
    """A row of pixels with a palette, filled up with black as Pillow does for 256 colours."""
    image = Image.new("P", (len(pixels), 1))
    image.putpalette(palette)
    image.putdata(pixels)
    image.save(path)
    return path


VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128, 128, 0, 128, 0, 128, 128, 128, 128, 128]  # 7 is grey


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
@pytest.mark.parametrize(
    ("palette", "pixels", "expected"),
    [
        (VOC, [7, 7], [7, 7]),
        (VOC, [7, 1], [7, 1]),
        ([255, 255, 255, 255, 0, 0], [0, 1], [0, 1]),
        ([255, 255, 255, 255, 0, 0], [0, 0], [0, 0]),
        ([255, 255, 255, 255, 0, 0] + [0] * 762, [0, 0], [0, 0]),
        ([255, 255, 255, 0, 0, 0], [0, 1], [255, 0]),
        ([0, 0, 0, 255, 255, 255] + [0] * 762, [0, 1], [0, 255]),
        ([0, 0, 0, 5, 5, 5], [0, 1], [0, 5]),
        ([i for i in range(256) for _ in range(3)], [0, 9], [0, 9]),
    ],
)
def test_the_palette_and_not_the_pixels_says_what_a_label_means(
    palette: list[int], pixels: list[int], expected: list[int], suffix: str, tmp_path: Path
) -> None:
    """Any colour among its entries: the indices are the classes. Greys alone: the greys are, in whatever order."""
    path = indexed(tmp_path / f"p{suffix}", pixels, palette)
    assert read_label(path).data[0, 0].tolist() == [expected]


def test_indices_that_a_grey_palette_does_not_tell_apart(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="one grey") as caught:
        read_label(indexed(tmp_path / "p.png", [0, 1, 2], [0] * 768))
    assert caught.value.found == "3 indices, 1 grey levels"
    assert not read_label(indexed(tmp_path / "empty.png", [0, 0], [0] * 768)).data.any()


def test_a_picture_of_greys_has_one_channel_whatever_its_palette(tmp_path: Path) -> None:
    assert read_image(indexed(tmp_path / "p.png", [7, 0], VOC)).data[:, 0, 0].tolist() == [[128, 0]]


def test_black_and_white_of_one_bit_is_0_and_255(tmp_path: Path) -> None:
    path = picture(tmp_path, np.array([[True, False]]))
    assert read_label(path).data[0, 0].tolist() == [[255, 0]]


# --- writing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mask", "name", "error"),
    [
        (np.zeros((5, 4, 4), np.uint8), "m.nii.gz", GeometryError),
        (np.full((5, 4, 3), -1), "m.nii.gz", LabelError),
        (np.full((5, 4, 3), 70000), "m.nii.gz", LabelError),
        (np.full((5, 4, 3), 0.5), "m.nii.gz", LabelError),
        (np.zeros((5, 4, 3), np.uint8), "m.png", OutputError),
        (np.zeros((5, 4, 3), np.uint8), "scan.nii.gz/m.nii.gz", OutputError),
    ],
)
def test_what_cannot_be_written_leaves_nothing_behind(
    mask: np.ndarray, name: str, error: type[Exception], tmp_path: Path
) -> None:
    volume = read_image(saved(ras_image(), tmp_path))
    with pytest.raises(error):
        write_label(mask, volume, tmp_path / name)
    assert [item.name for item in tmp_path.iterdir()] == ["scan.nii.gz"]


def test_writing_replaces_and_leaves_no_other_file(tmp_path: Path) -> None:
    volume = read_image(saved(ras_image(), tmp_path))
    for value in (1, 2):
        path = write_label(np.full(volume.shape, value), volume, tmp_path / "out" / "m.nii.gz")
    assert [item.name for item in path.parent.iterdir()] == ["m.nii.gz"]
    assert np.unique(read_label(path).data).tolist() == [2]


@pytest.mark.parametrize("name", ["s.mhd", "s.nhdr"])
def test_masks_have_header_and_voxels_in_one_file(name: str, tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((5, 4, 3), np.uint8)), str(tmp_path / name))
    volume = read_image(tmp_path / name)
    with pytest.raises(OutputError, match="cannot be written in this format"):
        write_label(np.ones((5, 4, 3), np.uint8), volume, tmp_path / f"m{Path(name).suffix}")
    assert read_label(write_label(np.ones((5, 4, 3), int), volume, tmp_path / f"m{mask_suffix(volume)}")).data.all()


# --- grids and channels ----------------------------------------------------------------------------------------


def test_channels_are_put_together_in_order(tmp_path: Path) -> None:
    paths = [
        saved(nib.Nifti1Image(np.full(SHAPE, i, np.uint8), oblique()), tmp_path, f"a_000{i}.nii") for i in range(2)
    ]
    merged = merge_channels([read_image(path) for path in paths])
    assert merged.data.shape == (2, 5, 4, 3)
    assert merged.data.mean((1, 2, 3)).tolist() == [0, 1]


def test_image_and_label_in_different_axis_orders_lie_on_one_grid(tmp_path: Path) -> None:
    image = read_image(saved(turned("LPI"), tmp_path, "image.nii"))
    label = read_label(saved(turned("SAR"), tmp_path, "label.nii"))
    same_grid(image, label)
    np.testing.assert_array_equal(image.data, label.data)


@pytest.mark.parametrize(
    ("affine", "shape", "problem"),
    [
        (np.diag([1, 1, 1, 1.0]), (3, 4, 6), "another shape"),
        (np.diag([1, 1, 1.01, 1]), SHAPE, "another spacing"),
        (np.array([[1, 0, 0, 0.05], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), SHAPE, "lies elsewhere"),
    ],
)
def test_different_grids_are_told_apart(
    affine: np.ndarray, shape: tuple[int, ...], problem: str, tmp_path: Path
) -> None:
    image = read_image(saved(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), np.eye(4)), tmp_path, "image.nii"))
    other = read_image(saved(nib.Nifti1Image(np.zeros(shape, np.uint8), affine), tmp_path, "other.nii"))
    with pytest.raises(GeometryError, match=f"{problem}.* image.nii") as caught:
        same_grid(image, other)
    assert caught.value.path == tmp_path / "other.nii"
    with pytest.raises(GeometryError):
        merge_channels([image, other])


def test_a_scan_is_no_label_of_a_picture_nor_the_other_way_round(tmp_path: Path) -> None:
    scan = read_image(saved(nib.Nifti1Image(np.zeros((5, 4, 1), np.uint8), np.eye(4)), tmp_path, "scan.nii"))
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "picture.png")
    picture = read_image(tmp_path / "picture.png")
    for image, label, kind in ((picture, scan, "a scan"), (scan, picture, "a picture")):
        assert image.shape == label.shape
        with pytest.raises(GeometryError, match=f"cannot be laid on {image.path.name}") as caught:
            same_grid(image, label)
        assert caught.value.path == label.path and str(caught.value.found).startswith(kind)


def test_a_mask_that_itk_wrote_for_a_picture_lies_on_it(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (4, 5)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    itk = sitk.GetImageFromArray(pixels[None])
    sitk.WriteImage(itk, tmp_path / "mask.nrrd")
    picture, mask = read_image(tmp_path / "picture.png"), read_label(tmp_path / "mask.nrrd")
    assert np.array_equal(label_on_grid(picture, mask).data[0, 0], pixels)
    itk.SetDirection((-1, 0, 0, 0, 1, 0, 0, 0, 1))
    sitk.WriteImage(itk, tmp_path / "turned.nrrd")
    with pytest.raises(GeometryError, match=r"cannot be laid on picture\.png"):
        label_on_grid(picture, read_label(tmp_path / "turned.nrrd"))


def test_rounding_in_a_header_is_no_other_grid(tmp_path: Path) -> None:
    rounded = np.round(oblique(), 4)
    image = read_image(saved(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), oblique()), tmp_path, "image.nii"))
    same_grid(image, read_image(saved(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), rounded), tmp_path, "other.nii")))


# --- names and files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "suffix", "stem"),
    [
        ("a.nii.gz", ".nii.gz", "a"),
        ("A.B.NII.GZ", ".nii.gz", "A.B"),
        ("a.nii", ".nii", "a"),
        ("a.JPG", ".jpg", "a"),
        ("a.b.txt", None, "a.b"),
    ],
)
def test_suffixes(name: str, suffix: str | None, stem: str) -> None:
    assert (suffix_of(Path(name)), case_stem(Path(name))) == (suffix, stem)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("missing.nii.gz", None, "no such file"),
        ("empty.nii.gz", b"", "file is empty"),
        ("text.txt", b"x", "format not known"),
        ("noise.nii.gz", b"noise", "cannot be read as NIfTI"),
        ("noise.mha", b"noise", "cannot be read as NRRD or MetaImage"),
        ("noise.png", b"noise", "cannot be read as PNG"),
        ("noise.tif", b"noise", "cannot be read as PNG"),
    ],
)
def test_what_cannot_be_read_is_named(name: str, content: bytes | None, problem: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    for read in (read_image, read_label):
        with pytest.raises(ImageError, match=problem) as caught:
            read(tmp_path / name)
        assert caught.value.path == tmp_path / name
        assert caught.value.mend


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "x.nii.gz").mkdir()
    with pytest.raises(ImageError, match="a folder"):
        read_image(tmp_path / "x.nii.gz")
