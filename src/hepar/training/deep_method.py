"""A published network with its preparation, recipe and cleaning: one value, one method."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from hepar.cases import Case
from hepar.errors import BadInput, BadModel
from hepar.inference import Pipeline, SlabSegmenter, load_segmenter
from hepar.inference.backends.pytorch import pick_device
from hepar.inference.neighbours import SINGLE_SLICES, Neighbours
from hepar.nets.registry import NetworkSettings, network_to_json
from hepar.nets.weights import Source, WeightsReport, load_encoder_weights
from hepar.postprocess import Clean
from hepar.preprocess.intensity import Step, Window, steps_to_json
from hepar.preprocess.spatial import InPlaneGrid
from hepar.training.checkpoint import TrainingState
from hepar.training.held_back import hold_back
from hepar.training.loop import Listener, fit, trained_slices
from hepar.training.recipe import PRACTICAL, Recipe
from hepar.training.run_folder import claim, finish, save_trained, training_facts
from hepar.training.store import SliceStore, load_slices

log = logging.getLogger("hepar")
LEAST_SLICES = 20
# What a synthetic lesion's contrasts, in HU, are painted on.
PAINTABLE = (Window(-40, 160),)


@dataclass(frozen=True)
class DeepMethod:
    """A slice network and everything around it.

    `encoder_weights`: "imagenet", "none", or the path of a weights file.
    """

    network: NetworkSettings
    prepare: tuple[Step, ...]
    grid: InPlaneGrid = field(default_factory=lambda: InPlaneGrid(matrix=512))
    recipe: Recipe = PRACTICAL
    clean: tuple[Clean, ...] = ()
    encoder_weights: str = "imagenet"

    def train(
        self, cases: Sequence[Case], folder: Path, listen: Listener = lambda _: None, device: str = "auto"
    ) -> SlabSegmenter:
        """Train on `cases`; `folder` receives run.json, history.json, checkpoint.safetensors and model/.

        Called again on the same folder it goes on after the last finished
        epoch. Raises BadInput when the folder holds another training.
        """
        if self.recipe.synthesis and self.prepare != PAINTABLE:
            raise BadInput(
                f"lesions are painted on -40..160 HU only, this method prepares {self.prepare}; drop synthesis"
            )
        started = time.monotonic()
        network = self.network.build(seed=self.recipe.seed)
        source = weights_source(self.encoder_weights)
        report = load_encoder_weights(network, source)
        if source == "none":
            log.warning("the encoder starts from random weights (He initialisation), as asked")
        elif report.fresh:
            log.warning("encoder layers not in %s, starting fresh: %s", report.source, ", ".join(report.fresh))
        run = self._facts(cases, report) | {"device": pick_device(device)}
        if isinstance(source, Path):
            run["encoder"]["sha256"] = hashlib.sha256(source.read_bytes()).hexdigest()
        claim(folder, run)
        network.to(run["device"])
        store = self.slices(cases)
        # Only patients with many fully labelled slices can tell how well a training goes.
        burden = partial(SliceStore.burden, least_slices=LEAST_SLICES)
        inner, rest, held_back = hold_back(store, cases, self.recipe, burden)
        used = trained_slices(rest, self.recipe)
        state = self.fitted(network, used, held_back, folder, listen)
        facts = {"inner_validation_patients": list(inner), "slices": _slice_counts(used, held_back)}
        finish(folder, run, state, facts, started)
        pipeline = Pipeline(self.prepare, self.grid, self.clean, neighbours_of(self.network))
        save_trained(folder, network.cpu(), self.network, pipeline, cases)
        return self.load(folder)

    def load(self, folder: Path) -> SlabSegmenter:
        """The segmenter that an earlier `train` left in `folder`."""
        return load_segmenter(folder / "model")

    def slices(self, cases: Sequence[Case]) -> SliceStore:
        """What `train` learns from: every slice of `cases`, with the channels that the network sees."""
        return load_slices(cases, self.prepare, self.grid, neighbours=neighbours_of(self.network))

    def fitted(
        self, network: nn.Module, used: SliceStore, held_back: SliceStore | None, folder: Path, listen: Listener
    ) -> TrainingState:
        """The network trained on `used`, as the recipe says."""
        return fit(network, used, held_back, self.recipe, folder, listen)

    def to_json(self) -> dict[str, Any]:
        return {
            "network": network_to_json(self.network),
            "prepare": steps_to_json(self.prepare),
            "grid": asdict(self.grid),
            "recipe": asdict(self.recipe),
            "clean": [repr(step) for step in self.clean],
            # Only the file's name: a path would tell where on whose machine it lay.
            "encoder_weights": Path(self.encoder_weights).name,
        }

    def _facts(self, cases: Sequence[Case], report: WeightsReport) -> dict[str, Any]:
        return training_facts(self.to_json(), self.recipe.seed, cases) | {
            "encoder": {"source": report.source, "fresh": list(report.fresh), "note": report.note},
            "evidence": sorted({case.evidence for case in cases}),
        }


def neighbours_of(network: NetworkSettings) -> Neighbours:
    """What the network sees of a stack, from its settings; single slices for networks that know of no others."""
    slices, step_mm = getattr(network, "slices", 1), getattr(network, "step_mm", SINGLE_SLICES.step_mm)
    return Neighbours(int(slices), float(step_mm)) if slices > 1 else SINGLE_SLICES


def weights_source(name: str) -> Source:
    """`imagenet` and `none` are words, anything else is a file. Raises BadModel when it is not there."""
    if name == "imagenet":
        return "imagenet"
    if name == "none":
        return "none"
    if not Path(name).is_file():
        raise BadModel(f"encoder weights {Path(name).name} are not a file; give 'imagenet', 'none' or a weights file")
    return Path(name)


def _slice_counts(used: SliceStore, held_back: SliceStore | None) -> dict[str, int]:
    return {
        "training": len(used),
        "training_with_liver": int(used.has(1).sum()),
        "training_with_tumour": int((used.has(2) & ~used.union).sum()),
        "training_liver_union": int(used.union.sum()),
        "inner_validation": 0 if held_back is None else len(held_back),
    }
