"""The slice that Fig. 2 and Fig. 5 show, chosen by a rule, and what each arm found in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.cases import Case
from hepar.datasets.phantom import PhantomSettings, phantom_case
from hepar.errors import BadInput, HeparError
from hepar.inference import load_segmenter
from hepar.io import read_labels
from hepar.report.paper_figures import ArmSlice, Shot
from hepar.study.reproduce.arm_results import MEASURES, ArmResult
from hepar.study.reproduce.documents import PaperDocuments
from hepar.study.reproduce.protocol import data_cases
from hepar.study.reproduce.published import TABLE1
from hepar.volume import Volume

Box = tuple[slice, slice]
TUMOUR_DSC = MEASURES[2]
# Of the picture around the liver, in mm.
MARGIN_MM = 25.0
# Fine enough to be looked at, made in about two seconds.
STAND_IN = PhantomSettings(seed=0, shape=(16, 192, 192), spacing_mm=(12.0, 2.0, 2.0), lesions=3,
                           lesion_contrast_hu=(50.0, 80.0))  # fmt: skip
# The paper's order: without preprocessing both networks, then with.
ORDER = sorted(TABLE1, key=lambda row: row.preprocessing, reverse=True)


@dataclass(frozen=True, eq=False)
class Example:
    """One axial slice of one case; `rule` says how it was chosen, `banner` what it is where it is no CT.

    `stands_in`: the case is a phantom in the place of the study's own.
    """

    case: Case
    index: int
    rule: str
    banner: str = ""
    stands_in: bool = False

    @property
    def ct(self) -> Volume:
        """The slice alone, in the radiologist's view."""
        return self.case.ct.axial().slab(self.index, self.index + 1)

    @property
    def truth(self) -> NDArray[np.uint8]:
        return np.asarray(self.case.truth.axial().labels[self.index])


def stand_in() -> Case:
    """The phantom that is shown where no CT is at hand, or none may be."""
    return phantom_case(STAND_IN, "phantom")


def example_of(documents: PaperDocuments, data: Path | None) -> Example:
    """The slice with most tumour of the patient with the median tumour DSC, or of a phantom where no CT is at hand.

    The DSC is that of CDNN-Alex with preprocessing, or of the first arm of Table 1 that has one.
    Raises BadInput for data that lack the study's cases.
    """
    cases = _cases(documents, data)
    median = _median_case(documents, cases)
    if median is None:
        return _standing_in()
    case, told = median
    area = (case.truth.axial().labels > 1).sum(axis=(1, 2))
    index = int(area.argmax())
    rule = f"{case.id}, slice {index + 1} of {len(area)}: the slice with most tumour of {told}"
    return Example(case, index, rule, {"phantom": "phantom, no CT", "synthetic": "synthetic CT"}.get(case.evidence, ""))


def shot_of(example: Example, grey: Volume) -> tuple[Shot, Box]:
    """The example cut to its liver with a margin, for Fig. 5; `grey` is its slice in 0 to 255."""
    truth, spacing_mm = example.truth, grey.geometry.spacing_mm
    box = _around(truth > 0, (spacing_mm[1], spacing_mm[2]))
    banner = example.banner
    if example.stands_in:
        banner += "; its Dice says nothing about the networks, which were trained on other data"
    return Shot(grey.values[0][box], truth[box], (spacing_mm[1], spacing_mm[2]), banner), box


def arm_slices(documents: PaperDocuments, example: Example, box: Box) -> list[ArmSlice]:
    """What each arm of Table 1 found in the example, in the paper's order."""
    found = []
    for row in ORDER:
        arm = documents.arms[row.arm, row.preprocessing]
        title = f"{arm.title}\n{arm.preprocessing} preprocessing"
        if not arm.cells:
            found.append(ArmSlice(title, None, arm.state.partition(":")[0]))
            continue
        labels = _found(arm, example)
        note = "no labels, no weights kept" if labels is None else "" if arm.converged else "not converged"
        found.append(ArmSlice(title, None if labels is None else labels[box], note))
    return found


def _found(arm: ArmResult, example: Example) -> NDArray[np.uint8] | None:
    """Labels (y, x) of the fold that tested the case: those kept, else made anew; None where neither can be."""
    if example.stands_in:
        return _segmented(arm.cells[0].folder / "run" / "model", example)
    for cell in arm.cells:
        if any(row["case"] == example.case.id for row in cell.cases):
            if (path := cell.prediction(example.case.id)).is_file():
                return np.asarray(read_labels(path).axial().labels[example.index])
            return _segmented(cell.folder / "run" / "model", example)
    return None


def _segmented(model: Path, example: Example) -> NDArray[np.uint8] | None:
    """The networks of Table 1 see a slice at a time, so this one is enough; None without usable weights."""
    try:
        return np.asarray(load_segmenter(model).segment(example.ct).axial().labels[0])
    except HeparError:
        return None


def _cases(documents: PaperDocuments, data: Path | None) -> dict[str, Case]:
    """The study's cases by id; none where no CT is at hand. Raises BadInput for data that lack them."""
    order: dict[str, Any] = documents.facts["order"]
    phantoms = int(order.get("phantoms") or 0)
    if data is None and not phantoms:
        return {}
    found = {case.id: case for case in data_cases(data, phantoms, "full", int(order.get("seed") or 0))}
    if not set(documents.facts["cases"]) & found.keys():
        raise BadInput("the data hold none of the study's cases; give the folder that it was made with")
    return found


def _median_case(documents: PaperDocuments, cases: Mapping[str, Case]) -> tuple[Case, str] | None:
    """The case, and in words who it is; None where no arm has a tumour DSC on these cases."""
    for row in reversed(TABLE1):
        arm = documents.arms[row.arm, row.preprocessing]
        values = {
            case: scores.value(TUMOUR_DSC.spec)
            for cell in arm.cells
            for case, scores in cell.scores("all_slices", TUMOUR_DSC.protocol).items()
            if case in cases
        }
        ranked = sorted((value, case) for case, value in values.items() if not np.isnan(value))
        if ranked:
            value, case = ranked[len(ranked) // 2]
            told = (
                f"the patient with the median tumour DSC ({value:.3f}) of {arm.title} {arm.preprocessing} preprocessing"
            )
            return cases[case], told + (", the better of the two in the middle" if len(ranked) % 2 == 0 else "")
    return None


def _standing_in() -> Example:
    case = stand_in()
    area = (case.truth.axial().labels > 1).sum(axis=(1, 2))
    rule = "a built-in phantom in place of the study's CT (give --data to see that), its slice with most tumour"
    return Example(case, int(area.argmax()), rule, "phantom standing in for CT", stands_in=True)


def _around(mask: NDArray[np.bool_], pixel_mm: tuple[float, float]) -> Box:
    """Rows and columns of the liver with a margin."""
    box = []
    for axis in (0, 1):
        at = np.flatnonzero(mask.any(axis=1 - axis))
        more = int(MARGIN_MM / pixel_mm[axis])
        box.append(slice(max(0, int(at[0]) - more), int(at[-1]) + 1 + more))
    return box[0], box[1]
