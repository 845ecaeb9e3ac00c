"""The cases measured by their number of elements: the activations of `fastnn.reference`, gated ones included.

A forward and a backward case follow from the name and the signature alone; only a case that needs more has a
row in VARIANTS.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

import fastnn.functional as F
from fastnn import Key
from fastnn.bench.data import Buffers, Case, Data, Shape, Size, callee, view
from fastnn.reference import activation, gated

SIZES = tuple(Size((n,)) for n in (16, 256, 4096, 2**14, 2**17, 2**20, 2**23, 2**25))
QUICK_SIZES = tuple(Size((n,)) for n in (16, 2**14, 2**20))


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
class Activation(Case):
    """An activation in one direction."""

    group: ClassVar[str] = "activations"

    variant: Variant

    @property
    def random(self) -> bool:
        """Whether the draws of another library make its result differ from ours."""
        return "key" in self.variant.params

    @property
    def checks(self) -> tuple[Size, ...]:
        """A number of elements that every layout can split."""
        return (Size((4096,)),)

    def sizes(self, *, quick: bool) -> tuple[Size, ...]:
        """From overhead to memory."""
        return QUICK_SIZES if quick else SIZES

    def takes(self, size: Size) -> bool:
        """Any number of elements."""
        return len(size.shape) == 1

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

    def data(self, buffers: Buffers, size: Size) -> Data:
        """Return views of the shared memory in this case's shapes; `output` is what its forward gives."""
        shape, result = self.shapes(size.elements)
        values: dict[str, Any] = {"input": view(buffers.input, shape), "dy": view(buffers.dy, result)}
        if self.variant.weight:
            values["weight"] = np.array(self.variant.weight, buffers.dtype)
        values.update(self.variant.params)
        if "output" in self.signature.parameters:
            forward = getattr(F, self.function)
            values["output"] = forward(
                values["input"], **self.variant.params, out=view(buffers.output, result)
            )
        out = view(buffers.out, result if self.direction == "forward" else shape)
        return Data(self, Size((math.prod(shape),)), values, out)


def activations(module: ModuleType) -> Iterator[str]:
    """Names defined in this module with a backward beside them; aliases (swish) and imports are left out."""
    for name, function in vars(module).items():
        if not hasattr(module, f"{name}_backward"):
            continue
        if (function.__module__, function.__name__) == (module.__name__, name):
            yield name


def all_activations() -> Iterator[Activation]:
    """Every case, in the order of the reference's modules, forward before backward."""
    for module in (activation, gated):
        for function in activations(module):
            for label, variant in VARIANTS.get(function, {function: Variant()}).items():
                for direction in ("forward", "backward"):
                    signature = inspect.signature(getattr(module, callee(function, direction)))
                    yield Activation(label, function, direction, signature, variant)
