"""Two trainings in sequence: a coarse network for whole slices, a fine one for the liver's box."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.files import write_json
from hepar.inference import SlabSegmenter, load_segmenter, open_model, save_model
from hepar.inference.two_pass import Box, box_around, part_of, part_of_grid
from hepar.training.deep_method import DeepMethod
from hepar.training.loop import Listener
from hepar.training.recipe import Recipe
from hepar.training.run_folder import claim, training_facts
from hepar.volume import LabelMap, Volume

PASSES = ("coarse", "fine")


@dataclass(frozen=True)
class TwoPassMethod:
    """`fine` trains on boxes around the true liver, `margin_mm` wider; `coarse` finds them in new scans."""

    coarse: DeepMethod
    fine: DeepMethod
    margin_mm: float = 20.0

    @property
    def recipe(self) -> Recipe:
        """The fine pass's."""
        return self.fine.recipe

    def each(self, change: Callable[[DeepMethod], DeepMethod]) -> TwoPassMethod:
        """Both passes changed alike."""
        return replace(self, coarse=change(self.coarse), fine=change(self.fine))

    def train(
        self, cases: Sequence[Case], folder: Path, listen: Listener = lambda _: None, device: str = "auto"
    ) -> SlabSegmenter:
        """Train on `cases`; `folder` receives two run folders, coarse/ and fine/, and model/ made of both.

        Called again on the same folder it goes on where it stopped. Raises
        BadInput when the folder holds another training, or no case shows liver.
        """
        run = training_facts(self.to_json(), self.recipe.seed, cases)
        claim(folder, run)
        self.coarse.train(cases, folder / "coarse", listen, device)
        boxes = [cropped for case in cases if (cropped := around_liver(case, self.margin_mm)) is not None]
        if not boxes:
            raise BadInput("no training case shows liver; check the labels")
        self.fine.train(boxes, folder / "fine", listen, device)
        self._join(folder)
        passes = {name: json.loads((folder / name / "run.json").read_text(encoding="utf-8")) for name in PASSES}
        inner = {"inner_validation_patients": passes["fine"]["inner_validation_patients"]}
        write_json(folder / "run.json", run | inner | {"finished": True, "passes": passes})
        return self.load(folder)

    def load(self, folder: Path) -> SlabSegmenter:
        """The segmenter that an earlier `train` left in `folder`."""
        return load_segmenter(folder / "model")

    def to_json(self) -> dict[str, Any]:
        return {"coarse": self.coarse.to_json(), "fine": self.fine.to_json(), "margin_mm": self.margin_mm}

    def _join(self, folder: Path) -> None:
        model = folder / "model"
        shutil.copytree(folder / "fine" / "model", model, dirs_exist_ok=True)
        shutil.copytree(folder / "coarse" / "model", model / "coarse", dirs_exist_ok=True)
        fine = open_model(model)
        card = replace(fine.card, name=folder.name, description="two passes trained by hepar")
        save_model(model, card, fine.pipeline, fine.weights, fine.network, self.margin_mm)


def around_liver(case: Case, margin_mm: float) -> Case | None:
    """The case cut to a box around its liver in the axial view; None without liver. Reads the labels once now."""
    truth = case.truth.axial()
    box = box_around(truth.liver, truth.geometry, margin_mm)
    if box is None:
        return None
    heights = case.heights_mm[box[0]] if case.heights_mm else None
    return replace(
        case, read_ct=partial(_ct_in, case, box), read_truth=partial(_truth_in, case, box), heights_mm=heights
    )


def _ct_in(case: Case, box: Box) -> Volume:
    return part_of(case.ct.axial(), box)


def _truth_in(case: Case, box: Box) -> LabelMap:
    truth = case.truth.axial()
    return LabelMap(np.ascontiguousarray(truth.labels[box]), part_of_grid(truth.geometry, box))
