from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.optimizer import AcceleratedOptimizer
from rich.console import Console
from support import blobs
from torch import Tensor, nn

from masg_sam.config import Config, override
from masg_sam.data.dataset import AlternatingPlanes, TrainingCase, TrainingSamples
from masg_sam.data.task import Task
from masg_sam.errors import TrainingError
from masg_sam.models.masg_sam import MasgSamNetwork
from masg_sam.models.sam.weights import load_sam
from masg_sam.training import trainer as module
from masg_sam.training.trainer import Trainer

Build = Callable[..., Trainer]


@pytest.fixture
def build(tiny: Config, make_task: Callable[..., Task], tmp_path: Path) -> Build:
    """A trainer on one volume of blobs."""

    def make(
        folder: str = "run", channels: int = 3, across: dict[str, tuple[int, int]] | None = None, **settings: object
    ) -> Trainer:
        config = override(tiny, {name.replace("__", "."): value for name, value in settings.items()})
        torch.manual_seed(0)
        network = MasgSamNetwork(config.model, load_sam(config.model.encoder), 1, channels, torch.randn(1, 8))
        if config.model.encoder.tuning == "frozen":
            network.encoder.requires_grad_(False)
        image, label = (torch.from_numpy(array.transpose(2, 1, 0).copy()) for array in blobs(0))
        case = TrainingCase("a", (image.float()[:, None] - 120) / 40, label)
        task = make_task()
        if channels != 3:
            case = TrainingCase("a", case.images.expand(-1, channels, -1, -1), label)
            task = make_task(reach=0, channels=("a",) * channels)
        steps = config.training.steps
        size = config.training.batch_size
        views = replace(task, across=across or {}).views
        planes = [TrainingSamples([case], view, steps * size, 0, 0.25) for view in views]
        samples = AlternatingPlanes(planes, size)
        (tmp_path / folder).mkdir(exist_ok=True)
        console = Console(file=io.StringIO())
        return Trainer(network, samples, steps, config.training, tmp_path / folder, {"steps": steps}, console)

    return make


def log_of(trainer: Trainer) -> list[dict[str, float]]:
    return [json.loads(line) for line in (trainer.folder / "log.jsonl").read_text().splitlines()]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_loss_falls(build: Build) -> None:
    trainer = build(training__steps=60, training__batch_size=4, training__lr=5e-3)
    trainer.run()
    mask = [line["loss/mask"] for line in log_of(trainer)]
    assert sum(mask[-5:]) < 0.9 * sum(mask[:5])


def test_the_log_has_a_line_a_step(build: Build) -> None:
    trainer = build(training__steps=11)
    trainer.run()
    lines = log_of(trainer)
    assert [line["step"] for line in lines] == list(range(1, 12))
    for line in lines:
        parts = sum(value for name, value in line.items() if name.startswith("loss/"))
        assert line["loss"] == pytest.approx(parts, abs=1e-4)
        assert line["lr"] > 0 and line["grad_norm"] > 0 and line["seconds"] >= 0
    with_diagnostics = [line["step"] for line in lines if "hae/drift" in line]
    assert with_diagnostics == [10, 11]


def test_the_average_is_returned_and_differs_from_the_last_weights(build: Build) -> None:
    trainer = build(training__steps=3)
    average = trainer.run()
    last = trainer.plain.state_dict()
    assert average.keys() == last.keys()
    assert not same(average, last)


@pytest.mark.parametrize("tuning", ["full", "frozen"])
def test_planes_of_other_sizes_train_together(build: Build, tuning: str) -> None:
    """Also where features are kept: those of one plane only meet in a batch."""
    settings = {"model__encoder__tuning": tuning, "training__cached_samples": 3, "training__steps": 4}
    trainer = build(across={"coronal": (32, 64)}, **settings)
    shapes = [tuple(batch["image"].shape[2:]) for batch in trainer._batches(0)]
    assert shapes == [(64, 64), (32, 64)] * 2
    trainer.run()
    assert len(log_of(trainer)) == 4


