"""Tumour probabilities beside predictions: confidences for FROC, and how well they are calibrated."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput, GeometryMismatch
from hepar.geometry import Geometry
from hepar.metrics.calibration import Reliability, liver_region, reliability
from hepar.metrics.froc import RATES, FrocCase, froc, lesion_confidences
from hepar.metrics.lesions import find_lesions, match_lesions
from hepar.volume import LabelMap

ENDINGS = (".nii.gz", ".nii", ".npz", ".mha", ".nrrd")
TUMOUR_CHANNEL = 2


def probability_file(folder: Path, case: str, found_file: str) -> Path:
    """The case's tumour probabilities in `folder`: named like the prediction, or like the case.

    Raises BadInput when there is none.
    """
    stem = found_file.removesuffix(".gz").removesuffix(".nii").removesuffix(".mha").removesuffix(".nrrd")
    for name in (stem, case):
        for ending in ENDINGS:
            path = folder / f"{name}{ending}"
            if path.is_file():
                return path
    raise BadInput(f"no probabilities for case {case}; expected {case}.nii.gz or nnU-Net's {stem}.npz in that folder")


def read_probability(path: Path, grid: Geometry) -> NDArray[np.float32]:
    """Tumour probabilities (z, y, x) on `grid`: a volume file, or the third channel of nnU-Net's .npz.

    Raises BadInput for anything else, GeometryMismatch for another grid.
    """
    if path.suffix == ".npz":
        return _from_npz(path, grid)
    from hepar.io import read_numbers

    values, own = read_numbers(path)
    if not own.same_grid(grid):
        raise GeometryMismatch(f"probabilities lie on {own}, labels on {grid}; both must lie on one grid")
    return values


def _from_npz(path: Path, grid: Geometry) -> NDArray[np.float32]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            name = "probabilities" if "probabilities" in stored else "softmax"
            channels = stored[name]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(f"'{path.name}' holds no probabilities; expected nnU-Net's .npz of --save_probabilities") from (
            error
        )
    if channels.ndim != 4 or len(channels) <= TUMOUR_CHANNEL or channels.shape[1:] != grid.shape:
        raise BadInput(
            f"'{path.name}' holds an array of shape {channels.shape}; expected 3 channels (background, liver, tumour) "
            f"on the labels' grid {grid.shape}"
        )
    return np.asarray(channels[TUMOUR_CHANNEL], np.float32)


def confidence_facts(truth: LabelMap, found: LabelMap, probability: NDArray[np.float32]) -> dict[str, Any]:
    """One case's share of FROC and reliability, as plain values."""
    lesions, others = find_lesions(truth), find_lesions(found)
    hit = {match.found for match in match_lesions(lesions, others)}
    box = liver_region(truth, found)
    binned = reliability(probability[box], truth.tumour[box])
    return {
        "confidences": lesion_confidences(others, probability).tolist(),
        "hits": [lesion.number in hit for lesion in others.lesions],
        "true_lesions": len(lesions.lesions),
        "reliability": {name: getattr(binned, name).tolist() for name in ("voxels", "confidence", "outcome")},
    }


def confidence_tables(facts: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """FROC and calibration of one method over its cases."""
    curve = froc(
        [
            FrocCase(np.array(own["confidences"], np.float64), np.array(own["hits"], np.bool_), own["true_lesions"])
            for own in facts
        ]
    )
    total = _sum([_reliability(own["reliability"]) for own in facts])
    shown = total.curve()
    return (
        {
            "thresholds": curve.thresholds[1:].tolist(),
            "false_positives_per_scan": curve.false_positives_per_scan.tolist(),
            "sensitivity": curve.sensitivity.tolist(),
            "sensitivity_at": {f"{rate:g}": curve.sensitivity_at(rate) for rate in RATES},
            "mean_sensitivity": curve.mean_sensitivity,
            "scans": len(facts),
        },
        {
            "ece": total.ece,
            "confidence": shown.confidence.tolist(),
            "frequency": shown.frequency.tolist(),
            "voxels": shown.voxels.tolist(),
            "region": "box around both livers",
        },
    )


def _reliability(stored: Mapping[str, Any]) -> Reliability:
    return Reliability(
        np.array(stored["voxels"], np.int64),
        np.array(stored["confidence"], np.float64),
        np.array(stored["outcome"], np.int64),
    )


def _sum(parts: Sequence[Reliability]) -> Reliability:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
