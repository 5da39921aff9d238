"""The picture matrix of a bench: which six slices are shown, and every method's labels on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.files import replace_whole
from hepar.io import read_labels
from hepar.report.gallery import require_outside_repository
from hepar.report.picture_matrix import Column, MethodRow, picture_matrix
from hepar.study.bench.document import LIVER_ONLY
from hepar.study.bench.results import read_bench
from hepar.study.reproduce.arm_results import ArmResult
from hepar.study.reproduce.protocol import data_cases
from hepar.study.reproduce.results import CellResult
from hepar.volume import LIVER, TUMOUR, LabelMap

SLICES = 6


def write_pictures(bench: Path, data: Path | None, out: Path, fold: int = 0) -> Path:
    """The matrix of one fold as a PNG at `out`; `data` is the bench's, None for phantoms.

    Slices follow from the truth alone: the largest tumour slice of five test
    patients from small to large tumours, and one of a patient without. Raises
    BadInput when real CT would land in a repository, the data are not the
    bench's, or no method has finished the fold.
    """
    results = read_bench(bench)
    order = results.facts["order"]
    if data is not None:
        require_outside_repository(out.parent)
    if (data is None) != bool(order["phantoms"]):
        raise BadInput(f"the bench is of {order['data']}; give its folder with --data, and none for phantoms")
    shown = {name: _cell_of(arm, fold) for name, arm in results.methods.items()}
    if not any(shown.values()):
        raise BadInput(f"no method has finished fold {fold} of {bench.name}; run `hepar study bench` first")
    tested = {case["case"] for cell in shown.values() if cell for case in cell.cases}
    cases = [case for case in data_cases(data, order["phantoms"], "full", order["seed"]) if case.id in tested]
    if not cases:
        raise BadInput(f"the data holds no case that {bench.name} tested; give the folder that it ran on")
    chosen = choose(cases)
    columns = [Column(case.ct.axial(), case.truth.axial(), index, title) for case, index, title in chosen]
    rows = [_row(name, cell, [case for case, _, _ in chosen]) for name, cell in shown.items() if cell]
    failed = [name for name, arm in results.methods.items() if arm.failed and not shown[name]]
    never = [name for name, cell in shown.items() if cell is None and name not in failed]
    words = [f"{results.facts.get('label', '')}, fold {fold}: the same {len(columns)} slices for every method"]
    words += [f"{word}: {', '.join(names)}" for word, names in (("not run", never), ("failed", failed)) if names]
    picture = picture_matrix(columns, rows, tuple(words))
    with replace_whole(out) as temporary:
        picture.save(temporary, format="PNG")
    return out


def choose(cases: Sequence[Case]) -> list[tuple[Case, int, str]]:
    """Case, slice in the axial view and title of up to six slices, one a patient, small tumours first."""
    best: dict[str, tuple[float, Case, int]] = {}
    for case in cases:
        area, index = largest_slice(case.truth.axial())
        if case.patient not in best or area > best[case.patient][0]:
            best[case.patient] = (area, case, index)
    ranked = sorted(best.values(), key=lambda one: (one[0], one[1].id))
    free, ill = [one for one in ranked if one[0] == 0], [one for one in ranked if one[0] > 0]
    few = free[: max(SLICES - len(ill), 1)] if free else []
    many = SLICES - len(few)
    spread = np.linspace(0, len(ill) - 1, min(many, len(ill))) if ill else np.zeros(0)
    places = np.unique(spread.round().astype(int)).tolist()
    return [(case, index, _title(case, area)) for area, case, index in [*few, *(ill[place] for place in places)]]


def largest_slice(truth: LabelMap) -> tuple[float, int]:
    """Tumour area in mm2 of the slice with most of it, and its number; without tumour 0 and the largest liver slice."""
    _, y_mm, x_mm = truth.geometry.spacing_mm
    for label in (TUMOUR, LIVER):
        pixels = (truth.labels >= label).sum(axis=(1, 2))
        if pixels.any():
            index = int(pixels.argmax())
            return (float(pixels[index]) * y_mm * x_mm if label == TUMOUR else 0.0), index
    return 0.0, len(truth.labels) // 2


def _title(case: Case, area_mm2: float) -> str:
    return f"{case.id}: {f'tumour {area_mm2 / 100:.1f} cm2' if area_mm2 else 'no tumour'}"


def _cell_of(arm: ArmResult, fold: int) -> CellResult | None:
    return next((cell for cell in arm.cells if int(cell.facts["fold"]) == fold), None)


def _row(name: str, cell: CellResult, cases: Sequence[Case]) -> MethodRow:
    found = tuple(_labels(cell.prediction(case.id)) for case in cases)
    note = cell.facts["kind"] + ("" if cell.facts["converged"] else ", not converged")
    return MethodRow(name, note, found, LIVER_ONLY in cell.facts["kind"])


def _labels(path: Path) -> LabelMap | None:
    """In the axial view; None where the file is gone, as in a committed bench."""
    return read_labels(path).axial() if path.is_file() else None
