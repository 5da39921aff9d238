"""Real and synthetic CT by the same figures: writes realism.json and realism.md beside this file.

    python studies/ct_synthesis/measure.py ../shared/data --seed 101 --step 6 [--keep FOLDER]

Statistics only. Everything is measured at 256 x 256 pixels, as training sees
it: real scans are averaged over 2 x 2 pixels, synthetic ones are made there.
`--keep` saves the synthetic volumes as .npy, to be looked at.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hepar import __version__
from hepar.datasets import lits512
from hepar.datasets.synthetic import CtSynthesis, synthetic_cases
from hepar.datasets.synthetic.organ_map import Organ, OrganMap, organ_files, read_organs
from hepar.datasets.synthetic.realism import body_figures, liver_figures, organ_figures
from hepar.geometry import Geometry
from hepar.io import read
from hepar.volume import LabelMap, Volume

WANTED = (Organ.SPLEEN, Organ.KIDNEY, Organ.ARTERY, Organ.CAVA, Organ.PORTAL, Organ.BONE)
SCANS = {"lits028": "ct/ircad01_ct.nii.gz", "lits034": "dicom/ircad07_PATIENT_DICOM.zip"}
MOST_SLICES = 24


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("shared", type=Path)
    parser.add_argument("--seed", type=int, default=101)
    parser.add_argument("--step", type=int, default=6)
    parser.add_argument("--keep", type=Path)
    order = parser.parse_args()
    settings = CtSynthesis(seed=order.seed, step=order.step, phases=(0, 0, 1, 0))
    rows = {
        "real": dict(real_slices(order.shared)),
        "real_whole": dict(real_scans(order.shared)),
        "synthetic": dict(synthetic(order.shared, settings, order.keep)),
    }
    here = Path(__file__).parent
    facts = {
        "command": f"python studies/ct_synthesis/measure.py ../shared/data --seed {order.seed} --step {order.step}",
        "version": __version__,
        "settings": settings.__dict__,
        "rows": {key: {p: _told(figures) for p, figures in of.items()} for key, of in rows.items()},
    }
    (here / "realism.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    (here / "realism.md").write_text(table(facts), encoding="utf-8")


def real_slices(shared: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Liver figures of the scans in lits512 (windowed to -40..160 HU)."""
    for case in lits512.cases(shared / "lits512"):
        labels = case.truth.labels
        area = (labels > 0).sum(axis=(1, 2))
        good = np.flatnonzero(area > area.max() / 3)
        good = good[np.unique(np.linspace(0, len(good) - 1, MOST_SLICES).astype(int))]
        truth = _on(labels[good][:, ::2, ::2])
        yield case.patient, liver_figures(Volume(_halved(case.ct.values[good]), truth.geometry), truth)


def real_scans(shared: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """All figures of the two patients with whole HU and an organ map."""
    for patient, path in organ_files(shared / "organ_labels").items():
        if patient in SCANS:
            organs = read_organs(path).halved()
            ct = Volume(_halved(read(shared / SCANS[patient]).axial().values), organs.geometry)
            yield patient, _all_figures(ct, organs)


def synthetic(shared: Path, settings: CtSynthesis, keep: Path | None) -> Iterator[tuple[str, dict[str, object]]]:
    """All figures of one synthetic CT of every patient."""
    from hepar.datasets.synthetic import _organs

    paths = organ_files(shared / "organ_labels")
    for case in synthetic_cases(shared / "organ_labels", settings):
        began = time.process_time()
        ct = case.ct
        seconds = time.process_time() - began
        sys.stderr.write(f"{case.id} {ct.values.shape} {seconds:.1f} s of CPU\n")
        if keep:
            np.save(keep / f"{case.id}.npy", ct.values)
        figures = _all_figures(ct, _organs(paths[case.patient], settings, case.patient, 0))
        yield case.patient, {**figures, "slices": len(ct.values), "cpu_s": round(seconds, 2)}


def _all_figures(ct: Volume, organs: OrganMap) -> dict[str, object]:
    figures: dict[str, object] = dict(liver_figures(ct, organs.truth()))
    figures |= body_figures(ct, organs.labels > 0, organs.labels)
    for name, (mean, deviation) in organ_figures(ct, organs.labels, WANTED).items():
        figures |= {name: mean, f"{name}_sd": deviation}
    return figures


def _told(figures: dict[str, object]) -> dict[str, object]:
    """JSON knows no NaN: what could not be measured is null."""
    return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in figures.items()}


def _halved(values: np.ndarray) -> np.ndarray:
    """Mean of 2 x 2 pixels, a slice at a time."""
    return np.stack([part.reshape(part.shape[0] // 2, 2, -1, 2).mean((1, 3)) for part in values]).astype(np.float32)


def _on(labels: np.ndarray) -> LabelMap:
    return LabelMap(np.ascontiguousarray(labels), Geometry.from_spacing(labels.shape, (5.0, 1.5, 1.5)))


def table(facts: dict[str, object]) -> str:
    """Median (10th to 90th percentile) over the patients of each column."""
    rows: dict[str, dict[str, dict[str, float]]] = facts["rows"]  # type: ignore[assignment]
    names = list(dict.fromkeys(name for row in rows["synthetic"].values() for name in row))
    rows = {**rows, "same": {p: rows["synthetic"][p] for p in rows["real_whole"]}}
    columns = {
        "real": "real: lits512 (windowed)",
        "synthetic": "synthetic, portal venous",
        "real_whole": "real: ircad01, ircad07",
        "same": "synthetic: the same two maps",
    }
    lines = [
        "# Real and synthetic CT by the same figures",
        "",
        f"`{facts['command']}`, hepar {facts['version']}.",
        "Median (10th to 90th percentile) over patients; HU at 256 x 256 pixels. `noise`: robust deviation after",
        "subtracting a 5 x 5 mean; `ahead_n`: its correlation n pixels on; shares are of the body",
        "that the experts left undrawn, on slices with liver (in 11 of 15 maps that",
        "includes the lungs, so compare shares in the last two columns). Statistics only: closeness of these figures",
        "does not prove that a network learns the same from both.",
        "",
        "| figure | " + " | ".join(f"{title} (n={len(rows[key])})" for key, title in columns.items()) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for name in names:
        cells = [_cell([row[name] for row in rows[key].values() if name in row]) for key in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(values: list[float]) -> str:
    known = np.array([v for v in values if v is not None])
    if not known.size:
        return "–"
    digits = 2 if np.abs(known).max() < 2 else 1
    low, middle, high = np.percentile(known, (10, 50, 90))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    main()
