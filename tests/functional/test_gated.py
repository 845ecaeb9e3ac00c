"""What is special to functions with parts or slopes: PReLU, RReLU, GLU, SwiGLU and Maxout."""

from __future__ import annotations

from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import Key, reference
from fastnn._core.typing import Array
from support.cases import each
from support.operations import FORWARD_ULP, FULL, HALF, LOOSE_ULP, normal
from support.ulp import assert_within, widen

DTYPES = each("dtype", FULL)
ALL_DTYPES = each("dtype", [*FULL, *HALF])
F32 = np.dtype(np.float32)

# ---- PReLU -------------------------------------------------------------------------------------------------

SHAPES = [
    (7,),
    (3, 4),
    (1, 1),
    (0, 4),
    (3, 0),
    (2, 5, 0),
    (2000, 3),
    (5, 3000),  # more channels than a tile has elements
    (40, 700),
    (4, 3, 5, 6),
    (2, 2, 40_000),  # a channel's row is longer than a piece
    (70, 2, 3, 200),
    *[(9, 5, inner) for inner in range(1, 21)],
]


def _assert_sums(got: Array, terms: Array, axes: tuple[int, ...]) -> None:
    """The sums of the terms, as if each had been rounded once and all been added in float64."""
    exact, size = terms.sum(axis=axes), np.abs(terms).sum(axis=axes)
    eps = float(ml_dtypes.finfo(got.dtype).eps)  # type: ignore[no-untyped-call]
    one = 2.0**-24 if got.dtype != np.float64 else 2.0**-50
    assert (np.abs(widen(got) - exact) <= eps * np.abs(exact) + one * size).all()


@each("shape", SHAPES)
@each("shared", [True, False])
@ALL_DTYPES
def test_prelu(shape: tuple[int, ...], shared: bool, dtype: np.dtype[Any], isa: str) -> None:
    channels = 1 if shared or len(shape) == 1 else shape[1]
    x, dy = normal(shape, dtype), normal(shape, dtype, seed=1)
    x.reshape(-1)[::7] = 0
    weight = normal((channels,), dtype, seed=2)
    wide = widen(dy), widen(x), widen(weight)
    dx_exact, _ = reference.prelu_backward(*wide)
    assert_within(F.prelu(x, weight), reference.prelu(*wide[1:]), FORWARD_ULP)
    dx, dweight = F.prelu_backward(dy, x, weight)
    assert_within(dx, dx_exact, FORWARD_ULP)
    assert (dweight.shape, dweight.dtype) == (weight.shape, dtype)
    others = tuple(axis for axis in range(len(shape)) if axis != 1 or channels == 1)
    _assert_sums(dweight, np.where(wide[1] > 0, 0, wide[0] * wide[1]), others)


@DTYPES
@each("shape", [(70_001,), (301, 300), (5, 3000), (7, 3, 5001)])
def test_threads_change_no_bit_of_dweight(
    dtype: np.dtype[Any], shape: tuple[int, ...], isa: str, threads: None
) -> None:
    x, dy = normal(shape, dtype), normal(shape, dtype, seed=1)
    for channels in (1, *shape[1:2]):
        weight = normal((channels,), dtype)
        results = []
        for count in (1, 2, 3, 8):
            fastnn.set_num_threads(count)
            results.append([array.tobytes() for array in F.prelu_backward(dy, x, weight)])
        assert all(result == results[0] for result in results)


@ALL_DTYPES
def test_prelu_backward_in_place_and_in_any_layout(dtype: np.dtype[Any]) -> None:
    x, dy, weight = normal((6, 4, 9), dtype), normal((6, 4, 9), dtype, seed=1), normal((4,), dtype)
    dx, dweight = F.prelu_backward(dy, x, weight)
    for i in range(2):
        arrays = [dy.copy(), x.copy()]
        assert F.prelu_backward(arrays[0], arrays[1], weight, out=arrays[i])[0] is arrays[i]
        np.testing.assert_array_equal(arrays[i], dx)
    swapped = [array.astype(dtype.newbyteorder()) for array in (dy, x, weight)]
    for arrays in (swapped, [np.asfortranarray(dy), np.asfortranarray(x), np.repeat(weight, 2)[::2]]):
        out = np.empty_like(arrays[0])
        again = F.prelu_backward(arrays[0], arrays[1], arrays[2], out=out)
        np.testing.assert_array_equal(out.astype(dtype), dx)
        np.testing.assert_array_equal(again[1], dweight)


def test_prelu_in_place_of_its_own_weight() -> None:
    memory = np.arange(-8.0, 9.0)
    x, weight = memory[:16].reshape(2, 8), memory[9:]
    expected = F.prelu(x.copy(), weight.copy())
    np.testing.assert_array_equal(F.prelu(x, weight, out=x), expected)


