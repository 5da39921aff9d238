"""The training loop: deterministic by seed, resumable at every finished epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hepar.errors import BadInput, TrainingDiverged
from hepar.training.augmentation import augment
from hepar.training.checkpoint import TrainingState, load_state, save_state
from hepar.training.losses import Loss, deep_loss, loss_of
from hepar.training.painting import painter_for
from hepar.training.recipe import Recipe
from hepar.training.sampling import epoch_order, gather
from hepar.training.store import SliceStore
from hepar.training.synthesis import LesionPainter
from hepar.training.validation import validate
from hepar.volume import LIVER

# Keras's decay of the squared gradients, which the published recipes with RMSprop were run with; torch's own is 0.99.
RMS_MEMORY = 0.9


@dataclass(frozen=True)
class Tick:
    """What a listener hears while training; `seconds_left` is an estimate for all remaining epochs."""

    epoch: int
    epochs: int
    share_of_epoch: float
    loss: float
    seconds_left: float
    validation: dict[str, float]
    ended: bool = False


Listener = Callable[[Tick], None]
# Images, labels and union flags, on the CPU.
Batch = tuple[Tensor, Tensor, Tensor]
# A loss of one level of logits, logits by stride, labels, union flags, and the share of a coarser level.
Cost = Callable[[Loss, dict[int, Tensor], Tensor, Tensor, float], Tensor]


class Training(Protocol):
    """What differs between trainings: where batches come from, what an update is, and who judges."""

    @property
    def recipe(self) -> Recipe: ...

    @property
    def held_back(self) -> Sized | None: ...

    def batches(self, rng: np.random.Generator) -> tuple[int, Iterator[Batch]]:
        """The batches of an epoch, each made when it is asked for, and their number."""

    def update(self, state: TrainingState, batch: Batch) -> float:
        """One optimiser step; gives the batch's mean loss."""

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Figures on `held_back`."""


@dataclass(frozen=True)
class SliceTraining:
    """Slices to learn from and to be judged on, the recipe, and what paints lesions into them."""

    store: SliceStore
    held_back: SliceStore | None
    recipe: Recipe
    painter: LesionPainter | None

    def batches(self, rng: np.random.Generator) -> tuple[int, Iterator[Batch]]:
        epoch_seed = int(rng.integers(2**31))
        order = epoch_order(self.store, self.recipe, rng)
        # Dropout draws from the global generator, which the loop has forked.
        torch.manual_seed(int(rng.integers(2**31)))
        starts = range(0, max(1, len(order)), self.recipe.batch)
        chosen = [order[start : start + self.recipe.batch] for start in starts]
        return len(chosen), (self._batch(rows, rng, epoch_seed, step) for step, rows in enumerate(chosen))

    def _batch(self, rows: NDArray[np.int64], rng: np.random.Generator, epoch_seed: int, step: int) -> Batch:
        images, labels, union = gather(self.store, rows, self.recipe, rng, self.painter)
        if self.recipe.augmentation:
            images, labels = augment(images, labels, self.recipe.augmentation, _generator(epoch_seed, step))
        return images, labels, union

    def update(self, state: TrainingState, batch: Batch) -> float:
        return update_once(state, *batch, self.recipe)

    def validate(self, network: nn.Module) -> dict[str, float]:
        return validate(network, self.held_back, self.recipe.precision) if self.held_back else {}


def fit(
    network: nn.Module, store: SliceStore, held_back: SliceStore | None, recipe: Recipe, folder: Path, listen: Listener
) -> TrainingState:
    """Train `network` on slices, in place, as `run_epochs` does."""
    used = trained_slices(store, recipe)
    if recipe.deep_supervision and not hasattr(network, "supervised"):
        raise BadInput(f"{type(network).__name__} has no deep heads; train it with deep_supervision=0")
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return run_epochs(network, SliceTraining(used, held_back, recipe, painter_for(used, recipe)), folder, listen)


def run_epochs(network: nn.Module, training: Training, folder: Path, listen: Listener) -> TrainingState:
    """Train `network` in place; afterwards it holds the averaged weights if the recipe's `ema` is set.

    After each epoch the whole state goes to `folder/checkpoint.safetensors`; a
    second call continues there, bit for bit as an unbroken run (same machine,
    same versions). The network trains on the device it lies on; only CPU runs are bit-identical.
    """
    state = TrainingState(network, make_optimizer(network, training.recipe), {}, [])
    path = folder / "checkpoint.safetensors"
    if path.exists():
        load_state(state, path)
    while state.epoch < training.recipe.epochs:
        _one_epoch(state, training, listen)
        save_state(state, path)
    _use_average(state)
    return state


def trained_slices(store: SliceStore, recipe: Recipe) -> SliceStore:
    """The slices that the recipe trains on. Raises BadInput when none is left."""
    used = store.part(store.has(LIVER)) if recipe.slices == "any_label" else store
    if not len(used):
        raise BadInput("no training slice shows liver; check the labels or train with slices='all'")
    return used


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Weight decay acts on weights (kernels), not on biases and normalisation, as in MATLAB."""
    groups = []
    for part, share in _parts(network, recipe.encoder_share):
        kernels, others = [p for p in part if p.ndim > 1], [p for p in part if p.ndim <= 1]
        groups.append({"params": kernels, "weight_decay": recipe.weight_decay, "share": share})
        groups.append({"params": others, "weight_decay": 0.0, "share": share})
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.nesterov)
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=recipe.learning_rate, alpha=RMS_MEMORY)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=recipe.learning_rate)


