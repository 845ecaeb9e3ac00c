"""The arrays that every function takes: layouts, dtypes, overlap, outputs; and the errors for others."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastnn.functional as F
from fastnn import fuse, nn
from fastnn._core.typing import Array
from fastnn.stages import Activation, Add, Bias
from support.cases import each
from support.layouts import LAYOUTS
from support.operations import CALLS, FULL, HALF, LOOSE_ULP, Call, case, case_of, normal

EACH = pytest.mark.parametrize("call", CALLS, ids=str)
FORWARD = pytest.mark.parametrize("call", [call for call in CALLS if not call.backward], ids=str)
BACKWARD = pytest.mark.parametrize("call", [call for call in CALLS if call.backward], ids=str)
DTYPES = each("dtype", [*FULL, *HALF])

SHAPE = (5, 6, 14)
F32 = np.dtype(np.float32)


@EACH
@DTYPES
@each("layout", LAYOUTS)
def test_layouts(call: Call, dtype: np.dtype[Any], layout: str) -> None:
    ordinary, lay_out = case(call, SHAPE, dtype), LAYOUTS[layout]
    arrays = [lay_out(array) for array in ordinary.arrays]
    result = call(*arrays)
    assert result.dtype == dtype
    call.check(result, ordinary, LOOSE_ULP)
    out = lay_out(np.full(result.shape, 7, dtype))
    for inputs in (arrays, ordinary.arrays):
        assert call(*inputs, out=out) is out
        call.check(out.astype(dtype), ordinary, LOOSE_ULP)
        out[...] = 7
    for array, before in zip(arrays, ordinary.arrays, strict=True):
        np.testing.assert_array_equal(array, before)


@EACH
@each("dtype", HALF)
def test_half_types_are_rounded_once(call: Call, dtype: np.dtype[Any], isa: str) -> None:
    ordinary = case(call, SHAPE, dtype)
    call.check(call(*ordinary.arrays), ordinary)


@pytest.mark.parametrize("slope", [0.5, 1.5, 0.75, -1.5, 1 + 2.0**-11])
@each("dtype", HALF)
def test_every_half_is_converted_exactly(slope: float, dtype: np.dtype[Any], isa: str) -> None:
    """Halfway cases, subnormals, overflow, infinities, NaN; the product is exact in float32."""
    every = np.arange(2**16, dtype=np.uint16).view(dtype)[:-1]
    with np.errstate(all="ignore"):
        wide = every.astype(np.float32)
        expected = np.where(wide > 0, wide, wide * np.float32(slope)).astype(dtype)
    got = F.leaky_relu(every, slope)
    number = ~np.isnan(expected)
    assert (np.isnan(got) == ~number).all()
    np.testing.assert_array_equal(got.view(np.uint16)[number], expected.view(np.uint16)[number])


@EACH
@DTYPES
def test_broadcast_input_is_only_read(call: Call, dtype: np.dtype[Any]) -> None:
    arrays = [np.broadcast_to(array[:1, ..., :1], array.shape) for array in case(call, SHAPE, dtype).arrays]
    assert not any(array.flags.writeable for array in arrays)
    call.check(call(*arrays), case_of(call, *arrays), LOOSE_ULP)


@EACH
@DTYPES
def test_no_dimensions(call: Call, dtype: np.dtype[Any]) -> None:
    if not call.any_shape:
        pytest.skip("needs a dimension to cut")
    ordinary = case(call, (), dtype)
    out = np.full((), 7, dtype)
    for result in (call(*ordinary.arrays), call(*ordinary.arrays, out=out), out):
        assert type(result) is np.ndarray
        call.check(result, ordinary, LOOSE_ULP)


@EACH
@DTYPES
def test_no_elements(call: Call, dtype: np.dtype[Any]) -> None:
    ordinary = case(call, (0, 6, 2), dtype)
    assert call(*ordinary.arrays).shape == ordinary.exact.shape
    assert call(*[np.asfortranarray(array) for array in ordinary.arrays]).dtype == dtype


@EACH
@each("integers", ["bool", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i4"])
def test_integers_promote_as_for_tanh(call: Call, integers: str) -> None:
    shape = (*call.shape(11)[:-1], 12)
    x = np.random.default_rng(0).integers(0, 9, shape).astype(integers)
    dtype = np.tanh(x).dtype
    arrays = [array.astype(integers) for array in call.data(x.astype(dtype))]
    result = call(*arrays)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, call(*[array.astype(dtype) for array in arrays]))


@EACH
def test_lists_and_scalars(call: Call) -> None:
    arrays = case(call, (2, 6, 2), np.dtype(np.float64)).arrays
    np.testing.assert_array_equal(call(*[array.tolist() for array in arrays]), call(*arrays))
    if call.any_shape:
        for number in (2, 0.5, True, np.float32(0.5)):
            result = call(*[number] * len(arrays))
            assert type(result) is np.ndarray
            assert (result.shape, result.dtype) == ((), np.tanh(number).dtype)


@BACKWARD
def test_arguments_of_two_dtypes_meet_in_the_wider(call: Call) -> None:
    dy, saved = case(call, SHAPE, F32).arrays
    if call.name == "maxout":
        pytest.skip("the gradient has the dtype of dy alone")
    for narrow in (np.float16, ml_dtypes.bfloat16, np.float32):
        wide = call(dy.astype(narrow).astype(np.float64), saved.astype(np.float64))
        result = call(dy.astype(narrow), saved.astype(np.float64))
        assert result.dtype == np.float64
        np.testing.assert_array_equal(result, wide)
    with pytest.raises(TypeError, match=r"dtypes .* dy of float16 and (input|output) of bfloat16"):
        call(dy.astype(np.float16), saved.astype(ml_dtypes.bfloat16))


# ---- outputs that share memory with inputs -----------------------------------------------------------------


@EACH
@DTYPES
def test_in_place(call: Call, dtype: np.dtype[Any], isa: str) -> None:
    _in_place(call, dtype, np.copy)


@EACH
@DTYPES
@each("layout", LAYOUTS)
def test_in_place_in_any_layout(call: Call, dtype: np.dtype[Any], layout: str) -> None:
    _in_place(call, dtype, LAYOUTS[layout])


def _in_place(call: Call, dtype: np.dtype[Any], lay_out: Callable[[Array], Array]) -> None:
    ordinary = case(call, SHAPE, dtype)
    for i, array in enumerate(ordinary.arrays):
        if array.shape != ordinary.exact.shape:
            continue
        arrays = [lay_out(array.copy()) for array in ordinary.arrays]
        assert call(*arrays, out=arrays[i]) is arrays[i]
        call.check(arrays[i].astype(dtype), ordinary, LOOSE_ULP)


@BACKWARD
@DTYPES
def test_one_array_is_all_arguments(call: Call, dtype: np.dtype[Any]) -> None:
    if not call.any_shape:
        pytest.skip("its arguments differ in shape")
    both = np.abs(normal(SHAPE, dtype))
    expected = call(both, both.copy())
    np.testing.assert_array_equal(call(both, both, out=both), expected)


def _place(memory: Array, at: int, like: Array) -> Array:
    """A view of the memory, from a byte on, with the values, shape and dtype of another array."""
    view: Array = np.frombuffer(memory, like.dtype, like.size, at).reshape(like.shape)
    view[...] = like
    return view


@EACH
@DTYPES
@each("shift", [-24, -8, -3, 1, 8, 40])
def test_partial_overlap(call: Call, dtype: np.dtype[Any], shift: int) -> None:
    ordinary = case(call, call.shape(3001 if call.any_shape else 130), dtype)
    expected = call(*ordinary.arrays)
    for i, array in enumerate(ordinary.arrays):
        memory = np.empty(max(array.nbytes, expected.nbytes) + 80, np.uint8)
        out = np.frombuffer(memory, dtype, expected.size, 40 + shift).reshape(expected.shape)
        arrays = list(ordinary.arrays)
        arrays[i] = _place(memory, 40, array)
        assert call(*arrays, out=out) is out
        np.testing.assert_array_equal(out, expected)


@EACH
@DTYPES
def test_the_output_is_the_input_transposed(call: Call, dtype: np.dtype[Any]) -> None:
    if not call.any_shape:
        pytest.skip("a square input does not have a square result")
    ordinary = case(call, (50, 50), dtype)
    expected = call(*ordinary.arrays)
    for i in range(len(ordinary.arrays)):
        arrays = [array.copy() for array in ordinary.arrays]
        np.testing.assert_array_equal(call(*arrays, out=arrays[i].T), expected)


@EACH
def test_the_output_is_the_input_in_the_other_byte_order(call: Call) -> None:
    ordinary = case(call, call.shape(40), F32)
    for i, array in enumerate(ordinary.arrays):
        if array.shape != ordinary.exact.shape:
            continue
        arrays = [array.copy() for array in ordinary.arrays]
        out = arrays[i].view(F32.newbyteorder())
        np.testing.assert_array_equal(call(*arrays, out=out), call(*ordinary.arrays))


# ---- errors ------------------------------------------------------------------------------------------------


def _wrong_arrays() -> dict[str, Any]:
    real = np.ones(SHAPE)
    return {
        "complex": real.astype(complex),
        "object": real.astype(object),
        "str": real.astype("U3"),
        "datetime": real.astype("M8[s]"),
        "longdouble": real.astype(np.longdouble),
        "none": None,
        "text": "one",
    }


@EACH
@each("wrong", _wrong_arrays())
def test_another_dtype_is_an_error_that_names_the_argument(call: Call, wrong: str) -> None:
    ordinary = case(call, SHAPE, F32)
    out = np.full(ordinary.exact.shape, 7, F32)
    for i, name in enumerate(call.arguments):
        arrays: list[Any] = list(ordinary.arrays)
        arrays[i] = _wrong_arrays()[wrong]
        with pytest.raises(TypeError, match=rf"^{name} must be an array of float16, .* got "):
            call(*arrays, out=out)
    assert (out == 7).all()


@EACH
@each("dtype", [np.dtype(np.float32), np.dtype(np.float16)])
def test_an_output_that_does_not_fit(call: Call, dtype: np.dtype[Any]) -> None:
    ordinary = case(call, SHAPE, dtype)
    shape = ordinary.exact.shape
    read_only = np.full(shape, 7, dtype)
    read_only.flags.writeable = False
    wrong: list[tuple[type[Exception], str, Any]] = [
        (ValueError, "shape", np.full((*shape, 1), 7, dtype)),
        (ValueError, "shape", np.full(shape[1:], 7, dtype)),
        (ValueError, "shape", np.full((shape[0] + 1, *shape[1:]), 7, dtype)),
        (ValueError, "shape", np.full(math.prod(shape), 7, dtype)),
        (TypeError, "dtype", np.full(shape, 7, np.float64)),
        (TypeError, "dtype", np.full(shape, 7, ml_dtypes.bfloat16)),
        (TypeError, "dtype", np.full(shape, 7, np.int32)),
        (ValueError, "writeable", read_only),
        (TypeError, "NumPy array", [[7.0]]),
        (TypeError, "NumPy array", 7.0),
    ]
    for error, takes, out in wrong:
        with pytest.raises(error, match=f"^out must .*{takes}.*, got"):
            call(*ordinary.arrays, out=out)
        assert (np.asarray(out) == 7).all()


@BACKWARD
@each("dtype", [np.dtype(np.float32), np.dtype(np.float16)])
def test_gradients_of_two_shapes(call: Call, dtype: np.dtype[Any]) -> None:
    dy, saved = case(call, SHAPE, dtype).arrays
    out = np.full(call(dy, saved).shape, 7, dtype)
    for wrong in (dy[:-1], dy[:1], dy[0], dy[..., :1], dy.reshape(-1), dy[..., None], dy[0, 0, 0]):
        with pytest.raises(ValueError, match=r"^(dy|input|output) must have the shape of .*\(.*, got \("):
            call(wrong, saved, out=out)
    assert (out == 7).all()


# ---- any layout at all -------------------------------------------------------------------------------------


@st.composite
def laid_out(draw: st.DrawFn, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array of this shape whose axes have any order, step, direction and gap in memory."""
    steps = draw(st.tuples(*[st.sampled_from([1, 1, 2, 3, -1, -2]) for _ in shape]))
    order = draw(st.permutations(range(len(shape))))
    extents = [shape[axis] * abs(steps[axis]) + draw(st.integers(0, 2)) for axis in order]
    offset = draw(st.sampled_from([0, 0, 1]))
    memory = np.zeros(math.prod(extents) * dtype.itemsize + offset, np.uint8)
    whole = np.frombuffer(memory, dtype, math.prod(extents), offset).reshape(extents)
    named = whole.transpose([order.index(axis) for axis in range(len(shape))])
    # The dots keep an array without dimensions an array.
    forward: Any = (*(slice(0, n * abs(step), abs(step)) for n, step in zip(shape, steps, strict=True)), ...)
    turned: Any = (*(slice(None, None, -1 if step < 0 else 1) for step in steps), ...)
    laid: Array = named[forward][turned]
    return laid


