"""Layer, RMS, group and instance norm against the reference, torch and finite differences, and as layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import nn, reference
from fastnn._core.typing import Array
from support.cases import each
from support.gradients import numerical_gradient
from support.norm import Case, Shape, check, tolerance
from support.ulp import widen

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
FULL: list[np.dtype[Any]] = [F32, F64]
HALF: list[np.dtype[Any]] = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]
DTYPES = pytest.mark.parametrize("dtype", FULL, ids=str)


CASES = [
    *(
        Case("layer_norm", (7, 5), {"normalized_shape": 5}, w, b)
        for w in (True, False)
        for b in (True, False)
    ),
    Case("layer_norm", (3, 4, 6, 10), {"normalized_shape": (6, 10), "eps": 0.25}),
    Case("layer_norm", (24,), {"normalized_shape": (24,)}),
    Case("layer_norm", (150, 130), {"normalized_shape": 130}),
    Case("layer_norm", (9, 2500), {"normalized_shape": 2500}, True, False),
    Case("layer_norm", (2, 70001), {"normalized_shape": 70001}),
    Case("rms_norm", (7, 5), {"normalized_shape": 5}),
    Case("rms_norm", (7, 5), {"normalized_shape": 5, "eps": 0.5}, False),
    Case("rms_norm", (70, 600), {"normalized_shape": 600, "eps": 1e-6}),
    Case("rms_norm", (3, 9001), {"normalized_shape": 9001, "eps": 1e-6}),
    *(Case("group_norm", (5, 6, 7), {"num_groups": 3}, w, b) for w in (True, False) for b in (True, False)),
    Case("group_norm", (5, 6), {"num_groups": 2}),
    Case("group_norm", (70, 64), {"num_groups": 4}),
    Case("group_norm", (3, 6, 1, 1), {"num_groups": 1}),
    Case("group_norm", (4, 32, 9, 9), {"num_groups": 8, "eps": 0.1}),
    Case("group_norm", (2, 4, 71, 73), {"num_groups": 2}),
    Case("instance_norm", (3, 4, 5)),
    Case("instance_norm", (3, 4, 5), {}, False, False),
    Case("instance_norm", (2, 3, 40, 111), {"eps": 0.1}),
    Case("instance_norm", (2, 3, 3, 2, 4)),
]
EACH = pytest.mark.parametrize("case", CASES, ids=str)
SMALL = pytest.mark.parametrize("case", [case for case in CASES if math.prod(case.shape) < 2000], ids=str)


@EACH
@DTYPES
def test_results_and_gradients(case: Case, dtype: np.dtype[Any], isa: str) -> None:
    dy, x, parameters = case.arrays(dtype)
    check(case.run(F, dy, x, parameters), case.exact(dy, x, parameters), dtype, case.condition(x))


@DTYPES
@pytest.mark.parametrize(
    "size", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 255, 1024, 1025, 4097]
)
@pytest.mark.parametrize("name", ["layer_norm", "rms_norm", "group_norm", "instance_norm"])
def test_sizes(name: str, size: int, dtype: np.dtype[Any], isa: str) -> None:
    for rows in (1, 2, 3, 4, 5, 9, 67) if size < 100 else (5,):
        if name in ("layer_norm", "rms_norm"):
            case = Case(name, (rows, size), {"normalized_shape": size, "eps": 1e-3})
        elif name == "group_norm":
            case = Case(name, (rows, 6, size), {"num_groups": 3})
        elif size > 1:
            case = Case(name, (rows, 2, size))
        else:
            continue
        dy, x, parameters = case.arrays(dtype)
        got, exact = case.run(F, dy, x, parameters), case.exact(dy, x, parameters)
        condition = case.condition(x)
        if size <= 3:  # the gradient for x is a small difference of terms of about rstd dy weight
            rstd = case.forward(reference, widen(x), {})[1].rstd.max()
            dx, wide = np.asarray(got.pop(1)), np.asarray(exact.pop(1))
            near = float((1 + condition) * tolerance(dtype) * rstd * 8)
            np.testing.assert_allclose(dx, wide, rtol=0, atol=near)
        check(got, exact, dtype, condition)


def test_no_elements() -> None:
    for shape, size in (((0, 5), 5), ((3, 0), 0), ((0, 0), 0)):
        x, weight = np.ones(shape, np.float32), np.ones(size, np.float32)
        y, saved = F.layer_norm(x, size, weight, weight)
        assert saved.mean is not None
        assert np.isnan([saved.mean, saved.rstd]).all()
        dx, dweight, dbias = F.layer_norm_backward(x, saved)
        assert y.shape == dx.shape == shape
        assert dweight is not None
        assert dbias is not None
        assert dweight.tolist() == dbias.tolist() == [0] * size
    for empty in (np.ones((0, 4, 3)), np.ones((2, 4, 0)), np.ones((2, 0, 3))):
        y, saved = F.group_norm(empty, 2)
        assert np.isnan(saved.rstd).all()
        assert y.shape == F.group_norm_backward(empty, saved)[0].shape == empty.shape
        y, saved = F.instance_norm(empty, np.zeros(empty.shape[1]), np.ones(empty.shape[1]))
        assert y.shape == F.instance_norm_backward(empty, saved)[0].shape == empty.shape


# ---- numbers -----------------------------------------------------------------------------------------------


@EACH
@DTYPES
def test_a_large_mean_costs_no_digits(case: Case, dtype: np.dtype[Any], isa: str) -> None:
    if case.name == "rms_norm":
        pytest.skip("takes no mean away")
    dy, x, parameters = case.arrays(dtype, mean=1e6)
    check(case.run(F, dy, x, parameters), case.exact(dy, x, parameters), dtype, case.condition(x))


@DTYPES
def test_many_elements_with_a_large_mean(dtype: np.dtype[Any], isa: str) -> None:
    x = (1e6 + np.random.default_rng(0).normal(size=(1, 10**6))).astype(dtype)
    condition = 1e6 if dtype == np.float64 else 0
    check([F.layer_norm(x, 10**6)[0]], [reference.layer_norm(widen(x), 10**6)[0]], dtype, condition)


@DTYPES
@pytest.mark.parametrize("value", [0.0, 0.1, -1e6, 1e30, 1e-40])
def test_constant_rows_become_the_bias(value: float, dtype: np.dtype[Any], isa: str) -> None:
    for size in (3, 33, 1000, 5000):
        x, bias = np.full((5, size), value, dtype), np.linspace(-1, 1, size).astype(dtype)
        y, saved = F.layer_norm(x, size, np.ones(size, dtype), bias)
        np.testing.assert_array_equal(y, np.broadcast_to(bias, y.shape))
        assert np.isfinite(F.layer_norm_backward(x / x.dtype.type(1e3), saved)[0]).all()


@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(np.float32, 1e25), (np.float32, 1e36), (np.float32, 1e-39), (np.float64, 1e150), (np.float64, 1e-309)],
)
@pytest.mark.parametrize("size", [30, 200, 5000])
def test_huge_and_subnormal_values(name: str, dtype: type, scale: float, size: int, isa: str) -> None:
    """Of float32 the sums of squares are out of range."""
    x: Array = (np.random.default_rng(0).normal(size=(6, size)) * scale).astype(dtype)
    y = getattr(F, name)(x, size, eps=1e-5)[0]
    exact = getattr(reference, name)(x.astype(np.longdouble), size, eps=1e-5)[0]
    least = float(np.finfo(dtype).smallest_subnormal)
    near = max(tolerance(np.dtype(dtype)) * float(np.abs(exact).max()), least)
    np.testing.assert_allclose(y.astype(np.longdouble), exact, rtol=0, atol=near)


HUGE = [
    Case("layer_norm", (6, 30), {"normalized_shape": 30}),
    Case("layer_norm", (2, 5000), {"normalized_shape": 5000}, False, False),
    Case("rms_norm", (6, 300), {"normalized_shape": 300}),
    Case("group_norm", (5, 6, 40), {"num_groups": 2}),
    Case("instance_norm", (3, 4, 50)),
]


@pytest.mark.parametrize("case", HUGE, ids=str)
@each(
    ("dtype", "scale"),
    [(F32, s) for s in (1e15, 1e20, 1e30, 3.4e38)] + [(F64, s) for s in (1e150, 1e155, 1e250, 1.79e308)],
)
@each("outlier", [False, True])
def test_squares_and_spreads_out_of_range(
    case: Case, dtype: np.dtype[Any], scale: float, outlier: bool, isa: str
) -> None:
    dy, _, parameters = case.arrays(dtype)
    unit = np.random.default_rng(0).uniform(-1, 1, case.shape)
    if outlier:  # which is farther from the mean than the largest number is from 0
        unit = -0.3 + unit / 100
        unit.reshape(case.shape[0], -1)[:, ::20] = 1
    x = (unit * scale).astype(dtype)
    check(case.run(F, dy, x, parameters), case.exact(dy, x, parameters), dtype)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("case", [c for c in CASES if c.shape[0] > 4 and len(c.shape) > 1], ids=str)
def test_nan_and_infinity_stay_in_their_row(case: Case, bad: float, isa: str) -> None:
    dy, x, parameters = case.arrays(np.dtype(np.float32))
    clean = case.run(F, dy, x, parameters)
    x[1].flat[2] = bad
    dirty = case.run(F, dy, x, parameters)
    for before, after in zip(clean[:2], dirty[:2], strict=True):
        assert before is not None
        assert after is not None
        np.testing.assert_array_equal(after[0], before[0])
        np.testing.assert_array_equal(after[2:], before[2:])
        assert np.isnan(after[1].flat[2])
        if case.name == "layer_norm":
            assert np.isnan(after[1]).all()


# ---- channels last -----------------------------------------------------------------------------------------


def _to_last(array: Array) -> Array:
    """The same values with axis 1 last in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)


