"""The norms of rows on a GPU, or the emulator, against the reference in float64, and the CPU's errors."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn.functional
from fastnn import reference
from support.cases import each
from support.norm import Case, check
from support.ulp import widen

FINFO: Any = ml_dtypes.finfo
F: Any = fastnn.functional  # takes device arrays, of which its annotations say nothing
F32, F64, F16 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16)
BFLOAT16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)

# Of every way to cut rows: parts of a warp, a warp, a block, rows read twice; with vectors or without.
FLOAT32 = [
    Case("layer_norm", (7, 5), {"normalized_shape": 5}),
    Case("layer_norm", (37, 64), {"normalized_shape": 64}),
    Case("layer_norm", (3, 2, 6, 10), {"normalized_shape": (6, 10), "eps": 0.25}, True, False),
    Case("layer_norm", (3, 2501), {"normalized_shape": 2501}, False, False),
    Case("layer_norm", (2, 20001), {"normalized_shape": 20001}),
    Case("rms_norm", (3, 9004), {"normalized_shape": 9004}),
    Case("group_norm", (5, 6, 7), {"num_groups": 3}),
    Case("group_norm", (5, 6), {"num_groups": 2}),
    Case("instance_norm", (2, 3, 8, 9), {"eps": 0.1}),
    Case("instance_norm", (3, 3, 3, 2, 4), {}, False, False),
    Case("group_norm", (19, 2 * 8300), {"num_groups": 2}),
    Case("group_norm", (2, 3 * 8193), {"num_groups": 3}, True, False),
]
OTHERS = [
    (Case("layer_norm", (5, 64), {"normalized_shape": 64}), F64),
    (Case("group_norm", (2, 8, 4, 4), {"num_groups": 2}), F64),
    (Case("rms_norm", (9, 40), {"normalized_shape": 40, "eps": 1e-6}), BFLOAT16),
    (Case("layer_norm", (9, 40), {"normalized_shape": 40}), F16),
    (Case("instance_norm", (2, 3, 4, 4)), F16),
]
ALL = [*((case, F32) for case in FLOAT32), *OTHERS]
PLAIN = FLOAT32[1]


def host(array: Any) -> Any:
    """A device array's values."""
    return array.get()


def run(cupy: Any, case: Case, dy: Any, x: Any, parameters: dict[str, Any]) -> list[Any]:
    """The result and all gradients, from the GPU."""
    there = {name: cupy.asarray(value) for name, value in parameters.items()}
    results: list[Any] = case.run(F, cupy.asarray(dy), cupy.asarray(x), there)
    return [None if value is None else value.get() for value in results]


@pytest.mark.parametrize(("case", "dtype"), ALL, ids=str)
def test_results_and_gradients(cupy: Any, case: Case, dtype: np.dtype[Any]) -> None:
    dy, x, parameters = case.arrays(dtype)
    got, exact = run(cupy, case, dy, x, parameters), case.exact(dy, x, parameters)
    if dtype in (F32, F64):
        check(got, exact, dtype, case.condition(x))
        return
    eps = float(FINFO(dtype).eps)
    for ours, theirs in zip(got, exact, strict=True):
        if theirs is not None:
            assert ours.dtype == dtype
            np.testing.assert_allclose(widen(ours), theirs, rtol=eps, atol=1e-5)


@pytest.mark.parametrize("case", [FLOAT32[i] for i in (1, 4, 8)], ids=str)
def test_a_large_mean_costs_no_digits(cupy: Any, case: Case) -> None:
    dy, x, parameters = case.arrays(F32, mean=1e6)
    check(run(cupy, case, dy, x, parameters), case.exact(dy, x, parameters), F32)


@pytest.mark.parametrize("size", [64, 20001])
def test_constant_rows_become_the_bias(cupy: Any, size: int) -> None:
    bias = np.linspace(-1, 1, size).astype(F32)
    for value in (0.1, 1e30):
        x = np.full((2, size), value, F32)
        y, _ = F.layer_norm(cupy.asarray(x), size, cupy.ones(size, F32), cupy.asarray(bias))
        np.testing.assert_array_equal(y.get(), np.broadcast_to(bias, x.shape))


