from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support import Unchanged
from torch.utils.data import DataLoader

from masg_sam.data.dataset import FOREGROUND_PART, AlternatingPlanes, TrainingCase, TrainingSamples, prepare_case
from masg_sam.data.labels import IGNORED
from masg_sam.data.task import Task
from masg_sam.data.volume import Geometry, Volume
from masg_sam.errors import LabelError

Make = Callable[..., Task]


def case(name: str, slices: int = 6, held: tuple[int, ...] = (2,), value: int = 1) -> TrainingCase:
    """Slices of noise; a class in some of them."""
    torch.manual_seed(slices)
    labels = torch.zeros(slices, 48, 48, dtype=torch.uint8)
    labels[list(held), 10:40, 10:40] = value
    return TrainingCase(name, torch.randn(slices, 1, 48, 48) + labels[:, None], labels)


def samples(task: Task, cases: list[TrainingCase], seed: int = 0, prompts: float = 0.5) -> TrainingSamples:
    return TrainingSamples(cases, task, 40, seed, prompts=prompts)


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_sample_depends_on_seed_and_number_alone(make_task: Make) -> None:
    cases = [case("a"), case("b", 4, (1, 2))]
    first, again = samples(make_task(), cases), samples(make_task(), cases)
    for index in (7, 0, 31):
        assert same(first[index], again[index])
    assert same(first[7], again[7])  # asked twice, out of order
    assert not same(first[7], first[8])
    assert not same(first[7], samples(make_task(), cases, seed=1)[7])


def framed(task: Task, drawn: slice) -> TrainingCase:
    """A picture of 100 x 200 with something in columns 40 to 149, of which some columns are labelled."""
    data, label = np.zeros((3, 1, 100, 200), np.float32), np.zeros((1, 100, 200), np.uint8)
    data[..., 40:150] = 100
    label[:, 20:60, drawn] = 1
    picture = Volume(data, (1.0, 1.0, 1.0), None, Geometry("picture", label.shape, None), Path("a.png"))
    return prepare_case("a", picture, label, task)


def test_training_sees_a_picture_without_its_frame(make_task: Make) -> None:
    """110 of 200 columns are left, and become 55 x 60.5 pixels; a label in the frame keeps its part of that."""
    task = make_task(pixel=0.0, size=(64, 64), reach=0, intensity=Unchanged("colour"), pictures=True)
    inside = framed(task, slice(60, 80))
    assert inside.images.shape == (1, 3, 58, 64) and inside.labels.shape == (1, 58, 64)
    assert float(inside.images.min()) == pytest.approx(100, rel=1e-4)
    columns = torch.nonzero(inside.labels[0].any(0)).flatten()
    assert columns.tolist() == list(range(12, 23))  # (60 - 40) * 64 / 110 = 11.6 to (80 - 40) * 64 / 110 = 23.3
    outside = framed(task, slice(20, 60))
    assert outside.images.shape == (1, 3, 58, 76)  # 130 of 200 columns
    assert torch.nonzero(outside.labels[0].any(0)).flatten()[0] == 0


def test_slices_that_nobody_labelled_are_not_shown(make_task: Make) -> None:
    """Every third slice of one case is labelled, and marked by its brightness; of the other case none is."""
    sparse, bare = case("a", 9, held=(3,)), case("b", 4, held=())
    sparse.images[:] = torch.arange(9.0)[:, None, None, None]
    for number in set(range(9)) - {0, 3, 6}:
        sparse.labels[number] = IGNORED
    bare.labels[:] = IGNORED
    data = samples(make_task(reach=0), [sparse, bare], prompts=0.0)
    chosen = [data._choose(np.random.default_rng(i)) for i in range(40)]
    assert {(found.name, number) for found, number, _ in chosen} == {("a", 0), ("a", 3), ("a", 6)}


def test_a_batch_is_of_one_plane(make_task: Make) -> None:
    """Batches of two: axial, coronal, axial, ...; each sample is that plane's own."""
    views = make_task(across={"coronal": (32, 64)}).views
    assert [view.plane for view in views] == ["axial", "coronal"] and views[1].size == (32, 64)
    planes = [samples(view, [case("a")]) for view in views]
    data = AlternatingPlanes(planes, 2)
    assert len(data) == 40 and [data.plane_of(i) for i in range(6)] == [0, 0, 1, 1, 0, 0]
    for i in range(6):
        assert same(data[i], planes[data.plane_of(i)][i])
    assert [tuple(batch["label"].shape[1:]) for batch in DataLoader(data, 2)][:3] == [(64, 64), (32, 64), (64, 64)]


