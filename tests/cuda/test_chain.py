"""Fused chains on a GPU: the CPU's results, its masks to the last bit, and its errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn, stages
from support.batch_norm import channels_last
from support.chains import HEADS, KEY, Arrays, Results, arrays, fused
from support.device_functions import there
from support.operations import BFLOAT16
from support.ulp import widen

fuse: Any = fastnn.fuse  # whose arrays are a GPU's here, and no NumPy's
F32 = np.dtype(np.float32)
RELU, LEAKY = stages.Activation("relu"), stages.Activation("leaky_relu")
DROP, ADD = stages.Dropout(0.25), stages.Add()
BLOCK = [RELU, DROP, ADD, LEAKY]


def on_gpu(cupy: Any, chain: Sequence[Any], given: Arrays) -> Results:
    """What `fused` of the CPU's tests gives, from arrays on the GPU."""
    moved = Arrays(*[there(cupy, array) for array in given])
    every = {**moved._asdict(), "key": KEY}
    takes = {name for stage in chain for name in stage.takes} & every.keys()
    made = fuse(*chain)
    y, saved = made.forward(moved.x, **{name: every[name] for name in takes})
    gradients = made.backward(moved.dy, saved)
    for result in (y, gradients.input):
        pairs = zip(result.strides, moved.x.strides, moved.x.shape, strict=True)
        assert all(one == other or n == 1 for one, other, n in pairs) or not moved.x.size
    results = (y, *gradients, moved.running_mean, moved.running_var)
    host: list[Any] = [None if a is None else a.get() for a in results]
    return Results(*host)


def assert_near(got: Results, expected: Results, near: float = 2e-5) -> None:
    for name, one, other in zip(Results._fields, got, expected, strict=True):
        if one is None or other is None:
            assert one is other is None, name
            continue
        assert (one.shape, one.dtype) == (other.shape, other.dtype), name
        size = np.abs(widen(other)).max(initial=1)
        np.testing.assert_allclose(widen(one), widen(other), near, near * size, err_msg=name)


def compare(cupy: Any, chain: Sequence[Any], given: Arrays, near: float = 2e-5) -> Results:
    got = on_gpu(cupy, chain, given)
    assert_near(got, fused(chain, given), near)
    return got


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("shape", [(3, 2, 8, 20), (40, 12), (3, 5, 7)], ids=str)
def test_every_head(head: str, shape: tuple[int, ...], cupy: Any) -> None:
    compare(cupy, [*HEADS[head], *BLOCK], arrays(shape, F32))


@pytest.mark.parametrize("dtype", [np.dtype(np.float64), np.dtype(np.float16), BFLOAT16], ids=str)
def test_other_dtypes(dtype: np.dtype[Any], cupy: Any) -> None:
    compare(
        cupy,
        [stages.BatchNorm(), *BLOCK],
        arrays((3, 8, 4, 2), dtype),
        1e-2 if dtype.itemsize == 2 else 1e-12,
    )


@pytest.mark.parametrize("head", ["nothing", "scale_shift", "batch_norm"])
@pytest.mark.parametrize("shape", [(3, 8, 5, 7), (2, 8, 8, 8), (40, 3, 1, 2)], ids=str)
def test_channels_last(head: str, shape: tuple[int, ...], cupy: Any) -> None:
    compare(cupy, [*HEADS[head], *BLOCK], arrays(shape, F32).laid_out(channels_last))


@pytest.mark.parametrize("chain", [[DROP], [RELU, ADD], [ADD, RELU, DROP]], ids=str)
@pytest.mark.parametrize("shape", [(), (17,), (3000,), (0,), (3, 0)], ids=str)
def test_without_channels(chain: list[Any], shape: tuple[int, ...], cupy: Any) -> None:
    compare(cupy, chain, arrays(shape, F32))


def test_the_first_stage_alone(cupy: Any) -> None:
    for head in HEADS.values():
        if head:
            compare(cupy, head, arrays((6, 5), F32))


