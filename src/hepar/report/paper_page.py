"""The page of a study: tables, claims, readings, discrepancies and figures, in one file without scripts or network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import hepar
from hepar.report.paper_figures import Drawing
from hepar.study.reproduce.documents import PaperDocuments
from hepar.study.reproduce.tables import PaperTable
from hepar.study.reproduce.writing import (
    CLAIMS_HEAD,
    SHEET_HEAD,
    SPREAD_HEAD,
    TESTS_HEAD,
    TRAINED,
    claims_rows,
    comparison_rows,
    head_of,
    rows_of,
    sheet_rows,
    spread_rows,
)

CAPTIONS = {
    "fig1": "Fig. 1: from a slice to its label map.",
    "fig2": "Fig. 2: preprocessing, and below each stage the red box enlarged.",
    "fig3": "Fig. 3: layers of the network with the channels and size of what each gives; heights are logarithmic.",
    "fig5": "Fig. 5: liver above, tumour below; Dice of this slice, by arm.",
    "curves": "Training loss of each network, by epoch. Dashed: not converged, supports no claim.",
}


@dataclass(frozen=True, eq=False)
class Shown:
    """What stands on the page beside the documents: figures, how their slice was chosen, files, version."""

    drawings: Sequence[Drawing]
    rule: str
    files: Sequence[str]
    version: str


def paper_page(documents: PaperDocuments, shown: Shown) -> str:
    """The page as HTML; the same study gives the same text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("hepar.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("paper.html.j2").render(
        documents=documents,
        disclaimer=hepar.DISCLAIMER,
        figures=[(one, CAPTIONS[one.name], _data(one)) for one in shown.drawings],
        rule=shown.rule,
        files=shown.files,
        version=shown.version,
        tables=[_table(table) for table in (documents.table1, documents.table2, documents.ablations)],
        claims=(CLAIMS_HEAD, claims_rows(documents.claims)),
        spreads=(SPREAD_HEAD, spread_rows(documents)),
        sheet=(SHEET_HEAD, sheet_rows(documents)),
    )


def _table(table: PaperTable) -> dict[str, object]:
    """Its columns without the long one, which stands below as a list."""
    head, rows = head_of(table), rows_of(table)
    long = head.index(TRAINED)
    body = ([*head[:long], *head[long + 1 :]], [[*row[:long], *row[long + 1 :]] for row in rows])
    trained = [(f"{row[0]}, {row[1]}".removesuffix(", "), row[long]) for row in rows if row[long] != "–"]
    tests = (TESTS_HEAD, comparison_rows(table)) if table.tests else None
    return {"title": table.title, "body": body, "trained": trained, "tests": tests}


def _data(drawing: Drawing) -> str:
    """A picture that no drawing can stand for is embedded."""
    return "" if drawing.svg and drawing.name != "fig5" else base64.b64encode(drawing.png).decode()
