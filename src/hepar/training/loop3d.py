"""Training on blocks: what `loop` needs of it, an update and a validation.

Losses see a block as one tall image, (batch, 3, z * y, x): none of them looks
at a pixel's neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hepar.inference.blocks import Side, finished_layers
from hepar.inference.segmenter import Predictor
from hepar.training.checkpoint import TrainingState
from hepar.training.loop import Batch, update_by
from hepar.training.losses import Loss
from hepar.training.patches3d import LIVER_SHARE, TUMOUR_SHARE, VolumeStore, augment_blocks, draw_blocks
from hepar.training.recipe import Recipe
from hepar.training.sampling import THIRD_LABELLED
from hepar.volume import LIVER, TUMOUR

# Blocks of an epoch where the recipe does not say: as many as nnU-Net's.
SAMPLES_PER_EPOCH = 500
VALIDATION_OVERLAP = 0.25


@dataclass(frozen=True)
class BlockTraining:
    """Volumes to learn from and to be judged on, the recipe, and the side of the blocks."""

    store: VolumeStore
    held_back: VolumeStore | None
    recipe: Recipe
    side: Side

    def batches(self, rng: np.random.Generator) -> tuple[int, Iterator[Batch]]:
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        steps = max(1, (self.recipe.samples_per_epoch or SAMPLES_PER_EPOCH) // self.recipe.batch)
        return steps, (self._batch(rng, generator) for _ in range(steps))

    def _batch(self, rng: np.random.Generator, generator: torch.Generator) -> Batch:
        shares = THIRD_LABELLED if self.recipe.sampling == "third_labelled" else (TUMOUR_SHARE, LIVER_SHARE)
        images, labels, union = draw_blocks(self.store, self.recipe.batch, self.side, rng, shares)
        if self.recipe.augmentation:
            images, labels = augment_blocks(images, labels, self.recipe.augmentation, generator)
        return images, labels, union

    def update(self, state: TrainingState, batch: Batch) -> float:
        return update_blocks(state, *batch, self.recipe)

    def validate(self, network: nn.Module) -> dict[str, float]:
        return validate_blocks(network, self.held_back, self.side, self.recipe.precision) if self.held_back else {}


def update_blocks(state: TrainingState, images: Tensor, labels: Tensor, union: Tensor, recipe: Recipe) -> float:
    """One optimiser step on blocks (batch, z, y, x); gives the batch's mean loss."""
    # As in nnU-Net: few blocks a batch make some gradients very large.
    return update_by(block_loss, state, (images[:, None], labels, union), recipe, clip=12.0)


def block_loss(loss: Loss, levels: dict[int, Tensor], labels: Tensor, union: Tensor, share: float) -> Tensor:
    """Weighted mean of the losses of logits by stride, each coarser level `share` of the next finer.

    Sample i of a level lies on voxel i * stride along every axis; how many
    samples a level has tells its stride, which need not be the same on all axes.
    """
    costs, weights = [], []
    for level, (_, logits) in enumerate(sorted(levels.items())):
        z, y, x = (-(-n // m) for n, m in zip(labels.shape[1:], logits.shape[2:], strict=True))
        truth = labels[:, ::z, ::y, ::x]
        costs.append(share**level * loss(logits.flatten(2, 3), truth.flatten(1, 2), union))
        weights.append(share**level)
    return torch.stack(costs).sum() / sum(weights)


def block_predictor(network: nn.Module, precision: str) -> Predictor:
    """From float32 (1, 1, z, y, x) to logits, on the device the network lies on."""
    device = next(network.parameters()).device

    def predict(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits: NDArray[np.float32] = network(torch.from_numpy(batch).to(device)).float().cpu().numpy()
        return logits

    return predict


def validate_blocks(network: nn.Module, store: VolumeStore, side: Side, precision: str) -> dict[str, float]:
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
