"""Finds layers and parameters in plain lists, tuples and dicts, where a module does not see them.

Such layers would be neither trained nor saved nor moved, and would not follow `train` and `eval`, without a
word. They may be there as long as the model has them elsewhere too: a list of layers that are attributes as
well is in order. The check is made when a model is asked for its parameters, its state or its mode, so it
also finds what was put into a list after the list became an attribute. It knows no layer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from fastnn.nn.parameter import Parameter

PLAIN = (list, tuple, dict, set, frozenset, deque)


def check_registered(
    owner: str, held: Iterable[tuple[str, Any]], registered: set[int], kinds: tuple[type, ...]
) -> None:
    """TypeError if a plain container has a module or a parameter that is not registered.

    owner: the model's class; held: the containers by name; registered: the ids of all that the model has;
    kinds: the types of modules and parameters.
    """
    for name, value in held:
        for place, item in _inside(name, value, kinds, set()):
            if id(item) not in registered:
                kind = "Parameter" if isinstance(item, Parameter) else "Module"
                right = f"nn.{kind}{'Dict' if isinstance(value, dict) else 'List'}"
                got = f"a {type(value).__name__} with a {type(item).__name__} in it, {place}"
                raise TypeError(
                    f"{owner}: {name} must be an {right}, got {got}, which would be neither trained nor saved"
                )


def _inside(place: str, value: Any, kinds: tuple[type, ...], seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Yield what is in a container, and in the containers in it, each with the expression that gets it."""
    if id(value) in seen:  # a list that holds itself
        return
    seen.add(id(value))
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in pairs:
        if isinstance(item, kinds):
            yield f"{place}[{key!r}]", item
        elif isinstance(item, PLAIN):
            yield from _inside(f"{place}[{key!r}]", item, kinds, seen)
