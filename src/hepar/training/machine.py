"""What the machine at hand can do: its memory, and how long an update of a network takes on it."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn

from hepar.inference.backends.pytorch import pick_device
from hepar.nets.registry import NetworkSettings
from hepar.training.augmentation import augment
from hepar.training.checkpoint import TrainingState
from hepar.training.loop import make_optimizer, update_once
from hepar.training.painting import painter_for
from hepar.training.recipe import Recipe
from hepar.training.sampling import gather
from hepar.training.store import SliceStore

# Where nothing can be asked, as on Windows: what any machine of the last ten years can spare.
UNKNOWN_BYTES = 3 * 2**30
# On a CPU time grows with the images: a few of them tell of all.
CPU_TRIAL_IMAGES = 3
# Peak memory for what the backward pass keeps in float32: measured 1.6 and 1.0 on the residual U-Net.
KEPT_TO_PEAK = {"fp32": 1.7, "bf16": 1.1}
PROBE_PX = 64


@dataclass(frozen=True)
class Machine:
    """`device` as torch names it; bytes free in main memory and, where it has its own, on the accelerator."""

    device: str
    threads: int
    free_bytes: int
    device_bytes: int | None = None

    def __str__(self) -> str:
        own = f", {self.device_bytes / 2**30:.0f} GB on it" if self.device_bytes else ""
        return f"{self.device}{own}, CPU threads: {self.threads}, memory free: {self.free_bytes / 2**30:.0f} GB"


def this_machine(device: str = "auto") -> Machine:
    """Raises BadInput for a device that is not here."""
    chosen = pick_device(device)
    own = None
    if chosen.startswith("cuda"):
        own = int(torch.cuda.mem_get_info(torch.device(chosen))[0])
    return Machine(chosen, torch.get_num_threads(), free_memory(), own)


def free_memory(proc: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that a program may still take: what the system can spare, within what a container is allowed."""
    try:
        rows = dict(line.split(":", 1) for line in proc.read_text(encoding="ascii").splitlines() if ":" in line)
        spare = int(rows["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        spare = _half_of_all()
    try:
        allowed = int((group / "memory.max").read_text(encoding="ascii"))  # "max" where there is no limit
        used = int((group / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return spare
    return min(spare, max(0, allowed - used))


def _half_of_all() -> int:
    """Half of the installed memory, where the system says how much that is but not what is free (macOS)."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return UNKNOWN_BYTES


def bytes_per_image(network: NetworkSettings, recipe: Recipe) -> int:
    """Memory that training takes for each image of a micro-batch, from what one small image leaves to its way back.

    An estimate: counted in float32 on a patch of 64 pixels and scaled by area.
    """
    built = network.build(seed=0).train()
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    own = {p.untyped_storage().data_ptr() for p in (*built.parameters(), *built.buffers())}
    image = torch.zeros(2, getattr(network, "slices", 1), PROBE_PX, PROBE_PX)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        held = built(image)  # noqa: F841 (what it holds must live until it is counted)
    small = sum(size for place, size in kept.items() if place not in own) / len(image)
    return int(KEPT_TO_PEAK[recipe.precision] * small * ((recipe.patch or PROBE_PX) / PROBE_PX) ** 2)


def update_seconds(network: NetworkSettings, recipe: Recipe, device: str, seconds: float = 3.0) -> float:
    """Seconds of one update of `recipe.batch` images on `device`, with all that training does to and with them.

    Tries for about `seconds` on invented slices; the first update, which prepares memory and kernels, is not
    counted. Infinite where the machine cannot do it: too little memory, no such precision.
    """
    images = min(recipe.batch, CPU_TRIAL_IMAGES) if device == "cpu" else recipe.batch
    part = replace(recipe, batch=images, micro_batch=min(images, recipe.micro_batch))
    store = _invented(part.patch or PROBE_PX, getattr(network, "slices", 1))
    painter = painter_for(store, part)
    built = cast(nn.Module, network.build(seed=0)).to(device)
    built = built.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    state = TrainingState(built, make_optimizer(built, part), {}, [])
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    times: list[float] = []
    try:
        while len(times) < 2 or sum(times) < seconds:
            started = time.perf_counter()
            batch = gather(store, rng.integers(len(store), size=images), part, rng, painter)
            changed = augment(batch[0], batch[1], part.augmentation, generator) if part.augmentation else batch[:2]
            # The loss comes back as a number, so that nothing of the update is still under way.
            update_once(state, *changed, batch[2], part)
            times.append(time.perf_counter() - started)
    except RuntimeError:
        return math.inf
    return float(np.median(times[1:])) * recipe.batch / images


def _invented(size: int, slices: int) -> SliceStore:
    """Noisy slices with a large liver and a tumour, since painting takes its time in livers only."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size
    truth = (((y - 0.45) / 0.3) ** 2 + ((x - 0.35) / 0.25) ** 2 < 1).astype(np.uint8)
    truth[((y - 0.45) ** 2 + (x - 0.35) ** 2) < 0.002] = 2
    images = [(np.choose(truth, (90, 190, 140)) + rng.integers(-30, 31, truth.shape)).astype(np.uint8) for _ in "abcd"]
    names = np.array(list("abcd"))
    around = [(image,) * slices for image in images] if slices > 1 else []
    millimetres = np.full((4, 3), (2.5, 1.5, 2.5))
    return SliceStore(images, [truth] * 4, names, names, np.zeros(4, dtype=bool), around, millimetres)
