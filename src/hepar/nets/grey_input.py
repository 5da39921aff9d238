"""The first layer of every network: grey values to what an ImageNet encoder expects."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Convention:
    """How the encoder's weights want their three input channels: (value - mean) / std, values 0..255."""

    name: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


# Caffe's reference models: BGR in 0..255 minus the channel means (shelhamer/fcn.berkeleyvision.org).
CAFFE = Convention("caffe", (104.007, 116.669, 122.679), (1.0, 1.0, 1.0))
# torchvision: RGB / 255, minus (.485, .456, .406), divided by (.229, .224, .225); here times 255.
TORCHVISION = Convention("torchvision", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


class GreyInput(nn.Module):
    """Repeats a single grey channel three times and normalises.

    (batch, 1 or 3, y, x) float32 of 0..255 -> (batch, 3, y, x); three channels
    are three slices. The convention lies in buffers, so a checkpoint carries
    it. With repeated grey only the order of the means tells BGR from RGB.
    `slices` is how many channels the network is meant to get.
    """

    slices = 1

    mean: Tensor
    std: Tensor

    def __init__(self, convention: Convention = TORCHVISION) -> None:
        super().__init__()
        self.register_buffer("mean", torch.empty(3))
        self.register_buffer("std", torch.empty(3))
        self.follow(convention)

    def follow(self, convention: Convention) -> None:
        """Normalise as `convention` says from now on."""
        with torch.no_grad():
            self.mean.copy_(torch.tensor(convention.mean, device=self.mean.device))
            self.std.copy_(torch.tensor(convention.std, device=self.std.device))

    def forward(self, grey: Tensor) -> Tensor:
        three = (grey.expand(-1, 3, -1, -1) - self.mean.view(1, 3, 1, 1)) / self.std.view(1, 3, 1, 1)
        # Channels last runs through the whole network from here and trains several times faster on CPUs.
        return three.contiguous(memory_format=torch.channels_last)


class GreySpread(nn.Module):
    """Grey (batch, channel, y, x) in 0..255 to (grey - mean) / spread, channels last: for networks from scratch.

    `slices` is how many channels the network is meant to get.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, mean: float, spread: float, slices: int = 1) -> None:
        super().__init__()
        self.slices = slices
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("spread", torch.tensor(spread))

    def follow(self, convention: Convention) -> None:
        """No published weights have this input: its own normalisation stays whatever an encoder's file says."""

    def forward(self, grey: Tensor) -> Tensor:
        return ((grey - self.mean) / self.spread).contiguous(memory_format=torch.channels_last)
