"""Can painted lesions be told from real ones by what is measured of them? AUC .5: no; 1: always.

Run `python -m hepar.training.synthesis.realism LITS512 FOLDS OUT` for the table in
`studies/lesion_realism`; only the training patients of the first fold are looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hepar import files
from hepar.cases import load_folds
from hepar.datasets import lits512
from hepar.inference.neighbours import Neighbours
from hepar.preprocess.intensity import Window
from hepar.preprocess.spatial import InPlaneGrid
from hepar.training.store import SliceStore, load_slices
from hepar.training.synthesis.features import FEATURES, lesions_of
from hepar.training.synthesis.painter import LesionPainter
from hepar.training.synthesis.settings import LesionSynthesis
from hepar.training.synthesis.shapes import ShapeLibrary, shapes_from
from hepar.volume import TUMOUR

Floats = NDArray[np.float64]
Row = dict[str, float]
PIXEL_MM, STEP_MM = 1.5, 5.0
_SLICES_PER_PATIENT = 25
_PERCENTILES = (10, 25, 50, 75, 90)


def auc(first: Floats, second: Floats) -> float:
    """Chance that a value of `second` exceeds one of `first`, ties counting half; NaN when either is empty."""
    if not (len(first) and len(second)):
        return float("nan")
    ordered = np.sort(first)
    below, upto = np.searchsorted(ordered, second, "left"), np.searchsorted(ordered, second, "right")
    return float((below + upto).mean() / (2 * len(first)))


def separation(real: dict[str, list[Row]], painted: dict[str, list[Row]]) -> dict[str, float]:
    """AUC of each feature, painted above real, and `all`: of a quadratic logistic regression.

    Both are lesions by patient. The regression is tested on patients it was not fitted on.
    """
    one = {name: auc(_column(real, name), _column(painted, name)) for name in FEATURES}
    rows = [
        (patient, row, kind) for kind, side in enumerate((real, painted)) for patient in side for row in side[patient]
    ]
    values = np.array([[row[name] for name in FEATURES] for _, row, _ in rows])
    kinds = np.array([kind for *_, kind in rows], dtype=float)
    homes = np.array([patient for patient, *_ in rows])
    inputs = _quadratic(_normal_scores(values))
    scores = np.zeros(len(rows))
    for part in np.array_split(np.unique(homes), 5):
        held = np.isin(homes, part)
        scores[held] = inputs[held] @ _logistic(inputs[~held], kinds[~held])
    return one | {"all": auc(scores[kinds == 0], scores[kinds == 1])}


def _column(side: dict[str, list[Row]], name: str) -> Floats:
    return np.array([row[name] for rows in side.values() for row in rows])


def _normal_scores(values: Floats) -> Floats:
    """Each column by ranks as standard normal: no feature wins by its outliers."""
    from scipy.special import ndtri

    ranks = values.argsort(axis=0).argsort(axis=0)
    return np.asarray(ndtri((ranks + 0.5) / len(values)))


def _quadratic(scores: Floats) -> Floats:
    rows, columns = np.triu_indices(scores.shape[1])
    return np.hstack([np.ones((len(scores), 1)), scores, scores[:, rows] * scores[:, columns]])


def _logistic(inputs: Floats, kinds: Floats, ridge: float = 10.0) -> Floats:
    """Weights by Newton's method; both kinds count alike whatever their numbers."""
    weights = np.zeros(inputs.shape[1])
    share = kinds.mean()
    counts = np.where(kinds == 1, 0.5 / share, 0.5 / (1 - share))
    for _ in range(12):
        p = 1 / (1 + np.exp(-np.clip(inputs @ weights, -30, 30)))
        slope = inputs.T @ (counts * (p - kinds)) + ridge * weights
        curve = (inputs * (counts * p * (1 - p))[:, None]).T @ inputs + ridge * np.eye(len(weights))
        weights = weights - np.linalg.solve(curve, slope)
    return weights