@each("weight", [np.ones(2), np.ones((1, 3)), np.ones(0), np.ones((3, 1))])
def test_a_weight_that_does_not_fit(weight: Array) -> None:
    x, out = np.ones((4, 3)), np.full((4, 3), 7.0)
    for call in (lambda: F.prelu(x, weight, out=out), lambda: F.prelu_backward(x, x, weight, out=out)):
        with pytest.raises(ValueError, match=r"^weight must have shape \(1,\) or \(3,\), .*, got \("):
            call()
    assert (out == 7).all()


def test_a_weight_that_is_no_array_of_numbers() -> None:
    for weight in ("one", None, np.ones(3, complex)):
        with pytest.raises(TypeError, match=r"^weight must be an array of"):
            F.prelu(np.ones((4, 3)), weight)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^weight must have shape \(1,\), got \(3,\)"):
        F.prelu(np.ones(3), np.ones(3))


# ---- RReLU -------------------------------------------------------------------------------------------------

KEY = Key(0x0123456789ABCDEF, 0xFEDCBA9876543210)


@DTYPES
@each("shape", [(), (1,), (3, 0), (3, 5, 7), (100_003,)])
def test_rrelu_draws_what_the_reference_draws(dtype: np.dtype[Any], shape: tuple[int, ...], isa: str) -> None:
    x, dy = normal(shape, dtype), normal(shape, dtype, seed=1)
    y = F.rrelu(x, 0.25, 0.75, True, key=KEY)
    assert_within(y, reference.rrelu(widen(x), 0.25, 0.75, True, key=KEY), FORWARD_ULP)
    dx = F.rrelu_backward(dy, x, 0.25, 0.75, True, key=KEY)
    exact = reference.rrelu_backward(widen(dy), widen(x), 0.25, 0.75, True, key=KEY)
    assert_within(dx, exact, FORWARD_ULP)


@ALL_DTYPES
def test_rrelu_counts_elements_in_c_order_whatever_the_layout(dtype: np.dtype[Any], isa: str) -> None:
    x = -np.abs(normal((11, 13, 17), dtype))
    expected = F.rrelu(x, training=True, key=KEY)
    layouts = [
        x.copy(order="F"),
        np.repeat(x, 2, axis=1)[:, ::2],
        x.transpose(1, 2, 0).copy().transpose(2, 0, 1),
    ]
    for array in layouts:
        np.testing.assert_array_equal(F.rrelu(array, training=True, key=KEY), expected)
        out = np.full((17, 13, 11), 7, dtype).T
        np.testing.assert_array_equal(F.rrelu(array, training=True, key=KEY, out=out), expected)
        dx = F.rrelu_backward(np.ones_like(array), array, training=True, key=KEY)
        ones = F.rrelu_backward(np.ones_like(x), x, training=True, key=KEY)
        np.testing.assert_array_equal(dx, ones)


def test_rrelu_slopes_are_uniform() -> None:
    slopes = F.rrelu_backward(np.ones(200_000), -np.ones(200_000), 0.125, 0.375, True, key=KEY)
    assert 0.125 < slopes.min() < 0.12501
    assert 0.37499 < slopes.max() < 0.375
    counts, _ = np.histogram(slopes, 20, (0.125, 0.375))
    assert np.abs(counts - 10_000).max() < 500  # 5 standard deviations


def test_rrelu_without_training_has_the_mean_slope() -> None:
    x = normal((50,), F32)
    np.testing.assert_array_equal(F.rrelu(x, 0.25, 0.75), F.leaky_relu(x, 0.5))
    np.testing.assert_array_equal(F.rrelu_backward(x, x, 0.25, 0.75), F.leaky_relu_backward(x, x, 0.5))


def test_rrelu_takes_the_default_generators_next_key() -> None:
    x = -np.ones(20, F32)
    fastnn.manual_seed(11)
    first, second = F.rrelu(x, training=True), F.rrelu(x, training=True)
    np.testing.assert_array_equal(first, F.rrelu(x, training=True, key=Key(11, 0)))
    np.testing.assert_array_equal(second, F.rrelu(x, training=True, key=Key(11, 1)))
    assert (first != second).any()
    fastnn.manual_seed(11)
    F.rrelu(x)  # evaluation draws nothing
    with pytest.raises(ValueError, match=r"^out must"):
        F.rrelu(x, training=True, out=np.ones(3, F32))  # nor does a call that fails
    np.testing.assert_array_equal(F.rrelu(x, training=True), first)


