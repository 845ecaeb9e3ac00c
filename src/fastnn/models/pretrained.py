"""Loads weights of the same network, whose head may have other classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.models.head import head_name
from fastnn.nn import Module
from fastnn.nn._state import LoadReport, load_arrays, read_state


def load_pretrained(model: Module, weights: Mapping[str, Any] | str | Path) -> LoadReport:
    """Copy weights into the model, but for a head of other classes, which stays as it is; return a report.

    weights: as load_state_dict takes, and also a checkpoint that holds them deeper, as {"state_dict": ...},
    or with a prefix before all names, as "module.". Names that the model does not have are left out.
    print(report) says what was loaded and what was not; report.mismatched has the shapes of the head's arrays
    where they differ. Raises ValueError where anything but the head (the last Linear) is missing or has
    another shape, TypeError for a dtype that does not convert; then nothing is changed.
    """
    head = {f"{head_name(model)}.{name}" for name in ("weight", "bias")}
    own = dict(model._named_state())
    given = _unwrapped(own.keys(), read_state(weights))
    shapes = {name: tuple(np.shape(given[name])) for name in sorted(head & own.keys() & given.keys())}
    other = {name: (shape, own[name].shape) for name, shape in shapes.items() if shape != own[name].shape}
    absent = (head & own.keys()) - given.keys()
    kept = head if other or absent else set[str]()
    report = load_arrays(
        f"{weights}: " if isinstance(weights, str | Path) else "",
        type(model).__name__,
        {name: array for name, array in own.items() if name not in kept},
        {name: value for name, value in given.items() if name in own.keys() - kept},
        True,
        model._optional_names(),
    )
    return LoadReport.of(report.loaded, sorted(absent), sorted(given.keys() - own.keys()), other)


def _unwrapped(names: Set[str], given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The mapping with some of these names, which may be deeper, or after a prefix; else what was given."""
    for inner in _mappings(given):
        prefix = str(next(iter(inner), "")).partition(".")[0] + "."
        for start in ("", prefix):
            found = {
                name.removeprefix(start): value
                for name, value in inner.items()
                if isinstance(name, str) and name.startswith(start)
            }
            if names & found.keys():
                return found
    return given


def _mappings(given: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A mapping, and those in it, at any depth."""
    yield given
    for value in given.values():
        if isinstance(value, Mapping):
            yield from _mappings(value)
