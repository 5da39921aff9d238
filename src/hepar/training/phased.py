"""One network trained in phases: each goes on from the weights that the one before ended with."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.files import write_json
from hepar.inference import SlabSegmenter, open_model
from hepar.inference.backends.pytorch import load_network
from hepar.training.by_heart import by_heart
from hepar.training.checkpoint import TrainingState, save_state
from hepar.training.deep_method import DeepMethod
from hepar.training.loop import Listener, make_optimizer
from hepar.training.recipe import Recipe
from hepar.training.run_folder import claim, training_facts


@dataclass(frozen=True)
class PhasedMethod:
    """The same network by several recipes, one after the other (pictures, rates and losses may change).

    Each phase starts with a fresh optimiser. Raises BadInput for phases of different networks.
    """

    phases: tuple[DeepMethod, ...]

    def __post_init__(self) -> None:
        if not self.phases or any(phase.network != self.phases[0].network for phase in self.phases):
            raise BadInput("phases train one network; give at least one phase, all of the same network settings")

    @property
    def recipe(self) -> Recipe:
        """The last phase's."""
        return self.phases[-1].recipe

    def each(self, change: Callable[[DeepMethod], DeepMethod]) -> PhasedMethod:
        """All phases changed alike."""
        return replace(self, phases=tuple(change(phase) for phase in self.phases))

    def tiny(self) -> PhasedMethod:
        """The same method, small enough to learn one phantom by heart."""
        return self.each(lambda phase: by_heart(phase, epochs=12))

    def train(
        self, cases: Sequence[Case], folder: Path, listen: Listener = lambda _: None, device: str = "auto"
    ) -> SlabSegmenter:
        """Train on `cases`; `folder` receives run.json and a run folder a phase, phase-1 and so on.

        Called again on the same folder it goes on where it stopped. Raises
        BadInput when the folder holds another training.
        """
        run = training_facts(self.to_json(), self.recipe.seed, cases)
        claim(folder, run)
        rows = []
        for number, phase in enumerate(self.phases, start=1):
            home = folder / f"phase-{number}"
            if number > 1 and not (home / "checkpoint.safetensors").exists():
                _begin_with(folder / f"phase-{number - 1}", phase, home)
            phase.train(cases, home, listen, device)
            rows.append(json.loads((home / "run.json").read_text(encoding="utf-8")))
        totals = {
            "inner_validation_patients": rows[-1]["inner_validation_patients"],
            "updates": sum(row["updates"] for row in rows),
            "minutes_training": round(sum(row["minutes_training"] for row in rows), 2),
        }
        write_json(folder / "run.json", run | {"finished": True} | totals | {"phases": rows})
        return self.load(folder)

    def load(self, folder: Path) -> SlabSegmenter:
        """The segmenter that an earlier `train` left in `folder`."""
        return self.phases[-1].load(folder / f"phase-{len(self.phases)}")

    def to_json(self) -> dict[str, Any]:
        return {"phases": [phase.to_json() for phase in self.phases]}


def _begin_with(before: Path, phase: DeepMethod, home: Path) -> None:
    """Leave a checkpoint of no epochs in `home` that holds the weights of the run in `before`."""
    model = open_model(before / "model")
    network = load_network(model.network, model.weights)
    home.mkdir(parents=True, exist_ok=True)
    save_state(TrainingState(network, make_optimizer(network, phase.recipe), {}, []), home / "checkpoint.safetensors")
