"""Chains over arrays without structure, and the gradient of one activation from what it saved."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from fastnn.cuda._runtime.compiler import Built, Key, template
from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.ptx.arithmetic import like
from fastnn.cuda._runtime.ptx.functions import device
from fastnn.cuda._runtime.ptx.real import computing
from fastnn.cuda.kernels.activation.activations import ACTIVATIONS
from fastnn.cuda.kernels.chain import chain
from fastnn.cuda.kernels.common.tiles import NO_DRAWS, Draws, Operand, tiled
from fastnn.cuda.kernels.random.draws import EACH

_SEVERAL = (("activation", "relu"), ("dropout",), ("add",), ("activation", "leaky_relu"))


def _each_activation() -> Iterator[Key]:
    """All for the dtypes that are computed in, and for the others those with the least and the most to do."""
    computed = ((dtype, name) for dtype in ("float32", "float64") for name in ACTIVATIONS)
    halves = ((dtype, name) for dtype in ("float16", "bfloat16") for name in ("relu", "gelu", "gelu_tanh"))
    return itertools.chain(computed, halves)


def _each_chain() -> Iterator[Key]:
    single = ((dtype, (("activation", name),)) for dtype, name in _each_activation())
    return itertools.chain(single, itertools.product(ITEMSIZE, ((("dropout",),), _SEVERAL)))


def forward_operands(dtype: str, stages: chain.Stages) -> list[Operand]:
    """Y, X and, if it is added, R."""
    given = [Operand(dtype, read=True, written=False)] * (2 if ("add",) in stages else 1)
    return [Operand(dtype, read=False, written=True), *given]


def backward_operands(dtype: str, stages: chain.Stages) -> list[Operand]:
    """DX, DY, INPUT and, if something is added, ADDEND and DADDEND."""
    read, written = Operand(dtype, read=True, written=False), Operand(dtype, read=False, written=True)
    return [written, read, read, *([read, written] if ("add",) in stages else [])]


def _draws(stages: chain.Stages) -> Draws:
    return EACH if ("dropout",) in stages else NO_DRAWS


@template(_each_chain)
def chain_forward(dtype: str, stages: chain.Stages) -> Built:
    """y = the stages' result for x."""
    operands, numbers = forward_operands(dtype, stages), chain.NUMBERS * len(stages)
    return tiled(operands, numbers, lambda span: chain.forward(stages, span), _draws(stages))


@template(lambda: ((dtype, stages) for dtype, stages in _each_chain() if len(stages) > 1))
def chain_backward(dtype: str, stages: chain.Stages) -> Built:
    """dx from dy and x, and the gradient for what is added."""
    operands, numbers, real = backward_operands(dtype, stages), chain.NUMBERS * len(stages), computing(dtype)
    return tiled(operands, numbers, lambda span: chain.backward(stages, span, real), _draws(stages))


@template(_each_activation)
def gradient(dtype: str, name: str) -> Built:
    """dx from dy and what the activation saved."""
    function = ACTIVATIONS[name].backward

    def body(span: int) -> Any:
        @device
        def run(v: Any, keep: int, p: Any) -> None:
            for k in range(span):
                dy, saved = v[1, k], v[2, k]
                v[0, k] = function(dy, saved, like(saved, p[0]), like(saved, p[1]))

        return run

    return tiled(backward_operands(dtype, ()), chain.NUMBERS, body)
