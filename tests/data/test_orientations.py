"""Every axis order and flip, in every volume format: same array inside, same grid outside."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from nibabel.orientations import axcodes2ornt, ornt_transform
from scipy.spatial.transform import Rotation

from masg_sam.data.io import mask_suffix, read_image, read_label, write_label
from masg_sam.data.task import Task
from masg_sam.data.volume import Volume
from masg_sam.inference.predictor import Predictor
from masg_sam.models.masg_sam import MasgSamNetwork

ORDERS = ["".join(p) for axes in product("LR", "AP", "SI") for p in permutations(axes)]
SUFFIXES = (".nii.gz", ".nrrd", ".mha")
SHAPE = (3, 4, 5)
ANGLES = {"aligned": (0, 0, 0), "oblique": (12, -17, 31), "at 45 degrees": (45, 0, 0)}
FORMS = ("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "pixdim", "dim", "xyzt_units", "qoffset_x")
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def anatomy(angles: tuple[float, ...], shape: tuple[int, ...] = SHAPE) -> nib.Nifti1Image:
    """No two voxels alike, anisotropic, turned about z, y, x, away from the origin."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("zyx", angles, degrees=True).as_matrix() * [0.5, 0.75, 3]
    affine[:3, 3] = (-7, 11, -20)
    return nib.Nifti1Image(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), affine)


def save(image: nib.Nifti1Image, codes: str, path: Path) -> Path:
    """Store it in another axis order, with nibabel or SimpleITK."""
    turned = image.as_reoriented(ornt_transform(nib.orientations.io_orientation(np.eye(4)), axcodes2ornt(codes)))
    if path.name.endswith(".nii.gz"):
        turned.set_sform(turned.affine, 2)
        turned.set_qform(turned.affine, 3)
        nib.save(turned, path)
        return path
    affine = LPS @ turned.affine
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    stored = sitk.GetImageFromArray(np.ascontiguousarray(np.asarray(turned.dataobj).T))
    stored.SetSpacing(lengths.tolist())
    stored.SetDirection((affine[:3, :3] / lengths).ravel().tolist())
    stored.SetOrigin(affine[:3, 3].tolist())
    sitk.WriteImage(stored, str(path))
    return path


def threshold(volume: Volume, path: Path) -> Path:
    """The larger half of the values as a mask: a prediction that knows what is right."""
    return write_label((volume.data[0] > 29).astype(np.uint8), volume, path)


def same_header(image: Path, mask: Path) -> None:
    """By other readers than ours, bit for bit."""
    if image.name.endswith(".nii.gz"):
        ours, theirs = nib.load(mask).header, nib.load(image).header
        for field in (*FORMS, "qoffset_y", "qoffset_z", "quatern_b", "quatern_c", "quatern_d"):
            assert ours[field].tobytes() == theirs[field].tobytes(), field
        return
    ours, theirs = sitk.ReadImage(str(mask)), sitk.ReadImage(str(image))
    for value in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(ours, value)() == getattr(theirs, value)(), value


def stored(path: Path) -> np.ndarray:
    """Voxels in the file's own order, by other readers than ours."""
    if path.name.endswith(".nii.gz"):
        return np.asarray(nib.load(path).dataobj)
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T


def places(path: Path, image: nib.Nifti1Image) -> set[tuple[int, ...]]:
    """Where in the anatomy the labelled voxels of a file lie, through the patient's space and by ITK."""
    mask = sitk.ReadImage(str(path))
    found = np.argwhere(sitk.GetArrayFromImage(mask))[:, ::-1].tolist()
    world = [(*mask.TransformIndexToPhysicalPoint(index), 1) for index in found]
    voxels = np.reshape(world, (-1, 4)) @ np.linalg.inv(LPS @ image.affine).T
    np.testing.assert_allclose(voxels, voxels.round(), atol=1e-3)
    return {tuple(voxel) for voxel in voxels[:, :3].round().astype(int).tolist()}


@pytest.mark.parametrize("angles", ANGLES)
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("codes", ORDERS)
def test_the_array_is_the_same_and_the_mask_lies_on_its_image(
    codes: str, suffix: str, angles: str, tmp_path: Path
) -> None:
    image = anatomy(ANGLES[angles])
    first = read_image(save(image, "LPS", tmp_path / f"first{suffix}"))
    path = save(image, codes, tmp_path / f"scan{suffix}")
    volume = read_image(path)
    np.testing.assert_array_equal(volume.data, first.data)
    np.testing.assert_allclose(volume.affine, first.affine, atol=1e-4)
    assert volume.spacing == pytest.approx(first.spacing)

    mask = threshold(volume, tmp_path / f"mask{suffix}")
    same_header(path, mask)
    np.testing.assert_array_equal(stored(mask), stored(path) > 29)
    assert mask_suffix(volume) == suffix
    assert places(mask, image) == {tuple(voxel) for voxel in np.argwhere(np.asarray(image.dataobj) > 29).tolist()}


