from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from masg_sam.data.prompt_input import BOX_END, BOX_START, NEGATIVE, PADDING, POSITIVE, ROUGH_LOGIT, rough_logits
from masg_sam.data.task import Task
from masg_sam.errors import InputError
from masg_sam.inference.prompting import Box, Click, PromptBook, RoughMask, UserPrompt
from masg_sam.models.sam.prompts import Prompts

SHAPE, WORKING, CANVAS = (4, 10, 20), (20, 40), (32, 64)


@pytest.fixture
def book(make_task: Callable[..., Task]) -> Callable[..., PromptBook]:
    def make(*prompts: UserPrompt, plane: str = "axial") -> PromptBook:
        return PromptBook(prompts, make_task(2, plane=plane), SHAPE, WORKING, CANVAS)

    return make


def of(notes: PromptBook, slices: range) -> Prompts:
    """The prompts of slices that all go through the network together."""
    [(places, prompts)] = notes.groups(slices)
    assert places == list(range(len(slices))) and prompts is not None
    return prompts


def test_a_click_lands_on_its_pixel(book: Callable[..., PromptBook]) -> None:
    """Voxel y 3, x 5 at twice the size covers pixels 6..7 and 10..11; padding adds 6 rows, 12 columns."""
    prompts = of(book(Click((2, 3, 5), "organ 2")), range(2, 3))
    assert prompts.points[:, :1].tolist() == [[[10.5 + 12, 6.5 + 6]]]
    assert prompts.kinds.tolist() == [[POSITIVE, PADDING, PADDING]] and prompts.classes.tolist() == [[2, 0, 0]]
    assert prompts.masks is None and prompts.has_mask is None


def test_a_click_may_lie_between_pixels(book: Callable[..., PromptBook]) -> None:
    """As the centre of a mask does; half a voxel is a pixel here."""
    prompts = of(book(Click((2.0, 3.5, 5), "organ 2")), range(2, 3))
    assert prompts.points[:, :1].tolist() == [[[10.5 + 12, 7.5 + 6]]]


def test_prompts_are_looked_up_by_slice(book: Callable[..., PromptBook]) -> None:
    notes = book(
        Click((1, 3, 5), "organ 1"),
        Click((1, 4, 5), "organ 1", inside=False),
        Box((2, 8, 9), (2, 1, 2), "organ 2"),
    )
    assert notes.groups(range(0, 1)) == [([0], None)] and notes.groups(range(3, 4)) == [([0], None)]
    assert [notes.touches(number) for number in range(4)] == [False, True, True, False]
    free, (places, prompts) = notes.groups(range(0, 4))
    assert free == ([0, 3], None) and places == [1, 2]
    assert prompts.kinds.tolist() == [[POSITIVE, NEGATIVE, PADDING], [BOX_START, BOX_END, PADDING]]
    assert prompts.classes.tolist() == [[1, 1, 0], [2, 2, 0]]
    start, end = prompts.points[1, :2].tolist()
    assert start[0] < end[0] and start[1] < end[1]  # corners in any order become top left and bottom right


def test_slices_with_more_points_than_the_least_go_apart(book: Callable[..., PromptBook]) -> None:
    """Padding would be attended to: what a slice gets must not depend on the others of its batch."""
    two = [Box((2, 1, 1), (2, 5, 5), "organ 1"), Box((2, 2, 2), (2, 6, 6), "organ 2")]
    groups = book(Click((0, 3, 5), "organ 1"), *two).groups(range(0, 4))
    assert [places for places, _ in groups] == [[1, 3], [0], [2]]
    assert [prompts and prompts.kinds.shape[1] for _, prompts in groups] == [None, 3, 4]


@pytest.mark.parametrize(("plane", "number", "row", "column"), [("coronal", 3, 1, 5), ("sagittal", 5, 1, 3)])
def test_other_planes(book: Callable[..., PromptBook], plane: str, number: int, row: int, column: int) -> None:
    notes = book(Click((1, 3, 5), "organ 1"), plane=plane)
    rows, columns = [n for i, n in enumerate(SHAPE) if i != {"coronal": 1, "sagittal": 2}[plane]]
    assert notes.groups(range(number - 1, number)) == [([0], None)]
    found = of(notes, range(number, number + 1)).points[0, 0].tolist()
    expected = [(column + 0.5) * WORKING[1] / columns - 0.5 + 12, (row + 0.5) * WORKING[0] / rows - 0.5 + 6]
    assert found == pytest.approx(expected)


