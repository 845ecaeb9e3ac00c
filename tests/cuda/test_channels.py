"""Batch norm on a GPU: the CPU's problems and bounds, against the definition in a wider dtype."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn.functional
from fastnn.cuda.kernels.chain import channels
from support.batch_norm import Problem, channels_last, check, problem, run
from support.device_functions import OnDevice, there
from support.operations import BFLOAT16, HALF
from support.ulp import widen

F: Any = fastnn.functional  # whose arrays are a GPU's here, and no NumPy's
F32, F64, F16 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16)

#: Of one channel a tile, of several, and element by element; in one block and in several.
ONE = [(2, 3, 16, 16), (3, 2, 1024), (2, 1, 9000), (9, 2, 2, 4, 32)]
SEVERAL = [(4, 8), (700, 12), (1100, 300), (20, 4, 7, 7), (90, 4, 5, 5), (3, 8, 2, 1, 2)]
SCALAR = [(5, 3), (700, 5), (4, 3, 5, 7), (2, 2, 2001), (1, 3, 2, 3, 5)]


@pytest.fixture
def device(cupy: Any) -> OnDevice:
    return OnDevice(cupy)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("shapes", [ONE, SEVERAL, SCALAR], ids=["one", "several", "scalar"])
def test_float32(shapes: list[tuple[int, ...]], training: bool, device: OnDevice) -> None:
    for shape in shapes:
        check(problem(shape, F32), training, module=device)


@pytest.mark.parametrize("dtype", [F64, F16, BFLOAT16], ids=str)
def test_other_dtypes(dtype: np.dtype[Any], device: OnDevice) -> None:
    for shape in (*ONE[:2], *SEVERAL[:4]):
        check(problem(shape, dtype), training=True, module=device)
    check(problem((6, 8), dtype), training=False, module=device)


@pytest.mark.parametrize("shape", [(2, 8, 3, 5), (40, 16, 5, 9), (7, 300, 2, 2)], ids=str)
def test_channels_last(shape: tuple[int, ...], cupy: Any, device: OnDevice) -> None:
    given: Any = problem(shape, F32).laid_out(channels_last)
    for training in (True, False):
        check(given, training, module=device)
    x = there(cupy, given.x)
    y, saved = F.batch_norm(x, training=True)
    assert y.strides == x.strides == given.x.strides
    assert saved.input.data.ptr == x.data.ptr
    assert F.batch_norm_backward(y, saved)[0].strides == x.strides


def test_cuts_cover_every_element_once() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        outer, count, inner = (int(n) for n in rng.choice([1, 2, 3, 7, 16, 49, 100, 257, 1000], 3))
        dtype, columns, aligned = rng.choice(["float32", "bfloat16"]), rng.random() < 0.3, rng.random() < 0.8
        cut = channels.cut(str(dtype), outer, count, inner, bool(columns), bool(aligned))
        tiles, slices, parts = cut.grid
        assert (tiles - 1) * cut.span < cut.stride <= tiles * cut.span
        assert (slices - 1) * cut.slice_rows < cut.rows <= slices * cut.slice_rows
        vectors = cut.span // cut.width
        assert (parts - 1) * cut.part < vectors <= parts * cut.part
        assert cut.rows * cut.stride == outer * count * inner
        assert cut.across * cut.lines <= channels.THREADS
        assert cut.span % cut.inner == 0
        assert cut.single or (
            parts == 1 and vectors <= cut.across and cut.span // cut.inner <= channels.SLOTS
        )
        assert cut.width == 1 or (cut.stride % cut.width == 0 and cut.span % cut.width == 0)


# ---- numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mean", [1e6, -1e6, 3e3])
@pytest.mark.parametrize("shape", [(50, 3), (4, 3, 5, 7), (2, 2, 5000)], ids=str)
def test_a_mean_far_from_0_costs_nothing(mean: float, shape: tuple[int, ...], device: OnDevice) -> None:
    given: Any = problem(shape, F32)
    x = (np.random.default_rng(0).normal(size=shape) + mean).astype(F32)
    check(given._replace(x=x), training=True, mean=mean, module=device)
    running = given.running_mean + F32.type(mean)
    check(given._replace(x=x, running_mean=running), training=False, mean=mean, module=device)


@pytest.mark.parametrize("at", [0, 1, 4095, 9999])
def test_one_element_far_from_all_others(at: int, device: OnDevice) -> None:
    """Even where a thread meets it first."""
    given: Any = problem((5, 1, 2000), F32)
    x = (np.random.default_rng(0).normal(size=10_000) + 1e3).astype(F32)
    x[at] = -1e6
    check(given._replace(x=x.reshape(5, 1, 2000)), training=True, module=device)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6, 3e-40, 3e38])
def test_a_constant_channel_gives_its_bias(value: float, device: OnDevice) -> None:
    for shape in ((3, 2), (7, 2, 49), (3, 2, 5000)):
        x, (weight, bias) = np.full(shape, value, F32), np.array([[3, -2], [0.1, 0]], F32)
        y, _ = device.batch_norm(x, weight=weight, bias=bias, training=True)
        np.testing.assert_array_equal(y, np.broadcast_to(bias.reshape(2, *[1] * (len(shape) - 2)), shape))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_in_its_channel(value: float, device: OnDevice) -> None:
    for shape, at in (((6, 5), (3, 2)), ((3, 5, 200), (1, 2, 150)), ((3, 5, 200), (0, 2, 0))):
        given, spoilt = problem(shape, F32), problem(shape, F32)
        spoilt.x[at] = value
        expected, _ = run(given, True, device)
        for skip in (True, False):
            got, _ = run(spoilt, True, device, skip_nonfinite=skip)
            others = np.arange(5) != 2
            assert np.isnan(got.y[:, 2]).all()
            np.testing.assert_array_equal(got.y[:, others], expected.y[:, others])
            assert got.running_mean is not None
            assert given.running_mean is not None
            if skip:
                assert got.running_mean[2] == given.running_mean[2]
                assert got.running_var is not None
                assert given.running_var is not None
                assert got.running_var[2] == given.running_var[2]
            else:
                assert not np.isfinite(got.running_mean[2])


# ---- what is given, and what is kept -----------------------------------------------------------------------


def test_running_statistics_of_every_kind(device: OnDevice) -> None:
    given: Any = problem((40, 3), F32)
    for momentum in (0.0, 0.3, 1.0):
        check(given, True, momentum=momentum, module=device)
    check(given, True, biased_running_var=True, module=device)
    for kind in (*HALF, F64):
        other = given._replace(
            running_mean=given.running_mean.astype(kind),
            running_var=given.running_var.astype(kind),
        )
        check(other, True, module=device)


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
def test_the_cumulative_average(kind: type, device: OnDevice) -> None:
    given: Any = problem((40, 3), F32)._replace(num_batches_tracked=np.array(2, kind))
    got: Any
    expected: Any
    got, expected = (run(given, True, module, momentum=None)[0] for module in (device, F))
    assert got.num_batches_tracked == 3
    np.testing.assert_allclose(got.running_mean, expected.running_mean, rtol=1e-6)
    np.testing.assert_allclose(got.running_var, expected.running_var, rtol=1e-6)
    assert run(given, True, device)[0].num_batches_tracked == 3
    assert run(given, False, device)[0].num_batches_tracked == 2


@pytest.mark.parametrize("given", [{"weight": False}, {"bias": False}], ids=str)
def test_without_weight_or_bias(given: dict[str, bool], device: OnDevice) -> None:
    for training in (True, False):
        check(problem((6, 5), F32, **given), training, module=device)


def test_parameters_of_another_dtype(device: OnDevice) -> None:
    single, double = problem((6, 5, 7), F32), problem((6, 5, 7), F64)
    check(Problem(single.x, single.dy, *double[2:]), True, module=device)


def test_running_statistics_with_gaps(cupy: Any) -> None:
    given: Any = problem((40, 3), F32)
    mean, var = cupy.zeros((3, 2), "float32"), cupy.ones((3, 2), "float32")
    F.batch_norm(there(cupy, given.x), mean[:, 1], var[:, 0], training=True)
    expected = np.zeros(3, F32), np.ones(3, F32)
    F.batch_norm(given.x, *expected, training=True)
    np.testing.assert_allclose(mean.get()[:, 1], expected[0], rtol=1e-6)
    np.testing.assert_allclose(var.get()[:, 0], expected[1], rtol=1e-6)
    assert (mean.get()[:, 0] == 0).all()


# ---- memory ------------------------------------------------------------------------------------------------


def _misaligned(cupy: Any, array: Any) -> Any:
    memory = cupy.empty(array.size + 1, array.dtype)
    memory[1:].reshape(array.shape)[...] = there(cupy, array)
    return memory[1:].reshape(array.shape)


def test_misaligned_strided_and_reversed(cupy: Any) -> None:
    given: Any = problem((6, 8, 4, 10), F32)
    expected, _ = run(given, True)
    forms: tuple[Callable[[Any], Any], ...] = (
        lambda a: _misaligned(cupy, a),
        lambda a: there(cupy, np.repeat(a, 2, axis=3))[..., ::2],
        lambda a: there(cupy, a[:, ::-1])[:, ::-1],
        lambda a: there(cupy, a.T.copy()).T,
    )
    for form in forms:
        x, dy, weight = form(given.x), form(given.dy), there(cupy, np.repeat(given.weight, 2))[::2]
        y, saved = F.batch_norm(x, weight=weight, bias=there(cupy, given.bias), training=True)
        dx, _, _ = F.batch_norm_backward(dy, saved)
        np.testing.assert_allclose(y.get(), expected.y, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(dx.get(), expected.dx, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lay_out", [np.copy, channels_last], ids=["usual", "channels_last"])
def test_in_place_and_into_another_layout(lay_out: Any, cupy: Any) -> None:
    given: Any = problem((3, 4, 6, 8), F32).laid_out(lay_out)
    x, dy = there(cupy, given.x), there(cupy, given.dy)
    y, saved = F.batch_norm(x, training=True)
    dx, _, _ = F.batch_norm_backward(dy, saved)
    other = there(cupy, np.empty_like((channels_last if lay_out is np.copy else np.copy)(given.x)))
    assert F.batch_norm(x, training=True, out=other)[0] is other
    np.testing.assert_array_equal(other.get(), y.get())
    assert F.batch_norm_backward(dy, saved, out=dy)[0] is dy
    np.testing.assert_array_equal(dy.get(), dx.get())
    over, gone = F.batch_norm(x, training=True, out=x)
    assert over is x
    np.testing.assert_array_equal(x.get(), y.get())
    with pytest.raises(ValueError, match="saved must have forward's input, got one that y was written over"):
        F.batch_norm_backward(dy, gone)


def test_partial_overlap(cupy: Any) -> None:
    given: Any = problem((3, 4, 50), F32)
    expected, _ = F.batch_norm(there(cupy, given.x), training=True)
    memory = cupy.empty(608, "float32")
    x, out = memory[:600].reshape(3, 4, 50), memory[8:].reshape(3, 4, 50)
    x[...] = there(cupy, given.x)
    F.batch_norm(x, training=True, out=out)
    np.testing.assert_array_equal(out.get(), expected.get())


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 5), (2, 3, 0)], ids=str)
def test_empty(shape: tuple[int, ...], device: OnDevice) -> None:
    given: Any = problem(shape, F32)
    for training in (True, False):
        got, expected = run(given, training, device)[0], run(given, training)[0]
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_results_are_the_same_every_time(device: OnDevice) -> None:
    given: Any = problem((40, 6, 40), F32)
    assert run(given, True, device)[0].bits() == run(given, True, device)[0].bits()


# ---- errors ------------------------------------------------------------------------------------------------


def _messages(cupy: Any) -> list[tuple[dict[str, Any], type[Exception], str]]:
    x, vector = np.ones((4, 3), F32), np.ones(3, F32)
    return [
        ({"input": np.ones(3, F32)}, ValueError, "input must have shape (N, C) or (N, C, ...), got (3,)"),
        (
            {"input": x, "weight": np.ones(2, F32)},
            ValueError,
            "weight must have shape (3,), one for each channel",
        ),
        (
            {"input": x, "bias": np.ones((3, 1), F32)},
            ValueError,
            "bias must have shape (3,), one for each channel",
        ),
        ({"input": x, "running_mean": vector}, ValueError, "must both be given, or neither, got one"),
        ({"input": x, "training": False}, ValueError, "running_var must be given in evaluation, got None"),
        (
            {"input": x, "running_mean": vector, "running_var": np.ones(2, F32)},
            ValueError,
            "running_var must have shape (3,), one for each channel of input, got (2,)",
        ),
        (
            {"input": x, "running_mean": np.ones(3, int), "running_var": vector},
            TypeError,
            "running_mean must be of a floating dtype, got int64",
        ),
        ({"input": x[:1]}, ValueError, "needs more than one value per channel, got input of shape (1, 3)"),
        (
            {"input": x, "running_mean": vector, "running_var": vector, "momentum": None},
            ValueError,
            "momentum must be a number without num_batches_tracked, got None",
        ),
        (
            {"input": x, "num_batches_tracked": np.ones(2, int)},
            TypeError,
            "num_batches_tracked must be an integer array of one element, got int64 of shape (2,)",
        ),
        ({"input": x, "momentum": "a"}, TypeError, "momentum must be a real number, got str"),
        ({"input": x, "eps": -1.0}, ValueError, "eps must be at least 0, got -1.0"),
        ({"input": x, "out": np.ones((3, 4), F32)}, ValueError, "out must have shape (4, 3), got (3, 4)"),
        ({"input": x, "out": np.ones((4, 3))}, TypeError, "out must have dtype float32, got float64"),
    ]


def test_errors_are_the_cpu_s(cupy: Any, device: OnDevice) -> None:
    for given, error, message in _messages(cupy):
        for module in (F, device):
            with pytest.raises(error, match=re.escape(message)):
                module.batch_norm(**{"training": True, **given})
    x = cupy.ones((4, 3), "float32")
    with pytest.raises(
        TypeError, match="weight must be in the GPU's memory, as another argument is, got ndarray"
    ):
        F.batch_norm(x, weight=np.ones(3, F32), training=True)
    with pytest.raises(TypeError, match="input must be in the GPU's memory"):
        F.batch_norm(np.ones((4, 3), F32), weight=x[0], training=True)
    _, saved = F.batch_norm(x, training=True)
    with pytest.raises(
        ValueError, match=re.escape("dy must have the shape of forward's result, (4, 3), got (3,)")
    ):
        F.batch_norm_backward(x[0], saved)
    with pytest.raises(TypeError, match="dy must be in the GPU's memory"):
        F.batch_norm_backward(np.ones((4, 3), F32), saved)


def test_nothing_of_a_half_type_is_lost(device: OnDevice) -> None:
    """Statistics are of the numbers that there are, however near to each other."""
    for dtype in HALF:
        x = np.array([1, 1 + float(2**-7)] * 8).reshape(16, 1).astype(dtype)
        y, _ = device.batch_norm(x, training=True, eps=0.0)
        np.testing.assert_array_equal(np.abs(widen(y)), 1)
