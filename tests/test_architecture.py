"""The house as ARCHITECTURE.md describes it: the import ladder, where torch may appear, how large things grow."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src" / "hepar").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

# Lowest first. A room may import from its own rung and from below.
LADDER = (
    {"errors", "files"},
    {"geometry", "volume"},
    {"io", "preprocess", "postprocess", "metrics", "classical"},
    {"cases", "datasets", "predictions", "method", "cascade"},
    {"nets", "inference"},
    {"training"},
    {"methods"},
    {"study", "doctor"},
    {"report"},
    {"service"},
    {"cli", "cli_bench", "cli_study", "cli_reproduce", "cli_engine", "cli_dicom", "cli_node", "cli_report", "__main__"},
)
RUNG = {room: height for height, rooms in enumerate(LADDER) for room in rooms}
TRAINING_LIBRARIES = {"torch", "safetensors", "onnx", "onnxscript"}
TORCH_ROOMS = {"nets", "training", "methods"}
TORCH_BACKEND = "hepar.inference.backends.pytorch"
# Their functions have as many options as users need.
COMMANDS = ("hepar.cli", "hepar.cli_bench", "hepar.cli_study", "hepar.cli_reproduce")
NO_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read_sources() -> dict[str, str]:
    return {module_name(path): path.read_text(encoding="utf-8") for path in SOURCES}


def imports(source: str, modules: set[str]) -> Iterator[tuple[int, str]]:
    """Line and full name of every module that a source imports, anywhere in it, TYPE_CHECKING included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            home = node.module or ""
            assert node.level == 0, f"line {node.lineno}: relative import; write the full name"
            for alias in node.names:
                inner = f"{home}.{alias.name}"
                yield node.lineno, inner if inner in modules else home


def room_of(module: str) -> str:
    """`io` of `hepar.io.nifti`; empty for the package itself, which stands below all rungs."""
    return module.split(".")[1] if "." in module else ""


def ladder_violations(sources: dict[str, str]) -> list[str]:
    """Imports that point up. The package's own face, `hepar`, looks names up lazily and is left out."""
    found = []
    for module, source in sources.items():
        if module == "hepar":
            continue
        for line, target in imports(source, set(sources)):
            if target.split(".")[0] != "hepar" or target == "hepar":
                continue
            if RUNG[room_of(target)] > RUNG[room_of(module)]:
                found.append(f"{module}:{line} imports {target}")
    return found


def torch_violations(sources: dict[str, str]) -> list[str]:
    return [
        f"{module}:{line} imports {target}"
        for module, source in sources.items()
        for line, target in imports(source, set(sources))
        if target.split(".")[0] in TRAINING_LIBRARIES and room_of(module) not in TORCH_ROOMS and module != TORCH_BACKEND
    ]


def cycle(sources: dict[str, str]) -> list[str]:
    """Modules of one import cycle, or none."""
    graph = {
        module: {target for _, target in imports(source, set(sources)) if target in sources and target != "hepar"}
        for module, source in sources.items()
        if module != "hepar"
    }
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for target in sorted(graph[module] - {module}):
            if found := visit(target, [*path, module]):
                return found
        done.add(module)
        return []

    return next((found for module in sorted(graph) if (found := visit(module, []))), [])


def functions(source: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    """All but self and cls."""
    a = function.args
    every = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
    return [p for p in every if p.arg not in ("self", "cls")]


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or 0) - function.body[0].lineno + 1


def is_annotated(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return function.returns is not None and all(p.annotation is not None for p in parameters(function))


def test_imports_point_down_the_ladder():
    assert ladder_violations(read_sources()) == []


def test_every_room_stands_on_a_rung():
    assert {room_of(module) for module in read_sources()} - {""} <= RUNG.keys()


FORBIDDEN = {
    "at the top": "from hepar.training.loop import fit",
    "a whole module": "import hepar.training.loop",
    "by its room": "from hepar import training",
    "inside a function": "def f():\n    from hepar.training import loop",
    "for types only": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from hepar.training.loop import Tick",
}


@pytest.mark.parametrize("where", FORBIDDEN)
def test_an_import_that_points_up_is_caught_wherever_it_stands(where):
    rooms = {"hepar": "", "hepar.training": "", "hepar.training.loop": ""}
    assert len(ladder_violations(rooms | {"hepar.inference.slab": FORBIDDEN[where]})) == 1
    assert len(ladder_violations(rooms | {"hepar.volume": FORBIDDEN[where]})) == 1
    assert ladder_violations(rooms | {"hepar.methods.new_paper": FORBIDDEN[where]}) == []


def test_the_report_stands_below_the_service():
    rooms = {"hepar": "", "hepar.report.summary": "", "hepar.service.batch": ""}
    up, down = "from hepar.service import batch", "from hepar.report import summary"
    assert len(ladder_violations(rooms | {"hepar.report.summary": up})) == 1
    assert ladder_violations(rooms | {"hepar.service.batch": down}) == []


def test_torch_appears_only_where_networks_are_made_trained_and_run():
    assert torch_violations(read_sources()) == []


@pytest.mark.parametrize("source", ["import torch", "from torch import nn", "def f():\n    import safetensors.torch"])
def test_torch_elsewhere_is_caught(source):
    assert len(torch_violations({"hepar.inference.segmenter": source})) == 1
    assert len(torch_violations({"hepar.inference.backends.openvino": source})) == 1
    assert torch_violations({"hepar.nets.unet": source, TORCH_BACKEND: source}) == []


def test_no_module_imports_itself_around_a_corner():
    assert cycle(read_sources()) == []


def test_a_cycle_is_caught():
    sources = {
        "hepar.io.a": "from hepar.io import b",
        "hepar.io.b": "def f():\n    import hepar.io.c",
        "hepar.io.c": "from hepar.io.a import x",
    }
    assert cycle(sources) == ["hepar.io.a", "hepar.io.b", "hepar.io.c", "hepar.io.a"]
    del sources["hepar.io.c"]
    assert cycle(sources) == []


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_below_400_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 400


def test_function_bodies_stay_below_60_lines():
    long = {
        f"{module}.{f.name}": body_lines(f)
        for module, source in read_sources().items()
        for f in functions(source)
        if body_lines(f) >= 60
    }
    assert long == {}


def test_functions_take_up_to_6_parameters():
    many = {
        f"{module}.{f.name}": len(parameters(f))
        for module, source in read_sources().items()
        for f in functions(source)
        # A command has as many options as its users need.
        if len(parameters(f)) > 6 and module not in COMMANDS
    }
    assert many == {}


def test_at_least_nine_functions_of_ten_are_annotated():
    every = [is_annotated(f) for source in read_sources().values() for f in functions(source)]
    assert sum(every) >= 0.9 * len(every)


def test_no_module_is_called_a_name_that_says_nothing():
    words = {word for module in read_sources() for word in module.split(".")}
    assert words & NO_NAMES == set()


def test_tests_are_at_least_seven_tenths_of_the_code():
    code, tests = (
        sum(1 for path in paths for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
        for paths in (SOURCES, TESTS)
    )
    assert tests >= 0.7 * code


def test_the_measures_see_what_they_should():
    (f,) = functions("def f(self, a, /, b: int, *c: int, d: int = 1, **e: int) -> None:\n    '''x'''\n\n    return a")
    assert len(parameters(f)) == 5
    assert body_lines(f) == 3
    assert not is_annotated(f)
    (g,) = functions("async def g(a: int) -> int:\n    return a")
    assert is_annotated(g)