def _are_last(array: Array | None) -> bool:
    return array is not None and np.moveaxis(array, 1, -1).flags.c_contiguous


LAST = [
    Case("group_norm", (2, 6, 5, 3), {"num_groups": 3}),
    Case("group_norm", (3, 64, 9, 9), {"num_groups": 8}, True, False),
    Case("group_norm", (1, 512, 40), {"num_groups": 4}, False, True),
    Case("group_norm", (2, 5, 71, 73), {"num_groups": 5}),
    Case("group_norm", (2, 3, 33), {"num_groups": 1, "eps": 0.1}),
    Case("instance_norm", (2, 130, 7, 7)),
    Case("instance_norm", (40, 3, 4, 5), {}, False, False),
]


@DTYPES
@each("mean", [0.0, 1e5])
@each("case", LAST)
def test_channels_last(case: Case, mean: float, dtype: np.dtype[Any], isa: str) -> None:
    dy, x, parameters = case.arrays(dtype, mean)
    last, dy_last = _to_last(x), _to_last(dy)
    fastnn.set_num_threads(1)
    y, saved = case.forward(F, last, parameters)
    gradients = case.backward(F, dy_last, saved)
    check([y, *gradients], case.exact(dy, x, parameters), dtype, case.condition(x))
    assert _are_last(y)
    assert _are_last(gradients[0])
    for count in (2, 5):
        fastnn.set_num_threads(count)
        for ours, theirs in zip(case.run(F, dy_last, last, parameters), [y, *gradients], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    for offset in range(1, 16):  # of the output from a line of the cache
        memory = np.empty(x.size + offset, dtype)[offset:]
        out = np.moveaxis(memory.reshape(np.moveaxis(x, 1, -1).shape), -1, 1)
        np.testing.assert_array_equal(case.forward(F, last, parameters, out=out)[0], y)
        np.testing.assert_array_equal(case.backward(F, dy_last, saved, out=out)[0], gradients[0])
    over = last.copy(order="K")
    assert case.forward(F, over, parameters, out=over)[0] is over
    np.testing.assert_array_equal(over, y)
    over = dy_last.copy(order="K")
    assert case.backward(F, over, saved, out=over)[0] is over
    np.testing.assert_array_equal(over, gradients[0])


@DTYPES
def test_channels_last_where_few_positions_are_far_from_the_others(dtype: np.dtype[Any], isa: str) -> None:
    case = Case("group_norm", (1, 64, 16000), {"num_groups": 2})
    dy, x, parameters = case.arrays(dtype)
    x[:, :32, ::1000] += 1000  # all of those whose mean is the first center
    got = case.run(F, _to_last(dy), _to_last(x), parameters)
    check(got, case.exact(dy, x, parameters), dtype, case.condition(x))
    x[:, :32] = 0  # the other group's results stay as they are
    other = case.run(F, _to_last(dy), _to_last(x), parameters)
    np.testing.assert_array_equal(np.asarray(other[0])[:, 32:], np.asarray(got[0])[:, 32:])


@DTYPES
@each("value", [1e30, np.nan, np.inf, 3e37])
def test_channels_last_beside_huge_or_not_finite(value: float, dtype: np.dtype[Any], isa: str) -> None:
    case = Case("group_norm", (2, 32, 6, 7), {"num_groups": 4})
    dy, x, parameters = case.arrays(dtype)
    usual = case.run(F, _to_last(dy), _to_last(x), parameters)
    x[:, 8:16] *= value
    got, first = (case.run(F, lay(dy), lay(x), parameters) for lay in (_to_last, np.copy))
    for ours, before in zip(got[:2], usual[:2], strict=True):
        others, same = (np.delete(np.asarray(array), np.s_[8:16], 1) for array in (ours, before))
        np.testing.assert_array_equal(others, same)
    for ours, plain in zip(got, first, strict=True):
        np.testing.assert_allclose(np.asarray(ours), np.asarray(plain), rtol=1e-4, atol=1e-4)


# ---- short rows --------------------------------------------------------------------------------------------


@DTYPES
@each("name", ["layer_norm", "rms_norm"])
@each("size", [1, 3, 8, 10, 17, 32, 33])
def test_a_row_does_not_depend_on_the_others(name: str, size: int, dtype: np.dtype[Any], isa: str) -> None:
    case = Case(name, (21, size), {"normalized_shape": size, "eps": 1e-3})
    dy, x, parameters = case.arrays(dtype)
    y, dx = case.run(F, dy, x, parameters)[:2]
    assert y is not None
    assert dx is not None
    x[[4, 20]] *= 1e30  # takes a way of its own
    y_huge, dx_huge = case.run(F, dy, x, parameters)[:2]
    for ours, theirs in ((y, y_huge), (dx, dx_huge)):
        np.testing.assert_array_equal(np.delete(ours, [4, 20], 0), np.delete(np.asarray(theirs), [4, 20], 0))
    for first, end in ((0, 1), (2, 4), (5, 14)):
        alone = case.run(F, dy[first:end], x[first:end], parameters)
        np.testing.assert_array_equal(alone[0], y[first:end])
        np.testing.assert_array_equal(alone[1], dx[first:end])


# ---- arrays ------------------------------------------------------------------------------------------------


def _misaligned(array: Array) -> Array:
    moved: Array = np.frombuffer(np.empty(array.nbytes + 1, np.uint8), array.dtype, array.size, 1)
    moved = moved.reshape(array.shape)
    moved[...] = array
    return moved


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "misaligned": _misaligned,
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "reversed": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "fortran": np.asfortranarray,
    "other_byte_order": lambda a: a.astype(a.dtype.newbyteorder()),
}


