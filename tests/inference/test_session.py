from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from masg_sam.data.task import Task
from masg_sam.data.volume import Geometry, Volume
from masg_sam.errors import InputError
from masg_sam.inference.prompting import Box, Click, RoughMask
from masg_sam.inference.session import Session
from masg_sam.inference.signals import Agreement

SHAPE = (20, 40, 40)
Begin = Callable[..., Session]


@pytest.fixture
def begin(make_task: Callable[..., Task]) -> Begin:
    """A session about an organ, said three slices at a time."""

    def make(one: torch.Tensor, plane: str = "axial", single: bool = True) -> Session:
        geometry = Geometry("array", SHAPE, None)
        volume = Volume(np.zeros((1, *SHAPE), np.float32), (1.0, 1.0, 1.0), np.eye(4), geometry, Path("x"))
        task = make_task(1, single=(single,), plane=plane)
        slices = torch.stack([1 - one, one]).movedim(task.axis + 1, 0)
        return Session(((part, None) for part in slices.split(3)), volume, task)

    return make


def cubes() -> torch.Tensor:
    """What a network says that found a cube, and beside it a smaller one."""
    one = torch.full(SHAPE, 0.05)
    one[4:14, 10:20, 10:20] = 0.95
    one[4:8, 30:34, 30:34] = 0.95
    return one


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_without_prompts_it_says_what_the_network_said(begin: Begin, plane: str) -> None:
    found = begin(cubes(), plane).segment()
    assert found.mask[4:14, 10:20, 10:20].all() and found.mask.sum() == 1000
    assert found.kept.tolist() == [pytest.approx(1000 / 1064)] and found.planes is None
    assert found.certainty.voxels.sum() == 1064 and found.confidence == (pytest.approx(0.95, abs=2e-3),)


def test_agreement_of_the_planes_is_that_of_the_network(make_task: Callable[..., Task]) -> None:
    one, geometry = cubes(), Geometry("array", SHAPE, None)
    volume = Volume(np.zeros((1, *SHAPE), np.float32), (1.0, 1.0, 1.0), np.eye(4), geometry, Path("x"))
    parts = torch.stack([1 - one, one], 1).split(10)
    agreements = [Agreement.of((part[:, 1] > 0.5).long(), torch.ones(part[:, 1].shape), 1) for part in parts]
    session = Session(zip(parts, agreements, strict=True), volume, make_task(1))
    for prompts in ([], [Click((9, 15, 15), "organ 1", inside=False)]):
        assert session.segment(prompts).planes.voxels.sum() == 1064


def test_prompts_count_and_earlier_ones_are_forgotten(begin: Begin) -> None:
    session = begin(cubes())
    wrong, missing = Click((9, 15, 15), "organ 1", inside=False), Click((9, 15, 25), "organ 1")
    gone = session.segment([wrong])
    assert gone.mask[9, 15, 15] == 0 and gone.mask[9, 15, 25] == 0
    came = session.segment(iter([missing]))
    assert came.mask[9, 15, 15] == 1 and came.mask[9, 15, 25] == 1
    assert (session.segment().mask == session.segment([]).mask).all() and session.segment().mask.sum() == 1000


def test_a_click_reaches_as_far_as_what_was_found_is_large(begin: Begin) -> None:
    """The same click beside a larger organ gains more."""
    small, large = cubes(), cubes()
    small[4:14, 10:20, 10:20], small[7:11, 13:17, 13:17] = 0.05, 0.95
    gained = []
    for one in (small, large):
        session = begin(one, single=False)
        before, after = session.segment(), session.segment([Click((16, 30, 20), "organ 1")])
        gained.append(int(after.mask.sum()) - int(before.mask.sum()))
    assert 0 < gained[0] < gained[1] / 3


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_slices_that_no_prompt_reaches_stay_as_they_were(begin: Begin, plane: str) -> None:
    """Though the network was torn, and the slices beside them are looked at again."""
    torch.manual_seed(0)
    session = begin(0.5 + 4e-4 * (torch.rand(SHAPE) - 0.5), plane, single=False)
    box = {
        "axial": Box((4, 5, 5), (4, 9, 20), "organ 1"),
        "coronal": Box((5, 4, 5), (9, 4, 20), "organ 1"),
        "sagittal": Box((5, 5, 4), (9, 20, 4), "organ 1"),
    }[plane]
    before, after = session.segment(), session.segment([box])
    axis = session.task.axis
    same = [i for i in range(SHAPE[axis]) if i != 4]
    assert np.array_equal(np.take(after.mask, same, axis), np.take(before.mask, same, axis))
    assert not np.array_equal(np.take(after.mask, 4, axis), np.take(before.mask, 4, axis))
    assert (after.certainty.mass[same] == before.certainty.mass[same]).all()
    assert (after.certainty.mass[4] != before.certainty.mass[4]).all()


def test_a_piece_that_was_spoken_of_stays_beside_the_likeliest(begin: Begin) -> None:
    """Though nothing is to be changed there; by a click, by a box that lifts what was not found, by a rough mask."""
    session = begin(cubes())
    found = session.segment([Click((6, 32, 32), "organ 1")])
    assert found.mask[4:8, 30:34, 30:34].all() and found.mask[4:14, 10:20, 10:20].all()
    boxed = session.segment([Box((18, 25, 25), (18, 34, 34), "organ 1")])
    assert boxed.mask[18, 25:35, 25:35].sum() >= 49 and boxed.mask[4:14, 10:20, 10:20].all()
    drawn = np.zeros(SHAPE, bool)
    drawn[4:14, 10:20, 10:20] = drawn[4:8, 30:34, 30:34] = True
    both = session.segment([RoughMask(drawn, "organ 1")])
    assert both.mask[5:7, 31:33, 31:33].all() and both.mask[6:12, 12:18, 12:18].all()


def test_what_lies_elsewhere_is_refused(begin: Begin) -> None:
    for prompt in (
        Click((20, 0, 0), "organ 1"),
        Click((0, 0, 0), "spleen"),
        Box((0, 1, 1), (1, 5, 5), "organ 1"),
        RoughMask(np.zeros((1, 2, 3)), "organ 1"),
    ):
        with pytest.raises(InputError):
            begin(cubes()).segment([prompt])
