"""What is published about a method, and which of our choices its authors documented.

Every file of `methods/` exports one `CARD`; `hepar methods` prints it. The name
of this file begins with "_", so it is no method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Published:
    """One published Dice, 0 to 1, of "liver" or "tumour", and the data and split it was measured on.

    None where the authors give none that can be compared; `note` says what to know when reading it.
    """

    structure: Literal["liver", "tumour"]
    dice: float | None
    data: str
    note: str = ""


@dataclass(frozen=True)
class Choices:
    """Settings that the authors documented, and those that are ours because they did not."""

    documented: tuple[str, ...] = ()
    recommended: tuple[str, ...] = ()


@dataclass(frozen=True)
class MethodCard:
    """A method as its authors published it, and how this one follows.

    `kind`: "2D joint", "cascade", "classical" and the like. `input`: what a
    network sees, with its window. `parameters`: trainable ones of all networks
    of `method` together, None where there is no network.
    """

    title: str
    authors: str
    year: int
    kind: str
    input: str
    published: tuple[Published, ...]
    choices: Choices
    parameters: int | None = None
