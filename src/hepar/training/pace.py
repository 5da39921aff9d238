"""How long an update and a slice take on this machine, measured before hours are spent.

On a CPU it is processor time that is measured, shared out over the threads: what
others do at that moment must not cut a training short.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch

from hepar.inference.backends.pytorch import pick_device
from hepar.training.checkpoint import TrainingState
from hepar.training.deep_method import DeepMethod
from hepar.training.loop import make_optimizer, update_once

# Where a method works in millimetres, slices are taken to have this many pixels a side.
USUAL_SIDE = 256


@dataclass(frozen=True)
class Pace:
    """Seconds of an update of `recipe.batch` slices and of labelling a slice, with the machine to itself."""

    update: float
    slice: float


def measure_pace(method: DeepMethod, device: str = "auto") -> Pace:
    """Time a few updates of the method's network on noise of its size.

    One update of one micro-batch and one of two tell the work of a micro-batch
    from that of the optimiser step, so that no batch of 1000 needs to run.
    """
    recipe = replace(method.recipe, batch=2 * method.recipe.micro_batch)
    device = pick_device(device)
    network = method.network.build(seed=recipe.seed).to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = TrainingState(network, make_optimizer(network, recipe), {}, [])
    side = method.grid.matrix or USUAL_SIDE
    chance = torch.Generator().manual_seed(recipe.seed)
    images = torch.rand((recipe.batch, getattr(method.network, "slices", 1), side, side), generator=chance) * 255
    labels = torch.randint(0, 3, (recipe.batch, side, side), generator=chance)
    union = torch.zeros(recipe.batch, dtype=torch.bool)
    small = replace(recipe, learning_rate=0.0)

    def seconds(count: int) -> float:
        for group in state.optimizer.param_groups:
            group["lr"] = 0.0
        started = _clock(device)
        update_once(state, images[:count], labels[:count], union[:count], small)
        return _clock(device) - started

    network.train()
    with torch.random.fork_rng(devices=[]):
        seconds(recipe.micro_batch)  # the first one is slower
        one, two = seconds(recipe.micro_batch), seconds(recipe.batch)
    piece = max(two - one, 0.25 * two)
    pieces = method.recipe.batch / method.recipe.micro_batch
    return Pace(max(0.0, one - piece) + pieces * piece, _seconds_a_slice(network, images[: recipe.micro_batch]))


def _seconds_a_slice(network: torch.nn.Module, images: torch.Tensor) -> float:
    network.eval()
    device = next(network.parameters()).device
    started = _clock(device.type)
    with torch.inference_mode():
        network(images.to(device)).sum().item()
    return (_clock(device.type) - started) / len(images)


def _clock(device: str) -> float:
    if device == "cpu":
        return time.process_time() / torch.get_num_threads()
    torch.cuda.synchronize()
    return time.monotonic()
