"""Where a run may be written: nothing of anybody else is replaced, and what cannot be is told before the work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from masg_sam import api
from masg_sam.config import Config, override
from masg_sam.errors import ConfigError, ImageError, OutputError

QUIET = Console(quiet=True)


@pytest.mark.parametrize("name", ["config.yaml", "log.jsonl", "model.safetensors"])
def test_files_of_another_origin_stay(
    name: str, make_dataset: Callable[..., Path], tiny: Config, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("# by hand\n")
    with pytest.raises(OutputError, match="files of another origin") as caught:
        api.train(make_dataset(), out, tiny, console=QUIET)
    assert caught.value.found == name and caught.value.exit_code == 2
    assert [path.name for path in out.iterdir()] == [name] and (out / name).read_text() == "# by hand\n"


def test_a_run_is_not_written_among_the_data(
    make_dataset: Callable[..., Path], tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_dataset()
    before = sorted(data.rglob("*"))
    monkeypatch.chdir(data)
    with pytest.raises(OutputError, match="among the data"):
        api.train(".", data, tiny, console=QUIET)
    assert sorted(data.rglob("*")) == before


def test_a_place_where_no_folder_can_be(make_dataset: Callable[..., Path], tiny: Config, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="not a folder") as caught:
        api.train(make_dataset(), tmp_path / "file" / "run", tiny, console=QUIET)
    assert caught.value.path == tmp_path / "file"


@pytest.mark.parametrize("tuning", ["full", "frozen"])
def test_a_seed_may_be_a_time(tuning: str, make_dataset: Callable[..., Path], tiny: Config, tmp_path: Path) -> None:
    config = override(tiny, {"training.seed": 20240101123456, "model.encoder.tuning": tuning})
    api.train(make_dataset(), tmp_path / "run", config, console=QUIET)
    with pytest.raises(ConfigError, match=r"training\.seed"):
        override(tiny, {"training.seed": 2**63})


def test_pixels_that_are_far_too_fine_are_refused_before_the_training(
    make_dataset: Callable[..., Path], tiny: Config, tmp_path: Path
) -> None:
    with pytest.raises(ImageError, match="pixels at the model's pixel size"):
        api.train(make_dataset(), tmp_path / "run", override(tiny, {"data.pixel": 0.001}), console=QUIET)
    assert not (tmp_path / "run").exists()
