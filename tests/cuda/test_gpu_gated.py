"""PReLU, RReLU, GLU, SwiGLU and Maxout on a GPU: shapes, sums, draws, winners, memory that overlaps."""

from __future__ import annotations

import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn
import fastnn.functional
from fastnn import Key, reference
from fastnn._core.typing import Array
from support.operations import FULL, HALF, LOOSE_ULP, normal
from support.ulp import assert_within, widen

DTYPES = pytest.mark.parametrize("dtype", FULL, ids=str)
ALL_DTYPES = pytest.mark.parametrize("dtype", [*FULL, *HALF], ids=str)
F32 = np.dtype(np.float32)
F: Any = fastnn.functional  # here of CuPy's arrays, which its annotations do not know
KEY = Key(0x0123456789ABCDEF, 0xFEDCBA9876543210)

# ---- PReLU -------------------------------------------------------------------------------------------------


def assert_sums(got: Array, terms: Array, axes: tuple[int, ...]) -> None:
    """The sums of the terms, as if each had been rounded once and all been added in float64."""
    exact, size = terms.sum(axis=axes), np.abs(terms).sum(axis=axes)
    eps = float(ml_dtypes.finfo(got.dtype).eps)  # type: ignore[no-untyped-call]
    one = 2.0**-24 if got.dtype != np.float64 else 2.0**-50
    assert (np.abs(widen(got) - exact) <= eps * np.abs(exact) + one * size).all()


