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

SHAPE = (20, 40, 40)
READY = 3


@pytest.fixture
def session(make_task: Callable[..., Task]) -> Session:
    """Of a network that found a cube, and beside it a smaller one that is no such organ."""
    volume = Volume(
        np.zeros((1, *SHAPE), np.float32), (1.0, 1.0, 1.0), np.eye(4), Geometry("array", SHAPE, None), Path("x")
    )
    one = torch.full(SHAPE, 0.05)
    one[4:14, 10:20, 10:20] = 0.95
    one[4:8, 30:34, 30:34] = 0.95
    slices = torch.stack([1 - one, one], 1)
    return Session(iter(slices.split(READY)), volume, make_task(1, single=(True,)))


def test_without_prompts_it_says_what_the_network_said(session: Session) -> None:
    found = session.segment()
    assert found.mask[4:14, 10:20, 10:20].all() and found.mask.sum() == 1000
    assert found.kept.tolist() == [pytest.approx(1000 / 1064)] and found.planes is None
    assert found.certainty.voxels.sum() == 1064 and found.confidence == (pytest.approx(0.95, abs=2e-3),)


def test_prompts_count_and_earlier_ones_are_forgotten(session: Session) -> None:
    wrong, missing = Click((9, 15, 15), "organ 1", inside=False), Click((9, 15, 25), "organ 1")
    gone = session.segment([wrong])
    assert gone.mask[9, 15, 15] == 0 and gone.mask[9, 15, 25] == 0
    came = session.segment([missing])
    assert came.mask[9, 15, 15] == 1 and came.mask[9, 15, 25] == 1
    assert (session.segment().mask == session.segment([]).mask).all() and session.segment().mask.sum() == 1000


def test_a_piece_that_was_clicked_on_stays_beside_the_likeliest(session: Session) -> None:
    """Though nothing is to be changed there."""
    found = session.segment([Click((6, 32, 32), "organ 1")])
    assert found.mask[4:8, 30:34, 30:34].all() and found.mask[4:14, 10:20, 10:20].all()


def test_what_lies_elsewhere_is_refused(session: Session) -> None:
    for prompt in (
        Click((20, 0, 0), "organ 1"),
        Click((0, 0, 0), "spleen"),
        Box((0, 1, 1), (1, 5, 5), "organ 1"),
        RoughMask(np.zeros((1, 2, 3)), "organ 1"),
    ):
        with pytest.raises(InputError):
            session.segment([prompt])
