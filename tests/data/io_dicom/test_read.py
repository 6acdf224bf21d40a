"""Voxels and positions of a series, against values known beforehand and against SimpleITK."""

from __future__ import annotations

import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import AXIAL, OBLIQUE, dataset, enhanced, normal, picture, save, slices, voxels, write_series
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from masg_sam.data.io import file_slice, mask_suffix, read_image, read_label, same_grid, voxel_from_file, write_label
from masg_sam.data.io.dicom import slices_of_files, source_datasets
from masg_sam.errors import GeometryError, ImageError, LabelError, OutputError

CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL_FLIPPED = (0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
BUNDLED = (
    *("CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm"),
    *("MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "693_J2KI.dcm", "examples_overlay.dcm"),
)


def test_an_axial_series_by_hand(tmp_path: Path) -> None:
    stack = voxels()
    volume = read_image(write_series(tmp_path / "ct", slices(stack)))
    np.testing.assert_array_equal(volume.data, stack[None].astype(np.float32) - 1024)
    assert volume.data.dtype == np.float32
    assert volume.spacing == (2.5, 0.5, 0.75)
    np.testing.assert_allclose(volume.affine, [[0.75, 0, 0, -10], [0, 0.5, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]])
    assert volume.path == tmp_path / "ct" and volume.geometry.shape == (7, 6, 5)


def by_itk(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


@pytest.mark.parametrize("directions", [AXIAL, OBLIQUE, CORONAL, SAGITTAL_FLIPPED])
@pytest.mark.parametrize("towards", [1, -1])
def test_as_simpleitk_reads_it(tmp_path: Path, directions: tuple[float, ...], towards: int) -> None:
    """Every voxel lies where an independent reader has it, and the mask lies on its very grid."""
    folder = write_series(tmp_path / "s", slices(voxels(), directions, towards * normal(directions) * 2.5))
    volume, other = read_image(folder), by_itk(folder)
    values = sitk.GetArrayFromImage(other)
    assert volume.geometry.shape == other.GetSize()
    for index in np.ndindex(*other.GetSize()):
        at = voxel_from_file(volume, index)
        assert volume.data[0][at] == values[index[::-1]]
        place = volume.affine @ (*at[::-1], 1)
        np.testing.assert_allclose(place[:3], other.TransformIndexToPhysicalPoint(index), atol=1e-4)
    mask = (volume.data[0] % 2).astype(np.uint8)
    written = sitk.ReadImage(str(write_label(mask, volume, tmp_path / "mask.nii.gz")))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written), values % 2)
    for found, expected in ((written.GetOrigin(), other.GetOrigin()), (written.GetDirection(), other.GetDirection())):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    same_grid(volume, read_label(tmp_path / "mask.nii.gz"))


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_files_as_simpleitk_reads_them(tmp_path: Path, name: str) -> None:
    path = Path(get_testdata_file(name))
    volume, other = read_image(path), sitk.ReadImage(str(path))
    mask = (volume.data[0] > np.median(volume.data)).astype(np.uint8)
    stored = slices_of_files(volume.data[0], volume)
    np.testing.assert_array_equal(stored, sitk.GetArrayFromImage(other))
    written = nib.load(write_label(mask, volume, tmp_path / "mask.nii"))
    np.testing.assert_array_equal(written.get_fdata().transpose(2, 1, 0), stored > np.median(stored))
    expected = np.reshape(other.GetDirection(), (3, 3)) * other.GetSpacing()
    np.testing.assert_allclose((written.affine[:3, :2].T * [-1, -1, 1]).T, expected[:, :2], atol=1e-4)
    np.testing.assert_allclose(written.affine[:3, 3] * [-1, -1, 1], other.GetOrigin(), atol=1e-4)


def test_each_slice_has_its_own_rescale(tmp_path: Path) -> None:
    stack = voxels()
    files = slices(stack)
    for number, file in enumerate(files):
        file.RescaleSlope, file.RescaleIntercept = number + 0.5, 10 * number
    volume = read_image(write_series(tmp_path / "pet", files))
    expected = [pixels * (i + 0.5) + 10 * i for i, pixels in enumerate(stack.astype(np.float32))]
    np.testing.assert_allclose(volume.data[0], expected)


@pytest.mark.parametrize("kind", [np.int16, np.uint16, np.uint8])
def test_signed_and_unsigned(tmp_path: Path, kind: type) -> None:
    stack = voxels((2, 3, 4)).astype(kind)
    stack[0, 0, 0], stack[1, 2, 3] = np.iinfo(kind).min, np.iinfo(kind).max
    volume = read_image(write_series(tmp_path / "s", slices(stack)))
    np.testing.assert_array_equal(volume.data[0], stack.astype(np.float32) - 1024)


def test_twelve_bits_of_sixteen(tmp_path: Path) -> None:
    """What older files keep in the unused bits, overlays for instance, is no part of the value."""
    stack = voxels((2, 3, 4)).astype(np.uint16)
    files = slices(stack | 0xF000, RescaleIntercept=0)
    for file in files:
        file.BitsStored, file.HighBit = 12, 11
    np.testing.assert_array_equal(read_image(write_series(tmp_path / "s", files)).data[0], stack)


def test_a_table_of_values(tmp_path: Path) -> None:
    stack = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [8, 0, 16], "US"
    table.add_new("LUTData", "US", [1000, 900, 800, 700, 600, 500, 400, 300])
    files = slices(stack, ModalityLUTSequence=Items([table]))
    for file in files:
        del file.RescaleSlope, file.RescaleIntercept
    volume = read_image(write_series(tmp_path / "s", files))
    np.testing.assert_array_equal(volume.data[0].ravel(), np.arange(1000, 200, -100))


def test_dark_that_means_more_is_turned_round_but_not_hounsfield_units(tmp_path: Path) -> None:
    pixels = np.array([[0, 1], [4000, 4095]], np.uint16)
    attributes = {"BitsStored": 12, "HighBit": 11, "PhotometricInterpretation": "MONOCHROME1"}
    xray = read_image(save(picture(pixels, Modality="DX", **attributes), tmp_path / "x.dcm"))
    np.testing.assert_array_equal(xray.data[0, 0], 4095 - pixels.astype(np.float32))
    ct = read_image(write_series(tmp_path / "ct", slices(pixels[None], **attributes)))
    np.testing.assert_array_equal(ct.data[0, 0], pixels.astype(np.float32) - 1024)


# --- enhanced multi-frame --------------------------------------------------------------------------------------


def test_an_enhanced_file_with_frames_in_reverse(tmp_path: Path) -> None:
    stack, slopes = voxels((4, 5, 6)), (1.0, 2.0, 3.0, 0.5)
    volume = read_image(save(enhanced(stack, slopes), tmp_path / "e.dcm"))
    expected = [pixels * slope - 1000 for pixels, slope in zip(stack.astype(np.float32), slopes, strict=True)]
    np.testing.assert_allclose(volume.data[0], expected[::-1])
    assert volume.spacing == (3.0, 0.5, 0.75)
    np.testing.assert_allclose(volume.affine[:3, 3], [-10, 20, 21])
    assert volume.geometry.header.frames == ((0, 3), (0, 2), (0, 1), (0, 0))
    (source,) = source_datasets(volume)
    assert source.NumberOfFrames == 4 and "PixelData" not in source
    assert source_datasets(volume, pixels=True)[0].PixelData == stack.tobytes()


def test_an_enhanced_file_as_highdicom_reads_it(tmp_path: Path) -> None:
    highdicom = pytest.importorskip("highdicom")
    path = save(enhanced(voxels((4, 5, 6)), (1.0, 1.0, 1.0, 1.0)), tmp_path / "e.dcm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = highdicom.image.imread(path).get_volume()
    volume = read_image(path)
    for index in np.ndindex(*other.spatial_shape):
        place = other.map_indices_to_reference(np.array([index]))[0]
        x, y, z = np.rint(np.linalg.solve(volume.affine, (*place, 1))[:3]).astype(int)
        assert volume.data[0, z, y, x] == other.array[index]


def test_a_film_is_refused(tmp_path: Path) -> None:
    film = picture(np.zeros((3, 4, 5), np.uint8), NumberOfFrames=3, Modality="US")
    with pytest.raises(GeometryError, match="do not say where they lie") as caught:
        read_image(save(film, tmp_path / "film.dcm"))
    assert caught.value.found == "3 frames" and "picture" in caught.value.mend


# --- pictures --------------------------------------------------------------------------------------------------


def test_a_photograph_is_a_picture(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    volume = read_image(save(picture(pixels), tmp_path / "photo.dcm"))
    np.testing.assert_array_equal(volume.data[:, 0], pixels.transpose(2, 0, 1))
    assert volume.is_picture and volume.spacing == (1.0, 1.0, 1.0)
    mask = (pixels[..., 0] > 100).astype(np.uint8)[None]
    assert mask_suffix(volume) == ".png"
    written = Image.open(write_label(mask, volume, tmp_path / "mask.png"))
    np.testing.assert_array_equal(np.asarray(written), mask[0])
    assert len(source_datasets(volume)) == 1 and slices_of_files(mask, volume).shape == (1, 4, 6)
    with pytest.raises(OutputError, match="picture"):
        write_label(mask, volume, tmp_path / "mask.nii.gz")


@pytest.mark.parametrize(
    "name", ["SC_ybr_full_422_uncompressed.dcm", "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_rle.dcm", "SC_rgb_rle_16bit.dcm"]
)
def test_colours_come_as_rgb_of_eight_bits(name: str) -> None:
    """All of these show the same bars: red at the top, then green, blue, black, grey and white."""
    data = read_image(Path(get_testdata_file(name))).data[:, 0]
    assert data.shape == (3, 100, 100)
    for row, colour in ((5, (255, 0, 0)), (25, (0, 255, 0)), (45, (0, 0, 255)), (95, (255, 255, 255))):
        np.testing.assert_allclose(data[:, row, 50], colour, atol=8)


def test_a_palette_comes_as_its_colours() -> None:
    data = read_image(Path(get_testdata_file("examples_palette.dcm"))).data
    assert data.shape == (3, 1, 350, 800) and data.max() == 255 and not np.array_equal(data[0], data[2])


def test_a_single_slice_is_a_scan(tmp_path: Path) -> None:
    volume = read_image(save(slices(voxels((1, 3, 4)))[0], tmp_path / "one"))
    assert not volume.is_picture and volume.spacing == (2.5, 0.5, 0.75) and volume.shape == (1, 3, 4)


def test_a_scan_is_no_label_and_its_mask_no_png(tmp_path: Path) -> None:
    path = save(slices(voxels((1, 3, 4)))[0], tmp_path / "one.dcm")
    with pytest.raises(LabelError, match="where a label is expected"):
        read_label(path)
    with pytest.raises(OutputError, match="scan"):
        write_label(np.zeros((1, 3, 4), np.uint8), read_image(path), tmp_path / "mask.png")


# --- what is wrong with a stack --------------------------------------------------------------------------------


def refused(folder: Path, files: list[Dataset], words: str, kind: type = GeometryError) -> GeometryError:
    write_series(folder, files, shuffled=False)
    with pytest.raises(kind, match=words) as caught:
        read_image(folder)
    assert caught.value.path == folder and caught.value.mend
    return caught.value


def test_missing_slices_are_counted_and_placed(tmp_path: Path) -> None:
    files = slices(voxels((9, 3, 4)))
    del files[3:5]
    error = refused(tmp_path / "s", files, "about 2 slices are missing")
    assert error.found == "7.5 mm between IM0002 and IM0003"


def test_slices_at_one_place_are_named(tmp_path: Path) -> None:
    files = slices(voxels())
    files += slices(voxels(seed=1))[2:3]
    assert "IM0002 and IM0005" in refused(tmp_path / "s", files, "at the place of another").found


def test_distances_that_change(tmp_path: Path) -> None:
    files = slices(voxels((6, 3, 4)))
    for file in files[3:]:
        file.ImagePositionPatient[2] += 0.5
    assert "3 mm between IM0002 and IM0003" in refused(tmp_path / "s", files, "distance between slices changes").found


def test_a_localizer_among_the_slices(tmp_path: Path) -> None:
    files = [*slices(voxels()), *slices(voxels()[:1], CORONAL)]
    error = refused(tmp_path / "s", files, "1 of 6 slices have another direction")
    assert error.found.startswith("IM0005: ")


def test_slices_of_another_size_or_pixel(tmp_path: Path) -> None:
    refused(tmp_path / "a", [*slices(voxels()), *slices(voxels((6, 4, 7))[5:])], "another direction, pixel size")
    refused(tmp_path / "b", [*slices(voxels()), *slices(voxels()[:1], spacing=(0.5, 0.5))], "another direction")


def test_a_slice_that_lies_aside(tmp_path: Path) -> None:
    files = slices(voxels())
    files[2].ImagePositionPatient[0] += 5
    assert "IM0002" in refused(tmp_path / "s", files, "do not lie on one line").found


def test_files_without_a_place(tmp_path: Path) -> None:
    files = slices(voxels())
    del files[1].ImagePositionPatient
    assert refused(tmp_path / "some", files, "1 of 5 files do not say").found == "IM0001"
    for file in files:
        file.pop("ImagePositionPatient", None)
    assert refused(tmp_path / "all", files, "several images that do not say").found == "5 files"


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
        ("ImageOrientationPatient", [0, 0, 0, 0, 0, 0]),
        ("PixelSpacing", [0, 0.5]),
        ("PixelSpacing", None),
    ],
)
def test_a_place_that_places_nothing(tmp_path: Path, keyword: str, value: object) -> None:
    files = slices(voxels())
    setattr(files[0], keyword, value)
    refused(tmp_path / "s", files, "slice IM0000 has no usable place")


def test_colour_among_grey_slices(tmp_path: Path) -> None:
    files = slices(voxels((3, 4, 5)))
    files[1] = dataset(
        np.zeros((4, 5, 3), np.uint8),
        **{k: files[1][k].value for k in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")},
    )
    refused(tmp_path / "s", files, "unlike the others", ImageError)


def test_file_slices_count_along_the_stack(tmp_path: Path) -> None:
    """Ours run to the head; these files' normal, and so their order, runs to the feet."""
    volume = read_image(write_series(tmp_path / "s", slices(voxels(), (1, 0, 0, 0, -1, 0))))
    assert [file_slice(volume, 0, i) for i in range(5)] == [4, 3, 2, 1, 0]
    positions = [file.ImagePositionPatient[2] for file in source_datasets(volume)]
    assert positions == sorted(positions, reverse=True)
