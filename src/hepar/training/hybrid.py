"""A network of slices that becomes part of a network of blocks: alone first, then frozen, then both together."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from torch import nn

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.files import write_json
from hepar.inference import SlabSegmenter, load_segmenter, open_model, save_model
from hepar.inference.backends.pytorch import load_network
from hepar.inference.decision import Decision
from hepar.nets.hybrid_dense_unet import HybridDenseUnet
from hepar.preprocess import InPlaneGrid
from hepar.training.by_heart import by_heart
from hepar.training.checkpoint import TrainingState, save_state
from hepar.training.deep_method import DeepMethod
from hepar.training.deep_method3d import Deep3dMethod
from hepar.training.loop import Listener, make_optimizer
from hepar.training.patches3d import LEAST_RUN, even_runs
from hepar.training.recipe import Recipe
from hepar.training.run_folder import claim, training_facts

PHASES = ("slices", "frozen", "both")


@dataclass(frozen=True)
class HybridMethod:
    """Three trainings, each from the weights of the one before: slices, blocks beside frozen slices, both.

    A voxel is tumour where tumour's share of liver is `tumour_threshold` or
    more. Raises BadInput where one phase's weights would not fit the next.
    """

    phases: tuple[DeepMethod, Deep3dMethod, Deep3dMethod]
    tumour_threshold: float = 0.5

    def __post_init__(self) -> None:
        slices, *blocks = (phase.network for phase in self.phases)
        fits = [isinstance(net, HybridDenseUnet) and net.flat == slices for net in blocks]
        if fits != [True, True] or replace(cast(Any, blocks[0]), frozen=False) != blocks[1]:
            raise BadInput(
                "the phases' networks differ; give a slice network, and twice the block network it is part of, "
                "the first time frozen"
            )
        if not 0 < self.tumour_threshold < 1:
            raise BadInput(f"tumour_threshold is {self.tumour_threshold}; expected a number between 0 and 1")

    @property
    def recipe(self) -> Recipe:
        """The last phase's."""
        return self.phases[-1].recipe

    def each(self, change: Callable[[Any], Any]) -> HybridMethod:
        """All phases changed alike."""
        slices, frozen, both = map(change, self.phases)
        return replace(self, phases=(slices, frozen, both))

    def tiny(self) -> HybridMethod:
        """The same method, small enough to learn one phantom by heart."""
        slices, frozen, both = (_by_heart(phase) for phase in self.phases)
        # The last phase settles what the others learned.
        last = replace(both, recipe=replace(both.recipe, epochs=2, learning_rate=2e-3))
        return replace(self, phases=(slices, frozen, last), tumour_threshold=0.5)

    def train(
        self, cases: Sequence[Case], folder: Path, listen: Listener = lambda _: None, device: str = "auto"
    ) -> SlabSegmenter:
        """Train on `cases`; `folder` receives run.json, a run folder a phase (slices, frozen, both), and model/.

        Called again on the same folder it goes on where it stopped. Raises
        BadInput when the folder holds another training, or the cases are lone slices.
        """
        _require_stacks(cases)
        run = training_facts(self.to_json(), self.recipe.seed, cases)
        claim(folder, run)
        if json.loads((folder / "run.json").read_text(encoding="utf-8"))["finished"]:
            return self.load(folder)
        rows = []
        phases: tuple[Any, ...] = self.phases
        for number, (name, phase) in enumerate(zip(PHASES, phases, strict=True)):
            home = folder / name
            if number and not (home / "checkpoint.safetensors").exists():
                _begin(phase, folder / PHASES[number - 1], home)
            phase.train(cases, home, listen, device)
            rows.append(json.loads((home / "run.json").read_text(encoding="utf-8")))
        self._decide(folder)
        totals = {
            "inner_validation_patients": rows[-1]["inner_validation_patients"],
            "updates": sum(row["updates"] for row in rows),
            "minutes_training": round(sum(row["minutes_training"] for row in rows), 2),
        }
        write_json(folder / "run.json", run | {"finished": True} | totals | {"phases": rows})
        return self.load(folder)

    def load(self, folder: Path) -> SlabSegmenter:
        """The segmenter that an earlier `train` left in `folder`."""
        return load_segmenter(folder / "model")

    def to_json(self) -> dict[str, Any]:
        return {"phases": [phase.to_json() for phase in self.phases], "tumour_threshold": self.tumour_threshold}

    def _decide(self, folder: Path) -> None:
        """The last phase's model becomes the run's, with the threshold of tumour."""
        model = folder / "model"
        shutil.copytree(folder / PHASES[-1] / "model", model, dirs_exist_ok=True)
        last = open_model(model)
        # The share exceeds the threshold where tumour's logit exceeds liver's by its log odds.
        odds = math.log(self.tumour_threshold / (1 - self.tumour_threshold))
        pipeline = replace(last.pipeline, decision=Decision("liver_first", tumour_bias=-odds))
        save_model(model, replace(last.card, name=folder.name), pipeline, last.weights, last.network)


def _by_heart(phase: Any) -> Any:
    """A phase for phantoms: all phases with the same pixels, loss and weights of labels."""
    small = phase.tiny() if isinstance(phase, Deep3dMethod) else by_heart(phase, epochs=6)
    recipe = replace(small.recipe, loss="dice_cross_entropy", label_weights=(1.0, 2.0, 2.0))
    return replace(small, network=phase.network.tiny(), grid=InPlaneGrid(pixel_mm=12.0, multiple=1), recipe=recipe)


def _require_stacks(cases: Sequence[Case]) -> None:
    """Raises BadInput for lone slices alone: the slices' training would be over before blocks are missed."""
    stacks = [case.heights_mm is None or even_runs(case, len(case.heights_mm)) for case in cases]
    if cases and not any(stacks):
        raise BadInput(
            f"none of {len(cases)} cases has {LEAST_RUN} slices in a row that lie evenly; this method needs whole scans"
        )


def _begin(phase: Deep3dMethod, before: Path, home: Path) -> None:
    """Leave a checkpoint of no epochs in `home` that holds the weights of the run in `before`."""
    model = open_model(before / "model")
    earlier = load_network(model.network, model.weights)
    network: Any = phase.network.build(seed=phase.recipe.seed)
    whole = model.network["network"] == type(phase.network).__name__
    part: nn.Module = network if whole else network.flat
    part.load_state_dict(earlier.state_dict())
    home.mkdir(parents=True, exist_ok=True)
    save_state(TrainingState(network, make_optimizer(network, phase.recipe), {}, []), home / "checkpoint.safetensors")
