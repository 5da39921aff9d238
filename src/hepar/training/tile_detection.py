"""Training of a detector on tiles of the livers that the same run's first stage found (Bellver et al. 2017)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.inference import Pipeline, load_segmenter
from hepar.inference.backends.pytorch import pick_device
from hepar.inference.tiles import Detector, Tiles, prepared_slice
from hepar.nets.registry import network_to_json
from hepar.nets.tile_detector import TileDetector
from hepar.nets.weights import load_encoder_weights
from hepar.preprocess.intensity import Step, steps_to_json
from hepar.preprocess.spatial import InPlaneGrid
from hepar.training.checkpoint import TrainingState
from hepar.training.deep_method import weights_source
from hepar.training.loop import Batch, Listener, run_epochs, update_by
from hepar.training.losses import Loss
from hepar.training.recipe import Recipe
from hepar.training.run_folder import claim, finish, save_trained, training_facts

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]
WAYS_TO_LIE = 8


@dataclass(frozen=True)
class TileDetection:
    """A detector and how it learns. A tile is positive where more than `least_tumour` of its pixels are tumour.

    `turned`: each tile is shown in any of the eight ways a square can lie.
    """

    network: TileDetector
    prepare: tuple[Step, ...]
    recipe: Recipe
    tiles: Tiles = field(default_factory=Tiles)
    least_tumour: int = 50
    threshold: float = 0.33
    turned: bool = True
    encoder_weights: str = "imagenet"

    def tiny(self) -> TileDetection:
        """Small enough for a phantom of 64 pixels."""
        recipe = replace(
            self.recipe, epochs=2, batch=8, micro_batch=8, samples_per_epoch=40, learning_rate=1e-2, precision="fp32"
        )
        tiles = Tiles(side=8, margin=3, padding=4, least_liver=16)
        small = replace(self, network=TileDetector(width=0.05), recipe=recipe, tiles=tiles, least_tumour=1)
        return replace(small, encoder_weights="none")

    def train(
        self, cases: Sequence[Case], liver_of: Callable[[Case], Mask], folder: Path, listen: Listener, device: str
    ) -> Detector:
        """Train on tiles of `cases`, whose livers are those that `liver_of` gives (axial); `folder` is a run folder.

        Called again it goes on after the last finished epoch. Raises BadInput
        when the folder holds another training, or no tile shows enough liver.
        """
        started = time.monotonic()
        network = self.network.build(seed=self.recipe.seed)
        report = load_encoder_weights(network, weights_source(self.encoder_weights))
        run = training_facts(self.to_json(), self.recipe.seed, cases) | {"device": pick_device(device)}
        run |= {"encoder": {"source": report.source, "note": report.note}}
        claim(folder, run)
        shown, positive = self.examples(cases, liver_of)
        training = TileTraining(shown, positive, self.recipe, self.turned)
        state = run_epochs(network.to(run["device"]), training, folder, listen)
        finish(folder, run, state, {"tiles": len(shown), "tiles_with_tumour": int(positive.sum())}, started)
        pipeline = Pipeline(self.prepare, InPlaneGrid(pixel_mm=1.0))
        save_trained(folder, network.cpu(), cast(Any, self.network), pipeline, cases)
        return self.load(folder)

    def load(self, folder: Path) -> Detector:
        """The detector that an earlier `train` left in `folder`."""
        return Detector(load_segmenter(folder / "model").predict, self.prepare, self.tiles, self.threshold)

    def to_json(self) -> dict[str, Any]:
        return {
            "network": network_to_json(cast(Any, self.network)),
            "prepare": steps_to_json(self.prepare),
            "recipe": asdict(self.recipe),
            "tiles": asdict(self.tiles),
            "least_tumour": self.least_tumour,
            "threshold": self.threshold,
            "turned": self.turned,
            "encoder_weights": Path(self.encoder_weights).name,
        }

    def examples(self, cases: Sequence[Case], liver_of: Callable[[Case], Mask]) -> tuple[Bytes, Mask]:
        """What is shown of all tiles (tile, y, x) in 8 bits, and which are positive."""
        shown: list[Bytes] = []
        positive: list[bool] = []
        for case in cases:
            axial, tumour = case.ct.axial(), case.truth.axial().tumour
            for z, corners in self.tiles.corners(liver_of(case)):
                image = np.rint(prepared_slice(axial, z, self.prepare)).astype(np.uint8)
                shown += [cast(Bytes, self.tiles.show(image, corner)) for corner in corners]
                counts = [np.count_nonzero(self.tiles.inner(tumour[z], corner)) for corner in corners]
                positive += [bool(count > self.least_tumour) for count in counts]
        if not shown:
            raise BadInput("no tile of a training case shows enough of the liver that was found; train longer")
        return np.stack(shown), np.array(positive)


@dataclass(frozen=True)
class TileTraining:
    """Tiles, half of each batch positive where there are any."""

    shown: Bytes
    positive: Mask
    recipe: Recipe
    turned: bool
    held_back: None = None

    def batches(self, rng: np.random.Generator) -> tuple[int, Iterator[Batch]]:
        steps = max(1, (self.recipe.samples_per_epoch or len(self.shown)) // self.recipe.batch)
        return steps, (self._batch(rng) for _ in range(steps))

    def _batch(self, rng: np.random.Generator) -> Batch:
        rows = self.drawn(rng)
        ways = rng.integers(WAYS_TO_LIE, size=len(rows)) if self.turned else np.zeros(len(rows), np.int64)
        images = np.stack([lying(self.shown[i], int(way)) for i, way in zip(rows, ways, strict=True)])
        labels = torch.from_numpy(self.positive[rows].astype(np.float32))
        return torch.from_numpy(images.astype(np.float32))[:, None], labels, torch.zeros(len(rows), dtype=torch.bool)

    def drawn(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Numbers of the tiles of a batch."""
        kinds = [np.flatnonzero(self.positive), np.flatnonzero(~self.positive)]
        halves = [self.recipe.batch // 2, self.recipe.batch - self.recipe.batch // 2]
        there = [kind if kind.size else np.arange(len(self.shown)) for kind in kinds]
        return np.concatenate([rng.choice(kind, half) for kind, half in zip(there, halves, strict=True)])

    def update(self, state: TrainingState, batch: Batch) -> float:
        return update_by(tile_cost, state, batch, self.recipe)

    def validate(self, network: nn.Module) -> dict[str, float]:  # noqa: ARG002 (nobody is held back)
        return {}


def tile_cost(_: Loss, levels: dict[int, Tensor], labels: Tensor, __: Tensor, ___: float) -> Tensor:
    """Mean cross-entropy of the scores (batch, 1)."""
    return F.binary_cross_entropy_with_logits(levels[1][:, 0].float(), labels)


def lying(tile: Bytes, way: int) -> Bytes:
    """A tile (y, x) in one of the eight ways a square can lie; 0 is its own."""
    return np.rot90(tile[:, ::-1] if way >= 4 else tile, way % 4)
