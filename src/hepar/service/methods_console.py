"""The methods on the terminal: a table of all, and the card of one."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from hepar import methods
from hepar.methods._card import MethodCard, Published
from hepar.service.console import console, say

NOTHING = "-"


def show_methods() -> None:
    """One row a method; a method without a card shows its description alone."""
    # Narrow terminals have no room for margins between columns.
    table = Table(box=box.SIMPLE, show_edge=False, padding=(0, 0, 1, 0))
    table.add_column("method", no_wrap=True)
    table.add_column("year", no_wrap=True)
    for header in ("kind", "parameters", "input", "published Dice", "choices"):
        table.add_column(header, no_wrap=header == "parameters", overflow="fold")
    for name in methods.names():
        card = methods.card(name)
        table.add_row(name, *(map(escape, _cells(card)) if card else ("", "", "", escape(methods.description(name)))))
    console.print(table)
    say("Published figures are the authors' or, where said, others'; each is of its own data and split: none compares")
    say("with another. choices: settings that authors documented / that are ours because they did not.")
    say("`hepar methods NAME` prints a method's card with all choices and variants.")


def show_card(name: str) -> None:
    """What is published about a method, how this one follows and where it differs. Raises BadInput as `get` does."""
    base = name.partition("/")[0]
    methods.get(name)
    say(f"{base}: {methods.description(base)}")
    card = methods.card(base)
    if card:
        say(f"  paper       {card.title}. {card.authors}, {card.year}")
        say(f"  kind        {card.kind}")
        say(f"  input       {card.input}")
        say(f"  parameters  {_exactly(card.parameters)}")
        _listed("published", [_figure(one) for one in card.published] or ["nothing: it is hepar's own"])
        _listed("documented by the authors", card.choices.documented)
        _listed("recommended, since they did not say", card.choices.recommended)
    _listed("variants", [f"{base}/{variant}" for variant in methods.variant_names(base)])
    if remarks := methods.remarks(base):
        say("")
        say(remarks)


def parameters_in_words(count: int | None) -> str:
    """56.9 M, 725 k; a dash for a method without a network."""
    if count is None:
        return NOTHING
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e3:.0f} k"


def published_in_words(figures: Sequence[Published]) -> list[str]:
    """Lines such as "liver 0.904, tumour 0.624: LiTS"; figures of the same data share one, unknown ones have none."""
    by_data: dict[str, list[str]] = {}
    for one in figures:
        if one.dice is not None:
            by_data.setdefault(one.data, []).append(f"{one.structure} {_dice(one.dice)}")
    return [f"{', '.join(found)}: {data}" for data, found in by_data.items()] or [NOTHING]


def _cells(card: MethodCard) -> tuple[str, ...]:
    choices = f"{len(card.choices.documented)} / {len(card.choices.recommended)}"
    published = "\n".join(published_in_words(card.published))
    return str(card.year), card.kind, parameters_in_words(card.parameters), card.input, published, choices


def _exactly(count: int | None) -> str:
    return "no network" if count is None else f"{count:,}"


def _figure(one: Published) -> str:
    dice = "no comparable figure" if one.dice is None else f"Dice {_dice(one.dice)}"
    return f"{one.structure}: {dice}, {one.data}" + (f" ({one.note})" if one.note else "")


def _dice(value: float) -> str:
    return f"{value:.3f}"


def _listed(title: str, lines: Sequence[str]) -> None:
    if lines:
        say(f"  {title}")
    for line in lines:
        say(f"    - {line}")
