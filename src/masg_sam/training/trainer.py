"""The training loop."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor
from torch.optim import AdamW
from torch.utils.data import DataLoader, Subset, default_collate

from masg_sam.config import MOST_SEED, TrainingConfig
from masg_sam.data.dataset import AlternatingPlanes
from masg_sam.devices import memory_format
from masg_sam.errors import TrainingError
from masg_sam.models.checkpoint import STATE
from masg_sam.models.masg_sam import MasgSamNetwork, MasgSamOutput
from masg_sam.models.sam.encoder import EncoderFeatures
from masg_sam.models.sam.prompts import Prompts
from masg_sam.training import checkpoint
from masg_sam.training.losses import diagnostics, loss_terms
from masg_sam.training.optimization import Average, make_accelerator, one_cycle, parameter_groups
from masg_sam.training.progress import RunLog, end_trackers, start_trackers

log = logging.getLogger(__name__)
DIAGNOSTICS_EVERY = 10
MOST_WORKERS = 8


class Trainer:
    """Trains a network on samples for a fixed number of steps.

    Every step depends on the seed and its number alone, so a run that was killed and resumed ends in the
    same weights as one that was not (on one machine's CPU, with the same number of threads).

    Args:
        network: what to train, on the CPU.
        samples: endless samples.
        steps: optimiser steps.
        config: optimisation settings.
        folder: the run; its state and log are written there.
        facts: settings that a resumed run must share.
        console: where progress is drawn.
    """

    def __init__(
        self,
        network: MasgSamNetwork,
        samples: AlternatingPlanes,
        steps: int,
        config: TrainingConfig,
        folder: Path,
        facts: dict[str, Any],
        console: Console,
    ) -> None:
        self.config, self.steps, self.folder, self.facts, self.console = config, steps, folder, facts, console
        self.accelerator = make_accelerator(config, folder)
        self.samples = samples
        self.frozen = not any(p.requires_grad for p in network.encoder.parameters())
        if self.frozen:
            network.adapter.requires_grad_(False)  # what the encoder sees once must stay what it sees
        self.memory_format = memory_format(self.accelerator.device)
        network.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        groups = parameter_groups(network, config)
        self.peaks = [group["lr"] for group in groups]
        optimizer = AdamW(groups, weight_decay=config.weight_decay)
        self.network, self.optimizer = self.accelerator.prepare(network, optimizer)
        self.plain = self.accelerator.unwrap_model(self.network)
        self.average = Average(self.plain, config.ema)

    def run(self, resume: bool = False) -> dict[str, Tensor]:
        """Train, saving the state now and then.

        Args:
            resume: continue from the state in the run's folder.

        Returns:
            The averaged weights.

        Raises:
            TrainingError: the loss or its gradient is not finite; the last saved state is kept.
        """
        done = self._resume() if resume else 0
        if self.config.trackers:
            start_trackers(self.accelerator, self.folder)
        self.network.train()
        saved = time.monotonic()
        with RunLog(self.folder, self.steps, done, self.accelerator, self.console) as run_log:
            started = time.monotonic()
            for step, batch in enumerate(self._batches(done), start=done + 1):
                values = self._step(step, batch)
                run_log.step(step, values, time.monotonic() - started)
                started = time.monotonic()
                if started - saved > self.config.save_seconds or step == self.steps:
                    self._save(step)
                    saved = started
        end_trackers(self.accelerator)
        self.accelerator.unwrap_model(self.network, keep_fp32_wrapper=False)  # in float32 from here on, as when loaded
        return self.average.state

    def _resume(self) -> int:
        if not (self.folder / STATE).exists():
            return 0
        done = checkpoint.load_state(self.folder, self.plain, self.average.state, self.optimizer.optimizer, self.facts)
        log.info("resumed after step %d of %d", done, self.steps)
        return done

    def _save(self, step: int) -> None:
        state = (self.plain, self.average.state, self.optimizer.optimizer)
        checkpoint.save_state(self.folder, step, *state, self.facts)

    def _step(self, step: int, batch: dict[str, Any]) -> dict[str, float]:
        rates, progress = self._set_rates(step), (step - 1) / self.steps
        with self.accelerator.autocast():
            output = self._forward(batch, progress)
        terms = loss_terms(output, batch["label"], self.plain.config, progress)
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            raise _not_finite("loss", step, terms)
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), self.config.clip_norm)
        if self.accelerator.scaler is None and not torch.isfinite(norm):  # the scaler of fp16 skips such a step
            raise _not_finite("gradient", step, terms)
        self.optimizer.step()
        if not self.optimizer.step_was_skipped:
            self.average.update(self.plain, step)
        values = {"loss": loss.item()} | {f"loss/{k}": v.item() for k, v in terms.items()}
        values |= {"lr": rates[0], "grad_norm": float(norm)}
        if step % DIAGNOSTICS_EVERY == 0 or step == self.steps:
            values |= diagnostics(output)
        return values

    def _forward(self, batch: dict[str, Any], progress: float) -> MasgSamOutput:
        prompts = Prompts(**{k: batch[k] for k in ("points", "kinds", "classes", "masks", "has_mask")})
        images = batch["image"].contiguous(memory_format=self.memory_format)
        if "taps" not in batch:
            return self.network(images, prompts, progress)
        encoded = EncoderFeatures(tuple(batch["taps"]), batch["neck"])
        return self.plain.segment(self.plain.adapter(images), encoded, prompts, progress)

    def _batches(self, done: int) -> Iterator[dict[str, Any]]:
        """The batches that are left, in their fixed order, on the training device."""
        size = self.config.batch_size
        if self.frozen:
            yield from self._cached_batches(done)
            return
        left = Subset(self.samples, range(done * size, self.steps * size))
        loader = DataLoader(left, batch_size=size, num_workers=self._workers())
        for batch in loader:
            yield {k: v.to(self.accelerator.device) for k, v in batch.items()}

    def _workers(self) -> int:
        """A GPU waits for nobody; without one the cores are the network's."""
        if self.config.workers is not None:
            return self.config.workers
        return min(MOST_WORKERS, (os.cpu_count() or 1) - 1) if self.accelerator.device.type == "cuda" else 0

    @torch.no_grad()
    def _encode(self, index: int) -> dict[str, Any]:
        item = self.samples[index]
        pixels = self.plain.adapter(item["image"][None].to(self.accelerator.device))
        encoded = self.plain.encoder.eval()(pixels)
        return item | {"taps": [tap[0].cpu() for tap in encoded.taps], "neck": encoded.neck[0].cpu()}

    def _cached_batches(self, done: int) -> Iterator[dict[str, Any]]:
        """A frozen encoder sees each of a fixed set of augmented samples once; batches draw from them."""
        size, planes = self.config.batch_size, len(self.samples.planes)
        count = min(max(self.config.cached_samples, size * planes), self.steps * size)
        log.info("encoding %d samples with the frozen encoder", count)
        cache = [self._encode(index) for index in range(count)]
        for step in range(done, self.steps):
            generator = torch.Generator().manual_seed((self.config.seed * 1_000_003 + step) % MOST_SEED)
            plane = self.samples.plane_of(step * size)
            order = torch.randperm(count, generator=generator).tolist()
            chosen = [i for i in order if self.samples.plane_of(i) == plane][:size]
            batch = default_collate([cache[i] for i in chosen])
            device = self.accelerator.device
            yield {k: [t.to(device) for t in v] if k == "taps" else v.to(device) for k, v in batch.items()}

    def _set_rates(self, step: int) -> list[float]:
        """Learning rates come from the step alone, so that nothing of them has to be saved."""
        rates = [one_cycle(step / (self.steps + 1), peak) for peak in self.peaks]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        return rates


def _not_finite(what: str, step: int, terms: dict[str, Tensor]) -> TrainingError:
    parts = ", ".join(f"{name} {value.item():.3g}" for name, value in terms.items())
    return TrainingError(
        f"the {what} is not finite at step {step} ({parts}); the last saved state is kept: "
        "try --training.precision fp32 or lower learning rates"
    )
