from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masg_sam import train
from masg_sam.config import Config, override
from masg_sam.data.check import CaseSummary
from masg_sam.data.intensity import Intensity
from masg_sam.data.labels import IGNORED, LabelMap
from masg_sam.data.task import Task
from masg_sam.errors import ConfigError
from masg_sam.training.planning import Grid, check_settings, plan_mirror, plan_reach, plan_steps, single_pieces
from masg_sam.training.planning import make_task as plan_task
from masg_sam.training.planning import plan_grid as plan_grid_for
from masg_sam.training.run import prepare

Shape, Spacing = tuple[int, int, int], tuple[float, float, float]


def plan_grid(cases: list[CaseSummary], config: Config) -> Grid:
    """For labels that ask for nothing."""
    return plan_grid_for(cases, [np.zeros(case.shape) for case in cases], config)


def scan(shape: Shape, spacing: Spacing = (1.0, 1.0, 1.0)) -> CaseSummary:
    return CaseSummary("a", shape, spacing, channels=1, picture=False, air=0.0)


def picture(rows: int, columns: int, channels: int = 3) -> CaseSummary:
    return CaseSummary("a", (1, rows, columns), (1.0, 1.0, 1.0), channels, picture=True, air=0.0)


def test_a_black_frame_is_no_part_of_the_aspect() -> None:
    """A wide picture with a square inside is planned like a square."""
    wide = replace(picture(300, 600), content=(290, 300))
    assert plan_grid([wide], Config()) == plan_grid([picture(300, 300)], Config())


def settings(**values: Any) -> Config:
    return override(Config(), {name.replace("__", "."): value for name, value in values.items()})


def test_cardiac_mri() -> None:
    """183 x 140 at 0.625 mm: 1.5 times 183 is more than 224 pixels, so 224 it is, and 140 becomes 171."""
    grid = plan_grid([scan((88, 183, 140), (0.625, 0.625, 0.625))], Config())
    assert grid.plane == "axial" and grid.size == (224, 192)
    assert grid.pixel == pytest.approx(183 * 0.625 / 224)


def test_hippocampus() -> None:
    """50 x 36 at 1 mm: 75 pixels are too few, so the longest side has 128, and 36 becomes 92."""
    grid = plan_grid([scan((35, 50, 36))], Config())
    assert grid.size == (128, 96) and grid.pixel == pytest.approx(50 / 128)


def test_between_the_limits_slices_are_enlarged_by_half() -> None:
    grid = plan_grid([scan((20, 120, 100), (3.0, 2.0, 2.0))], Config())
    assert grid.pixel == pytest.approx(240 / 180) and grid.size == (192, 160)


def test_scans_of_one_set_share_a_pixel() -> None:
    """The median extent decides, and nine in ten must fit."""
    cases = [scan((10, n, 100), (2.0, 1.0, 1.0)) for n in (100, 110, 120, 130, 200)]
    grid = plan_grid(cases, Config())
    assert grid.pixel == pytest.approx(120 / 180)
    tallest = np.percentile([n * 1.5 for n in (100, 110, 120, 130, 200)], 90)
    assert grid.size == (32 * int(np.ceil((tallest - 0.5) / 32)), 160)


@pytest.mark.parametrize(
    ("spacing", "plane"),
    [
        ((5.0, 1.0, 1.0), "axial"),
        ((1.0, 4.0, 1.0), "coronal"),
        ((1.0, 1.0, 4.0), "sagittal"),
        ((1.4, 1.0, 1.0), "axial"),
    ],
)
def test_slices_lie_across_the_coarsest_axis(spacing: Spacing, plane: str) -> None:
    assert plan_grid([scan((60, 60, 60), spacing)], Config()).plane == plane


@pytest.mark.parametrize(
    ("shape", "plane"), [((64, 64, 1), "sagittal"), ((64, 1, 64), "coronal"), ((1, 64, 64), "axial")]
)
def test_volumes_of_one_slice_are_cut_across_it(shape: tuple[int, int, int], plane: str) -> None:
    grid = plan_grid([scan(shape, (1.0, 1.0, 1.0))] * 2 + [scan((64, 64, 64), (1.0, 1.0, 1.0))], Config())
    assert grid.plane == plane and min(grid.size) >= 64


def test_the_users_plane_and_size_stand() -> None:
    grid = plan_grid([scan((40, 60, 80), (5.0, 1.0, 2.0))], settings(data__plane="sagittal", data__size=320))
    assert grid.plane == "sagittal"
    assert grid.pixel == pytest.approx(200 / 320) and grid.size == (320, 96)


