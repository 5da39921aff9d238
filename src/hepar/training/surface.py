"""A 3D network that finds livers, and the weights of a surface that starts from its answer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hepar.cases import Case
from hepar.classical.surface_evolution import Evolution
from hepar.errors import BadInput
from hepar.files import write_json
from hepar.inference.surface import SurfaceSegmenter, load_surface, moved, save_surface
from hepar.training.cascade import liver_only
from hepar.training.deep_method3d import Deep3dMethod
from hepar.training.loop import Listener
from hepar.training.recipe import Recipe
from hepar.training.run_folder import claim, training_facts


@dataclass(frozen=True)
class SurfaceMethod:
    """A network of livers with their tumours, then a surface on cubes of `voxel_mm`; tumours are not looked for.

    Of `tried`, the evolution with the best mean Dice on the network's inner
    patients is taken, the first one where there are none. Raises BadInput
    without any.
    """

    liver: Deep3dMethod
    tried: tuple[Evolution, ...] = (Evolution(),)
    voxel_mm: float = 2.0

    def __post_init__(self) -> None:
        if not self.tried or self.voxel_mm <= 0:
            raise BadInput(
                f"{len(self.tried)} evolutions on cubes of {self.voxel_mm} mm; expected one or more, above 0"
            )

    @property
    def recipe(self) -> Recipe:
        """The network's."""
        return self.liver.recipe

    def each(self, change: Callable[[Deep3dMethod], Deep3dMethod]) -> SurfaceMethod:
        """With the network changed."""
        return replace(self, liver=change(self.liver))

    def tiny(self) -> SurfaceMethod:
        """The same method, small enough to learn one phantom of 6 mm pixels by heart."""
        surface = replace(self.tried[0], updates=2, most_steps=60)
        return replace(self.each(Deep3dMethod.tiny), voxel_mm=6.0, tried=(surface,))

    def train(
        self, cases: Sequence[Case], folder: Path, listen: Listener = lambda _: None, device: str = "auto"
    ) -> SurfaceSegmenter:
        """Train on `cases`; `folder` receives run.json, surface.json, and the network's run folder liver/.

        Called again on the same folder it goes on where it stopped; what has
        finished is kept. Raises BadInput when the folder holds another training.
        """
        run = training_facts(self.to_json(), self.recipe.seed, cases)
        claim(folder, run)
        if json.loads((folder / "run.json").read_text(encoding="utf-8"))["finished"]:
            return self.load(folder)
        livers = [replace(case, read_truth=partial(liver_only, case)) for case in cases]
        network = self.liver.train(livers, folder / "liver", listen, device)
        stage = json.loads((folder / "liver" / "run.json").read_text(encoding="utf-8"))
        started = time.monotonic()
        inner = [case for case in livers if case.patient in stage["inner_validation_patients"]]
        rows = self._trials(SurfaceSegmenter(network, self.tried[0], self.voxel_mm), inner)
        means = [float(np.mean([row["dice"][k] for row in rows])) if rows else 0.0 for k in range(len(self.tried))]
        # At a tie the first one.
        chosen = self.tried[int(np.argmax(means))]
        save_surface(folder / "surface.json", chosen, self.voxel_mm)
        minutes = stage["minutes_training"] + (time.monotonic() - started) / 60
        facts = {
            "inner_validation_patients": stage["inner_validation_patients"],
            "updates": stage["updates"],
            "minutes_training": round(minutes, 2),
            "evolution": {"chosen": asdict(chosen), "inner_dice": [round(m, 4) for m in means] if rows else None},
            "trials": rows,
            "stages": {"liver": stage},
        }
        write_json(folder / "run.json", run | {"finished": True} | facts)
        return self.load(folder)

    def load(self, folder: Path) -> SurfaceSegmenter:
        """The segmenter that an earlier `train` left in `folder`."""
        return load_surface(folder / "surface.json", self.liver.load(folder / "liver"))

    def to_json(self) -> dict[str, Any]:
        return {
            "liver": self.liver.to_json(),
            "tried": [asdict(one) for one in self.tried],
            "voxel_mm": self.voxel_mm,
        }

    def _trials(self, segmenter: SurfaceSegmenter, cases: Sequence[Case]) -> list[dict[str, Any]]:
        """Dice of the liver on the scan's pixels of each evolution, for each case; nothing to choose, nothing tried."""
        if len(self.tried) < 2:
            return []
        rows = []
        for case in cases:
            truth = case.truth.axial().liver
            view = segmenter.view(case.ct.axial())
            dice = []
            for evolution in self.tried:
                shared, found = 0, 0
                for start, inside in view.to_scan(moved(view, evolution)):
                    part = truth[start : start + len(inside)]
                    shared, found = shared + int((part & (inside > 0.5)).sum()), found + int((inside > 0.5).sum())
                dice.append(round(2 * shared / max(1, found + int(truth.sum())), 4))
            rows.append({"case": case.id, "dice": dice})
        return rows
