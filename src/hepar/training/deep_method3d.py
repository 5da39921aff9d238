"""A 3D network with its preparation, recipe and cleaning: one value, one method, as `DeepMethod` is for slices."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import nn

import hepar
from hepar.cases import Case, inner_split
from hepar.errors import BadInput
from hepar.files import replace_whole, write_json
from hepar.inference import ModelCard, Pipeline, SlabSegmenter, load_segmenter, save_model
from hepar.inference.backends.pytorch import pick_device
from hepar.nets.registry import network_to_json
from hepar.nets.residual_unet3d import ResidualUnet3d
from hepar.postprocess import Clean
from hepar.preprocess.intensity import Step, steps_to_json
from hepar.preprocess.spatial import InPlaneGrid
from hepar.training.deep_method import DATA_LICENCE, command_line, require_same_training, versions
from hepar.training.loop import Listener
from hepar.training.loop3d import BlockTraining, fit_blocks
from hepar.training.patches3d import VolumeStore, load_volumes
from hepar.training.recipe import Recipe


@dataclass(frozen=True)
class Deep3dMethod:
    """A network of blocks and everything around it.

    `grid` gives pixels in mm, the network's `slice_mm` the third side of a
    voxel. `recipe.patch`, where set, is the blocks' side. Raises BadInput for a
    grid that differs from scan to scan, for painted lesions, and for encoder
    weights: nobody publishes 3D ones.
    """

    network: ResidualUnet3d
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

    def train(
        self, cases: Sequence[Case], folder: Path, listen: Listener = lambda _: None, device: str = "auto"
    ) -> SlabSegmenter:
        """Train on `cases`; `folder` receives run.json, history.json, checkpoint.safetensors and model/.

        Called again on the same folder it goes on after the last finished
        epoch. Raises BadInput when the folder holds another training.
        """
        started = time.monotonic()
        run = self._facts(cases) | {"device": pick_device(device)}
        if (folder / "run.json").exists():
            require_same_training(folder, run)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / "run.json", run | {"finished": False})
        settings = self._seen()
        network = settings.build(seed=self.recipe.seed).to(run["device"])
        store = load_volumes(cases, self.prepare, self.grid, settings.slice_mm, self.recipe.seed)
        inner = self._inner_patients(cases, store)
        judged = np.isin(store.patients, inner)
        held_back = store.part(judged) if inner else None
        training = BlockTraining(store.part(~judged), held_back, self.recipe, settings.side)
        state = fit_blocks(network, training, folder, listen)
        write_json(folder / "history.json", state.history)
        done = {
            "finished": True,
            "inner_validation_patients": list(inner),
            "volumes": {"training": len(training.store), "inner_validation": int(judged.sum())},
            "updates": state.update,
            "minutes_training": round(sum(row["seconds"] for row in state.history) / 60, 2),
            "minutes_last_start": round((time.monotonic() - started) / 60, 2),
        }
        write_json(folder / "run.json", run | done)
        self._save(network.cpu(), cases, folder)
        return self.load(folder)

    def _inner_patients(self, cases: Sequence[Case], store: VolumeStore) -> tuple[str, ...]:
        """Who is held back for inner validation. Raises BadInput when a patient named in the recipe is not there."""
        if named := self.recipe.inner_patients:
            if missing := set(named) - set(store.patients.tolist()):
                raise BadInput(
                    f"inner patients {', '.join(sorted(missing))} are not in the training data; check the names"
                )
            return named
        real = {case.patient for case in cases if case.evidence == "real"}
        judges = {patient: share for patient, share in store.burden().items() if patient in real}
        return inner_split(judges, self.recipe.validation_share, self.recipe.seed).test

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

    def _seen(self) -> ResidualUnet3d:
        """The network with the recipe's blocks."""
        return replace(self.network, side=self.recipe.patch) if self.recipe.patch else self.network

    def _facts(self, cases: Sequence[Case]) -> dict[str, Any]:
        return {
            "method": self.to_json(),
            "encoder": {"source": "none", "fresh": [], "note": "random start (He initialisation)"},
            "seed": self.recipe.seed,
            "training_patients": sorted({case.patient for case in cases}),
            "training_cases": sorted(case.id for case in cases),
            "evidence": sorted({case.evidence for case in cases}),
            "versions": versions(),
            "command": command_line(),
        }

    def _save(self, network: nn.Module, cases: Sequence[Case], folder: Path) -> None:
        from safetensors.torch import save_file

        (folder / "model").mkdir(exist_ok=True)
        weights = folder / "model" / "weights.safetensors"
        with replace_whole(weights) as temporary:
            save_file({k: v.contiguous() for k, v in network.state_dict().items()}, temporary)
        patients = {case.patient for case in cases if case.evidence == "real"}
        card = ModelCard(
            name=folder.name,
            description=f"{type(self.network).__name__} trained by hepar",
            licence=DATA_LICENCE,
            trained_on=f"{len(patients)} real patients, listed in run.json",
            limits=hepar.DISCLAIMER,
        )
        pipeline = Pipeline(self.prepare, self.grid, self.clean)
        save_model(folder / "model", card, pipeline, weights, network_to_json(cast(Any, self._seen())))
