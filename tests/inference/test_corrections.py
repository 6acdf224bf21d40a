from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from masg_sam.data.task import PLANES, Task
from masg_sam.inference.corrections import LEAST_RADIUS, MASK_REACH, MOST, NOISE, REACH, SPANNED, SURE, Corrections
from masg_sam.inference.prompting import Box, Click, RoughMask, UserPrompt

Make = Callable[..., Task]
SHAPE = (8, 40, 40)


class Grid(NamedTuple):
    shape: tuple[int, int, int] = SHAPE
    spacing: tuple[float, float, float] = (2.0, 1.0, 1.0)


def scan(shape: tuple[int, int, int] = SHAPE, spacing: tuple[float, float, float] = (2.0, 1.0, 1.0)) -> Grid:
    return Grid(shape, spacing)


def ball(centre: Sequence[int], radius: float, volume: Grid) -> np.ndarray:
    """``Z x Y x X`` of bool; the radius in mm."""
    grid = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"), -1)
    return (((grid - np.array(centre)) * volume.spacing) ** 2).sum(-1) < radius**2


def logs(*masks: np.ndarray, odds: float = 3.0) -> Tensor:
    """Log probabilities ``K+1 x Z x Y x X`` of a network that is as sure of all it says."""
    background = ~np.any(masks, axis=0)
    return (odds * torch.from_numpy(np.stack([background, *masks])).float()).log_softmax(0)


def apply(values: Tensor, prompts: Sequence[UserPrompt], volume: Grid, task: Task) -> Tensor:
    """Log probabilities ``K+1 x Z x Y x X`` before and after the prompts."""
    slices = values.movedim(task.axis + 1, 0).half()
    before = slices.clone()
    sizes = values.argmax(0).flatten().bincount(minlength=len(values))[1:].tolist()
    found, touched = Corrections(prompts, task, *volume).apply(slices, sizes)
    assert slices.equal(before) and found.dtype == torch.float16
    assert found[~torch.from_numpy(touched)].equal(before[~torch.from_numpy(touched)])
    return found.float().log_softmax(1).movedim(0, task.axis + 1)


def odds(values: Tensor, number: int, at: Sequence[int]) -> float:
    here = values[(slice(None), *at)]
    return float(here[number] - torch.cat([here[:number], here[number + 1 :]]).max())


def test_a_click_is_heard_and_fades_with_the_distance(make_task: Make) -> None:
    """One click that lacks 5 moves the odds there by 5 / (1 + noise), and at one deviation by exp(-1/2) of that."""
    volume, task = scan(), make_task(1)
    organ = ball((4, 20, 12), 6.0, volume)
    radius = (3 * organ.sum() * 2.0 / (4 * math.pi)) ** (1 / 3)
    values = logs(organ)
    found = apply(values, [Click((4, 20, 30), "organ 1")], volume, task)
    moved = (found[1] - found[0]) - (values[1] - values[0])  # Z x Y x X
    expected = (SURE + 3.0) / (1 + NOISE)
    assert moved[4, 20, 30] == pytest.approx(expected, abs=0.02)
    assert odds(found, 1, (4, 20, 30)) == pytest.approx(-3.0 + expected, abs=0.02) and expected > 3.0
    for distance, place in ((3.0, (4, 20, 33)), (3.0, (4, 23, 30)), (2.0, (5, 20, 30)), (5.0, (4, 16, 33))):
        bell = math.exp(-0.5 * (distance / (REACH * radius)) ** 2)
        assert moved[place] == pytest.approx(expected * bell, abs=0.02), place
    assert moved[4, 20, 12].abs() < 0.01 and moved[0, 0, 0] == pytest.approx(0, abs=1e-3)


def test_a_click_where_all_is_well_changes_nothing(make_task: Make) -> None:
    volume, task = scan(), make_task(1)
    values = logs(ball((4, 20, 12), 6.0, volume))
    clicks = [Click((4, 20, 12), "organ 1"), Click((4, 20, 30), "organ 1", inside=False)]
    torch.testing.assert_close(apply(values, clicks, volume, task), values, atol=5e-3, rtol=0)


