"""Protocols: each says what it computes, its one empty rule, its figures, and scores one case.

A protocol is one file with `NAME`, `DEFINITION`, `EMPTY_RULE`, `FIGURES` and
`score(pair) -> ProtocolScores`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hepar.errors import BadInput
from hepar.metrics.figures import FigureSpec, ProtocolScores
from hepar.metrics.pair import LabelPair
from hepar.metrics.protocols import lits, lits_codalab, paper

__all__ = ["PROTOCOLS", "Protocol", "chosen"]


@dataclass(frozen=True)
class Protocol:
    """A way of scoring, with its definition in words."""

    name: str
    definition: str
    empty_rule: str
    figures: tuple[FigureSpec, ...]
    score: Callable[[LabelPair], ProtocolScores]


PROTOCOLS = {
    module.NAME: Protocol(module.NAME, module.DEFINITION, module.EMPTY_RULE, module.FIGURES, module.score)
    for module in (lits_codalab, lits, paper)
}


def chosen(names: tuple[str, ...] = ()) -> tuple[Protocol, ...]:
    """The protocols asked for, all of them when none is. Raises BadInput for an unknown name."""
    unknown = [name for name in names if name not in PROTOCOLS]
    if unknown:
        raise BadInput(f"there is no protocol {', '.join(unknown)}; expected {', '.join(PROTOCOLS)}")
    return tuple(PROTOCOLS[name] for name in names or PROTOCOLS)
