"""The same network twice in a row: liver first, then tumour inside the liver that was found.

The counterpart of a joint training: each stage is trained with the joint
recipe and as many epochs as the joint network, so a cascade costs twice its work.
The tumour stage sees prepared slices blacked out beyond the liver; it trains on
the true liver and is tested on the one the first stage found, both widened by
`margin_mm` in the slice. Tumours outside of the found liver are lost, as in
every cascade.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.files import write_json
from hepar.inference import SlabSegmenter, load_segmenter
from hepar.inference.staged import near_liver
from hepar.inference.two_pass import part_of_grid
from hepar.preprocess.intensity import Step
from hepar.training.deep_method import DeepMethod
from hepar.training.loop import Listener
from hepar.training.recipe import Recipe
from hepar.training.run_folder import claim, training_facts
from hepar.volume import LIVER, TUMOUR, LabelMap, Volume

STAGES = ("liver", "tumour")
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class CascadeSegmenter:
    """`tumour` looks at what `prepare` gives inside the liver that `liver` found, `margin_mm` wider."""

    liver: SlabSegmenter
    tumour: SlabSegmenter
    prepare: tuple[Step, ...]
    margin_mm: float

    @property
    def name(self) -> str:
        return f"{self.liver.name}+{self.tumour.name}"

    def segment(self, ct: Volume) -> LabelMap:
        """Labels on the exact grid of `ct`."""
        axial = ct.axial()
        liver = self.liver.segment(axial).liver
        labels = liver.astype(np.uint8) * np.uint8(LIVER)
        if liver.any():
            inside = self.tumour.segment(blacked_out(axial, liver, self.prepare, self.margin_mm)).tumour
            labels[inside & liver] = TUMOUR
        return LabelMap(np.ascontiguousarray(ct.geometry.axial().undo(labels)), ct.geometry)


@dataclass(frozen=True)
class CascadeMethod:
    """Both stages have the network, preparation and recipe of `joint`."""

    joint: DeepMethod
    margin_mm: float = 4.0

    @property
    def recipe(self) -> Recipe:
        return self.joint.recipe

    def each(self, change: Callable[[DeepMethod], DeepMethod]) -> CascadeMethod:
        return replace(self, joint=change(self.joint))

    def train(
        self, cases: Sequence[Case], folder: Path, listen: Listener = lambda _: None, device: str = "auto"
    ) -> CascadeSegmenter:
        """Train on `cases`; `folder` receives run.json and two run folders, liver/ and tumour/.

        Called again on the same folder it goes on where it stopped. Cases
        whose labels do not tell tumour from liver train the first stage only.
        Raises BadInput when the folder holds another training, or no case can teach tumours.
        """
        run = training_facts(self.to_json(), self.recipe.seed, cases)
        claim(folder, run)
        self.joint.train([replace(case, read_truth=partial(liver_only, case)) for case in cases], folder / "liver",
                         listen, device)  # fmt: skip
        second = replace(self.joint, prepare=(), recipe=replace(self.recipe, slices="all"))
        inside = [inner for case in cases if (inner := self._inside_liver(case)) is not None]
        if not inside:
            raise BadInput("no training case tells tumour from liver; a cascade needs labels 0, 1 and 2")
        second.train(inside, folder / "tumour", listen, device)
        stages = {name: json.loads((folder / name / "run.json").read_text(encoding="utf-8")) for name in STAGES}
        write_json(folder / "run.json", run | {"finished": True, "stages": stages})
        return self.load(folder)

    def load(self, folder: Path) -> CascadeSegmenter:
        liver, tumour = (load_segmenter(folder / stage / "model") for stage in STAGES)
        return CascadeSegmenter(liver, tumour, self.joint.prepare, self.margin_mm)

    def to_json(self) -> dict[str, Any]:
        return {"joint": self.joint.to_json(), "margin_mm": self.margin_mm}

    def _inside_liver(self, case: Case) -> Case | None:
        """The case as the tumour stage sees it: slices from the first to the last with liver; None without."""
        if case.labels != "full":
            return None
        shown = np.flatnonzero(case.truth.axial().liver.any(axis=(1, 2)))
        if not shown.size:
            return None
        rows = slice(int(shown[0]), int(shown[-1]) + 1)
        heights = case.heights_mm[rows] if case.heights_mm else None
        read_ct = partial(_ct_inside, case, rows, self.joint.prepare, self.margin_mm)
        return replace(case, read_ct=read_ct, read_truth=partial(_tumour_only, case, rows), heights_mm=heights)


def blacked_out(axial: Volume, liver: Mask, prepare: Sequence[Step], margin_mm: float) -> Volume:
    """Prepared grey values, 0 where it is more than about `margin_mm` to the liver of the same slice."""
    for step in prepare:
        axial = step(axial)
    near = near_liver(liver, axial.geometry, margin_mm)
    return axial.with_values(np.where(near, axial.values, 0).astype(np.float32))


def liver_only(case: Case) -> LabelMap:
    """The case's labels with tumour as liver."""
    truth = case.truth
    return truth.with_labels(np.minimum(truth.labels, np.uint8(LIVER)))


def _ct_inside(case: Case, rows: slice, prepare: Sequence[Step], margin_mm: float) -> Volume:
    ct = case.ct.axial().slab(rows.start, rows.stop)
    return blacked_out(ct, case.truth.axial().liver[rows], prepare, margin_mm)


def _tumour_only(case: Case, rows: slice) -> LabelMap:
    truth = case.truth.axial()
    box = (rows, slice(0, truth.labels.shape[1]), slice(0, truth.labels.shape[2]))
    return LabelMap(np.where(truth.tumour[rows], np.uint8(TUMOUR), np.uint8(0)), part_of_grid(truth.geometry, box))
