"""Who imports whom in src/fastnn: there are no circles, and each part imports only the parts below it.

Every import counts, also those inside functions and under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from support.documents import ROOT

SOURCE = ROOT / "src"

#: The parts of the package, from the ground up. Parts in one row do not import each other.
FLOORS = (
    ("_version",),
    ("_kernels",),
    ("_core",),
    ("random", "stages", "datasets", "threadpool", "reference", "metrics"),
    ("_chain", "init", "preprocessing"),
    ("augment", "functional", "fastnn"),  # `import fastnn` loads neither the functions nor what is above them
    ("cuda", "nn", "cs231n"),
    ("ensemble", "models"),
    ("optim", "_model_files"),
    ("train", "sklearn"),
    ("_check", "_warm_up", "search"),
    ("bench",),
    ("cli",),
    ("__main__",),
)

#: Parts that are loaded on demand: the importing part must do so inside a function, or for types alone.
ON_DEMAND = {
    ("_core", "cuda"),
    ("nn", "cuda"),
    ("cuda", "_warm_up"),
    ("init", "nn"),
    ("fastnn", "_model_files"),
    ("fastnn", "_check"),
}


class Import(NamedTuple):
    """That one module imports another."""

    importer: str
    imported: str
    at_once: bool  # when the importer is loaded


def module_of(file: Path) -> str:
    """The sources of the binding are one module, which is compiled."""
    if file.suffix != ".py":
        return "fastnn._kernels"
    names = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


FILES = [file for kind in ("py", "pyx", "pxi") for file in sorted(SOURCE.rglob(f"*.{kind}"))]
MODULES = {module_of(file) for file in FILES}


def imported_names(file: Path) -> Iterator[tuple[str, bool]]:
    """Dotted names that a file imports, and whether it does so as soon as it is loaded."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        for indent, package, names in re.findall(r"^( *)from (fastnn\S*) import (.+?)(?:#.*)?$", text, re.M):
            yield from ((f"{package}.{name.strip()}", not indent) for name in names.split(","))
        return
    tree = ast.parse(text)
    package = file.parent.relative_to(SOURCE).parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((each.name, node in tree.body) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            origin = ".".join([*base, node.module] if node.module else base)
            yield from ((f"{origin}.{each.name}", node in tree.body) for each in node.names)


def imports() -> Iterator[Import]:
    for file in FILES:
        for name, at_once in imported_names(file):
            target = name if name in MODULES else name.rpartition(".")[0]  # a module, or a name in one
            if target in MODULES and target != module_of(file):
                yield Import(module_of(file), target, at_once)


def part(module: str) -> str:
    return module.split(".")[1] if "." in module else module


IMPORTS = list(imports())
FLOOR = {name: floor for floor, row in enumerate(FLOORS) for name in row}


def test_there_are_no_circles() -> None:
    graph: dict[str, list[str]] = {}
    for each in IMPORTS:
        graph.setdefault(each.importer, []).append(each.imported)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_parts_import_parts_below_them() -> None:
    assert {part(module) for module in MODULES} == FLOOR.keys()
    wrong = [
        each
        for each in IMPORTS
        if (pair := (part(each.importer), part(each.imported))) and pair[0] != pair[1]
        if FLOOR[pair[0]] <= FLOOR[pair[1]] and (pair not in ON_DEMAND or each.at_once)
    ]
    assert not wrong


def test_the_reference_stands_apart_from_the_kernels() -> None:
    """It is what they are compared with."""
    found, new = set[str](), {module for module in MODULES if part(module) == "reference"}
    while new:
        found |= new
        new = {each.imported for each in IMPORTS if each.importer in new} - found
    assert {part(module) for module in found} == {"reference", "_core"}
    assert "fastnn._kernels" not in found


def test_the_command_loads_what_it_is_asked_for() -> None:
    at_once = {each.imported for each in IMPORTS if each.importer == "fastnn.cli" and each.at_once}
    assert {part(module) for module in at_once} == {"fastnn", "_core"}


def test_cuda_is_loaded_when_an_array_on_a_gpu_is_met() -> None:
    outside = [each for each in IMPORTS if part(each.imported) == "cuda" and part(each.importer) != "cuda"]
    assert outside
    assert {part(each.importer) for each in outside if each.at_once} <= {"_warm_up", "bench"}
