"""Who is trained on and who is tested: cohort, folds, published splits; what the data's window allows."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hepar.cases import Case, Fold, load_folds, patient_folds, save_folds
from hepar.datasets import lits512, open_cases, slice_folder, slices256
from hepar.datasets.phantom import PhantomSettings, phantom_case
from hepar.errors import BadInput
from hepar.files import write_json
from hepar.preprocess import Window

Cohort = Literal["paper", "full"]
# The paper's 130 scans are LiTS 0 to 129 (see the discrepancy sheet); patients of other names all take part.
LAST_OF_PAPER = 129
# Published train/test sizes. Bellver's hold-out is known: 0-104 against 105-130, without 59 that is 104/26.
SPLITS = {"105/15": (105, 15), "104/26": (104, 26), "99/30": (99, 30)}
BELLVER, LEFT_OUT_BY_BELLVER = "104/26", 59
# No patient's labels say how much tumour there is: dealt as a stratum of their own.
UNKNOWN_BURDEN = -1.0
PHANTOM = PhantomSettings(seed=0, shape=(20, 96, 96), spacing_mm=(10, 4, 4), noise_hu=8)
SLICES256_HU = (0.0, 255.0)


@dataclass(frozen=True)
class CaseSurvey:
    """What planning needs of a case, counted once: slices, slices with liver, liver and tumour voxels."""

    patient: str
    slices: int
    labelled: int
    liver: int
    tumour: int
    full: bool
    evidence: str


def data_cases(data: Path | None, phantoms: int = 0, cohort: Cohort = "full", seed: int = 0) -> list[Case]:
    """Labelled cases of the cohort; phantoms where no data folder is given. Raises BadInput without any."""
    if data is None:
        settings = [_phantom(number, seed) for number in range(phantoms)]
        cases = [phantom_case(one, f"phantom{number:03d}") for number, one in enumerate(settings)]
    else:
        cases = [case for case in open_cases(data) if cohort == "full" or in_paper(case.patient)]
    if not cases:
        raise BadInput("there is no labelled case to study; check --data and --cohort")
    return cases


def in_paper(patient: str) -> bool:
    """Whether the paper's 130 scans hold the patient; all patients that are not LiTS's count."""
    number = re.fullmatch(r"lits(\d+)", patient)
    return number is None or int(number[1]) <= LAST_OF_PAPER


def survey(cases: Sequence[Case], keep: Path) -> dict[str, CaseSurvey]:
    """Read every case's labels once; `keep` remembers them."""
    known = json.loads(keep.read_text(encoding="utf-8")) if keep.is_file() else {}
    if known.keys() != {case.id for case in cases}:
        known = {case.id: asdict(_surveyed(case)) for case in cases}
        write_json(keep, known)
    return {case: CaseSurvey(**row) for case, row in known.items()}


def deal(surveyed: dict[str, CaseSurvey], count: int, split: str | None, seed: int) -> list[Fold]:
    """`count` folds over patients, or the one fold of a published split.

    A split of another cohort keeps its proportion. Raises BadInput for an unknown split.
    """
    burden = burden_of(surveyed)
    if split is None:
        return patient_folds(burden, count, seed)
    if split not in SPLITS:
        raise BadInput(f"no split is called {split}; there are {', '.join(SPLITS)}")
    numbers = {p: int(m[1]) for p in burden if (m := re.fullmatch(r"lits(\d+)", p))}
    if split == BELLVER and len(numbers) == len(burden) > 104:
        used = {p for p, n in numbers.items() if n != LEFT_OUT_BY_BELLVER}
        return [_fold(used, {p for p in used if numbers[p] > 104})]
    return [_drawn(burden, SPLITS[split], seed)]


def kept_folds(surveyed: dict[str, CaseSurvey], order: tuple[str, str | None, int], path: Path) -> list[Fold]:
    """The study's folds, from `path` if they were dealt before; `order` is folds (a count or a file), split and seed.

    Raises BadInput when the folds name no patient of the data.
    """
    folds, split, seed = order
    if not path.is_file():
        dealt = deal(surveyed, int(folds), split, seed) if folds.isdigit() else load_folds(Path(folds))
        save_folds(dealt, path)
    there = {row.patient for row in surveyed.values()}
    found = load_folds(path)
    for fold in found:
        if not (there & set(fold.train) and there & set(fold.test)):
            raise BadInput(f"a fold of {path.name} trains or tests on no patient of the data; both need the same names")
    return found


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def burden_of(surveyed: dict[str, CaseSurvey]) -> dict[str, float]:
    """Tumour voxels per liver voxel of each patient's fully labelled cases; -1 where there is none."""
    found = {}
    for patient in sorted({row.patient for row in surveyed.values()}):
        mine = [row for row in surveyed.values() if row.patient == patient and row.full]
        liver = max(1, sum(row.liver for row in mine))
        found[patient] = sum(row.tumour for row in mine) / liver if mine else UNKNOWN_BURDEN
    return found


def window_of(data: Path | None) -> tuple[float, float] | None:
    """The HU window that 8-bit slices were saved with; None where the data has all of its HU."""
    if data is None:
        return None
    if lits512.recognises(data):
        return lits512.WINDOW_HU
    if slices256.recognises(data):
        return SLICES256_HU
    if slice_folder.recognises(data):
        facts = json.loads((data / "slices.json").read_text(encoding="utf-8"))
        return float(facts["low_hu"]), float(facts["high_hu"])
    return None


def usable_window(asked: Window, there: tuple[float, float] | None) -> tuple[Window, bool]:
    """The window that a method gets, and whether it is the one it asked for (else it cannot be tested here)."""
    if there is None or (there[0] <= asked.low_hu and asked.high_hu <= there[1]):
        return asked, True
    return Window(*there), False


def _surveyed(case: Case) -> CaseSurvey:
    truth = case.truth.axial()
    shown = int(np.count_nonzero(truth.liver.any(axis=(1, 2))))
    liver, tumour = int(np.count_nonzero(truth.liver)), int(np.count_nonzero(truth.tumour))
    return CaseSurvey(case.patient, len(truth.labels), shown, liver, tumour, case.labels == "full", case.evidence)


def _drawn(burden: dict[str, float], sizes: tuple[int, int], seed: int) -> Fold:
    """As many of the patients as the split asks for, or in its proportion; evenly over the ranks of burden."""
    train, test = sizes
    if len(burden) < train + test:
        test = max(1, round(len(burden) * test / (train + test)))
        train = len(burden) - test
    rng = np.random.default_rng(seed)
    ranked = sorted(burden, key=lambda patient: (burden[patient], patient))
    tested = {str(rng.choice(part)) for part in np.array_split(ranked, test)}
    rest = [patient for patient in ranked if patient not in tested]
    unused = {str(patient) for patient in rng.permutation(rest)[train:]}
    return _fold(set(burden) - unused, tested)


def _fold(used: set[str], tested: set[str]) -> Fold:
    return Fold(tuple(sorted(used - tested)), tuple(sorted(tested)))


def _phantom(number: int, seed: int) -> PhantomSettings:
    from dataclasses import replace

    # Every fourth one is free of tumours, as some patients are.
    return replace(PHANTOM, seed=1000 * seed + number, lesions=0 if number % 4 == 3 else 3, lesion_contrast_hu=(60, 80))