@SMALL
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(case: Case, layout: str) -> None:
    dtype, lay_out = np.dtype(np.float32), LAYOUTS[layout]
    dy, x, parameters = case.arrays(dtype)
    expected = case.run(F, dy, x, parameters)
    laid = {name: lay_out(value) for name, value in parameters.items()}
    for ours, theirs in zip(case.run(F, lay_out(dy), lay_out(x), laid), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    out = lay_out(np.full_like(x, 7))
    y, saved = case.forward(F, x, parameters, out=out)
    assert y is out
    np.testing.assert_array_equal(out, expected[0])
    assert case.backward(F, dy, saved, out=out)[0] is out
    np.testing.assert_array_equal(out, expected[1])


@SMALL
@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_half_types(case: Case, dtype: np.dtype[Any]) -> None:
    dy, x, parameters = case.arrays(dtype)
    got, exact = case.run(F, dy, x, parameters), case.exact(dy, x, parameters)
    finfo: Any = ml_dtypes.finfo
    eps = float(finfo(dtype).eps)
    for ours, theirs in zip(got, exact, strict=True):
        if theirs is not None:
            assert ours is not None
            assert ours.dtype == dtype
            np.testing.assert_allclose(widen(ours), theirs, rtol=eps, atol=1e-5)


def test_weights_of_another_dtype_have_gradients_of_it() -> None:
    x, weight = (
        np.random.default_rng(0).normal(size=(3, 8)).astype(ml_dtypes.bfloat16),
        np.ones(8, np.float32),
    )
    y, saved = F.layer_norm(x, 8, weight, weight)
    dx, dweight, dbias = F.layer_norm_backward(x, saved)
    assert dweight is not None
    assert dbias is not None
    assert [array.dtype for array in (y, dx, dweight, dbias)] == [x.dtype, x.dtype, np.float32, np.float32]


@each("name", ["layer_norm", "group_norm", "instance_norm", "batch_norm"])
@each("lay_out", [np.copy, np.asfortranarray])
@each(("weight", "bias"), [(F32, F64), (F64, F32), (None, F64), (F64, None), (np.dtype(np.float16), F32)])
def test_a_gradient_has_the_dtype_of_its_parameter(name: str, lay_out: Any, weight: Any, bias: Any) -> None:
    x = lay_out(np.random.default_rng(0).normal(size=(5, 4, 4)).astype(F32))
    w, b = (None if dtype is None else np.ones(4, dtype) for dtype in (weight, bias))
    first = {
        "layer_norm": (4,),
        "group_norm": (2,),
        "instance_norm": (None, None),
        "batch_norm": (None, None),
    }
    last = (True,) if name == "batch_norm" else ()
    _, saved = getattr(F, name)(x, *first[name], w, b, *last)
    _, *gradients = getattr(F, f"{name}_backward")(x, saved)
    assert [None if g is None else g.dtype for g in gradients] == [weight, bias]


def test_integers_and_lists() -> None:
    y, saved = F.layer_norm([[1, 2, 3], [4, 4, 7]], [3], [1, 2, 3])
    assert y.dtype == np.float64
    x = np.array([[1.0, 2, 3], [4, 4, 7]])
    np.testing.assert_array_equal(y, F.layer_norm(x, 3, np.array([1.0, 2, 3]))[0])
    assert F.layer_norm_backward([[1, 0, 0], [0, 1, 0]], saved)[0].dtype == np.float64
    assert F.rms_norm(np.array([[True, False]]), 2)[0].dtype == np.float16


@EACH
@DTYPES
def test_in_place(case: Case, dtype: np.dtype[Any]) -> None:
    dy, x, parameters = case.arrays(dtype)
    y, saved = case.forward(F, x, parameters)
    dx = case.backward(F, dy, saved)[0]
    over = x.copy()
    result, spoiled = case.forward(F, over, parameters, out=over)
    assert result is over
    np.testing.assert_array_equal(over, y)
    with pytest.raises(ValueError, match=r"^saved must have forward's input, got none"):
        case.backward(F, dy, spoiled)
    over = dy.copy()
    assert case.backward(F, over, saved, out=over)[0] is over
    np.testing.assert_array_equal(over, dx)
    np.testing.assert_array_equal(case.backward(F, dy, saved, out=x)[0], dx)


@pytest.mark.parametrize("shift", [-1, 1, 3, 8])
def test_partial_overlap(shift: int) -> None:
    memory, size = np.random.default_rng(0).normal(size=200), 8
    start = 16
    x, out = (
        memory[start : start + 64].reshape(8, 8),
        memory[start + shift : start + shift + 64].reshape(8, 8),
    )
    expected, saved = F.layer_norm(x.copy(), size)
    gradient = F.layer_norm_backward(x.copy(), saved)[0]
    keep = memory.copy()
    np.testing.assert_array_equal(F.layer_norm(x, size, out=out)[0], expected)
    memory[...] = keep
    np.testing.assert_array_equal(F.layer_norm_backward(x, saved, out=out)[0], gradient)


def test_the_output_is_the_weights_memory() -> None:
    memory = np.random.default_rng(0).normal(size=64)
    x, weight = np.random.default_rng(1).normal(size=(8, 8)), memory[8:16]
    expected, saved = F.layer_norm(x, 8, weight.copy(), weight.copy())
    gradient = F.layer_norm_backward(x, saved)[0]
    keep = memory.copy()
    np.testing.assert_array_equal(F.layer_norm(x, 8, weight, weight, out=memory.reshape(8, 8))[0], expected)
    memory[...] = keep
    saved = F.layer_norm(x, 8, weight)[1]
    np.testing.assert_array_equal(F.layer_norm_backward(x, saved, out=memory.reshape(8, 8))[0], gradient)


@DTYPES
@pytest.mark.parametrize(
    "case",
    [
        Case("layer_norm", (301, 257), {"normalized_shape": 257}),
        Case("layer_norm", (3, 40000), {"normalized_shape": 40000}),
        Case("rms_norm", (5000, 33), {"normalized_shape": 33}),
        Case("group_norm", (40, 12, 400), {"num_groups": 4}),
        Case("instance_norm", (7, 12, 700)),
    ],
    ids=str,
)
def test_results_do_not_depend_on_threads(case: Case, dtype: np.dtype[Any], threads: None) -> None:
    dy, x, parameters = case.arrays(dtype)
    results = []
    for count in (1, 2, 3, 8):
        fastnn.set_num_threads(count)
        results.append(case.run(F, dy, x, parameters))
    for other in results[1:]:
        for ours, theirs in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "case",
    [
        Case("layer_norm", (7000, 2000), {"normalized_shape": 2000}),
        Case("rms_norm", (650, 20000), {"normalized_shape": 20000}),
        Case("group_norm", (13, 32, 32000), {"num_groups": 8}),
        Case("group_norm", (400, 32, 1100), {"num_groups": 32}),
    ],
    ids=str,
)
def test_large_results_are_those_of_their_parts(case: Case) -> None:
    """They are stored past the caches."""
    dy, x, parameters = case.arrays(np.dtype(np.float32))
    y, dx, *_ = case.run(F, dy, x, parameters)
    assert y is not None
    assert dx is not None
    assert x.nbytes + y.nbytes > 96 << 20
    for start in range(0, len(x), len(x) // 5):
        part = slice(start, start + len(x) // 5)
        some_y, some_dx, *_ = case.run(F, dy[part], x[part], parameters)
        np.testing.assert_array_equal(y[part], some_y)
        np.testing.assert_array_equal(dx[part], some_dx)


# ---- other sources -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [case for case in CASES if math.prod(case.shape) < 300], ids=str)
@pytest.mark.parametrize("module", [F, reference], ids=["fastnn", "reference"])
def test_gradients_are_the_finite_differences(case: Case, module: Any) -> None:
    dy, x, parameters = case.arrays(np.dtype(np.float64))
    gradients = case.backward(module, dy, case.forward(module, x, parameters)[1])

    def loss() -> float:
        return float((case.forward(module, x, parameters)[0] * dy).sum())

    arrays = [x, parameters.get("weight"), parameters.get("bias")]
    for gradient, array in zip(gradients, arrays, strict=False):
        assert (gradient is None) == (array is None)
        if gradient is not None and array is not None:
            np.testing.assert_allclose(gradient, numerical_gradient(loss, array), rtol=1e-6, atol=1e-8)


@EACH
@pytest.mark.parametrize("module", [F, reference], ids=["fastnn", "reference"])
def test_agrees_with_torch(case: Case, module: Any) -> None:
    torch = pytest.importorskip("torch")
    if case.name == "group_norm" and case.biased and not case.weighted:
        pytest.skip("torch has no backward for a bias alone")
    dy, x, parameters = case.arrays(np.dtype(np.float64))
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in parameters.items()}
    their_x = torch.tensor(x, requires_grad=True)
    params = {
        k: (v,) if k == "normalized_shape" and isinstance(v, int) else v for k, v in case.params.items()
    }
    their_y = getattr(torch.nn.functional, case.name)(their_x, **params, **tensors)
    their_y.backward(torch.tensor(dy))
    theirs = [their_y.detach(), their_x.grad, *(tensors[n].grad for n in ("weight", "bias") if n in tensors)]
    ours = [array for array in case.run(module, dy, x, parameters) if array is not None]
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our, their.numpy(), rtol=1e-9, atol=1e-9)


