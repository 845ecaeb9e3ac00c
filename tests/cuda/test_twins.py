"""All that fastnn has for arrays of the CPU, it has for arrays on a GPU: functions, activations, rules.

A twin that is missing, or of another signature, fails a test here.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import fastnn.cuda
import fastnn.functional as F
from fastnn import _kernels
from fastnn._core import dispatch
from fastnn.cuda._core.twins import twin_of

pytestmark = pytest.mark.every_case  # they compile nothing

#: Modules of fastnn.cuda that stand beside none of fastnn's.
OWN = ("fastnn.cuda.kernels",)

#: Functions of fastnn.functional that take no arrays on a GPU, and why.
WITHOUT = dict.fromkeys(
    ("embedding", "embedding_backward"), "there is no kernel that adds up rows in an order"
)


def modules() -> Iterator[tuple[ModuleType, ModuleType]]:
    """Those of fastnn.cuda with the ones of fastnn that they stand beside."""
    for found in pkgutil.walk_packages(fastnn.cuda.__path__, "fastnn.cuda."):
        if found.name.startswith(OWN):
            continue
        try:
            original = importlib.import_module(found.name.replace("fastnn.cuda", "fastnn", 1))
        except ModuleNotFoundError:
            continue
        yield importlib.import_module(found.name), original


def defined(module: ModuleType) -> dict[str, Callable[..., Any]]:
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
    }


def is_public(module: ModuleType, name: str) -> bool:
    """Whether it is a function of a module for users, or of the compiled one."""
    for_users = module.__name__.startswith("fastnn.functional") or module is _kernels
    return for_users and not name.startswith("_") and callable(getattr(module, name, None))


def pairs() -> list[Any]:
    """Twins and originals: public functions of one name, in modules of one name."""
    return [
        pytest.param(twin, getattr(original, name), id=f"{original.__name__}.{name}")
        for module, original in modules()
        for name, twin in defined(module).items()
        if is_public(original, name)
    ]


@pytest.mark.parametrize(("twin", "original"), pairs())
def test_signatures(twin: Callable[..., Any], original: Callable[..., Any]) -> None:
    assert parameters(twin) == parameters(original)


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """Names, kinds and defaults; those of the compiled module are in its stub."""
    if not inspect.isfunction(function):
        function = stubs()[function.__name__]
    given = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default) for each in given]


@functools.cache
def stubs() -> dict[str, Any]:
    """The functions of fastnn._kernels as its stub has them."""
    names: dict[str, Any] = {}
    text = Path(fastnn.__file__).with_name("_kernels.pyi").read_text()
    exec(compile(text, "_kernels.pyi", "exec"), names)
    return names


class OnGpu:
    """What is asked no more than its shape, and whether it is on a GPU."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.ndim = shape, len(shape)
        described = {"shape": shape, "typestr": "<f4", "data": (16, False), "version": 3}
        self.__cuda_array_interface__ = described


SHAPES = ((4, 4), (4, 4, 4), (4, 4, 4, 4), (4, 4, 4, 4, 4))

#: Arguments that are no arrays, and those without which a backward pass does not begin.
NEEDED: dict[str, Any] = {
    "normalized_shape": (4,),
    "num_groups": 2,
    "kernel_size": 1,
    "output_size": 1,
    "k": 2,
    "shape": (2,),
    "threshold": 0.0,
    "value": 0.0,
    "key": fastnn.Key(0, 0),
}


def called(function: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
    """The twins that it asks for, called with an array on a GPU for each argument without a default."""
    asked: set[tuple[str, str]] = set()

    class AskedError(Exception):
        pass

    def ask(wanted: Callable[..., Any]) -> Any:
        asked.add((wanted.__module__, wanted.__name__))
        raise AskedError

    monkeypatch.setattr(dispatch, "twin_of", ask)
    given = inspect.signature(function).parameters
    for shape in SHAPES:
        array = OnGpu(shape)
        needed = [NEEDED.get(p.name, array) for p in given.values() if p.default is p.empty]
        options: dict[str, Any] = {"like": array} if "like" in given else {}
        if "key" in given and function.__name__.endswith("_backward"):
            options["key"] = NEEDED["key"]
        try:
            function(*needed, **options)
        except AskedError:
            return asked
        except ValueError as error:  # another number of axes
            if "must have shape" not in str(error):
                raise
    return set()


@pytest.mark.parametrize("name", [name for name in F.__all__ if inspect.isfunction(getattr(F, name))])
def test_every_function(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = called(getattr(F, name), monkeypatch)
    monkeypatch.undo()
    if name in WITHOUT:
        for twin in asked:
            with pytest.raises(NotImplementedError, match="takes no arrays on a GPU; copy them"):
                twin_of(*twin)
        return
    assert asked, f"{name} does not ask for a twin"
    for module, function in asked:
        original = getattr(importlib.import_module(module), function)
        assert parameters(twin_of(module, function)) == parameters(original)


@pytest.mark.parametrize("name", _kernels.activations())
def test_every_activation(name: str) -> None:
    from fastnn.cuda.kernels.activation.activations import ACTIVATIONS

    assert ACTIVATIONS[name].saves_output == (_kernels.activations()[name][0] == "output")


#: Rules that a GPU has no function for: its kernels of another rule do the same.
DONE_BY = {"radam_start": "radam"}


@pytest.mark.parametrize("name", _kernels.rules())
def test_every_rule(name: str) -> None:
    from fastnn.cuda.kernels.optim.rules import RULES

    assert RULES[DONE_BY.get(name, name)].operands == _kernels.rules()[name]


def test_names_without_device_functions() -> None:
    from fastnn.cuda.kernels.activation.activations import ACTIVATIONS
    from fastnn.cuda.kernels.optim.rules import RULES

    with pytest.raises(NotImplementedError, match=r"cubed has no device functions .*/activation/formulas"):
        ACTIVATIONS["cubed"]
    with pytest.raises(NotImplementedError, match=r"cubed has no device functions .*/optim/rules\.py"):
        RULES["cubed"]


def test_no_twin() -> None:
    with pytest.raises(NotImplementedError, match=r"nothing takes no arrays on a GPU; copy them to the CPU"):
        twin_of("fastnn.functional.activation", "nothing")
