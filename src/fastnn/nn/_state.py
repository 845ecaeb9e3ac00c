"""Loads arrays by name, from a mapping or a file, into the arrays of a module. It knows no layers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastnn._core.arrays import check_whole
from fastnn._core.devices import assignment, on_host
from fastnn._core.typing import Array
from fastnn._core.uninterrupted import uninterrupted


class IncompatibleKeys(NamedTuple):
    """Names that the module has and the state lacks, and names that the state has and the module lacks."""

    missing_keys: list[str]
    unexpected_keys: list[str]


Shape = tuple[int, ...]


class LoadReport(IncompatibleKeys):
    """What load_state_dict did: PyTorch's pair of lists; str() of it says in lines what fitted.

    loaded: the names of what was copied. mismatched: the shape that was given and the module's own.
    """

    loaded: list[str]
    mismatched: Mapping[str, tuple[Shape, Shape]]

    @classmethod
    def of(
        cls,
        loaded: list[str],
        missing: list[str],
        unexpected: list[str],
        mismatched: Mapping[str, tuple[Shape, Shape]],
    ) -> LoadReport:
        """Return the report of these names."""
        report = cls(missing, unexpected)
        report.loaded, report.mismatched = loaded, mismatched
        return report

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.missing_keys) + len(self.mismatched)
        lines = [f"loaded: {len(self.loaded)} of {total} arrays of the model"]
        for name, (got, own) in self.mismatched.items():
            lines.append(f"kept: {name}, of shape {own}, as the shape given is {got}")
        for label, names in (("not given", self.missing_keys), ("not the model's", self.unexpected_keys)):
            lines += [f"{label}: {', '.join(names)}"] if names else []
        return "\n".join(lines)


def read_state(source: Mapping[str, Any] | str | Path) -> Mapping[str, Any]:
    """Return arrays by name: of a mapping as it is, else of a file."""
    if isinstance(source, Mapping):
        return source
    if not isinstance(source, str | Path):
        raise TypeError(f"state_dict must be a mapping or a path, got {type(source).__name__}")
    from fastnn._core.weight_files import read_weights  # loads json, zipfile and pickletools

    return read_weights(Path(source))


def _known_form(own: Mapping[str, Array], given: Mapping[str, Any]) -> str:
    """What was given, and what to do with it, where the names are there but not where they should be."""
    for name, value in given.items():
        if isinstance(value, Mapping) and (own.keys() & value.keys() or _known_form(own, value)):
            return f"a checkpoint that has them in its {name!r}: load_state_dict(checkpoint[{name!r}])"
    first = next(iter(given), "").partition(".")[0] + "."
    if own and own.keys() <= {name.removeprefix(first) for name in given if name.startswith(first)}:
        return (
            f"them with {first!r} before them, as a wrapper writes them: load_state_dict("
            f"{{name.removeprefix({first!r}): value for name, value in state_dict.items()}})"
        )
    return ""


def load_arrays(
    source: str,
    owner: str,
    own: Mapping[str, Array],
    given: Mapping[str, Any],
    strict: bool,
    optional: Collection[str],
) -> LoadReport:
    """Copy given arrays into own ones of the same names, after all of them were checked.

    source: the file's name and a colon for the errors, or nothing. optional: names of own ones that stay as
    they are where they are not given.
    """
    missing, unexpected = sorted(own.keys() - given.keys() - {*optional}), sorted(given.keys() - own.keys())
    got = "" if own.keys() & given.keys() else _known_form(own, given)
    if strict and (missing or unexpected):
        got = got or f"missing names {missing}, unknown names {unexpected}"
    if got:
        raise ValueError(f"{source}state_dict must have the names of {owner}, got {got}")
    known = {name: given[name] for name in own if name in given}
    for name, value in known.items():
        check_whole(f"{source}state_dict[{name!r}]", value)
    values = {name: on_host(value) for name, value in known.items()}
    if wrong := [name for name, value in values.items() if value.shape != own[name].shape]:
        what, others = f"{source}state_dict[{wrong[0]!r}]", f"; so must {', '.join(wrong[1:])}"
        raise ValueError(
            f"{what} must have the shape of the module's, {own[wrong[0]].shape}, got {values[wrong[0]].shape}"
            f"{others if wrong[1:] else ''}"
        )
    for name, value in values.items():
        array, what = own[name], f"{source}state_dict[{name!r}]"
        if not np.can_cast(value.dtype, array.dtype, "same_kind"):
            raise TypeError(f"{what} must have a dtype that converts to {array.dtype}, got {value.dtype}")
        if isinstance(array, np.ndarray) and not array.flags.writeable:
            raise ValueError(f"{owner}: {name} must be writeable for load_state_dict, got a read-only array")
    uninterrupted([assignment(own[name], value) for name, value in values.items()])
    return LoadReport.of([*values], missing, unexpected, {})
