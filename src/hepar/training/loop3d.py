"""The training loop on blocks: as `loop`, with updates and validation of its own.

Losses see a block as one tall image, (batch, 3, z * y, x): none of them looks
at a pixel's neighbours.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hepar.errors import TrainingDiverged
from hepar.inference.blocks import finished_layers
from hepar.inference.segmenter import Predictor
from hepar.training.checkpoint import TrainingState, load_state, save_state
from hepar.training.loop import Listener, Tick, averaged_weights, make_optimizer
from hepar.training.losses import Loss, loss_of
from hepar.training.patches3d import VolumeStore, augment_blocks, draw_blocks
from hepar.training.recipe import Recipe
from hepar.volume import LIVER, TUMOUR

# Blocks of an epoch where the recipe does not say: as many as nnU-Net's.
SAMPLES_PER_EPOCH = 500
VALIDATION_OVERLAP = 0.25


@dataclass(frozen=True)
class BlockTraining:
    """What an epoch needs besides the state: volumes to learn from and to look at, the recipe, the blocks' side."""

    store: VolumeStore
    held_back: VolumeStore | None
    recipe: Recipe
    side: int

    @property
    def steps(self) -> int:
        """Updates of an epoch."""
        return max(1, (self.recipe.samples_per_epoch or SAMPLES_PER_EPOCH) // self.recipe.batch)


def fit_blocks(network: nn.Module, training: BlockTraining, folder: Path, listen: Listener) -> TrainingState:
    """Train `network` in place, on the device it lies on; afterwards it holds the averaged weights, if there are any.

    After each epoch the state goes to `folder/checkpoint.safetensors`; a second call continues there.
    """
    state = TrainingState(network, make_optimizer(network, training.recipe), {}, [])
    path = folder / "checkpoint.safetensors"
    if path.exists():
        load_state(state, path)
    while state.epoch < training.recipe.epochs:
        _one_epoch(state, training, listen)
        save_state(state, path)
    if state.ema:
        network.load_state_dict(state.ema)
    return state


def _one_epoch(state: TrainingState, training: BlockTraining, listen: Listener) -> None:
    recipe, epoch, steps = training.recipe, state.epoch, training.steps
    # Every epoch starts from its own generators: nothing random needs to be saved to resume.
    rng = np.random.default_rng([recipe.seed, epoch])
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    started, losses, lr = time.monotonic(), [], recipe.learning_rate
    state.network.train()
    for step in range(steps):
        images, labels, union = draw_blocks(training.store, recipe.batch, training.side, rng)
        if recipe.augmentation:
            images, labels = augment_blocks(images, labels, recipe.augmentation, generator)
        lr = recipe.learning_rate_at(state.update, steps * recipe.epochs)
        for group in state.optimizer.param_groups:
            group["lr"] = lr * group["share"]
        losses.append(update_blocks(state, images, labels, union, recipe))
        if not math.isfinite(losses[-1]):
            raise TrainingDiverged(
                f"the loss became {losses[-1]} in epoch {epoch + 1}, update {state.update}; lower the learning rate"
            )
        spent = (time.monotonic() - started) / (step + 1) * steps
        left = spent * (recipe.epochs - epoch - (step + 1) / steps)
        listen(Tick(epoch, recipe.epochs, (step + 1) / steps, float(np.mean(losses)), left, {}))
    row = {"epoch": epoch + 1, "updates": state.update, "loss": float(np.mean(losses)), "learning_rate": lr}
    due = (epoch + 1) % recipe.validate_every == 0 or epoch + 1 == recipe.epochs
    if training.held_back is not None and due:
        with averaged_weights(state):
            row |= validate_blocks(state.network, training.held_back, training.side, recipe.precision)
    row["seconds"] = round(time.monotonic() - started, 2)
    state.history.append(row)
    found = {k: v for k, v in row.items() if k.startswith("dice")}
    left = row["seconds"] * (recipe.epochs - epoch - 1)
    listen(Tick(epoch, recipe.epochs, 1.0, row["loss"], left, found, ended=True))


def update_blocks(state: TrainingState, images: Tensor, labels: Tensor, union: Tensor, recipe: Recipe) -> float:
    """One optimiser step on blocks (batch, z, y, x), in micro-batches; gives the batch's mean loss."""
    state.optimizer.zero_grad(set_to_none=True)
    loss_here, total = loss_of(recipe), 0.0
    device = next(state.network.parameters()).device
    for start in range(0, len(images), recipe.micro_batch):
        part = slice(start, start + recipe.micro_batch)
        x = images[part, None].to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            levels = state.network.supervised(x) if recipe.deep_supervision else {1: state.network(x)}  # type: ignore[operator]
        share = len(x) / len(images)
        loss = share * block_loss(
            loss_here, levels, labels[part].to(device), union[part].to(device), recipe.deep_supervision
        )
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    # As in nnU-Net: few blocks a batch make some gradients very large.
    nn.utils.clip_grad_norm_(state.network.parameters(), 12.0)
    state.optimizer.step()
    state.update += 1
    _average(state, recipe.ema)
    return total


def block_loss(loss: Loss, levels: dict[int, Tensor], labels: Tensor, union: Tensor, share: float) -> Tensor:
    """Weighted mean of the losses of logits by stride, each coarser level `share` of the next finer.

    Sample i of a level lies on voxel i * stride along every axis.
    """
    costs, weights = [], []
    for level, (stride, logits) in enumerate(sorted(levels.items())):
        truth = labels[:, ::stride, ::stride, ::stride]
        costs.append(share**level * loss(logits.flatten(2, 3), truth.flatten(1, 2), union))
        weights.append(share**level)
    return torch.stack(costs).sum() / sum(weights)


def _average(state: TrainingState, decay: float) -> None:
    """The running average of all weights; ramped up, or the start would be remembered for too long."""
    if not decay:
        return
    current = {name: value.detach() for name, value in state.network.state_dict().items()}
    if not state.ema:
        state.ema = {name: value.clone() for name, value in current.items()}
        return
    rate = min(decay, (1 + state.update) / (10 + state.update))
    for name, mean in state.ema.items():
        mean.lerp_(current[name], 1 - rate)


def block_predictor(network: nn.Module, precision: str) -> Predictor:
    """From float32 (1, 1, z, y, x) to logits, on the device the network lies on."""
    device = next(network.parameters()).device

    def predict(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits: NDArray[np.float32] = network(torch.from_numpy(batch).to(device)).float().cpu().numpy()
        return logits

    return predict


def validate_blocks(network: nn.Module, store: VolumeStore, side: int, precision: str) -> dict[str, float]:
    """Mean over patients of Dice pooled over the patient's volumes, on the network's grid (a steering figure).

    Liver includes tumour. Patients without tumour, or with union labels alone, take no part in the tumour mean.
    """
    network.eval()
    predict = block_predictor(network, precision)
    counts = {str(patient): np.zeros((2, 3)) for patient in np.unique(store.patients)}
    for image, labels, patient, union in zip(store.images, store.labels, store.patients, store.union, strict=True):
        for start, logits in finished_layers(image, predict, side, VALIDATION_OVERLAP):
            truth, found = labels[start : start + len(logits)], logits.argmax(axis=1)
            counts[str(patient)][0] += _overlap(truth >= LIVER, found >= LIVER)
            if not union:
                counts[str(patient)][1] += _overlap(truth == TUMOUR, found == TUMOUR)
    network.train()
    means = {}
    for row, name in enumerate(("dice_liver", "dice_tumour")):
        each = [2 * mine[row, 0] / mine[row, 1:].sum() for mine in counts.values() if mine[row, 1]]
        if each:
            means[name] = float(np.mean(each))
    return means


def _overlap(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> tuple[int, int, int]:
    return int((truth & found).sum()), int(truth.sum()), int(found.sum())