@pytest.mark.parametrize(
    ("side", "pixel", "windows"), [(2, 4 / 3, 4.0), (5, 2.0, (4 / 3) ** 2), (7, 8 / 3, 1.0), (60, 8 / 3, 1.0)]
)
def test_small_classes_ask_for_finer_pixels(side: int, pixel: float, windows: float) -> None:
    """A slice of 400 mm is 150 pixels of 8/3 mm; a class of 5 x 5 voxels is 20 mm wide, and shall be 10 pixels wide.

    Voxels of 4 mm are parted in three and no more, which is what a class of 2 x 2 of them gets.
    """
    label = np.zeros((20, 100, 100), np.uint8)
    label[:, 10 : 10 + side, 20 : 20 + side] = 1
    grid = plan_grid_for([scan(label.shape, (3.0, 4.0, 4.0))], [label], Config())
    assert grid.pixel == pytest.approx(pixel) and grid.windows == pytest.approx(windows)
    assert grid.size == (160, 160)


def test_cubes_are_cut_in_three_planes() -> None:
    """88 x 140 x 183 voxels of 0.625 mm in pixels of 183 / 224 voxels: 108 x 224 coronal, 108 x 172 sagittal."""
    shape, cube = (88, 140, 183), (0.625, 0.625, 0.625)
    grid = plan_grid([scan(shape, cube)], Config())
    assert grid.plane == "axial" and grid.size == (192, 224)
    assert grid.across == {"coronal": (128, 224), "sagittal": (128, 192)}
    coronal = plan_grid([scan(shape, cube)], settings(data__plane="coronal"))
    assert list(coronal.across) == ["axial", "sagittal"] and coronal.size == (128, 224)


@pytest.mark.parametrize(
    ("cases", "planes", "expected"),
    [
        ([scan((60, 60, 60), (2.1, 1.0, 1.0))], None, 3),
        ([scan((60, 60, 60), (2.2, 1.0, 1.0))], None, 1),
        ([scan((60, 60, 60)), scan((23, 60, 60))], None, 1),
        ([scan((60, 60, 60))], 1, 1),
        ([scan((256, 256, 256))], None, 3),
        ([scan((256, 256, 257))], None, 1),
        ([scan((60, 60, 60), (5.0, 1.0, 1.0))], 3, 3),
        ([picture(60, 60)], 3, 1),
    ],
)
def test_how_many_planes(cases: list[CaseSummary], planes: int | None, expected: int) -> None:
    assert 1 + len(plan_grid(cases, settings(data__planes=planes)).across) == expected


def test_pictures_are_scaled_to_their_longest_side() -> None:
    assert plan_grid([picture(500, 500), picture(600, 800)], Config()) == plan_grid([picture(5, 5)], Config())
    one = plan_grid([picture(300, 600)], Config())
    assert (one.size, one.pixel, one.plane) == ((160, 320), 0.0, "axial")
    assert plan_grid([picture(300, 600)], settings(data__size=64)).size == (32, 64)


@pytest.mark.parametrize(
    ("size", "batch", "steps"),
    [
        ((224, 192), 8, 465),
        ((256, 192), 8, 406),
        ((256, 192), 16, 203),
        ((64, 64), 8, 600),
        ((1024, 1024), 8, 200),
        ((256, 224), 6, 465),
    ],
)
def test_steps_follow_a_budget_of_pixels(
    make_task: Callable[..., Task], size: tuple[int, int], batch: int, steps: int
) -> None:
    task = make_task(size=size)
    assert plan_steps(settings(training__batch_size=batch), task) == steps


def test_every_plane_has_its_steps(make_task: Callable[..., Task]) -> None:
    """8 (192 x 256 + 128 x 256 + 128 x 192) pixels in three steps, 200 megapixels: 234 times."""
    task = make_task(size=(192, 256), across={"coronal": (128, 256), "sagittal": (128, 192)})
    assert plan_steps(Config(), task) == 3 * 234


@pytest.mark.parametrize(("windows", "steps"), [(1.0, 465), (1.5, 697), (3.0, 930)])
def test_windows_on_the_slices_get_up_to_twice_the_steps(
    make_task: Callable[..., Task], windows: float, steps: int
) -> None:
    assert plan_steps(Config(), make_task(size=(224, 192)), windows) == steps


def test_a_run_is_as_long_as_its_windows_ask_for(
    make_dataset: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, plain = make_dataset(cases=1), Config()
    once = prepare(data, plain).steps
    monkeypatch.setattr("masg_sam.training.run.plan_grid", lambda *given: replace(plan_grid_for(*given), windows=2.0))
    assert prepare(data, plain).steps == 2 * once


def test_the_users_steps_stand(make_task: Callable[..., Task]) -> None:
    assert plan_steps(settings(training__steps=7), make_task(), windows=2.0) == 7


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("polyp", True),
        ("liver", True),
        ("upright lesion", True),
        ("left kidney", False),
        ("Kidney_Right", False),
        ("Parotid_L", False),
        ("lt lung", False),
        ("R. eye", False),
        ("LeftLung", False),
        ("lungR", False),
        ("ctx-lh-cuneus", False),
        ("CTLR", True),
        ("Leftover", True),
    ],
)
def test_names_with_a_side_forbid_flips(name: str, allowed: bool) -> None:
    assert plan_mirror(Config(), LabelMap((1,), (name,)), pictures=True) is allowed


