"""The options of parameter groups: which values they take. It knows no optimizer."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any, TypedDict


class Options(TypedDict, total=False):
    """What every optimizer takes, by keyword, and every group may set for itself.

    `maximize=False`: with True the gradient is that of what is to grow; penalties and decay still shrink.
    `l1=0.0`, `l2=0.0`: the loss has the penalty l1 |p|_1 + l2/2 |p|_2^2 (both: the elastic net; Zou and
    Hastie, 2005), so l1 sign(p) + l2 p is added to the gradient, in every rule. `weight_decay` is apart
    from them: what it does is said by each optimizer.
    `max_norm=None`: a number c > 0 limits each unit's incoming weights: after a step, rows along the first
    axis of a parameter of two or more dimensions are scaled down to an L2 norm of at most c (Srivastava,
    Hinton, Krizhevsky, Sutskever and Salakhutdinov, 2014). Vectors (biases) are left alone.
    """

    maximize: bool
    l1: float
    l2: float
    max_norm: float | None


DEFAULTS: Options = {"maximize": False, "l1": 0.0, "l2": 0.0, "max_norm": None}


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real)


def _at_least_zero(value: Any) -> bool:
    return _is_number(value) and value >= 0 and math.isfinite(value)


def _fraction(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _two_fractions(value: Any) -> bool:
    return (
        isinstance(value, (tuple, list))
        and len(value) == 2
        and all(_is_number(b) and 0 <= b < 1 for b in value)
    )


def _finite(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)


def _limit(value: Any) -> bool:
    return value is None or (_is_number(value) and value > 0)


_SIZES = (
    *("lr", "momentum", "weight_decay", "eps", "alpha", "l1", "l2"),
    *("lr_decay", "initial_accumulator_value", "momentum_decay", "trust_coefficient"),
)
_TAKES: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(_SIZES, (_at_least_zero, "a finite number of at least 0")),
    "rho": (_fraction, "a number in [0, 1]"),
    "decay": (_fraction, "a number in [0, 1]"),
    "betas": (_two_fractions, "two numbers in [0, 1)"),
    "dampening": (_finite, "a finite number"),
    "max_norm": (_limit, "a number above 0, or None"),
}


def check_options(options: Mapping[str, Any], prefix: str = "") -> None:
    """Raise ValueError naming the first option whose value is not what it takes."""
    for name, value in options.items():
        takes, words = _TAKES.get(name, (None, ""))
        if takes is not None and not takes(value):
            raise ValueError(f"{prefix}{name} is {value!r}; it takes {words}")
