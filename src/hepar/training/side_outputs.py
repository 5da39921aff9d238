"""Training of networks with side outputs in three stages (Bellver et al. 2017, after DRIU and OSVOS).

The loss is a sum over pixels of three slices, positives and negatives weighed
by how rare they are. First every side output is supervised, then by half, then
the joint output alone; in each stage the rate falls to a tenth towards its end.
Stages are shares of the training, in which theirs has 50,000 updates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from hepar.errors import BadInput
from hepar.nets.side_outputs import Answer, SideOutputs
from hepar.training.checkpoint import TrainingState
from hepar.training.deep_method import DeepMethod
from hepar.training.loop import Batch, Listener, run_epochs, update_by
from hepar.training.losses import Loss
from hepar.training.recipe import Recipe
from hepar.training.sampling import epoch_order
from hepar.training.store import SliceStore
from hepar.training.validation import validate
from hepar.volume import LIVER, TUMOUR

IGNORED, NEGATIVE, POSITIVE = -1, 0, 1
# Weights of positive and negative pixels.
BALANCE: dict[Answer, tuple[float, float]] = {"liver": (0.931, 0.069), "tumour": (0.8982, 0.1018)}
# Share of the training where a stage ends, and what a side output counts until there.
STAGES = ((15 / 50, 1.0), (30 / 50, 0.5), (1.0, 0.0))
# In each of these stretches of the training the rate is a tenth.
SLOW = ((10 / 50, 15 / 50), (25 / 50, 30 / 50), (40 / 50, 1.0))
# The tumour network learns from slices with more liver than 500 pixels of a usual scan, in mm2.
LEAST_LIVER_MM2 = 500 * 0.75**2
# Factors of the gradients: biases, side scores, joint score.
BIAS, SIDE_SCORE, FUSE = 2.0, 0.1, 0.01


@dataclass(frozen=True)
class SideMethod(DeepMethod):
    """A network with side outputs; its answer says whether it learns liver, or tumour in what is lit of the images."""

    def fitted(
        self, network: nn.Module, used: SliceStore, held_back: SliceStore | None, folder: Path, listen: Listener
    ) -> TrainingState:
        assert isinstance(self.network, SideOutputs)
        answer = self.network.answer
        store = used if answer == "liver" else with_enough_liver(used)
        scale_gradients(network)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return run_epochs(network, SideTraining(store, held_back, self.recipe, answer), folder, listen)


@dataclass(frozen=True)
class SideTraining:
    """Slices to learn from with the slices beside them, and to be judged on, the recipe, and what is asked."""

    store: SliceStore
    held_back: SliceStore | None
    recipe: Recipe
    answer: Answer
    # Where each image of the store lies: neighbours are the same arrays.
    place: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.place.update({id(image): i for i, image in enumerate(self.store.images)})

    def batches(self, rng: np.random.Generator) -> tuple[int, Iterator[Batch]]:
        order = epoch_order(self.store, self.recipe, rng)
        starts = range(0, len(order), self.recipe.batch)
        chosen = [order[start : start + self.recipe.batch] for start in starts]
        return len(chosen), (self.batch(rows) for rows in chosen)

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """Images and targets (batch, slice, y, x) of the largest size among them; what is added is ignored."""
        stacks = [self.store.seen(i) for i in rows.tolist()]
        y, x = (max(stack[0].shape[axis] for stack in stacks) for axis in (0, 1))
        images = np.zeros((len(rows), len(stacks[0]), y, x), np.float32)
        targets = np.full(images.shape, IGNORED, np.int64)
        for row, (i, stack) in enumerate(zip(rows.tolist(), stacks, strict=True)):
            for channel, image in enumerate(stack):
                # Slices that do not train themselves have no labels here: their middle's would be wrong.
                at = self.place.get(id(image), i if image is self.store.images[i] else -1)
                part = (row, channel, slice(0, image.shape[0]), slice(0, image.shape[1]))
                images[part] = image
                if at >= 0:
                    targets[part] = self.targets(self.store.labels[at], image)
        return torch.from_numpy(images), torch.from_numpy(targets), torch.from_numpy(self.store.union[rows])

    def targets(self, labels: NDArray[np.uint8], image: NDArray[np.uint8]) -> NDArray[np.int64]:
        """What is asked, of every pixel; of tumours only where the image is lit, since elsewhere no liver was found."""
        if self.answer == "liver":
            return (labels >= LIVER).astype(np.int64)
        return np.where(image > 0, labels == TUMOUR, IGNORED).astype(np.int64)

    def update(self, state: TrainingState, batch: Batch) -> float:
        steps = -(-len(epoch_order(self.store, self.recipe, np.random.default_rng(0))) // self.recipe.batch)
        done = state.update / (steps * self.recipe.epochs)
        for group in state.optimizer.param_groups:
            group["lr"] *= rate_factor(done)
        return update_by(SideCost(BALANCE[self.answer], side_share(done)), state, batch, self.recipe)

    def validate(self, network: nn.Module) -> dict[str, float]:
        return validate(network, self.held_back, self.recipe.precision) if self.held_back else {}


@dataclass(frozen=True)
class SideCost:
    """The joint output's balanced cross-entropy and `sides` times the sides', per image."""

    balance: tuple[float, float]
    sides: float

    def __call__(self, _: Loss, levels: dict[int, Tensor], targets: Tensor, __: Tensor, ___: float) -> Tensor:
        cost = balanced_cross_entropy(levels[1], targets, self.balance)
        for stride in sorted(levels)[1:] if self.sides else ():
            cost = cost + self.sides * balanced_cross_entropy(levels[stride], targets, self.balance)
        return cost


def balanced_cross_entropy(scores: Tensor, targets: Tensor, balance: tuple[float, float]) -> Tensor:
    """Sum over pixels of -log of the truth's probability, positives and negatives weighed, divided by the images.

    Scores and targets (batch, slice, y, x); ignored pixels cost nothing.
    """
    positive, negative = balance
    weights = torch.where(targets == POSITIVE, positive, negative) * (targets != IGNORED)
    truth = (targets == POSITIVE).to(scores.dtype)
    total = F.binary_cross_entropy_with_logits(scores, truth, weights.to(scores.dtype), reduction="sum")
    return total / len(scores)


def side_share(done: float) -> float:
    """What a side output counts once a share of the training is done."""
    return next((share for end, share in STAGES if done < end), STAGES[-1][1])


def rate_factor(done: float) -> float:
    """The rate as a share of the recipe's once a share of the training is done."""
    return 0.1 if any(start <= done < end for start, end in SLOW) else 1.0


def scale_gradients(network: nn.Module) -> None:
    """Biases learn twice as fast, the side scores a tenth and the joint score a hundredth as fast, as there."""
    for name, weights in network.named_parameters():
        layer = SIDE_SCORE if ".side_scores." in name else FUSE if ".fuse." in name else 1.0
        factor = layer * (BIAS if name.endswith(".bias") else 1.0)
        if factor != 1.0:
            weights.register_hook(partial(torch.mul, other=factor))  # type: ignore[no-untyped-call]


def with_enough_liver(store: SliceStore) -> SliceStore:
    """Slices in which enough is lit. Raises BadInput when none is."""
    lit = np.array([np.count_nonzero(image) for image in store.images]) * store.mm[:, 1] ** 2
    if not (lit > LEAST_LIVER_MM2).any():
        raise BadInput("the liver stage finds hardly any liver in the training cases; train it longer")
    return store.part(lit > LEAST_LIVER_MM2)