# ---- running statistics ------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [F, reference], ids=["fastnn", "reference"])
@pytest.mark.parametrize("momentum", [0.1, 0.75])
def test_running_statistics_are_torch_s(module: Any, momentum: float) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, dy, weight = rng.normal(2, 3, (4, 3, 5, 7)), rng.normal(size=(4, 3, 5, 7)), rng.normal(size=3)
    mean, var = rng.normal(size=3), rng.uniform(1, 2, 3)
    their_mean, their_var = torch.tensor(mean), torch.tensor(var)
    for use_input_stats in (True, False):
        their_x, their_weight = torch.tensor(x, requires_grad=True), torch.tensor(weight, requires_grad=True)
        theirs = torch.nn.functional.instance_norm(
            their_x, their_mean, their_var, their_weight, None, use_input_stats, momentum
        )
        theirs.backward(torch.tensor(dy))
        y, saved = module.instance_norm(x, mean, var, weight, None, use_input_stats, momentum)
        dx, dweight, dbias = module.instance_norm_backward(dy, saved)
        assert dbias is None
        near: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-12}
        np.testing.assert_allclose(y, theirs.detach().numpy(), **near)
        np.testing.assert_allclose(dx, their_x.grad.numpy(), **near)
        np.testing.assert_allclose(dweight, their_weight.grad.numpy(), rtol=1e-10)
        np.testing.assert_allclose(mean, their_mean.numpy(), **near)
        np.testing.assert_allclose(var, their_var.numpy(), **near)