def test_scans_are_not_flipped_unless_asked() -> None:
    labels = LabelMap((1,), ("liver",))
    assert plan_mirror(Config(), labels, pictures=False) is False
    assert plan_mirror(settings(data__flips=True), labels, pictures=False) is True
    assert plan_mirror(settings(data__flips=False), labels, pictures=True) is False


def test_single_pieces_by_hand() -> None:
    one, two, specks = (np.zeros((3, 20, 20), np.uint8) for _ in range(3))
    one[1, 2:5, 2:5] = 1
    one[1, 10:12, 10:12] = 2
    two[0, 2:5, 2:5], two[2, 10:13, 10:13] = 1, 1  # class 1 in two pieces, class 2 absent
    specks[1, 0:15, 0:15], specks[1, 19, 19] = 1, 1  # a lone voxel of 226: noise
    assert single_pieces([one], 2) == (True, True)
    assert single_pieces([one, two], 2) == (False, True)
    assert single_pieces([specks], 1) == (True,)
    partly = one.copy()
    partly[0] = IGNORED  # the piece is whole by chance
    assert single_pieces([one, partly], 1) == (True,) and single_pieces([partly], 1) == (False,)
    sparse = one.copy()
    sparse[0], sparse[2, 10:12, 10:12] = IGNORED, 1
    assert single_pieces([one, sparse], 1) == (True,)  # the whole label decides
    corner = np.zeros((2, 4, 4), np.uint8)
    corner[0, 1, 1], corner[1, 2, 2] = 1, 1  # joined at a corner
    assert single_pieces([corner], 1) == (True,)


def planned(cases: list[CaseSummary], channels: tuple[str, ...] = ("MRI",)) -> Task:
    grid = plan_grid(cases, Config())
    return plan_task(grid, LabelMap((1,), ("a",)), "MRI", channels, Intensity("scan"), cases, (True,), Config())


def test_slices_come_with_their_neighbours() -> None:
    task = planned([scan((30, 60, 60), (5.0, 1.0, 1.0)), scan((1, 60, 60), (5.0, 1.0, 1.0))])
    assert task.reach == 1 and task.in_channels == 3 and not task.pictures and not task.mirror


def test_thin_slices_come_with_neighbours_that_are_farther_away() -> None:
    assert [plan_reach(mm) for mm in (5.0, 1.4, 1.3, 1.0, 0.625, 0.1)] == [1, 1, 2, 2, 3, 3]
    cases = [scan((30, 60, 60), (thickness, 1.0, 1.0)) for thickness in (0.7, 0.7, 5.0)]
    assert planned(cases).reach == 3


def test_what_has_no_neighbours() -> None:
    assert planned([scan((2, 60, 60), (5.0, 1.0, 1.0))]).reach == 0
    two = planned([scan((30, 60, 60))], ("T1", "T2"))
    assert two.reach == 0 and two.in_channels == 2
    grey = planned([picture(60, 60, channels=1)], ("grey",))
    assert grey.reach == 0 and grey.in_channels == 1 and grey.pictures and grey.pixel == 0


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("encoder.taps", {"model.encoder.taps": [3]}),
        ("encoder.checkpointing", {"model.encoder.checkpointing": True}),
        ("dsf.location", {"model.dsf.location": "openai/clip-vit-base-patch16"}),
        ("dsf.location", {"model.dsf.location": "vectors.npz", "model.dsf.text": "random"}),
    ],
)
def test_a_setting_that_would_have_no_effect_is_refused(name: str, given: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"model.{name} would have no effect"):
        train(tmp_path / "no data", tmp_path / "run", override(Config(), given))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["clip", "vectors", "shuffled"])
def test_settings_that_go_together_pass(text: str) -> None:
    vit = settings(model__encoder__name="sam-vit-b", model__encoder__taps=[3], model__encoder__checkpointing=True)
    check_settings(override(vit, {"model.dsf.text": text, "model.dsf.location": "somewhere"}).model)
    check_settings(Config().model)


def test_settings_of_scans_have_no_effect_on_pictures(caplog: pytest.LogCaptureFixture) -> None:
    given = settings(data__pixel=1.0, data__plane="coronal", data__planes=3)
    assert plan_grid([picture(48, 64)], given) == plan_grid([picture(48, 64)], Config())
    names = ("pixel", "plane", "planes")
    assert [record.message for record in caplog.records] == [
        f"setting data.{name} has no effect on pictures" for name in names
    ]