def test_a_click_that_is_right_holds_the_class_against_another_beside_it(make_task: Make) -> None:
    """4 mm from a click that takes the class away, one that confirms it keeps more of it."""
    volume, task = scan(), make_task(1)
    values = logs(ball((4, 20, 20), 9.0, volume), odds=2.5)
    wrong, right = Click((4, 20, 16), "organ 1", inside=False), Click((4, 20, 20), "organ 1")
    alone, both = apply(values, [wrong], volume, task), apply(values, [wrong, right], volume, task)
    assert odds(alone, 1, (4, 20, 20)) < 0 < odds(both, 1, (4, 20, 20))
    assert odds(both, 1, (4, 20, 16)) < 0


def test_a_click_on_one_class_is_not_undone_by_one_on_its_neighbour(make_task: Make) -> None:
    """A little apart, each has its voxel, whichever came first."""
    volume, task = scan(), make_task(2)
    values = logs(ball((4, 20, 10), 7.0, volume), ball((4, 20, 30), 7.0, volume))
    clicks = [Click((4, 20, 18), "organ 1"), Click((4, 20, 22), "organ 2")]
    for order in (clicks, clicks[::-1]):
        found = apply(values, order, volume, task)
        assert odds(found, 1, (4, 20, 18)) > 0 and odds(found, 2, (4, 20, 22)) > 0


def test_a_click_takes_a_voxel_from_another_class(make_task: Make) -> None:
    volume, task = scan(), make_task(2)
    values = logs(ball((4, 20, 10), 7.0, volume), ball((4, 20, 30), 7.0, volume))
    found = apply(values, [Click((4, 20, 30), "organ 1")], volume, task)
    assert odds(found, 1, (4, 20, 30)) > 0
    gone = apply(values, [Click((4, 20, 30), "organ 2", inside=False)], volume, task)
    assert gone[:, 4, 20, 30].argmax() == 0 and gone[:, 4, 20, 10].argmax() == 1


def test_a_class_that_was_not_found_gets_a_fortieth_of_the_slice(make_task: Make) -> None:
    volume, task = scan(), make_task(1)
    found = apply(logs(np.zeros(SHAPE, bool)), [Click((4, 20, 20), "organ 1")], volume, task)
    least = REACH * LEAST_RADIUS * 40
    moved = 5.0 / (1 + NOISE)
    assert odds(found, 1, (4, 20, 21)) == pytest.approx(-3.0 + moved * math.exp(-0.5 / least**2), abs=0.02)


def test_the_longest_side_is_one_of_the_slice(make_task: Make) -> None:
    """Sagittal slices of 80 x 10 mm: a fortieth is 2 mm."""
    volume, task = scan((80, 10, 10), (1.0, 1.0, 1.0)), make_task(1, plane="sagittal")
    found = apply(logs(np.zeros(volume.shape, bool)), [Click((40, 5, 5), "organ 1")], volume, task)
    expected = -3.0 + 5.0 / (1 + NOISE) * math.exp(-0.5 * (1 / (REACH * 2.0)) ** 2)
    assert odds(found, 1, (41, 5, 5)) == pytest.approx(expected, abs=0.02)


def test_in_a_single_slice_a_disc_says_how_far_a_click_reaches(make_task: Make) -> None:
    """Of a picture, or of one in a format of scans."""
    volume, task = scan((1, 60, 60), (7.0, 1.0, 1.0)), make_task(1, pictures=True, pixel=0.0)
    disc = ball((0, 20, 20), 10.0, volume)
    values = logs(disc)
    found = apply(values, [Click((0, 45, 45), "organ 1")], volume, task)
    reach = REACH * math.sqrt(disc.sum() / math.pi)
    expected = -3.0 + 5.0 / (1 + NOISE) * math.exp(-0.5 * (4 / reach) ** 2)
    assert odds(found, 1, (0, 45, 49)) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("plane", PLANES)
def test_a_click_lies_at_its_voxel_in_every_plane(make_task: Make, plane: str) -> None:
    volume, task = scan((10, 12, 14), (1.0, 1.0, 1.0)), make_task(1, plane=plane)
    found = apply(logs(np.zeros(volume.shape, bool)), [Click((2, 5, 9), "organ 1")], volume, task)
    assert np.argwhere((found[1] > found[0]).numpy()).tolist() == [[2, 5, 9]]


