"""The state of a training after a finished epoch, in one safetensors file.

Settings and history ride in the file's metadata as JSON, so that weights and
epoch number can never disagree; the file is replaced whole. Nothing is pickled.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hepar.errors import BadModel
from hepar.files import replace_whole

History = list[dict[str, float]]


@dataclass
class TrainingState:
    """Everything that changes while training."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    ema: dict[str, Tensor]
    history: History
    update: int = 0

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return len(self.history)


def save_state(state: TrainingState, path: Path) -> None:
    from safetensors.torch import save_file

    tensors = {f"network.{k}": v for k, v in state.network.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in state.ema.items()}
    for i, slots in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{k}": v for k, v in slots.items() if isinstance(v, Tensor)}
    facts = {"history": json.dumps(state.history), "update": str(state.update)}
    with replace_whole(path) as temporary:
        # safetensors wants plain memory order; the network trains in channels-last.
        plain = {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
        save_file(plain, temporary, metadata=facts)


def load_state(state: TrainingState, path: Path) -> None:
    """Fill `state` in place from a file of `save_state`.

    Raises BadModel when the file is damaged or belongs to another network.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        state.network.load_state_dict(_under("network.", tensors))
        state.history[:] = json.loads(facts["history"])
        state.update = int(facts["update"])
    except (SafetensorError, RuntimeError, KeyError, ValueError, OSError) as error:
        raise BadModel(
            f"{path.name} does not continue this training ({error}); remove it to start again, or restore the settings"
        ) from error
    device = next(state.network.parameters()).device
    state.ema = {name: value.to(device) for name, value in _under("ema.", tensors).items()}
    slots: dict[int, dict[str, Any]] = {}
    for name, value in _under("optimizer.", tensors).items():
        number, slot = name.split(".", 1)
        slots.setdefault(int(number), {})[slot] = value
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": slots, "param_groups": groups})


def history_of(path: Path) -> History:
    """Epochs finished so far by the training that saved `path`; empty when there is no file."""
    from safetensors import safe_open

    if not path.is_file():
        return []
    with safe_open(path, framework="np") as file:
        return list(json.loads((file.metadata() or {}).get("history", "[]")))


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