@pytest.mark.parametrize("scale", [1e25, 1e36, 1e-39])
@pytest.mark.parametrize("size", [64, 20001])
def test_huge_and_subnormal_values(cupy: Any, scale: float, size: int) -> None:
    """The sums of squares are out of range of float32."""
    x = (np.random.default_rng(0).normal(size=(2, size)) * scale).astype(F32)
    ones, zeros = cupy.ones(size, F32), cupy.zeros(size, F32)
    y = F.layer_norm(cupy.asarray(x), size, ones, zeros)[0].get()
    exact = reference.layer_norm(widen(x), size)[0]
    near = max(2e-6 * float(np.abs(exact).max()), 2.0**-149)
    np.testing.assert_allclose(widen(y), exact, rtol=0, atol=near)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_stay_in_their_row(cupy: Any, bad: float) -> None:
    dy, x, parameters = PLAIN.arrays(F32)
    clean = run(cupy, PLAIN, dy, x, parameters)
    x[1, 2] = bad
    dirty = run(cupy, PLAIN, dy, x, parameters)
    for before, after in zip(clean[:2], dirty[:2], strict=True):
        np.testing.assert_array_equal(np.delete(after, 1, 0), np.delete(before, 1, 0))
        assert np.isnan(after[1]).all()


# ---- arrays ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [PLAIN, FLOAT32[8]], ids=str)
def test_in_place(cupy: Any, case: Case) -> None:
    dy, x, parameters = (cupy.asarray(a) if not isinstance(a, dict) else a for a in case.arrays(F32))
    parameters = {name: cupy.asarray(value) for name, value in parameters.items()}
    y, saved = case.forward(F, x, parameters)
    dx = case.backward(F, dy, saved)[0]
    over = x.copy()
    result, spoiled = case.forward(F, over, parameters, out=over)
    assert result is over
    np.testing.assert_array_equal(host(over), host(y))
    with pytest.raises(ValueError, match=r"^saved must have forward's input, got none"):
        case.backward(F, dy, spoiled)
    over = dy.copy()
    assert case.backward(F, over, saved, out=over)[0] is over
    np.testing.assert_array_equal(host(over), host(dx))


def test_other_layouts_and_misaligned_arrays(cupy: Any) -> None:
    dy, x, parameters = PLAIN.arrays(F32)
    expected = run(cupy, PLAIN, dy, x, parameters)
    there = {name: cupy.asarray(value) for name, value in parameters.items()}
    turned = cupy.asarray(np.ascontiguousarray(x.T)).T
    moved = cupy.empty(x.size + 1, F32)[1:].reshape(x.shape)
    moved[...] = cupy.asarray(x)
    for layout in (turned, moved):
        got = PLAIN.run(F, cupy.asarray(dy), layout, there)
        check([host(array) for array in got], PLAIN.exact(dy, x, parameters), F32)
    out = cupy.empty(x.T.shape, F32).T
    y, _ = PLAIN.forward(F, turned, there, out=out)
    assert y is out
    np.testing.assert_array_equal(host(y), expected[0])


def test_weights_of_another_dtype(cupy: Any) -> None:
    x = cupy.asarray(np.random.default_rng(0).normal(size=(3, 40)).astype(BFLOAT16))
    weight = cupy.ones(40, F64)
    y, saved = F.layer_norm(x, 40, weight, cupy.zeros(40, F32))
    dx, dweight, dbias = F.layer_norm_backward(x, saved)
    assert [a.dtype for a in (y, dx, dweight, dbias)] == [BFLOAT16, BFLOAT16, F64, F32]


def test_no_elements(cupy: Any) -> None:
    for shape, size in (((0, 5), 5), ((3, 0), 0)):
        x, weight = cupy.ones(shape, F32), cupy.ones(size, F32)
        y, saved = F.layer_norm(x, size, weight, weight)
        dx, dweight, dbias = F.layer_norm_backward(x, saved)
        assert y.shape == dx.shape == shape
        assert dweight.get().tolist() == dbias.get().tolist() == [0] * size


