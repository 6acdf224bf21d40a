from __future__ import annotations

import pytest
import torch
from torch import Tensor

from masg_sam.data.augment import Augmentation

SIZE = (64, 96)


def sample(rows: int = 70, columns: int = 80, channels: int = 3) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    label = torch.zeros(rows, columns, dtype=torch.uint8)
    label[20:40, 25:45], label[40:55, 30:60] = 1, 3
    return torch.randn(channels, rows, columns) * 0.1 + label, label


def test_shapes_and_types() -> None:
    image, label = Augmentation(SIZE, mirror=False, colour=False)(*sample(), seed=1)
    assert image.shape == (3, *SIZE) and image.dtype == torch.float32
    assert label.shape == SIZE and label.dtype == torch.int64
    assert type(image) is Tensor and type(label) is Tensor


@pytest.mark.parametrize("mirror", [False, True])
def test_the_seed_decides(mirror: bool) -> None:
    augmentation = Augmentation(SIZE, mirror, colour=False)
    first = augmentation(*sample(), seed=5)
    augmentation(*sample(), seed=6)  # what came between does not matter
    again = augmentation(*sample(), seed=5)
    other = Augmentation(SIZE, mirror, colour=False)(*sample(), seed=5)
    for image, label in (again, other):
        assert torch.equal(image, first[0]) and torch.equal(label, first[1])
    assert not torch.equal(augmentation(*sample(), seed=6)[0], first[0])


def test_nothing_outside_is_touched() -> None:
    image, label = sample()
    before = image.clone(), label.clone()
    state = torch.random.get_rng_state()
    Augmentation(SIZE, True, True)(image, label, seed=1)
    assert torch.equal(image, before[0]) and torch.equal(label, before[1])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_labels_stay_classes_and_the_image_finite() -> None:
    augmentation = Augmentation(SIZE, mirror=True, colour=True)
    for seed in range(20):
        image, label = augmentation(*sample(), seed=seed)
        assert set(label.unique().tolist()) <= {0, 1, 3}
        assert image.isfinite().all()


def test_image_and_label_move_together() -> None:
    augmentation = Augmentation(SIZE, mirror=True, colour=False)
    moved = 0.0
    for seed in range(10):
        image, label = augmentation(*sample(), seed=seed)
        inside, outside = image[0][label > 0], image[0][label == 0]
        assert inside.mean() - outside.mean() > 0.3
        moved += (label[20:40, 33:53] == 0).float().mean().item()
    assert moved > 0.5  # and they do move


def test_without_mirroring_left_stays_left() -> None:
    label = torch.zeros(64, 64, dtype=torch.uint8)
    label[:, :16] = 1  # a quarter at the left
    image = label[None].float()
    for seed in range(20):
        _, found = Augmentation((64, 64), mirror=False, colour=False)(image, label, seed)
        columns = found.float().mean(0)
        assert columns[:32].sum() > columns[32:].sum()


def test_with_mirroring_every_side_comes_up() -> None:
    label = torch.zeros(64, 64, dtype=torch.uint8)
    label[:, :16] = 1
    augmentation = Augmentation((64, 64), mirror=True, colour=False)
    sides = set()
    for seed in range(30):
        _, found = augmentation(label[None].float(), label, seed)
        found = found.float()
        parts = {"left": found[:, :32], "right": found[:, 32:], "top": found[:32], "bottom": found[32:]}
        sides.add(max(parts, key=lambda name: parts[name].sum()))
    assert sides == {"left", "right", "top", "bottom"}


def test_colours_change_by_themselves_only_where_asked() -> None:
    grey = torch.rand(1, 64, 64).expand(3, 64, 64).contiguous()
    label = torch.zeros(64, 64, dtype=torch.uint8)

    def apart(colour: bool) -> float:
        """How far the mean of one channel drifts from another's, without the noise."""
        augmentation = Augmentation((64, 64), mirror=False, colour=colour)
        means = [augmentation(grey, label, seed)[0].mean((1, 2)) for seed in range(12)]
        return max((mean.max() - mean.min()).item() for mean in means)

    assert apart(colour=True) > 0.05 > apart(colour=False)
