"""Checks of the schedulers' arguments: each returns the value, or raises an error that names the argument."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from fastnn._core.arrays import is_whole, real_number


def whole(name: str, value: object, least: int = 1) -> int:
    """`value` as an integer of at least `least`; TypeError for another type, ValueError below."""
    if not is_whole(value):
        raise TypeError(f"{name} must be a whole number of at least {least}, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value}")
    if value >= 2**63:
        raise ValueError(f"{name} must be below 2**63, got {value}")
    return int(value)


def listed(name: str, values: object, of: str) -> list[Any]:
    """`values` as a list; TypeError for what holds no values, `of` saying which."""
    if not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        raise TypeError(f"{name} must be a list of {of}, got {type(values).__name__}")
    return list(values)


def steps(name: str, values: object) -> list[int]:
    """`values` as a list of step numbers."""
    return [whole(f"{name}[{i}]", step, 0) for i, step in enumerate(listed(name, values, "steps"))]


def finite(name: str, value: object, least: float = -math.inf, most: float = math.inf) -> float:
    """`value` as a finite float in [least, most]."""
    number = real_number(name, value)
    if not (math.isfinite(number) and least <= number <= most):
        limits = [f"at least {least:g}"] * math.isfinite(least) + [f"at most {most:g}"] * math.isfinite(most)
        valid = "a finite number" + (f" of {' and '.join(limits)}" if limits else "")
        raise ValueError(f"{name} must be {valid}, got {number}")
    return number


def positive(name: str, value: object) -> float:
    """`value` as a finite float above 0."""
    number = real_number(name, value)
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name} must be a finite number above 0, got {number}")
    return number


def choice(name: str, value: str, allowed: Sequence[str]) -> str:
    """`value`; ValueError unless it is one of `allowed`."""
    if not (isinstance(value, str) and value in allowed):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return value


def per_group(name: str, value: object, groups: int, least: float = 0.0) -> list[float]:
    """One number for each parameter group, from one number for all or from a list."""
    if not isinstance(value, list | tuple):
        return [finite(name, value, least)] * groups
    one_each(name, value, groups)
    return [finite(f"{name}[{index}]", item, least) for index, item in enumerate(value)]


def one_each(name: str, values: Sequence[Any], groups: int) -> None:
    """Raise ValueError unless there is one value for each parameter group."""
    if len(values) != groups:
        raise ValueError(f"{name} must have one entry for each of the {groups} groups, got {len(values)}")
