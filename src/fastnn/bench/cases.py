"""The one table of benchmark cases: what is timed, on which arrays, and how many bytes that must move.

Shared by `fastnn bench` and by the pytest-benchmark suites in bench/. Every activation of `fastnn.reference`
gets a forward and a backward case from its name and signature alone; only a case that needs more has a row in
VARIANTS. Must not know who is being timed (peers/) or how (measure.py).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn.functional as F
from fastnn import Key
from fastnn.reference import activation, gated

Array = NDArray[Any]
Shape = tuple[int, ...]

DTYPES = ("float32", "float64")
DIRECTIONS = ("forward", "backward")


def flat(elements: int) -> Shape:
    """One axis."""
    return (elements,)


def rows(elements: int) -> Shape:
    """Rows of up to 1024 features; the size is rounded up to a multiple of 4, so that a row can be split."""
    elements = -(-elements // 4) * 4
    features = math.gcd(elements, 1024)
    return (elements // features, features)


def channels(elements: int) -> Shape:
    """Batch, 4 channels, up to 256 positions; the size is rounded up to a multiple of 4."""
    positions = -(-elements // 4)
    length = math.gcd(positions, 256)
    return (positions // length, 4, length)


@dataclass(frozen=True)
class Variant:
    """How a function is called where its defaults are not enough."""

    params: Mapping[str, Any] = field(default_factory=dict)
    weight: tuple[float, ...] = ()  # becomes an array of the case's dtype
    layout: Callable[[int], Shape] = flat
    group: int = 1  # input elements per output element, along the last axis


VARIANTS: dict[str, dict[str, Variant]] = {
    "gelu": {"gelu": Variant(), "gelu_tanh": Variant({"approximate": "tanh"})},
    "prelu": {
        "prelu": Variant(weight=(0.25,), layout=rows),
        "prelu_channels": Variant(weight=(0.1, 0.2, 0.3, 0.4), layout=channels),
    },
    "rrelu": {"rrelu": Variant(), "rrelu_training": Variant({"training": True, "key": Key(0, 0)})},
    "threshold": {"threshold": Variant({"threshold": 0.1, "value": 20.0})},
    "glu": {"glu": Variant(layout=rows, group=2)},
    "swiglu": {"swiglu": Variant(layout=rows, group=2)},
    "maxout": {"maxout": Variant({"k": 4}, layout=rows, group=4)},
}

# identity's gradient is dy whatever the input was, so its `input` need not be read.
UNREAD = {("identity_backward", "input")}


@dataclass(frozen=True)
class Case:
    """One function in one direction: its arguments, its shapes and its traffic."""

    label: str
    function: str
    direction: str
    variant: Variant
    signature: inspect.Signature

    @property
    def callee(self) -> str:
        """The function's name in `fastnn.functional` and `fastnn.reference`."""
        return self.function if self.direction == "forward" else f"{self.function}_backward"

    @property
    def random(self) -> bool:
        """Whether the draws of another library make its result differ from ours."""
        return "key" in self.variant.params

    def shapes(self, elements: int) -> tuple[Shape, Shape]:
        """Shapes of the input and of the output for about this many input elements."""
        shape = self.variant.layout(elements)
        return shape, (*shape[:-1], shape[-1] // self.variant.group)

    def traffic(self) -> tuple[float, float]:
        """Elements that must be read and written, per input element.

        Maxout's saved index is left out: at most a few bits for each output.
        """
        output = 1 / self.variant.group
        size = {"dy": output, "input": 1.0, "output": output}
        read = sum(
            size.get(name, 0.0) for name in self.signature.parameters if (self.callee, name) not in UNREAD
        )
        return read, output if self.direction == "forward" else 1.0


@dataclass(frozen=True)
class Data:
    """A case's arguments by parameter name (`input`, `dy`, `output`, ...), and the buffer for its result."""

    case: Case
    values: dict[str, Any]
    out: Array

    @property
    def elements(self) -> int:
        """Input elements."""
        return int(self.values["input"].size)

    @property
    def moved(self) -> int:
        """Bytes that must be read and written."""
        return round(sum(self.case.traffic()) * self.elements * self.out.itemsize)


class Buffers:
    """The memory that all cases of one dtype share: normal data (never zeros), reused for every size."""

    def __init__(self, dtype: str, elements: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        normal: Any = dtype
        self.dtype = np.dtype(dtype)
        elements += 4  # what a layout may add by rounding up
        self._input = rng.standard_normal(elements, normal)
        self._dy = rng.standard_normal(elements, normal)
        self._output = np.ones_like(self._input)
        self._out = np.ones_like(self._input)

    def data(self, case: Case, elements: int) -> Data:
        """Return views of the shared memory in this case's shapes; `output` is what its forward gives."""
        shape, result = case.shapes(elements)
        values: dict[str, Any] = {"input": view(self._input, shape), "dy": view(self._dy, result)}
        if case.variant.weight:
            values["weight"] = np.array(case.variant.weight, self.dtype)
        values.update(case.variant.params)
        if "output" in case.signature.parameters:
            forward = getattr(F, case.function)
            values["output"] = forward(values["input"], **case.variant.params, out=view(self._output, result))
        return Data(case, values, view(self._out, result if case.direction == "forward" else shape))


def view(buffer: Array, shape: Shape) -> Array:
    """Return the first elements of a flat buffer in this shape."""
    return buffer[: math.prod(shape)].reshape(shape)


def activations(module: ModuleType) -> Iterator[str]:
    """Names defined in this module with a backward beside them; aliases (swish) and imports are left out."""
    for name, function in vars(module).items():
        if not hasattr(module, f"{name}_backward"):
            continue
        if (function.__module__, function.__name__) == (module.__name__, name):
            yield name


def all_cases() -> list[Case]:
    """Every case, in the order of the reference's modules, forward before backward."""
    cases = []
    for module in (activation, gated):
        for function in activations(module):
            for label, variant in VARIANTS.get(function, {function: Variant()}).items():
                for direction, callee in zip(DIRECTIONS, (function, f"{function}_backward"), strict=True):
                    signature = inspect.signature(getattr(module, callee))
                    cases.append(Case(label, function, direction, variant, signature))
    return cases


def select(labels: Sequence[str] = (), directions: Sequence[str] = DIRECTIONS) -> list[Case]:
    """Cases with these labels (none given: all) in these directions; an unknown label raises ValueError."""
    cases = all_cases()
    known = list(dict.fromkeys(case.label for case in cases))
    if unknown := [label for label in labels if label not in known]:
        raise ValueError(f"kernels: unknown {', '.join(unknown)}; known are {', '.join(known)}")
    return [case for case in cases if case.direction in directions and (not labels or case.label in labels)]
