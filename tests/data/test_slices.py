from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import Unchanged

from masg_sam.data.dataset import prepare_case
from masg_sam.data.slices import (
    canvas_shape,
    filled_window,
    from_slices,
    in_plane,
    network_batches,
    pad_to,
    resize_images,
    resize_labels,
    round_up,
    spread_slices,
    to_slices,
    unpad,
    with_neighbours,
    working_shape,
)
from masg_sam.data.task import PLANES, Task
from masg_sam.data.volume import Geometry, Volume

Make = Callable[..., Task]


def volume(shape: tuple[int, ...], spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Volume:
    data = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return Volume(data, spacing, np.eye(4), Geometry("array", shape[1:], None), Path("x"))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 33), st.integers(0, 33))
def test_unpad_undoes_pad(rows: int, columns: int, more_rows: int, more_columns: int) -> None:
    image = torch.randn(2, rows, columns)
    padded = pad_to(image, (rows + more_rows, columns + more_columns))
    assert padded.shape == (2, rows + more_rows, columns + more_columns)
    assert torch.equal(unpad(padded, (rows, columns)), image)
    torch.testing.assert_close(padded.sum(), image.sum(), rtol=1e-4, atol=1e-4)


def test_padding_lies_evenly_around() -> None:
    padded = pad_to(torch.ones(1, 1, 2), (4, 5))
    assert padded[0].tolist() == [[0, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.integers(0, 2))
def test_slices_and_back(z: int, y: int, x: int, axis: int) -> None:
    data = np.arange(2 * z * y * x).reshape(2, z, y, x)
    slices = to_slices(data, axis)
    assert slices.shape == ((z, y, x)[axis], 2, *in_plane((z, y, x), axis))
    np.testing.assert_array_equal(from_slices(slices[:, 1], axis), data[1])


@pytest.mark.parametrize(("axis", "expected"), [(0, (2, 3)), (1, (1, 3)), (2, (1, 2))])
def test_in_plane(axis: int, expected: tuple[int, int]) -> None:
    assert in_plane((1, 2, 3), axis) == expected


@pytest.mark.parametrize(
    ("length", "expected"), [(0.3, 32), (32, 32), (32.0000001, 32), (32.5, 64), (224, 224), (225, 256)]
)
def test_round_up(length: float, expected: int) -> None:
    assert round_up(length) == expected


def test_working_shape_is_millimetres_over_pixel(make_task: Make) -> None:
    scan = volume((1, 10, 183, 140), (2.5, 0.625, 0.625))
    assert working_shape(scan, make_task(pixel=1.25)) == (92, 70)
    assert working_shape(scan, make_task(plane="coronal", pixel=1.25)) == (20, 70)
    assert working_shape(scan, make_task(plane="sagittal", pixel=1.25)) == (20, 92)


def test_a_picture_fits_its_longest_side(make_task: Make) -> None:
    task = make_task(pixel=0.0, size=(192, 224), reach=0, pictures=True)
    assert working_shape(volume((3, 1, 300, 600)), task) == (112, 224)
    assert working_shape(volume((3, 1, 600, 300)), task) == (224, 112)
    assert working_shape(volume((3, 1, 1, 5000)), task) == (1, 224)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.integers(1, 400), columns=st.integers(1, 400))
def test_canvas_is_at_least_the_training_size_and_a_multiple_of_32(make_task: Make, rows: int, columns: int) -> None:
    canvas = canvas_shape((rows, columns), make_task(size=(64, 96)))
    assert all(side % 32 == 0 for side in canvas)
    assert canvas[0] >= max(64, rows) and canvas[1] >= max(96, columns)
    assert canvas[0] < max(65, rows + 32) and canvas[1] < max(97, columns + 32)


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [
        ((32, 32), (32, 96), (0, 96)),  # 40 + 14 - 8 = 46 to 60 + 14 + 8 = 82; 0 + 12 - 8 = 4 to 50 + 12 + 8 = 70
        ((128, 32), (0, 128), (0, 96)),  # as in training at least
        ((96, 128), (0, 96), (0, 128)),
    ],
)
def test_the_filled_window_by_hand(
    make_task: Make, size: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    """Filled are rows 40 to 59 of 100 and columns 0 to 49 of 200, of an input of 128 x 224."""
    data = np.full((2, 4, 100, 200), -1024, np.float32)
    data[0, 1, 40:60, 10:50] = 5
    data[1, 2, 45:50, 0:20] = 7
    scan = Volume(data, (1.0, 1.0, 1.0), np.eye(4), Geometry("array", data.shape[1:], None), Path("x"))
    assert filled_window(scan, make_task(size=size)) == (slice(*rows), slice(*columns))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.sampled_from(PLANES), st.sampled_from([0.5, 1.0, 1.7]))
