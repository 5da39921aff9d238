"""Networks in sequence, and the weights of a dense conditional random field that refines what they find.

The field is chosen on patients whom no network of this training has seen: they
are held back before the first stage starts.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hepar.cases import Case, inner_split
from hepar.classical.dense_crf import DenseCrf
from hepar.errors import BadInput
from hepar.files import write_json
from hepar.inference.refined import RefinedSegmenter, load_crf, save_crf
from hepar.training.deep_method import DeepMethod
from hepar.training.detected import DetectedMethod
from hepar.training.loop import Listener
from hepar.training.recipe import Recipe
from hepar.training.run_folder import claim, training_facts
from hepar.training.staged import StagedMethod

log = logging.getLogger("hepar")


@dataclass(frozen=True)
class RefinedMethod:
    """`stages` finds liver and tumours, the best of the fields `tried` refines them.

    The best one has the highest mean of liver and tumour Dice on about
    `held_back` of the patients; at a tie, and where nobody can be held back,
    the first. Raises BadInput for no fields, or no share of patients.
    """

    stages: StagedMethod | DetectedMethod
    tried: tuple[DenseCrf, ...] = (DenseCrf(),)
    held_back: float = 0.1

    def __post_init__(self) -> None:
        if not self.tried or not 0 <= self.held_back < 1:
            raise BadInput(
                f"{len(self.tried)} fields to try, {self.held_back} of the patients held back; "
                "expected one field or more, and a share from 0 to below 1"
            )

    @property
    def recipe(self) -> Recipe:
        """The tumour stage's."""
        return self.stages.recipe

    def each(self, change: Callable[[DeepMethod], DeepMethod]) -> RefinedMethod:
        """Both stages changed alike."""
        return replace(self, stages=self.stages.each(change))

    def tiny(self) -> RefinedMethod:
        """The same method, small enough to learn one phantom by heart."""
        return replace(self, stages=self.stages.tiny(), tried=(replace(self.tried[0], updates=2),))

    def train(
        self, cases: Sequence[Case], folder: Path, listen: Listener = lambda _: None, device: str = "auto"
    ) -> RefinedSegmenter:
        """Train on `cases`; `folder` receives run.json, crf.json, and the run folder stages/.

        Called again on the same folder it goes on where it stopped; what has
        finished is kept. Raises BadInput when the folder holds another
        training, or where `stages` cannot be trained.
        """
        run = training_facts(self.to_json(), self.recipe.seed, cases)
        claim(folder, run)
        if json.loads((folder / "run.json").read_text(encoding="utf-8"))["finished"]:
            return self.load(folder)
        inner = self._inner(cases)
        judging = [case for case in cases if case.patient in inner]
        learning = [case for case in cases if case.patient not in inner]
        staged = self.stages.train(learning, folder / "stages", listen, device)
        stages = json.loads((folder / "stages" / "run.json").read_text(encoding="utf-8"))
        assert not set(stages["training_patients"]) & set(inner), "a stage saw a patient who was held back"
        started = time.monotonic()
        rows = self._trials(RefinedSegmenter(staged, self.tried[0]), [one for one in judging if one.labels == "full"])
        means = [_mean([row["mean"][k] for row in rows]) for k in range(len(self.tried))] if rows else []
        chosen = self.tried[int(np.argmax(means))] if rows else self.tried[0]
        save_crf(folder / "crf.json", chosen)
        facts = {
            "inner_validation_patients": list(inner),
            "updates": stages["updates"],
            "minutes_training": round(stages["minutes_training"] + (time.monotonic() - started) / 60, 2),
            "crf": {"chosen": asdict(chosen), "inner_mean": means or None},
            "trials": rows,
            "stages": stages,
        }
        write_json(folder / "run.json", run | {"finished": True} | facts)
        return self.load(folder)

    def load(self, folder: Path) -> RefinedSegmenter:
        """The segmenter that an earlier `train` left in `folder`."""
        return RefinedSegmenter(self.stages.load(folder / "stages"), load_crf(folder / "crf.json"))

    def to_json(self) -> dict[str, Any]:
        tried = [asdict(one) for one in self.tried]
        return {"stages": self.stages.to_json(), "tried": tried, "held_back": self.held_back}

    def _inner(self, cases: Sequence[Case]) -> tuple[str, ...]:
        """Patients held back: of those with tumours told from liver, spread over how much tumour there is."""
        if len(self.tried) < 2:
            return ()
        burden: dict[str, float] = {}
        for case in cases:
            if case.labels == "full" and case.evidence != "synthetic":
                truth = case.truth
                share = float(truth.tumour.sum() / max(1, int(truth.liver.sum())))
                burden[case.patient] = max(share, burden.get(case.patient, 0.0))
        inner = inner_split(burden, self.held_back, self.recipe.seed).test
        if not inner:
            log.warning("nobody can be held back to choose a field of %d; the first is taken", len(self.tried))
        return inner

    def _trials(self, segmenter: RefinedSegmenter, cases: Sequence[Case]) -> list[dict[str, Any]]:
        """Dice of liver, of tumour (None without any) and their mean after each field, for each case."""
        rows = []
        for case in cases:
            truth, axial = case.truth.axial(), case.ct.axial()
            before = segmenter.before(axial)
            found = [segmenter.refine(axial, before, crf).labels for crf in self.tried]
            liver = [_dice(truth.liver, one.liver) for one in found]
            tumour = [_dice(truth.tumour, one.tumour) if truth.tumour.any() else math.nan for one in found]
            mean = [_mean(pair) for pair in zip(liver, tumour, strict=True)]
            rows.append({"case": case.id, "liver": liver, "tumour": tumour, "mean": mean})
        return rows


def _dice(truth: Any, found: Any) -> float:
    return round(float(2 * (truth & found).sum() / max(1, int(truth.sum()) + int(found.sum()))), 4)


def _mean(values: Sequence[float]) -> float:
    """Of those that are numbers."""
    return round(float(np.nanmean(values)), 5)