@each("dtype", [np.float16, ml_dtypes.bfloat16, ">f4"])
def test_running_statistics_of_any_floating_dtype(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x, mean, var = rng.normal(2, 3, (4, 3, 5)), rng.normal(size=3).astype(dtype), np.ones(3, dtype)
    their_mean, their_var = mean.astype(np.float64), var.astype(np.float64)
    for use_input_stats in (True, False):
        y, _ = F.instance_norm(x, mean, var, use_input_stats=use_input_stats)
        theirs, _ = reference.instance_norm(x, their_mean, their_var, None, None, use_input_stats)
        np.testing.assert_allclose(y, theirs, rtol=1e-12)
        for ours, exact in ((mean, their_mean), (var, their_var)):
            assert (ours == exact.astype(dtype)).all()
            exact[...] = ours


@DTYPES
def test_given_statistics_allow_one_element(dtype: np.dtype[Any], isa: str) -> None:
    case = Case("instance_norm", (4, 33, 1), {"use_input_stats": False})
    dy, x, parameters = case.arrays(dtype)
    mean, var = np.linspace(-1, 1, 33), np.linspace(0.5, 3, 33)
    weight, bias = parameters["weight"], parameters["bias"]
    y, saved = F.instance_norm(x, mean, var, weight, bias, use_input_stats=False)
    exact, kept = reference.instance_norm(
        widen(x), widen(mean), widen(var), widen(weight), widen(bias), use_input_stats=False
    )
    gradients = reference.instance_norm_backward(widen(dy), kept)
    check([y, *F.instance_norm_backward(dy, saved)], [exact, *gradients], dtype)


# ---- errors ------------------------------------------------------------------------------------------------

X = np.ones((2, 6, 4), np.float32)
ERRORS: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    ("shape", lambda: F.layer_norm(X, 3), ValueError, r"^normalized_shape must be .*\(2, 6, 4\), got 3"),
    ("shape", lambda: F.rms_norm(X, (2, 4)), ValueError, r"^normalized_shape must be .*, got \(2, 4\)"),
    ("none", lambda: F.layer_norm(X, ()), ValueError, "^normalized_shape must be at least one dimension"),
    ("more", lambda: F.layer_norm(X, (1, 2, 6, 4)), ValueError, "^normalized_shape must be"),
    (
        "weight",
        lambda: F.layer_norm(X, 4, np.ones(3)),
        ValueError,
        r"^weight must have shape \(4,\), got \(3,\)",
    ),
    ("bias", lambda: F.layer_norm(X, 4, None, np.ones(3)), ValueError, r"^bias must have shape \(4,\), got"),
    ("eps", lambda: F.layer_norm(X, 4, eps="1"), TypeError, "^eps must be a real number, got str"),  # type: ignore[arg-type]
    ("complex", lambda: F.layer_norm(X * 1j, 4), TypeError, "^input must be an array of float16"),
    ("object", lambda: F.layer_norm(X, 4, np.array([None] * 4)), TypeError, "^weight must be an array of"),
    ("out", lambda: F.layer_norm(X, 4, out=X[0]), ValueError, r"^out must have shape \(2, 6, 4\), got"),
    ("out dtype", lambda: F.layer_norm(X, 4, out=X.astype(float)), TypeError, "^out must have dtype float32"),
    ("groups", lambda: F.group_norm(X, 4), ValueError, "^num_groups must be .* 6 channels, got 4"),
    ("zero", lambda: F.group_norm(X, 0), ValueError, "^num_groups must be >= 1"),
    ("float", lambda: F.group_norm(X, 2.0), TypeError, "^num_groups must be an integer, got float"),  # type: ignore[arg-type]
    (
        "dims",
        lambda: F.group_norm(X[0, 0], 2),
        ValueError,
        r"^input must have shape \(N, C, ...\), got \(4,\)",
    ),
    (
        "dims",
        lambda: F.instance_norm(X[0, 0]),
        ValueError,
        r"^input must have shape \(N, C, ...\), got \(4,\)",
    ),
    ("one", lambda: F.group_norm(X[:1, :, 0], 6), ValueError, "more than one value in a group"),
    ("one", lambda: F.instance_norm(X[:, :, :1]), ValueError, "more than one element in a channel"),
    ("running", lambda: F.instance_norm(X, np.ones(6)), ValueError, "must be given together"),
    ("stats", lambda: F.instance_norm(X, use_input_stats=False), ValueError, "without use_input_stats"),
    (
        "running shape",
        lambda: F.instance_norm(X, np.ones(5), np.ones(6)),
        ValueError,
        r"^running_mean must have shape \(6,\)",
    ),
    (
        "running dtype",
        lambda: F.instance_norm(X, np.ones(6), np.ones(6, int)),
        TypeError,
        "^running_var must be of a floating dtype, got int64",
    ),
    (
        "read-only",
        lambda: F.instance_norm(X, np.broadcast_to(0.0, 6), np.ones(6)),
        ValueError,
        "^running_mean must be writeable",
    ),
    (
        "dy",
        lambda: F.layer_norm_backward(X[0], F.layer_norm(X, 4)[1]),
        ValueError,
        r"^dy must have the shape of forward's result, \(2, 6, 4\), got \(6, 4\)",
    ),
    ("size", lambda: F.rms_norm(X, 0.5), TypeError, "^normalized_shape must be .* or several, got 0.5"),  # type: ignore[arg-type]
    ("saved", lambda: F.rms_norm_backward(X, X), TypeError, "^saved must be the NormSaved .*, got ndarray"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(
    ("call", "error", "message"), [pytest.param(*rest, id=name) for name, *rest in ERRORS]
)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    before = X.copy()
    with pytest.raises(error, match=message):
        call()
    np.testing.assert_array_equal(X, before)


# ---- layers ------------------------------------------------------------------------------------------------

LAYERS: list[tuple[str, Shape, tuple[Any, ...], dict[str, Any]]] = [
    ("LayerNorm", (5, 6), (6,), {}),
    ("LayerNorm", (5, 3, 2), ((3, 2),), {"eps": 0.5}),
    ("LayerNorm", (5, 6), (6,), {"elementwise_affine": False}),
    ("LayerNorm", (5, 6), (6,), {"bias": False}),
    ("RMSNorm", (5, 6), (6,), {}),
    ("RMSNorm", (5, 6), (6,), {"eps": 0.5, "elementwise_affine": False}),
    ("GroupNorm", (5, 6, 3), (2, 6), {}),
    ("GroupNorm", (5, 6), (2, 6), {"affine": False, "eps": 0.5}),
    ("InstanceNorm1d", (5, 6, 3), (6,), {}),
    ("InstanceNorm1d", (5, 6, 3), (6,), {"affine": True, "track_running_stats": True}),
    ("InstanceNorm2d", (5, 6, 3, 2), (6,), {"track_running_stats": True, "momentum": 0.5}),
    ("InstanceNorm3d", (5, 6, 3, 2, 2), (6,), {"affine": True}),
]
EACH_LAYER = pytest.mark.parametrize(("name", "shape", "sizes", "options"), LAYERS)


@EACH_LAYER
def test_layers_are_torch_s(name: str, shape: Shape, sizes: tuple[Any, ...], options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, name)(*sizes, **options, dtype=torch.float64)
    ours = getattr(nn, name)(*sizes, **options, dtype=np.float64)
    if "bias=" in repr(torch.nn.GroupNorm(1, 1)):  # older torch does not write it
        assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    rng = np.random.default_rng(0)
    for key, parameter in ours.named_parameters():
        parameter.data[...] = rng.normal(size=parameter.data.shape)
        theirs.get_parameter(key).data[...] = torch.tensor(parameter.data)
    near: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}
    for training in (True, True, False):
        ours.train(training)
        theirs.train(training)
        x, dy = rng.normal(size=shape), rng.normal(size=shape)
        their_x = torch.tensor(x, requires_grad=True)
        their_y = theirs(their_x)
        their_y.backward(torch.tensor(dy))
        np.testing.assert_allclose(ours(x), their_y.detach().numpy(), **near)
        np.testing.assert_allclose(ours.backward(dy), their_x.grad.numpy(), **near)
        for key, parameter in ours.named_parameters():  # the gradients of all steps add up
            np.testing.assert_allclose(parameter.grad, theirs.get_parameter(key).grad.numpy(), **near)
        for key, value in theirs.state_dict().items():
            if key != "num_batches_tracked":
                np.testing.assert_allclose(ours.state_dict()[key], value.numpy(), **near)


@EACH_LAYER
def test_layers_have_their_dtype_and_attributes(
    name: str, shape: Shape, sizes: tuple[Any, ...], options: dict[str, Any]
) -> None:
    layer = getattr(nn, name)(*sizes, **options)
    for option, value in options.items():
        if option != "bias":
            assert getattr(layer, option) == value
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    assert layer(x).dtype == layer.backward(x).dtype == np.float32
    assert all(array.dtype == np.float32 for key, array in layer.state_dict().items() if "batches" not in key)


def test_a_layer_needs_a_forward_pass() -> None:
    with pytest.raises(RuntimeError, match=r"^LayerNorm.backward needs a forward pass first"):
        nn.LayerNorm(3).backward(np.ones((2, 3)))


WRONG_LAYERS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: nn.LayerNorm(0), ValueError, "^LayerNorm: normalized_shape must be .* at least 1, got 0"),
    (lambda: nn.RMSNorm((3, 2.0)), ValueError, "^RMSNorm: normalized_shape must .* 2.0"),  # type: ignore[arg-type]
    (lambda: nn.LayerNorm(3, dtype=np.float16), TypeError, "^LayerNorm: dtype must be .*, got float16"),
    (lambda: nn.GroupNorm(4, 6), ValueError, "^GroupNorm: num_groups must divide .* 6, got 4"),
    (lambda: nn.GroupNorm(2, 6)(X[:, :4]), ValueError, r"^GroupNorm: x must have shape .*, got \(2, 4, 4\)"),
    (
        lambda: nn.InstanceNorm2d(6)(X),
        ValueError,
        r"^InstanceNorm2d: x must have shape \(N, C, H, W\) or \(C, H, W\) with C = 6, got",
    ),
    (
        lambda: nn.InstanceNorm1d(5)(X),
        ValueError,
        r"^InstanceNorm1d: x must have .* \(N, C, L\) or \(C, L\) with C = 5",
    ),
    (lambda: nn.InstanceNorm1d(6)(X[..., :1]), ValueError, "more than one element"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG_LAYERS)
def test_errors_of_layers(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@each(
    ("kind", "shape"),
    [(nn.InstanceNorm1d, (3, 7)), (nn.InstanceNorm2d, (3, 4, 5)), (nn.InstanceNorm3d, (3, 2, 4, 5))],
)
def test_instance_norm_of_one_sample_without_a_batch(kind: Any, shape: tuple[int, ...]) -> None:
    rng, one, many = np.random.default_rng(0), kind(3, affine=True), kind(3, affine=True)
    x, dy = rng.standard_normal(shape, np.float32), rng.standard_normal(shape, np.float32)
    np.testing.assert_array_equal(one(x), many(x[None])[0])
    np.testing.assert_array_equal(one.backward(dy), many.backward(dy[None])[0])
    np.testing.assert_array_equal(one.weight.grad, many.weight.grad)
    with pytest.raises(ValueError, match=r"x must have shape .* or \(C, .* with C = 3"):
        one(x[0])