@pytest.mark.parametrize("at", [(7, 39.6, 39.9), (7.0, 0, 39.5)])
def test_places_at_the_rim_are_within(make_task: Make, at: tuple[float, float, float]) -> None:
    found = apply(logs(np.zeros(SHAPE, bool)), [Click(at, "organ 1")], scan(), make_task(1))
    assert odds(found, 1, (7, round(at[1]) if at[1] < 39 else 39, 39)) > 0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6))
def test_clicks_far_apart_all_hold(make_task_once: Make, seed: int, count: int) -> None:
    """Whatever was found before, and in whatever order they came."""
    rng = np.random.default_rng(seed)
    volume, task = scan((1, 60, 60), (1.0, 1.0, 1.0)), make_task_once(2, pictures=True, pixel=0.0)
    values = torch.from_numpy(rng.normal(0, 2, (3, *volume.shape))).float().log_softmax(0)
    places = [(0, 8 + 20 * int(i % 3), 15 + 30 * int(i // 3)) for i in rng.permutation(6)[:count]]
    numbers, inside = rng.integers(1, 3, count), rng.random(count) < 0.5
    clicks = [Click(p, f"organ {n}", bool(i)) for p, n, i in zip(places, numbers, inside, strict=True)]
    found = apply(values - 3 * torch.tensor([0.0, 1, 1]).view(3, 1, 1, 1), clicks, volume, task)
    for place, number, positive in zip(places, numbers, inside, strict=True):
        assert (odds(found, int(number), place) > 0) == positive


@pytest.fixture(scope="module")
def make_task_once() -> Make:
    from masg_sam.data.intensity import Intensity
    from masg_sam.data.labels import LabelMap

    def make(classes: int, **changes: object) -> Task:
        labels = LabelMap(tuple(range(1, classes + 1)), tuple(f"organ {k}" for k in range(1, classes + 1)))
        single = (False,) * classes
        return Task(labels, "MRI", ("MRI",), Intensity("scan"), "axial", 1, size=(64, 64), single=single, **changes)  # type: ignore[arg-type]

    return make


def test_a_class_lies_within_its_boxes_in_their_slice_alone(make_task: Make) -> None:
    """However sure the network was."""
    volume, task = scan(), make_task(1)
    values = logs(ball((4, 20, 20), 9.0, volume), odds=9.2)
    found = apply(values, [Box((4, 25, 24), (4, 15, 12), "organ 1")], volume, task)
    mask = (found[1] > found[0]).numpy()
    before = (values[1] > values[0]).numpy()
    window = np.zeros(SHAPE[1:], bool)
    window[15:26, 12:25] = True
    assert (mask[4] == (before[4] & window)).all()
    assert (mask[[0, 1, 2, 3, 5, 6, 7]] == before[[0, 1, 2, 3, 5, 6, 7]]).all()


def test_a_class_reaches_most_of_its_box(make_task: Make) -> None:
    """Odds fall from the middle of the slice on: as many rows and columns come in as a box of 20 asks for."""
    volume, task = scan((1, 40, 40)), make_task(1)
    far = np.abs(np.arange(40) - 20)
    slope = torch.from_numpy(-1.0 - 0.2 * np.maximum(far[:, None], far[None])).float()[None]
    values = torch.stack([torch.zeros_like(slope), slope]).log_softmax(0)
    found = apply(values, [Box((0, 10, 10), (0, 29, 29), "organ 1")], volume, task)
    rows, columns = np.nonzero((found[1] > found[0])[0].numpy())
    for places in (rows, columns):
        assert SPANNED * 20 <= len(set(places)) <= SPANNED * 20 + 1 and min(places) >= 10
    assert (found[1] > found[0]).sum() == len(set(rows)) * len(set(columns))


def test_rows_and_columns_both_are_reached(make_task: Make) -> None:
    """What was found fills the columns of the box, and a third of its rows."""
    volume, task = scan((1, 40, 40)), make_task(1)
    slope = -0.2 * torch.abs(torch.arange(40.0) - 20)[:, None].expand(40, 40)[None] + 0.7
    for turned in (slope, slope.transpose(1, 2)):
        values = torch.stack([torch.zeros_like(turned), turned]).log_softmax(0)
        found = apply(values, [Box((0, 10, 10), (0, 29, 29), "organ 1")], volume, task)
        mask = (found[1] > found[0])[0]
        assert {int(mask.any(0).sum()), int(mask.any(1).sum())} == {20, 14} or mask.sum() in (14 * 20, 15 * 20)


def test_boxes_that_overlap_both_count_and_equal_ones_do_not_hang_on_their_order(make_task: Make) -> None:
    volume, task = scan(), make_task(2)
    values = logs(np.zeros(SHAPE, bool), np.zeros(SHAPE, bool))
    wide, low = Box((4, 5, 5), (4, 14, 24), "organ 1"), Box((4, 10, 10), (4, 34, 14), "organ 1")
    both = apply(values, [wide, low], volume, task)
    torn = torch.from_numpy(np.random.default_rng(0).normal([[[[0]]], [[[-7]]], [[[0]]]], 1, (3, *SHAPE))).float()
    torn = torn.log_softmax(0)
    assert apply(torn, [wide, low], volume, task).equal(apply(torn, [low, wide], volume, task))
    assert (both[1] > both[0])[4, 5:15, 5:25].all() and (both[1] > both[0])[4, 10:35, 10:15].all()
    same = [Box((4, 5, 5), (4, 9, 9), name) for name in ("organ 1", "organ 2")]
    found = apply(values, same, volume, task)
    assert (found[1] == found[2])[4, 5:10, 5:10].all() and (found[1] > found[0])[4, 5:10, 5:10].all()


def test_a_box_that_is_spanned_adds_nothing(make_task: Make) -> None:
    volume, task = scan(), make_task(2)
    values = logs(ball((4, 20, 10), 7.0, volume), ball((4, 20, 30), 7.0, volume))
    found = apply(values, [Box((4, 13, 3), (4, 27, 17), "organ 1")], volume, task)
    assert found.argmax(0).equal(values.argmax(0))


def test_two_boxes_of_a_class_are_taken_together(make_task: Make) -> None:
    volume, task = scan(), make_task(1)
    boxes = [Box((4, 10, 10), (4, 12, 12), "organ 1"), Box((4, 30, 30), (4, 33, 33), "organ 1")]
    found = apply(logs(np.zeros(SHAPE, bool)), boxes, volume, task)
    mask = (found[1] > found[0]).numpy()
    assert mask[4, 10:13, 10:13].all() and mask[4, 30:34, 30:34].all() and mask.sum() == 9 + 16


def test_a_rough_mask_moves_the_class_by_the_square_of_the_depth(make_task: Make) -> None:
    """2 of log odds at 0.3 radii of what was drawn, in mm; and no more than 10."""
    volume, task = scan((12, 40, 40), (2.0, 1.0, 1.0)), make_task(1)
    drawn = np.zeros(volume.shape, bool)
    drawn[3:9, 10:30, 10:30] = True
    found = apply(torch.zeros(2, *volume.shape).log_softmax(0), [RoughMask(drawn, "organ 1")], volume, task)
    assert (found[1] > found[0]).numpy().tolist() == drawn.tolist()
    reach = MASK_REACH * (3 * drawn.sum() * 2.0 / (4 * math.pi)) ** (1 / 3)
    for at, depth in (((6, 20, 10), 1), ((6, 20, 12), 3), ((3, 20, 20), 2), ((6, 20, 5), -5), ((1, 20, 20), -4)):
        expected = SURE * math.copysign((depth / reach) ** 2, depth)
        assert odds(found, 1, at) == pytest.approx(max(min(expected, MOST), -MOST), rel=0.01), at
    assert odds(found, 1, (0, 0, 0)) == odds(found, 1, (6, 39, 39)) == pytest.approx(-MOST, abs=0.01)


def test_what_is_deep_in_a_rough_mask_is_the_class_whatever_the_network_says(make_task: Make) -> None:
    """Each piece by its own size: a small one beside a large one too."""
    volume, task = scan((20, 60, 60), (1.0, 1.0, 1.0)), make_task(1)
    drawn = ball((10, 20, 20), 9.0, volume) | ball((10, 50, 50), 4.0, volume)
    found = apply(logs(np.zeros(volume.shape, bool), odds=9.2), [RoughMask(drawn, "organ 1")], volume, task)
    mask = (found[1] > found[0]).numpy()
    assert mask[10, 20, 20] and mask[10, 50, 50] and not (mask & ~drawn).any()
    assert mask[ball((10, 20, 20), 3.0, volume)].all()


def test_rough_masks_of_a_class_are_taken_together(make_task: Make) -> None:
    volume, task = scan(), make_task(2)
    one, two = ball((4, 20, 10), 7.0, volume), ball((4, 20, 30), 7.0, volume)
    values = logs(np.zeros(SHAPE, bool), np.zeros(SHAPE, bool))
    apart = apply(values, [RoughMask(one, "organ 1"), RoughMask(two, "organ 1")], volume, task)
    both = apply(values, [RoughMask(one | two, "organ 1")], volume, task)
    assert apart.equal(both) and (both.argmax(0) == 1)[4, 20, [10, 30]].all()


def test_a_rough_mask_at_the_rim_counts_as_elsewhere(make_task: Make) -> None:
    """Where the image ends, the mask does not: its depth is that to what lies around it in the image."""
    volume, task = scan((20, 40, 40), (1.0, 1.0, 1.0)), make_task(1)
    half = np.zeros(volume.shape, bool)
    half[:10] = True
    found = apply(torch.zeros(2, *volume.shape).log_softmax(0), [RoughMask(half, "organ 1")], volume, task)
    assert (found[1] > found[0]).numpy().tolist() == half.tolist()
    assert odds(found, 1, (0, 0, 0)) >= odds(found, 1, (7, 20, 20)) > odds(found, 1, (9, 20, 20)) > 0


def test_an_empty_rough_mask_says_that_there_is_nothing(make_task: Make) -> None:
    volume, task = scan(), make_task(2)
    values = logs(ball((4, 20, 10), 7.0, volume), ball((4, 20, 30), 7.0, volume), odds=9.2)
    found = apply(values, [RoughMask(np.zeros(SHAPE), "organ 1")], volume, task).argmax(0)
    assert not (found == 1).any() and (found == 2).equal(values.argmax(0) == 2)
    everything = apply(values, [RoughMask(np.ones(SHAPE), "organ 1")], volume, task).argmax(0)
    assert (everything == 1).all()


@pytest.mark.parametrize("odds_of_network", [3.0, 9.2])
def test_clicks_hold_over_rough_masks_and_boxes(make_task: Make, odds_of_network: float) -> None:
    """Against what was drawn, inside of a box, and outside of it."""
    volume, task = scan((20, 40, 40), (1.0, 1.0, 1.0)), make_task(1)
    values = logs(ball((10, 20, 20), 8.0, volume), odds=odds_of_network)
    drawn = RoughMask(ball((10, 20, 12), 8.0, volume), "organ 1")
    box = Box((10, 10, 10), (10, 29, 29), "organ 1")
    for coarse in ([drawn], [box], [drawn, box]):
        for click in (
            Click((10, 20, 12), "organ 1", inside=False),
            Click((10, 20, 20), "organ 1", inside=False),
            Click((10, 20, 35), "organ 1"),
            Click((10, 12, 28), "organ 1"),
        ):
            found = apply(values, [*coarse, click], volume, task)
            assert (odds(found, 1, click.at) > 0) == click.inside, (coarse, click)


@pytest.mark.parametrize("certain", [1.0, 9.0])
def test_a_click_holds_over_masks_and_boxes_of_several_classes(make_task: Make, certain: float) -> None:
    """Deep in what was drawn of one class, and far outside of what was of the other: their odds add up."""
    volume, task = scan((1, 64, 64), (1.0, 1.0, 1.0)), make_task(2)
    one, two = np.zeros(volume.shape, bool), np.zeros(volume.shape, bool)
    one[0, 5:45, 5:30], two[0, 40:60, 40:60] = True, True
    values = logs(one, two, odds=certain)
    drawn = [RoughMask(one, "organ 1"), RoughMask(two, "organ 2"), Box((0, 40, 40), (0, 60, 60), "organ 2")]
    at = (0, 25, 17)
    for coarse in ([], drawn[:1], drawn[:2], [drawn[0], drawn[2]], drawn):
        assert odds(apply(values, [*coarse, Click(at, "organ 2")], volume, task), 2, at) > 0, coarse
        assert odds(apply(values, [*coarse, Click(at, "organ 1", inside=False)], volume, task), 1, at) < 0, coarse


@pytest.mark.parametrize("plane", PLANES)
def test_the_planes_differ_in_nothing_but_their_axes(make_task: Make, plane: str) -> None:
    """Prompts of every kind, with the axes changed round: the same, changed round."""
    rng = np.random.default_rng(0)
    axis = PLANES.index(plane)
    turn = {0: (0, 1, 2), 1: (1, 0, 2), 2: (1, 2, 0)}[axis]  # axes of the axial volume along Z, Y, X of this one
    back = tuple(np.argsort(turn))
    shape, spacing = np.array((9, 24, 30)), np.array((3.0, 1.0, 1.5))
    axial, turned = (Grid(tuple(shape[list(o)].tolist()), tuple(spacing[list(o)].tolist())) for o in ((0, 1, 2), turn))
    values = torch.from_numpy(rng.normal(0, 2, (3, *axial.shape))).float().log_softmax(0)
    drawn = ball((3, 8, 9), 6.0, axial)

    def prompts(order: tuple[int, ...]) -> list[UserPrompt]:
        def at(*place: int) -> tuple[int, int, int]:
            z, y, x = (place[i] for i in order)
            return z, y, x

        return [
            RoughMask(drawn.transpose(order), "organ 2"),
            Box(at(5, 3, 4), at(5, 20, 12), "organ 1"),
            Box(at(5, 10, 9), at(5, 22, 28), "organ 1"),
            Click(at(2, 20, 25), "organ 1"),
            Click(at(6, 4, 7), "organ 2", inside=False),
        ]

    plain = apply(values, prompts((0, 1, 2)), axial, make_task(2))
    other = apply(values.permute(0, *(i + 1 for i in turn)), prompts(turn), turned, make_task(2, plane=plane))
    torch.testing.assert_close(other.permute(0, *(i + 1 for i in back)), plain, atol=0.02, rtol=0.01)


def test_slices_that_no_prompt_reaches_are_named(make_task: Make) -> None:
    """A click at 3.5 deviations on either side, a box in its slice, a rough mask everywhere."""
    volume, task = scan((60, 40, 40)), make_task(1)
    values = logs(np.zeros(volume.shape, bool)).movedim(1, 0).half()
    for prompt, expected in (
        (Click((30, 20, 20), "organ 1"), [30]),  # half a mm, and slices lie 2 mm apart
        (Box((7, 5, 5), (7, 9, 9), "organ 1"), [7]),
        (RoughMask(np.zeros(volume.shape), "organ 1"), list(range(60))),
    ):
        touched = Corrections([prompt], task, *volume).apply(values, [0])[1]
        assert np.flatnonzero(touched).tolist() == expected
    touched = Corrections([Click((30, 20, 20), "organ 1")], task, *volume).apply(values, [4 / 3 * math.pi * 8**3 / 2])[
        1
    ]
    assert np.flatnonzero(touched).tolist() == list(range(23, 38))  # 3.5 * 4 mm


def test_places_that_the_user_gave_to_a_class(make_task: Make) -> None:
    drawn = ball((4, 20, 12), 6.0, scan())
    prompts = [
        Click((1, 2, 3), "organ 2"),
        Click((1, 2, 4), "organ 2", inside=False),
        Click((1, 5.5, 39.7), "organ 1"),
        Box((1, 4, 2), (1, 2, 9), "organ 1"),
        RoughMask(drawn, "organ 2"),
    ]
    first, second = Corrections(prompts, make_task(2), *scan()).told()
    assert first == [(1, 6, 39), (slice(1, 2), slice(2, 5), slice(2, 10))]
    assert second[0] == (1, 2, 3) and (second[1] == drawn).all() and len(second) == 2
