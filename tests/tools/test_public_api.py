"""No public name, and no call of one, that the last release promised is broken: docs/stability.md."""

from __future__ import annotations

import pytest

from support.cases import each
from support.documents import ROOT
from tools.public_api import MODULES, broken, public_api, read

# Not in the list: the commands; arrays on GPUs, which are provisional; what fastnn itself exports; an import
# without names.
OTHERS = {"bench", "cli", "cuda", "random", "threadpool"}

HOW = """
This breaks programs. Keep the old way for a time, with a DeprecationWarning (docs/stability.md). If it is
meant to break: a line in CHANGELOG.md under Changed or Removed, and `python -m tools.public_api`."""


def test_nothing_public_is_broken() -> None:
    for package in ("optuna", "sklearn"):
        pytest.importorskip(package)
    problems = broken(read(), public_api())
    assert not problems, "\n".join(problems) + HOW


def test_every_module_is_public_or_is_known_not_to_be() -> None:
    paths = (ROOT / "src" / "fastnn").iterdir()
    names = {path.stem for path in paths if path.is_dir() or path.suffix == ".py"}
    listed = {name.split(".")[1] for name in MODULES if "." in name}
    assert {name for name in names if not name.startswith("_")} == listed | OTHERS


@each(
    ("old", "new", "problem"),
    [
        ("(a)", None, "f is gone"),
        ("(a)", "", "f: was called: (a)"),
        ("", "(a)", "f(a): was a value"),
        ("(a, b)", "(b, a)", "f(b, a): took a, b by place"),
        ("(a, b=1)", "(a)", "f(a): took a, b by place"),
        ("(a)", "(x, /)", "f(x, /): took a by place"),
        ("(a)", "(a, /)", "f(a, /): took a by name"),
        ("(*, a)", "(*, b=0)", "f(*, b=0): took a by name"),
        ("(a, b=1)", "(a, b=2)", "f(a, b=2): had the default b=1"),
        ("(a, b=1)", "(a, b)", "f(a, b): needs b"),
        ("(a)", "(a, *, b)", "f(a, *, b): needs b"),
        ("(*a)", "(a=1)", "f(a=1): no longer takes *arguments"),
        ("(**options)", "()", "f(): no longer takes **arguments"),
        ("(a)", "(a, b=1, *, c=2)", None),
        ("(a, *, b='x')", '(a, b="x", **others)', None),
        ("(a, /, b)", "(x, b)", None),
        ("(a)", "(*args, **kwargs)", None),
        ("(a=1)", "(a=1)", None),
    ],
)
def test_what_breaks_a_call(old: str, new: str | None, problem: str | None) -> None:
    found = broken({"f": old}, {} if new is None else {"f": new, "g": "()"})
    assert found[:1] == ([] if problem is None else [problem])
