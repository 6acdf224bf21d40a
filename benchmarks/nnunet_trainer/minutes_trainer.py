"""nnU-Net's trainer with a wall clock instead of 1000 epochs. nnU-Net finds it through `nnUNet_extTrainer`.

Runs in nnU-Net's own environment. Loss, network, augmentation, optimiser and the form of the schedule are nnU-Net's.
There is no validation, since every labelled case is trained on, and the last weights are the ones used.
"""

from __future__ import annotations

import json
import os
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from schedule import Clock, polynomial

DEADLINE, SEED = "MASG_SAM_NNUNET_DEADLINE", "MASG_SAM_NNUNET_SEED"
FACTS = "minutes.json"
TOLD_EVERY = 25  # iterations


class MinutesTrainer(nnUNetTrainer):
    """Trains until a deadline, with a learning rate that falls to zero until then.

    The rate follows the clock and not a count of iterations, so that the schedule is complete however fast the
    machine is, and however many share it. The environment says until when (``MASG_SAM_NNUNET_DEADLINE``, seconds since
    1970) and with which seed of the weights. ``OMP_NUM_THREADS`` counts, which nnU-Net itself passes over.
    """

    def initialize(self) -> None:
        """Make the network."""
        if threads := os.environ.get("OMP_NUM_THREADS"):
            torch.set_num_threads(int(threads))
        seed = int(os.environ.get(SEED, "0"))
        torch.manual_seed(seed)
        np.random.seed(seed)
        super().initialize()

    def run_training(self) -> None:
        """Train until the deadline, and save the last weights."""
        self.on_train_start()
        self.network.train()
        clock = Clock(time.time(), float(os.environ[DEADLINE]))
        losses: list[float] = []
        while not losses or clock.fits(time.time(), len(losses)):
            rate = polynomial(self.initial_lr, clock.passed(time.time()))
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            losses.append(float(self.train_step(next(self.dataloader_train))["loss"]))
            if len(losses) % TOLD_EVERY == 1:
                recent = np.mean(losses[-TOLD_EVERY:])
                self.print_to_log_file(f"iteration {len(losses)}: loss {recent:.4f}, learning rate {rate:.5f}")
        self._note(len(losses), time.time() - clock.started)
        self.current_epoch = 1
        self.on_train_end()

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Nothing is held out."""

    def _note(self, iterations: int, seconds: float) -> None:
        """What run.json will say."""
        facts = {
            "iterations": iterations,
            "seconds_per_iteration": round(seconds / iterations, 3),
            "patch_size": [int(side) for side in self.configuration_manager.patch_size],
            "batch_size": int(self.configuration_manager.batch_size),
            "device": str(self.device),
            "versions": {name: version(name) for name in ("nnunetv2", "torch")},
        }
        Path(self.output_folder, FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")
