"""Left-out patients of a fold labelled by models and other programs, in folders that the referee scores.

    FOLDER/fold0/cases.csv                      case, patient, group, labels
    FOLDER/fold0/full/truth/ID.nii.gz           references that tell tumour from liver
    FOLDER/fold0/full/METHOD/ID.nii.gz          predictions, by the same names
    FOLDER/fold0/liver_union/...                references of "liver or tumour"
    FOLDER/fold0/METHOD.json                    what made each prediction

    hepar evaluate FOLDER/fold0/full/truth ours=FOLDER/fold0/full/ours --patients FOLDER/fold0/cases.csv

A prediction is kept while the same model made it, so an interrupted run goes on.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.cases import Case, Fold, load_folds
from hepar.datasets import lits512, slices256
from hepar.datasets.slice_folder import GreyScale, cases_of_rows, read_manifest
from hepar.errors import BadInput
from hepar.files import write_json, write_text
from hepar.inference import Neighbours, SlabSegmenter, load_segmenter, open_model
from hepar.inference.two_pass import TwoPassSegmenter
from hepar.io import read, read_labels, write
from hepar.predictions import open_predictions, read_pair
from hepar.predictions.source import LabelSource
from hepar.study.arms import Say, Trial, training_patients
from hepar.volume import LabelMap

Segment = Callable[[Case], LabelMap]
STACKS, VOLUMES = "LiTS-26 stacks", "whole volumes"
LOOSE, UNION, MIN_MAX = "slices256", "slices256, liver or tumour", "slices512"
# Greys of slices512 run from each slice's own least to largest value. Air to dense bone is a guess; livers then
# have their usual median of 100 HU (grey 141) in all slices without metal.
GUESSED_HU = GreyScale(low_hu=-1000.0, high_hu=1000.0)
# Names that a folder beside the references may not have.
TAKEN = ("truth", "scores", "cases")


@dataclass(frozen=True)
class FoldFolder:
    """Where one fold's references and predictions lie."""

    root: Path
    fold: int

    @property
    def path(self) -> Path:
        return self.root / f"fold{self.fold}"

    def truth(self, labels: str) -> Path:
        return self.path / labels / "truth"

    def found(self, labels: str, method: str) -> Path:
        return self.path / labels / method

    def record(self, method: str) -> Path:
        return self.path / f"{method}.json"


def fold_of(folds: Path, fold: int) -> Fold:
    """One fold of a file. Raises BadInput where there is no such fold."""
    known = load_folds(folds)
    if not 0 <= fold < len(known):
        raise BadInput(f"{folds.name} has folds 0 to {len(known) - 1}, not {fold}")
    return known[fold]


def cases_to_test(data: Path, fold: Fold, groups: Sequence[str] = ()) -> list[Trial]:
    """Cases of the fold's test patients in the folders below `data` that are there; `groups` names some, () all.

    Raises BadInput when that is none.
    """
    every = _stacks(data) + _volumes(data) + _loose_slices(data)
    if unknown := set(groups) - {STACKS, VOLUMES, LOOSE, UNION, MIN_MAX}:
        known = ", ".join((STACKS, VOLUMES, LOOSE, UNION, MIN_MAX))
        raise BadInput(f"no group of cases is called {', '.join(sorted(unknown))}; there are {known}")
    wanted = [one for one in every if one.case.patient in fold.test and (not groups or one.group in groups)]
    if not wanted:
        raise BadInput(f"{data.name} holds no case of the fold's {len(fold.test)} test patients; check data and folds")
    return wanted


def predict_left_out(model: Path, name: str, tested: Sequence[Trial], place: FoldFolder, say: Say) -> int:
    """Label every case with a model folder; gives the number of cases that were not finished before.

    Raises BadInput when the model trained on a tested patient, or does not say on whom it trained.
    """
    opened = open_model(model)
    seen = sorted(training_patients(model) & {one.case.patient for one in tested})
    if seen:
        raise BadInput(f"the model trained on {', '.join(seen)}; test it on the test patients of its own fold")
    loaded: list[SlabSegmenter] = []

    def segment(case: Case) -> LabelMap:
        # Only when there is something left to do: loading takes seconds.
        loaded.extend([] if loaded else [load_segmenter(opened)])
        return segment_case(loaded[0], case)

    return label_cases(tested, segment, (name, opened.id), place, say)


def take_predictions(path: Path, name: str, tested: Sequence[Trial], place: FoldFolder, say: Say) -> int:
    """Take over what another program predicted: label files named by case, on the references' grids.

    A case without a prediction is told and left out. Raises BadInput where a
    file cannot be read, GeometryMismatch where it lies on another grid.
    """
    there = open_predictions(path).sources
    missing = [one.case.id for one in tested if one.case.id not in there]
    if len(missing) == len(tested):
        raise BadInput(f"'{path.name}' holds no file named like a case, such as {_file(tested[0])}")
    for case in missing:
        say(f"  {case}: no prediction of {name}")
    taken = 0
    for one in tested:
        if one.case.id in there:
            source = there[one.case.id]
            origin = f"{source.file}@{hashlib.sha256(source.fingerprint().encode()).hexdigest()[:12]}"
            taken += label_cases([one], partial(_taken, source, place), (name, origin), place, say)
    return taken