@pytest.mark.parametrize(
    "shape",
    [
        (7,),
        (3, 0),
        (0, 4),
        (2000, 3),
        (300, 64),
        (5, 3000),
        (4, 3, 5, 6),
        (9, 5, 7),
        (2, 2, 9000),
        (70, 2, 64),
    ],
    ids=str,
)
@pytest.mark.parametrize("shared", [True, False])
@DTYPES
def test_prelu(cupy: Any, shape: tuple[int, ...], shared: bool, dtype: np.dtype[Any]) -> None:
    check_prelu(cupy, shape, 1 if shared or len(shape) == 1 else shape[1], dtype)


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("shape", [(40, 16), (40, 9), (6, 4, 64), (6, 4, 7)], ids=str)
def test_prelu_of_half_types(cupy: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    check_prelu(cupy, shape, shape[1], dtype)


def check_prelu(cupy: Any, shape: tuple[int, ...], channels: int, dtype: np.dtype[Any]) -> None:
    x, dy, weight = normal(shape, dtype), normal(shape, dtype, seed=1), normal((channels,), dtype, seed=2)
    x.reshape(-1)[::7] = 0
    wide = widen(dy), widen(x), widen(weight)
    on_gpu = [cupy.asarray(array) for array in (dy, x, weight)]
    assert_within(F.prelu(*on_gpu[1:]).get(), reference.prelu(*wide[1:]), 2)
    dx, dweight = F.prelu_backward(*on_gpu)
    assert_within(dx.get(), reference.prelu_backward(*wide)[0], 2)
    assert (dweight.shape, dweight.dtype) == (weight.shape, dtype)
    others = tuple(axis for axis in range(len(shape)) if axis != 1 or channels == 1)
    assert_sums(dweight.get(), np.where(wide[1] > 0, 0, wide[0] * wide[1]), others)


def test_prelu_in_place_and_in_any_layout(cupy: Any) -> None:
    x, dy, weight = normal((6, 4, 9), F32), normal((6, 4, 9), F32, seed=1), normal((4,), F32)
    w = cupy.asarray(weight)
    y, dx = (
        a.get()
        for a in (F.prelu(cupy.asarray(x), w), F.prelu_backward(cupy.asarray(dy), cupy.asarray(x), w)[0])
    )
    for i in range(2):
        arrays = [cupy.asarray(dy), cupy.asarray(x)]
        assert F.prelu_backward(*arrays, w, out=arrays[i])[0] is arrays[i]
        np.testing.assert_array_equal(arrays[i].get(), dx)
    strided = cupy.asarray(np.repeat(weight, 2))[::2]
    layouts: Any = np.asfortranarray, lambda a: a.transpose(1, 2, 0).copy().transpose(2, 0, 1)
    for lay_out in layouts:
        a, b = cupy.asarray(lay_out(dy)), cupy.asarray(lay_out(x))
        np.testing.assert_array_equal(F.prelu(b, strided, out=b).get(), y)
        b = cupy.asarray(lay_out(x))
        np.testing.assert_array_equal(F.prelu_backward(a, b, strided)[0].get(), dx)


def test_prelu_in_place_of_its_own_weight(cupy: Any) -> None:
    memory = np.arange(-8.0, 9.0)
    expected = F.prelu(memory[:16].reshape(2, 8).copy(), memory[9:].copy())
    on_gpu = cupy.asarray(memory)
    x = on_gpu[:16].reshape(2, 8)
    np.testing.assert_array_equal(F.prelu(x, on_gpu[9:], out=x).get(), expected)


def test_prelu_sums_are_the_same_each_time(cupy: Any) -> None:
    arrays = [cupy.asarray(normal((300, 5, 70), F32, seed=i)) for i in range(2)]
    weight = cupy.asarray(normal((5,), F32))
    first = F.prelu_backward(*arrays, weight)[1].get()
    assert F.prelu_backward(*arrays, weight)[1].get().tobytes() == first.tobytes()


def test_a_weight_that_does_not_fit(cupy: Any) -> None:
    x = cupy.ones((4, 3))
    for weight in (cupy.ones(2), cupy.ones((1, 3)), cupy.ones(0)):
        for function, arrays in ((F.prelu, (x,)), (F.prelu_backward, (x, x))):
            with pytest.raises(ValueError, match=r"^weight must have shape \(1,\) or \(3,\), .*, got \("):
                function(*arrays, weight)
    with pytest.raises(TypeError, match=r"^weight must be in the GPU's memory"):
        F.prelu(x, np.ones(3))


# ---- RReLU -------------------------------------------------------------------------------------------------


@ALL_DTYPES
@pytest.mark.parametrize("shape", [(), (1,), (3, 0), (3, 5, 7), (6001,)], ids=str)
def test_rrelu_is_the_cpu_s(cupy: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    x, dy = np.asarray(normal(shape, dtype)), np.asarray(normal(shape, dtype, seed=1))
    for training in (True, False):
        options = {"lower": 0.2, "upper": 0.7, "training": training, "key": KEY}
        y = F.rrelu(cupy.asarray(x), **options)
        np.testing.assert_array_equal(y.get(), F.rrelu(x, **options))
        dx = F.rrelu_backward(cupy.asarray(dy), cupy.asarray(x), **options)
        np.testing.assert_array_equal(dx.get(), F.rrelu_backward(dy, x, **options))


def test_rrelu_counts_elements_in_c_order_whatever_the_layout(cupy: Any) -> None:
    x = -np.abs(normal((11, 13, 17), F32))
    expected = F.rrelu(x, training=True, key=KEY)
    for array in (np.asfortranarray(x), x.transpose(1, 2, 0).copy().transpose(2, 0, 1)):
        np.testing.assert_array_equal(F.rrelu(cupy.asarray(array), training=True, key=KEY).get(), expected)
    misaligned = cupy.asarray(np.concatenate([[0], x.reshape(-1)]).astype(F32))[1:].reshape(x.shape)
    assert F.rrelu(misaligned, training=True, key=KEY, out=misaligned) is misaligned
    np.testing.assert_array_equal(misaligned.get(), expected)


def test_rrelu_takes_the_default_generators_next_key(cupy: Any) -> None:
    x = cupy.asarray(-np.ones(20, F32))
    fastnn.manual_seed(11)
    np.testing.assert_array_equal(
        F.rrelu(x, training=True).get(), F.rrelu(x.get(), training=True, key=Key(11, 0))
    )
    with pytest.raises(ValueError, match=r"^out must"):
        F.rrelu(x, training=True, out=cupy.ones(3, F32))  # draws nothing
    np.testing.assert_array_equal(
        F.rrelu(x, training=True).get(), F.rrelu(x.get(), training=True, key=Key(11, 1))
    )


def test_rrelu_errors(cupy: Any) -> None:
    x = cupy.ones(4)
    with pytest.raises(ValueError, match=r"^lower and upper must satisfy 0 <= lower <= upper <= 1, got"):
        F.rrelu(x, 0.5, 0.25)
    with pytest.raises(ValueError, match=r"^key must be the key that the forward call drew"):
        F.rrelu_backward(x, x, training=True)


# ---- GLU and SwiGLU ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["glu", "swiglu"])
@pytest.mark.parametrize(
    ("shape", "dim"),
    [
        ((2,), 0),
        ((6000,), -1),
        ((3, 4), -1),
        ((70, 514), 1),
        ((4, 3), 0),
        ((4, 6, 8), 1),
        ((0, 2), 1),
        ((2, 0), -1),
    ],
    ids=str,
)
@DTYPES
def test_gated(cupy: Any, name: str, shape: tuple[int, ...], dim: int, dtype: np.dtype[Any]) -> None:
    x = normal(shape, dtype)
    y = getattr(F, name)(cupy.asarray(x), dim)
    assert_within(y.get(), getattr(reference, name)(widen(x), dim), 4)
    dy = normal(y.shape, dtype, seed=1)
    dx = getattr(F, name + "_backward")(cupy.asarray(dy), cupy.asarray(x), dim)
    # The parts of SwiGLU's gradient are of the size of dy b.
    size = np.abs(widen(dy)).max(initial=0) * np.abs(widen(x)).max(initial=0)
    exact = getattr(reference, name + "_backward")(widen(dy), widen(x), dim)
    assert_within(dx.get(), exact, LOOSE_ULP, size)


@pytest.mark.parametrize("name", ["glu", "swiglu"])
def test_gated_into_memory_that_it_reads(cupy: Any, name: str) -> None:
    x, dy = normal((6, 40), F32), normal((6, 20), F32, seed=1)
    y = getattr(F, name)(cupy.asarray(x)).get()
    dx = getattr(F, name + "_backward")(cupy.asarray(dy), cupy.asarray(x)).get()
    for half in (slice(20), slice(20, None), slice(7, 27)):
        memory = cupy.asarray(x)
        np.testing.assert_array_equal(getattr(F, name)(memory, out=memory[:, half]).get(), y)
        memory = cupy.zeros_like(memory)
        memory[:, half] = cupy.asarray(dy)
        getattr(F, name + "_backward")(memory[:, half], cupy.asarray(x), out=memory)
        np.testing.assert_array_equal(memory.get(), dx)
    flat = cupy.asarray(x).reshape(-1)  # the result's memory begins where the input's does
    np.testing.assert_array_equal(getattr(F, name)(cupy.asarray(x), out=flat[:120].reshape(6, 20)).get(), y)
    memory = cupy.asarray(x)
    assert getattr(F, name + "_backward")(cupy.asarray(dy), memory, out=memory) is memory
    np.testing.assert_array_equal(memory.get(), dx)


def test_gated_errors(cupy: Any) -> None:
    x = cupy.ones((3, 4))
    with pytest.raises(ValueError, match=r"^input must have an even length along dim 0 .*\(3, 4\)"):
        F.glu(x, 0)
    with pytest.raises(ValueError, match=r"^dim must be in \[-2, 2\) .* got 2"):
        F.swiglu(x, 2)
    with pytest.raises(
        ValueError, match=re.escape("dy must have the shape of forward's result, (3, 2), got (3, 4)")
    ):
        F.glu_backward(x, x)
    with pytest.raises(ValueError, match=re.escape("out must have shape (3, 2), got (3, 4)")):
        F.glu(x, out=x)


# ---- Maxout ------------------------------------------------------------------------------------------------


def few_values(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """With ties in most groups, infinities and NaN."""
    choices = [-np.inf, -1.0, -0.0, 0.0, 0.5, 0.5, np.inf, np.nan]
    return np.random.default_rng(3).choice(choices, shape).astype(dtype)


@pytest.mark.parametrize("k", [1, 2, 3, 17])
@pytest.mark.parametrize("groups", [0, 1, 3])
@pytest.mark.parametrize("dim", [0, 1, -1])
@ALL_DTYPES
def test_maxout(cupy: Any, k: int, groups: int, dim: int, dtype: np.dtype[Any]) -> None:
    shape = [5, 6, 7]
    shape[dim] = k * groups
    for x in (normal(tuple(shape), dtype), few_values(tuple(shape), dtype)):
        y, saved = F.maxout(cupy.asarray(x), k, dim)
        exact, exact_saved = reference.maxout(widen(x), k, dim)
        assert y.dtype == dtype
        np.testing.assert_array_equal(widen(y.get()), exact)
        assert (saved.k, saved.dim, saved.shape) == (k, dim % 3, x.shape)
        dy = normal(exact.shape, dtype, seed=1)
        dx = F.maxout_backward(cupy.asarray(dy), saved)
        assert dx.dtype == dtype
        np.testing.assert_array_equal(widen(dx.get()), reference.maxout_backward(widen(dy), exact_saved))


@pytest.mark.parametrize(("shape", "dim"), [((3, 4, 700), 1), ((2500, 4), 1), ((4, 9, 45), 0)], ids=str)
def test_maxout_of_several_blocks_and_into_its_input(cupy: Any, shape: tuple[int, ...], dim: int) -> None:
    x = normal(shape, F32)
    y, saved = F.maxout(x, 4, dim)
    memory = cupy.asarray(x)
    out = memory.reshape(-1)[: y.size].reshape(y.shape)
    got, kept = F.maxout(memory, 4, dim, out=out)
    assert got is out
    np.testing.assert_array_equal(out.get(), y)
    dx = F.maxout_backward(cupy.asarray(y), kept)
    np.testing.assert_array_equal(dx.get(), F.maxout_backward(y, saved))


def test_maxout_errors(cupy: Any) -> None:
    x = cupy.ones((4, 6))
    for k in (0, 4, -1):
        with pytest.raises(ValueError, match=r"^k must be >= 1 and divide the input's length along dim 1, 6"):
            F.maxout(x, k)
    _, saved = F.maxout(x, 2)
    with pytest.raises(TypeError, match=r"^saved must be the MaxoutSaved that maxout returned, got tuple"):
        F.maxout_backward(x, (1, 2))
    with pytest.raises(
        ValueError, match=re.escape("dy must have the shape of forward's result, (4, 3), got (4, 6)")
    ):
        F.maxout_backward(x, saved)
    with pytest.raises(TypeError, match=r"^saved.winners must be in the GPU's memory"):
        F.maxout_backward(cupy.ones((4, 3)), F.maxout(np.ones((4, 6)), 2)[1])
