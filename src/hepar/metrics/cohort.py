"""Scoring folders of label maps: one row per case, means over what is defined."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hepar import files
from hepar.errors import BadInput, HeparError
from hepar.metrics.evaluation import evaluate
from hepar.metrics.scores import EMPTY_RULE, METRICS, Scores, defined
from hepar.metrics.structures import STRUCTURES, LabelStatus
from hepar.volume import LabelMap

ENDINGS = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr")
# What data sets and tools put around a case's name. LiTS: volume-7, segmentation-7, test-segmentation-7.
PREFIXES = ("test-", "volume-", "segmentation-")
SUFFIXES = ("_label", "_labels", "_seg", "_segmentation", "_ct", "_liver", "_pred")


@dataclass(frozen=True)
class CaseScores:
    """One case: its scores, or the `error` that kept it from being scored; `failure` is that error to raise."""

    case: str
    scores: Scores | None = None
    error: str | None = None
    failure: HeparError | None = field(default=None, compare=False)


@dataclass(frozen=True)
class SummaryRow:
    """One number over a cohort: mean and median of the `count` cases where it is defined.

    `excluded` counts the scored cases where `EMPTY_RULE` leaves it undefined.
    """

    structure: str
    metric: str
    mean: float
    median: float
    count: int
    excluded: int


def case_id(name: str) -> str:
    """The case a label file belongs to: its name without ending and known prefixes and suffixes."""
    stem = next((name[: -len(end)] for end in ENDINGS if name.lower().endswith(end)), name)
    shorter = stem
    for prefix in PREFIXES:
        shorter = shorter.removeprefix(prefix) or shorter
    for suffix in SUFFIXES:
        shorter = shorter.removesuffix(suffix) or shorter
    # Tools add to each other's names: ircad01_ct becomes ircad01_ct_seg.
    return stem if shorter == stem else case_id(shorter)


def evaluate_folder(truth: Path, found: Path, labels: LabelStatus = "full") -> list[CaseScores]:
    """Score every case of two folders, or of two files, in order of case id.

    Files are matched by `case_id`; two single files are matched whatever their
    names. A case without its partner, or that fails, becomes a row with an
    error and never stops the others. Raises BadInput when a path does not
    exist or holds no label map.
    """
    truths, founds = _files(truth), _files(found)
    if truth.is_file() and found.is_file():
        founds = dict(zip(truths, founds.values(), strict=True))
    cases = truths.keys() | founds.keys()
    # A single file beside a folder asks about that one case.
    for path, own in ((truth, truths), (found, founds)):
        cases = cases & own.keys() if path.is_file() else cases
    return [_case(case, truths.get(case, []), founds.get(case, []), labels) for case in sorted(cases, key=_natural)]


def summary_rows(cases: Iterable[CaseScores]) -> list[SummaryRow]:
    """Means over the scored cases, per structure and metric, and the false-positive volume of tumour-free scans."""
    scored = [case.scores for case in cases if case.scores is not None]
    rows = []
    for structure in STRUCTURES:
        judged = [scores.structures[structure] for scores in scored if structure in scores.structures]
        if judged:
            rows += [_summary(structure, metric, [getattr(s, metric) for s in judged]) for metric in METRICS]
    if any(scores.tumour is not None for scores in scored):
        rows.append(_summary("tumour", "false_positive_ml", [s.false_positive_ml for s in scored if s.tumour]))
    return rows


def write_json(cases: Sequence[CaseScores], path: Path) -> None:
    """Cases, means and the empty rule; null where undefined. Raises OutputError when it cannot be written."""
    document = {
        "empty_rule": EMPTY_RULE,
        "summary": [vars(row) for row in summary_rows(cases)],
        "cases": [
            {"case": c.case, "error": c.error, "scores": c.scores.to_json() if c.scores else None} for c in cases
        ],
    }
    files.write_json(path, document)


def write_csv(cases: Sequence[CaseScores], path: Path) -> None:
    """One line per case; an undefined number is an empty field. Raises OutputError when it cannot be written."""
    columns = [f"{structure}_{metric}" for structure in STRUCTURES for metric in METRICS]
    text = io.StringIO()
    writer = csv.DictWriter(text, ["case", *columns, "false_positive_ml", "error"], lineterminator="\n")
    writer.writeheader()
    for case in cases:
        writer.writerow({"case": case.case, "error": case.error, **_flat(case.scores)})
    files.write_text(path, text.getvalue())


def _files(path: Path) -> dict[str, list[Path]]:
    """Label files by case id."""
    if not path.exists():
        raise BadInput(f"{path.name} does not exist; expected a label map or a folder of label maps")
    if path.is_file():
        return {case_id(path.name): [path]}
    groups: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(path.iterdir()):
        if file.is_file() and file.name.lower().endswith(ENDINGS) and not file.name.startswith("."):
            groups[case_id(file.name)].append(file)
    if not groups:
        raise BadInput(f"folder {path.name} holds no label map; expected files ending in {', '.join(ENDINGS)}")
    return {case: _without_scans(group) for case, group in groups.items()}


def _without_scans(group: list[Path]) -> list[Path]:
    """LiTS keeps volume-7 beside segmentation-7: where both are there, the scan is not the label map."""
    labels = [f for f in group if not (f.name.startswith("volume-") or f.name.split(".")[0].endswith("_ct"))]
    return labels or group


def _case(case: str, truths: list[Path], founds: list[Path], labels: LabelStatus) -> CaseScores:
    from hepar.io import read_labels

    for group, side in ((truths, "truth"), (founds, "prediction")):
        if len(group) != 1:
            names = ", ".join(file.name for file in group) or "none"
            return _failed(case, BadInput(f"expected one {side} of case {case}, found {names}"))
    try:
        return CaseScores(case, scores=_scored(read_labels, truths[0], founds[0], labels))
    except HeparError as error:
        return _failed(case, error)
    # Whatever a damaged file provokes in a reader, the other cases must go on.
    except Exception as error:
        return _failed(case, HeparError(f"{type(error).__name__}: {error}"))


def _failed(case: str, failure: HeparError) -> CaseScores:
    return CaseScores(case, error=str(failure), failure=failure)


def _scored(read: Callable[[Path], LabelMap], truth: Path, found: Path, labels: LabelStatus) -> Scores:
    return evaluate(read(truth), read(found), labels)


def _summary(structure: str, metric: str, values: list[float]) -> SummaryRow:
    known = [value for value in values if not math.isnan(value)]
    mean, median = (statistics.fmean(known), statistics.median(known)) if known else (math.nan, math.nan)
    return SummaryRow(structure, metric, mean, median, len(known), len(values) - len(known))


def _flat(scores: Scores | None) -> dict[str, Any]:
    if scores is None:
        return {}
    flat: dict[str, Any] = {"false_positive_ml": defined(scores.false_positive_ml)}
    for structure, row in scores.structures.items():
        flat |= {f"{structure}_{metric}": defined(getattr(row, metric)) for metric in METRICS}
    return flat


def _natural(case: str) -> tuple[int, str]:
    """Shorter names first, so that 2 comes before 10."""
    return len(case), case
