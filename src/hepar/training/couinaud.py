"""Training of Couinaud segments: slices in their liver's frame, and what found livers do to them.

The loss knows eight segments and the liver's inside only; what lies outside is
not the network's business, since the liver is given. Found livers differ from
drawn ones and scans cut livers off, so masks are frayed, pieces bitten out of
them, and heights shifted and stretched while training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from hepar.datasets.couinaud import SegmentCase
from hepar.errors import BadInput
from hepar.inference.couinaud import channels, frame_of, graded
from hepar.metrics.couinaud import SEGMENTS, segment_dice
from hepar.preprocess.intensity import Step
from hepar.preprocess.spatial import InPlaneGrid
from hepar.training.augment_steps import hit, uniform
from hepar.training.augmentation import augment, warp
from hepar.training.checkpoint import TrainingState
from hepar.training.loop import Batch, SliceTraining, update_by
from hepar.training.losses import Loss
from hepar.training.recipe import Augmentation, Recipe
from hepar.training.store import SliceStore

UNKNOWN = -1


@dataclass(frozen=True)
class FoundLivers:
    """How the mask and the height in training differ from the drawn liver's.

    `fray_px`: reach of the random shift of the outline, in network pixels.
    `bite_share`: share of slices with a round piece of up to `bite_px` radius
    missing. `height_shift`: of the tips, as a share of the height. `cut_share`:
    share of slices whose liver is cut off above or below, up to half of it.
    """

    fray_px: float = 3.0
    bite_share: float = 0.15
    bite_px: float = 24.0
    height_shift: float = 0.05
    cut_share: float = 0.25


@dataclass(frozen=True)
class SegmentTraining:
    """Slices whose labels are segments, prepared by `load_segment_slices`; the loop's `Training`."""

    store: SliceStore
    held_back: SliceStore | None
    recipe: Recipe
    found: FoundLivers

    def batches(self, rng: np.random.Generator) -> tuple[int, Iterator[Batch]]:
        seed = int(rng.integers(2**31))
        plain = SliceTraining(self.store, None, replace(self.recipe, augmentation=None), None)
        count, drawn = plain.batches(rng)
        changes = self.recipe.augmentation
        if changes is None:
            return count, drawn
        return count, (
            (*as_if_found(images, labels, changes, self.found, _generator(seed, step)), union)
            for step, (images, labels, union) in enumerate(drawn)
        )

    def update(self, state: TrainingState, batch: Batch) -> float:
        return update_by(segment_cost, state, batch, self.recipe)

    def validate(self, network: nn.Module) -> dict[str, float]:
        return validate_segments(network, self.held_back, self.recipe) if self.held_back else {}


def load_segment_slices(cases: Sequence[SegmentCase], prepare: Sequence[Step], pixels: InPlaneGrid) -> SliceStore:
    """Every slice with known segments, in its liver's frame; what is seen are grey, liver and height, as bytes.

    Raises BadInput without cases, or where no case has segments.
    """
    images: list[NDArray[np.uint8]] = []
    labels: list[NDArray[np.uint8]] = []
    around: list[tuple[NDArray[np.uint8], ...]] = []
    owner: list[tuple[str, str]] = []
    for one in cases:
        ct, truth = one.case.ct.axial(), one.read_segments().segments.axial()
        frame = frame_of(truth.liver, ct.geometry, pixels, one.case.heights_mm)
        if frame is None:
            continue
        _, y, x = frame.box
        rows = np.flatnonzero(truth.liver.any(axis=(1, 2)))
        seen = channels(frame.grey(ct, prepare, rows), frame.inside(truth.liver, rows), frame.heights[rows])
        stack = np.clip(np.rint(seen), 0, 255).astype(np.uint8)
        images.extend(stack[:, 0])
        around.extend(tuple(own) for own in stack)
        labels.extend(frame.plan.labels_to_net(truth.labels[rows, y, x]))
        owner.extend([(one.case.patient, one.case.id)] * len(rows))
    if not images:
        raise BadInput("no case with Couinaud segments to train on; check the data folder and the patients left out")
    patients, ids = zip(*owner, strict=True)
    full = np.zeros(len(images), dtype=bool)
    return SliceStore(images, labels, np.array(patients), np.array(ids), full, around)


