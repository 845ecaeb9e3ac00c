"""Batch normalisation and its gradient: against the definition in a wider dtype, differences, and torch."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from itertools import cycle, product
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import reference
from fastnn._core.typing import Array
from support.batch_norm import F32, Problem, Shape, channels_last, check, parameter_dtype, problem, run
from support.cases import each
from support.gradients import numerical_gradient
from support.interrupts import leaves_undone_or_done
from support.layouts import LAYOUTS
from support.operations import BFLOAT16, FULL, HALF
from support.ulp import widen

ALL_DTYPES = each("dtype", [*FULL, *HALF])
DTYPES = each("dtype", FULL)
TRAINING = each("training", [True, False])


# ---- values ------------------------------------------------------------------------------------------------

SPATIAL: dict[int, Shape] = {
    1: (), 2: (2,), 15: (3, 5), 16: (2, 2, 4), 17: (17,), 49: (7, 7), 196: (14, 14), 1024: (4, 16, 16),
}  # fmt: skip
MOST = 30_000  # elements of a problem of the matrix
SHAPES = [
    (n, channels, *spatial)
    for n, channels, (size, spatial) in product(
        (1, 2, 7, 128), (1, 2, 3, 5, 16, 17, 64, 100, 257), SPATIAL.items()
    )
    if n * size > 1 and n * channels * size <= MOST
]
GIVEN = [
    {},
    {"running": False},
    {"weight": False},
    {"bias": False},
    {"running": False, "weight": False, "bias": False},
]


@ALL_DTYPES
@TRAINING
def test_every_shape(dtype: np.dtype[Any], training: bool, isa: str) -> None:
    for shape, given in zip(SHAPES, cycle(GIVEN), strict=False):
        if training or given.get("running", True):
            check(problem(shape, dtype, **given), training)


@DTYPES
@each("shape", [(1, 3), (1, 1, 1), (1, 17, 1, 1), (1, 2, 5), (1, 257, 16), (1, 1, 10_000)])
def test_one_sample_in_evaluation(shape: Shape, dtype: np.dtype[Any], isa: str) -> None:
    check(problem(shape, dtype), training=False)


@each("kind", HALF)
@TRAINING
def test_parameters_of_half_types(kind: np.dtype[Any], training: bool) -> None:
    given = problem((6, 5, 7), kind)
    check(Problem._make(None if a is None else a.astype(kind) for a in given), training)


@TRAINING
def test_parameters_of_another_dtype_than_the_input(training: bool) -> None:
    single, double = problem((6, 5, 7), F32), problem((6, 5, 7), np.dtype(np.float64))
    check(Problem(single.x, single.dy, *double[2:]), training)
    check(Problem(double.x, double.dy, *single[2:]), training)


@DTYPES
@each("shape", [(50, 3), (4, 3, 5, 7), (2, 2, 5000)])
@each("mean", [1e6, -1e6, 3e3])
def test_a_mean_far_from_0_costs_nothing(mean: float, shape: Shape, dtype: np.dtype[Any], isa: str) -> None:
    """The bounds are those of mean 0: they do not know the mean."""
    for lay_out in (np.copy, channels_last):
        given = problem(shape, dtype)
        x = (np.random.default_rng(0).normal(size=shape) + mean).astype(dtype)
        check(given._replace(x=lay_out(x)), training=True, mean=mean)
        assert given.running_mean is not None
        running = given.running_mean + dtype.type(mean)
        check(given._replace(x=lay_out(x), running_mean=running), training=False, mean=mean)


@DTYPES
def test_rows_far_from_the_first_cost_nothing(dtype: np.dtype[Any], isa: str) -> None:
    """Sums of differences from the mean of the first rows would lose digits: such a block is done again."""
    rng = np.random.default_rng(0)
    for rows in (256, 600):
        x = rng.normal(size=(rows, 64))
        x[:32] += rng.uniform(1e3, 1e5, 64)
        x = x.astype(dtype)
        exact = 1 / np.sqrt(widen(x).var(axis=0) + 1e-5)
        _, saved = F.batch_norm(x, training=True)
        assert saved.rstd is not None
        np.testing.assert_allclose(saved.rstd, exact, rtol=4 * float(np.finfo(dtype).eps))


@ALL_DTYPES
@each("value", [0.0, 0.1, -1e6, 3e-40, 3e38])
@each("shape", [(3, 2), (7, 2, 49), (3, 2, 5000)])
def test_a_constant_channel_gives_its_bias(
    value: float, shape: Shape, dtype: np.dtype[Any], isa: str
) -> None:
    with np.errstate(over="ignore"):
        x = np.full(shape, value).astype(dtype)
    if np.isinf(widen(x)).any():
        pytest.skip("not a number of this type")
    weight, bias = np.array([[3, -2], [0.1, 0]], parameter_dtype(dtype))
    for lay_out in (np.copy, channels_last):
        y, _ = F.batch_norm(lay_out(x), weight=weight, bias=bias, training=True)
        expected = np.broadcast_to(bias.reshape(2, *[1] * (x.ndim - 2)), shape).astype(dtype)
        np.testing.assert_array_equal(widen(y), widen(expected))
    given = problem(shape, dtype)
    check(given._replace(x=x), training=True)


@DTYPES
def test_subnormal_numbers(dtype: np.dtype[Any], isa: str) -> None:
    least = float(np.finfo(dtype).smallest_subnormal)
    for shape in ((7, 3), (5, 3, 6, 5)):
        x = (least * np.random.default_rng(0).integers(-1000, 1000, shape)).astype(dtype)
        half = shape[0] // 2  # a mean of 0: another would be rounded to a multiple of the least float64
        x[half], x[half + 1 :] = 0, -x[:half]
        for given in (problem(shape, dtype), problem(shape, dtype, False, False, False)):
            check(given._replace(x=x), training=True)
            check(given._replace(x=problem(shape, dtype).x, dy=x), training=True)


@DTYPES
def test_huge_numbers(dtype: np.dtype[Any], isa: str) -> None:
    """Neither sums nor squares overflow."""
    lay_outs: list[Callable[[Array], Array]] = [np.copy, channels_last]
    sizes = (1e38,) if dtype == np.float32 else (1e150, 1e155, 1e307)
    for shape, lay_out, size in product([(50, 3), (4, 3, 40, 50)], lay_outs, sizes):
        given = problem(shape, dtype, running=False)
        x = lay_out((np.random.default_rng(0).uniform(-size, size, shape)).astype(dtype))
        assert np.isfinite(check(given._replace(x=x), training=True).y).all()
        shifted = lay_out(x / 1000 + np.dtype(dtype).type(size))
        assert np.isfinite(check(given._replace(x=shifted), training=True).y).all()


@DTYPES
def test_a_spread_beyond_the_largest_number(dtype: np.dtype[Any], isa: str) -> None:
    """So that x - mean overflows. The product of weight and rstd is subnormal: it has lost some bits."""
    largest = float(np.finfo(dtype).max)
    for shape, lay_out in product([(50, 3), (4, 3, 40, 50)], (np.copy, channels_last)):
        given = problem(shape, dtype, running=False, weight=False)
        x = np.full(shape, -0.3) + np.random.default_rng(0).uniform(-0.01, 0.01, shape)
        x[::20] = 1
        given = given._replace(x=lay_out((x * largest).astype(dtype)))
        got, exact = run(given, True)[0], run(given.wide(), True, reference)[0]
        for ours, theirs in ((got.y, exact.y), (got.dx, exact.dx), (got.dbias, exact.dbias)):
            assert ours is not None
            assert theirs is not None
            near = 32 * float(np.finfo(dtype).eps * np.abs(theirs).max())
            np.testing.assert_allclose(
                widen(ours), theirs, rtol=0, atol=max(near, float(np.finfo(dtype).smallest_subnormal))
            )


@each("shape", [(1_000_003, 2), (10, 2, 100_000), (4, 2, 512, 500)])
@each("mean", [0.0, 100.0])
def test_a_million_elements_per_channel(shape: Shape, mean: float, isa: str) -> None:
    """float32 within 2e-6 of float64, relative to the result or, of a sum with both signs, to its terms."""
    given = problem(shape, F32)
    given = given._replace(x=given.x + np.float32(mean))
    got, (exact, _) = run(given, True)[0], run(given.wide(), True, reference)
    for name in ("y", "running_mean", "running_var", "dbias"):
        a, b = getattr(got, name), getattr(exact, name)
        assert (np.abs(a - b) <= 2e-6 * np.maximum(np.abs(b), 1)).all(), name
    assert (np.abs(got.dx - exact.dx) <= 2e-6 * np.abs(exact.dx).max()).all()
    terms = np.abs(given.wide().dy).sum(axis=(0, *range(2, len(shape))))
    assert got.dweight is not None
    assert (np.abs(got.dweight - exact.dweight) <= 2e-6 * terms).all()


# ---- layouts -----------------------------------------------------------------------------------------------


FORMS: dict[str, Callable[[Array], Array]] = {
    **{
        name: LAYOUTS[name] for name in ("misaligned", "strided", "rows_apart", "fortran", "other_byte_order")
    },
    "reversed": lambda a: np.flip(np.flip(a).copy()),
    "transposed": lambda a: a.T.copy().T,
    "channels_last": channels_last,
    "channels_last_reversed": lambda a: np.flip(channels_last(np.flip(a))),
    "some_channels": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "some_of_channels_last": lambda a: channels_last(np.repeat(a, 2, axis=1))[:, ::2],
    "samples_last": lambda a: np.moveaxis(np.moveaxis(a, 0, -1).copy(), -1, 0),
    "broadcast": lambda a: np.broadcast_to(a[:, :1], a.shape),
}


@ALL_DTYPES
@TRAINING
@each("form", FORMS)
def test_layouts(form: str, dtype: np.dtype[Any], training: bool) -> None:
    for shape in ((6, 5), (5, 6, 14), (3, 4, 5, 2), (2, 3, 2, 4, 2)):
        ordinary = problem(shape, dtype)
        given = ordinary.laid_out(FORMS[form])
        before = given.x.copy(), given.dy.copy()
        result = check(given, training)
        # Into another layout, and one of x and dy in it.
        for x, dy in ((given.x, given.dy), (given.x, given.dy.copy()), (given.x.copy(), given.dy)):
            out, dout = FORMS["some_of_channels_last"](x.copy()), FORMS["some_channels"](x.copy())
            y, saved = F.batch_norm(x, *_parameters(given), training, out=out)
            dx, _, _ = F.batch_norm_backward(dy, saved, out=dout)
            assert y is out
            assert dx is dout
            near: Any = {"rtol": 1e-2 if dtype in HALF else 1e-4, "atol": 1e-2 if dtype in HALF else 1e-5}
            np.testing.assert_allclose(widen(_native(y)), widen(_native(result.y)), **near)
            np.testing.assert_allclose(widen(_native(dx)), widen(_native(result.dx)), **near)
        for array, old in zip((given.x, given.dy), before, strict=True):
            np.testing.assert_array_equal(array, old)


def _native(array: Array) -> Array:
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _parameters(given: Problem) -> tuple[Array | None, Array | None, Array | None, Array | None]:
    """Running statistics, weight and bias: copies."""
    mean, var, weight, bias = (None if array is None else array.copy() for array in given[2:6])
    return mean, var, weight, bias


@DTYPES
@TRAINING
@each("shape", [(640, 40), (9, 24, 7, 6), (30, 8, 4, 5, 6)])
def test_channels_last_memory_stays_so_without_a_copy(
    shape: Shape, dtype: np.dtype[Any], training: bool
) -> None:
    given = problem(shape, dtype).laid_out(channels_last)
    result = check(given, training)
    assert result.y.strides == result.dx.strides == given.x.strides
    y, dx = np.empty_like(given.x), np.empty_like(given.x)
    tracemalloc.start()
    _, saved = F.batch_norm(given.x, *_parameters(given), training, out=y)
    F.batch_norm_backward(given.dy, saved, out=dx)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < given.x.nbytes / 2
    np.testing.assert_array_equal(y, result.y)
    np.testing.assert_array_equal(dx, result.dx)


@ALL_DTYPES
@TRAINING
@each("form", ["misaligned", "channels_last", "reversed", "other_byte_order", "transposed"])
def test_in_place(form: str, dtype: np.dtype[Any], training: bool, isa: str) -> None:
    for shape in ((40, 5), (3, 4, 5, 7), (2, 3, 4099)):
        given = problem(shape, dtype).laid_out(FORMS[form])
        expected, _ = run(given, training)
        x = given.laid_out(FORMS[form]).x
        y, _ = F.batch_norm(x, *_parameters(given), training, out=x)
        assert y is x
        np.testing.assert_array_equal(_native(y), _native(expected.y))
        for over in range(2):
            arrays = given.laid_out(FORMS[form])
            _, saved = F.batch_norm(arrays.x, *_parameters(given), training)
            dx, dweight, _ = F.batch_norm_backward(arrays.dy, saved, out=arrays[over])
            assert dx is arrays[over]
            np.testing.assert_array_equal(_native(dx), _native(expected.dx))
            np.testing.assert_array_equal(dweight, expected.dweight)


@DTYPES
@TRAINING
@each("shift", [-24, -8, 8, 40])
def test_partial_overlap(shift: int, dtype: np.dtype[Any], training: bool) -> None:
    given = problem((3, 5, 101), dtype)
    expected, _ = run(given, training)
    memory = np.empty(given.x.nbytes + 80, np.uint8)

    def place(at: int, values: Array) -> Array:
        view: Array = np.frombuffer(memory, dtype, values.size, at).reshape(values.shape)
        view[...] = values
        return view

    x, out = place(40, given.x), np.frombuffer(memory, dtype, given.x.size, 40 + shift)
    y, _ = F.batch_norm(x, *_parameters(given), training, out=out.reshape(x.shape))
    np.testing.assert_array_equal(y, expected.y)
    _, saved = F.batch_norm(given.x, *_parameters(given), training)
    dx, _, _ = F.batch_norm_backward(place(40, given.dy), saved, out=out.reshape(x.shape))
    np.testing.assert_array_equal(dx, expected.dx)


@TRAINING
@each("shape", [(0, 3), (0, 3, 4), (2, 3, 0), (3, 0), (0, 0), (2, 0, 4, 4)])
@each("dtype", [np.float32, np.float64, np.float16])
def test_no_elements(shape: Shape, dtype: type, training: bool) -> None:
    given = problem(shape, np.dtype(dtype))
    result, saved = run(given, training)
    assert not training or np.isnan([saved.mean, saved.rstd]).all()
    assert (result.y.shape, result.y.dtype, result.dx.shape) == (shape, np.dtype(dtype), shape)
    for gradient in (result.dweight, result.dbias):
        np.testing.assert_array_equal(gradient, np.zeros(shape[1]))
    np.testing.assert_array_equal(result.running_mean, given.running_mean)
    np.testing.assert_array_equal(result.running_var, given.running_var)


@DTYPES
@TRAINING
def test_where_the_result_begins_changes_no_bit(dtype: np.dtype[Any], training: bool, isa: str) -> None:
    """Stores begin with a cache line: the first and last row are then in parts."""
    stages = fastnn.stages
    norm, key = stages.BatchNorm(training=training), fastnn.Key(0, 0)
    chain = fastnn.fuse(norm, stages.Activation("relu"), stages.Dropout(0.5))
    for shape in ((33, 256), (300, 64), (5, 32, 6), (2, 3, 8)):
        given, results = problem(shape, dtype), set()
        x, dy = channels_last(given.x), channels_last(given.dy)
        assert given.running_mean is not None
        assert given.running_var is not None
        for offset in range(16):
            running = {"running_mean": given.running_mean.copy(), "running_var": given.running_var.copy()}
            y, dx = (begin_at(offset, x), begin_at(offset, x))
            _, saved = chain.forward(x, weight=given.weight, bias=given.bias, **running, key=key, out=y)
            gradients = chain.backward(dy, saved, out=dx)
            sums = [None if g is None else g.tobytes() for g in gradients[1:3]]
            results.add((y.tobytes(), dx.tobytes(), *sums))
        assert len(results) == 1


def begin_at(offset: int, like: Array) -> Array:
    """A new array of this form, its channels last, that begins so many elements behind a cache line."""
    memory = np.empty(like.size + 32, like.dtype)
    start = -memory.ctypes.data % 64 // like.itemsize + offset
    return np.moveaxis(memory[start:][: like.size].reshape(np.moveaxis(like, 1, -1).shape), -1, 1)


@each("integers", ["bool", "i1", "u2", "i4", ">i4", "u8"])
def test_integers_promote_as_for_tanh(integers: str) -> None:
    x = np.random.default_rng(0).integers(0, 9, (7, 3, 4)).astype(integers)
    floats = x.astype(np.tanh(x).dtype)
    y, saved = F.batch_norm(x, training=True)
    expected, _ = F.batch_norm(floats, training=True)
    assert y.dtype == floats.dtype
    np.testing.assert_array_equal(y, expected)
    assert F.batch_norm_backward(y, saved)[0].dtype == floats.dtype


def test_lists() -> None:
    x = [[1.0, 2.0], [3.0, 6.0]]
    y, saved = F.batch_norm(x, weight=[1.0, 2.0], bias=[0.0, 1.0], training=True, eps=0.0)
    np.testing.assert_allclose(y, [[-1, -1], [1, 3]], rtol=1e-15)
    dx, dweight, dbias = F.batch_norm_backward([[1.0, 0.0], [0.0, 0.0]], saved)
    np.testing.assert_allclose(dx, 0, atol=1e-15)  # of two values, y says only which is larger
    assert (dweight.tolist(), dbias.tolist()) == ([-1, 0], [1, 0])  # type: ignore[union-attr]


# ---- threads, memory ---------------------------------------------------------------------------------------


@DTYPES
@TRAINING
@each("form", ["rows_apart", "channels_last", "misaligned", "strided"])
def test_threads_change_no_bit(
    form: str, dtype: np.dtype[Any], training: bool, isa: str, threads: None
) -> None:
    for shape in ((4099, 65), (16, 32, 28, 28), (2, 3, 70_001), (1, 700, 300)):
        given = problem(shape, dtype)
        given = given if form == "rows_apart" else given.laid_out(FORMS[form])
        fastnn.set_num_threads(1)
        first = run(given, training)[0].bits()
        for count in (2, 3, 8):
            fastnn.set_num_threads(count)
            assert run(given, training)[0].bits() == first, (shape, count)


def test_a_channel_does_not_depend_on_the_others(isa: str) -> None:
    for shape in ((50, 40), (3, 40, 5, 5)):
        given = problem(shape, F32)
        whole, _ = run(given, True)
        for some in (slice(0, 1), slice(7, 9), slice(3, 40)):
            part = [None if a is None else a[some].copy() for a in given[2:6]]
            one, _ = run(Problem(given.x[:, some].copy(), given.dy[:, some].copy(), *part), True)
            # How many rows are summed together depends on the number of channels: not the same bits.
            np.testing.assert_allclose(one.y, whole.y[:, some], rtol=1e-6, atol=1e-6)
            np.testing.assert_allclose(one.dx, whole.dx[:, some], rtol=1e-5, atol=1e-6)


def test_nothing_of_the_size_of_the_output_is_kept() -> None:
    given = problem((8, 4, 30, 30), F32)
    for training in (True, False):
        _, saved = run(given, training)
        assert np.shares_memory(saved.input, given.x)
        held = [value for value in vars_of(saved) if isinstance(value, np.ndarray) and value.size > 4]
        assert len(held) == 1


def vars_of(saved: Any) -> list[Any]:
    return list(saved) if isinstance(saved, tuple) else list(vars(saved).values())


# ---- NaN and infinities ------------------------------------------------------------------------------------

BAD = {"nan": [np.nan], "inf": [np.inf], "minus_inf": [-np.inf], "both": [np.inf, -np.inf]}


@ALL_DTYPES
@each("bad", BAD)
@each("lay_out", [np.copy, channels_last])
def test_nan_stays_in_its_channel(
    bad: str, dtype: np.dtype[Any], lay_out: Callable[[Array], Array], isa: str
) -> None:
    for shape in ((40, 19), (3, 19, 6, 7), (2, 19, 5000)):
        given = problem(shape, dtype)
        clean, _ = run(given.laid_out(lay_out), True)
        x = given.x.copy()
        for place, value in enumerate(BAD[bad]):
            x[-1:, 4].reshape(-1)[place:] = value
            x[:1, 11].reshape(-1)[0] = value
        spoilt, others = [4, 11], [c for c in range(19) if c not in (4, 11)]
        for skip in (True, False):
            got, _ = run(given._replace(x=x).laid_out(lay_out), True, skip_nonfinite=skip)
            for name in ("y", "dx"):
                array, before = getattr(got, name), getattr(clean, name)
                assert np.isnan(array[:, spoilt]).all()
                np.testing.assert_array_equal(array[:, others], before[:, others])
            for name, start in (("running_mean", given.running_mean), ("running_var", given.running_var)):
                array, before = getattr(got, name), getattr(clean, name)
                np.testing.assert_array_equal(array[others], before[others])
                if skip:
                    assert start is not None
                    np.testing.assert_array_equal(array[spoilt], start[spoilt])
                else:
                    assert not np.isfinite(array[spoilt]).any()
            assert got.dweight is not None
            assert np.isnan(got.dweight[spoilt]).all()
            assert np.isfinite(got.dweight[others]).all()
        dy = given.dy.copy()
        dy[:1, 4].reshape(-1)[-1] = BAD[bad][0]
        got, _ = run(given._replace(dy=dy).laid_out(lay_out), True)
        assert not np.isfinite(got.dx[:, 4]).any()
        np.testing.assert_array_equal(np.delete(got.dx, 4, 1), np.delete(clean.dx, 4, 1))


@ALL_DTYPES
def test_nan_in_evaluation_stays_in_its_element(dtype: np.dtype[Any], isa: str) -> None:
    given = problem((5, 3, 40), dtype)
    x = given.x.copy()
    x[1, 2, 7], x[2, 0, 30], x[3, 1, 0] = np.nan, np.inf, -np.inf
    y, _ = run(given._replace(x=x), False)[0][:2]
    clean = run(given, False)[0].y
    sign = np.sign(widen(given.weight)) if given.weight is not None else np.ones(3)
    assert np.isnan(y[1, 2, 7])
    assert (y[2, 0, 30], y[3, 1, 0]) == (sign[0] * np.inf, -sign[1] * np.inf)
    finite = np.isfinite(x)
    assert finite.sum() == x.size - 3
    np.testing.assert_array_equal(y[finite], clean[finite])


def test_statistics_beyond_the_running_dtype_do_not_enter() -> None:
    """The variance of numbers like 1e38 is finite in float64, but would be infinity in float32 for ever."""
    given = problem((8, 3), F32)
    x = given.x.copy()
    x[:, 1] *= np.float32(1e37)
    got, _ = run(given._replace(x=x), True)
    for after, before in ((got.running_mean, given.running_mean), (got.running_var, given.running_var)):
        assert after is not None
        assert before is not None
        assert np.isfinite(after).all()
        assert (after == before).tolist() == [False, True, False]


# ---- running statistics ------------------------------------------------------------------------------------


@ALL_DTYPES
@each("biased", [False, True])
@each("momentum", [0.1, 0.0, 1.0, None])
def test_running_statistics(momentum: float | None, biased: bool, dtype: np.dtype[Any]) -> None:
    tracked = np.array(6)
    for shape in ((2, 3), (5, 3, 4), (3, 17, 6, 6)):
        given = problem(shape, dtype)._replace(num_batches_tracked=tracked)
        got = check(given, True, momentum=momentum, biased_running_var=biased)
        assert got.num_batches_tracked == 7
        batch = given.wide().x.var(axis=(0, *range(2, len(shape))), ddof=not biased)
        new = 1 / 7 if momentum is None else momentum
        expected = (1 - new) * widen(given.running_var) + new * batch  # type: ignore[arg-type]
        np.testing.assert_allclose(got.running_var, expected, rtol=1e-6)  # type: ignore[arg-type]
        check(given, False)


def test_momentum_none_is_the_average_over_all_batches() -> None:
    rng, mean, var = np.random.default_rng(0), np.full(3, 5.0), np.full(3, 7.0)
    batches = rng.normal(size=(4, 10, 3))
    for tracked in (np.array(0), np.zeros(1, np.int64)):
        for x in batches:
            F.batch_norm(x, mean, var, training=True, momentum=None, num_batches_tracked=tracked)
        assert tracked.item() == 4
        np.testing.assert_allclose(mean, batches.mean(axis=(0, 1)), rtol=1e-13)
        np.testing.assert_allclose(var, batches.var(axis=1, ddof=1).mean(axis=0), rtol=1e-13)


def test_evaluation_writes_nothing() -> None:
    given = problem((5, 3, 4), F32)._replace(num_batches_tracked=np.array(3))
    got, _ = run(given, False)
    for after, before in zip(got[4:], (*given[2:4], given[-1]), strict=True):
        np.testing.assert_array_equal(after, before)


def test_running_statistics_in_any_memory() -> None:
    given = problem((9, 4, 5), F32)
    expected, _ = run(given, True)
    assert given.running_mean is not None
    assert given.running_var is not None
    assert given.weight is not None
    both = np.zeros((4, 3), ">f4")
    both[:, 0], both[:, 2] = given.running_mean, given.running_var
    weight = np.repeat(given.weight, 2)[::2]
    y, _ = F.batch_norm(given.x, both[:, 0], both[:, 2], weight, given.bias, True)
    np.testing.assert_array_equal(y, expected.y)
    np.testing.assert_array_equal(both[:, 0], expected.running_mean)
    np.testing.assert_array_equal(both[:, 2], expected.running_var)
    assert (both[:, 1] == 0).all()


# ---- gradients ---------------------------------------------------------------------------------------------


@each("module", [F, reference])
@TRAINING
@each("shape", [(2, 3), (7, 2), (3, 2, 4), (2, 2, 2, 3), (2, 1, 2, 2, 2)])
def test_gradients_are_the_finite_differences(shape: Shape, training: bool, module: ModuleType) -> None:
    """Of the loss sum of tanh(y) t, so that dy is not the same everywhere and depends on y."""
    given, eps = problem(shape, np.dtype(np.float64)), 0.1
    target = given.dy

    def forward() -> tuple[Array, Any]:
        y: tuple[Array, Any] = module.batch_norm(
            given.x, *_parameters(given)[:2], given.weight, given.bias, training, eps=eps
        )
        return y

    def loss() -> float:
        return float((np.tanh(forward()[0]) * target).sum())

    y, saved = forward()
    gradients = module.batch_norm_backward(target / np.cosh(y) ** 2, saved)
    for gradient, array in zip(gradients, (given.x, given.weight, given.bias), strict=True):
        assert array is not None
        # A step of 1e-6 leaves 1e-10 of cancellation, and 1e-12 of the next term of Taylor's series.
        np.testing.assert_allclose(gradient, numerical_gradient(loss, array), rtol=1e-6, atol=2e-8)


@each("module", [F, reference])
@DTYPES
@TRAINING
@each("shape", [(128, 16), (8, 3, 50), (4, 16, 7, 7), (2, 3, 4, 5, 6)])
def test_torch_gives_the_same(shape: Shape, training: bool, dtype: np.dtype[Any], module: ModuleType) -> None:
    torch = pytest.importorskip("torch")
    for given in (problem(shape, dtype), problem(shape, dtype, weight=False, bias=False)):
        if len(shape) in (4, 5) and module is F:
            given = given.laid_out(channels_last)
        got, _ = run(given, training, module, momentum=0.3, eps=1e-3)
        x, mean, var, weight, bias = (
            None if a is None else torch.tensor(a) for a in (given.x, *_parameters(given))
        )
        for leaf in (x, weight, bias):
            if leaf is not None:
                leaf.requires_grad_()
        y = torch.nn.functional.batch_norm(x, mean, var, weight, bias, training, 0.3, 1e-3)
        y.backward(torch.tensor(given.dy))
        theirs = [y.detach(), x.grad, weight is not None and weight.grad, bias is not None and bias.grad]  # type: ignore[union-attr]
        for one, other in zip(got[:6], [*theirs, mean, var], strict=True):
            if one is not None:
                # Theirs are sums of n terms, each off by what the mean is, some eps: means reach 10 std.
                # On one thread they are 23 n eps from the float64 oracle, which ours meet in other tests.
                atol = 40 * np.finfo(dtype).eps * (given.x.size // shape[1])
                np.testing.assert_allclose(one, other.numpy(), rtol=0, atol=atol)


# ---- errors ------------------------------------------------------------------------------------------------


@each("shape", [(1, 3), (1, 3, 1), (1, 3, 1, 1), (1, 1, 1, 1, 1)])
@each("module", [F, reference])
def test_one_value_per_channel_says_why_and_what_to_do(shape: Shape, module: ModuleType) -> None:
    given = problem(shape, F32)._replace(num_batches_tracked=np.array(0))
    why = r"batch_norm in training needs more than one value per channel, got .*: .*larger batch or eval\(\)"
    _assert_nothing_written(given, ValueError, why, module, training=True)
    run(given, False, module)


def _assert_nothing_written(
    given: Problem,
    error: type[Exception],
    why: str,
    module: ModuleType = F,
    training: bool = False,
    **options: Any,
) -> None:
    arrays: list[Any] = [a if a is None or not isinstance(a, np.ndarray) else a.copy() for a in given]
    before = [None if a is None or not isinstance(a, np.ndarray) else a.copy() for a in arrays]
    x, _, mean, var, weight, bias, tracked = arrays
    if module is F and "out" not in options:
        options["out"] = np.full(np.shape(x), 7, F32)
    with pytest.raises(error, match=why):
        module.batch_norm(x, mean, var, weight, bias, training, num_batches_tracked=tracked, **options)
    for array, old in zip(arrays, before, strict=True):
        if old is not None:
            np.testing.assert_array_equal(array, old)
    if isinstance(options.get("out"), np.ndarray):
        assert (options["out"] == 7).all()


@TRAINING
@each("name", ["running_mean", "running_var", "weight", "bias"])
@each("module", [F, reference])
def test_a_wrong_number_of_channels_is_named(name: str, training: bool, module: ModuleType) -> None:
    given = problem((4, 3, 5), F32)
    for shape in ((2,), (4,), (1,), (3, 1), ()):
        wrong = given._replace(**{name: np.ones(shape, np.float32)})
        _assert_nothing_written(wrong, ValueError, rf"^{name} .*\(3,\)", module, training)


@each("module", [F, reference])
def test_arguments_that_need_each_other(module: ModuleType) -> None:
    bare, given = problem((4, 3), F32, running=False), problem((4, 3), F32)
    _assert_nothing_written(bare, ValueError, r"^running_mean .*evaluation", module, False)
    for training in (True, False):
        for name in ("running_mean", "running_var"):
            missing: Any = {name: None}
            one = given._replace(**missing)
            _assert_nothing_written(one, ValueError, "^running_mean and running_var", module, training)
    needs_counter = "^momentum must be a number without num_batches_tracked, got None"
    _assert_nothing_written(given, ValueError, needs_counter, module, True, momentum=None)


@TRAINING
def test_arrays_that_do_not_fit(training: bool) -> None:
    given = problem((4, 3), F32)
    for shape in ((), (3,)):
        wrong: Any = given._replace(x=np.ones(shape, np.float32))
        _assert_nothing_written(wrong, ValueError, r"^input must .*got", training=training)
    for bad in (given.x.astype(complex), given.x.astype(object), given.x.astype("U3")):
        wrong = given._replace(x=bad)
        _assert_nothing_written(wrong, TypeError, r"^input must be an array of float16", training=training)
    for name in ("weight", "bias", "running_mean", "running_var"):
        wrong = given._replace(**{name: np.ones(3, complex)})
        _assert_nothing_written(wrong, TypeError, rf"^{name} must be", training=training)
    for out, error in (
        (np.full((3, 4), 7, F32), ValueError),
        (np.full((4, 3), 7, np.float64), TypeError),
        ([[7.0]], TypeError),
    ):
        _assert_nothing_written(given, error, r"^out must .*got", training=training, out=out)


def test_running_statistics_that_cannot_be_written_to() -> None:
    given = problem((4, 3), F32)
    for name in ("running_mean", "running_var"):
        array: Any = np.ones(3, np.float32)
        array.flags.writeable = False
        options = {"running_mean": np.ones(3, F32), "running_var": np.ones(3, F32), name: array}
        for value in (array, [1.0, 1.0, 1.0], np.ones(3, np.int64)):
            options[name] = value
            with pytest.raises((ValueError, TypeError), match=rf"^{name} must .*got"):
                F.batch_norm(given.x, **options, training=True)
        assert all((np.asarray(value) == 1).all() for value in options.values())
    F.batch_norm(given.x, array, array)  # evaluation only reads
    count = np.array(3)
    count.flags.writeable = False
    for x in (given.x, given.x[::-1], given.x.astype(np.float16)):  # by the quick way and by the others
        F.batch_norm(x, array, array, num_batches_tracked=count)
    for tracked in (np.zeros(2, np.int64), np.array(0.0), 0, [0]):
        with pytest.raises((ValueError, TypeError), match=r"^num_batches_tracked must .*got"):
            F.batch_norm(given.x, training=True, num_batches_tracked=tracked)  # type: ignore[arg-type]


@each("dtype", [np.float32, np.float16])
def test_an_interrupt_leaves_running_statistics_undone_or_done(dtype: Any) -> None:
    def make() -> list[Any]:
        return [np.zeros(3, dtype), np.ones(3, dtype), np.array(0)]

    def act(running: list[Any]) -> None:
        mean, var, count = running
        F.batch_norm(x, mean, var, training=True, momentum=None, num_batches_tracked=count)

    x = problem((4, 3), F32).x
    assert leaves_undone_or_done(make, act, lambda running: [r.tobytes() for r in running], every=3) > 12


def test_parameters_that_are_no_numbers() -> None:
    given = problem((4, 3), F32)
    wrong: Any
    for wrong in ("0.1", [0.1], 1j):
        _assert_nothing_written(given, TypeError, "^momentum must be", training=True, momentum=wrong)
        _assert_nothing_written(given, TypeError, "^eps must be", training=True, eps=wrong)
    _assert_nothing_written(given, TypeError, "^eps must be", training=True, eps=None)


def test_gradients_that_do_not_fit() -> None:
    given = problem((4, 3, 5), F32)
    _, saved = run(given, True)
    out = np.full((4, 3, 5), 7, F32)
    for shape in ((4, 3), (4, 3, 1), (3, 4, 5), (60,), ()):
        with pytest.raises(ValueError, match=r"^dy must have the shape of .*\(4, 3, 5\), got"):
            F.batch_norm_backward(np.ones(shape, F32), saved, out=out)
    wrong: Any
    for wrong in (None, given.x, (given.x, None)):
        with pytest.raises(TypeError, match=r"^saved must be"):
            F.batch_norm_backward(given.dy, wrong, out=out)
    with pytest.raises(TypeError, match=r"^dy must be an array of float16"):
        F.batch_norm_backward(given.dy.astype(complex), saved, out=out)
    for bad, error in ((np.full((4, 3), 7, F32), ValueError), (np.full((4, 3, 5), 7, np.float64), TypeError)):
        with pytest.raises(error, match=r"^out must .*got"):
            F.batch_norm_backward(given.dy, saved, out=bad)
    assert (out == 7).all()


def test_gradients_of_another_dtype_meet_in_the_wider() -> None:
    given = problem((4, 3, 5), F32)
    _, saved = run(given, True)
    expected, _ = run(given.wide(), True)
    dx, _, _ = F.batch_norm_backward(given.dy.astype(np.float64), saved)
    assert dx.dtype == np.float64
    np.testing.assert_allclose(dx, expected.dx, rtol=1e-4, atol=1e-6)
    narrow, _, _ = F.batch_norm_backward(given.dy.astype(BFLOAT16), saved)
    assert narrow.dtype == np.float32