@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_layout(data: st.DataObject) -> None:
    call = data.draw(st.sampled_from([call for call in CALLS if call.any_shape]))
    dtype = data.draw(st.sampled_from([*FULL, *HALF]))
    shape = tuple(data.draw(st.lists(st.integers(0, 7), max_size=4)))
    ordinary = case(call, shape, dtype)
    arrays = [data.draw(laid_out(shape, dtype)) for _ in ordinary.arrays]
    for array, values in zip(arrays, ordinary.arrays, strict=True):
        array[...] = values
    call.check(call(*arrays), ordinary, LOOSE_ULP)
    out = data.draw(st.sampled_from([data.draw(laid_out(shape, dtype)), *arrays]))
    call(*arrays, out=out)
    call.check(out, ordinary, LOOSE_ULP)


# ---- overlap -----------------------------------------------------------------------------------------------

RNG = np.random.default_rng(7)


def _numbers(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


OTHER = _numbers(6, 4)
CHAIN = fuse(Bias(), Add(), Activation("relu"))


def _both(backward: Callable[..., Any], result: tuple[Array, Any]) -> tuple[Array, Any]:
    """The result, and the gradients from what was saved beside it."""
    return result[0], backward(OTHER, result[1])


# A function of arrays and out, the shapes of the arrays, and that of the result.
OVERLAPPING: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]], tuple[int, ...]]] = {
    "gelu": (F.gelu, [(6, 4)], (6, 4)),
    "gelu_backward": (F.gelu_backward, [(6, 4), (6, 4)], (6, 4)),
    "glu": (F.glu, [(6, 4)], (6, 2)),
    "swiglu_backward": (F.swiglu_backward, [(6, 2), (6, 4)], (6, 4)),
    "prelu": (F.prelu, [(6, 4), (4,)], (6, 4)),
    "prelu_backward": (F.prelu_backward, [(6, 4), (6, 4), (4,)], (6, 4)),
    "maxout": (lambda x, out=None: F.maxout(x, 3, 0, out=out)[0], [(6, 4)], (2, 4)),
    "maxout_backward of 1": (
        lambda dy, out=None: F.maxout_backward(dy, F.maxout(OTHER, 1, 1)[1], out=out),
        [(6, 4)],
        (6, 4),
    ),
    "maxout_backward of 3": (
        lambda dy, out=None: F.maxout_backward(dy, F.maxout(OTHER, 3, 0)[1], out=out),
        [(2, 4)],
        (6, 4),
    ),
    "softmax_backward": (F.softmax_backward, [(6, 4), (6, 4)], (6, 4)),
    "cross_entropy": (F.cross_entropy, [(6, 4), (6, 4), (4,)], (6, 4)),
    "mse_loss": (F.mse_loss, [(6, 4), (6, 4)], (6, 4)),
    "binary_cross_entropy_with_logits": (
        lambda x, t, w, p, out=None: F.binary_cross_entropy_with_logits(x, t, w, "sum", p, out=out),
        [(6, 4), (6, 4), (4,), (6, 4)],
        (6, 4),
    ),
    "batch_norm of x": (
        lambda x, w, out=None: F.batch_norm(x, None, None, w, training=True, out=out)[0],
        [(6, 4), (4,)],
        (6, 4),
    ),
    "batch_norm": (
        lambda x, w, b, out=None: _both(
            F.batch_norm_backward, F.batch_norm(x.copy(), None, None, w, b, True, out=out)
        ),
        [(6, 4), (4,), (4,)],
        (6, 4),
    ),
    "batch_norm_backward": (
        lambda dy, x, w, out=None: F.batch_norm_backward(
            dy, F.batch_norm(x, None, None, w, training=True)[1], out=out
        ),
        [(6, 4), (6, 4), (4,)],
        (6, 4),
    ),
    "fuse with residual": (
        lambda x, r, b, out=None: _both(CHAIN.backward, CHAIN.forward(x.copy(), bias=b, residual=r, out=out)),
        [(6, 4), (6, 4), (4,)],
        (6, 4),
    ),
    "layer_norm": (
        lambda x, w, b, out=None: _both(F.layer_norm_backward, F.layer_norm(x.copy(), 4, w, b, out=out)),
        [(6, 4), (4,), (4,)],
        (6, 4),
    ),
    "rms_norm": (lambda x, w, out=None: F.rms_norm(x, 4, w, out=out)[0], [(6, 4), (4,)], (6, 4)),
    "conv2d": (F.conv2d, [(1, 2, 3, 4), (2, 2, 1, 1), (2,)], (1, 2, 3, 4)),
    "max_pool2d": (lambda x, out=None: F.max_pool2d(x, 1, out=out)[0], [(1, 2, 3, 4)], (1, 2, 3, 4)),
}