def test_the_same_seed_gives_the_same_weights(build: Build) -> None:
    first = build("a", training__steps=3).run()
    assert same(first, build("b", training__steps=3).run())


def test_learning_rates_follow_the_step_for_each_group(build: Build) -> None:
    trainer = build(training__steps=9)
    assert trainer.peaks == [2e-4, 5e-4, 1e-3]
    rates = [trainer._set_rates(step) for step in range(1, 10)]
    assert rates[0] == pytest.approx(trainer.peaks)  # a tenth of the run: the peak
    assert rates[-1][0] < rates[4][0] < rates[0][0]
    assert [group["lr"] for group in trainer.optimizer.param_groups] == rates[-1]


def test_convolutions_see_channels_last_also_after_a_pause(build: Build) -> None:
    last = {"memory_format": torch.channels_last}
    for resume in (False, True):
        trainer, seen = build(training__steps=3), []
        trainer.plain.encoder.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        trainer.run(resume)
        assert all(image.is_contiguous(**last) for image in seen) and len(seen) == (0 if resume else 3)
        assert all(part.weight.is_contiguous(**last) for part in trainer.plain.modules() if type(part) is nn.Conv2d)


def test_a_trained_network_computes_as_a_loaded_one(build: Build) -> None:
    """Whatever arithmetic it was trained in: nothing of that stays."""
    trainer = build(training__steps=2, training__precision="bf16")
    trainer.run()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        whole = trainer.plain.eval()(image).logits
        adapted = trainer.plain.adapter(image)
        parts = trainer.plain.segment(adapted, trainer.plain.encoder(adapted)).logits
    torch.testing.assert_close(whole, parts, rtol=0, atol=0)