def test_the_array_is_that_of_the_patients_axes(tmp_path: Path) -> None:
    """By hand: RAS voxels 2 apart in x come out reversed along x and y, and in the order z, y, x."""
    volume = read_image(save(anatomy((0, 0, 0)), "RAS", tmp_path / "a.nii.gz"))
    np.testing.assert_array_equal(volume.data[0], np.arange(60).reshape(SHAPE)[::-1, ::-1].transpose(2, 1, 0))
    assert volume.spacing == (3, 0.75, 0.5)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 1, 5), (3, 4, 1), (1, 1, 5), (1, 1, 1)])
def test_volumes_one_voxel_thin(shape: tuple[int, ...], suffix: str, tmp_path: Path) -> None:
    first = read_image(save(anatomy(ANGLES["oblique"], shape), "LPS", tmp_path / f"first{suffix}"))
    for codes in ORDERS[::5]:
        path = save(anatomy(ANGLES["oblique"], shape), codes, tmp_path / f"scan{suffix}")
        volume = read_image(path)
        np.testing.assert_array_equal(volume.data, first.data)
        mask = write_label(volume.data[0].astype(int), volume, tmp_path / f"mask{suffix}")
        same_header(path, mask)
        np.testing.assert_array_equal(stored(mask), stored(path))


@pytest.mark.parametrize(("shift", "warned"), [(0.04, False), (0.06, True)])
def test_forms_that_differ_by_a_tenth_of_a_voxel(
    shift: float, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The smallest voxel is 0.5 mm; the sform is used, and the mask keeps both."""
    image = anatomy((0, 0, 0))
    moved = image.affine.copy()
    moved[0, 3] += shift
    image.set_sform(image.affine, 1)
    image.set_qform(moved, 1)
    nib.save(image, tmp_path / "a.nii.gz")
    with caplog.at_level(logging.WARNING, "masg_sam"):
        volume = read_image(tmp_path / "a.nii.gz")
    assert bool(caplog.records) == warned
    assert volume.affine[0, 3] == pytest.approx(6)  # 7 - 2 * 0.5: the last voxel along R is the first along L
    same_header(tmp_path / "a.nii.gz", threshold(volume, tmp_path / "mask.nii.gz"))


def test_without_an_sform_the_qform_places_the_voxels_and_stays_alone(tmp_path: Path) -> None:
    image = anatomy(ANGLES["oblique"])
    image.set_qform(image.affine, 1)
    image.set_sform(None, 0)
    nib.save(image, tmp_path / "a.nii.gz")
    volume = read_image(tmp_path / "a.nii.gz")
    same_header(tmp_path / "a.nii.gz", threshold(volume, tmp_path / "mask.nii.gz"))
    np.testing.assert_allclose(volume.affine, read_label(tmp_path / "mask.nii.gz").affine)
    expected = read_image(save(anatomy(ANGLES["oblique"]), "LAI", tmp_path / "b.nii.gz"))
    np.testing.assert_array_equal(volume.data, expected.data)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_a_network_sees_the_same_patient_in_every_axis_order(
    plane: str, make_network: Callable[..., MasgSamNetwork], make_task: Callable[..., Task], tmp_path: Path
) -> None:
    """An untrained network, from file to file: masks agree voxel for voxel in the patient."""
    rng = np.random.default_rng(0)
    image = anatomy(ANGLES["oblique"], (14, 12, 6))
    image = nib.Nifti1Image(rng.normal(100, 30, image.shape).astype(np.int16), image.affine)
    predictor = Predictor(make_network(classes=1).eval(), make_task(plane=plane), "cpu")
    found = []
    for codes, suffix in zip(("LPS", "RAS", "AIR", "SPL", "IRP"), (*SUFFIXES, *SUFFIXES), strict=False):
        volume = read_image(save(image, codes, tmp_path / f"{codes}{suffix}"))
        mask = write_label(predictor.segment(volume).mask, volume, tmp_path / f"{codes}-mask{suffix}")
        found.append(places(mask, image))
    assert 0 < len(found[0]) < np.prod(image.shape)
    assert all(one == found[0] for one in found)