def test_a_rough_mask_is_laid_on_the_canvas_at_a_quarter_of_its_pixels(book: Callable[..., PromptBook]) -> None:
    """Voxels 2..5 and 4..9 are pixels 6 + 4..11 and 12 + 8..19: rows 10..17, columns 20..31."""
    mask = np.zeros(SHAPE, bool)
    mask[1, 2:6, 4:10] = True
    prompts = of(book(RoughMask(mask, "organ 2")), range(0, 2))
    assert prompts.masks.shape == (2, 2, 8, 16) and prompts.has_mask.tolist() == [[0, 1], [0, 1]]
    pixels = np.zeros((1, *CANVAS))
    pixels[0, 10:18, 20:32] = 1
    np.testing.assert_allclose(prompts.masks[1, 1], rough_logits(pixels)[0], atol=0.5)  # voxels are half as fine
    assert (prompts.masks[0, 1] == -ROUGH_LOGIT).all()
    assert (prompts.kinds == PADDING).all()


def test_no_part_of_a_rough_mask_is_passed_over(make_task: Callable[..., Task]) -> None:
    """Stripes two pixels wide cover half of each cell, as they do in training; the network sees that half."""
    mask = np.zeros((1, 64, 64))
    mask[:, :, [i for i in range(64) if i % 4 in (0, 3)]] = 1
    notes = PromptBook([RoughMask(mask, "organ 1")], make_task(1), (1, 64, 64), (64, 64), (64, 64))
    assert of(notes, range(1)).masks.numpy() == pytest.approx(0.0, abs=1e-5)


def test_masks_and_clicks_go_together(book: Callable[..., PromptBook]) -> None:
    mask = np.ones(SHAPE)
    prompts = of(book(RoughMask(mask, "organ 1"), Click((0, 0, 0), "organ 2")), range(0, 2))
    assert prompts.has_mask.tolist() == [[1, 0], [1, 0]]
    assert prompts.kinds.tolist() == [[POSITIVE, PADDING, PADDING], [PADDING] * 3]
    assert all(book(RoughMask(mask, "organ 1")).touches(number) for number in range(SHAPE[0]))


def test_rough_masks_of_a_class_are_taken_together(book: Callable[..., PromptBook]) -> None:
    one, two = np.zeros((2, *SHAPE), bool)
    one[0, :5], two[1, 5:] = True, True
    prompts = of(book(RoughMask(one, "organ 1"), RoughMask(two, "organ 1"), RoughMask(two, "organ 2")), range(2))
    both = of(book(RoughMask(one | two, "organ 1"), RoughMask(two, "organ 2")), range(2))
    assert prompts.masks.equal(both.masks) and prompts.has_mask.equal(both.has_mask)


@pytest.mark.parametrize(
    ("prompt", "problem"),
    [
        (Click((0, 0, 0), "spleen"), "unknown class"),
        (Click((4, 0, 0), "organ 1"), "outside the volume"),
        (Click((0, -1, 0), "organ 1"), "outside the volume"),
        (Box((0, 1, 1), (1, 5, 5), "organ 1"), "several slices"),
        (Box((0, 1, 1), (0, 5, 50), "organ 1"), "outside the volume"),
        (Click((1.4, 3, 5), "organ 1"), "between two slices"),
        (Click((3, 5), "organ 1"), "no place in the volume"),
        (Click((float("nan"), 3, 5), "organ 1"), "outside the volume"),
        (Click((1, float("inf"), 5), "organ 1"), "outside the volume"),
        (Box((1.5, 1, 1), (1.5, 5, 5), "organ 1"), "between two slices"),
        (RoughMask(np.zeros((4, 10, 21)), "organ 1"), "another shape"),
    ],
)
def test_what_cannot_be_used_is_refused(book: Callable[..., PromptBook], prompt: UserPrompt, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        book(prompt)
    assert caught.value.exit_code == 2 and caught.value.expected
