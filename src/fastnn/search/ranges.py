"""Ranges of hyperparameters: Optuna's distributions, where a value lies in one, narrower ones around values.

It knows nothing of trials. A number's range is seen as [0, 1]: of a logarithmic one, 0.5 is the geometric
mean of its ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from fastnn._core.arrays import integer, real_number

Range = FloatDistribution | IntDistribution | CategoricalDistribution
MARGIN = 0.1  # how far a narrowed range goes beyond the values, as a share of the wide range
EDGE = 0.05  # the share of a range at either end that counts as its edge


def uniform(low: float, high: float) -> FloatDistribution:
    """All numbers from low to high, equally likely. Raises ValueError unless low < high, both finite."""
    return FloatDistribution(*_ends("uniform", low, high))


def loguniform(low: float, high: float) -> FloatDistribution:
    """Numbers from low to high whose logarithms are equally likely: for learning rates and weight decay.

    Raises ValueError unless 0 < low < high, both finite.
    """
    ends = _ends("loguniform", low, high)
    if ends[0] <= 0:
        raise ValueError(f"loguniform: low must be above 0, got {low}")
    return FloatDistribution(*ends, log=True)


def integers(low: int, high: int, *, log: bool = False) -> IntDistribution:
    """Whole numbers from low to high, both included; log=True: their logarithms are equally likely.

    Raises ValueError unless low < high, with log=True 1 <= low; TypeError for other numbers.
    """
    for name, value in (("low", low), ("high", high)):
        integer(f"integers: {name}", value)
    _ends("integers", low, high)
    if log and low < 1:
        raise ValueError(f"integers: low must be at least 1 with log=True, got {low}")
    return IntDistribution(int(low), int(high), log=log)


def choice(options: Iterable[Any]) -> CategoricalDistribution:
    """One of the options, equally likely; they are texts, numbers, booleans or None.

    Raises ValueError where there is none, or one occurs twice; TypeError for other types.
    """
    found = list(options)
    if not found:
        raise ValueError("choice: options must be at least one, got none")
    for option in found:
        if not isinstance(option, str | int | float | None):
            raise TypeError(
                "choice: options must be texts, numbers, booleans or None, which a storage can keep, got a"
                f" {type(option).__name__}: give names, and look them up in a dict"
            )
    if len({(type(option), option) for option in found}) < len(found):
        raise ValueError(f"choice: options must be different, got {found}")
    return CategoricalDistribution(found)


def _ends(name: str, low: float, high: float) -> tuple[float, float]:
    ends = real_number(f"{name}: low", low), real_number(f"{name}: high", high)
    if not (math.isfinite(ends[0]) and math.isfinite(ends[1]) and ends[0] < ends[1]):
        raise ValueError(f"{name}: low must be below high, both finite, got {low} and {high}")
    return ends


def checked(ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Return the ranges; TypeError or ValueError for what is none, and where there is none."""
    if not isinstance(ranges, Mapping):
        raise TypeError(f"ranges must be a dict of ranges by name, got {type(ranges).__name__}")
    if not ranges:
        raise ValueError("ranges must have at least one range, got none")
    for name, value in ranges.items():
        if not isinstance(value, Range):
            raise TypeError(
                f"ranges[{name!r}] must be uniform(), loguniform(), integers() or choice(), got {value!r}"
            )
    return dict(ranges)


def position(of: FloatDistribution | IntDistribution, value: float) -> float:
    """Where a value lies: 0 at the low end, 1 at the high end."""
    low, high, at = (_scale(of, number) for number in (of.low, of.high, value))
    return (at - low) / (high - low) if high > low else 0.5


def at(of: FloatDistribution | IntDistribution, share: float) -> float:
    """The value at a position; beyond the ends, that of the end."""
    if not 0 < share < 1:
        return float(of.low if share <= 0 else of.high)
    low, high = _scale(of, of.low), _scale(of, of.high)
    value = low + share * (high - low)
    return math.exp(value) if of.log else value


def _scale(of: FloatDistribution | IntDistribution, value: float) -> float:
    return math.log(value) if of.log else float(value)


def narrowed(of: Range, values: Sequence[Any]) -> Range:
    """The range from the lowest to the highest value and MARGIN beyond, or of the options that occur."""
    if isinstance(of, CategoricalDistribution):
        return CategoricalDistribution([option for option in of.choices if option in values])
    places = [position(of, value) for value in values]
    low, high = at(of, min(places) - MARGIN), at(of, max(places) + MARGIN)
    if isinstance(of, IntDistribution):
        return IntDistribution(math.floor(low), math.ceil(high), log=of.log)
    return FloatDistribution(low, high, log=of.log)


def edge(of: Range, value: Any) -> str:
    """At which end of its range a value lies: "lower", "upper", or "" for neither."""
    if isinstance(of, CategoricalDistribution) or of.low == of.high:
        return ""
    place = position(of, value)
    return "lower" if place <= EDGE else "upper" if place >= 1 - EDGE else ""


def grid(ranges: Mapping[str, Range], trials: int) -> list[dict[str, Any]]:
    """At most `trials` points: all combinations of options, and of as many values in each range of numbers.

    The values are spread evenly, ends included. Raises ValueError where `trials` does not suffice for two.
    """
    options = math.prod(len(r.choices) for r in ranges.values() if isinstance(r, CategoricalDistribution))
    numbers = sum(not isinstance(r, CategoricalDistribution) for r in ranges.values())
    if options * 2**numbers > trials:
        raise ValueError(
            f"trials must be at least {options * 2**numbers} for a grid of these ranges, got {trials}"
        )
    count = 2
    while numbers and options * (count + 1) ** numbers <= trials:
        count += 1
    return [
        dict(zip(ranges, point, strict=True))
        for point in product(*(_spread(r, count) for r in ranges.values()))
    ]


def ends(of: Range) -> list[Any]:
    """Return the ends of a range of numbers, or all options."""
    return _spread(of, 2)


def _spread(of: Range, count: int) -> list[Any]:
    if isinstance(of, CategoricalDistribution):
        return list(of.choices)
    values = [at(of, share) for share in np.linspace(0, 1, count)]
    return values if isinstance(of, FloatDistribution) else sorted({round(value) for value in values})


def as_text(of: Range) -> str:
    """The range in words, for messages."""
    if isinstance(of, CategoricalDistribution):
        return "one of " + ", ".join(map(str, of.choices))
    kind = "whole numbers " if isinstance(of, IntDistribution) else ""
    return f"{kind}{of.low:g} to {of.high:g}" + (" in log space" if of.log else "")
