"""Documents of a study as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hepar.files import write_json, write_text
from hepar.study.reproduce.arm_results import MEASURES, NO_VALUE, Measure, Value
from hepar.study.reproduce.claims import Claim
from hepar.study.reproduce.documents import PaperDocuments
from hepar.study.reproduce.tables import PaperTable, TableRow

MINUS = "−"
TRAINED = "how ours was trained"
Rows = list[list[str]]


def write_tables(documents: PaperDocuments, folder: Path) -> list[Path]:
    """`paper.json`, `tables.md`, and a CSV and a LaTeX file for each table. Gives what was written."""
    texts = {"tables.md": markdown(documents), **csv_files(documents), **latex_files(documents)}
    write_json(folder / "paper.json", documents.to_json())
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in ("paper.json", *texts)]


def number(value: float | None, digits: int = 3) -> str:
    """As tables print it; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.{digits}f}".replace("-", MINUS)


def digits_of(measure: Measure) -> int:
    return 1 if measure.spec.unit == "mm" else 3


def ours_text(value: Value, digits: int) -> str:
    """Value, interval, count and misses: ".904 [.880, .921] (n 26, 2 missed)"."""
    if not value.count:
        return "–"
    low, high = value.interval.low, value.interval.high
    interval = "" if math.isnan(low) else f" [{number(low, digits)}, {number(high, digits)}]"
    missed = f", {value.missed} missed" if value.missed else ""
    return f"{number(value.value, digits)}{interval} (n {value.count}{missed})"


def head_of(table: PaperTable) -> list[str]:
    """Columns: the row's name, its state, then published, ours and their difference of each measure that is there."""
    columns = ["arm", "preprocessing", "state", "patients"]
    for measure in measures_of(table):
        unit = f", {measure.spec.unit}" if measure.spec.unit else ""
        if any(measure.name in row.published for row in table.rows):
            columns += [f"{measure.title}, published", f"{measure.title}{unit}, ours here", "difference"]
        else:
            columns.append(f"{measure.title}{unit}, ours here")
    return [
        *columns,
        "how ours was trained",
        *(["published split", "what the sources say"] if has_splits(table) else []),
    ]


def rows_of(table: PaperTable) -> Rows:
    """A text for each cell of `head_of`."""
    return [_row(table, row) for row in table.rows]


def measures_of(table: PaperTable) -> list[Measure]:
    """All four, but where nothing was published of ASSD (Table 2) the two DSC alone."""
    if any(row.published for row in table.rows):
        return [m for m in MEASURES if any(m.name in row.published for row in table.rows)]
    return list(MEASURES)


def has_splits(table: PaperTable) -> bool:
    return any(row.split for row in table.rows)


def _row(table: PaperTable, row: TableRow) -> list[str]:
    cells = [row.title, row.preprocessing, row.state, str(row.patients or "–")]
    for measure in measures_of(table):
        digits = digits_of(measure)
        ours = ours_text(row.ours.get(measure.name, NO_VALUE), digits)
        if any(measure.name in other.published for other in table.rows):
            # Published ASSD has two decimals; ours must not look more exact than it is.
            printed = number(row.published.get(measure.name), 2 if digits == 1 else 3)
            cells += [printed, ours, number(row.difference(measure.name), digits)]
        else:
            cells.append(ours)
    return [*cells, row.protocol or "–", *([row.split or "–", row.correction or "–"] if has_splits(table) else [])]


TESTS_HEAD = ["first − second", "figure", "patients", "difference [95 %]", "Wilcoxon p", "Holm", "permutation p", "d_z"]


def comparison_rows(table: PaperTable) -> Rows:
    """The paired tests below a table."""
    titles = {measure.name: (measure.title, digits_of(measure)) for measure in MEASURES}
    rows = []
    for one in table.tests:
        (title, digits), test = titles[one.measure], one.test
        rows.append([
            f"{one.first} {MINUS} {one.second}", title, str(test.patients),
            f"{number(test.mean_difference, digits)} [{number(test.interval.low, digits)}, "
            f"{number(test.interval.high, digits)}]",
            number(test.wilcoxon_p), number(one.p), number(test.permutation_p), number(test.effect_dz, 2),
        ])  # fmt: skip
    return rows


CLAIMS_HEAD = ["claim", "from", "figure", "patients", "first − second [95 %]", "verdict", "state of the arms", "note"]


def claims_rows(all_claims: Iterable[Claim]) -> Rows:
    """A row for each answer; one for a claim without any."""
    rows = []
    for claim in all_claims:
        start = [claim.question.text, claim.question.paper or "hepar's question"]
        end = [claim.state, claim.question.note or "–"]
        for answer in claim.answers:
            test, digits = answer.test, digits_of(answer.measure)
            told = f"{number(test.mean_difference, digits)} [{number(test.interval.low, digits)}, "
            told += f"{number(test.interval.high, digits)}]"
            rows.append([*start, answer.measure.title, str(test.patients), told, answer.verdict, *end])
        if not claim.answers:
            rows.append([*start, "–", "–", "–", "not run", *end])
    return rows


