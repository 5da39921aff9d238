"""What a network costs: exact counts from its convolutions, nothing measured."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from hepar.nets.encoder_decoder import parameter_count


@dataclass(frozen=True)
class Cost:
    """Of one forward pass over one image. `gflop` counts a multiplication and its addition as two."""

    gflop: float
    parameters: int

    @property
    def fp16_mb(self) -> float:
        """Size of the weights in half precision, in MB of 10^6 bytes."""
        return self.parameters * 2 / 1e6


def cost_of(network: nn.Module, slices: int = 1, size: tuple[int, int] = (512, 512)) -> Cost:
    """The cost of `network`, set to evaluation, for one image of `slices` channels and `size` (y, x).

    Convolutions and matrix products count; normalisation folds into them at
    inference, and activations, additions and copies are left out, as usual.
    """
    from torch.utils.flop_counter import FlopCounterMode

    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, slices, *size, device=device))
    network.train(was_training)
    return Cost(counter.get_total_flops() / 1e9, parameter_count(network, upsampling=True))
