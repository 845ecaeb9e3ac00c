"""The table of operations for the tests: every elementwise function of fastnn.functional that has a gradient.

The C table, the signatures and the reference say everything but which parameters are worth testing, and how
far a result may be off. Must not know what is tested: layouts, sizes, threads.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np

import fastnn.functional as F
from fastnn import Key, _kernels, reference
from fastnn._core.typing import Array
from support.ulp import assert_within, widen

Shape = tuple[int, ...]

BFLOAT16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
FULL: tuple[np.dtype[Any], ...] = (np.dtype(np.float32), np.dtype(np.float64))
HALF: tuple[np.dtype[Any], ...] = (np.dtype(np.float16), BFLOAT16)

# The files of fastnn.functional whose functions these are; the others have tests of their own.
ELEMENTWISE_FILES = ("activation", "gated", "slope")
# Parameters to test beside the defaults. Exact in every dtype, as the reference computes in a wider one.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "leaky_relu": [{"negative_slope": 0.25}, {"negative_slope": -1.5}],
    "elu": [{"alpha": 0.75}],
    "celu": [{"alpha": 0.375}, {"alpha": 4.0}],
    "softplus": [{"beta": 2.0, "threshold": 9.0}, {"beta": 0.375}],
    "hardtanh": [{"min_val": -0.5, "max_val": 2.0}],
    "threshold": [{"threshold": 0.25, "value": -7.0}],
    "hardshrink": [{"lambd": 1.25}, {"lambd": 0.0}, {"lambd": -0.5}],
    "softshrink": [{"lambd": 1.25}, {"lambd": 0.0}],
    "squareplus": [{"b": 0.75}, {"b": 0.0}],
    "prelu": [{"weight": [0.25]}, {"weight": [0.25, -0.5, 0.0, 1.5, 1.0, 0.125]}],
    "rrelu": [{"training": True, "key": Key(2**63 + 5, 2**40 + 7)}],
    "glu": [{"dim": 1}],
    "swiglu": [{"dim": 1}],
    "maxout": [{"k": 3}, {"k": 2, "dim": -1}],
}
# A row of the C table that is not a function of its own.
CHOICES: dict[str, tuple[str, dict[str, Any]]] = {"gelu_tanh": ("gelu", {"approximate": "tanh"})}
# How far the reference itself may be off in longdouble, in ULP of float64: its erfc is math.erfc, and in the
# tail of "tanh" the exponent is rounded.
REFERENCE_ERROR = {"gelu": 2.0}
FORWARD_ULP, BACKWARD_ULP = 2.0, 4.0
LOOSE_ULP = 16.0  # where the subject is which element goes where, and not how exact it is

# The functions of the C table.
ROWS = {CHOICES.get(row, (row,))[0] for row in _kernels.activations()}


def _gated_by_itself(name: str) -> Callable[..., Array]:
    """Of y = x g(x): dy g(x)."""
    return lambda dy, x, params: dy * getattr(reference, name)(x, **params) / x


def _swiglu_term(dy: Array, x: Array, params: Mapping[str, Any]) -> Array:
    axis = params.get("dim", -1)
    a, b = np.split(x, 2, axis)
    return np.concatenate([dy * b * reference.sigmoid(a), np.zeros_like(a)], axis)


# Of the gradients with a root, by name: (dy, saved, params) -> the larger of the terms that cancel there.
LARGEST_TERM: dict[str, Callable[..., Array]] = {
    **{name: _gated_by_itself(name) for name in ("gelu", "silu", "mish", "hardswish")},
    "swiglu": _swiglu_term,
}


@dataclass(frozen=True)
class Call:
    """A function in one direction, with its parameters: a map from arrays to an array."""

    name: str
    backward: bool
    params: Mapping[str, Any] = field(hash=False)

    def __str__(self) -> str:
        values = [str(value) for value in self.params.values() if not isinstance(value, Key)]
        return "-".join([self.callee, *values]).replace(" ", "")

    @property
    def callee(self) -> str:
        return self.name + "_backward" * self.backward

    @property
    def arguments(self) -> list[str]:
        """The names of the arrays that it takes; maxout's gradient takes the winners of its `input`."""
        names = list(inspect.signature(getattr(F, self.callee)).parameters)[: 1 + self.backward]
        return ["input" if name == "saved" else name for name in names]

    @property
    def any_shape(self) -> bool:
        return self.name in {*ROWS, "rrelu"} or self.params.get("weight") == [0.25]

    @property
    def pointwise(self) -> bool:
        """Whether an element of the result is a function of the inputs' elements there alone."""
        return self.any_shape and "key" not in self.params

    def shape(self, size: int) -> Shape:
        """An input's shape that grows with `size`, with channels and halves where they are needed."""
        return (size,) if self.any_shape else (2, 6, 2 * size)

    def _run(self, module: Any, arrays: Sequence[Array], **out: Any) -> Array:
        if self.callee == "maxout_backward":
            dy, x = arrays
            arrays = [dy, module.maxout(x, **self.params)[1]]
            result = module.maxout_backward(*arrays, **out)
        else:
            result = getattr(module, self.callee)(*arrays, **self.params, **out)
        first: Array = result[0] if isinstance(result, tuple) else result
        return first

    def __call__(self, *arrays: Any, out: Any = None) -> Array:
        return self._run(F, arrays, out=out)

    def exact(self, *arrays: Array) -> Array:
        """What the reference gives in a wider dtype."""
        with np.errstate(all="ignore"):
            return self._run(reference, [widen(array) for array in arrays])

    def largest_term(self, *arrays: Array) -> Array | float:
        """Of a gradient with a root, the larger of the terms that cancel there; it measures the error."""
        if not self.backward or self.name not in LARGEST_TERM:
            return 0.0
        dy, saved = (widen(array) for array in arrays)
        with np.errstate(all="ignore"):
            return np.nan_to_num(np.abs(LARGEST_TERM[self.name](dy, saved, self.params)), posinf=0.0)

    def data(self, x: Array) -> tuple[Array, ...]:
        """What the call takes for this input; dy is a power of two, and so adds no rounding of its own."""
        if not self.backward:
            return (x,)
        forward = Call(self.name, False, self.params)
        y = forward(x)
        dy = np.random.default_rng(1).choice([-1.0, -0.5, 0.25, 1.0], y.shape).astype(x.dtype)
        return dy, y if "output" in self.arguments else x

    def check(self, got: Array, case: Case, ulps: float = 0.0) -> None:
        """Fails unless the result is the reference's within the bound."""
        ulps = ulps or (BACKWARD_ULP if self.backward else FORWARD_ULP)
        if got.dtype == np.float64:
            ulps += REFERENCE_ERROR.get(self.name, 0.0)
        assert_within(got, case.exact, ulps, self.largest_term(*case.arrays))