def test_the_same_bits_each_time(cupy: Any) -> None:
    dy, x, parameters = PLAIN.arrays(F32)
    first, second = (run(cupy, PLAIN, dy, x, parameters) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


# ---- running statistics ------------------------------------------------------------------------------------


@each("dtype", [F32, F16])
def test_running_statistics(cupy: Any, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x, dy = rng.normal(2, 3, (2, 3, 8, 9)).astype(F32), rng.normal(size=(2, 3, 8, 9)).astype(F32)
    weight, bias = rng.normal(size=(2, 3)).astype(F32)
    mean, var = rng.normal(size=3).astype(dtype), rng.uniform(1, 2, 3)
    spaced = cupy.zeros(6, F64)
    our_mean, our_var = cupy.asarray(mean), spaced[::2]
    our_var[...] = cupy.asarray(var)
    their_mean, their_var = widen(mean), widen(var)
    for use_input_stats in (True, False):
        y, saved = F.instance_norm(
            cupy.asarray(x), our_mean, our_var, cupy.asarray(weight), cupy.asarray(bias), use_input_stats, 0.3
        )
        gradients = F.instance_norm_backward(cupy.asarray(dy), saved)
        wide = widen(x), their_mean, their_var, widen(weight), widen(bias)
        exact, kept = reference.instance_norm(*wide, use_input_stats, 0.3)
        theirs = reference.instance_norm_backward(widen(dy), kept)
        check([host(a) for a in (y, *gradients)], [exact, *theirs], F32)
        np.testing.assert_allclose(
            host(our_mean), their_mean.astype(F64), rtol=1e-6 if dtype == F32 else 1e-3
        )
        np.testing.assert_allclose(host(our_var), their_var.astype(F64), rtol=1e-6)
        their_mean[...] = host(our_mean)  # as it was rounded
    assert (host(spaced)[1::2] == 0).all()


# ---- errors ------------------------------------------------------------------------------------------------

X = np.ones((2, 6, 4), np.float32)
CALLS: list[Any] = [
    lambda m, x: m.layer_norm(x, 3),
    lambda m, x: m.rms_norm(x, (2, 4)),
    lambda m, x: m.layer_norm(x, ()),
    lambda m, x: m.layer_norm(x, 4, x[0, 0, :3]),
    lambda m, x: m.layer_norm(x, 4, None, x[0, 0, :3]),
    lambda m, x: m.layer_norm(x, 4, eps="1"),
    lambda m, x: m.layer_norm(x, 4, out=x[0]),
    lambda m, x: m.group_norm(x, 4),
    lambda m, x: m.group_norm(x, 2.0),
    lambda m, x: m.group_norm(x[0, 0], 2),
    lambda m, x: m.instance_norm(x[0, 0]),
    lambda m, x: m.group_norm(x[:1, :, 0], 6),
    lambda m, x: m.instance_norm(x[:, :, :1]),
    lambda m, x: m.instance_norm(x, x[0, :, 0]),
    lambda m, x: m.instance_norm(x, use_input_stats=False),
    lambda m, x: m.instance_norm(x, x[0, 0], x[0, :, 0]),
    lambda m, x: m.instance_norm(x, x[0, :, 0], x[0, :, 0].astype("int64")),
    lambda m, x: m.layer_norm_backward(x[0], m.layer_norm(x, 4)[1]),
]


@pytest.mark.parametrize("call", CALLS)
def test_errors_are_the_cpu_s(cupy: Any, call: Any) -> None:
    with pytest.raises((ValueError, TypeError)) as expected:
        call(F, X)
    x = cupy.asarray(X)
    with pytest.raises(expected.type) as got:
        call(F, x)
    assert str(got.value) == str(expected.value)
    np.testing.assert_array_equal(x.get(), X)


def test_saved_must_be_saved(cupy: Any) -> None:
    with pytest.raises(TypeError, match=r"^saved must be the NormSaved .*, got int"):
        F.rms_norm_backward(cupy.asarray(X), 3)