def _parts(network: nn.Module, encoder_share: float) -> list[tuple[list[nn.Parameter], float]]:
    """Trainable parameters with their share of the learning rate: the encoder's, then all others."""
    encoder = getattr(network, "encoder", None)
    inside = {id(p) for p in encoder.parameters()} if isinstance(encoder, nn.Module) else set()
    trained = [p for p in network.parameters() if p.requires_grad]
    return [
        ([p for p in trained if id(p) in inside], encoder_share),
        ([p for p in trained if id(p) not in inside], 1.0),
    ]


def update_once(state: TrainingState, images: Tensor, labels: Tensor, union: Tensor, recipe: Recipe) -> float:
    """One optimiser step on one batch of slices; gives the batch's mean loss."""
    return update_by(deep_loss, state, (images, labels, union), recipe, clip=recipe.clip_norm or None)


def update_by(cost: Cost, state: TrainingState, batch: Batch, recipe: Recipe, clip: float | None = None) -> float:
    """One optimiser step on one batch, accumulated over micro-batches; gives the batch's mean cost.

    Images are (batch, channel, ...). `clip` bounds the norm of the gradient.
    """
    images, labels, union = batch
    state.optimizer.zero_grad(set_to_none=True)
    loss_here, total = loss_of(recipe), 0.0
    device = next(state.network.parameters()).device
    for start in range(0, len(images), recipe.micro_batch):
        part = slice(start, start + recipe.micro_batch)
        x = images[part]
        if x.ndim == 4:  # slices lie in memory as their network does
            x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            levels = _levels(state.network, x.to(device), deep=recipe.deep_supervision > 0)
        loss = cost(loss_here, levels, labels[part].to(device), union[part].to(device), recipe.deep_supervision)
        loss = loss * (len(x) / len(images))
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    if clip is not None:
        nn.utils.clip_grad_norm_(state.network.parameters(), clip)
    state.optimizer.step()
    state.update += 1
    _average(state, recipe.ema)
    return total


def _levels(network: nn.Module, x: Tensor, deep: bool) -> dict[int, Tensor]:
    """Logits by stride, the full size alone unless `deep`."""
    if not deep:
        return {1: network(x)}
    levels: dict[int, Tensor] = network.supervised(x)  # type: ignore[operator]
    return levels


def _generator(epoch_seed: int, step: int) -> torch.Generator:
    """A batch's own generator: what it becomes does not depend on what was drawn for the batches before."""
    seed = np.random.SeedSequence([epoch_seed, step]).generate_state(1)[0]
    return torch.Generator().manual_seed(int(seed))


def _one_epoch(state: TrainingState, training: Training, listen: Listener) -> None:
    recipe, epoch = training.recipe, state.epoch
    started, losses, lr = time.monotonic(), [], recipe.learning_rate
    state.network.train()
    # Callers keep their global generator.
    with torch.random.fork_rng(devices=[]):
        # Every epoch starts from its own generator: nothing random needs to be saved to resume.
        steps, batches = training.batches(np.random.default_rng([recipe.seed, epoch]))
        for step, batch in enumerate(batches, start=1):
            lr = recipe.learning_rate_at(state.update, steps * recipe.epochs)
            for group in state.optimizer.param_groups:
                group["lr"] = lr * group["share"]
            losses.append(training.update(state, batch))
            if not math.isfinite(losses[-1]):
                raise TrainingDiverged(
                    f"the loss became {losses[-1]} in epoch {epoch + 1}, update {state.update}; lower the learning rate"
                )
            spent = (time.monotonic() - started) / step * steps
            left = spent * (recipe.epochs - epoch - step / steps)
            listen(Tick(epoch, recipe.epochs, step / steps, float(np.mean(losses)), left, {}))
    row = {"epoch": epoch + 1, "updates": state.update, "loss": float(np.mean(losses)), "learning_rate": lr}
    if training.held_back and _validates(epoch, recipe):
        with averaged_weights(state):
            row |= training.validate(state.network)
    row["seconds"] = round(time.monotonic() - started, 2)
    state.history.append(row)
    found = {k: v for k, v in row.items() if k.startswith("dice")}
    left = row["seconds"] * (recipe.epochs - epoch - 1)
    listen(Tick(epoch, recipe.epochs, 1.0, row["loss"], left, found, ended=True))


def _validates(epoch: int, recipe: Recipe) -> bool:
    return (epoch + 1) % recipe.validate_every == 0 or epoch + 1 == recipe.epochs


def _average(state: TrainingState, decay: float) -> None:
    if not decay:
        return
    current = state.network.state_dict()
    if not state.ema:
        state.ema = {k: v.detach().clone() for k, v in current.items()}
        return
    # The first averages would remember the start for too long: ramp the decay up.
    rate = min(decay, (1 + state.update) / (10 + state.update))
    for name, mean in state.ema.items():
        if mean.is_floating_point():
            mean.lerp_(current[name].detach(), 1 - rate)
        else:
            mean.copy_(current[name])


class averaged_weights:  # noqa: N801 (reads as a context manager)
    """Inside the block the network holds the averaged weights, if there are any."""

    def __init__(self, state: TrainingState) -> None:
        self.state = state
        self.own = {k: v.detach().clone() for k, v in state.network.state_dict().items()} if state.ema else {}

    def __enter__(self) -> None:
        _use_average(self.state)

    def __exit__(self, *_: object) -> None:
        if self.own:
            self.state.network.load_state_dict(self.own)


def _use_average(state: TrainingState) -> None:
    if state.ema:
        state.network.load_state_dict(state.ema)