def test_the_filled_window_holds_all_there_is(make_task: Make, draw: st.DataObject, plane: str, pixel: float) -> None:
    shape = draw.draw(st.tuples(*[st.integers(1, 150)] * 3))
    data = np.zeros((1, *shape), np.float32)
    ends = [sorted(draw.draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in shape]
    data[(0, *(slice(*pair) for pair in ends))] = 1
    data[0, 0, 0, 0] = 0
    scan = Volume(data, (1.0, 1.0, 1.0), np.eye(4), Geometry("array", shape, None), Path("x"))
    task = make_task(plane=plane, pixel=pixel, size=(64, 32), reach=0, intensity=Unchanged("scan"))
    rows, columns = filled_window(scan, task)
    for one, least in ((rows, 64), (columns, 32)):
        assert one.start >= 0 and one.stop - one.start >= least and (one.stop - one.start) % 32 == 0
    for batch in network_batches(scan, task, 50):
        assert batch[..., rows, columns].sum() == pytest.approx(batch.sum().item(), rel=1e-4)


def test_where_nothing_is_empty_the_window_is_the_whole_input(make_task: Make) -> None:
    task = make_task(size=(32, 32))
    whole = (slice(0, 128), slice(0, 224))
    assert filled_window(volume((1, 4, 100, 200)), task) == whole  # noise up to the corners
    even = Volume(np.ones((1, 4, 100, 200)), (1.0, 1.0, 1.0), np.eye(4), Geometry("array", (), None), Path("x"))
    assert filled_window(even, task) == whole
    black = np.zeros((3, 1, 100, 200))
    black[:, 0, 40:60, 90:110] = 1
    picture = Volume(black, (1.0, 1.0, 1.0), None, Geometry("array", (), None), Path("x"))
    assert filled_window(picture, make_task(pixel=0.0, size=(32, 64), reach=0)) == (slice(0, 32), slice(0, 64))


def framed(rows: slice, columns: slice) -> Volume:
    """A picture of 100 x 200, black but for a part."""
    data = np.full((3, 1, 100, 200), 5, np.float32)
    data[..., rows, columns] = 100
    return Volume(data, (1.0, 1.0, 1.0), None, Geometry("array", (), None), Path("x"))


def test_a_picture_is_scaled_to_what_its_frame_holds(make_task: Make) -> None:
    """Columns 40 to 149 of 200 fill 64 pixels, and so the picture 58 x 116; its window is as large as in training."""
    picture = framed(slice(5, 100), slice(40, 150))
    task = make_task(pixel=0.0, size=(64, 64), reach=0, intensity=Unchanged("colour"))
    assert working_shape(picture, task) == (58, 116)
    assert canvas_shape((58, 116), task) == (64, 128)
    rows, columns = filled_window(picture, task)
    assert rows == slice(0, 64)
    assert columns == slice(29, 93)  # 40 / 200 * 116 = 23, and 6 of padding; 150 / 200 * 116 = 87, and 6
    (batch,) = network_batches(picture, task, 1)
    assert batch[..., rows, columns].sum() == pytest.approx(batch.sum().item(), rel=0.005)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("shape", [(20, 50, 30), (20, 30, 50), (50, 20, 30), (50, 30, 20), (30, 20, 50), (30, 50, 20)])
def test_prediction_sees_a_scan_as_training_does(make_task: Make, plane: str, shape: tuple[int, int, int]) -> None:
    """Every voxel of every slice, in every plane, whichever side is the longest."""
    task = make_task(plane=plane, reach=0, size=(32, 32), intensity=Unchanged("scan"))
    scan = volume((1, *shape), (1.0, 1.5, 0.8))
    trained = prepare_case("a", scan, np.zeros(shape, np.uint8), task).images
    found = torch.cat(list(network_batches(scan, task, 3)))
    torch.testing.assert_close(unpad(found, tuple(trained.shape[-2:])), trained)  # type: ignore[arg-type]
    assert trained.abs().sum((1, 2, 3)).min() > 0
    torch.testing.assert_close(found.abs().sum(), trained.abs().sum())


def test_around_a_picture_is_what_training_saw_there(make_task: Make) -> None:
    """Zeros, as padding is, and not the black of the frame."""
    task = make_task(pixel=0.0, size=(64, 64), reach=0, intensity=Unchanged("colour"))
    picture = framed(slice(20, 70), slice(50, 150))
    label = np.zeros((1, 100, 200), np.uint8)
    (batch,) = network_batches(picture, task, 1)
    rows, columns = filled_window(picture, task)
    trained = pad_to(prepare_case("a", picture, label, task).images, (64, 64))
    assert batch[..., rows, columns].shape == trained.shape
    assert trained[0, 0, :15].abs().max() == trained[0, 0, 49:].abs().max() == 0  # 32 rows in the middle
    seen = batch[0, 0, rows, columns]
    assert seen[:12].abs().max() == seen[46:].abs().max() == 0  # rows 20 to 69 of 100 are 13 to 44 of 64
    assert seen[14:44, 1:63].min() == pytest.approx(100) == trained[0, 0, 17:47, 1:63].min()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_window_of_a_framed_picture_is_no_larger_than_training(make_task: Make, draw: st.DataObject) -> None:
    height, width = draw.draw(st.integers(20, 84)), draw.draw(st.integers(20, 150))
    top, left = draw.draw(st.integers(0, 100 - height)), draw.draw(st.integers(0, 200 - width))
    picture = framed(slice(top, top + height), slice(left, left + width))
    task = make_task(pixel=0.0, size=(96, 96), reach=0, intensity=Unchanged("colour"))
    rows, columns = filled_window(picture, task)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (96, 96)
    (batch,) = network_batches(picture, task, 1)
    assert rows.start >= 0 and columns.start >= 0
    assert rows.stop <= batch.shape[2] and columns.stop <= batch.shape[3]
    assert batch[..., rows, columns].sum() == pytest.approx(batch.sum().item(), rel=0.03)


def test_neighbours_repeat_at_the_ends() -> None:
    slices = torch.arange(5.0).view(5, 1, 1, 1)
    picked = {i: with_neighbours(slices, i, 2).flatten().tolist() for i in range(5)}
    assert picked == {0: [0, 0, 2], 1: [0, 1, 3], 2: [0, 2, 4], 3: [1, 3, 4], 4: [2, 4, 4]}


def test_a_single_slice_is_its_own_neighbour() -> None:
    assert with_neighbours(torch.full((1, 1, 1, 1), 7.0), 0, 3).flatten().tolist() == [7, 7, 7]


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("reach", [0, 1, 2])
def test_batches_do_not_depend_on_their_size(make_task: Make, plane: str, reach: int) -> None:
    task = make_task(plane=plane, reach=reach, size=(32, 32))
    scan = volume((1, 7, 20, 33), (1.0, 0.8, 1.3))
    whole = torch.cat(list(network_batches(scan, task, 100)))
    assert whole.shape[:2] == (scan.shape[task.axis], 3 if reach else 1)
    for size in (1, 2, 3, 5):
        parts = list(network_batches(scan, task, size))
        assert max(len(part) for part in parts) <= size
        torch.testing.assert_close(torch.cat(parts), whole)


def test_a_single_slice_makes_one_batch(make_task: Make) -> None:
    (batch,) = network_batches(volume((1, 1, 20, 20)), make_task(size=(32, 32)), 4)
    assert batch.shape == (1, 3, 32, 32)
    assert torch.equal(batch[0, 0], batch[0, 1]) and torch.equal(batch[0, 1], batch[0, 2])


def test_channels_stay_channels_without_neighbours(make_task: Make) -> None:
    task = make_task(reach=0, channels=("T1", "T2"), size=(32, 32))
    scan = volume((2, 3, 32, 32))
    (batch,) = network_batches(scan, task, 4)
    np.testing.assert_allclose(batch.numpy(), np.moveaxis(task.intensity(scan.data), 1, 0), atol=1e-6)


def test_labels_stay_classes_when_resized() -> None:
    label = torch.zeros(1, 9, 9, dtype=torch.uint8)
    label[:, 3:6, 3:6] = 7
    found = resize_labels(label, (27, 27))
    assert found.dtype == torch.uint8 and set(found.unique().tolist()) == {0, 7}
    assert (found == 7).sum() == 81 and found[0, 9:18, 9:18].all()


def test_images_and_labels_are_resized_onto_the_same_place() -> None:
    """A blob's centre of mass moves alike in both, so that borders stay where they are."""
    label = torch.zeros(1, 20, 31, dtype=torch.uint8)
    label[:, 4:9, 12:25] = 1
    image = label[:, None].float()
    for shape in ((11, 17), (53, 40)):
        small, mask = resize_images(image, shape)[0, 0], resize_labels(label, shape)[0].float()
        for axis in (0, 1):
            at = torch.arange(shape[axis]).float()
            centres = [(m.sum(1 - axis) * at).sum() / m.sum() for m in (small, mask)]
            assert abs(centres[0] - centres[1]) < 0.5


def test_shrinking_averages_instead_of_dropping() -> None:
    stripes = torch.zeros(1, 1, 64, 64)
    stripes[..., ::2] = 1.0
    found = resize_images(stripes, (16, 16))
    assert (found[..., 2:-2] - 0.5).abs().max() < 0.05


def test_the_right_size_passes_untouched() -> None:
    image, label = torch.randn(1, 1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8)
    assert resize_images(image, (4, 4)) is image and resize_labels(label, (4, 4)) is label


@pytest.mark.parametrize(
    ("held", "most", "chosen"),
    [
        ([0, 1, 1, 1, 1, 1, 0], 3, (1, 3, 5)),
        ([0, 1, 0, 1, 0, 0, 0], 3, (1, 3)),  # fewer than asked for: all of them
        ([0, 0, 0, 0, 0, 0, 0], 2, (0, 6)),  # nothing anywhere: through the whole volume
        ([1, 1, 1, 1, 1, 1, 1], 1, (0,)),
    ],
)
def test_slices_are_spread_through_those_that_hold_something(held: list[int], most: int, chosen: tuple) -> None:
    assert spread_slices(np.array(held, bool), most) == chosen
