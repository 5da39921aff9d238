"""Bilinear upsampling by transposed convolutions with odd kernels, and exact crops.

A kernel of 2s - 1 taps at stride s has its centre on a sample: input sample i
lands exactly on output sample s*i + s - 1, so the place of every score is a
whole number and crops by whole offsets lose nothing. (Even kernels, as used
with VGG, would leave half a pixel here.) Weights are 1 - |tap - centre| / s.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BilinearUpsampling(nn.Module):
    """Every class map enlarged by `factor`: (batch, class, y, x) -> (batch, class, factor*y + factor - 1, ...).

    Starts as exact bilinear interpolation, one kernel per class. `learnable`
    trains the kernels (the paper trains its decoder too); otherwise they are
    fixed, as in the public FCN models.
    """

    weight: Tensor

    def __init__(self, classes: int, factor: int, learnable: bool = True) -> None:
        super().__init__()
        self.factor = factor
        kernel = bilinear_kernel(factor).expand(classes, 1, -1, -1).clone()
        if learnable:
            self.weight = nn.Parameter(kernel)
        else:
            self.register_buffer("weight", kernel)

    def forward(self, scores: Tensor) -> Tensor:
        with full_precision(scores):
            return F.conv_transpose2d(scores.float(), self.weight, stride=self.factor, groups=self.weight.shape[0])


def full_precision(maps: Tensor) -> AbstractContextManager[object]:
    """Switches autocast off on the device of `maps`: scores and their interpolation are cheap and stay float32."""
    device = maps.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def bilinear_kernel(factor: int) -> Tensor:
    """The (2*factor - 1, 2*factor - 1) kernel of linear interpolation along y and x."""
    taps = 1.0 - torch.arange(1 - factor, factor, dtype=torch.float32).abs() / factor
    return taps[:, None] * taps[None, :]


def crop(maps: Tensor, offset: int, size: tuple[int, int]) -> Tensor:
    """The `size` (y, x) window of (batch, channel, y, x) that starts `offset` samples from the top left."""
    return maps[:, :, offset : offset + size[0], offset : offset + size[1]]


def size_of(maps: Tensor) -> tuple[int, int]:
    """(y, x) of (batch, channel, y, x)."""
    return maps.shape[-2], maps.shape[-1]