def test_rrelu_errors() -> None:
    x, out = -np.ones(4), np.full(4, 7.0)
    for lower, upper in ((0.5, 0.25), (-0.1, 0.5), (0.5, 1.1), (np.nan, 0.5)):
        for call in (partial(F.rrelu, x), partial(F.rrelu_backward, x, x)):
            with pytest.raises(
                ValueError, match=r"^lower and upper must satisfy 0 <= lower <= upper <= 1, got"
            ):
                call(lower, upper, out=out)
    with pytest.raises(ValueError, match=r"^key must be the key that the forward call drew"):
        F.rrelu_backward(x, x, training=True, out=out)
    for key, error in (
        (5, TypeError),
        ((1,), TypeError),
        ((1, 2, 3, 4), TypeError),
        ((0.5, 1), TypeError),
        ("ab", TypeError),
        ((-1, 0), ValueError),
        ((0, 2**64), ValueError),
    ):
        wrong: Any = key
        with pytest.raises(error, match=r"^key must"):
            F.rrelu(x, training=True, key=wrong, out=out)
        with pytest.raises(error, match=r"^key must"):
            F.rrelu_backward(x, x, training=True, key=wrong, out=out)
    assert (out == 7).all()


# ---- GLU and SwiGLU ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["glu", "swiglu"])
@each(
    ("shape", "dim"),
    [
        ((2,), 0),
        ((2000,), -1),
        ((3, 4), -1),
        ((4, 3), 0),
        ((4, 6, 8), 1),
        ((4, 6, 8), -3),
        ((0, 2), 1),
        ((2, 0), -1),
    ],
)
@DTYPES
def test_gated_along_any_dimension(
    name: str, shape: tuple[int, ...], dim: int, dtype: np.dtype[Any], isa: str
) -> None:
    x = normal(shape, dtype)
    y = getattr(F, name)(x, dim)
    assert_within(y, getattr(reference, name)(widen(x), dim), LOOSE_ULP)
    dy = normal(y.shape, dtype, seed=1)
    dx = getattr(F, name + "_backward")(dy, x, dim)
    # The parts of SwiGLU's gradient are of the size of dy b.
    size = np.abs(widen(dy)).max(initial=0) * np.abs(widen(x)).max(initial=0)
    assert_within(dx, getattr(reference, name + "_backward")(widen(dy), widen(x), dim), LOOSE_ULP, size)


@pytest.mark.parametrize("name", ["glu", "swiglu"])
@ALL_DTYPES
def test_gated_into_memory_that_it_reads(name: str, dtype: np.dtype[Any]) -> None:
    x, dy = normal((6, 40), dtype), normal((6, 20), dtype, seed=1)
    y, dx = getattr(F, name)(x), getattr(F, name + "_backward")(dy, x)
    for half in (slice(20), slice(20, None), slice(7, 27)):
        memory = x.copy()
        np.testing.assert_array_equal(getattr(F, name)(memory, out=memory[:, half]), y)
        memory = np.zeros_like(x)
        memory[:, half] = dy
        np.testing.assert_array_equal(getattr(F, name + "_backward")(memory[:, half], x, out=memory), dx)


@pytest.mark.parametrize("name", ["glu", "swiglu"])
def test_gated_errors(name: str) -> None:
    x = np.ones((3, 4))
    for call in (getattr(F, name), lambda x, dim: getattr(F, name + "_backward")(x, x, dim)):
        with pytest.raises(ValueError, match=r"^input must have an even length along dim 0 .*\(3, 4\)"):
            call(x, 0)
        for dim in (2, -3):
            with pytest.raises(ValueError, match=rf"^dim must be in \[-2, 2\) .* got {dim}"):
                call(x, dim)
        with pytest.raises(ValueError, match=r"^dim must be in"):
            call(np.float64(1), -1)
        for wrong in (0.0, "0", None):
            with pytest.raises(TypeError, match=rf"^dim must be an integer, got {type(wrong).__name__}"):
                call(x, wrong)
    with pytest.raises(
        ValueError, match=r"^dy must have the shape of forward's result, \(3, 2\), got \(3, 4\)"
    ):
        getattr(F, name + "_backward")(x, x)


# ---- Maxout ------------------------------------------------------------------------------------------------