def as_if_found(
    images: Tensor, labels: Tensor, changes: Augmentation, found: FoundLivers, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Images (batch, 3, y, x) and segments (batch, y, x), moved alike; each channel then changed in its own way."""
    height = images[:, 2].amax(dim=(1, 2)) / 255
    grey = images[:, :1]
    if changes.moves:
        grid = warp(images.shape, changes, generator)
        grey = F.grid_sample(grey, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        moved = F.grid_sample(labels[:, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
        labels = moved[:, 0].long()
    grey, _ = augment(grey, labels, replace(changes, warp_share=0.0), generator)
    mask = frayed((labels > 0)[:, None].float(), found, generator) * torch.from_numpy(graded(labels.shape[-1]))
    flat = reread_heights(height, found, generator).view(-1, 1, 1, 1).expand_as(grey)
    return torch.cat([grey, 255 * mask, 255 * flat], dim=1), labels


def frayed(masks: Tensor, found: FoundLivers, generator: torch.Generator) -> Tensor:
    """Masks (batch, 1, y, x) of 0 and 1 with their outlines shifted smoothly, some with a round piece missing."""
    n, _, height, width = masks.shape
    if found.fray_px:
        reach = 2 * round(2 * found.fray_px) + 1
        # Averaged over a window the outline becomes a ramp, and a smooth threshold around 0.5 moves it.
        ramp = F.avg_pool2d(masks, reach, stride=1, padding=reach // 2)
        noise = torch.randn((n, 1, 12, 12), generator=generator) * found.fray_px / reach
        noise = F.interpolate(noise, size=(height, width), mode="bicubic", align_corners=False)
        masks = (ramp + noise.clamp(-0.4, 0.4) > 0.5).float()
    bitten = hit(masks, found.bite_share, generator)
    if len(bitten):
        at = torch.rand((len(bitten), 2, 1, 1), generator=generator)
        radius = found.bite_px * torch.rand((len(bitten), 1, 1), generator=generator)
        y, x = torch.arange(height).view(1, -1, 1), torch.arange(width).view(1, 1, -1)
        outside = (y - at[:, 0] * height) ** 2 + (x - at[:, 1] * width) ** 2 > radius**2
        masks = masks.index_copy(0, bitten, masks[bitten] * outside[:, None])
    return masks


def reread_heights(heights: Tensor, found: FoundLivers, generator: torch.Generator) -> Tensor:
    """Relative heights (batch,) as they would be read between other tips; the slice itself is never cut off."""
    n = len(heights)
    low, high = (uniform(n, -found.height_shift, found.height_shift, generator).flatten() for _ in range(2))
    cut = torch.rand(n, generator=generator) < found.cut_share
    below = torch.rand(n, generator=generator) < 0.5
    share = torch.rand(n, generator=generator) / 2
    low = torch.where(cut & below, torch.minimum(share, heights), low)
    high = torch.where(cut & ~below, -torch.minimum(share, 1 - heights), high)
    return ((heights - low) / (1 + high - low)).clamp(0, 1)


def segment_cost(loss: Loss, levels: Mapping[int, Tensor], labels: Tensor, union: Tensor, share: float) -> Tensor:
    """Cross-entropy and 1 - soft Dice over the segments, inside the liver; the loop's `Cost`.

    Dice is a mean over the segments that the batch shows.
    """
    del loss, union, share  # those of liver and tumour
    logits = levels[1].float()
    target = labels - 1
    inside = target != UNKNOWN
    if not bool(inside.any()):
        return logits.sum() * 0
    entropy = F.cross_entropy(logits, target, ignore_index=UNKNOWN)
    p = torch.softmax(logits, dim=1).movedim(1, -1)[inside]
    true = F.one_hot(target[inside], len(SEGMENTS)).float()
    both, sums, there = (p * true).sum(0), (p + true).sum(0), true.sum(0) > 0
    return entropy + 1 - (2 * both / sums.clamp(min=1e-5))[there].mean()


def validate_segments(network: nn.Module, store: SliceStore, recipe: Recipe) -> dict[str, float]:
    """Mean over patients of the mean Dice of their segments, inside the drawn liver, before any smoothing."""
    network.eval()
    device = next(network.parameters()).device
    dice = []
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
        for patient in np.unique(store.patients):
            mine = np.flatnonzero(store.patients == patient)
            counts = np.zeros((9, 9), np.int64)
            for start in range(0, len(mine), 8):
                rows = mine[start : start + 8].tolist()
                seen = torch.from_numpy(np.array([store.seen(i) for i in rows], dtype=np.float32))
                found = network(seen.to(device)).argmax(dim=1).cpu().numpy() + 1
                truth = np.stack([store.labels[i] for i in rows]).astype(np.intp)
                inside = truth > 0
                counts += np.bincount(truth[inside] * 9 + found[inside], minlength=81).reshape(9, 9)
            own = [value for value in segment_dice(counts).values() if not np.isnan(value)]
            dice.append(float(np.mean(own)))
    network.train()
    return {"dice_segments": float(np.mean(dice))}


def _generator(seed: int, step: int) -> torch.Generator:
    """A batch's own: what becomes of it does not depend on the batches before."""
    drawn = np.random.SeedSequence([seed, step]).generate_state(1)[0]
    return torch.Generator().manual_seed(int(drawn))
