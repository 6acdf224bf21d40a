from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from masg_sam.data.intensity import Intensity
from masg_sam.data.task import Task
from masg_sam.errors import InputError
from masg_sam.inference.arrays import array_volume

Make = Callable[..., Task]
RGB = ("R", "G", "B")


def test_a_scan_with_its_voxel_size(make_task: Make) -> None:
    scan = np.arange(24).reshape(2, 3, 4)
    volume = array_volume(scan, (5, 0.8, 0.7), make_task())
    assert volume.data.shape == (1, 2, 3, 4) and volume.data.dtype == np.float32
    assert volume.spacing == (5.0, 0.8, 0.7) and np.diag(volume.affine).tolist() == [0.7, 0.8, 5.0, 1.0]
    assert volume.voxel_ml == pytest.approx(5 * 0.8 * 0.7 / 1000)
    assert array_volume(np.stack([scan, scan]), (5, 1, 1), make_task()).data.shape == (2, 2, 3, 4)


@pytest.mark.parametrize(
    "spacing", [None, (1, 1), (0, 1, 1), (float("nan"), 1, 1), (-1, 1, 1), (float("inf"), 1, 1), 1.0]
)
def test_a_scan_without_a_voxel_size_is_refused(spacing: tuple[float, ...] | None, make_task: Make) -> None:
    with pytest.raises(InputError, match="needs its voxel size") as caught:
        array_volume(np.zeros((2, 3, 4)), spacing, make_task())
    assert "Z, Y, X" in caught.value.expected and "spacing" in str(caught.value.found)


def test_pictures_as_every_tool_holds_them(make_task: Make) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (5, 6)).astype(np.uint8)
    task = make_task(pictures=True, pixel=0.0, channels=("grey",))
    for image in (grey, grey[..., None], grey[None, None]):
        volume = array_volume(image, None, task)
        assert volume.is_picture and volume.spacing == (1.0, 1.0, 1.0)
        np.testing.assert_array_equal(volume.data, grey[None, None])
    colours = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    task = make_task(pictures=True, pixel=0.0, channels=RGB, intensity=Intensity("colour"))
    first = np.moveaxis(colours, -1, 0)[:, None]
    for image in (colours, first, colours / 255, colours * np.uint16(257)):  # of 8 bits, fractions, 16 bits
        np.testing.assert_allclose(array_volume(image, None, task).data, first, rtol=1e-6)


@pytest.mark.parametrize("image", [np.zeros(4), np.zeros((2, 3)), np.zeros((1, 0, 3, 4)), np.full((2, 3, 4), np.nan)])
def test_arrays_that_are_no_scans(image: np.ndarray, make_task: Make) -> None:
    with pytest.raises(InputError, match="cannot be used") as caught:
        array_volume(image, (1, 1, 1), make_task())
    assert "Z x Y x X" in caught.value.expected
    with pytest.raises(InputError, match="cannot be used") as caught:
        array_volume(np.zeros((2, 3, 4, 5, 6)), None, make_task(pictures=True))
    assert "Y x X x C" in caught.value.expected
