"""The layers of a network with the sizes they give: what a diagram of it shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from hepar.nets.cdnn_resnet18 import UpBlock
from hepar.nets.encoder_decoder import parameter_count
from hepar.nets.resnet18 import BasicBlock
from hepar.nets.upsampling import BilinearUpsampling

LayerShape = tuple[str, str, int, tuple[int, int]]


class Settings(Protocol):
    """Settings of a network, as `hepar.nets` has them."""

    def build(self, seed: int = 0) -> nn.Module: ...


@dataclass(frozen=True)
class NetworkShape:
    """Layers of encoder and decoder in the order of use, and weights as papers count them (no bilinear kernels)."""

    encoder: tuple[LayerShape, ...]
    decoder: tuple[LayerShape, ...]
    parameters: int


def shape_of(settings: Settings, size: tuple[int, int]) -> NetworkShape:
    """What a network does to an image of `size` (y, x); only sizes are worked out, which costs hardly any memory."""
    with torch.device("meta"):
        network = settings.build(seed=0)
    found = _heard(network, size)
    sides = [tuple(shape for part, shape in found if part == side) for side in ("encoder", "decoder")]
    return NetworkShape(sides[0], sides[1], parameter_count(network))


def layers_of(network: nn.Module, size: tuple[int, int]) -> list[LayerShape]:
    """Name, kind, channels and (y, x) of every convolution, pooling, score and upsampling layer, in the order of use.

    A residual block is one layer. One grey image of `size` passes through, without gradients.
    """
    return [shape for _, shape in _heard(network, size)]


def _heard(network: nn.Module, size: tuple[int, int]) -> list[tuple[str, LayerShape]]:
    """The part that each layer belongs to ("encoder", "decoder"), and the layer."""
    found: list[tuple[str, LayerShape]] = []

    def hook(name: str, what: str) -> Callable[..., None]:
        part, _, own = name.partition(".")

        def heard(_module: nn.Module, _given: object, result: Tensor) -> None:
            found.append((part, (own or part, what, result.shape[1], (result.shape[2], result.shape[3]))))

        return heard

    handles = [module.register_forward_hook(hook(name, kind)) for name, module, kind in _shown(network)]
    device = next(network.parameters()).device
    was_training = network.training
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 1, *size, device=device))
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    return found


def _shown(network: nn.Module) -> list[tuple[str, nn.Module, str]]:
    """Layers with a kind, but none inside a residual block, which is shown as one."""
    found, inside = [], ""
    for name, module in network.named_modules():
        kind = _kind(module)
        if kind is None or (inside and name.startswith(inside)):
            continue
        found.append((name, module, kind))
        if isinstance(module, (BasicBlock, UpBlock)):
            inside = f"{name}."
    return found


def _kind(module: nn.Module) -> str | None:
    kind: str | None = None
    match module:
        case BasicBlock():
            kind = "block, 2 conv 3x3" + _step(module.conv1)
        case UpBlock():
            kind = f"up-block x{_side(module.deconv1.stride)}"
        case BilinearUpsampling():
            kind = f"transposed x{module.factor}"
        case nn.ConvTranspose2d():
            kind = f"transposed x{_side(module.stride)}"
        case nn.Conv2d():
            side = _side(module.kernel_size)
            kind = "score 1x1" if module.out_channels <= 3 else f"conv {side}x{side}" + _step(module)
        case nn.MaxPool2d():
            kind = f"pool {_side(module.kernel_size)} /{_side(module.stride)}"
        case nn.Upsample():
            kind = f"unpool x{module.scale_factor:g}"
    return kind


def _step(layer: nn.Conv2d) -> str:
    return f" /{_side(layer.stride)}" if _side(layer.stride) > 1 else ""


def _side(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]
