"""A network small enough to train in milliseconds, and slices to train it on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hepar.training.store import SliceStore


@pytest.fixture
def tiny_network():
    def build() -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return nn.Sequential(
                nn.BatchNorm2d(1),
                nn.Conv2d(1, 8, 3, padding=1),
                nn.ReLU(),
                nn.Dropout(0.2),
                # A kernel whose channels-last memory differs from the plain one.
                nn.Conv2d(8, 3, 3, padding=1),
            )

    return build


@pytest.fixture
def bright_discs() -> SliceStore:
    """24 slices of 3 patients: liver is bright, tumour dark inside it; every third slice has union labels."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:32, :32]
    images, labels = [], []
    for _ in range(24):
        cy, cx = rng.integers(10, 22, 2)
        truth = ((y - cy) ** 2 + (x - cx) ** 2 < 64).astype(np.uint8)
        truth[(y - cy) ** 2 + (x - cx) ** 2 < 9] = 2
        grey = np.choose(truth, (30, 200, 110)) + rng.normal(0, 8, truth.shape)
        images.append(np.clip(grey, 0, 255).astype(np.uint8))
        labels.append(truth)
    patients = np.repeat(["a", "b", "c"], 8)
    union = np.arange(24) % 3 == 0
    for i in np.flatnonzero(union):
        labels[i] = np.minimum(labels[i], 1)
    return SliceStore(images, labels, patients, patients, union)
