"""The benchmarks' modules, importable by their bare names as when one is started, and only here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

HOME = Path(__file__).resolve().parents[2] / "benchmarks"
NAMES = tuple(path.stem for path in HOME.glob("*.py"))


@pytest.fixture(scope="module")
def benchmark_named() -> Iterator[object]:
    """benchmark_named("pairs") is the module benchmarks/pairs.py."""
    sys.path.insert(0, str(HOME))

    def imported(name: str) -> ModuleType:
        assert name in NAMES, f"there is no benchmarks/{name}.py"
        return import_module(name)

    yield imported
    sys.path.remove(str(HOME))
    for name in NAMES:
        sys.modules.pop(name, None)
