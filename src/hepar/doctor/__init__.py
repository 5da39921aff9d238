"""Data set -> Diagnosis: what is wrong with it, what can be repaired, and the repair into a new folder.

    diagnosis = examine("LITS", Options(against=Path("MSD")))
    for row in rows(diagnosis): ...     # or console.print(render(diagnosis))
    repair(diagnosis, "LITS_repaired")  # originals are never touched

Each check is a pure function from a case in memory to findings.
"""

from hepar.doctor.examination import Options, examine
from hepar.doctor.findings import Diagnosis, Finding, Remedy
from hepar.doctor.repairing import RepairReport, repair
from hepar.doctor.table import render, rows, to_json

__all__ = [
    "Diagnosis",
    "Finding",
    "Options",
    "Remedy",
    "RepairReport",
    "examine",
    "render",
    "repair",
    "rows",
    "to_json",
]
