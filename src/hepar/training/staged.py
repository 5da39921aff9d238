"""Two trainings in sequence, each with its own network and settings: liver, then tumour in the liver found.

The tumour stage learns from livers that the same run's first stage found, not
from true ones, since true ones will not be there later. `liver_seen` "found"
takes what the first stage says of its own training cases; "out_of_fold" trains
it `inner_folds` times more, each time without the cases it then answers for;
"mixed" shows the true liver in every other slice and the out-of-fold one in the
rest; "truth" shows true livers (an upper bound in training, never in tests).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.files import replace_whole, write_json
from hepar.inference import SlabSegmenter
from hepar.inference.staged import FoundLiver, Joins, StagedSegmenter, View, find_liver, near_liver
from hepar.inference.two_pass import Box, part_of, part_of_grid
from hepar.preprocess.intensity import Step
from hepar.training.by_heart import by_heart
from hepar.training.cascade import STAGES, liver_only
from hepar.training.deep_method import DeepMethod
from hepar.training.loop import Listener
from hepar.training.out_of_fold import inner_folds, train_out_of_fold
from hepar.training.recipe import Recipe
from hepar.training.run_folder import claim, training_facts
from hepar.training.store import SliceStore, load_slices
from hepar.volume import TUMOUR, LabelMap, Volume

log = logging.getLogger("hepar")
LiverSeen = Literal["found", "out_of_fold", "mixed", "truth"]


@dataclass(frozen=True)
class StagedMethod:
    """Two slice networks; `view` says what the second sees, `joins` how both answers become one.

    `teaches` "tumour": the second stage learns labels 0 and 2. "all": 0, 1 and
    2. Where it sees darkness the label is 0.
    """

    liver: DeepMethod
    tumour: DeepMethod
    view: View = field(default_factory=View)
    liver_seen: LiverSeen = "found"
    inner_folds: int = 3
    teaches: Literal["tumour", "all"] = "tumour"
    joins: Joins = "inside"

    @property
    def recipe(self) -> Recipe:
        """The second stage's."""
        return self.tumour.recipe

    def each(self, change: Callable[[DeepMethod], DeepMethod]) -> StagedMethod:
        """Both stages changed alike."""
        return replace(self, liver=change(self.liver), tumour=change(self.tumour))

    def tiny(self) -> StagedMethod:
        """The same method, small enough to learn one phantom by heart: one patient has no out-of-fold liver."""
        seen: LiverSeen = "truth" if self.liver_seen == "truth" else "found"
        return replace(self.each(by_heart), liver_seen=seen)

    def train(
        self, cases: Sequence[Case], folder: Path, listen: Listener = lambda _: None, device: str = "auto"
    ) -> StagedSegmenter:
        """Train on `cases`; `folder` receives run.json, run folders liver/ and tumour/, and the livers that were found.

        Called again on the same folder it goes on where it stopped. Cases
        whose labels do not tell tumour from liver train the first stage only.
        Raises BadInput when the folder holds another training, no case can
        teach tumours, or the first stage finds no liver in any that could.
        """
        run = training_facts(self.to_json(), self.recipe.seed, cases)
        claim(folder, run)
        livers = [replace(case, read_truth=partial(liver_only, case)) for case in cases]
        first = self.liver.train(livers, folder / "liver", listen, device)
        able = [case for case in cases if case.labels == "full"]
        if not able:
            raise BadInput("no training case tells tumour from liver; a tumour stage needs labels 0, 1 and 2")
        finders = self._finders(first, livers, folder, listen, device)
        shown = {case.id: self._found(case, finders[case.id], folder / "livers") for case in able}
        second, seen = self._second_stage(able, shown)
        second.train(seen, folder / "tumour", listen, device)
        stages = {name: json.loads((folder / name / "run.json").read_text(encoding="utf-8")) for name in STAGES}
        inner = {"inner_validation_patients": stages["tumour"]["inner_validation_patients"]}
        totals = {
            "updates": sum(stage["updates"] for stage in stages.values()),
            "minutes_training": round(sum(stage["minutes_training"] for stage in stages.values()), 2),
        }
        write_json(folder / "run.json", run | inner | {"finished": True} | totals | {"stages": stages})
        return self.load(folder)

    def load(self, folder: Path) -> StagedSegmenter:
        """The segmenter that an earlier `train` left in `folder`."""
        liver, tumour = self.liver.load(folder / "liver"), self.tumour.load(folder / "tumour")
        return StagedSegmenter(liver, tumour, self.tumour.prepare, self.view, self.joins)

    def to_json(self) -> dict[str, Any]:
        own = ("liver_seen", "inner_folds", "teaches", "joins")
        stages = {"liver": self.liver.to_json(), "tumour": self.tumour.to_json(), "view": asdict(self.view)}
        return stages | {name: getattr(self, name) for name in own}

    def _finders(
        self, first: SlabSegmenter, livers: Sequence[Case], folder: Path, listen: Listener, device: str
    ) -> dict[str, SlabSegmenter]:
        """Who finds the liver of each training case for the tumour stage."""
        if self.liver_seen not in ("out_of_fold", "mixed"):
            return {case.id: first for case in livers}
        folds = inner_folds(livers, self.inner_folds, self.liver.recipe.seed)
        return train_out_of_fold(self.liver, livers, folder / "liver-folds", folds, listen, device)

    def _found(self, case: Case, finder: SlabSegmenter, folder: Path) -> Path:
        """The file with the liver that the tumour stage sees in `case`; made once for each finder."""
        path = found_path(folder, case)
        origin = f"{self.liver_seen}: {finder.name}"
        if path.exists() and read_found(path)[1:] == (case.id, origin):
            return path
        if self.liver_seen == "truth":
            mask = case.truth.axial().liver
            found = FoundLiver(mask, np.where(mask, np.uint8(255), np.uint8(0)) if self.view.beside else None)
        else:
            found = find_liver(finder, case.ct.axial(), self.view.beside)
        if self.liver_seen == "mixed":
            found = _mixed(found, case)
        write_found(path, found, case.id, origin)
        return path

    def _second_stage(self, cases: Sequence[Case], shown: dict[str, Path]) -> tuple[DeepMethod, list[Case]]:
        """The tumour stage's training and its cases, each cut to what the stage sees of it."""
        seen = [inner for case in cases if (inner := self._seen(case, shown[case.id])) is not None]
        if not seen:
            raise BadInput("the liver stage finds no liver in any training case; train it longer")
        if len(seen) < len(cases):
            log.warning("the liver stage finds no liver in %d of %d training cases", len(cases) - len(seen), len(cases))
        # The steps have happened when a case is read: darkness comes after them.
        stage = replace(self.tumour, prepare=())
        if not self.view.beside:
            return stage, seen
        probability = {case.id: partial(_probability, case, shown[case.id], self.view) for case in cases}
        own = {name: getattr(stage, name) for name in stage.__dataclass_fields__}
        return BesideTraining(**own, channel=probability), seen

    def _seen(self, case: Case, path: Path) -> Case | None:
        """The case as the tumour stage sees it; None where no liver was found."""
        grid = case.truth.axial().geometry
        box = self.view.box(read_found(path)[0].mask, grid)
        if box is None:
            return None
        return replace(
            case,
            read_ct=partial(_ct_seen, case, path, self.tumour.prepare, self.view),
            read_truth=partial(_truth_seen, case, path, self.view, self.teaches),
            heights_mm=case.heights_mm[box[0]] if case.heights_mm else None,
        )


