"""An invented scoreboard document, as the page and the files get it: two methods, a few cases, every kind of table."""

from __future__ import annotations

import base64

import numpy as np

from hepar.geometry import Geometry
from hepar.report.thumbnail import error_thumbnail
from hepar.volume import LIVER, TUMOUR, LabelMap

FIGURES = (
    ("liver_dice", "Liver Dice per case", "", "high", True),
    ("tumour_dice", "Tumour Dice per case", "", "high", True),
    ("liver_assd_mm", "Liver ASSD", "mm", "low", True),
    ("liver_rvd", "Liver RVD (signed)", "", None, False),
)


def thumbnail(seed: int) -> str:
    """A small invented liver with a tumour that was found beside its place."""
    rng = np.random.default_rng(seed)
    z, y, x = np.ogrid[:6, :90, :110]
    liver = ((y - 45) / 35) ** 2 + ((x - 50) / 42) ** 2 <= 1
    at, radius = rng.integers(25, 70, 2), rng.uniform(4, 12)
    truth, found = np.zeros((6, 90, 110), np.uint8), np.zeros((6, 90, 110), np.uint8)
    truth[np.broadcast_to(liver, truth.shape)] = LIVER
    found[np.broadcast_to(np.roll(liver, rng.integers(-4, 5), axis=2), truth.shape)] = LIVER
    truth[((z - 3) * 3) ** 2 + (y - at[0]) ** 2 + (x - at[1]) ** 2 <= radius**2] = TUMOUR
    found[((z - 3) * 3) ** 2 + (y - at[0] - 3) ** 2 + (x - at[1]) ** 2 <= (0.8 * radius) ** 2] = TUMOUR
    grid = Geometry.from_spacing(truth.shape, (5.0, 2.2, 2.2))
    return base64.b64encode(error_thumbnail(LabelMap(truth, grid), LabelMap(found, grid))).decode()


def invented_case(name: str, method: str, rng: np.random.Generator) -> dict:
    liver, tumour = rng.lognormal(7.3, 0.25), rng.lognormal(2.5, 1.2)
    found_liver, found_tumour = liver * rng.normal(1.01, 0.03), tumour * rng.lognormal(-0.1, 0.4)
    values = {
        "liver_dice": rng.beta(120, 6),
        "tumour_dice": rng.beta(5, 3),
        "liver_assd_mm": rng.lognormal(0.6, 0.4),
        "liver_rvd": found_liver / liver - 1,
    }
    return {
        "case": name,
        "method": method,
        "error": None,
        "facts": {
            "spacing_mm": [5.0, 0.7, 0.7],
            "shape": [120, 512, 512],
            "slice_thickness_mm": 5.0,
            "truth_liver_ml": liver,
            "found_liver_ml": found_liver,
            "truth_tumour_ml": tumour,
            "found_tumour_ml": found_tumour,
            "truth_burden": tumour / liver,
            "found_burden": found_tumour / found_liver,
            "lesions": int(rng.integers(1, 9)),
            "largest_lesion_mm": 23.4,
        },
        "values": {"lits": values, "lits-codalab": {"lesion_dice_per_case": values["tumour_dice"]}},
        "details": {},
        "deviations": ["IoU > 0.5: official says TP -1, corrected TP 1: one prediction over two lesions"],
        "notes": [],
        "thumbnail": thumbnail(int(rng.integers(1000))),
    }


def figure_rows(methods, cases) -> list[dict]:
    rows = []
    for name, title, unit, better, main in FIGURES:
        for method in methods:
            own = np.array([c["values"]["lits"][name] for c in cases if c["method"] == method and not c["error"]])
            rows.append(
                {"method": method, "name": name, "title": title, "unit": unit, "better": better, "main": main}
                | {"value": own.mean(), "low": own.mean() * 0.95, "high": own.mean() * 1.05}
                | {"count": len(own), "excluded": 2, "missed": 1}
            )
    return rows


def invented_board(methods=("nnU-Net 3d_fullres", "cdnn_alex"), count=5) -> dict:
    rng = np.random.default_rng(5)
    cases = [invented_case(str(n), method, rng) for method in methods for n in range(count)]
    figures = figure_rows(methods, cases)
    pairs = [] if len(methods) < 2 else [(methods[0], methods[1])]
    compared = {"difference": 0.0421, "low": -0.01, "high": 0.08, "wilcoxon_p": 0.0123, "wilcoxon_holm": 0.0369}
    compared |= {"permutation_p": 0.00001, "permutation_holm": 0.3, "effect_dz": 0.41, "rank_biserial": -0.25}
    names = [f[0] for f in FIGURES[:3]]
    return {
        "hepar": "0.2.0",
        "disclaimer": "For research use only.",
        "command": "hepar evaluate labels nnunet.zip cdnn",
        "bootstrap": {"draws": 2000, "seed": 2018, "unit": "patient", "level": 0.95},
        "methods": list(methods),
        "cases": cases,
        "protocols": [
            {"name": "lits-codalab", "definition": "The official scorer.", "empty_rule": "Both empty: 1.",
             "left_out": [{"reason": "it crashes on a truth without lesion", "cases": ["32", "34"]}],
             "figures": [row | {"name": "lesion_dice_per_case"} for row in figures if row["name"] == "tumour_dice"]},
            {"name": "lits", "definition": "One-to-one matching.", "empty_rule": "Both empty: not defined.",
             "left_out": [], "figures": figures},
        ],
        "official_against_corrected": [
            {"method": method, "official_name": "lesion_assd", "corrected_name": "tumour_assd_mm", "official": 1.234,
             "corrected": 5.6, "difference": 4.366, "reason": "official: detected lesions only"} for method in methods
        ],
        "comparisons": [
            {"protocol": "lits", "figure": name, "first": a, "second": b, "cases": count} | compared
            for name in names for a, b in pairs
        ],
        "comparison_note": "first minus second" if pairs else "comparisons need at least two methods",
        "ranks": [
            {"protocol": "lits", "figure": name, "method": method, "cases": count, "mean_rank": 1.25,
             "first_share": 0.75, "kendall_tau": 0.5}
            for name in names for method in methods if pairs
        ],
        "subgroups": [
            {"protocol": "lits", "figure": name, "method": method, "by": "lesion size", "group": group, "value": 0.5,
             "low": 0.4, "high": None, "count": 3, "cases": 4}
            for name in names for method in methods for group in ("largest <10 mm", "largest >20 mm")
        ],
        "unmatched": [{"side": "truth", "method": methods[0], "case": "9", "file": "segmentation-9.nii"}],
        "notes": ["read as a zip"],
        "froc": None,
        "calibration": None,
    }  # fmt: skip
