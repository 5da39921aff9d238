"""A staged method whose tumours stay only where a detector sees one; it learns from the livers that were found."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from hepar.cases import Case
from hepar.files import write_json
from hepar.inference.staged import StagedSegmenter
from hepar.inference.tiles import DetectedSegmenter, Mask
from hepar.training.by_heart import by_heart
from hepar.training.deep_method import DeepMethod
from hepar.training.loop import Listener
from hepar.training.recipe import Recipe
from hepar.training.run_folder import claim, training_facts
from hepar.training.staged import StagedMethod, found_path, liver_of
from hepar.training.tile_detection import TileDetection

STAGES, DETECTOR = "stages", "detector"


@dataclass(frozen=True)
class DetectedMethod:
    """`stages` finds liver and tumours; `detector` drops tumours where it sees none."""

    stages: StagedMethod
    detector: TileDetection

    @property
    def recipe(self) -> Recipe:
        """The tumour stage's."""
        return self.stages.recipe

    def each(self, change: Callable[[DeepMethod], DeepMethod]) -> DetectedMethod:
        """Both stages changed alike; the detector stays."""
        return replace(self, stages=self.stages.each(change))

    def tiny(self) -> DetectedMethod:
        """The same method, small enough to learn one phantom by heart."""
        liver, tumour = by_heart(self.stages.liver, epochs=12), by_heart(self.stages.tumour, epochs=4)
        return replace(self, stages=replace(self.stages, liver=liver, tumour=tumour), detector=self.detector.tiny())

    def train(
        self, cases: Sequence[Case], folder: Path, listen: Listener = lambda _: None, device: str = "auto"
    ) -> DetectedSegmenter:
        """Train on `cases`; `folder` receives run.json and run folders stages/ and detector/.

        Called again on the same folder it goes on where it stopped. The
        detector learns from the livers that the tumour stage learned from, of
        the cases that tell tumour. Raises BadInput when the folder holds another training.
        """
        run = training_facts(self.to_json(), self.recipe.seed, cases)
        claim(folder, run)
        self.stages.train(cases, folder / STAGES, listen, device)
        able = [case for case in cases if case.labels == "full"]
        found = partial(_liver_in, folder / STAGES / "livers")
        self.detector.train(able, found, folder / DETECTOR, listen, device)
        parts = {
            name: json.loads((folder / name / "run.json").read_text(encoding="utf-8")) for name in (STAGES, DETECTOR)
        }
        totals: dict[str, Any] = {
            "inner_validation_patients": parts[STAGES]["inner_validation_patients"],
            "updates": sum(part["updates"] for part in parts.values()),
            "minutes_training": round(sum(part["minutes_training"] for part in parts.values()), 2),
        }
        write_json(folder / "run.json", run | {"finished": True} | totals | parts)
        return self.load(folder)

    def load(self, folder: Path) -> DetectedSegmenter:
        """The segmenter that an earlier `train` left in `folder`."""
        staged = self.stages.load(folder / STAGES)
        own = {one.name: getattr(staged, one.name) for one in fields(StagedSegmenter)}
        return DetectedSegmenter(**own, detector=self.detector.load(folder / DETECTOR))

    def to_json(self) -> dict[str, Any]:
        return {STAGES: self.stages.to_json(), DETECTOR: self.detector.to_json()}


def _liver_in(folder: Path, case: Case) -> Mask:
    return liver_of(case, found_path(folder, case)).mask
