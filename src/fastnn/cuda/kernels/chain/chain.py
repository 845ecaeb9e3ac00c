"""Fused chains as device functions: stages composed when they are compiled, on values in registers.

A stage is ("activation", its row), ("dropout",) or ("add",), and takes two numbers of the tuple p: an
activation its parameters; dropout has its scale in the first. Values are rows of a local array v, changed in
place; bit k of keep tells whether dropout keeps element k. It must not know memory.
"""

from __future__ import annotations

from typing import Any

from numba import cuda

from fastnn.cuda._runtime.ptx.arithmetic import like
from fastnn.cuda._runtime.ptx.functions import device, in_turn, made_once
from fastnn.cuda.kernels.activation.activations import ACTIVATIONS
from fastnn.cuda.kernels.random import drop

Stage = tuple[str, ...]
Stages = tuple[Stage, ...]

#: The rows of v in a forward pass: the result, the input, and what is added.
Y, X, R = 0, 1, 2
#: In a backward pass: the gradients for the input and the result, the input, what is added, its gradient.
DX, DY, INPUT, ADDEND, DADDEND = 0, 1, 2, 3, 4

NUMBERS = 2  # of a stage


@made_once
def _stage(stage: Stage, at: int, span: int, value: int, residual: int) -> Any:
    """(v, keep, p): row `value` becomes the stage's result; its numbers are p[at] and p[at + 1]."""
    if stage[0] == "activation":
        function = ACTIVATIONS[stage[1]].forward

        @device
        def activate(v: Any, keep: int, p: Any) -> None:
            for k in range(span):
                x = v[value, k]
                v[value, k] = function(x, like(x, p[at]), like(x, p[at + 1]))

        return activate
    if stage[0] == "dropout":
        return drop.scaled(value, value, at, span)

    @device
    def add(v: Any, keep: int, p: Any) -> None:
        for k in range(span):
            v[value, k] += v[residual, k]

    return add


def _copy(source: int, target: int, span: int) -> Any:
    """(v, keep, p): one row becomes the other."""

    @device
    def copy(v: Any, keep: int, p: Any) -> None:
        for k in range(span):
            v[target, k] = v[source, k]

    return copy


@made_once
def forward(stages: Stages, span: int) -> Any:
    """(v, keep, p): row Y becomes the chain's result of row X."""
    steps = [_stage(stage, NUMBERS * i, span, Y, R) for i, stage in enumerate(stages)]
    return in_turn([_copy(X, Y, span), *steps])


@made_once
def _undo(stage: Stage, at: int, span: int) -> Any:
    """(v, keep, p, x, y): row DX becomes the gradient for the stage's input x; y is its output."""
    if stage[0] == "activation":
        function, saves_output = ACTIVATIONS[stage[1]].backward, ACTIVATIONS[stage[1]].saves_output

        @device
        def activate(v: Any, keep: int, p: Any, x: Any, y: Any) -> None:
            for k in range(span):
                saved = y[k] if saves_output else x[k]
                v[DX, k] = function(v[DX, k], saved, like(saved, p[at]), like(saved, p[at + 1]))

        return activate
    if stage[0] == "dropout":
        run = drop.scaled(DX, DX, at, span)

        @device
        def undrop(v: Any, keep: int, p: Any, x: Any, y: Any) -> None:
            run(v, keep, p)

        return undrop

    @device
    def share(v: Any, keep: int, p: Any, x: Any, y: Any) -> None:
        for k in range(span):
            v[DADDEND, k] = v[DX, k]

    return share


@made_once
def backward(stages: Stages, span: int, real: Any) -> Any:
    """(v, keep, p): row DX becomes the gradient for the chain's input, row DADDEND that for what is added.

    What the stages saw is computed again from row INPUT, which is changed.
    """
    return in_turn([_copy(DY, DX, span), _backward(stages, span, real, 0)])


def _backward(stages: Stages, span: int, real: Any, at: int) -> Any:
    if not stages:
        return in_turn([])
    first, undo = _stage(stages[0], at, span, INPUT, ADDEND), _undo(stages[0], at, span)
    rest = _backward(stages[1:], span, real, at + NUMBERS)

    @device
    def both(v: Any, keep: int, p: Any) -> None:
        x, y = cuda.local.array(span, real), cuda.local.array(span, real)
        for k in range(span):
            x[k] = v[INPUT, k]
        first(v, keep, p)
        for k in range(span):
            y[k] = v[INPUT, k]
        rest(v, keep, p)
        undo(v, keep, p, x, y)

    return both
