"""Data of several inputs or outputs: an array, or a tuple of them. Of models it knows how they are called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fastnn._core.arrays import as_array
from fastnn._core.typing import Array

Nested = Any  # Array | tuple[Nested, ...], which mypy cannot follow through `mapped`


def leaves(data: Nested) -> Iterator[Array]:
    """Yield the arrays, in order."""
    if isinstance(data, tuple):
        for part in data:
            yield from leaves(part)
    else:
        yield data


def mapped(function: Callable[[Any], Any], data: Nested) -> Nested:
    """The same with function(array) in the place of each array."""
    if isinstance(data, tuple):
        return tuple(mapped(function, part) for part in data)
    return function(data)


def length(data: Nested) -> int:
    """The samples: the rows of the first array."""
    return len(next(leaves(data)))


def as_arrays(name: str, value: Any) -> Nested:
    """What the user gave as arrays. A tuple of arrays is several, one of numbers or lists is one array."""
    if isinstance(value, tuple) and value and all(isinstance(v, tuple) or hasattr(v, "shape") for v in value):
        return tuple(as_arrays(f"{name}[{index}]", part) for index, part in enumerate(value))
    return as_array(name, value)


def call(model: Callable[..., Any], x: Nested) -> Nested:
    """model(x), or of several inputs model(*x)."""
    return model(*x) if isinstance(x, tuple) else model(x)
