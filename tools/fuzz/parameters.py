"""Random values of parameters that are no arrays: sensible ones, by name and annotation, and wrong ones."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

import fastnn
from fastnn import Key

from .arrays import Draw

# Sensible values, by name; they are exact in every dtype where a result depends on them.
CHOICES: dict[str, tuple[Any, ...]] = {
    "approximate": ("none", "tanh"),
    "scale": ("train", "test"),
    "scheme": ("kaiming", "xavier_uniform", "lecun_normal", "orthogonal"),
    "reduction": ("mean", "sum", "none"),
    "mode": ("fan_in", "fan_out", "fan_avg", "min", "max", "triangular", "exp_range"),
    "distribution": ("normal", "uniform", "truncated_normal"),
    "nonlinearity": ("linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"),
    "p": (0.0, 0.125, 0.5, 0.9, 1.0, 1),
    "sparsity": (0.0, 0.25, 1.0),
    "label_smoothing": (0.0, 0.125, 1.0),
    "momentum": (0.0, 0.125, 1.0, 0.1),
    "eps": (1e-5, 1e-3, 0.125),
    "ranks": (None,),
    "alpha": (0.5, 1.0, 2.0),
    "beta": (0.5, 1.0, 2.0),
    "delta": (0.5, 1.0, 2.0),
    "lambd": (0.0, 0.5, 1.25),
    "b": (0.0, 0.75, 4.0),
    "min_val": (-1.0, -0.5, 0.0),
    "max_val": (1.0, 0.5, 6.0),
    "lower": (0.125, 0.25),
    "upper": (0.25, 0.5, 1.0),
    "dim": (-1, 0, 1, 2, -2),
    "k": (1, 2, 3, 4),
    "ignore_index": (-100, 0, 1, -1),
    "divisor_override": (None, 1, 3, -2, 2.5),
    "groups": (1, 1, 2, 3),
    "std": (0.01, 1.0, 2.0),
    "param": (None, 0.25),
    "betas": ((0.9, 0.999), (0.5, 0.25), (0.0, 0.0)),
    "dtype": (np.dtype(np.float32), np.float64),
    "generator": (None, fastnn.Generator(3)),
    "max_norm": (None, 1.0),
    "milestones": ([2, 4], [3], (1, 2, 5)),
    "anneal_strategy": ("cos", "linear"),
    "scale_mode": ("cycle", "iterations"),
    "threshold_mode": ("rel", "abs"),
    "last_epoch": (-1, -1, -1, 0, 3),
    "total_steps": (None, 6, 10),
    "maximize": (False, True),
    "padding_mode": ("zeros", "reflect"),
    "output_size": (None, 2),
    "output_ratio": (None, 0.5),
}
# Wrong or extreme values, whatever is asked for.
EXTREME: dict[str, tuple[Any, ...]] = {
    "float": (
        0.0,
        -0.0,
        -1.0,
        math.inf,
        -math.inf,
        math.nan,
        1e300,
        -1e300,
        5e-324,
        1e-45,
        3.5e38,
        2**64,
        -(10**400),
    ),
    "int": (0, -1, 2**30, 2**31 - 1, 2**31, 2**32, 2**62, 2**63, 2**64, -(2**63), 10**30, 2.0, True),
    "bool": (0, 1, None, "", "yes", np.False_, 2),
    "str": ("", "MEAN", b"mean", None, 3, "n" * 3, ["mean"], np.str_("none")),
}
WRONG: tuple[Any, ...] = (
    None,
    "1",
    b"1",
    1j,
    [],
    [1.0],
    {},
    (1,) * 65,
    object,
    Fraction(1, 2),
    np.array(0.5),
    np.array([1.0, 2.0]),
    np.float16(0.5),
    np.float32("nan"),
    np.int8(-1),
    np.uint64(2**63),
    np.complex64(1),
    "\ud800",
)
KEYS: tuple[Any, ...] = (
    Key(0, 0),
    Key(7, 3),
    Key(2**64 - 1, 2**64 - 1),
    (5, 2**63),
    (np.int64(1), np.uint64(2)),
)
BAD_KEYS: tuple[Any, ...] = (
    (0,),
    (0, 1, 2),
    (-1, 0),
    (0, 2**64),
    (0.5, 1),
    "ab",
    7,
    (None, None),
    [1, 2],
    {1: 2, 3: 4},
)


class NoRecipeError(Exception):
    """A parameter or function that the fuzzer does not know how to call."""


def kind_of(parameter: inspect.Parameter) -> str:
    """The kind of value that is wanted: "float", "int", "bool", "str", "array", "key" or "?"."""
    text = str(parameter.annotation).removeprefix("Optional").replace("'", "")
    first = text.split("|")[0].strip()
    for kind, words in KINDS.items():
        if any(word in first for word in words):
            return kind
    return "?"


KINDS = {
    "array": ("Array", "Tensor"),
    "key": ("Key",),
    "pair": ("Pair",),
    "float": ("float", "PerGroup"),
    "bool": ("bool",),
    "int": ("int",),
    "str": ("str", "Literal"),
}


def value_of(
    d: Draw, name: str, parameter: inspect.Parameter, sensible: Callable[[], Any] | None = None
) -> Any:
    """A value for the parameter; `sensible` draws one that fits the arrays."""
    kind = kind_of(parameter)
    given = parameter.default is not parameter.empty
    how = d.rng.random()
    if sensible is not None and how < 0.94:
        return sensible()
    if sensible is None and given and how < 0.4:
        return parameter.default
    if how < 0.94:
        return _sensible(d, name, kind)
    d.extreme = True
    if kind == "key":
        return d.pick(BAD_KEYS)
    if how < 0.97 and kind in EXTREME:
        return d.pick(EXTREME[kind])
    if kind in ("pair", "?"):
        return d.pick(
            (*WRONG, *EXTREME["int"], (2**31, 1), (0, 0), (1, 2, 3), (2**30, 2**30), (-1, 1), (1.5, 1))
        )
    return d.pick(WRONG if kind != "bool" else EXTREME["bool"])


def _sensible(d: Draw, name: str, kind: str) -> Any:
    if name in CHOICES:
        return d.pick(CHOICES[name])
    if kind == "float":
        return d.pick((-1.5, -0.25, 0.125, 0.5, 1.0, 2.0))
    if kind == "bool":
        return d.chance(0.5)
    if kind == "int":
        return d.pick((0, 1, 2, 3, 5))
    if kind == "key":
        return d.pick(KEYS)
    if kind == "pair":
        return d.pick((1, 2, 3, (1, 2), (3, 1), [2, 2]))
    raise NoRecipeError(f"its parameter {name}, a {kind}, has no line in CHOICES")
