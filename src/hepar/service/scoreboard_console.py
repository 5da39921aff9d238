"""The scoreboard on a terminal: one table a protocol, its definition and empty rule beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from hepar.report.scoreboard_page import FEWEST_FOR_INTERVAL
from hepar.service.console import console, say
from hepar.study.statistics import smallest_possible_p

if TYPE_CHECKING:
    from hepar.service.referee import Listener
    from hepar.study.scoreboard import ScoredCase

# A terminal full of differences helps nobody; the files hold all of them.
SHOWN_DEVIATIONS, SHOWN_CASES = 12, 20
TELLING = ("lesion_precision", "lesion_recall", "lesion_precision_greater_zero", "lesion_recall_greater_zero",
           "lesion_dice_per_case", "liver_dice_per_case", "MAXERROR_Tumorburden")  # fmt: skip
TESTS = {"p (W)": "wilcoxon_holm", "p (perm.)": "permutation_holm", "d_z": "effect_dz", "r": "rank_biserial"}


@contextmanager
def referee_listener() -> Iterator[Listener]:
    """Shows one bar over all cases with the time left, and a line for each case that failed."""
    columns = (TextColumn("scoring"), BarColumn(), TextColumn("{task.completed}/{task.total} cases"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("scoring", total=None)

        def listen(case: ScoredCase, done: int, count: int) -> None:
            bar.update(task, completed=done, total=count)
            if case.error and count > 1:
                bar.console.print(f"[red]failed[/red] {escape(_name(case))}: {escape(case.error)}", soft_wrap=True)

        yield listen


def _name(case: ScoredCase) -> str:
    return f"{case.case} ({case.method})"


def show_board(board: Mapping[str, Any]) -> None:
    """Everything a reader needs to trust or distrust the figures."""
    _show_notes(board)
    _show_unmatched(board)
    for protocol in board["protocols"]:
        _show_protocol(board, protocol)
    say("")
    say(
        "n: cases that count, of those scored; missed: scored by the rule's penalty; 95 % interval: bootstrap over "
        f"patients, shown from {FEWEST_FOR_INTERVAL} cases on and too narrow below 20 or so; more figures: -o or --json"
    )
    _show_cases(board)
    _show_official_against_corrected(board)
    _show_deviations(board)
    _show_comparisons(board)


def _show_notes(board: Mapping[str, Any]) -> None:
    """How files were read, and what was done to single cases."""
    for note in board["notes"]:
        say(note)
    several = len(board["methods"]) > 1
    said: dict[str, list[str]] = {}
    for case in board["cases"]:
        for note in case["notes"]:
            said.setdefault(note, []).append(f"{case['case']} ({case['method']})" if several else case["case"])
    for note, cases in list(said.items())[:SHOWN_DEVIATIONS]:
        say(f"case {', '.join(cases)}: {note}")
    if len(said) > SHOWN_DEVIATIONS:
        say(f"and {len(said) - SHOWN_DEVIATIONS} more notes; -o or --json hold all of them")


def _show_protocol(board: Mapping[str, Any], protocol: Mapping[str, Any]) -> None:
    say("")
    console.print(f"[bold]{protocol['name']}[/bold]: {escape(protocol['definition'])}", soft_wrap=True)
    say(f"Empty rule: {protocol['empty_rule']}")
    for group in protocol["left_out"]:
        say(f"left out of this table: {', '.join(group['cases'])}: {group['reason']}")
    cells = {(row["name"], row["method"]): row for row in protocol["figures"]}
    # The official scorer prints all its figures under these names.
    official = protocol["name"] == "lits-codalab"
    names = dict.fromkeys(row["name"] for row in protocol["figures"] if row["main"] or official)
    table = _table(board["methods"])
    for name in names:
        own = [cells[name, method] for method in board["methods"]]
        if not official and not any(row["count"] for row in own):
            continue
        unit = own[0]["unit"]
        title = name if official else own[0]["title"]
        shown = title if not unit or title.endswith(unit) else f"{title} ({unit})"
        table.add_row(escape(shown), *(text for row in own for text in _texts(row, len(own) == 1)))
    console.print(table)


def _table(methods: Sequence[str]) -> Table:
    if len(methods) == 1:
        return Table(*_whole(("figure", "value", "95 % interval", "n", "missed")))
    return Table(*_whole(("figure", *methods)))


def _whole(names: Sequence[str]) -> list[Column]:
    """Columns that fold what does not fit instead of cutting it."""
    return [Column(escape(name), overflow="fold") for name in names]


def _texts(row: Mapping[str, Any], alone: bool) -> tuple[str, ...]:
    """The cells of one figure: four for a lone method, else one."""
    interval = (
        ""
        if math.isnan(row["low"]) or row["count"] < FEWEST_FOR_INTERVAL
        else rf"\[{number(row['low'])}, {number(row['high'])}]"
    )
    counts = str(row["count"]) if not row["excluded"] else f"{row['count']} of {row['count'] + row['excluded']}"
    missed = str(row["missed"]) if row["missed"] else ""
    if alone:
        return number(row["value"]), interval, counts, missed
    said = f"{number(row['value'])} {interval} n {counts}"
    return (f"{said}, missed {missed}" if missed else said,)


def number(value: float | None) -> str:
    """Four significant digits at most, never an exponent for what a reader compares."""
    if value is None or math.isnan(value):
        return "n/a"
    size = abs(value)
    return f"{value:.1f}" if size >= 100 else f"{value:.2f}" if size >= 10 else f"{value:.3f}"


def _show_cases(board: Mapping[str, Any]) -> None:
    """The worst cases first, by tumour, then by liver."""
    scored = [case for case in board["cases"] if case["error"] is None and "lits" in case["values"]]
    if not scored:
        return
    several = len(board["methods"]) > 1
    columns = ("case", "liver Dice", "ASSD mm", "tumour Dice", "ASSD mm", "truth mL", "found mL")
    table = Table(*_whole(columns), title="cases (lits), worst first; mL: liver / tumour")
    for case in sorted(scored, key=_badness)[:SHOWN_CASES]:
        values, facts = case["values"]["lits"], case["facts"]
        measures = ("liver_dice", "liver_assd_mm", "tumour_dice", "tumour_assd_mm")
        volumes = (_volumes(facts, side) for side in ("truth", "found"))
        name = f"{case['case']} ({case['method']})" if several else case["case"]
        table.add_row(escape(name), *(number(values[key]) for key in measures), *volumes)
    console.print(table)
    if len(scored) > SHOWN_CASES:
        say(f"and {len(scored) - SHOWN_CASES} better ones; -o, --csv or --json hold all of them")


def _badness(case: Mapping[str, Any]) -> tuple[float, float]:
    values = case["values"]["lits"]
    tumour, liver = values["tumour_dice"], values["liver_dice"]
    return (2.0 if math.isnan(tumour) else tumour, 2.0 if math.isnan(liver) else liver)


def _volumes(facts: Mapping[str, Any], side: str) -> str:
    liver, tumour = facts[f"{side}_liver_ml"], facts.get(f"{side}_tumour_ml")
    return f"{liver:.0f} / {number(math.nan if tumour is None else tumour)}"


def _show_official_against_corrected(board: Mapping[str, Any]) -> None:
    rows = [row for row in board["official_against_corrected"] if row["method"] == board["methods"][0]]
    if not rows:
        return
    method = f", {board['methods'][0]} (others: -o or --json)" if len(board["methods"]) > 1 else ""
    total = [row for row in rows if row["case"] is None]
    moved = [row for row in total if row["reason"]]
    if moved:
        _show_differences(moved, f"official against corrected, all cases{method}")
        reasons: dict[str, list[str]] = {}
        for row in moved:
            reasons.setdefault(row["reason"], []).append(row["official_name"])
        for reason, names in reasons.items():
            say(f"  {', '.join(names)}: {reason}")
    same = [row["official_name"] for row in total if not row["reason"]]
    if same:
        say(f"official and corrected agree: {', '.join(same)}")
    # Which case moves a count or a Dice; the rest is the same from case to case.
    telling = [row for row in rows if row["case"] is not None and row["reason"] and row["official_name"] in TELLING]
    if telling:
        _show_differences(telling[:SHOWN_CASES], "official against corrected, case by case")
    if len(telling) > SHOWN_CASES:
        say(f"and {len(telling) - SHOWN_CASES} more; -o or --json hold all of them")


def _show_differences(rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Numbers only: reasons are sentences, and stand below."""
    by_case = rows[0]["case"] is not None
    table = Table(
        *_whole((*(("case",) if by_case else ()), "official figure", "official", "corrected", "difference")),
        title=escape(title),
    )
    for row in rows:
        numbers = (number(row[key]) for key in ("official", "corrected", "difference"))
        table.add_row(*((escape(row["case"]),) if by_case else ()), row["official_name"], *numbers)
    console.print(table)


