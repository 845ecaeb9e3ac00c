"""What users give fit and evaluate as data, each form as a Source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fastnn._core.stored import Stored, is_stored
from fastnn.train.nested import Nested, as_arrays
from fastnn.train.sources import Arrays, Batch, Dataset, Source, check_rows, described
from fastnn.train.stream import Stream, is_function

FORMS = (
    "(x, y), a tuple of two arrays with a row for each sample; a Dataset with len() and [i] giving (x, y); or"
    " batches (x, y) that can be iterated again for each epoch, as a DataLoader or a function that makes a"
    " generator"
)


def source_of(name: str, data: Any, shuffle_block: int | None = None) -> Source:
    """Return `data` as a source. Raises TypeError for what is none, ValueError for rows that do not fit."""
    if isinstance(data, tuple) and len(data) == 2:
        x, y = (
            _columns(f"{name}: {part}", value, shuffle_block) for part, value in zip("xy", data, strict=True)
        )
        check_rows(name, (x, y))
        return Arrays(x, y)
    if isinstance(data, list) and all(isinstance(batch, tuple) for batch in data):
        return Stream(name, data)
    if isinstance(data, tuple | list | str | bytes | Mapping) or hasattr(data, "shape"):
        raise TypeError(f"{name} must be {FORMS}; got {described(data)}")
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return Dataset(name, data)
    if is_function(data) or (isinstance(data, Iterable) and iter(data) is not data):
        return Stream(name, data)
    once = ", which can be iterated once only" if isinstance(data, Iterator) else ""
    raise TypeError(f"{name} must be {FORMS}; got {described(data)}{once}")


def arrays_of(name: str, data: Any) -> Batch:
    """Return the x and y of `data` as arrays in memory; TypeError for other forms of data."""
    source = source_of(name, data)
    if not isinstance(source, Arrays):
        raise TypeError(f"{name} must be (x, y), a tuple of two arrays, got {described(data)}")
    return source.part(slice(None))


def _columns(name: str, value: Any, shuffle_block: int | None) -> Nested:
    """x or y: an array, one that is stored, or a tuple of these."""
    if isinstance(value, tuple) and any(map(is_stored, value)):
        return tuple(_columns(f"{name}[{index}]", one, shuffle_block) for index, one in enumerate(value))
    return Stored(value, shuffle_block) if is_stored(value) else as_arrays(name, value)