def _calls() -> list[Call]:
    """Every function that has a backward, with its defaults, if all parameters have one, and its variants."""
    calls = []
    for name in F.__all__:
        function = getattr(F, name)
        if f"{name}_backward" not in F.__all__ or function.__name__ != name:  # swish is silu
            continue
        if function.__module__.rpartition(".")[2] not in ELEMENTWISE_FILES:
            continue
        required = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
        variants: list[dict[str, Any]] = [{}] * (len(required) == 1) + VARIANTS.get(name, [])
        variants += [params for choice, params in CHOICES.values() if choice == name]
        calls += [Call(name, backward, params) for params in variants for backward in (False, True)]
    return calls


CALLS = _calls()


NEAR = (
    0.2,
    0.25,
    0.5,
    0.55,
    0.75,
    1,
    1.05,
    1.25,
    1.278,
    2,
    3,
    6,
    9,
    10,
    15,
    20,
    40,
    87,
    88.7,
    103.9,
    709.7,
    745,
)


@cache
def points(dtype: np.dtype[Any]) -> Array:
    """Finite inputs: zeros, subnormals, kinks and their neighbours, every magnitude, and many near 0."""
    rng, info = np.random.default_rng(0), np.finfo(dtype)
    least = float(info.smallest_subnormal)
    kinks = np.array(NEAR, dtype)
    around = [kinks, np.nextafter(kinks, dtype.type(0)), np.nextafter(kinks, dtype.type(np.inf))]
    ends = np.array([0, least, 3 * least, info.tiny, info.max / 2, info.max], dtype)
    spread = np.exp2(rng.uniform(info.minexp - info.nmant, info.maxexp - 0.01, 300)).astype(dtype)
    positive = np.concatenate([*around, ends, spread])
    every = np.concatenate([positive, -positive, rng.normal(scale=3, size=1500).astype(dtype)])
    rng.shuffle(every)
    every.setflags(write=False)
    return every


def normal(shape: Shape, dtype: np.dtype[Any], seed: int = 0) -> Array:
    """Ordinary numbers."""
    return np.random.default_rng(seed).normal(scale=2, size=shape).astype(dtype)


@dataclass(frozen=True)
class Case:
    """A call's arrays, read-only, and the exact result."""

    arrays: tuple[Array, ...]
    exact: Array


def case_of(call: Call, *arrays: Array) -> Case:
    """The call on these arrays, which become read-only."""
    for array in arrays:
        array.setflags(write=False)
    return Case(arrays, call.exact(*arrays))


@cache
def case(call: Call, shape: Shape, dtype: np.dtype[Any]) -> Case:
    """The call on ordinary numbers."""
    return case_of(call, *call.data(normal(shape, dtype)))


@cache
def hard_case(call: Call, dtype: np.dtype[Any]) -> Case:
    """The call on hard points, infinities and NaN; on ordinary numbers where it takes parts of its input."""
    if not call.any_shape:
        return case(call, (10, 6, 20), dtype)
    special = np.array([np.inf, -np.inf, np.nan], dtype)
    return case_of(call, *call.data(np.concatenate([points(dtype), special])))