def test_loss_and_network_are_told_how_far_training_is(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = build(training__steps=4)
    original, told, fused = module.loss_terms, [], []
    trainer.plain.dsf.register_forward_pre_hook(lambda _, given: fused.append(given[-1]))

    def terms(*arguments: object) -> dict[str, Tensor]:
        told.append(arguments[-1])
        return original(*arguments)

    monkeypatch.setattr(module, "loss_terms", terms)
    trainer.run()
    assert told == fused == [0, 0.25, 0.5, 0.75]


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_state(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = build(training__steps=6, training__save_seconds=1e-9)
    original, calls = module.loss_terms, []

    def terms(*arguments: object) -> dict[str, Tensor]:
        calls.append(1)
        found = original(*arguments)
        return found | {"mask": found["mask"] * float("nan")} if len(calls) == 4 else found

    monkeypatch.setattr(module, "loss_terms", terms)
    with pytest.raises(TrainingError, match=r"step 4 .*mask nan") as caught:
        trainer.run()
    assert caught.value.exit_code == 1
    assert len(log_of(trainer)) == 3
    monkeypatch.setattr(module, "loss_terms", original)
    resumed = build(training__steps=6)
    assert resumed._resume() == 3
    assert all(value.isfinite().all() for value in resumed.plain.state_dict().values())


def test_a_gradient_that_is_not_finite_stops_the_run_before_it_reaches_the_weights(build: Build) -> None:
    trainer = build(training__steps=6, training__save_seconds=1e-9)
    calls = []

    def spoil(gradient: Tensor) -> Tensor:
        calls.append(1)
        return gradient * float("nan") if len(calls) == 4 else gradient

    trainer.plain.decoder.upscale_conv2.weight.register_hook(spoil)
    with pytest.raises(TrainingError, match=r"gradient is not finite at step 4 .*mask \d"):
        trainer.run()
    for state in (trainer.plain.state_dict(), trainer.average.state):
        assert all(value.isfinite().all() for value in state.values())
    assert build(training__steps=6)._resume() == 3


def test_the_average_waits_where_a_scaler_skips_a_step(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with fp16, whose gradients are not finite now and then: no reason to stop."""
    trainer = build(training__steps=3)
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu")
    trainer.optimizer = AcceleratedOptimizer(trainer.optimizer.optimizer, scaler=trainer.accelerator.scaler)
    calls: list[int] = []

    def overflow(gradient: Tensor) -> Tensor:
        calls.append(1)
        return gradient * float("inf") if len(calls) == 2 else gradient

    trainer.plain.decoder.upscale_conv2.weight.register_hook(overflow)
    updates: list[int] = []
    monkeypatch.setattr(trainer.average, "update", lambda _, step: updates.append(step))
    trainer.run()
    assert updates == [1, 3]


def test_resumed_in_one_process_it_ends_in_the_same_weights(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = build("whole", training__steps=6).run()
    broken = build("broken", training__steps=6, training__save_seconds=1e-9)
    step = broken._step

    def stop(number: int, batch: dict[str, object]) -> dict[str, float]:
        if number == 4:
            raise KeyboardInterrupt
        return step(number, batch)

    monkeypatch.setattr(broken, "_step", stop)
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    resumed = build("broken", training__steps=6)
    assert same(resumed.run(resume=True), whole)
    assert [line["step"] for line in log_of(resumed)] == [1, 2, 3, 4, 5, 6]


def test_nothing_to_resume_starts_at_the_beginning(build: Build) -> None:
    trainer = build(training__steps=2)
    trainer.run(resume=True)
    assert len(log_of(trainer)) == 2


def test_a_frozen_encoder_sees_each_sample_once(build: Build) -> None:
    trainer = build(model__encoder__tuning="frozen", training__steps=8, training__cached_samples=3)
    before = {name: value.clone() for name, value in trainer.plain.encoder.state_dict().items()}
    seen: list[int] = []
    trainer.plain.encoder.register_forward_hook(lambda *_: seen.append(1))
    trainer.run()
    assert trainer.frozen and len(seen) == 3 and len(log_of(trainer)) == 8
    assert same(before, trainer.plain.encoder.state_dict())


def test_kept_features_are_those_of_the_sample(build: Build) -> None:
    trainer = build(model__encoder__tuning="frozen", training__steps=4, training__cached_samples=5)
    cached = [trainer._encode(index) for index in range(5)]
    for batch in trainer._cached_batches(0):
        for row, image in enumerate(batch["image"]):
            (item,) = (item for item in cached if torch.equal(item["image"], image))
            torch.testing.assert_close(batch["neck"][row], item["neck"])
            torch.testing.assert_close(batch["taps"][0][row], item["taps"][0])


def test_batches_of_kept_features_depend_on_the_step_alone(build: Build) -> None:
    trainer = build(model__encoder__tuning="frozen", training__steps=5, training__cached_samples=6)
    whole = [batch["image"] for batch in trainer._cached_batches(0)]
    later = [batch["image"] for batch in trainer._cached_batches(3)]
    assert len(whole) == 5 and all(torch.equal(a, b) for a, b in zip(whole[3:], later, strict=True))
    assert not torch.equal(whole[0], whole[1])


def test_kept_features_stay_true_while_the_channels_are_mixed(build: Build) -> None:
    """Two channels are mixed before the encoder: were that trained, kept features would be outdated."""
    trainer = build(channels=2, model__encoder__tuning="frozen", training__steps=4, training__cached_samples=4)
    before = trainer._encode(0)["neck"]
    trainer.run()
    torch.testing.assert_close(trainer._encode(0)["neck"], before)


@pytest.mark.parametrize("decoder", ["sam", "fpn"])
def test_other_decoders_and_arithmetic(build: Build, decoder: str) -> None:
    trainer = build(model__decoder__kind=decoder, training__steps=2, training__precision="bf16")
    average = trainer.run()
    assert {value.dtype for value in average.values() if value.is_floating_point()} == {torch.float32}
    assert all(value.isfinite().all() for value in average.values())
