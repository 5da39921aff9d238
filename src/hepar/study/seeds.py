"""Several seeds of one setting: what the settings differ by, and what chance alone differs by.

The unit stays the patient: a patient's value is the mean over the seeds of a
setting, so that more seeds make it surer and never more numerous. Beside it
stands the spread of the seeds' means, since one seed's lead within that spread
says nothing (Bouthillier et al. 2021, MLSys).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hepar.errors import BadInput
from hepar.study.crossval_table import COMPARED, EVERYBODY, PLACED, TUMOUR, Measure, subset_of
from hepar.study.statistics import paired_test, with_holm
from hepar.study.statistics.bootstrap import SEED

Row = Mapping[str, Any]
Settings = Mapping[str, Sequence[str]]
SUBSETS = dict(zip(COMPARED, (EVERYBODY, TUMOUR), strict=True))


def parse_settings(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """`base=base_s0,base_s1` to methods by setting, in their order. Raises BadInput for anything else."""
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, mark, methods = text.partition("=")
        runs = tuple(one.strip() for one in methods.split(",") if one.strip())
        if not mark or not name or len(set(runs)) < 2 or len(set(runs)) != len(runs) or name in found:
            raise BadInput(f"{text!r} is no setting; expected NAME=METHOD,METHOD,... with two or more, each name once")
        found[name] = runs
    if len(found) < 2:
        raise BadInput(f"{len(found)} settings; expected two or more to compare, the first one is compared with each")
    return found


def read_table(folder: Path) -> dict[str, Any]:
    """The document that `hepar study table` left in a folder. Raises BadInput without one."""
    try:
        found: dict[str, Any] = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder.name} holds no readable table.json; make it with `hepar study table`") from error
    return found


def seeds_document(document: Mapping[str, Any], settings: Settings, seed: int = SEED) -> dict[str, Any]:
    """Means by seed, their spread, and paired differences of the first setting from each other one.

    `document` is that of `hepar study table`. Raises BadInput when it lacks a method.
    """
    asked = [method for methods in settings.values() for method in methods]
    if missing := [method for method in asked if method not in document["methods"]]:
        raise BadInput(f"the table has no {', '.join(missing)}; it has {', '.join(document['methods'])}")
    patients = document["patients"]
    groups = [group for group in PLACED if any(row["group"] == group for row in patients)]
    sides = [(group, measure) for group in groups for measure in COMPARED]
    means, rows = [], []
    for group, measure in sides:
        values = _values(patients, group, measure)
        means += _means(values, settings, group, measure)
        rows += _differences(values, settings, (group, measure, seed))
    # Holm over all settings and both structures of a group.
    tested = [row for group in groups for row in with_holm([one for one in rows if one["group"] == group])]
    named = {name: list(methods) for name, methods in settings.items()}
    return {"settings": named, "means": means, "differences": tested}


Values = Mapping[str, Mapping[str, float]]


def _values(patients: Sequence[Row], group: str, measure: Measure) -> Values:
    """By method, then patient, where the measure is defined."""
    found: dict[str, dict[str, float]] = {}
    for row in patients:
        value = row.get(measure.name)
        if row["group"] != group or not subset_of(dict(row), SUBSETS[measure]):
            continue
        if value is not None and math.isfinite(value):
            found.setdefault(row["method"], {})[row["patient"]] = float(value)
    return found


def _means(values: Values, settings: Settings, group: str, measure: Measure) -> list[dict[str, Any]]:
    found = []
    for name, methods in settings.items():
        names = _shared(values, methods)
        seeds = [float(np.mean([values[m][p] for p in names])) for m in methods] if names else []
        spread = float(np.std(seeds, ddof=1)) if seeds else math.nan
        found.append(
            {"group": group, "figure": measure.name, "title": measure.title, "setting": name, "patients": len(names),
             "seeds": seeds, "mean": float(np.mean(seeds)) if seeds else math.nan, "sd_of_seeds": spread,
             "rule": measure.rule}
        )  # fmt: skip
    return found


def _differences(values: Values, settings: Settings, what: tuple[str, Measure, int]) -> list[dict[str, Any]]:
    group, measure, seed = what
    first, *others = settings
    found = []
    for other in others:
        names = _shared(values, [*settings[first], *settings[other]])
        if not names:
            continue
        one, two = (np.array([np.mean([values[m][p] for m in settings[s]]) for p in names]) for s in (first, other))
        row = {"group": group, "figure": measure.name, "title": measure.title, "first": first, "second": other}
        found.append(row | paired_test(one, two, names, seed).row())
    return found


def _shared(values: Values, methods: Sequence[str]) -> list[str]:
    """Patients that every one of the methods has."""
    own = [values.get(method, {}).keys() for method in methods]
    return sorted(set.intersection(*map(set, own))) if own else []
