"""What a parameter group may hold: parameters, and options in their ranges. It knows no optimizer."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict, cast

import numpy as np

from fastnn.nn.parameter import Parameter


class Options(TypedDict, total=False):
    """What every optimizer takes, by keyword, and every group may set for itself.

    `maximize=False`: True ascends the gradient; penalties and weight decay still shrink the weights.
    `l1=0.0`, `l2=0.0`: the loss has the penalty l1 |p|_1 + l2/2 |p|_2^2 (both: the elastic net; Zou and
    Hastie, 2005), so l1 sign(p) + l2 p is added to the gradient, in every rule. `weight_decay` is
    separate from them, and each optimizer says what it does.
    `max_norm=None`: a number c > 0 limits each unit's incoming weights: after a step, rows along the first
    axis of a parameter of two or more dimensions are scaled down to an L2 norm of at most c (Srivastava,
    Hinton, Krizhevsky, Sutskever and Salakhutdinov, 2014). Vectors (biases) are left alone.
    `foreach`, `fused`, `capturable`: taken for PyTorch's sake, True, False or None, without effect: a step is
    always one pass over all parameters of a kind. `differentiable` must be False: there is no tape.
    """

    maximize: bool
    l1: float
    l2: float
    max_norm: float | None
    foreach: bool | None
    fused: bool | None
    capturable: bool | None
    differentiable: bool | None


DEFAULTS: Options = {"maximize": False, "l1": 0.0, "l2": 0.0, "max_norm": None}


#: PyTorch's choices between its implementations of a step, of which there is one here.
_IMPLEMENTATIONS = ("foreach", "fused", "capturable", "differentiable")


def split_options(owner: str, given: Options) -> Options:
    """The options that have an effect; TypeError for a name that no optimizer takes."""
    for name, value in given.items():
        if name not in DEFAULTS and name not in _IMPLEMENTATIONS:
            raise TypeError(f"{owner} takes no argument {name!r}")
        if name in _IMPLEMENTATIONS and not (value is None or isinstance(value, bool)):
            raise ValueError(f"{name} must be True, False or None, got {value!r}")
    if given.get("differentiable"):
        raise ValueError("differentiable must be False: there is no tape to record a step on, got True")
    return cast("Options", {name: value for name, value in given.items() if name in DEFAULTS})


def numbers_of_arrays(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, with numbers in the place of arrays and tensors that are one number, as a lr can be."""
    return {name: _number_of(value) for name, value in options.items()}


def _number_of(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return type(value)(map(_number_of, value))
    return value.item() if getattr(value, "shape", None) in ((), (1,)) else value


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and (not isinstance(value, int) or abs(value) < 2**1000)


def _at_least_zero(value: Any) -> bool:
    return _is_number(value) and value >= 0 and math.isfinite(value)


def _fraction(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _two_below_one(value: Any) -> bool:
    return (
        isinstance(value, (tuple, list))
        and len(value) == 2
        and all(_is_number(b) and 0 <= b < 1 for b in value)
    )


def _finite(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)


def _flag(value: Any) -> bool:
    return isinstance(value, (bool, int, np.bool_))


def _positive_or_none(value: Any) -> bool:
    return value is None or (_is_number(value) and value > 0)


_AT_LEAST_ZERO = (
    *("lr", "momentum", "weight_decay", "eps", "alpha", "l1", "l2"),
    *("lr_decay", "initial_accumulator_value", "momentum_decay", "trust_coefficient"),
)
_FLAGS = ("maximize", "nesterov", "amsgrad", "centered", "decoupled_weight_decay", "adapt_vectors")
_RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(_AT_LEAST_ZERO, (_at_least_zero, "a finite number of at least 0")),
    **dict.fromkeys(_FLAGS, (_flag, "True or False")),
    "rho": (_fraction, "a number in [0, 1]"),
    "decay": (_fraction, "a number in [0, 1]"),
    "betas": (_two_below_one, "two numbers in [0, 1)"),
    "dampening": (_finite, "a finite number"),
    "max_norm": (_positive_or_none, "a number above 0, or None"),
}


def listed(params: object) -> list[Any]:
    """The parameters as a list; TypeError for what holds none, such as a single one."""
    if not isinstance(params, Iterable):
        raise TypeError(
            f"params must be parameters, as model.parameters() gives, got {type(params).__name__}"
        )
    return list(params)


def check_parameters(params: Sequence[object]) -> None:
    """Raise TypeError for the first one that is no parameter."""
    for index, parameter in enumerate(params):
        if not isinstance(parameter, Parameter):
            raise TypeError(f"params[{index}] must be an nn.Parameter, got {type(parameter).__name__}")


def split_names(named: Sequence[Any]) -> tuple[list[str], list[Parameter]]:
    """The names and the parameters of (name, parameter) pairs; TypeError for one that is no such pair."""
    for index, pair in enumerate(named):
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)):
            raise TypeError(f"params[{index}] must have a name, as the others do, got {pair!r}")
    return [name for name, _ in named], [parameter for _, parameter in named]


def check_options(options: Mapping[str, Any], prefix: str = "") -> None:
    """Raise ValueError for the first option whose value is out of its range."""
    for name, value in options.items():
        is_valid, words = _RANGES.get(name, (None, ""))
        if is_valid is not None and not is_valid(value):
            raise ValueError(f"{prefix}{name} must be {words}, got {value!r}")
