"""No bit of a result depends on where in a cache line its array or its inputs begin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastnn.functional as F
from fastnn import nn, optim, stages
from fastnn._core.typing import Array
from fastnn.random import Key
from support.chains import arrays, fused
from support.operations import CALLS, FULL, Call, case, normal
from support.optimizers import VARIANTS

LINE = 64
AHEAD = 601  # elements: more than the kernels want for going to an aligned vector first, and no whole vectors
STEPPED = 4105  # the same for optimisers
LONG = 70_001  # on several threads
KEY = Key(3, 5)
DTYPES = pytest.mark.parametrize("dtype", FULL, ids=str)


def at(array: Array, offset: int) -> Array:
    """A copy that begins so many elements behind the begin of a line."""
    memory = np.empty(array.nbytes + 2 * LINE, np.uint8)
    start = -memory.ctypes.data % LINE + offset * array.itemsize
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def offsets(dtype: np.dtype[Any]) -> range:
    return range(1, LINE // dtype.itemsize)


def places(count: int, dtype: np.dtype[Any]) -> Iterator[list[int]]:
    """Offsets for so many arrays: all the same, the last alone elsewhere, and all but the last elsewhere."""
    for offset in offsets(dtype):
        yield [offset] * count
        yield [0] * (count - 1) + [offset]
        yield [offset] * (count - 1) + [0]


@pytest.mark.parametrize("call", CALLS, ids=str)
@DTYPES
def test_functions(call: Call, dtype: np.dtype[Any], isa: str) -> None:
    given = case(call, call.shape(AHEAD if call.any_shape else AHEAD // 20), dtype)
    out = np.empty_like(given.exact, dtype)
    expected = call(*(at(array, 0) for array in given.arrays), out=at(out, 0)).tobytes()
    for place in places(len(given.arrays) + 1, dtype):
        *inputs, result = (at(array, k) for array, k in zip((*given.arrays, out), place, strict=True))
        assert call(*inputs, out=result).tobytes() == expected, place
        if call.any_shape and inputs[0].shape == result.shape:
            assert call(*inputs, out=inputs[0]).tobytes() == expected, (place, "in place")


@pytest.mark.parametrize("call", [Call("relu", False, {}), Call("glu", True, {})], ids=str)
def test_threads_and_streaming(call: Call) -> None:
    dtype = np.dtype(np.float32)
    for size in (LONG, (100 << 20) // 8):
        few = case(call, (4098,), dtype).arrays
        large = [np.resize(array, size // 2 * 2 // (few[-1].size // array.size)) for array in few]
        expected = call(*(at(array, 0) for array in large))
        for offset in (1, 4, 15):
            out = at(expected, offset)
            out[...] = 7
            assert (call(*large, out=out).view(np.uint32) == expected.view(np.uint32)).all(), (size, offset)


X = normal((8, 6, 40), np.dtype(np.float64))
LABELS = np.arange(48) % 40


def _norm(forward: Any, backward: Any, *args: Any) -> Callable[..., list[Array]]:
    def both(x: Array, dy: Array) -> list[Array]:
        y, saved = forward(x, *args)
        return [y, backward(dy, saved)[0]]

    return both


def _channels(x: Array, dy: Array) -> list[Array]:
    y, saved = F.batch_norm(x, training=True)
    return [y, F.batch_norm_backward(dy, saved)[0]]


def _softmax(x: Array, dy: Array) -> list[Array]:
    y = F.softmax(x)
    return [y, F.softmax_backward(dy, y), F.log_softmax(x), F.softmax(x, 1)]


def _losses(x: Array, dy: Array) -> list[Array]:
    crossed, squared = F.cross_entropy(x.reshape(48, 40), LABELS), F.mse_loss(x, dy)
    return [np.asarray(part) for part in (*crossed, *squared)]


def _chain(x: Array, dy: Array) -> list[Array]:
    given = arrays(x.shape, x.dtype)._replace(x=x, dy=dy)
    got = fused([stages.BatchNorm(training=True), stages.Activation("relu"), stages.Dropout(0.25)], given)
    return [got.y, got.input]


FUNCTIONS: dict[str, Callable[[Array, Array], list[Array]]] = {
    "dropout": lambda x, dy: [F.dropout(x, key=KEY), F.alpha_dropout(x, key=KEY)],
    "layer norm": _norm(F.layer_norm, F.layer_norm_backward, 40),
    "group norm": _norm(F.group_norm, F.group_norm_backward, 3),
    "batch norm": _channels,
    "softmax": _softmax,
    "losses": _losses,
    "chain": _chain,
}


@pytest.mark.parametrize("name", FUNCTIONS)
@DTYPES
def test_sums_and_draws(name: str, dtype: np.dtype[Any], isa: str) -> None:
    x, dy = X.astype(dtype), normal(X.shape, dtype, 2)
    expected = [array.tobytes() for array in FUNCTIONS[name](at(x, 0), at(dy, 0))]
    for place in places(2, dtype):
        got = FUNCTIONS[name](at(x, place[0]), at(dy, place[1]))
        assert [array.tobytes() for array in got] == expected, place


def _stepped(name: str, options: dict[str, Any], dtype: np.dtype[Any], place: list[int]) -> bytes:
    p = nn.Parameter(at(normal((STEPPED,), dtype), place[0]))
    p.data = at(normal((STEPPED,), dtype), place[0])
    optimizer = getattr(optim, name)([p], **({"lr": 0.05} | options))
    for seed in (1, 2):
        p.grad = at(normal((STEPPED,), dtype, seed), place[1])
        optimizer.step()
    return p.data.tobytes()


@pytest.mark.parametrize("name", VARIANTS)
@DTYPES
def test_optimizers(name: str, dtype: np.dtype[Any], isa: str) -> None:
    for options in VARIANTS[name]:
        for penalties in ({}, {"weight_decay": 0.1}):
            given = penalties | options
            expected = _stepped(name, given, dtype, [0, 0])
            for place in [[k, k] for k in offsets(dtype)] + [[4, 0], [0, 4]]:
                assert _stepped(name, given, dtype, place) == expected, (given, place)
