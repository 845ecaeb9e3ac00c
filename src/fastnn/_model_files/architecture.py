"""Layers and transformers as data for JSON, and back. Data make objects of known classes, and run nothing.

An object is {"layer": name, "arguments": {name: value}}, with "block" (a layer of fastnn.models), "ensemble"
or "transformer" in the place of "layer", or with "custom" for a class of the user's; without arguments where
these are no data. An array is {"shape": [...], "dtype": name}, a dict {"items": {name: value}}. All else is
as in JSON. This file knows no files.
"""

from __future__ import annotations

import inspect
import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fastnn import ensemble, models, nn, preprocessing
from fastnn._core.devices import dtype_name
from fastnn.nn import Module, Parameter
from fastnn.preprocessing import Transformer
from fastnn.random import Generator, Zeros

Data = Any  # what JSON can write

SMALL = 2**16  # a whole number that may be an argument of any layer
DTYPES = (  # of arrays that are arguments
    *("float16", "float32", "float64", "bool"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)
KINDS = {
    "layer": (nn, Module),
    "block": (models, Module),
    "ensemble": (ensemble, Module),
    "transformer": (preprocessing, Transformer),
}


# ---- objects as data ---------------------------------------------------------------------------------------


def describe(value: Module | Transformer | None) -> Data:
    """Return a module or a transformer as data; TypeError for one whose arguments have no form there."""
    if value is None:
        return None
    kind, name = _kind_of(type(value)), type(value).__name__
    state = {id(array) for _, array in value._named_state()} if isinstance(value, Module) else set[int]()
    try:
        arguments = value.init_arguments() if isinstance(value, Module) else value.get_params(deep=False)
        return {kind: name, "arguments": {key: _as_data(item, state) for key, item in arguments.items()}}
    except TypeError:
        if kind != "custom":
            raise
        return {kind: name}


def _as_data(value: Any, state: set[int]) -> Data:
    """An argument as data; state: the ids of the module's saved arrays, as only these come back in a file."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Module | Transformer):
        return describe(value)
    if isinstance(value, Parameter):
        value = value.data
    if id(value) in state:
        return {"shape": [*value.shape], "dtype": dtype_name(value)}
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {"items": {name: _as_data(item, state) for name, item in value.items()}}
    if isinstance(value, list | tuple):
        return [_as_data(item, state) for item in value]
    raise TypeError(f"there is no form in JSON for {type(value).__name__}")


def _kind_of(cls: type) -> str:
    for kind, (package, _) in KINDS.items():
        if getattr(package, cls.__name__, None) is cls:
            return kind
    return "custom"


# ---- objects from data -------------------------------------------------------------------------------------


class Builder:
    """Makes objects of data. `custom`: classes of the user's, found by their names.

    elements: how many all weights of the model are at most. What claims to have more is refused before memory
    is taken for it.
    """

    def __init__(self, custom: Iterable[type[Module]] = (), elements: int = 2**40) -> None:
        self._custom = {cls.__name__: cls for cls in custom}
        self._elements = elements

    def build(self, data: Data, place: str) -> Any:
        """Return what `describe` made the data of; ValueError, begun by the place, for anything else."""
        if data is None or isinstance(data, bool | int | float | str):
            return data
        if isinstance(data, list):
            return tuple(self.build(item, f"{place}.{index}") for index, item in enumerate(data))
        if data.keys() == {"items"} and isinstance(data["items"], dict):
            return OrderedDict(
                (name, self.build(item, _join(place, name))) for name, item in data["items"].items()
            )
        if data.keys() == {"shape", "dtype"}:
            return _array(data, place)
        return self._object(data, place)

    def _object(self, data: dict[str, Data], place: str) -> Any:
        kind = next((kind for kind in (*KINDS, "custom") if kind in data), "")
        name, given = data.get(kind), data.get("arguments")
        if not isinstance(name, str) or {*data} - {kind, "arguments"}:
            raise ValueError(f"{place or 'the model'} must be a layer, with arguments, got {_short(data)}")
        cls = self._class(kind, name, place)
        if not isinstance(given, dict):
            raise ValueError(
                f"{_at(place)}{name}: the file does not say how it was made; make the model and give it:"
                " fastnn.load(path, model=model)"
            )
        parameters = inspect.signature(cls).parameters
        if unknown := given.keys() - parameters.keys():
            raise ValueError(f"{_at(place)}{name} has no argument {sorted(unknown)[0]!r}")
        arguments = {key: self.build(value, _join(place, key)) for key, value in given.items()}
        for key, value in arguments.items():
            if isinstance(parameters[key].default, bool) and not isinstance(value, bool):
                raise ValueError(f"{_at(place)}{name}: {key} must be true or false, got {value!r}")
            if type(value) is int and value > max(self._elements, SMALL):
                raise ValueError(f"{_at(place)}{name}: {key} is {value}, more than the file has weights")
        try:
            made = _make(cls, arguments, Generator() if kind == "custom" else Zeros(self._elements))
        except Exception as error:  # each constructor has its own
            raise ValueError(f"{_at(place)}{name} cannot be made as the file says: {error}") from None
        if kind == "custom" and describe(made) != data:
            raise ValueError(
                f"{_at(place)}{name} has other attributes than the arguments that would make it again:"
                " make the model and give it, fastnn.load(path, model=model)"
            )
        return made

    def _class(self, kind: str, name: str, place: str) -> type:
        if kind == "custom":
            if name not in self._custom:
                raise ValueError(
                    f"{_at(place)}{name} is a layer of your own: give its class,"
                    f" fastnn.load(path, layers=[{name}]), or a model to fill, fastnn.load(path, model=model)"
                )
            return self._custom[name]
        package, base = KINDS[kind]
        cls = getattr(package, name, None) if name in package.__all__ else None
        if not (isinstance(cls, type) and issubclass(cls, base)):
            raise ValueError(f"{_at(place)}there is no {kind} {name!r} in this version of fastnn")
        return cls


def _make(cls: type, arguments: dict[str, Any], generator: Generator) -> Any:
    """Call the constructor, with a generator that leaves fastnn's default one as it is."""
    parameters = inspect.signature(cls).parameters
    several = [name for name, parameter in parameters.items() if parameter.kind is parameter.VAR_POSITIONAL]
    positional = arguments.pop(several[0], ()) if several else ()
    if "generator" in parameters:
        arguments["generator"] = generator
    made = cls(*(positional if isinstance(positional, tuple) else [positional]), **arguments)
    if vars(made).get("generator") is generator:  # it draws in passes too
        made.generator = None
    return made


def _array(data: dict[str, Data], place: str) -> Any:
    shape, dtype = data["shape"], data["dtype"]
    if not (
        isinstance(shape, list)
        and all(type(size) is int and size >= 0 for size in shape)
        and dtype in DTYPES
        and math.prod(shape) < 2**40
    ):
        raise ValueError(f"{place} must be an array's shape and dtype, got {_short(data)}")
    return np.zeros(shape, dtype)


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _at(place: str) -> str:
    return f"{place}: " if place else ""


def _short(data: Data) -> str:
    text = repr(data)
    return text if len(text) < 80 else f"{text[:77]}..."