def _show_deviations(board: Mapping[str, Any]) -> None:
    said = [(case, text) for case in board["cases"] for text in case["deviations"]]
    several = len(board["methods"]) > 1
    for case, text in said[:SHOWN_DEVIATIONS]:
        name = f"{case['case']} ({case['method']})" if several else case["case"]
        say(f"case {name}: {text}")
    if len(said) > SHOWN_DEVIATIONS:
        say(f"and {len(said) - SHOWN_DEVIATIONS} more deviations of the official scorer; -o or --json hold all of them")


def _show_comparisons(board: Mapping[str, Any]) -> None:
    say("")
    say(f"Comparisons: {board['comparison_note']}")
    rows = board["comparisons"]
    if not rows:
        return
    # The corrected protocol's stand for all on a terminal; the files hold every one.
    names = list(dict.fromkeys(row["protocol"] for row in rows))
    protocol = "lits" if "lits" in names else names[0]
    shown = [row for row in rows if row["protocol"] == protocol and row["cases"]]
    patients = max((row["patients"] for row in shown), default=0)
    if patients < FEWEST_FOR_INTERVAL:
        say(f"{patients} shared patients: differences only, as no test can tell anything below {FEWEST_FOR_INTERVAL}")
    tested = patients >= FEWEST_FOR_INTERVAL
    columns = ("first - second", "n", "difference", *(("95 % interval", *TESTS) if tested else ()))
    table = Table(Column("figure", no_wrap=True), *_whole(columns), title=protocol)
    for row in shown:
        table.add_row(*_comparison(row, tested))
    console.print(table)
    if tested:
        say(
            f"p: by Wilcoxon and by permutation, adjusted by Holm; with {patients} patients none is below "
            f"{smallest_possible_p(patients):.2g} before that. d_z: mean difference in its own standard deviations; r: "
            "rank-biserial correlation. Raw p and ranks: -o or --json"
        )


