"""One page for every method, from its card: what its authors published, what they documented, what is ours."""

from __future__ import annotations

from pathlib import Path

from hepar import methods
from hepar.methods._card import MethodCard, Published


def write_method_pages(folder: Path) -> None:
    """A page each and an index, into `folder`, which is made; only what has changed is written anew."""
    folder.mkdir(exist_ok=True)
    pages = {f"{name}.md": _page(name) for name in methods.names()}
    pages["index.md"] = _index()
    for old in folder.glob("*.md"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _index() -> str:
    lines = [
        "# Methods",
        "",
        "Each is one file of `hepar/methods`, and `hepar train NAME DATA -o RUN` trains it. Published figures are "
        "their authors', on their data and splits; they are no results of hepar.",
        "",
        "| method | year | kind | parameters | published Dice |",
        "|---|---|---|---|---|",
    ]
    for name in methods.names():
        card = methods.card(name)
        if card is None:
            lines.append(f"| [{name}]({name}.md) | | | | {methods.description(name)} |")
            continue
        figures = "; ".join(_short(one) for one in card.published if one.dice is not None) or "n/a"
        parameters = f"{card.parameters:,}" if card.parameters else "none"
        lines.append(f"| [{name}]({name}.md) | {card.year} | {card.kind} | {parameters} | {figures} |")
    lines += ["", "```{toctree}", ":hidden:", "", *methods.names(), "```", ""]
    return "\n".join(lines)


def _page(name: str) -> str:
    card = methods.card(name)
    lines = [f"# {name}", "", methods.description(name), ""]
    if card is not None:
        lines += _facts(card)
    remarks = methods.remarks(name)
    if remarks:
        lines += ["## How ours differs", "", remarks, ""]
    variants = methods.variant_names(name)
    lines += ["## Train it", "", "```bash", f"hepar train {name} DATA -o runs/{name}"]
    lines += [f"hepar train {variant} DATA -o runs/{variant.replace('/', '_')}" for variant in variants]
    lines += ["```", ""]
    return "\n".join(lines)


def _facts(card: MethodCard) -> list[str]:
    lines = [f"*{card.title}* {card.authors}, {card.year}", "", "| | |", "|---|---|", f"| kind | {card.kind} |"]
    parameters = f"{card.parameters:,}" if card.parameters else "no network"
    lines += [f"| input | {card.input} |", f"| parameters | {parameters} |", ""]
    for title, points in (
        ("Published", [_long(one) for one in card.published]),
        ("Documented by its authors", list(card.choices.documented)),
        ("Recommended, since they did not say", list(card.choices.recommended)),
    ):
        if points:
            lines += [f"## {title}", "", *(f"- {point}" for point in points), ""]
    return lines


def _short(one: Published) -> str:
    return f"{one.structure} {one.dice:.3f}"


def _long(one: Published) -> str:
    dice = "no comparable Dice" if one.dice is None else f"Dice {one.dice:.3f}"
    note = f" ({one.note})" if one.note else ""
    return f"{one.structure}: {dice}, {one.data}{note}"
