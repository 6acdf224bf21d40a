"""Pictures for people: which slices, which way up, which colours, which shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from masg_sam.colours import CLASSES
from masg_sam.data.volume import Geometry, Volume
from masg_sam.errors import OutputError
from masg_sam.inference import overlay
from masg_sam.inference.overlay import OPACITY, write_overlay


def make_volume(data: np.ndarray, spacing: tuple[float, float, float] = (1, 1, 1), picture: bool = False) -> Volume:
    """``C x Z x Y x X`` with an identity affine, or none."""
    geometry = Geometry("array", data.shape[1:], None)
    return Volume(data.astype(np.float32), spacing, None if picture else np.eye(4), geometry, Path("array"))


def ball(shape: tuple[int, int, int] = (12, 40, 30)) -> np.ndarray:
    """A mask whose class 1 fills slices 3 to 8 and whose class 2 is a corner of them."""
    mask = np.zeros(shape, np.uint8)
    mask[3:9, 10:30, 8:20] = 1
    mask[3:9, 10:15, 8:12] = 2
    return mask


def has_colour(path: Path, colour: str, level: float = 0.0) -> bool:
    """Whether a picture holds a class's paint over grey of the given level."""
    pixels = np.asarray(Image.open(path).convert("RGB"), np.float64) / 255
    wanted = (1 - OPACITY) * level + OPACITY * np.array(to_rgb(colour))
    return bool((np.abs(pixels - wanted).max(-1) < 0.02).sum() > 20)


def test_picture_shows_image_prediction_and_label(tmp_path: Path) -> None:
    mask = ball()
    path = write_overlay(
        make_volume(np.zeros((1, *mask.shape))),
        {"prediction": mask, "label": np.where(mask == 2, 0, mask)},
        ["liver", "spleen"],
        tmp_path / "new" / "case.png",
    )
    assert path == tmp_path / "new" / "case.png"
    assert [item.name for item in path.parent.iterdir()] == ["case.png"]
    assert has_colour(path, CLASSES[0]) and has_colour(path, CLASSES[1])
    width, height = Image.open(path).size
    assert width > 900 and height > 900  # four columns, three rows


def test_nothing_found_draws_the_whole_volume_without_paint(tmp_path: Path) -> None:
    mask = np.zeros((12, 40, 30), np.uint8)
    path = write_overlay(make_volume(np.zeros((1, 12, 40, 30))), {"prediction": mask}, ["liver"], tmp_path / "a.png")
    assert not has_colour(path, CLASSES[0])


def test_slices_are_spread_through_what_was_found() -> None:
    mask = ball()
    assert overlay._slices(mask, 0) == [4, 5, 6, 7]
    assert overlay._slices(mask, 1) == [14, 18, 21, 25]
    assert overlay._slices(np.zeros_like(mask), 0) == [2, 4, 7, 9]
    assert overlay._slices(mask[4:5], 0) == [0]


def test_a_picture_of_one_slice_is_one_column(tmp_path: Path) -> None:
    colours = np.zeros((3, 1, 20, 40))
    colours[0] = 255
    mask = np.ones((1, 20, 40), np.uint8)
    path = write_overlay(make_volume(colours, picture=True), {"prediction": mask}, ["polyp"], tmp_path / "p.png")
    width, height = Image.open(path).size
    assert width < height
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert ((pixels == (255, 0, 0)).all(-1)).sum() > 500  # the image keeps its own colour


@pytest.mark.parametrize(("axis", "corner"), [(0, (0, 0)), (1, (-1, 0)), (2, (-1, 0))])
def test_slices_stand_upright(axis: int, corner: tuple[int, int]) -> None:
    """The voxel at the lowest z, y and x: front and right axially, feet at the bottom otherwise."""
    data = np.zeros((1, 4, 5, 6))
    data[0, 0, 0, 0] = 1
    picture = overlay.slice_picture(make_volume(data), 0, axis)
    assert picture[corner].tolist() == [1, 1, 1] and picture.sum() == 3


def test_paint_mixes_the_colour_with_the_image() -> None:
    picture = np.full((2, 2, 3), 0.5)
    painted = overlay._paint(picture, np.array([[0, 1], [2, 0]]))
    np.testing.assert_allclose(painted[0, 0], 0.5)
    np.testing.assert_allclose(painted[0, 1], (1 - OPACITY) * 0.5 + OPACITY * np.array(to_rgb(CLASSES[0])))
    np.testing.assert_allclose(painted[1, 0], (1 - OPACITY) * 0.5 + OPACITY * np.array(to_rgb(CLASSES[1])))
    np.testing.assert_allclose(picture, 0.5)


def test_voxels_have_their_true_proportions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(overlay, "_show", lambda axes, picture, title, spacing: seen.append(spacing))
    data = np.zeros((1, 6, 8, 10))
    volume = make_volume(data, spacing=(5.0, 0.5, 0.25))
    for axis in range(3):
        write_overlay(volume, {"prediction": np.ones((6, 8, 10), np.uint8)}, ["a"], tmp_path / "a.png", axis)
    assert set(seen) == {(0.5, 0.25), (5.0, 0.25), (5.0, 0.5)}


def test_aspect_is_rows_over_columns() -> None:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    overlay._show(axes, np.zeros((4, 4, 3)), "image", (5.0, 0.5))
    assert axes.get_aspect() == 10.0 and axes.get_title(loc="left") == "image"


def test_more_classes_than_colours_and_a_flat_image(tmp_path: Path) -> None:
    mask = np.arange(9, dtype=np.uint8).reshape(1, 3, 3)
    names = [f"class {k}" for k in range(1, 9)]
    path = write_overlay(make_volume(np.full((1, 1, 3, 3), 7.0)), {"prediction": mask}, names, tmp_path / "m.png")
    assert path.stat().st_size > 1000


def test_a_place_that_cannot_be_written_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    mask = np.ones((1, 4, 4), np.uint8)
    with pytest.raises(OutputError, match="cannot be written"):
        write_overlay(make_volume(np.zeros((1, 1, 4, 4))), {"prediction": mask}, ["a"], tmp_path / "file" / "a.png")


def test_a_dollar_sign_is_no_mathematics(tmp_path: Path) -> None:
    write_overlay(make_volume(np.zeros((1, 12, 40, 30))), {"$m_{1$": ball()}, ["T$_{1$ core", "b"], tmp_path / "a.png")
    assert (tmp_path / "a.png").exists()
