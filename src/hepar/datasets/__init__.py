"""Data sets: one file each, which says whether a folder is of its kind and lists its cases.

A file exports `recognises(root) -> bool` and `cases(root) -> list[Case]`.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path

from hepar.cases import Case
from hepar.errors import BadInput


def names() -> list[str]:
    """The data sets that are told apart by their folders."""
    found = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return [name for name in found if hasattr(import_module(f"{__name__}.{name}"), "recognises")]


def open_cases(root: Path | str) -> list[Case]:
    """All labelled cases below `root`, whichever data set it is.

    Raises BadInput when no data set recognises the folder.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise BadInput(f"{folder.name} is not a folder; give the folder of a data set")
    for name in names():
        module = import_module(f"{__name__}.{name}")
        if module.recognises(folder):
            found: list[Case] = module.cases(folder)
            return found
    raise BadInput(f"{folder.name} is not a data set hepar knows; it knows {', '.join(names())}")
