"""A method whose network, window, spacing, patch and batch are planned from the training cases, as nnU-Net does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.files import write_json
from hepar.inference import SlabSegmenter, load_segmenter
from hepar.nets.planned_unet import PlannedUnet, PlannedUnet3d
from hepar.postprocess import Clean
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.deep_method import DeepMethod
from hepar.training.deep_method3d import Deep3dMethod
from hepar.training.loop import Listener
from hepar.training.planning import BLOCKS, RESENC_M, Memory, Plan, fingerprint_of, plan_of
from hepar.training.recipe import Recipe
from hepar.training.run_folder import claim, training_facts

PLAN = "plan.json"
UPDATES_PER_EPOCH = 250
NETWORK = "network"


@dataclass(frozen=True)
class PlannedMethod:
    """Slices (`dims` 2) or blocks (3). The plan decides on the recipe's patch, and its batch unless `batch` is given.

    `width` thins all channels; the last of `blocks` a stage repeats.
    An epoch is 250 batches where `recipe.samples_per_epoch` says nothing else.
    """

    dims: Literal[2, 3]
    recipe: Recipe
    clean: tuple[Clean, ...] = ()
    memory: Memory = RESENC_M
    blocks: tuple[int, ...] = BLOCKS
    width: float = 1.0
    batch: int | None = None

    def tiny(self) -> PlannedMethod:
        """The same method, small enough to learn one phantom by heart."""
        recipe = replace(
            self.recipe,
            optimizer="adam",
            # Heads and blocks that start at zero need large steps at first.
            learning_rate=4e-2,
            weight_decay=0.0,
            epochs=8,
            samples_per_epoch=30 if self.dims == 2 else 9,
            augmentation=None,
            precision="fp32",
        )
        return replace(self, recipe=recipe, blocks=(1,), width=0.1, batch=2 if self.dims == 2 else 1)

    def train(
        self, cases: Sequence[Case], folder: Path, listen: Listener = lambda _: None, device: str = "auto"
    ) -> SlabSegmenter:
        """Plan from `cases` and train on them; `folder` receives run.json, plan.json and a run folder network/.

        Called again on the same folder it goes on by the same plan. Raises
        BadInput when the folder holds another training, or no case shows liver.
        """
        if not cases:
            raise BadInput("no cases to train on; check the data folder and the patients left out")
        run = training_facts(self.to_json(), self.recipe.seed, cases)
        claim(folder, run)
        plan = self._plan(cases, folder / PLAN)
        self.planned(plan).train(cases, folder / NETWORK, listen, device)
        inner = json.loads((folder / NETWORK / "run.json").read_text(encoding="utf-8"))
        told = {key: inner[key] for key in ("inner_validation_patients", "updates", "minutes_training", "evidence")}
        write_json(folder / "run.json", run | {"finished": True} | told | {"plan": plan.to_json(), "network": inner})
        return self.load(folder)

    def load(self, folder: Path) -> SlabSegmenter:
        """The segmenter that an earlier `train` left in `folder`."""
        return load_segmenter(folder / NETWORK / "model")

    def to_json(self) -> dict[str, Any]:
        return {
            "planned": f"{self.dims}d",
            "recipe": asdict(self.recipe),
            "clean": [repr(step) for step in self.clean],
            "memory": asdict(self.memory),
            "blocks": list(self.blocks),
            "width": self.width,
            "batch": self.batch,
        }

    def planned(self, plan: Plan) -> DeepMethod | Deep3dMethod:
        """The training that a plan asks for."""
        mean, std = plan.grey
        shape = {"channels": plan.channels, "blocks": plan.blocks, "strides": plan.strides, "kernels": plan.kernels}
        batch = self.batch or plan.batch
        recipe = replace(
            self.recipe,
            batch=batch,
            micro_batch=min(self.recipe.micro_batch, batch),
            samples_per_epoch=self.recipe.samples_per_epoch or UPDATES_PER_EPOCH * batch,
            patch=max(plan.patch) if self.dims == 2 else None,
        )
        prepare, pixel_mm = (Window(plan.low_hu, plan.high_hu),), plan.spacing_mm[-1]
        own: dict[str, Any] = shape | {"grey_mean": mean, "grey_std": std, "width": self.width}
        if self.dims == 2:
            grid = InPlaneGrid(pixel_mm=pixel_mm, multiple=plan.multiple)
            return DeepMethod(cast(Any, PlannedUnet(**own)), prepare, grid, recipe, self.clean, "none")
        z, y, x = plan.patch
        network = PlannedUnet3d(**own, side=(z, y, x), slice_mm=plan.spacing_mm[0])
        return Deep3dMethod(network, prepare, InPlaneGrid(pixel_mm=pixel_mm, multiple=1), recipe, self.clean)

    def _plan(self, cases: Sequence[Case], path: Path) -> Plan:
        """The folder's plan, made once: a training goes on by the plan it began with."""
        if not path.exists():
            seen = fingerprint_of(cases, self.recipe.seed)
            write_json(path, plan_of(seen, self.dims, self.memory, self.width, self.blocks).to_json())
        return Plan.from_json(json.loads(path.read_text(encoding="utf-8")))
