"""Couinaud segments by a small slice network in the liver's frame (ours); see `hepar.inference.couinaud`.

SqueezeNet encoder with ImageNet's start and the light U-Net decoder of
`squeeze_unet`, 8 logits, 160 x 160 pixels (some 1.5 mm: borders are smooth). Not in `hepar.methods`: those find
livers and tumours in a scan, this one needs the liver and gives something else.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hepar.cases import Fold
from hepar.datasets.couinaud import SegmentCase
from hepar.errors import BadInput
from hepar.inference import Pipeline
from hepar.inference.backends.pytorch import pick_device
from hepar.inference.couinaud import CouinaudSegmenter, load_couinaud
from hepar.metrics.couinaud import SEGMENTS
from hepar.nets.cdnn_squeeze import CdnnSqueeze
from hepar.nets.registry import NetworkSettings, network_to_json
from hepar.nets.weights import load_encoder_weights
from hepar.preprocess.intensity import Step, Window, steps_to_json
from hepar.preprocess.spatial import InPlaneGrid
from hepar.training.couinaud import FoundLivers, SegmentTraining, load_segment_slices
from hepar.training.deep_method import weights_source
from hepar.training.held_back import hold_back
from hepar.training.loop import Listener, run_epochs
from hepar.training.recipe import Augmentation, Recipe
from hepar.training.run_folder import claim, finish, save_trained, training_facts
from hepar.training.store import SliceStore

NETWORK = CdnnSqueeze(decoder="unet", classes=len(SEGMENTS), slices=3)
RECIPE = Recipe(
    optimizer="adamw",
    learning_rate=2e-3,
    encoder_share=0.1,
    weight_decay=1e-2,
    schedule="cosine",
    warmup_updates=50,
    epochs=24,
    batch=16,
    micro_batch=16,
    sampling="patient_balanced",
    slices="all",
    samples_per_epoch=960,
    augmentation=Augmentation(rotate_degrees=12, shear_degrees=5, scale=0.12, shift=0.05, elastic_px=4),
    ema=0.99,
    precision="bf16",
)


@dataclass(frozen=True)
class CouinaudMethod:
    """A network of the liver's frame with preparation and recipe: one value, one method.

    `encoder_weights`: "imagenet", "none", or the path of a weights file. The
    recipe's loss and slices are not asked: see `segment_cost`.
    """

    network: NetworkSettings = NETWORK
    prepare: tuple[Step, ...] = (Window(-40, 160),)
    grid: InPlaneGrid = field(default_factory=lambda: InPlaneGrid(matrix=160))
    recipe: Recipe = RECIPE
    found: FoundLivers = field(default_factory=FoundLivers)
    encoder_weights: str = "imagenet"

    def train(
        self, cases: Sequence[SegmentCase], folder: Path, listen: Listener = lambda _: None, device: str = "auto"
    ) -> CouinaudSegmenter:
        """Train on `cases`; `folder` receives run.json, history.json, checkpoint.safetensors and model/.

        Called again on the same folder it goes on after the last finished
        epoch. Raises BadInput when the folder holds another training.
        """
        started = time.monotonic()
        network = self.network.build(seed=self.recipe.seed)
        report = load_encoder_weights(network, weights_source(self.encoder_weights))
        scans = [one.case for one in cases]
        facts = training_facts(self.to_json(), self.recipe.seed, scans)
        encoder = {"source": report.source, "fresh": list(report.fresh), "note": report.note}
        run = facts | {"encoder": encoder, "device": pick_device(device)}
        claim(folder, run)
        network.to(run["device"])
        store = load_segment_slices(cases, self.prepare, self.grid)
        inner, rest, held_back = hold_back(store, scans, self.recipe, slices_of)
        state = run_epochs(network, SegmentTraining(rest, held_back, self.recipe, self.found), folder, listen)
        counts = {"training": len(rest), "inner_validation": 0 if held_back is None else len(held_back)}
        finish(folder, run, state, {"inner_validation_patients": list(inner), "slices": counts}, started)
        save_trained(folder, network.cpu(), self.network, Pipeline(self.prepare, self.grid), scans)
        return self.load(folder)

    def load(self, folder: Path) -> CouinaudSegmenter:
        """The segmenter that an earlier `train` left in `folder`."""
        return load_couinaud(folder / "model")

    def to_json(self) -> dict[str, Any]:
        return {
            "network": network_to_json(self.network),
            "prepare": steps_to_json(self.prepare),
            "grid": asdict(self.grid),
            "recipe": asdict(self.recipe),
            "found": asdict(self.found),
            "task": "couinaud",
            "encoder_weights": Path(self.encoder_weights).name,
        }


def configured(
    encoder_weights: str = "imagenet", epochs: int | None = None, seed: int | None = None, hold_back: float = 0.0
) -> CouinaudMethod:
    """The method with other encoder weights, epochs, seed, or a share of patients that judge instead of training."""
    recipe = replace(
        RECIPE,
        epochs=RECIPE.epochs if epochs is None else epochs,
        seed=RECIPE.seed if seed is None else seed,
        validation_share=hold_back,
        validate_every=4,
    )
    return CouinaudMethod(recipe=recipe, encoder_weights=encoder_weights)


def slices_of(store: SliceStore) -> dict[str, float]:
    """Slices of each patient: what inner patients are drawn by, since tumours matter little here."""
    return {str(patient): float((store.patients == patient).sum()) for patient in np.unique(store.patients)}


def cases_without(cases: Sequence[SegmentCase], fold: Fold | None) -> list[SegmentCase]:
    """The cases of a fold's training patients; all without a fold. Raises BadInput when none is left."""
    kept = [one for one in cases if fold is None or one.case.patient in fold.train]
    if not kept:
        raise BadInput("none of the data's patients trains in this fold; both must use the same names")
    return kept
