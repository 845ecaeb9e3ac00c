"""Elementwise functions on a GPU: the numbers of the reference, in every dtype, from arrays of any form."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import fastnn.functional
from fastnn.cuda import fast_math
from fastnn.cuda.kernels.activation.activations import ACTIVATIONS
from fastnn.cuda.kernels.chain import elementwise
from support.operations import CALLS, FULL, HALF, Call, Case, case, case_of, hard_case, normal, points
from support.ulp import widen

F: Any = fastnn.functional  # here of CuPy's arrays, which its annotations do not know

ULP = 4.0
EACH = pytest.mark.parametrize("call", CALLS, ids=str)
DTYPES = pytest.mark.parametrize("dtype", FULL, ids=str)
F32 = np.dtype(np.float32)
# Of the half types' kernels, which compute in float32, those with the least and the most to do, and others.
SOME = [
    call
    for call in CALLS
    if call.name in ("relu", "tanh", "maxout", "rrelu", "swiglu")
    or str(call)
    in ("gelu", "gelu_backward-tanh", "prelu-[0.25]", "prelu_backward-[0.25,-0.5,0.0,1.5,1.0,0.125]")
]


def on_gpu(cupy: Any, call: Call, arrays: Any, out: Any = None) -> Any:
    """The call with CuPy arrays."""
    params = dict(call.params)
    if "weight" in params:
        params["weight"] = cupy.asarray(np.array(params["weight"], arrays[0].dtype))
    if call.callee == "maxout_backward":
        arrays, params = [arrays[0], F.maxout(arrays[1], **params)[1]], {}
    result = getattr(F, call.callee)(*arrays, **params, out=out)
    return result[0] if isinstance(result, tuple) else result


def check(cupy: Any, call: Call, expected: Case) -> None:
    got = on_gpu(cupy, call, [cupy.asarray(array) for array in expected.arrays])
    assert isinstance(got, cupy.ndarray)
    assert got.dtype == expected.arrays[0].dtype
    call.check(got.get(), expected, ULP)


@EACH
@DTYPES
def test_against_the_reference(cupy: Any, call: Call, dtype: np.dtype[Any]) -> None:
    check(cupy, call, hard_case(call, dtype))


@pytest.mark.parametrize("call", SOME, ids=str)
@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_half_types(cupy: Any, call: Call, dtype: np.dtype[Any]) -> None:
    check(cupy, call, case(call, call.shape(4500), dtype))
    if call.any_shape and not call.backward:
        edges = np.array([0, -0.0, 6e-8, -6e-8, 65000, -65000, np.inf, -np.inf, np.nan], dtype)
        check(cupy, call, case_of(call, edges))


@pytest.mark.parametrize("call", [c for c in CALLS if not (c.backward or c.params)], ids=str)
def test_nan_gives_nan_and_nothing_else_does(cupy: Any, call: Call) -> None:
    x = points(F32).copy() if call.any_shape else normal(call.shape(40), F32)
    x.reshape(-1)[::5] = np.nan
    y = on_gpu(cupy, call, [cupy.asarray(x)]).get()
    assert not call.any_shape or (np.isnan(y) == np.isnan(x)).all()
    call.check(y, case_of(call, x), ULP)


@pytest.mark.parametrize("call", [call for call in CALLS if call.backward and not call.params], ids=str)
def test_a_gradient_takes_any_dy(cupy: Any, call: Call) -> None:
    dy, saved = case(call, call.shape(300), F32).arrays
    scaled = case_of(call, normal(dy.shape, F32, seed=2), saved)
    got = on_gpu(cupy, call, [cupy.asarray(array) for array in scaled.arrays]).get()
    call.check(got, scaled, 2 * ULP + 1)  # the product with dy rounds once more, and may double the ULP


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_float32_kernels_compute_in_float32(name: str) -> None:
    """But for the parameters, which come as float64."""
    kernels = (elementwise.chain_forward, (("activation", name),)), (elementwise.gradient, name)
    for template, operation in kernels:
        ptx = template.compile((9, 0), ("float32", operation)).ptx
        wide = re.findall(r"^\s+([a-z][\w.]*\.f64) .*;$", ptx, re.MULTILINE)
        assert set(wide) <= {"ld.param.f64", "cvt.rn.f32.f64"}


# ---- arrays of any form: of one light function each way, as all share the kernel ---------------------------

FORWARD, BACKWARD = Call("tanh", False, {}), Call("gelu", True, {})
FORMS = pytest.mark.parametrize("call", [FORWARD, BACKWARD], ids=str)


@FORMS
@pytest.mark.parametrize("dtype", [*FULL, *HALF], ids=str)
def test_every_size_and_alignment(cupy: Any, call: Call, dtype: np.dtype[Any]) -> None:
    for size in (0, 1, 3, 255, 2048, 4099):
        ordinary = case(call, (size,), dtype)
        for offset in (0, 1, 8):
            around = cupy.full(size + 32, 7, dtype)
            out = around[offset : offset + size]
            arrays = [cupy.concatenate([cupy.zeros(3, dtype), cupy.asarray(a)])[3:] for a in ordinary.arrays]
            assert on_gpu(cupy, call, arrays, out) is out
            call.check(out.get(), ordinary, ULP)
            rest = around.get()
            assert (rest[:offset] == 7).all()
            assert (rest[offset + size :] == 7).all()


@FORMS
def test_layouts(cupy: Any, call: Call) -> None:
    ordinary = case(call, (6, 40, 5), F32)
    expected = on_gpu(cupy, call, [cupy.asarray(array) for array in ordinary.arrays]).get()
    layouts: dict[str, Any] = {
        "columns": lambda a: cupy.asarray(np.asfortranarray(a)),
        "strided": lambda a: cupy.asarray(np.repeat(a, 2, axis=1))[:, ::2],
        "reversed": lambda a: cupy.asarray(np.ascontiguousarray(a[::-1]))[::-1],
        "transposed": lambda a: cupy.asarray(np.ascontiguousarray(a.transpose(2, 0, 1))).transpose(1, 2, 0),
    }
    for name, lay_out in layouts.items():
        arrays = [lay_out(array) for array in ordinary.arrays]
        for out in (None, lay_out(np.zeros_like(expected)), cupy.empty(expected.shape, F32)):
            got = on_gpu(cupy, call, arrays, out)
            assert out is None or got is out
            np.testing.assert_array_equal(got.get(), expected, err_msg=name)
    mixed = [layout(array) for layout, array in zip(layouts.values(), ordinary.arrays, strict=False)]
    np.testing.assert_array_equal(on_gpu(cupy, call, mixed).get(), expected)


@FORMS
def test_in_place_and_overlapping(cupy: Any, call: Call) -> None:
    ordinary = case(call, (5000,), F32)
    expected = on_gpu(cupy, call, [cupy.asarray(array) for array in ordinary.arrays]).get()
    for i in range(len(ordinary.arrays)):
        arrays = [cupy.asarray(array) for array in ordinary.arrays]
        assert on_gpu(cupy, call, arrays, arrays[i]) is arrays[i]
        np.testing.assert_array_equal(arrays[i].get(), expected)
        memory = cupy.zeros(5003, F32)
        arrays = [cupy.asarray(array) for array in ordinary.arrays]
        arrays[i] = memory[:5000]
        arrays[i][...] = cupy.asarray(ordinary.arrays[i])
        on_gpu(cupy, call, arrays, memory[3:])
        np.testing.assert_array_equal(memory[3:].get(), expected)


def test_integers_and_mixed_dtypes_are_promoted(cupy: Any) -> None:
    for dtype, promoted in ((np.int8, np.float16), (np.int16, np.float32), (np.int64, np.float64)):
        x = np.arange(-5, 5).astype(dtype)
        y = F.tanh(cupy.asarray(x))
        assert y.dtype == promoted
        FORWARD.check(y.get(), case_of(FORWARD, x.astype(promoted)), ULP)
    dy, x = cupy.asarray(normal((7,), np.dtype(np.float16))), cupy.asarray(normal((7,), F32))
    assert F.gelu_backward(dy, x).dtype == F32


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (lambda c: (F.tanh, c.ones(3), c.ones(4)), ValueError, "out must have shape (3,), got (4,)"),
        (
            lambda c: (F.tanh, c.ones(3), c.ones(3, np.float32)),
            TypeError,
            "out must have dtype float64, got float32",
        ),
        (lambda c: (F.tanh, c.ones(3, complex), None), TypeError, "input must be an array of float16"),
        (lambda c: (F.tanh, c.ones(3), np.ones(3)), TypeError, "out must be in the GPU's memory"),
        (lambda c: (F.tanh, np.ones(3), c.ones(3)), TypeError, "input must be in the GPU's memory"),
        (
            lambda c: (F.gelu_backward, c.ones(3), c.ones(4), None),
            ValueError,
            "input must have the shape of dy, (3,), got (4,)",
        ),
        (
            lambda c: (F.gelu_backward, c.ones(3), np.ones(3), None),
            TypeError,
            "input must be in the GPU's memory, as another argument is, got ndarray",
        ),
    ],
)
def test_errors(cupy: Any, arguments: Any, error: type[Exception], message: str) -> None:
    function, *arrays, out = arguments(cupy)
    with pytest.raises(error, match=re.escape(message)):
        function(*arrays, out=out)


# ---- approximate instructions ------------------------------------------------------------------------------

#: What gains: exponentials and divisions.
FAST = ("sigmoid", "silu", "gelu", "mish", "softplus", "celu", "squareplus", "softsign", "swiglu", "glu")


@pytest.mark.parametrize("call", [call for call in CALLS if call.name in FAST and not call.params], ids=str)
def test_fast_math_stays_sane(cupy: Any, call: Call) -> None:
    """Within 2^-16 of the result, or of a gradient's larger term; infinities and NaN as ever."""
    x = normal((2000,), F32)
    special = np.array([0, -0.0, np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-30, 88.5, -88.5, -1000, 1000], F32)
    arrays = call.data(np.concatenate([x, special]) if call.any_shape else x)
    expected = case_of(call, *arrays)
    with fast_math(True):
        got = on_gpu(cupy, call, [cupy.asarray(array) for array in expected.arrays]).get()
    assert not fast_math.enabled
    exact, term = expected.exact, call.largest_term(*expected.arrays)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(exact))
    finite = np.isfinite(exact) & (np.abs(exact) < 3.4e38)
    np.testing.assert_array_equal(got[~finite], exact[~finite].astype(F32))
    allowed = (2.0**-16 * np.maximum(np.abs(exact), term) + 2.0**-126)[finite]
    assert (np.abs(widen(got)[finite] - exact[finite]) <= allowed).all()


def test_fast_math_is_fast(cupy: Any) -> None:
    """It does change what is computed, and only while it is on."""
    x = cupy.asarray(normal((2000,), F32))
    before = F.silu(x).get()
    with fast_math(True):
        assert (F.silu(x).get() != before).any()
    np.testing.assert_array_equal(F.silu(x).get(), before)
