"""The layers of a network with the sizes they give: what a diagram of it shows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hepar.nets.upsampling import BilinearUpsampling

LayerShape = tuple[str, str, int, tuple[int, int]]


def layers_of(network: nn.Module, size: tuple[int, int]) -> list[LayerShape]:
    """Name, kind, channels and (y, x) of every convolution, pooling, score and upsampling layer, in the order of use.

    One grey image of `size` passes through without its gradients.
    """
    found: list[LayerShape] = []

    def hook(name: str, what: str) -> Callable[..., None]:
        def heard(_module: nn.Module, _given: object, result: Tensor) -> None:
            found.append((name, what, result.shape[1], (result.shape[2], result.shape[3])))

        return heard

    kinds = ((name, module, _kind(module)) for name, module in network.named_modules())
    handles = [
        module.register_forward_hook(hook(name.rpartition(".")[2], kind)) for name, module, kind in kinds if kind
    ]
    was_training = network.training
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 1, *size))
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    return found


def _kind(module: nn.Module) -> str | None:
    if isinstance(module, BilinearUpsampling):
        return f"transposed x{module.factor}"
    if isinstance(module, nn.ConvTranspose2d):
        return f"transposed x{_side(module.stride)}"
    if isinstance(module, nn.Conv2d):
        side, step = _side(module.kernel_size), _side(module.stride)
        if module.out_channels <= 3:
            return "score 1x1"
        return f"conv {side}x{side}" + (f" /{step}" if step > 1 else "")
    if isinstance(module, nn.MaxPool2d):
        return f"pool {_side(module.kernel_size)} /{_side(module.stride)}"
    return None


def _side(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]