@pytest.mark.parametrize("lay_out", [np.copy, channels_last], ids=["usual", "channels_last"])
@pytest.mark.parametrize("shape", [(2, 3, 200), (5, 4, 7, 7), (2, 5, 3, 3), (700, 12)], ids=str)
def test_masks_are_the_cpu_s(shape: tuple[int, ...], lay_out: Callable[[Any], Any], cupy: Any) -> None:
    given = arrays(shape, F32).laid_out(lay_out)
    x, weight = there(cupy, given.x), there(cupy, given.weight)
    alone, _ = fuse(DROP).forward(x, key=KEY)
    np.testing.assert_array_equal(alone.get(), fuse(DROP).forward(given.x, key=KEY)[0])
    scaled = fuse(stages.ScaleShift(), DROP)
    got, expected = scaled.forward(x, weight=weight, key=KEY)[0].get() == 0, alone.get() == 0
    np.testing.assert_array_equal(got, expected)
    assert 0.1 < got.mean() < 0.4


def test_the_default_generator_goes_on_as_on_the_cpu(cupy: Any) -> None:
    x, chain = np.ones((4, 50), F32), fuse(DROP)
    fastnn.manual_seed(5)
    expected = [chain.forward(x)[0] for _ in range(2)]
    fastnn.manual_seed(5)
    for one in expected:
        np.testing.assert_array_equal(chain.forward(cupy.asarray(x))[0].get(), one)


def test_in_place_and_the_residual_kept(cupy: Any) -> None:
    given, chain = arrays((3, 2, 8, 20), F32), fuse(stages.Bias(), RELU, DROP, ADD, LEAKY)
    x, residual, bias = (there(cupy, a) for a in (given.x, given.residual, given.bias))
    expected, _ = chain.forward(x, bias=bias, residual=residual, key=KEY)
    beside, saved = chain.forward(x.copy(), bias=bias, residual=residual, key=KEY, out=residual.copy())
    assert saved.residual is residual
    np.testing.assert_array_equal(beside.get(), expected.get())
    over, _ = chain.forward(x, bias=bias, residual=residual, key=KEY, out=x)
    assert over is x
    np.testing.assert_array_equal(x.get(), expected.get())
    over, _ = chain.forward(there(cupy, given.x), bias=bias, residual=residual, key=KEY, out=residual)
    np.testing.assert_array_equal(residual.get(), expected.get())


def test_sequential_reaches_it(cupy: Any) -> None:
    x = arrays((6, 5), F32).x
    model: Any = nn.Sequential(nn.ReLU(), nn.LeakyReLU())
    np.testing.assert_array_equal(model(cupy.asarray(x)).get(), model(x))


def test_errors_are_the_cpu_s(cupy: Any) -> None:
    host = np.ones((4, 3), F32)
    for to in (np.asarray, cupy.asarray):
        x, chain = to(host), fuse(stages.Bias(), ADD)
        with pytest.raises(
            ValueError, match=re.escape("residual must have the shape of input, (4, 3), got (3,)")
        ):
            chain.forward(x, bias=x[0], residual=x[0])
        with pytest.raises(ValueError, match=re.escape("bias must have shape (3,), one for each channel")):
            chain.forward(x, bias=x[0, :2], residual=x)
        with pytest.raises(ValueError, match="residual must be given"):
            chain.forward(x, bias=x[0])
        with pytest.raises(TypeError, match=r"key must be a fastnn\.Key"):
            fuse(DROP).forward(x, key=3)
        with pytest.raises(TypeError, match="saved must be what forward returned beside y, got NoneType"):
            chain.backward(x, None)
        with pytest.raises(TypeError, match="input must be an array of float16"):
            chain.forward(to(host + 0j), bias=x[0], residual=x)
    x = cupy.asarray(host)
    with pytest.raises(TypeError, match="residual must be in the GPU's memory, as another argument is"):
        chain.forward(x, bias=x[0], residual=host)