@pytest.mark.parametrize("name", OVERLAPPING)
def test_out_over_each_argument(name: str) -> None:
    """Results, and what backward needs, are those of arrays that are apart, wherever `out` lies."""
    function, shapes, result = OVERLAPPING[name]
    values = [np.abs(_numbers(*shape)) for shape in shapes]
    expected = function(*values, out=np.empty(result, np.float32))
    for k, value in enumerate(values):
        for distance in range(-math.prod(result) + 1, value.size):
            buffer = np.empty(2 * math.prod(result) + value.size, np.float32)
            at = math.prod(result)
            argument = buffer[at : at + value.size].reshape(value.shape)
            argument[...] = value
            out = buffer[at + distance : at + distance + math.prod(result)].reshape(result)
            got = function(*values[:k], argument, *values[k + 1 :], out=out)
            np.testing.assert_equal(got, expected, f"argument {k} of {name}, {distance} elements apart")
            if isinstance(got, np.ndarray):
                assert np.shares_memory(got, out)


RAGGED: Any = [[1.0], [2.0, 3.0]]
READ_ONLY: Any = np.broadcast_to(np.float32(1), 3)
INT16: Any = np.ones(3, np.int16)


@each("norm", [F.layer_norm, F.rms_norm, lambda x, n, w, out: F.group_norm(x, 1, w, out=out)])
def test_an_empty_result_inside_the_weight_s_memory(norm: Callable[..., Any]) -> None:
    weight = np.ones(3)
    out = np.ndarray((0, 3), np.float64, weight.data, 8)
    assert norm(np.zeros((0, 3)), 3, weight, out=out)[0] is out