def real_lesions(store: SliceStore, rng: np.random.Generator, pixel_mm: float = PIXEL_MM) -> dict[str, list[Row]]:
    """Features by patient, of some slices each: a patient with hundreds must not speak for all."""
    found: dict[str, list[Row]] = {}
    tumour = store.has(TUMOUR) & ~store.union
    for i in _some(store, tumour, rng):
        found.setdefault(str(store.patients[i]), []).extend(lesions_of(store.images[i], store.labels[i], pixel_mm))
    return {patient: rows for patient, rows in found.items() if rows}


def painted_lesions(store: SliceStore, painter: LesionPainter, rng: np.random.Generator) -> dict[str, list[Row]]:
    """The same of lesions painted into tumour-free slices."""
    found: dict[str, list[Row]] = {}
    for i in _some(store, ~store.has(TUMOUR) & ~store.union & store.has(1), rng):
        images, labels = painter(np.stack(store.seen(i)), store.labels[i], PIXEL_MM, STEP_MM, rng)
        if labels is not store.labels[i]:
            rows = lesions_of(images[len(images) // 2], labels, PIXEL_MM)
            found.setdefault(str(store.patients[i]), []).extend(rows)
    return {patient: rows for patient, rows in found.items() if rows}


def _some(store: SliceStore, keep: NDArray[np.bool_], rng: np.random.Generator) -> list[int]:
    groups = [np.flatnonzero(keep & (store.patients == patient)) for patient in np.unique(store.patients)]
    return [int(i) for group in groups for i in rng.permutation(group)[:_SLICES_PER_PATIENT]]


def training_store(data: Path, folds: Path) -> tuple[SliceStore, ShapeLibrary]:
    """Slices of the first fold's training patients at `PIXEL_MM`, and the shapes of their lesions."""
    cases = load_folds(folds)[0].training_cases(lits512.cases(data))
    store = load_slices(cases, (Window(*lits512.WINDOW_HU),), InPlaneGrid(PIXEL_MM), None, Neighbours(3, 2.5))
    return store, shapes_from(case.truth for case in cases)


def table(real: dict[str, list[Row]], painted: dict[str, list[Row]], found: dict[str, float]) -> list[str]:
    """Markdown: percentiles of patients' medians, real and painted, and the AUC of each feature."""
    head = "| feature | real, patients' medians p10 p25 p50 p75 p90 | real, all lesions | painted, all lesions | AUC |"
    lines = [head, "|---|---|---|---|---|"]
    for name in FEATURES:
        medians = [float(np.median([row[name] for row in rows])) for rows in real.values()]
        cells = [_percentiles(values) for values in (medians, _column(real, name), _column(painted, name))]
        lines.append(f"| {name} | {' | '.join(cells)} | {found[name]:.2f} |")
    return [*lines, f"| all together | | | | {found['all']:.2f} |"]


def _percentiles(values: Sequence[float] | Floats) -> str:
    return " ".join(f"{value:.1f}" for value in np.percentile(values, _PERCENTILES))


def main(data: Path, folds: Path, out: Path) -> None:
    """Writes `lesions.json` (settings, statistics; no picture) and `table.md` into `out`."""
    store, shapes = training_store(data, folds)
    settings = LesionSynthesis(share=1, imitation_share=0)
    rng = np.random.default_rng(2018)
    real, painted = real_lesions(store, rng), painted_lesions(store, LesionPainter(settings, shapes), rng)
    found = separation(real, painted)
    out.mkdir(parents=True, exist_ok=True)
    files.write_text(out / "table.md", "\n".join(table(real, painted, found)) + "\n")
    counts = {name: {p: len(rows) for p, rows in side.items()} for name, side in (("real", real), ("painted", painted))}
    files.write_json(out / "lesions.json", {"auc": found, "lesions": counts, "shapes": len(shapes)})


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
