"""A 3D network with its preparation, recipe and cleaning: one value, one method, as `DeepMethod` is for slices."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.inference import Pipeline, SlabSegmenter, load_segmenter
from hepar.inference.backends.pytorch import pick_device
from hepar.inference.blocks import sides_of
from hepar.nets.registry import BlockSettings, network_to_json
from hepar.postprocess import Clean
from hepar.preprocess.intensity import Step, steps_to_json
from hepar.preprocess.spatial import InPlaneGrid
from hepar.training.held_back import hold_back
from hepar.training.loop import Listener, run_epochs
from hepar.training.loop3d import BlockTraining
from hepar.training.patches3d import VolumeStore, load_volumes
from hepar.training.recipe import Recipe
from hepar.training.run_folder import claim, finish, save_trained, training_facts


@dataclass(frozen=True)
class Deep3dMethod:
    """A network of blocks and everything around it.

    `grid` gives pixels in mm, the network's `slice_mm` the third side of a
    voxel. `recipe.patch`, where set, is the blocks' side. Raises BadInput for a
    grid that differs from scan to scan, for painted lesions, and for encoder
    weights: nobody publishes 3D ones.
    """

    network: BlockSettings
    prepare: tuple[Step, ...]
    grid: InPlaneGrid = field(default_factory=lambda: InPlaneGrid(pixel_mm=1.5, multiple=1))
    recipe: Recipe = field(default_factory=Recipe)
    clean: tuple[Clean, ...] = ()
    encoder_weights: str = "none"

    def __post_init__(self) -> None:
        if self.grid.pixel_mm is None:
            raise BadInput(f"a 3D network needs pixels of one size; give pixel_mm instead of matrix={self.grid.matrix}")
        if self.encoder_weights != "none":
            raise BadInput(f"no weights fit a 3D encoder, found {Path(self.encoder_weights).name}; leave them away")
        if self.recipe.synthesis is not None:
            raise BadInput("lesions are painted into slices only; train a 3D network with synthesis=null")

    def tiny(self) -> Deep3dMethod:
        """The same method, small enough to learn one phantom by heart: an epoch sees some 130,000 voxels or more."""
        small = cast(Any, self.network).tiny()
        blocks = max(4, 2**17 // math.prod(sides_of(small.side)))
        recipe = replace(
            self.recipe,
            optimizer="adam",
            learning_rate=1e-2,
            weight_decay=0.0,
            schedule="cosine",
            warmup_updates=0,
            # A coarse phantom is background for nineteen voxels of twenty.
            label_weights=(1.0, 2.0, 2.0),
            epochs=7,
            batch=max(1, blocks // 8),
            micro_batch=max(1, blocks // 8),
            samples_per_epoch=blocks,
            augmentation=None,
            patch=None,
            ema=0.0,
            precision="fp32",
            validation_share=0.0,
        )
        return replace(self, network=small, grid=InPlaneGrid(pixel_mm=12.0, multiple=1), recipe=recipe)

    def train(
        self, cases: Sequence[Case], folder: Path, listen: Listener = lambda _: None, device: str = "auto"
    ) -> SlabSegmenter:
        """Train on `cases`; `folder` receives run.json, history.json, checkpoint.safetensors and model/.

        Called again on the same folder it goes on after the last finished
        epoch. Raises BadInput when the folder holds another training.
        """
        started = time.monotonic()
        run = self._facts(cases) | {"device": pick_device(device)}
        claim(folder, run)
        settings = self._seen()
        network = settings.build(seed=self.recipe.seed).to(run["device"])
        store = load_volumes(cases, self.prepare, self.grid, settings.slice_mm, self.recipe.seed)
        inner, rest, held_back = hold_back(store, cases, self.recipe, VolumeStore.burden)
        state = run_epochs(network, BlockTraining(rest, held_back, self.recipe, settings.side), folder, listen)
        volumes = {"training": len(rest), "inner_validation": len(held_back or ())}
        finish(folder, run, state, {"inner_validation_patients": list(inner), "volumes": volumes}, started)
        pipeline = Pipeline(self.prepare, self.grid, self.clean)
        save_trained(folder, network.cpu(), cast(Any, settings), pipeline, cases)
        return self.load(folder)

    def load(self, folder: Path) -> SlabSegmenter:
        """The segmenter that an earlier `train` left in `folder`."""
        return load_segmenter(folder / "model")

    def to_json(self) -> dict[str, Any]:
        return {
            "network": network_to_json(cast(Any, self.network)),
            "prepare": steps_to_json(self.prepare),
            "grid": asdict(self.grid),
            "recipe": asdict(self.recipe),
            "clean": [repr(step) for step in self.clean],
            "encoder_weights": self.encoder_weights,
        }

    def _seen(self) -> BlockSettings:
        """The network with the recipe's blocks."""
        return replace(cast(Any, self.network), side=self.recipe.patch) if self.recipe.patch else self.network

    def _facts(self, cases: Sequence[Case]) -> dict[str, Any]:
        return training_facts(self.to_json(), self.recipe.seed, cases) | {
            "encoder": {"source": "none", "fresh": [], "note": "random start (He initialisation)"},
            "evidence": sorted({case.evidence for case in cases}),
        }
