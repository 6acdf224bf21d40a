"""The state of an unfinished training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from masg_sam.errors import CheckpointError
from masg_sam.models.checkpoint import STATE
from masg_sam.training import checkpoint
from masg_sam.training.checkpoint import load_state, save_state

FACTS = {"settings": {"lr": 0.1}, "steps": 9, "cases": ["a", "b"]}


class Run:
    """A small network a few steps into its training."""

    def __init__(self, steps: int) -> None:
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=0.05)
        self.average: dict[str, Tensor] = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        for _ in range(steps):
            self.step()

    def step(self) -> None:
        self.optimizer.zero_grad()
        self.network(torch.arange(12.0).view(4, 3)).square().mean().backward()
        self.optimizer.step()
        for name, value in self.network.state_dict().items():
            self.average[name].copy_(value * 2)

    def tensors(self) -> list[Tensor]:
        moments = [m[k] for m in self.optimizer.state_dict()["state"].values() for k in sorted(m)]
        return [*self.network.state_dict().values(), *self.average.values(), *moments]

    def save(self, folder: Path, step: int, facts: dict = FACTS) -> None:
        save_state(folder, step, self.network, self.average, self.optimizer, facts)

    def load(self, folder: Path, facts: dict = FACTS) -> int:
        return load_state(folder, self.network, self.average, self.optimizer, facts)


def test_everything_comes_back_bit_by_bit(tmp_path: Path) -> None:
    run, other = Run(5), Run(0)
    run.save(tmp_path, 5)
    assert other.load(tmp_path) == 5
    assert all(torch.equal(a, b) for a, b in zip(run.tensors(), other.tensors(), strict=True))
    assert [path.name for path in tmp_path.iterdir()] == [STATE]
    run.step()
    other.step()
    assert all(torch.equal(a, b) for a, b in zip(run.tensors(), other.tensors(), strict=True))


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        (FACTS | {"steps": 10}, "steps"),
        (FACTS | {"cases": ["a"]}, "cases"),
        (FACTS | {"settings": {"lr": 0.2}}, "settings"),
        (FACTS | {"more": 1}, "more"),
    ],
)
def test_other_settings_are_refused(tmp_path: Path, facts: dict, named: str) -> None:
    Run(1).save(tmp_path, 1)
    with pytest.raises(CheckpointError, match=f"another {named}") as caught:
        Run(0).load(tmp_path, facts)
    assert caught.value.exit_code == 2 and "resume" in caught.value.mend


def test_tuples_compare_as_json_keeps_them(tmp_path: Path) -> None:
    Run(1).save(tmp_path, 1, FACTS | {"cases": ("a", "b")})
    assert Run(0).load(tmp_path, FACTS) == 1


@pytest.mark.parametrize("damage", ["empty", "truncated", "foreign", "facts", "step"])
def test_a_damaged_state_is_named(tmp_path: Path, damage: str) -> None:
    Run(1).save(tmp_path, 1)
    path = tmp_path / STATE
    content = path.read_bytes()
    if damage in ("empty", "truncated"):
        path.write_bytes(b"" if damage == "empty" else content[:-10])
    else:
        metadata = {
            "foreign": None,
            "facts": {"step": "1", "facts": "{"},
            "step": {"step": "x", "facts": "{}"},
        }
        save_file({"a": torch.zeros(1)}, path, metadata=metadata[damage])
    with pytest.raises(CheckpointError) as caught:
        Run(0).load(tmp_path)
    assert caught.value.path == path and caught.value.mend


def test_a_failing_write_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Run(1).save(tmp_path, 1)
    before = (tmp_path / STATE).read_bytes()

    def fail(_: object, place: Path, **__: object) -> None:
        Path(place).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(Exception, match="disk full"):
        Run(2).save(tmp_path, 2)
    assert (tmp_path / STATE).read_bytes() == before
    assert Run(0).load(tmp_path) == 1