def test_more_dimensions_than_an_array_can_have() -> None:
    with pytest.raises(ValueError, match=r"at most 64 dimensions, got 65|maximum supported dimension"):
        F.dropout_mask((1,) * 65)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.hardshrink(OTHER, 10**400), "lambd must be in the range of float64, got int"),
        (lambda: F.dropout(OTHER, 10**400), "p must be in the range of float64"),
        (lambda: F.layer_norm(OTHER, np.float32(4)), "normalized_shape must be an integer or several"),  # type: ignore[arg-type]
        (lambda: F.layer_norm(OTHER, [4.0]), "normalized_shape must be an integer or several"),  # type: ignore[list-item]
        (lambda: F.group_norm(np.zeros((4, 0, 3)), 2**62), "num_groups must be >= 1 and divide"),
        (lambda: F.maxout(np.zeros(0), 2**62, 0), "k must be >= 1 and divide the input's length"),
        (lambda: F.exp(RAGGED), "^input must be an array or nested sequences of one shape, got a list whose"),
        (lambda: F.dropout2d(RAGGED), "^input must be an array or nested sequences of one shape"),
        (lambda: nn.BatchNorm1d(3)(RAGGED), "^x must be an array or nested sequences of one shape"),
        (lambda: nn.Linear(3, 2)(RAGGED), "^Linear: x must be an array of the weight's dtype, float32, got"),
        (lambda: F.relu(READ_ONLY, inplace=True), "^input must be writeable to hold the result, got a read-"),
        (lambda: F.relu([1.0], inplace=True), "^input must be a NumPy array to hold the result, got list"),
        (lambda: nn.DropPath(inplace=True)(INT16), "^input must have dtype float32 to hold the result, got"),
        (lambda: F.rrelu(INT16, training=True, inplace=True), "^input must have dtype float32 to hold"),
        (
            lambda: F.conv2d(np.zeros((0, 1, 8, 8)), np.broadcast_to(0.0, (2**40, 1, 1, 1)), padding=2044),
            r"^the result's shape must be one of fewer than 2\*\*63 bytes, got \(0, 1099511627776, 4096, ",
        ),
    ],
)
def test_arguments_that_no_call_can_use(call: Callable[[], object], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call()