def label_cases(tested: Sequence[Trial], segment: Segment, name: tuple[str, str], place: FoldFolder, say: Say) -> int:
    """References and labels of every case; `name` is the method's and the model's.

    A case is skipped when its files are there and the same model made them.
    """
    method, model = name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", method) or method in TAKEN:
        raise BadInput(f"a method cannot be called {method!r}; use letters, digits, '_' and '-', not {TAKEN}")
    _list_cases(tested, place)
    record = _record(place.record(method))
    labelled = 0
    for number, one in enumerate(tested):
        out = place.found(one.case.labels, method) / _file(one)
        truth = place.truth(one.case.labels) / _file(one)
        if not truth.is_file():
            write(one.case.truth, truth)
        if out.is_file() and record.get(one.case.id, {}).get("model") == model:
            continue
        started = time.monotonic()
        found = segment(one.case)
        write(found, out)
        record[one.case.id] = {"model": model, "seconds": round(time.monotonic() - started, 1)}
        write_json(place.record(method), record)
        labelled += 1
        say(f"  {number + 1} of {len(tested)}: {one.case.id}")
    return labelled


def segment_case(segmenter: SlabSegmenter, case: Case) -> LabelMap:
    """Labels of a case whose slices see as neighbours only those that are: none across gaps, none where loose.

    Slices from anywhere in their scan are labelled and cleaned each by itself.
    """
    ct, heights = case.ct, case.heights_mm
    if heights is None:
        return segmenter.segment(ct)
    if any(math.isnan(height) for height in heights):
        # Single slices need no room for eight.
        alone = replace(segmenter, slab=1) if type(segmenter) is SlabSegmenter else segmenter
        single = [alone.segment(ct.slab(z, z + 1)).labels for z in range(ct.values.shape[0])]
        return LabelMap(np.concatenate(single), ct.geometry)
    return _placed(segmenter, heights).segment(ct)


def _placed(segmenter: SlabSegmenter, heights: tuple[float, ...]) -> SlabSegmenter:
    """The same segmenter, its first pass as well, for slices that lie at these heights."""
    seen = segmenter.pipeline.neighbours
    placed = PlacedNeighbours(seen.slices, seen.step_mm, heights)
    changed = replace(segmenter, pipeline=replace(segmenter.pipeline, neighbours=placed))
    if isinstance(changed, TwoPassSegmenter) and changed.first is not None:
        changed = replace(changed, first=_placed(changed.first, heights))
    return changed


@dataclass(frozen=True)
class PlacedNeighbours(Neighbours):
    """Neighbours of a stack whose slices lie at known heights, not evenly."""

    heights_mm: tuple[float, ...] = ()

    def of(self, count: int, spacing_mm: float) -> NDArray[np.int64]:
        del spacing_mm
        if count != len(self.heights_mm):
            raise BadInput(f"found {len(self.heights_mm)} heights for {count} slices; expected one a slice")
        return self.at(np.asarray(self.heights_mm))

    def within(self, rows: slice) -> PlacedNeighbours:
        return replace(self, heights_mm=self.heights_mm[rows])


def listed_cases(place: FoldFolder) -> dict[str, dict[str, str]]:
    """Patient, group and label status by case id, as `cases.csv` has them. Raises BadInput without the file."""
    try:
        with (place.path / "cases.csv").open(encoding="utf-8", newline="") as file:
            return {row["case"]: row for row in csv.DictReader(file)}
    except (OSError, KeyError) as error:
        raise BadInput(f"{place.path.name} has no cases.csv; make it with `hepar study predict`") from error


def _list_cases(tested: Sequence[Trial], place: FoldFolder) -> None:
    """Add to `cases.csv`: other groups may have been predicted before."""
    known = listed_cases(place) if (place.path / "cases.csv").is_file() else {}
    for one in tested:
        case = one.case
        known[case.id] = {"case": case.id, "patient": case.patient, "group": one.group, "labels": case.labels}
    text = io.StringIO()
    writer = csv.DictWriter(text, ["case", "patient", "group", "labels"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(known[case] for case in sorted(known))
    write_text(place.path / "cases.csv", text.getvalue())


def _record(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        return {}
    try:
        found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return found
    except ValueError as error:
        raise BadInput(f"{path.name} is damaged; remove it, and its predictions are made again") from error


def _taken(source: LabelSource, place: FoldFolder, case: Case) -> LabelMap:
    """The prediction on the grid of the reference, which `label_cases` has written."""
    (truth,) = open_predictions(place.truth(case.labels) / f"{case.id}.nii.gz").sources.values()
    return read_pair(truth, source).found


def _file(one: Trial) -> str:
    return f"{one.case.id}.nii.gz"


def _stacks(data: Path) -> list[Trial]:
    root = data / "lits512"
    return [Trial(STACKS, case) for case in lits512.cases(root)] if lits512.recognises(root) else []


def _loose_slices(data: Path) -> list[Trial]:
    found = []
    if slices256.recognises(data / "slices256"):
        cases = slices256.cases(data / "slices256")
        found += [Trial(LOOSE if case.labels == "full" else UNION, case) for case in cases]
    if (data / "slices512" / "manifest.csv").is_file():
        cases = cases_of_rows(read_manifest(data / "slices512"), GUESSED_HU, {}, "slices512")
        found += [Trial(MIN_MAX, case) for case in cases]
    return found


def _volumes(data: Path) -> list[Trial]:
    """The two whole scans: 3D-IRCADb-01 patients 1 and 7, which are LiTS 28 and 34."""
    found = []
    for name, patient, ct in (
        ("ircad01", "lits028", data / "ct" / "ircad01_ct.nii.gz"),
        ("ircad07", "lits034", data / "dicom" / "ircad07_PATIENT_DICOM.zip"),
    ):
        label = data / "ct" / f"{name}_label.nii.gz"
        if ct.is_file() and label.is_file():
            case = Case(name, patient, partial(read, ct), partial(read_labels, label))
            found.append(Trial(VOLUMES, case))
    return found