def test_workers_change_nothing(make_task: Make) -> None:
    data = samples(make_task(), [case("a")])
    for workers in (0, 1):
        batch = next(iter(DataLoader(data, batch_size=3, num_workers=workers)))
        for name, value in batch.items():
            assert torch.equal(value, torch.stack([data[i][name] for i in range(3)]))


def test_what_a_sample_holds(make_task: Make) -> None:
    data = samples(make_task(2), [case("a", held=(1, 2)), case("b", held=(3,), value=2)], prompts=1.0)
    assert len(data) == 40
    classes = set()
    for index in range(25):
        item = data[index]
        assert item["image"].shape == (3, 64, 64) and item["label"].shape == (64, 64)
        assert item["image"].isfinite().all()
        classes |= set(item["label"].unique().tolist())
        for (x, y), kind, number in zip(item["points"], item["kinds"], item["classes"], strict=True):
            if kind == 1:
                assert item["label"][int(y), int(x)] == number
    assert classes == {0, 1, 2}


def test_most_samples_aim_at_a_class(make_task: Make) -> None:
    """One slice in fifty is labelled: without aiming, one sample in fifty would show the class."""
    data = samples(make_task(), [case("a", slices=50, held=(7,))])
    shown = [data[i]["label"].any().item() for i in range(40)]
    assert FOREGROUND_PART - 0.2 < np.mean(shown) < FOREGROUND_PART + 0.2
    chosen = {data._choose(np.random.default_rng(i))[1] for i in range(400)}
    assert len(chosen) > 40  # the rest is seen too


def test_rare_classes_are_drawn_as_often_as_common_ones(make_task: Make) -> None:
    cases = [case("common", 30, tuple(range(30)), 1), case("rare", 30, (4,), 2)]
    data = samples(make_task(2), cases)
    picks = [data._choose(np.random.default_rng(i)) for i in range(1000)]
    rare = np.mean([chosen.name == "rare" and number == 4 for chosen, number, _ in picks])
    assert rare == pytest.approx(FOREGROUND_PART / 2 + (1 - FOREGROUND_PART) / 60, abs=0.05)


def test_a_class_that_no_slice_shows_is_never_aimed_at(make_task: Make) -> None:
    data = samples(make_task(3), [case("a", value=2)])
    assert list(data.holding) == [2]
    assert all(data[i]["label"].max() <= 2 for i in range(10))


def test_labels_that_vanished_when_they_were_shrunk_are_refused(make_task: Make) -> None:
    """A structure of a few voxels may be smaller than the network's pixel."""
    with pytest.raises(LabelError) as caught:
        samples(make_task(), [case("a", held=())])
    assert "data.size" in caught.value.mend


def test_one_slice(make_task: Make) -> None:
    item = samples(make_task(), [case("a", slices=1, held=(0,))])[0]
    assert item["image"].shape == (3, 64, 64)


def test_channels_without_neighbours(make_task: Make) -> None:
    torch.manual_seed(0)
    two = TrainingCase("a", torch.randn(3, 2, 40, 50), torch.ones(3, 40, 50, dtype=torch.uint8))
    item = samples(make_task(reach=0, channels=("T1", "T2"), size=(32, 64)), [two])[0]
    assert item["image"].shape == (2, 32, 64) and item["label"].shape == (32, 64)


@pytest.mark.parametrize(
    ("plane", "slices", "shape"),
    [("axial", 5, (20, 24)), ("coronal", 10, (15, 24)), ("sagittal", 12, (15, 20))],
)
def test_prepare_resamples_to_the_pixel_size(make_task: Make, plane: str, slices: int, shape: tuple[int, int]) -> None:
    data = np.random.default_rng(0).normal(size=(1, 5, 10, 12)).astype(np.float32)
    label = (data[0] > 0).astype(np.uint8)
    volume = Volume(data, (3.0, 2.0, 2.0), np.eye(4), Geometry("array", data.shape[1:], None), Path("x"))
    found = prepare_case("a", volume, label, make_task(plane=plane))
    assert found.images.shape == (slices, 1, *shape) and found.labels.shape == (slices, *shape)
    assert found.images.dtype == torch.float32 and found.labels.dtype == torch.uint8


def test_prepare_keeps_voxels_that_need_no_resampling(make_task: Make) -> None:
    data = np.random.default_rng(0).normal(size=(1, 3, 8, 9)).astype(np.float32)
    label = (data[0] > 0).astype(np.uint8)
    volume = Volume(data, (1.0, 1.0, 1.0), np.eye(4), Geometry("array", data.shape[1:], None), Path("x"))
    task = make_task(plane="sagittal")
    found = prepare_case("a", volume, label, task)
    np.testing.assert_array_equal(found.labels.numpy(), np.moveaxis(label, 2, 0))
    np.testing.assert_allclose(found.images[:, 0].numpy(), np.moveaxis(task.intensity(data)[0], 2, 0))
