"""A training plan on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from hepar.service.console import console, say

if TYPE_CHECKING:
    from hepar.study.self_configuration import TrainingPlan


def show_plan(plan: TrainingPlan) -> None:
    """Each choice with its reason, and the command that would choose the same by hand."""
    table = Table("what", "chosen", "why", title="training plan")
    for row in plan.rows:
        table.add_row(escape(row.what), escape(row.chosen), escape(row.why))
    console.print(table)
    words = " ".join(f"--set {setting}" for setting in plan.settings)
    thin = f", scans thinned to {plan.slice_step_mm:g} mm" if plan.slice_step_mm else ""
    say(f"by hand: hepar train {plan.method} DATA -o RUN {words}{thin}")
