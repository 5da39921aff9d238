"""Dice on patients held back from training, on the network's grid (a steering figure, not a result)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hepar.training.store import SliceStore
from hepar.volume import LIVER, TUMOUR


def validate(network: nn.Module, store: SliceStore, precision: str) -> dict[str, float]:
    """Mean over patients of Dice pooled over the patient's slices.

    Liver includes tumour. A patient without tumour takes no part in the tumour
    mean; its false tumour pixels are reported as a share of its liver.
    """
    network.eval()
    liver, tumour, false_share = [], [], []
    kind = next(network.parameters()).device.type
    with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=precision == "bf16"):
        for patient in np.unique(store.patients):
            counts = np.zeros((2, 3))
            mine = store.part(store.patients == patient)
            for truth, found, union in _slices(network, mine):
                counts[0] += _overlap(truth >= LIVER, found >= LIVER)
                # Slices with union labels say nothing of tumour; the patient's other slices do.
                counts[1] += _overlap(truth[~union] == TUMOUR, found[~union] == TUMOUR)
            if counts[0, 1]:
                liver.append(2 * counts[0, 0] / counts[0, 1:].sum())
            if counts[1, 1]:
                tumour.append(2 * counts[1, 0] / counts[1, 1:].sum())
            elif not mine.union.all() and counts[0, 1]:
                false_share.append(counts[1, 2] / counts[0, 1])
    network.train()
    means = {"dice_liver": liver, "dice_tumour": tumour, "false_tumour_share": false_share}
    return {name: float(np.mean(values)) for name, values in means.items() if values}


Batch = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]


def _slices(network: nn.Module, store: SliceStore) -> Iterator[Batch]:
    """Truth, labels found and union flags, some slices at a time."""
    device = next(network.parameters()).device
    # Slices of one case have one size; those of a patient need not.
    for case in np.unique(store.cases):
        mine = store.part(store.cases == case)
        for start in range(0, len(mine), 8):
            rows = range(start, min(start + 8, len(mine)))
            batch = np.array([mine.seen(i) for i in rows], dtype=np.float32)
            found = network(torch.from_numpy(batch).to(device)).float().argmax(dim=1).cpu().numpy()
            yield np.stack(mine.labels[start : start + 8]), found, mine.union[start : start + 8]


def _overlap(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> tuple[int, int, int]:
    return int((truth & found).sum()), int(truth.sum()), int(found.sum())
