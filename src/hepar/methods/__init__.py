"""The registry of methods is this folder: one file per paper.

A file's name is the method's name, its first docstring line the description.
It exports `method`, a `CARD`, and `variants` if there are any. Files in the
folders that HEPAR_METHODS names (several separated as in PATH) are methods too.
"""

from __future__ import annotations

import os
import pkgutil
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from hepar.errors import BadInput
from hepar.methods._card import MethodCard

FOLDERS_VARIABLE = "HEPAR_METHODS"


def names() -> list[str]:
    """All methods, without importing them. Raises BadInput as `own_files` does."""
    return sorted(set(_shipped()) | set(own_files()))


def get(name: str) -> Any:
    """A method by name, or `name/variant`.

    Raises BadInput for an unknown name, naming the known ones, and for a file without `method`.
    """
    base, _, variant = name.partition("/")
    module = _module(base)
    if not hasattr(module, "method"):
        raise BadInput(f"{base}.py exports no `method`; docs/adding_a_method.md shows one")
    if not variant:
        return module.method
    known = getattr(module, "variants", {})
    if variant not in known:
        raise BadInput(f"{base} has no variant {variant}; there are {', '.join(sorted(known)) or 'none'}")
    return known[variant]


def description(name: str) -> str:
    """First line of the method's docstring."""
    return _docstring(name).splitlines()[0] if _docstring(name) else ""


def remarks(name: str) -> str:
    """The rest of the docstring: where the method differs from its paper."""
    return _docstring(name).partition("\n")[2].strip()


def card(name: str) -> MethodCard | None:
    """The method's card; None where its file has none."""
    found = getattr(_module(name), "CARD", None)
    return found if isinstance(found, MethodCard) else None


def variant_names(name: str) -> list[str]:
    return sorted(getattr(_module(name), "variants", {}))


def own_files() -> dict[str, Path]:
    """Methods in the folders of HEPAR_METHODS, by name.

    Raises BadInput when one of these is no folder, or a file there bears the name of another method.
    """
    found: dict[str, Path] = {}
    for folder in map(Path, filter(None, os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep))):
        if not folder.is_dir():
            raise BadInput(f"{FOLDERS_VARIABLE} names {folder.name}, which is no folder; make it or correct the name")
        for path in sorted(folder.glob("*.py")):
            if path.stem.startswith("_"):
                continue
            if path.stem in found or path.stem in _shipped():
                raise BadInput(f"{path.name} in {folder.name} bears the name of another method; rename the file")
            found[path.stem] = path
    return found


def _shipped() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]


def _module(name: str) -> ModuleType:
    if name in _shipped():
        return import_module(f"{__name__}.{name}")
    if name in (own := own_files()):
        return _own_module(name, own[name])
    raise BadInput(f"no method is called {name}; there are {', '.join(names())}")


def _own_module(name: str, path: Path) -> ModuleType:
    """The module of a file beyond the package, run once however often it is asked for."""
    key = f"{__name__}.{name}"
    known = sys.modules.get(key)
    if known is not None and known.__file__ == str(path):
        return known
    spec = spec_from_file_location(key, path)
    assert spec is not None and spec.loader is not None  # it ends with .py
    module = module_from_spec(spec)
    # Dataclasses look for their module while they are made.
    sys.modules[key] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[key]
        raise
    return module


def _docstring(name: str) -> str:
    return (_module(name).__doc__ or "").strip()
