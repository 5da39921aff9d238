"""nnU-Net's trainer with three changes: a wall clock ends it, CPUs may compute in bf16, union pixels count as such.

Everything else (network, loss, SGD with Nesterov momentum .99, poly schedule from .01, augmentation, sampling) is
nnU-Net's own. Needs nnunetv2; imported by run.py after it has set nnU-Net's folders.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from clock import Clock, poly_rate
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor, nn
from union_loss import UnionLoss

Json = dict[str, Any]

LATEST, FINAL, CLOCK = "checkpoint_latest.pth", "checkpoint_final.pth", "clock.json"


class ByClock:
    """Sets nnU-Net's poly learning rate from the clock, whatever the epoch's number."""

    def __init__(self, optimizer: torch.optim.Optimizer, initial: float, clock: Clock) -> None:
        self.optimizer, self.initial, self.clock = optimizer, initial, clock

    def step(self, _epoch: int | None = None) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = poly_rate(self.initial, self.clock.share)


class TimedTrainer(nnUNetTrainer):  # type: ignore[misc]
    """`clock`, `bf16`, `channels_last`, `ignore_union` are set after construction: nnU-Net fixes the signature."""

    def __init__(self, plans: Json, configuration: str, fold: Any, dataset_json: Json, device: torch.device) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.clock = Clock(limit_s=3600)
        self.bf16 = self.channels_last = self.ignore_union = False
        self.num_val_iterations_per_epoch = 1
        # Checkpoints are cheap beside a minute's epoch.
        self.save_every = 1

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, ByClock]:
        optimizer, _ = super().configure_optimizers()
        return optimizer, ByClock(optimizer, self.initial_lr, self.clock)

    def _build_loss(self) -> nn.Module:
        loss = super()._build_loss()
        if self.ignore_union:
            return loss
        if isinstance(loss, DeepSupervisionWrapper):
            loss.loss = UnionLoss(loss.loss)
            return loss
        return UnionLoss(loss)

    def initialize(self) -> None:
        super().initialize()
        if self.channels_last:
            self.network = self.network.to(memory_format=torch.channels_last)

    def train_step(self, batch: Json) -> Json:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            output = self.network(self._image(batch))
        target = [t.to(self.device) for t in batch["target"]]
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss([o.float() for o in output], target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12)
        self.optimizer.step()
        return {"loss": loss.detach().cpu().numpy()}

    def validation_step(self, batch: Json) -> Json:
        batch["data"] = self._image(batch)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return dict(super().validation_step(batch))

    def _image(self, batch: Json) -> Tensor:
        kind = torch.channels_last if self.channels_last else torch.contiguous_format
        image: Tensor = batch["data"].to(self.device).contiguous(memory_format=kind)
        return image

    def run_training(self) -> None:
        """As nnU-Net's, but to the end of the clock's time, or of this piece's; the last epoch may be a short one."""
        self.on_train_start()
        # What one prepares once (reading plans, the first batch) is no training on either side.
        self.clock.start()
        while not self.clock.piece_over:
            self._one_epoch()
        if self.clock.over:
            self.on_train_end()
        else:
            self.print_to_log_file(f"Piece over after {self.clock.spent_s / 60:.1f} minutes in all.")

    def _one_epoch(self) -> None:
        self.on_epoch_start()
        self.on_train_epoch_start()
        done = [self.train_step(next(self.dataloader_train))]
        while len(done) < self.num_iterations_per_epoch and not self.clock.over:
            done.append(self.train_step(next(self.dataloader_train)))
        self.on_train_epoch_end(done)
        with torch.no_grad():
            self.on_validation_epoch_start()
            self.on_validation_epoch_end([self.validation_step(next(self.dataloader_val))])
        self.on_epoch_end()
        self.print_to_log_file(
            f"Iterations: {len(done)}; {self.clock.spent_s / 60:.2f} of {self.clock.limit_s / 60:g} minutes "
            f"({self.clock.wall_s / 60:.2f} on the wall, {self.clock.worked_s / 60:.2f} worked)"
        )

    def save_checkpoint(self, filename: str) -> None:
        super().save_checkpoint(filename)
        if Path(filename).name in (LATEST, FINAL):
            self.clock.save(Path(filename).with_name(CLOCK))
