"""Table 2 of the paper in its third form: published, with the correction of its split | this bench | what differs.

Columns never mix: a published figure is of other patients, by other scorers,
after trainings that a bench's budget cannot repeat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hepar import methods
from hepar.study.crossval_table import Row
from hepar.study.reproduce.published import TABLE2
from hepar.study.reproduce.results import CellResult

DICES = {"liver": "liver_dice", "tumour": "tumour_dice"}


def table2(by_name: Mapping[str, Row], facts: Mapping[str, Any]) -> list[Row]:
    """The paper's rows in its order; a method that was not run says so."""
    rows = []
    for row in TABLE2:
        published = [
            {"structure": structure, "dice": dice, "data": f"{row.split}, as the paper prints it", "note": ""}
            for structure, dice in (("liver", row.liver_dice), ("tumour", row.tumour_dice))
        ]
        rows.append(_row(row.method, row.title, published, row.correction, by_name, facts))
    return rows


def others(by_name: Mapping[str, Row], facts: Mapping[str, Any]) -> list[Row]:
    """Every other method: what its own authors published, and on what."""
    paper = {row.method for row in TABLE2}
    rows = []
    for name in (name for name in by_name if name not in paper):
        card = methods.card(name.split("/")[0])
        published = [vars(one) for one in card.published] if card else []
        title = f"{card.authors.split(',')[0]} {card.year}" if card else name
        rows.append(_row(name, title, published, "", by_name, facts))
    return rows


def differences(cells: Sequence[CellResult]) -> list[str]:
    """What differs from the method's own recipe, in the words of its finished folds, each once."""
    told: list[str] = []
    for cell in cells:
        facts = cell.facts
        told += facts["differs"]
        told += [
            f"window of {_span(window['asked'])} HU not testable: the data hold {_span(window['used'])}"
            for window in facts["windows_hu"]
            if not window["testable"]
        ]
        told += [f"{stage}: {start}" for stage, start in facts["encoders"].items() if start.startswith("random")]
        if facts.get("matrix"):
            told.append(f"slices of at most {facts['matrix']} pixels a side")
    return list(dict.fromkeys(told))


def _row(
    name: str,
    title: str,
    published: list[dict[str, Any]],
    correction: str,
    by_name: Mapping[str, Row],
    facts: Mapping[str, Any],
) -> Row:
    own = by_name.get(name)
    ran = bool(own and own["folds"])
    return {
        "method": name,
        "title": title,
        "published": published,
        "correction": correction,
        "ours": {structure: own["figures"].get(figure) if own and ran else None for structure, figure in DICES.items()},
        "state": own["state"] if own else "not run",
        "differs": _data(own, facts) + own["differs"] if own and ran else [],
    }


def _data(own: Row, facts: Mapping[str, Any]) -> list[str]:
    """What was trained and tested on here."""
    sizes = [facts["fold_sizes"][fold] for fold in own["folds"]]
    trained, tested = sizes[0][0], sum(size[1] for size in sizes)
    folds = f"fold {own['folds'][0]}" if len(sizes) == 1 else f"{len(sizes)} folds"
    budget = facts["order"]["budget_minutes"]
    return [
        f"{facts['label']}: {folds}, {trained} patients train, {tested} are tested",
        f"a budget of {budget:.3g} minutes",
    ]


def _span(window: Sequence[float]) -> str:
    return f"{window[0]:g} to {window[1]:g}".replace("-", "−")
