"""The cross-validation document as Markdown to read and CSV to compute with."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
Document = Mapping[str, Any]
NONE = "–"
# Resamples of two patients have three different means; their interval would look like knowledge.
FEWEST_FOR_INTERVAL = 5
_FIGURES = ("section", "subset", "figure", "unit", "method", "mean", "mean_low", "mean_high", "median", "median_low",
            "median_high", "patients", "left_out", "missed", "rule")  # fmt: skip


def markdown(document: Document) -> str:
    """Every table; the empty-mask policy stands beside every mean."""
    lines = [f"Empty rule: {document['empty_rule']}", "", *(line for note in document["notes"] for line in (note, ""))]
    for section in document["sections"]:
        lines += [f"## {section}", ""]
        lines += _figures(document, section) + _lesions(document, section)
        lines += _false_alarms(document, section) + _comparisons(document, section)
    if document["without"]:
        lines += ["## Cases without a prediction", ""]
        lines += [f"- {row['method']}: {row['case']} (fold {row['fold']})" for row in document["without"]] + [""]
    return "\n".join([*lines, "## Patients", "", *_patients(document)]) + "\n"


def figures_csv(document: Document) -> str:
    """Means and medians, one line a section, subset, figure and method."""
    return _csv(_FIGURES, document["figures"])


def patients_csv(document: Document) -> str:
    """One line a group, patient and method, with all its numbers."""
    rows = [{**row, "folds": " ".join(map(str, row["folds"]))} for row in document["patients"]]
    return _csv(tuple(dict.fromkeys(key for row in rows for key in row)), rows)


def seeds_markdown(document: Document) -> str:
    """Means by seed and their spread, then paired differences, of what `seeds_document` gives."""
    lines = _head(["figure", "group", "setting", "patients", "seeds", "mean of seeds", "SD of seeds", "empty masks"])
    for row in document["means"]:
        seeds = ", ".join(_number(value, 3) for value in row["seeds"])
        figures = [seeds, _number(row["mean"], 3), _number(row["sd_of_seeds"], 3)]
        lines.append(_line([row["title"], row["group"], row["setting"], row["patients"], *figures, row["rule"]]))
    head = ["paired, mean of seeds of a patient", "patients", "difference [95 %]", "permutation p (Holm)", "d_z"]
    lines += ["", *_head(head)]
    for row in document["differences"]:
        what = f"{row['title']}, {row['group']}: {row['first']} − {row['second']}"
        difference = f"{_number(row['difference'], 3)}{_interval(row['low'], row['high'], 3, row['patients'])}"
        test = f"{_p(row['permutation_p'])} ({_p(row['permutation_holm'])})"
        lines.append(_line([what, row["patients"], difference, test, _number(row["effect_dz"], 2)]))
    return "\n".join(lines) + "\n"


def _csv(columns: Sequence[str], rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if _undefined(value) else value for key, value in row.items()})
    return text.getvalue()


def _figures(document: Document, section: str) -> list[str]:
    """A line a figure and subset; mean and median with intervals, a column a method."""
    methods = document["methods"]
    own = [row for row in document["figures"] if row["section"] == section]
    lines = _head(["figure, mean and median [95 %]", "patients", *methods, "empty masks"])
    for figure, subset in dict.fromkeys((row["figure"], row["subset"]) for row in own):
        rows = {row["method"]: row for row in own if (row["figure"], row["subset"]) == (figure, subset)}
        any_row = next(iter(rows.values()))
        title = f"{any_row['title']} {any_row['unit']}".strip()
        cells = [_figure_cell(rows.get(method)) for method in methods]
        lines.append(_line([title, subset, *cells, any_row["rule"]]))
    return [*lines, ""]


def _figure_cell(row: Row | None) -> str:
    if row is None or not row["patients"]:
        return f"{NONE} (n 0)"
    places = 1 if row["unit"] == "mm" else 3
    mean, middle = (
        f"{_number(row[name], places)}{_interval(row[f'{name}_low'], row[f'{name}_high'], places, row['patients'])}"
        for name in ("mean", "median")
    )
    counts = f"n {row['patients']}" + "".join(
        f", {row[key]} {word}" for key, word in (("left_out", "left out"), ("missed", "missed")) if row[key]
    )
    return f"{mean}; median {middle} ({counts})"


def _lesions(document: Document, section: str) -> list[str]:
    own = [row for row in document["lesions"] if row["section"] == section]
    if not own:
        return []
    titles = {"any": "IoU > 0", "half": "IoU > 0.5"}
    methods = document["methods"]
    lines = _head(["lesions, pooled [95 %]", "patients", *methods, "empty masks"])
    for key in dict.fromkeys((row["figure"], row["overlap"], row["subset"]) for row in own):
        rows = {row["method"]: row for row in own if (row["figure"], row["overlap"], row["subset"]) == key}
        name = {"small_lesion_recall": "recall of lesions < 2 mL"}.get(key[0], key[0].removeprefix("lesion_"))
        cells = [_ratio_cell(rows.get(method)) for method in methods]
        lines.append(_line([f"{name}, {titles[key[1]]}", key[2], *cells, next(iter(rows.values()))["rule"]]))
    return [*lines, ""]


def _ratio_cell(row: Row | None) -> str:
    if row is None or _undefined(row["value"]):
        return NONE
    part = "" if row["figure"] == "lesion_f1" else f" ({row['top']:g} of {row['bottom']:g})"
    return f"{_number(row['value'], 3)}{_interval(row['low'], row['high'], 3, row['patients'])}{part}"


def _false_alarms(document: Document, section: str) -> list[str]:
    own = [row for row in document["false_alarms"] if row["section"] == section]
    if not own:
        return []
    lines = _head(["false alarms in tumour-free patients", "patients", "scans", "lesions", "a scan [exact 95 %]", "mL"])
    for row in own:
        each = f"{_number(row['per_scan'], 2)}{_interval(row['low'], row['high'], 2)}"
        facts = [row["method"], row["patients"], row["scans"], row["lesions"], each, _number(row["ml_per_scan"], 1)]
        lines.append(_line(facts))
    return [*lines, ""]


def _comparisons(document: Document, section: str) -> list[str]:
    own = [row for row in document["comparisons"] if row["section"] == section]
    if not own:
        return []
    head = ["paired, per patient", "patients", "difference [95 %]", "Wilcoxon p (Holm)", "permutation p (Holm)", "d_z"]
    lines = _head(head)
    for row in own:
        what = f"{row['title']}, {row['subset']}: {row['first']} − {row['second']}"
        difference = f"{_number(row['difference'], 3)}{_interval(row['low'], row['high'], 3, row['patients'])}"
        tests = [f"{_p(row[f'{t}_p'])} ({_p(row[f'{t}_holm'])})" for t in ("wilcoxon", "permutation")]
        lines.append(_line([what, row["patients"], difference, *tests, _number(row["effect_dz"], 2)]))
    return [*lines, ""]


def _patients(document: Document) -> list[str]:
    """A line a patient: tumour of the truth, then liver and tumour Dice of each method."""
    methods = document["methods"]
    lines = _head(["group", "patient", "folds", "tumour mL", *(f"{m}: liver, tumour Dice" for m in methods)])
    by_patient: dict[tuple[str, str], dict[str, Row]] = {}
    for row in document["patients"]:
        by_patient.setdefault((row["group"], row["patient"]), {})[row["method"]] = row
    for (group, patient), rows in by_patient.items():
        first = next(iter(rows.values()))
        folds = " ".join(map(str, first["folds"]))
        cells = [
            f"{_number(rows[m]['liver_dice'], 3)}, {_number(rows[m]['tumour_dice'], 3)}" if m in rows else NONE
            for m in methods
        ]
        lines.append(_line([group, patient, folds, _number(first["truth_tumour_ml"], 1), *cells]))
    return lines


def _head(columns: Sequence[str]) -> list[str]:
    return [_line(columns), "|" + "---|" * len(columns)]


def _line(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _number(value: float | None, places: int) -> str:
    return NONE if value is None or _undefined(value) else f"{value:.{places}f}".replace("-", "−")


def _interval(low: float | None, high: float | None, places: int, patients: int = FEWEST_FOR_INTERVAL) -> str:
    """Empty where there is none, and where a bootstrap over so few patients means nothing."""
    if _undefined(low) or _undefined(high) or patients < FEWEST_FOR_INTERVAL:
        return ""
    return f" [{_number(low, places)}, {_number(high, places)}]"


def _p(value: float | None) -> str:
    if value is None or _undefined(value):
        return NONE
    return "< .001" if value < 0.001 else f"{value:.3f}"


def _undefined(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
