"""Checks of the schedulers' arguments: the message names the argument, what it got and what it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn._core.arrays import real_number


def whole(name: str, value: object, least: int = 1) -> int:
    """`value` as an integer of at least `least`; TypeError for another type, ValueError below."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} is {value!r}; it takes a whole number of at least {least}")
    if value < least:
        raise ValueError(f"{name} is {value}; it takes a whole number of at least {least}")
    return int(value)


def finite(name: str, value: object, least: float = -math.inf, most: float = math.inf) -> float:
    """`value` as a finite float in [least, most]."""
    number = real_number(name, value)
    if not (math.isfinite(number) and least <= number <= most):
        limits = [f"at least {least:g}"] * math.isfinite(least) + [f"at most {most:g}"] * math.isfinite(most)
        takes = "a finite number" + (f" of {' and '.join(limits)}" if limits else "")
        raise ValueError(f"{name} is {number}; it takes {takes}")
    return number


def positive(name: str, value: object) -> float:
    """`value` as a finite float above 0."""
    number = real_number(name, value)
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name} is {number}; it takes a finite number above 0")
    return number


def choice(name: str, value: str, allowed: Sequence[str]) -> str:
    """`value`, which must be one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; it takes one of {', '.join(map(repr, allowed))}")
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
        raise ValueError(f"{name} has {len(values)} entries; it takes one for each of the {groups} groups")
