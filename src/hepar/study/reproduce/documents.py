"""All that a study says in numbers: two tables, the aggregation table, the claims, the discrepancy sheet.

write_tables(paper_documents(Path("study")), Path("tables"))     # of `writing`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepar.metrics.protocols import PROTOCOLS
from hepar.study.reproduce.aggregation import Aggregation, aggregation
from hepar.study.reproduce.arm_results import MEASURES, ArmResult, arm_results
from hepar.study.reproduce.claims import Claim, claims
from hepar.study.reproduce.discrepancies import Discrepancy, discrepancies
from hepar.study.reproduce.results import read_study
from hepar.study.reproduce.tables import PaperTable, TableRow, table1, table2

HEADLINE = (
    "Ours: DSC and ASSD (mm) in 3D, mean over cases on all slices, liver with its tumours (protocol `paper`, per "
    "case); 95 % bootstrap interval over patients."
)


@dataclass(frozen=True)
class PaperDocuments:
    """What a study folder holds, ready to be written; `facts` is its `study.json`."""

    facts: dict[str, Any]
    arms: Mapping[tuple[str, str], ArmResult]
    table1: PaperTable
    table2: PaperTable
    ablations: PaperTable
    aggregation: Aggregation
    claims: tuple[Claim, ...]
    discrepancies: tuple[Discrepancy, ...]

    @property
    def headline(self) -> str:
        return HEADLINE

    @property
    def empty_rule(self) -> str:
        return PROTOCOLS["paper"].empty_rule

    @property
    def label(self) -> str:
        """What the figures are of, and what they are not."""
        return f"{self.facts['label']} ({', '.join(self.facts['evidence'])}; {self.facts['patients']} patients)"

    def to_json(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "headline": self.headline,
            "empty_rule": self.empty_rule,
            "measures": {m.name: m.spec.title for m in MEASURES},
            "table1": self.table1.to_json(),
            "table2": self.table2.to_json(),
            "ablations": self.ablations.to_json(),
            "aggregation": self.aggregation.to_json(),
            "claims": [claim.to_json() for claim in self.claims],
            "discrepancies": [one.to_json() for one in self.discrepancies],
        }


def paper_documents(study: Path) -> PaperDocuments:
    """Everything that the finished cells of a study folder allow to say. Raises BadInput when it is not one."""
    results = read_study(study)
    arms = arm_results(results)
    first, second = table1(arms), table2(arms)
    readings = aggregation(list(arms.values()))
    return PaperDocuments(
        results.facts,
        arms,
        first,
        second,
        _ablations(arms),
        readings,
        claims(arms),
        discrepancies(results.facts, arms, readings),
    )


def _ablations(arms: Mapping[tuple[str, str], ArmResult]) -> PaperTable:
    """Every arm that Tables 1 and 2 do not show."""
    shown = {("cdnn_resnet18", "with"), ("cdnn_resnet18", "without"), ("cdnn_alex", "with"), ("cdnn_alex", "without"),
             ("korabelnikov", "without"), ("cdnn_alex-literal", "with")}  # fmt: skip
    rows = []
    for key, arm in arms.items():
        if key not in shown:
            ours = {measure.name: arm.value(measure) for measure in MEASURES} if arm.cells else {}
            rows.append(TableRow(arm.title, arm.preprocessing, {}, ours, arm.state, arm.patients, arm.protocol))
    return PaperTable("Other arms", tuple(rows))
