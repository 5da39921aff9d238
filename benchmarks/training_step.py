"""Training a network: hepar's step, the plain one in fp32, and MONAI's pipeline, in turns.

    python benchmarks/training_step.py -o docs/benchmarks/training_step [--device cuda]

Three networks on 256 x 256 slices of a synthetic scan, batches of 10 in two
pieces. Every program makes a batch (slices, augmentation) and does an update,
again and again; `loading` is the share of the time before the update. hepar
and `plain fp32` augment alike, `plain fp32` without channels_last memory.
MONAI runs a CacheDataset, its own random transforms of the same kinds (but no
blur: it fails on slices in MONAI 1.6 with torch 2.13), a DataLoader and
DiceCELoss, in the training's own process as hepar does. On the first batch
hepar's loss must be the plain one's, or the run fails.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import repeat
from typing import Any

import numpy as np
import torch
from pairs import Clocked, Disagreement, Timed, arguments, bars, in_turns, publish, surroundings
from scans import scan
from torch import Tensor, nn

from hepar.inference.backends.pytorch import pick_device
from hepar.nets.cdnn_alex import CdnnAlex
from hepar.nets.cdnn_resnet18 import CdnnResnet18
from hepar.nets.cdnn_squeeze import CdnnSqueeze
from hepar.nets.cost import cost_of
from hepar.nets.registry import NetworkSettings
from hepar.nets.unet import Unet
from hepar.preprocess import Window
from hepar.training.checkpoint import TrainingState
from hepar.training.loop import Batch, SliceTraining, make_optimizer, update_once
from hepar.training.recipe import Augmentation, Recipe
from hepar.training.store import SliceStore

NETWORKS: dict[str, NetworkSettings] = {
    "CDNN-Alex": CdnnAlex(),
    "CDNN-ResNet18": CdnnResnet18(),
    "U-Net": Unet(channels=32, batch_norm=True),
}
QUICK: dict[str, NetworkSettings] = {"CDNN-Squeeze, a quarter": CdnnSqueeze(width=0.25)}
RECIPE = Recipe(batch=10, micro_batch=5, augmentation=Augmentation(), learning_rate=1e-3)
# Updates of one round.
STEPS = 3
SEED = 11
# Sums in another order; bf16 keeps 8 bits of a number.
AGREEMENT = {"hepar fp32": 1e-3, "hepar bf16": 0.05}


def main() -> None:
    order = parsed()
    device = pick_device(order.device)
    networks, side = (QUICK, 64) if order.quick else (NETWORKS, 256)
    store = slices(side)
    recipe = replace(RECIPE, batch=4, micro_batch=2) if order.quick else RECIPE
    measured = {name: turns(settings, store, recipe, device, order.rounds) for name, settings in networks.items()}
    rows = [row for name, timed in measured.items() for row in table(name, timed, recipe)]
    result = {
        "what": "training, slices per second",
        "device": device,
        "threads": torch.get_num_threads(),
        "slice": [side, side],
        "batch": [recipe.batch, recipe.micro_batch],
        "updates_a_round": STEPS,
        **surroundings(order),
        "gflop_forward": {name: cost_of(s.build(), size=(side, side)).gflop for name, s in networks.items()},
        "networks": {name: timed.as_json("plain fp32") for name, timed in measured.items()},
    }
    shown = [row | {"at": f"{row['network']}: {row['program']}"} for row in rows]
    publish(order.out, result, rows, bars(shown, "at", "slices_per_s", f"training, {side} x {side}"))


def parsed() -> argparse.Namespace:
    parser = arguments(__doc__ or "", rounds=5)
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, cuda:N or mps.")
    return parser.parse_args()


def slices(side: int) -> SliceStore:
    """48 slices of the phantom that show its liver, prepared as networks see them."""
    ct, truth = scan(64, side)
    grey = Window(-40, 160)(ct).values.astype(np.uint8)
    chosen = np.flatnonzero(truth.liver.any(axis=(1, 2)))[:48]
    names = np.repeat("phantom", len(chosen))
    return SliceStore([grey[i] for i in chosen], [truth.labels[i] for i in chosen], names, names,
                      np.zeros(len(chosen), bool))  # fmt: skip


def turns(settings: NetworkSettings, store: SliceStore, recipe: Recipe, device: str, rounds: int) -> Timed:
    """Seconds of `STEPS` updates of every program; raises Disagreement where losses of one batch differ."""
    compared(settings, store, recipe, device)
    programs: dict[str, Callable[[], Any]] = {}
    for name, (batches, update) in trainings(settings, store, recipe, device).items():
        programs[name] = lambda batches=batches, update=update: stepped(batches, update, device)
    return in_turns(programs, rounds)


def stepped(batches: Iterator[Batch], update: Callable[[Batch], float], device: str) -> Clocked:
    """The seconds of `STEPS` updates, the share of them spent on batches, and the last loss."""
    loading, started, loss = 0.0, time.perf_counter(), math.nan
    for _ in range(STEPS):
        before = time.perf_counter()
        batch = next(batches)
        loading += time.perf_counter() - before
        loss = update(batch)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    if not math.isfinite(loss):
        raise Disagreement(f"the loss became {loss}: what was timed is no training")
    return Clocked({"loading": loading / seconds, "loss": loss}, seconds)


def trainings(
    settings: NetworkSettings, store: SliceStore, recipe: Recipe, device: str
) -> dict[str, tuple[Iterator[Batch], Callable[[Batch], float]]]:
    """Endless batches and an update for each program, each with a network of its own, all begun alike."""
    found: dict[str, tuple[Iterator[Batch], Callable[[Batch], float]]] = {}
    for precision in ("fp32", "bf16"):
        own = replace(recipe, precision=precision)
        found[f"hepar {precision}"] = (hepar_batches(store, own), hepar_update(built(settings, device), own))
    found["plain fp32"] = (hepar_batches(store, recipe), plain_update(built(settings, device), recipe, cross_entropy))
    try:
        found["MONAI"] = (monai_batches(store, recipe), plain_update(built(settings, device), recipe, monai_loss()))
    except ModuleNotFoundError:
        print("peer not installed: MONAI (pip install monai)")
    return found


def hepar_batches(store: SliceStore, recipe: Recipe) -> Iterator[Batch]:
    training = SliceTraining(store, None, recipe, None)
    for epoch in repeat(None):
        del epoch
        yield from training.batches(np.random.default_rng(SEED))[1]


def built(settings: NetworkSettings, device: str, dropout: bool = True) -> nn.Module:
    network = settings.build(seed=SEED).to(device).train()
    for part in network.modules():
        if isinstance(part, nn.Dropout | nn.Dropout2d) and not dropout:
            part.p = 0.0
    return network


def hepar_update(network: nn.Module, recipe: Recipe) -> Callable[[Batch], float]:
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = TrainingState(network, make_optimizer(network, recipe), {}, [])
    return lambda batch: update_once(state, *batch, recipe)


def plain_update(
    network: nn.Module, recipe: Recipe, cost: Callable[[Tensor, Tensor], Tensor]
) -> Callable[[Batch], float]:
    """What a tutorial shows: fp32, memory as it comes, gradients summed over the same pieces."""
    device = next(network.parameters()).device
    optimizer = make_optimizer(network, recipe)

    def update(batch: Batch) -> float:
        images, labels, _ = batch
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for x, y in zip(images.split(recipe.micro_batch), labels.split(recipe.micro_batch), strict=True):
            loss = cost(network(x.to(device)), y.to(device)) * (len(x) / len(images))
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        optimizer.step()
        return total

    return update


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, labels)


def monai_loss() -> Callable[[Tensor, Tensor], Tensor]:
    from monai.losses import DiceCELoss

    cost = DiceCELoss(to_onehot_y=True, softmax=True)
    return lambda logits, labels: cost(logits, labels[:, None])


def monai_batches(store: SliceStore, recipe: Recipe) -> Iterator[Batch]:
    """As in MONAI's tutorials: a cached data set of dictionaries, random transforms, a loader."""
    from monai import transforms as t
    from monai.data import CacheDataset, DataLoader

    both = ["image", "label"]
    modes = ["bilinear", "nearest"]
    change = t.Compose(
        [
            t.EnsureChannelFirstd(both, channel_dim="no_channel"),
            t.Rand2DElasticd(
                both, spacing=(32, 32), magnitude_range=(0, 6), prob=1.0, rotate_range=0.26, scale_range=0.2,
                translate_range=20, mode=modes, padding_mode="zeros",
            ),
            t.RandAdjustContrastd("image", prob=1.0, gamma=(0.75, 1.25)),
            t.RandScaleIntensityd("image", factors=0.2, prob=1.0),
            t.RandShiftIntensityd("image", offsets=25.0, prob=1.0),
            t.RandGaussianNoised("image", prob=1.0, std=15.0),
        ]
    ).set_random_state(SEED)  # fmt: skip
    rows = [
        {"image": image.astype(np.float32), "label": labels.astype(np.float32)}
        for image, labels in zip(store.images, store.labels, strict=True)
    ]
    generator = torch.Generator().manual_seed(SEED)
    data = CacheDataset(rows, change, progress=False)
    loader = DataLoader(data, batch_size=recipe.batch, shuffle=True, drop_last=True, generator=generator)

    def endless() -> Iterator[Batch]:
        while True:
            for batch in loader:
                # Plain tensors: MONAI's own carry metadata through every operation of the network.
                images, labels = (batch[name].as_tensor() for name in both)
                yield images, labels[:, 0].long(), torch.zeros(len(images), dtype=torch.bool)

    return endless()