SPREAD_HEAD = ["figure", "arm", "lowest", "reading", "highest", "reading", "apart"]


def spread_rows(documents: PaperDocuments) -> Rows:
    """How far the readings of each figure lie apart."""
    rows = []
    for one in documents.aggregation.spreads:
        digits = 3 if "DSC" in one.kind else 1
        ends = []
        for end in (one.lowest, one.highest):
            ends += [number(end.value, digits), f"{end.protocol}: {end.figure}; {end.condition} (n {end.count})"]
        rows.append([one.kind, one.arm, *ends, number(one.width, digits)])
    return rows


SHEET_HEAD = ["the paper says", "what is found", "consequence", "how known"]


def sheet_rows(documents: PaperDocuments) -> Rows:
    return [[one.paper, one.found, one.consequence, one.how] for one in documents.discrepancies]


def markdown(documents: PaperDocuments) -> str:
    """Everything on one page of text."""
    parts = [
        f"# The paper's study on {documents.label}",
        "Published figures are the paper's, on LiTS, 130 scans, 4 folds; ours are of the data named above. They stand "
        f"in columns of their own and answer different questions unless the data are LiTS. {documents.headline}",
        f"Empty rule: {documents.empty_rule}",
        "An arm whose loss has not flattened is not converged and supports no claim. Research use only.",
    ]
    for table in (documents.table1, documents.table2, documents.ablations):
        parts += [f"## {table.title}", markdown_table(head_of(table), rows_of(table))]
        if table.tests:
            parts.append(markdown_table(TESTS_HEAD, comparison_rows(table)))
    parts += ["## What these data say", markdown_table(CLAIMS_HEAD, claims_rows(documents.claims))]
    parts += ["## The same predictions under every reading", markdown_table(SPREAD_HEAD, spread_rows(documents))]
    parts += ["## Discrepancy sheet", markdown_table(SHEET_HEAD, sheet_rows(documents))]
    return "\n\n".join(parts) + "\n"


def markdown_table(head: Sequence[str], rows: Rows) -> str:
    lines = [list(head), ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)


def csv_files(documents: PaperDocuments) -> dict[str, str]:
    """Full precision, one file a table."""
    found = {}
    for name in ("table1", "table2", "ablations"):
        table: PaperTable = getattr(documents, name)
        found[f"{name}.csv"] = csv_of([flat(row.to_json()) for row in table.rows])
        if table.tests:
            found[f"{name}_tests.csv"] = csv_of([test.to_json() for test in table.tests])
    found["aggregation.csv"] = csv_of(documents.aggregation.to_json()["readings"])
    answers = [
        {**{key: value for key, value in claim.to_json().items() if key != "answers"}, **answer.to_json()}
        for claim in documents.claims
        for answer in claim.answers
    ]
    found["claims.csv"] = csv_of(answers)
    found["discrepancies.csv"] = csv_of([one.to_json() for one in documents.discrepancies])
    return found


def flat(row: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Nested dicts as columns "ours.liver_dice.low"."""
    found: dict[str, Any] = {}
    for key, value in row.items():
        found |= flat(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return found


def csv_of(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {k: "" if v is None or (isinstance(v, float) and math.isnan(v)) else v for k, v in row.items()} for row in rows
    )
    return text.getvalue()


ESCAPES = str.maketrans({"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "−": r"$-$", "–": "--"})


def latex_files(documents: PaperDocuments) -> dict[str, str]:
    """Tables 1 and 2 as `tabular` (booktabs), with the label of the data as a caption."""
    return {f"{name}.tex": _latex(getattr(documents, name), documents.label) for name in ("table1", "table2")}


def _latex(table: PaperTable, label: str) -> str:
    keep = [k for k, title in enumerate(head_of(table)) if title not in (TRAINED, "what the sources say")]
    lines = [[row[k].translate(ESCAPES) for k in keep] for row in (head_of(table), *rows_of(table))]
    body = [" & ".join(line) + r" \\" for line in lines]
    caption = f"{table.title}: published (LiTS, 130 scans) and ours ({label}).".translate(ESCAPES)
    return "\n".join([
        r"\begin{table}", rf"\caption{{{caption}}}", rf"\begin{{tabular}}{{{'l' * len(keep)}}}", r"\toprule", body[0],
        r"\midrule", *body[1:], r"\bottomrule", r"\end{tabular}", r"\end{table}", "",
    ])  # fmt: skip