def _few_values(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """With ties in most groups, infinities and NaN."""
    choices = [-np.inf, -1.0, -0.0, 0.0, 0.5, 0.5, np.inf, np.nan]
    return np.random.default_rng(3).choice(choices, shape).astype(dtype)


@each("k", [1, 2, 3, 4, 5, 8, 17])
@each("groups", [0, 1, 3])
@each("dim", [0, 1, 2, -1])
@ALL_DTYPES
def test_maxout(k: int, groups: int, dim: int, dtype: np.dtype[Any], isa: str) -> None:
    shape = [5, 6, 7]
    shape[dim] = k * groups
    for x in (normal(tuple(shape), dtype), _few_values(tuple(shape), dtype)):
        y, saved = F.maxout(x, k, dim)
        exact, exact_saved = reference.maxout(widen(x), k, dim)
        assert y.dtype == dtype
        np.testing.assert_array_equal(widen(y), exact)
        assert (saved.k, saved.dim, saved.shape) == (k, dim % 3, x.shape)
        assert saved.winners.shape == (int(np.ceil(np.log2(k))), -(-y.size // 8))
        dy = normal(y.shape, dtype, seed=1)
        dx = F.maxout_backward(dy, saved)
        assert dx.dtype == dtype
        np.testing.assert_array_equal(widen(dx), reference.maxout_backward(widen(dy), exact_saved))


@each("shape", [(300, 4, 70), (3, 80_000), (100_000, 3), (1, 3 * 1025)])
@DTYPES
def test_large_maxout_on_any_threads(
    shape: tuple[int, ...], dtype: np.dtype[Any], isa: str, threads: None
) -> None:
    x = normal(shape, dtype)
    k = 4 if shape[1] % 4 == 0 else 3
    exact, exact_saved = reference.maxout(x, k)
    dy = normal(exact.shape, dtype, seed=1)
    dx = reference.maxout_backward(dy, exact_saved)
    for count in (1, 2, 3, 8):
        fastnn.set_num_threads(count)
        y, saved = F.maxout(x, k)
        np.testing.assert_array_equal(y, exact)
        np.testing.assert_array_equal(F.maxout_backward(dy, saved), dx)


def test_maxout_winners_are_bit_planes() -> None:
    x = np.zeros((11, 3), F32)
    x[np.arange(11), [0, 1, 2, 0, 1, 2, 2, 2, 2, 1, 2]] = 1
    saved = F.maxout(x, 3)[1]
    low, high = (np.unpackbits(plane, bitorder="little")[:11] for plane in saved.winners)
    assert (low + 2 * high).tolist() == [0, 1, 2, 0, 1, 2, 2, 2, 2, 1, 2]


@ALL_DTYPES
def test_maxout_into_memory_that_it_reads(dtype: np.dtype[Any]) -> None:
    x = normal((6, 40), dtype)
    y, saved = F.maxout(x, 4)
    memory = x.copy()
    result, again = F.maxout(memory, 4, out=memory[:, 3:13])
    assert result.base is memory
    np.testing.assert_array_equal(result, y)
    np.testing.assert_array_equal(again.winners, saved.winners)
    dx = F.maxout_backward(y, saved)
    memory[:, 7:17] = y
    np.testing.assert_array_equal(F.maxout_backward(memory[:, 7:17], saved, out=memory), dx)


def test_maxout_errors() -> None:
    x, saved = np.ones((2, 6)), F.maxout(np.ones((2, 6)), 2)[1]
    for k in (4, 0, -1, 7):
        with pytest.raises(ValueError, match=rf"^k must be >= 1 and divide .* dim 1, 6, got {k}"):
            F.maxout(x, k)
    wrong: Any
    for wrong in (2.0, "2", None):
        with pytest.raises(TypeError, match=rf"^k must be an integer, got {type(wrong).__name__}"):
            F.maxout(x, wrong)
        with pytest.raises(TypeError, match=rf"^dim must be an integer, got {type(wrong).__name__}"):
            F.maxout(x, 2, wrong)
    for dim in (2, -3):
        with pytest.raises(ValueError, match=rf"^dim must be in \[-2, 2\) .* got {dim}"):
            F.maxout(x, 2, dim)
    with pytest.raises(ValueError, match=r"^dim must be in"):
        F.maxout(np.ones(6), 2)
    for shape in ((2, 6), (3,), (3, 2)):
        with pytest.raises(ValueError, match=r"^dy must have the shape of forward's result, \(2, 3\), got"):
            F.maxout_backward(np.ones(shape), saved)
    for wrong in (None, x, tuple(saved)):
        with pytest.raises(TypeError, match=r"^saved must be the MaxoutSaved"):
            F.maxout_backward(np.ones((2, 3)), wrong)
    with pytest.raises(ValueError, match=r"^out must have shape \(2, 3\)"):
        F.maxout(x, 2, out=x)


def test_prelu_into_memory_that_begins_with_the_weight() -> None:
    memory = np.linspace(0.1, 1, 32, dtype=np.float32)
    weight, out = memory[:4], memory.reshape(8, 4)
    x = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    alone = F.prelu(x, weight.copy())
    assert np.array_equal(F.prelu(x, weight, out=out), alone)