def _comparison(row: Mapping[str, Any], tested: bool) -> tuple[str, ...]:
    pair = escape(f"{row['first']} - {row['second']}")
    told = (row["figure"], pair, str(row["cases"]), number(row["difference"]))
    if not tested:
        return told
    interval = rf"\[{number(row['low'])}, {number(row['high'])}]"
    tests = (_p(row[key]) if key.endswith("_holm") else number(row[key]) for key in TESTS.values())
    return (*told, interval, *tests)


def _p(value: float) -> str:
    return "n/a" if math.isnan(value) else "<.001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def _show_unmatched(board: Mapping[str, Any]) -> None:
    """Before any figure: what the figures are not over."""
    for method in board["methods"]:
        own = [row for row in board["unmatched"] if row["method"] == method]
        scored = sum(case["method"] == method for case in board["cases"])
        lost = [row for row in own if row["side"] == "truth"]
        if lost:
            console.print(
                f"[yellow]{escape(method)}: {len(lost)} of {scored + len(lost)} references have no prediction and do "
                f"not count below[/yellow] ({_few(lost)}); --missing miss scores them as finding nothing",
                soft_wrap=True,
            )
        extra = [row for row in own if row["side"] == "found"]
        if extra:
            say(f"{method}: {len(extra)} predictions have no reference ({_few(extra)})")
        for row in own:
            if row["side"] == "ambiguous":
                say(f"{method}: case {row['case']} has several files and is not scored: {row['file']}")


def _few(rows: Sequence[Mapping[str, Any]]) -> str:
    names = [escape(row["file"]) for row in rows[:SHOWN_DEVIATIONS]]
    return ", ".join(names) + (f" and {len(rows) - SHOWN_DEVIATIONS} more" if len(rows) > SHOWN_DEVIATIONS else "")
