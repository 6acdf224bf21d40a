from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from support import Unchanged
from torch import Tensor, nn

from masg_sam.data.intensity import Intensity
from masg_sam.data.task import PLANES, Task
from masg_sam.data.volume import Geometry, Volume
from masg_sam.errors import ImageError
from masg_sam.inference import predictor as module
from masg_sam.inference.predictor import Predictor
from masg_sam.inference.prompting import Box, Click, RoughMask, UserPrompt
from masg_sam.models.masg_sam import MasgSamOutput
from masg_sam.models.sam.prompts import Prompts

Make = Callable[..., Task]


class Threshold(nn.Module):
    """Stands for a network: bright is class 1, very bright class 2, at a part of the resolution."""

    def __init__(self, stride: int = 2) -> None:
        super().__init__()
        self.stride = stride
        self.batches: list[tuple[int, ...]] = []
        self.prompts: list[Prompts | None] = []

    def forward(self, images: Tensor, prompts: Prompts | None = None) -> MasgSamOutput:
        self.batches.append(tuple(images.shape))
        self.prompts.append(prompts)
        middle = images[:, images.shape[1] // 2]
        grey = nn.functional.avg_pool2d(middle[:, None], self.stride)[:, 0]
        return MasgSamOutput(torch.stack([torch.zeros_like(grey), 9 * (grey - 0.5), 18 * (grey - 1.0)], 1))


class Hundredths(Intensity):
    """Of the voxels."""

    def __call__(self, data: np.ndarray) -> np.ndarray:
        return data / 100


def volume(data: np.ndarray, spacing: tuple[float, float, float] = (5.0, 1.0, 1.0), picture: bool = False) -> Volume:
    data = np.asarray(data, np.float32)
    return Volume(data, spacing, None if picture else np.eye(4), Geometry("array", data.shape[1:], None), Path("x"))


def organs() -> np.ndarray:
    """One bright box and one very bright one, in a volume ``1 x 5 x 44 x 37``."""
    data = np.zeros((1, 5, 44, 37))
    data[0, 1:4, 8:24, 4:20] = 1.0
    data[0, 2, 28:40, 24:34] = 3.0
    return data


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.fixture
def task(make_task: Make) -> Callable[..., Task]:
    return lambda **changes: make_task(2, intensity=Unchanged("scan"), **changes)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("pixel", [0.5, 1.0])
def test_the_mask_lies_on_the_volumes_own_grid(task: Callable[..., Task], plane: str, pixel: float) -> None:
    data = organs().repeat(4, 1)
    found = Predictor(Threshold(), task(plane=plane, pixel=pixel)).segment(volume(data, (1.0, 1.0, 1.0)))
    assert found.mask.shape == data.shape[1:] and found.mask.dtype == np.uint8
    for value, grey in ((1, 1.0), (2, 3.0)):
        assert dice(found.mask == value, data[0] == grey) > 0.7
    assert set(np.unique(found.mask)) <= {0, 1, 2}


ACROSS = {"coronal": (64, 64), "sagittal": (64, 64)}


class Steadfast(nn.Module):
    """Stands for a network that knows the plane by the brightness of a slice's middle, and is of one mind in each."""

    def __init__(self, *minds: float) -> None:
        super().__init__()
        self.minds = minds  # logit of the class in the axial, coronal, sagittal plane

    def forward(self, images: Tensor, prompts: Prompts | None = None) -> MasgSamOutput:
        plane = int(images[0, 1].max().item()) - 1
        one = torch.full_like(images[:, 1], self.minds[plane])
        return MasgSamOutput(torch.stack([torch.zeros_like(one), one], 1))


def test_three_planes_decide_together(make_task: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 slices, 40 rows and columns: axial slices count four times. Logits 1, -5, -5 have the mean -1, so the class
    goes; with 2, -1, -1 it stays."""
    original = module.network_batches

    def marked(volume: Volume, task: Task, *rest: int, **more: np.ndarray) -> Iterator[Tensor]:
        yield from (torch.full_like(batch, 1.0 + task.axis) for batch in original(volume, task, *rest, **more))

    monkeypatch.setattr(module, "network_batches", marked)
    task = make_task(1, intensity=Unchanged("scan"), across=ACROSS)
    data = volume(np.ones((1, 20, 40, 40)), (1.0, 1.0, 1.0))
    gone = Predictor(Steadfast(1.0, -5.0, -5.0), task).segment(data)
    kept = Predictor(Steadfast(2.0, -1.0, -1.0), task).segment(data)
    assert not gone.mask.any() and kept.mask.all()
    assert kept.confidence == (pytest.approx(torch.tensor(1.0).sigmoid().item(), abs=2e-3),)
    assert gone.planes.dice() == pytest.approx([0.0]) and kept.planes.dice() == pytest.approx([1.0])
    spoken = Predictor(Steadfast(1.0, -5.0, -5.0), task).segment(data, [Click((7, 3, 3), "organ 1")])
    assert np.argwhere(spoken.mask).tolist() == [[7, 3, 3]]  # a voxel: half a fortieth of the slice is its reach
    assert spoken.planes.dice() == pytest.approx([0.0])  # of what the network said
    drawn = Predictor(Steadfast(1.0, -5.0, -5.0), task).segment(data, [RoughMask(np.ones((20, 40, 40)), "organ 1")])
    assert drawn.mask.all()
    thin = volume(np.ones((1, 15, 24, 28)), (1.0, 1.0, 1.0))
    alone = Predictor(Steadfast(1.0, -5.0, -5.0), task).segment(thin)
    assert alone.mask.all() and alone.planes is None


def test_three_planes_on_the_volumes_own_grid(task: Callable[..., Task]) -> None:
    data = organs().repeat(6, 1)
    three = Predictor(Threshold(), task(across=ACROSS)).segment(volume(data, (1.0, 1.0, 1.0)))
    for value, grey in ((1, 1.0), (2, 3.0)):
        assert dice(three.mask == value, data[0] == grey) > 0.9


def test_three_planes_normalise_once(make_task: Make) -> None:
    class Counted(Unchanged):
        calls: ClassVar[list[tuple[int, ...]]] = []

        def __call__(self, data: np.ndarray) -> np.ndarray:
            self.calls.append(data.shape)
            return data

    data = volume(organs().repeat(6, 1), (1.0, 1.0, 1.0))
    Predictor(Threshold(), make_task(2, intensity=Counted("scan"), across=ACROSS)).segment(data)
    assert Counted.calls == [data.data.shape]


def test_the_batch_size_changes_nothing(task: Callable[..., Task]) -> None:
    whole = Predictor(Threshold(), task(), batch_size=100).segment(volume(organs()))
    for size in (1, 2, 3):
        network = Threshold()
        found = Predictor(network, task(), batch_size=size).segment(volume(organs()))
        assert np.array_equal(found.mask, whole.mask) and found.confidence == whole.confidence
        assert max(shape[0] for shape in network.batches) <= size
        assert sum(shape[0] for shape in network.batches) == 5


def test_the_network_sees_multiples_of_32(task: Callable[..., Task]) -> None:
    network = Threshold()
    data = np.zeros((1, 3, 100, 37))
    Predictor(network, task(size=(64, 64))).segment(volume(data))
    assert network.batches == [(3, 3, 128, 64)]


@pytest.mark.parametrize("plane", PLANES)
def test_no_time_is_spent_on_an_empty_margin(task: Callable[..., Task], plane: str) -> None:
    """The organs in a wide margin: the same mask, from a smaller input, and nothing in the margin."""
    wide = np.pad(organs(), ((0, 0), (130, 90), (30, 150), (180, 90)))
    network = Threshold()
    predictor = Predictor(network, task(plane=plane, size=(32, 32)))
    scan = volume(wide, (1.0, 1.0, 1.0))
    found = predictor.segment(scan)
    assert max(max(shape[2:]) for shape in network.batches) <= 96
    one = volume(wide, (1.0, 1.0, 1.0))
    one.data[0, 0, 0, 0] = 1e-3  # a corner that is not empty
    whole = predictor.segment(one)
    assert max(network.batches[-1][2:]) > 192
    assert np.array_equal(found.mask, whole.mask) and found.mask.any()
    assert found.confidence == pytest.approx(whole.confidence, abs=1e-3)


def test_second_opinions_leave_the_margin_out_too(
    make_task: Make, make_network: Callable[..., nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(module.SecondOpinions, "ask", lambda self, batch: asked.append(tuple(batch.shape[2:])))
    monkeypatch.setattr(module.SecondOpinions, "signals", lambda *_: None)
    predictor = Predictor(make_network(2), make_task(2, size=(64, 64)))
    scan = volume(np.pad(organs(), ((0, 0), (0, 0), (30, 150), (180, 90))))
    predictor.signals(scan, predictor.segment(scan))
    assert asked == [(96, 96)]  # of 224 x 320


def test_prompts_may_lie_in_an_empty_margin(task: Callable[..., Task]) -> None:
    network = Threshold()
    wide = np.pad(organs(), ((0, 0), (0, 0), (96, 96), (96, 96)))
    Predictor(network, task(size=(32, 32)), batch_size=5).segment(volume(wide), [Click((3, 2, 5), "organ 2")])
    assert network.batches == [(4, 3, 256, 256), (1, 3, 256, 256)]
    assert network.prompts[-1].points[0, 0].tolist() == [5 + (256 - 229) // 2, 2 + (256 - 236) // 2]


def test_one_slice_and_a_picture(task: Callable[..., Task]) -> None:
    data = organs()[:, 2:3]
    scan = Predictor(Threshold(), task()).segment(volume(data))
    assert scan.mask.shape == (1, 44, 37) and set(np.unique(scan.mask)) == {0, 1, 2}
    picture_task = task(reach=0, pixel=0.0, channels=("r", "g", "b"), pictures=True)
    picture = Predictor(Threshold(), picture_task).segment(volume(data.repeat(3, 0), (1.0, 1.0, 1.0), picture=True))
    assert dice(picture.mask == 1, data[0] == 1) > 0.85


def test_a_black_frame_changes_nothing(task: Callable[..., Task]) -> None:
    """The same picture by itself and between black sides: the same mask, and nothing beyond it."""
    data = np.full((3, 1, 32, 32), 30.0)
    data[..., 4:16, 8:20] = 120
    data[..., 20:28, 20:28] = 240
    wide = np.zeros((3, 1, 32, 96))
    wide[..., 24:56] = data
    pictures = task(reach=0, pixel=0.0, channels=("r", "g", "b"), pictures=True, size=(64, 64))
    pictures = replace(pictures, intensity=Hundredths("colour"))
    network = Threshold()
    alone, framed = (Predictor(network, pictures).segment(volume(one, picture=True)).mask for one in (data, wide))
    assert set(np.unique(alone)) == {0, 1, 2}
    assert np.array_equal(framed[..., 24:56], alone) and np.count_nonzero(framed) == np.count_nonzero(alone)
    assert network.batches == [(1, 3, 64, 64)] * 2

    Predictor(network, pictures).segment(volume(wide, picture=True), [Click((0, 10, 25), "organ 1")])
    prompts = network.prompts[-1]
    assert prompts is not None and network.batches[-1] == (1, 3, 64, 192)
    assert prompts.points[0, 0].tolist() == [25.5 * 2 - 0.5, 10.5 * 2 - 0.5]


def test_confidence_is_the_mean_probability_of_what_was_given_to_a_class(make_task: Make) -> None:
    class Sure(nn.Module):
        """Class 1 at 0.8 in the left half, background at 0.6 in the right."""

        def forward(self, images: Tensor, _: None = None) -> MasgSamOutput:
            left = torch.arange(images.shape[-1]) < images.shape[-1] // 2
            one = torch.where(left, 0.8, 0.4).expand(len(images), images.shape[-2], -1)
            return MasgSamOutput(torch.stack([1 - one, one], 1).log())

    found = Predictor(Sure(), make_task(size=(32, 32))).segment(volume(np.zeros((1, 2, 32, 32))))
    assert found.confidence == (pytest.approx(0.8, abs=1e-3),)
    assert (found.mask == np.broadcast_to(np.arange(32) < 16, (2, 32, 32))).all()


def test_a_class_that_is_not_found_has_no_confidence(task: Callable[..., Task]) -> None:
    data = organs()
    data[data > 1] = 0
    found = Predictor(Threshold(), task()).segment(volume(data))
    assert found.confidence[0] > 0.5 and found.confidence[1] is None


def test_stray_pieces_go_where_the_class_comes_in_one(task: Callable[..., Task]) -> None:
    data = organs()
    data[0, 1:4, 30:42, 4:10] = 1.0  # a second, smaller piece of class 1
    kept = Predictor(Threshold(), task()).segment(volume(data))
    mended = Predictor(Threshold(), task(single=(True, False))).segment(volume(data))
    assert (kept.mask[2, 32:40, 5:9] == 1).any()
    assert not (mended.mask[2, 32:40, 5:9] == 1).any()
    assert np.array_equal(kept.mask == 2, mended.mask == 2)


@pytest.mark.parametrize("plane", PLANES)
def test_of_two_pieces_the_surer_one_stays(task: Callable[..., Task], plane: str) -> None:
    """Of class 1 a grey piece of 2304 voxels with logits 0.9 and a brighter one of 1000 with logits 4.5."""
    data = np.zeros((1, 48, 48, 48))
    data[0, 10:22, 8:24, 4:16], data[0, 30:40, 28:38, 30:40] = 0.6, 1.0
    found = Predictor(Threshold(), task(plane=plane, single=(True, False))).segment(volume(data, (4.0, 1.0, 1.0)))
    assert found.mask[35, 33, 35] == 1 and not found.mask[10:22, 8:24, 4:16].any()


def test_neighbouring_slices_agree_in_thin_slices_only(task: Callable[..., Task]) -> None:
    """A slice without the organ between slices that have it is filled in at 0.5 mm and left at 5 mm."""
    data = organs()[:, [2] * 7]
    data[0, 3] = 0
    thin = Predictor(Threshold(), task(pixel=1.0)).segment(volume(data, (0.5, 1.0, 1.0)))
    thick = Predictor(Threshold(), task(pixel=1.0)).segment(volume(data, (5.0, 1.0, 1.0)))
    assert thin.mask[3].any() and not thick.mask[3].any()
    assert module.SMOOTHING_MM == 1.0


def test_joined_planes_are_smoothed_less(task: Callable[..., Task], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    monkeypatch.setattr(module, "smooth_slices", lambda batches, sigma: (seen.append(sigma), batches)[1])
    cube = volume(np.ones((1, 20, 24, 28)), (0.5, 1.0, 2.0))
    Predictor(Threshold(), task(pixel=1.0)).segment(cube)
    assert seen == [1.6]  # 1 mm would be two slices
    seen.clear()
    Predictor(Threshold(), task(pixel=1.0, across=ACROSS)).segment(cube)
    assert sorted(seen) == [0.25, 0.5, 1.0]  # 0.5 mm in slices of each plane


def test_no_more_than_a_few_slices_are_smoothed_over(task: Callable[..., Task]) -> None:
    """A structure ten slices thick stands at any voxel size."""
    data = np.zeros((1, 40, 44, 37))
    data[0, 15:25, 8:24, 4:20] = 3.0
    found = Predictor(Threshold(), task(pixel=1.0)).segment(volume(data, (0.05, 1.0, 1.0)))
    assert np.flatnonzero((found.mask == 2).any((1, 2))).tolist() == list(range(15, 25))


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize(
    "prompts",
    [
        [Box((3, 5, 5), (3, 20, 20), "organ 1")],
        [Box((3, 5, 5), (3, 20, 20), "organ 1"), Box((3, 10, 10), (3, 30, 30), "organ 2")],  # more points than SLOTS
    ],
    ids=["box", "two boxes"],
)
def test_a_box_changes_nothing_in_other_slices(
    make_task: Make, make_network: Callable[..., nn.Module], prompts: list[UserPrompt], mirror: bool
) -> None:
    """They are seen as without any prompt, whatever comes with them in a batch."""
    task = make_task(2, mirror=mirror)
    free = Predictor(make_network(2), task, batch_size=5).segment(volume(organs()))
    asked = Predictor(make_network(2), task, batch_size=5).segment(volume(organs()), prompts)
    others = [0, 1, 2, 4]
    np.testing.assert_allclose(asked.certainty.mass[others], free.certainty.mass[others], rtol=1e-4)
    assert not np.allclose(asked.certainty.mass[3], free.certainty.mass[3], rtol=1e-4)


@pytest.mark.parametrize("width", [64, 32])
def test_prompts_are_mirrored_and_turned_with_their_slice(make_task: Make, width: int) -> None:
    """In each of eight views of a square input, and of four of another, the click lies on the same bright pixel."""

    class Pointer(Threshold):
        def forward(self, images: Tensor, prompts: Prompts | None = None) -> MasgSamOutput:
            x, y = prompts.points[0, 0].long().tolist()  # type: ignore[union-attr]
            pointed.append(float(images[0, 1, y, x]))
            return super().forward(images, prompts)

    pointed: list[float] = []
    data = np.zeros((1, 1, 64, width))
    data[0, 0, 9, 21] = 5.0
    pictures = make_task(
        2, intensity=Unchanged("scan"), reach=0, pixel=0.0, channels=("r", "g", "b"), pictures=True, mirror=True
    )
    pictures = replace(pictures, size=(64, width))
    picture = volume(data.repeat(3, 0), (1.0, 1.0, 1.0), picture=True)
    Predictor(Pointer(), pictures).segment(picture, [Click((0, 9, 21), "organ 2")])
    assert pointed == [5.0] * (8 if width == 64 else 4)


def test_prompts_reach_the_network_with_their_slice(task: Callable[..., Task]) -> None:
    network = Threshold()
    Predictor(network, task(), batch_size=2).segment(volume(organs()), [Click((3, 10, 12), "organ 2")])
    assert [given is None for given in network.prompts] == [True, True, False, True]  # slices 0 and 1, 2, 3, 4
    given = network.prompts[2]
    assert given.classes.tolist() == [[2, 0, 0]]
    assert given.points[0, 0].tolist() == [12 + (64 - 37) // 2, 10 + (64 - 44) // 2]
    mask = np.zeros((5, 44, 37))
    Predictor(network, task(), batch_size=5).segment(volume(organs()), [RoughMask(mask, "organ 1")])
    assert network.prompts[-1].masks.shape == (5, 2, 16, 16)


def test_another_number_of_channels_is_refused(task: Callable[..., Task]) -> None:
    with pytest.raises(ImageError) as caught:
        Predictor(Threshold(), task()).segment(volume(organs().repeat(2, 0)))
    assert caught.value.found == "2 channels" and "1 (MRI)" in str(caught.value.expected)


def test_pictures_and_scans_have_models_of_their_own(task: Callable[..., Task]) -> None:
    """As in training, which refuses both in one dataset; a scan of one slice may be a picture."""
    picture_model = Predictor(Threshold(), task(reach=0, pixel=0.0, channels=("grey",), pictures=True))
    with pytest.raises(ImageError, match="a scan for a model of pictures") as caught:
        picture_model.segment(volume(organs()))
    assert caught.value.found == "5 slices" and caught.value.path == Path("x")
    assert picture_model.segment(volume(organs()[:, 2:3])).mask.any()
    with pytest.raises(ImageError, match="a picture for a model of scans"):
        Predictor(Threshold(), task()).segment(volume(organs()[:, 2:3], (1.0, 1.0, 1.0), picture=True))


def test_the_network_is_left_in_evaluation_mode_and_without_gradients(task: Callable[..., Task]) -> None:
    network = Threshold().train()
    Predictor(network, task()).segment(volume(organs()))
    assert not network.training and torch.is_grad_enabled()


def test_with_a_real_network(make_task: Make, make_network: Callable[..., nn.Module]) -> None:
    found = Predictor(make_network(2), make_task(2)).segment(volume(organs()))
    assert found.mask.shape == (5, 44, 37)
    again = Predictor(make_network(2), make_task(2), batch_size=2).segment(volume(organs()))
    assert (found.mask == again.mask).mean() > 0.999


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_pass_computes_in_the_arithmetic_of_training(
    make_task: Make, make_network: Callable[..., nn.Module], precision: str
) -> None:
    network, low = make_network(2), []
    for part in (network.encoder, network.decoder):
        part.register_forward_pre_hook(lambda *_: low.append(torch.is_autocast_enabled("cpu")))
    predictor, data = Predictor(network, make_task(2), precision=precision), volume(organs())
    predictor.segment(data, [Click((2, 10, 12), "organ 1")])
    found = predictor.segment(data)
    assert found.certainty.voxels.any()  # a mask to ask again about
    predictor.signals(data, found)
    assert len(low) > 6 and set(low) == {precision == "bf16"}
    assert next(predictor._probabilities(data, data.data, predictor.task)).dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")


class LeftSided(nn.Module):
    """Stands for a network that errs on the right: it is surer the farther left and the farther up."""

    def forward(self, images: Tensor, prompts: Prompts | None = None) -> MasgSamOutput:
        rows, columns = images.shape[-2:]
        sure = torch.linspace(4, 0, columns) + torch.linspace(2, 0, rows)[:, None]
        grey = images[:, images.shape[1] // 2]
        return MasgSamOutput(torch.stack([torch.zeros_like(grey), sure * (grey - 0.5)], 1))


@pytest.mark.parametrize("columns", [32, 64])
def test_mirrored_views_are_averaged(make_task: Make, columns: int) -> None:
    data = np.ones((1, 1, 32, columns), np.float32)
    means = {}
    for mirror in (False, True):
        task = make_task(intensity=Unchanged("scan"), size=(32, columns), mirror=mirror, reach=0)
        means[mirror] = next(Predictor(LeftSided(), task)._probabilities(volume(data), data, task))[0, 1]
    # Mean over the views of (4 - 4 c + 2 - 2 r) / 2 with c and r mirrored, or exchanged: (2 + 1) / 2 everywhere.
    assert torch.allclose(means[True], torch.tensor(1.5).sigmoid())
    assert means[False][0, 0] == pytest.approx(torch.tensor(3.0).sigmoid().item(), abs=1e-3)
    assert means[False][-1, -1] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(("size", "views"), [((32, 64), 4), ((64, 64), 8)])
def test_only_what_training_turned_is_turned(make_task: Make, size: tuple[int, int], views: int) -> None:
    """The input of this picture is square, those of the training need not have been."""
    task = make_task(2, intensity=Unchanged("scan"), size=size, mirror=True, reach=0, pixel=0.0, pictures=True)
    network = Threshold()
    Predictor(network, task).segment(volume(np.ones((1, 1, 90, 90)), (1.0, 1.0, 1.0), picture=True))
    assert network.batches == [(1, 1, 64, 64)] * views


@pytest.mark.parametrize("shape", [(32, 32), (32, 64)])
def test_a_view_is_put_back_where_it_came_from(make_task: Make, shape: tuple[int, int]) -> None:
    data = np.random.default_rng(0).random((1, 1, *shape))
    found = {}
    for mirror in (False, True):
        task = make_task(2, intensity=Unchanged("scan"), size=shape, mirror=mirror, reach=0)
        found[mirror] = next(Predictor(Threshold(1), task)._probabilities(volume(data), np.float32(data), task))
    assert torch.allclose(found[True], found[False], atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
def test_voxels_that_are_far_too_large_are_refused(axis: int, make_task: Make) -> None:
    """As with a header in another unit: 60 voxels of 500 mm are 30000 pixels of 1 mm, in a plane or across it."""
    across = {"coronal": (64, 64)} if axis == 0 else {}
    spacing = (500.0, 1.0, 1.0) if axis == 0 else (1.0, 500.0, 1.0)
    network = Threshold()
    with pytest.raises(ImageError, match="30016 pixels at the model's pixel size") as caught:
        Predictor(network, make_task(across=across)).segment(volume(np.zeros((1, 60, 60, 30)), spacing))  # type: ignore[arg-type]
    assert "500" in str(caught.value.found) and network.batches == []
