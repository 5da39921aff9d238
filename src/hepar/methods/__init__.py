"""The registry of methods is this folder: one file per paper.

A file's name is the method's name, its first docstring line the description.
It exports `method`, and `variants` if there are any.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Any

from hepar.errors import BadInput


def names() -> list[str]:
    """All methods, without importing them."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def get(name: str) -> Any:
    """A method by name, or `name/variant`.

    Raises BadInput for an unknown name, naming the known ones.
    """
    base, _, variant = name.partition("/")
    if base not in names():
        raise BadInput(f"no method is called {base}; there are {', '.join(names())}")
    module = import_module(f"{__name__}.{base}")
    if not variant:
        return module.method
    known = getattr(module, "variants", {})
    if variant not in known:
        raise BadInput(f"{base} has no variant {variant}; there are {', '.join(sorted(known)) or 'none'}")
    return known[variant]


def description(name: str) -> str:
    """First line of the method's docstring."""
    doc = import_module(f"{__name__}.{name}").__doc__ or ""
    return doc.strip().splitlines()[0]


def variant_names(name: str) -> list[str]:
    return sorted(getattr(import_module(f"{__name__}.{name}"), "variants", {}))
