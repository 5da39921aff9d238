"""One table of a cohort, made from the files of its cases: nothing to lose, and nothing for two writers to fight over.

A finished case is its `ID.json`; one that failed has `ID.failed.json`. The
table `cohort.csv` holds what both say, for all cases in the folder, whoever
worked on them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from hepar.files import write_json, write_text

FAILED = ".failed.json"
TABLE = "cohort.csv"
COLUMNS = ("case", "status", "voxels", "labels", "model", "engine", "liver_ml", "tumour_ml", "tumours", "seconds",
           "attempts", "message")  # fmt: skip


def note_failure(folder: Path, case: str, message: str, attempts: int) -> None:
    """Raises OutputError where it cannot be written."""
    write_json(folder / f"{case}{FAILED}", {"case": case, "message": message, "attempts": attempts})


def forget_failure(folder: Path, case: str) -> None:
    (folder / f"{case}{FAILED}").unlink(missing_ok=True)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """A row a case, by name; files that are no case's are passed over. A finished case has not failed."""
    failed = dict(_failures(folder))
    finished = dict(_finished(folder))
    return [finished.get(case) or failed[case] for case in sorted(failed | finished)]


def write_table(folder: Path) -> list[dict[str, Any]]:
    """`cohort.csv` from what lies in the folder; gives its rows. Raises OutputError."""
    rows = rows_of(folder)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / TABLE, text.getvalue())
    return rows


def _failures(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in folder.glob(f"*{FAILED}"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            facts = json.loads(path.read_text(encoding="utf-8"))
            case = path.name.removesuffix(FAILED)
            told = {"message": str(facts["message"]), "attempts": int(facts["attempts"])}
            yield case, dict.fromkeys(COLUMNS, "") | {"case": case, "status": "failed"} | told


def _finished(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in folder.glob("*.json"):
        if path.name.endswith(FAILED):
            continue
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            facts = json.loads(path.read_text(encoding="utf-8"))
            case = path.name.removesuffix(".json")
            told = {
                "voxels": facts["voxels"],
                # Results of earlier versions do not say.
                "labels": facts.get("labels", ""),
                "model": facts["model"]["name"],
                "engine": facts["engine"],
                "liver_ml": round(facts["volumes"]["liver_ml"], 3),
                "tumour_ml": round(facts["volumes"]["tumour_ml"], 3),
                "tumours": len(facts["tumours"]),
                "seconds": round(sum(facts["seconds"].values()), 2),
            }
            yield case, dict.fromkeys(COLUMNS, "") | {"case": case, "status": "segmented"} | told