@dataclass(frozen=True)
class BesideTraining(DeepMethod):
    """A tumour stage that sees a second channel: `channel` reads it, 0..255, for each case id."""

    channel: Mapping[str, Callable[[], Volume]] = field(default_factory=dict)

    def slices(self, cases: Sequence[Case]) -> SliceStore:
        grey = super().slices(cases)
        others = [replace(case, read_ct=self.channel[case.id]) for case in cases]
        beside = load_slices(others, (), self.grid)
        assert np.array_equal(grey.cases, beside.cases), "channels of different cases"
        return replace(grey, around=list(zip(grey.images, beside.images, strict=True)))


def write_found(path: Path, found: FoundLiver, case: str, origin: str) -> None:
    """A found liver as a compressed file that names its case and who found it."""
    extra = {} if found.probability is None else {"probability": found.probability}
    arrays = {"mask": np.packbits(found.mask), "shape": np.array(found.mask.shape), "who": np.array([case, origin])}
    with replace_whole(path) as temporary:
        np.savez_compressed(temporary, **arrays, **extra)  # type: ignore[arg-type]


def read_found(path: Path) -> tuple[FoundLiver, str, str]:
    """What `write_found` wrote: the liver, the case's id, who found it."""
    with np.load(path, allow_pickle=False) as arrays:
        shape = tuple(arrays["shape"].tolist())
        mask = np.unpackbits(arrays["mask"], count=int(np.prod(shape))).reshape(shape).astype(bool)
        case, origin = arrays["who"].tolist()
        return FoundLiver(mask, arrays["probability"] if "probability" in arrays.files else None), case, origin


def found_path(folder: Path, case: Case) -> Path:
    """Where the liver that was found in a case lies."""
    return folder / f"{case.id.replace('/', '_')}.npz"


def liver_of(case: Case, path: Path) -> FoundLiver:
    """The liver that was found in this very case; another's is our mistake."""
    found, owner, _ = read_found(path)
    assert owner == case.id, f"the liver of {owner} was handed to {case.id}"
    return found


def _mixed(found: FoundLiver, case: Case) -> FoundLiver:
    truth = case.truth.axial().liver
    true = (np.arange(len(truth)) % 2 == 0)[:, None, None]
    mask = np.where(true, truth, found.mask)
    if found.probability is None:
        return FoundLiver(mask)
    return FoundLiver(mask, np.where(true, truth * np.uint8(255), found.probability).astype(np.uint8))


def _ct_seen(case: Case, path: Path, prepare: tuple[Step, ...], view: View) -> Volume:
    ct, liver = case.ct.axial(), liver_of(case, path).mask
    part = part_of(ct, _box(view, liver, ct))
    for step in view.steps(prepare, liver, ct.geometry):
        part = step(part)
    return part


def _truth_seen(case: Case, path: Path, view: View, teaches: str) -> LabelMap:
    truth, liver = case.truth.axial(), liver_of(case, path).mask
    labels = truth.labels if teaches == "all" else np.where(truth.tumour, np.uint8(TUMOUR), np.uint8(0))
    box = _box(view, liver, truth)
    labels = labels[box]
    if view.masked:
        near = near_liver(liver[box[0]], truth.geometry, view.margin_mm)[:, box[1], box[2]]
        labels = np.where(near, labels, np.uint8(0))
    return LabelMap(np.ascontiguousarray(labels), part_of_grid(truth.geometry, box))


def _probability(case: Case, path: Path, view: View) -> Volume:
    found, whole = liver_of(case, path), case.truth.axial()
    assert found.probability is not None
    box = _box(view, found.mask, whole)
    return Volume(found.probability[box].astype(np.float32), part_of_grid(whole.geometry, box))


def _box(view: View, liver: Any, scan: Volume | LabelMap) -> Box:
    box = view.box(liver, scan.geometry)
    assert box is not None  # cases without liver were left out
    return box
