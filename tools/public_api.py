"""The public names and their signatures, and what of them a release would break.

`python -m tools.public_api` writes public_api.txt beside this file: the interface that the last release has
promised (docs/stability.md). tests/tools/test_public_api.py compares it with today's. The file is written
anew with each release, and with a change that is meant to break something.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

#: The modules of the reference, whose `__all__` is public; fastnn.cuda is provisional.
MODULES = tuple(
    page
    for page in re.findall(
        r"^api/(\S+)$", (Path(__file__).parents[1] / "docs/api.md").read_text("utf-8"), re.M
    )
    if page != "fastnn.cuda"
)
_MEMBERS = (FunctionType, classmethod, staticmethod, property)
BASELINE = Path(__file__).with_suffix(".txt")
HEAD = """\
# The public interface that must not break (docs/stability.md), written by python -m tools.public_api.
"""


def public_api() -> dict[str, str]:
    """Every public name, dotted, with its signature without types; "" for what cannot be called."""
    found: dict[str, str] = {}
    for module in map(importlib.import_module, MODULES):
        for name in module.__all__:
            value = getattr(module, name)
            if not (inspect.ismodule(value) or name.startswith("_")):
                found[f"{module.__name__}.{name}"] = _signature(value)
            if inspect.isclass(value):
                found |= {f"{module.__name__}.{name}.{m}": s for m, s in _members(value)}
    return dict(sorted(found.items()))


def read() -> dict[str, str]:
    """What BASELINE has, as `public_api` returns it."""
    lines = [line for line in BASELINE.read_text().splitlines() if not line.startswith("#")]
    return {name: bracket + rest for name, bracket, rest in (line.partition("(") for line in lines)}


def broken(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """What `new` lacks of `old`, and calls that were right and are not, or have another meaning."""
    problems = []
    for name, signature in old.items():
        if name not in new:
            problems.append(f"{name} is gone")
        elif new[name] != signature:
            problems += [f"{name}{new[name]}: {problem}" for problem in _broken_call(signature, new[name])]
    return problems


def _members(owner: type) -> Iterator[tuple[str, str]]:
    """Methods and properties that a class of fastnn has beyond those of its public bases."""
    for name in dir(owner):
        where = next((base for base in owner.__mro__ if name in vars(base)), owner)
        if name.startswith("_") or not where.__module__.startswith("fastnn"):
            continue
        if not isinstance(inspect.getattr_static(owner, name), _MEMBERS):
            continue
        signature = _signature(getattr(owner, name))
        bases = [base for base in owner.__mro__[1:] if hasattr(base, name) and _is_public(base)]
        if not bases or _signature(getattr(bases[0], name)) != signature:
            yield name, signature


@functools.cache
def _is_public(owner: type) -> bool:
    """Whether the class is a name of MODULES, so that its members have lines of their own."""
    modules = (importlib.import_module(name) for name in MODULES)
    return any(getattr(module, owner.__name__, None) is owner for module in modules)


class _Default:
    """The default of a parameter, shown as text that Python can parse; "..." for an object that has none."""

    def __init__(self, value: object) -> None:
        text = getattr(value, "__qualname__", None) or repr(value)
        self.text = "..." if "<" in text else text

    def __repr__(self) -> str:
        return self.text


def _signature(value: Any) -> str:
    if not callable(value):
        return ""
    try:
        signature = inspect.signature(value)
    except ValueError:  # a class or a function of C without one
        return "(*args, **kwargs)"
    parameters = [
        parameter.replace(
            annotation=parameter.empty,
            default=parameter.empty if parameter.default is parameter.empty else _Default(parameter.default),
        )
        for parameter in signature.parameters.values()
        if parameter.name != "self"
    ]
    return str(signature.replace(parameters=parameters, return_annotation=signature.empty))


class _Parameters(NamedTuple):
    """Of a signature: all by place, the names that may be given by keyword, and defaults."""

    by_place: list[str]
    by_name: set[str]
    defaults: dict[str, str]
    starred: set[str]  # "*", "**": which take any number of arguments

    @property
    def required(self) -> set[str]:
        return {*self.by_place, *self.by_name} - {*self.defaults}


def _parameters(signature: str) -> _Parameters:
    (function,) = ast.parse(f"def f{signature}: ...").body
    assert isinstance(function, ast.FunctionDef)
    a = function.args
    by_place = [argument.arg for argument in (*a.posonlyargs, *a.args)]
    by_name = [argument.arg for argument in (*a.args, *a.kwonlyargs)]
    last = by_place[len(by_place) - len(a.defaults) :]
    defaults = [*zip(last, a.defaults, strict=True), *zip(by_name[len(a.args) :], a.kw_defaults, strict=True)]
    return _Parameters(
        by_place,
        {*by_name},
        {name: ast.unparse(value) for name, value in defaults if value is not None},
        {mark for mark, argument in (("*", a.vararg), ("**", a.kwarg)) if argument},
    )


def _broken_call(old_text: str, new_text: str) -> list[str]:
    """Why a call that fits the old signature may not fit the new one, or mean another."""
    if not old_text or not new_text:
        return [f"was {'called: ' + old_text if old_text else 'a value'}"]
    old, new = _parameters(old_text), _parameters(new_text)
    problems = [f"no longer takes {mark}arguments" for mark in sorted(old.starred - new.starred)]
    places = itertools.zip_longest(old.by_place, new.by_place[: len(old.by_place)])
    if "*" not in new.starred and any(a != b for a, b in places if b is None or a in old.by_name):
        problems.append(f"took {', '.join(old.by_place)} by place")
    if "**" not in new.starred and (missing := old.by_name - new.by_name):
        problems.append(f"took {', '.join(sorted(missing))} by name")
    given = {a for a, b in zip(new.by_place, old.by_place, strict=False) if b in old.required}
    if needed := new.required - old.required - given:
        problems.append(f"needs {', '.join(sorted(needed))}")
    for name, value in old.defaults.items():
        if name in new.defaults and new.defaults[name] != value:
            problems.append(f"had the default {name}={value}")
    return problems


def main() -> None:
    """Write BASELINE."""
    lines = [f"{name}{signature}" for name, signature in public_api().items()]
    BASELINE.write_text(HEAD + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