def compared(settings: NetworkSettings, store: SliceStore, recipe: Recipe, device: str) -> dict[str, float]:
    """The loss of one and the same batch by each of hepar's precisions and the plain step. Raises Disagreement."""
    batch = next(hepar_batches(store, recipe))

    def fresh() -> nn.Module:
        # Dropout falls in the order of memory, and that differs.
        return built(settings, device, dropout=False)

    losses = {name: hepar_update(fresh(), replace(recipe, precision=name.split()[1]))(batch) for name in AGREEMENT}
    plain = plain_update(fresh(), recipe, cross_entropy)(batch)
    for name, loss in losses.items():
        if abs(loss - plain) > AGREEMENT[name] * max(1.0, abs(plain)):
            raise Disagreement(f"{name}: loss {loss:.5f} of a batch, {plain:.5f} by the plain step")
    return losses | {"plain fp32": plain}


def table(network: str, timed: Timed, recipe: Recipe) -> list[dict[str, Any]]:
    rows = []
    for row in timed.rows("plain fp32"):
        speed = STEPS * recipe.batch / row["median_s"]
        share = timed.results[row["program"]]["loading"]
        times_as_fast = 1 / row["times_as_long"]
        rows.append(
            {"network": network, "program": row["program"], "slices_per_s": round(speed, 2),
             "loading": round(share, 3), "times_plain_fp32": round(times_as_fast, 2), "rounds": row["rounds"]}
        )  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
