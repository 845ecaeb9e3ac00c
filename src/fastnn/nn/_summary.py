"""A model as a table: what each layer puts out, and how many parameters it has. It knows no layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastnn._core.devices import dtype_name, moved
from fastnn._core.inference import inference
from fastnn.nn.module import Module, device_of_model, generators_of
from fastnn.nn.parameter import Parameter


def summary(model: Module, shape: Sequence[int], dtype: DTypeLike | None = None) -> str:
    """Return a table as text, with a line for each module: its output's shape and its own parameters.

    shape: that of an input, with the samples: (32, 3, 224, 224). dtype: the input's, by default that of the
    model's first parameter, or float32. Below the table are the totals: parameters, and the memory of the
    input and of all layers' results, which is about what a training pass keeps. The shapes come from one pass
    in evaluation mode, with zeros; afterwards modes, buffers, gradients, generators, hooks and what the last
    pass keeps for backward are as before. Raises what the pass raises. As torchinfo.summary.

        print(nn.summary(model, (1, 3, 32, 32)))
    """
    named = list(model.named_modules())
    if dtype is None:
        dtype = next((dtype_name(parameter.data) for parameter in model.parameters()), "float32")
    x = moved(np.zeros(shape, dtype), device_of_model(model))
    results: dict[int, Any] = {}

    def note(module: Module, x: Any, y: Any) -> None:
        results[id(module)] = y[0] if isinstance(y, tuple) else y

    with _as_before(model), inference():
        for _, module in named:
            module.training = False
            for method in ("forward", "backward"):  # hooks of the user's, who did not ask for a pass
                vars(module).pop(method, None)
            module.register_forward_hook(note)
        model(x)
    rows = [("layer", "output shape", "parameters")]
    counted: set[Parameter] = set()  # a shared one is in the first line of those that have it
    for name, module in named:
        own = {parameter for _, parameter in module._own_parameters()} - counted
        counted |= own
        count = f"{_elements(own):,}" if own else "-"
        rows.append((_label(name, module), _shape(results.get(id(module))), count))
    layers = {module for _, module in named if not any(True for _ in module.children())}
    sizes = [_nbytes(results.get(id(module))) for module in layers]
    return "\n".join([*_aligned(rows), "", *_totals(model, _nbytes(x), sum(sizes))])


@contextmanager
def _as_before(model: Module) -> Iterator[None]:
    """At the end, all attributes of the modules inside and all generators are what they were."""
    attributes = [(module, dict(vars(module))) for module in model.modules()]
    states = [(generator, generator.get_state()) for generator in generators_of(model)]
    try:
        yield
    finally:
        for module, before in attributes:
            vars(module).clear()
            vars(module).update(before)
        for generator, state in states:
            generator.set_state(state)


def _elements(parameters: Iterable[Parameter]) -> int:
    return sum(parameter.size for parameter in parameters)


def _label(name: str, module: Module) -> str:
    parts = name.split(".") if name else []
    return "  " * len(parts) + (f"{parts[-1]}: " if parts else "") + type(module).__name__


def _shape(result: Any) -> str:
    return str(tuple(result.shape)) if hasattr(result, "shape") else "-"


def _nbytes(array: Any) -> int:
    return int(getattr(array, "nbytes", 0))


def _aligned(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    first, second, third = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = [f"{a:<{first}}  {b:<{second}}  {c:>{third}}" for a, b, c in rows]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def _totals(model: Module, input_bytes: int, result_bytes: int) -> list[str]:
    parameters = list(model.parameters())
    trained = _elements(parameter for parameter in parameters if parameter.requires_grad)
    weights = sum(_nbytes(parameter.data) for parameter in parameters)
    return [
        f"parameters: {_elements(parameters):,} ({trained:,} trained), {_size(weights)}",
        f"memory of a pass: {_size(input_bytes)} of input, {_size(result_bytes)} of layers' results",
    ]


def _size(count: int) -> str:
    for unit, bytes_of in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= bytes_of:
            return f"{count / bytes_of:.1f} {unit}"
    return f"{count} bytes"
