"""Pooling against the reference, torch and finite differences, and as layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import _kernels, nn, reference
from fastnn._core.typing import Array
from fastnn.random import Key
from support.cases import each
from support.gradients import numerical_gradient

FULL: list[np.dtype[Any]] = [np.dtype(np.float32), np.dtype(np.float64)]
HALF: list[np.dtype[Any]] = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]
DTYPES = each("dtype", FULL)
KEY = Key(7, 3)


@dataclass(frozen=True)
class Case:
    """A function, its input's shape, and what else it takes."""

    name: str
    shape: tuple[int, ...]
    params: dict[str, Any] = field(hash=False)

    def __str__(self) -> str:
        values = ["x".join(map(str, self.shape)), *(str(v).replace(", ", "x") for v in self.params.values())]
        return "-".join([self.name, *values])

    @property
    def takes_maximum(self) -> bool:
        return "max" in self.name

    def forward(self, module: Any, x: Any, **out: Any) -> tuple[Array, Any]:
        key = {"key": KEY} if self.name == "fractional_max_pool2d" else {}
        result: tuple[Array, Any] = getattr(module, self.name)(x, **self.params, **key, **out)
        return result

    def backward(self, module: Any, dy: Any, saved: Any, **out: Any) -> Array:
        dx: Array = getattr(module, f"{self.name}_backward")(dy, saved, **out)
        return dx

    def arrays(self, dtype: np.dtype[Any]) -> tuple[Array, Array]:
        """(dy, input); many elements of the input are equal, and some are infinite."""
        rng = np.random.default_rng(math.prod(self.shape))
        x = rng.normal(size=self.shape).round(1)
        if self.takes_maximum:
            x[rng.random(self.shape) < 0.05] = np.inf
            x[rng.random(self.shape) < 0.3] = -np.inf
        dy = rng.normal(size=self.forward(reference, np.zeros(self.shape))[0].shape)
        return dy.astype(dtype), x.astype(dtype)

    def run(self, module: Any, dy: Any, x: Any) -> tuple[Array, Array]:
        y, saved = self.forward(module, x)
        return y, self.backward(module, dy, saved)


WINDOWS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 8, 8), {"kernel_size": 2}),
    ((2, 2, 32, 64), {"kernel_size": 2, "stride": 2}),
    ((1, 3, 7, 16), {"kernel_size": 2}),  # rows of one vector
    ((2, 6, 37), {"kernel_size": 2}),
    ((1, 2, 7, 9), {"kernel_size": 2}),
    ((3, 13, 70), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ((2, 2, 9, 8), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ((2, 2, 9, 35), {"kernel_size": 3, "stride": 1}),
    ((2, 1, 8, 9), {"kernel_size": (2, 3), "stride": (3, 2), "padding": (1, 1), "ceil_mode": True}),
    ((1, 2, 10, 11), {"kernel_size": 2, "stride": 2, "padding": 1, "ceil_mode": True}),
    ((1, 1, 9, 8), {"kernel_size": 1, "stride": 3}),
    ((2, 2, 5, 4), {"kernel_size": (5, 4)}),
    ((1, 1, 40, 21), {"kernel_size": (17, 16), "stride": (2, 3), "padding": 8}),  # more than 256 elements
    ((1, 1, 270, 130), {"kernel_size": 5, "stride": 4, "padding": 2}),  # strips
]
CASES = [
    *(Case("max_pool2d", shape, params) for shape, params in WINDOWS),
    Case("max_pool2d", (2, 2, 12, 20), {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2}),
    Case("max_pool2d", (1, 2, 9, 9), {"kernel_size": 2, "stride": 3, "dilation": (1, 4), "ceil_mode": True}),
    *(Case("avg_pool2d", shape, params) for shape, params in WINDOWS),
    *(Case("avg_pool2d", *WINDOWS[k][:1], {**WINDOWS[k][1], "count_include_pad": False}) for k in (5, 6, 8)),
    Case("avg_pool2d", (2, 2, 7, 6), {"kernel_size": 3, "padding": 1, "divisor_override": -5}),
    *(
        Case("adaptive_avg_pool2d", (2, 3, 11, 23), {"output_size": size})
        for size in (1, 4, (3, 7), (None, 5), (12, 30))
    ),
    Case("adaptive_avg_pool2d", (25, 40, 40), {"output_size": (7, 6)}),
    *(
        Case("adaptive_max_pool2d", (2, 3, 11, 23), {"output_size": size})
        for size in (1, (3, 7), (None, 5), (12, 30))
    ),
    *(
        Case(name, shape, {"kernel_size": 3, **params})
        for name in ("max_pool1d", "avg_pool1d")
        for shape, params in [((2, 3, 37), {}), ((2, 9), {"stride": 2, "padding": 1, "ceil_mode": True})]
    ),
    Case("fractional_max_pool2d", (2, 3, 11, 13), {"kernel_size": 2, "output_size": (7, 8)}),
    Case(
        "fractional_max_pool2d", (5, 9, 8), {"kernel_size": (3, 2), "output_size": None, "output_ratio": 0.6}
    ),
    Case("fractional_max_pool2d", (2, 1, 20, 20), {"kernel_size": (17, 16), "output_size": (1, 4)}),
    Case("fractional_max_pool2d", (40, 30, 31), {"kernel_size": 3, "output_ratio": (0.5, 0.7)}),
]
EACH = pytest.mark.parametrize("case", CASES, ids=str)
ONE_OF_EACH = pytest.mark.parametrize(
    "case", list({case.name: case for case in reversed(CASES)}.values()), ids=lambda case: case.name
)
SMALL = pytest.mark.parametrize("case", [case for case in CASES if math.prod(case.shape) < 350], ids=str)


@cache
def exact(case: Case, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """The reference's result and gradient."""
    dy, x = case.arrays(dtype)
    return case.run(reference, dy.astype(np.float64), x.astype(np.float64))


def check(case: Case, got: tuple[Array, Array], wanted: tuple[Array, Array], dtype: np.dtype[Any]) -> None:
    """Maxima are exact; sums of a window are near, measured by the largest."""
    for ours, theirs, is_exact in zip(got, wanted, (case.takes_maximum, False), strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == dtype
        if is_exact:
            np.testing.assert_array_equal(ours, theirs)
        else:
            bound = 8 * np.finfo(dtype).eps * np.abs(theirs).max(initial=0)
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=bound)


@EACH
@DTYPES
def test_results_and_gradients(case: Case, dtype: np.dtype[Any], isa: str) -> None:
    check(case, case.run(F, *case.arrays(dtype)), exact(case, dtype), dtype)


@EACH
def test_threads_change_no_bit(case: Case, threads: None) -> None:
    dy, x = case.arrays(FULL[0])
    results = []
    for count in (1, 2, 3):
        fastnn.set_num_threads(count)
        results.append(case.run(F, dy, x))
    for again in results[1:]:
        for ours, theirs in zip(again, results[0], strict=True):
            np.testing.assert_array_equal(ours, theirs)


@SMALL
def test_gradients_by_finite_differences(case: Case) -> None:
    dy, x = case.arrays(FULL[1])
    x = np.random.default_rng(1).permutation(x.size).reshape(x.shape) / 7  # no two are near
    gradient = case.run(F, dy, x)[1]
    expected = numerical_gradient(lambda: float((case.forward(F, x)[0] * dy).sum()), x)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-6)


@EACH
@DTYPES
def test_torch(case: Case, dtype: np.dtype[Any]) -> None:
    torch = pytest.importorskip("torch")
    if case.name == "fractional_max_pool2d":
        if dtype == np.float32:
            pytest.skip("torch computes the windows in float32")
        planes = math.prod(case.shape[:-2])
        draws = _kernels.draw_blocks(KEY, 0, planes)[: 2 * planes]
        samples = torch.from_numpy((draws + 0.5).reshape(-1, case.shape[-3], 2) / 2**16)
        params = {**case.params, "_random_samples": samples}
        if isinstance(params.get("output_ratio"), float):
            params["output_ratio"] = (params["output_ratio"],) * 2
    else:
        params = case.params
    dy, x = case.arrays(dtype)
    tensor = torch.from_numpy(x).requires_grad_()
    y = getattr(torch.nn.functional, case.name)(tensor, **params)
    y.backward(torch.from_numpy(dy))
    check(case, case.run(F, dy, x), (y.detach().numpy(), tensor.grad.numpy()), dtype)


# ---- maxima ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [CASES[k] for k in (0, 2, 3, 5, 12, 40)], ids=str)
@DTYPES
def test_nan_is_the_largest_and_the_last_one_counts(case: Case, dtype: np.dtype[Any], isa: str) -> None:
    dy, x = case.arrays(dtype)
    x.flat[:: max(x.size // 40, 3)] = np.nan
    x[..., 1, 1:4] = np.nan
    expected = case.run(reference, dy.astype(np.float64), x.astype(np.float64))
    assert np.isnan(expected[0]).any()
    check(case, case.run(F, dy, x), expected, dtype)


def test_the_first_of_equals_gets_the_gradient() -> None:
    for value in (0.0, -np.inf, np.inf):
        x = np.full((1, 4, 4), value)
        _, saved = F.max_pool2d(x, 3, 1, 1)
        dx = F.max_pool2d_backward(np.ones((1, 4, 4)), saved)
        np.testing.assert_array_equal(dx[0], [[4, 2, 2, 0], [2, 1, 1, 0], [2, 1, 1, 0], [0, 0, 0, 0]])


def test_a_byte_for_each_result_is_saved() -> None:
    x = np.zeros((2, 3, 64, 64), np.float32)
    _, saved = F.max_pool2d(x, 2)
    assert saved.argmax is not None
    assert saved.argmax.nbytes == 2 * 3 * 32 * 32
    assert all(not np.may_share_memory(part, x) for part in saved if isinstance(part, np.ndarray))


# ---- random places -----------------------------------------------------------------------------------------


def test_fractional_windows_follow_from_the_key() -> None:
    x = np.arange(2 * 3 * 20 * 30, dtype=np.float32).reshape(2, 3, 20, 30)
    first, again = (F.fractional_max_pool2d(x, 2, (13, 17), key=KEY)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = F.fractional_max_pool2d(x, 2, (13, 17), key=Key(7, 4))[0]
    assert (first != other).any()
    fastnn.manual_seed(7)
    layer = nn.FractionalMaxPool2d(2, (13, 17), generator=fastnn.Generator(7))
    np.testing.assert_array_equal(layer(x), F.fractional_max_pool2d(x, 2, (13, 17))[0])
    assert (layer(x) != layer(x)).any()


def test_fractional_windows_cover_the_image_in_steps_of_alpha() -> None:
    x = np.zeros((40, 1, 30, 47))
    _, saved = F.fractional_max_pool2d(x, (2, 3), (17, 20), key=KEY)
    for (begin, end), size, taps, places in zip(saved.regions, (30, 47), (2, 3), (17, 20), strict=True):
        assert begin.shape == (40, places)
        np.testing.assert_array_equal(end - begin, taps)
        np.testing.assert_array_equal(begin[:, 0], 0)
        np.testing.assert_array_equal(end[:, -1], size)
        alpha = (size - taps) / (places - 1)
        steps = np.diff(begin, axis=1)
        assert set(np.unique(steps)) <= {math.floor(alpha), math.ceil(alpha)}
        assert len(np.unique(begin, axis=0)) > 3


# ---- arrays ------------------------------------------------------------------------------------------------


@ONE_OF_EACH
@each("dtype", HALF)
def test_half_types_are_computed_in_float32(case: Case, dtype: np.dtype[Any]) -> None:
    dy, x = (array.astype(dtype) for array in case.arrays(FULL[0]))
    wide = case.run(F, dy.astype(np.float32), x.astype(np.float32))
    for ours, theirs in zip(case.run(F, dy, x), wide, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_array_equal(ours, theirs.astype(dtype))


@ONE_OF_EACH
@DTYPES
def test_any_layout_and_out(case: Case, dtype: np.dtype[Any]) -> None:
    dy, x = case.arrays(dtype)
    y, dx = case.run(F, dy, x)
    layouts: list[Callable[[Array], Array]] = [
        lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
        lambda a: np.asfortranarray(a),
        lambda a: a[::-1].copy()[::-1],
        lambda a: a.astype(dtype.newbyteorder()),
    ]
    for lay_out in layouts:
        for ours, theirs in zip(case.run(F, lay_out(dy), lay_out(x)), (y, dx), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        to = lay_out(np.zeros_like(y)), lay_out(np.zeros_like(dx))
        result, saved = case.forward(F, x, out=to[0])
        assert result is to[0]
        assert case.backward(F, dy, saved, out=to[1]) is to[1]
        np.testing.assert_array_equal(to[0], y)
        np.testing.assert_array_equal(to[1], dx)


def test_out_may_be_in_the_inputs_memory() -> None:
    x = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)
    expected = F.max_pool2d(x, 3, 1, 1)[0]
    assert F.max_pool2d(x, 3, 1, 1, out=x)[0] is x
    np.testing.assert_array_equal(x, expected)
    expected = F.avg_pool2d(x, 2)[0]
    np.testing.assert_array_equal(F.avg_pool2d(x, 2, out=x[..., 2:6, 1:5])[0], expected)


def test_integers_promote() -> None:
    x = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
    assert F.max_pool2d(x, 2)[0].dtype == np.float16
    np.testing.assert_array_equal(F.avg_pool2d(x.astype(int), 2)[0][0], [[2.5, 4.5], [10.5, 12.5]])


@ONE_OF_EACH
def test_no_samples(case: Case) -> None:
    x = np.ones((0, *case.shape[1:]), np.float32)
    y, saved = case.forward(F, x)
    assert y.shape[:2] == (0, case.shape[1])
    assert case.backward(F, y, saved).shape == x.shape


@ONE_OF_EACH
def test_a_second_call_allocates_nothing(case: Case) -> None:
    x, cached = np.ones((16, 16, 64, 64) if "2d" in case.name else (16, 16, 4096), np.float32), []
    for _ in range(5):
        y, saved = case.forward(F, x)
        case.backward(F, y, saved)
        cached.append(_kernels.cached_bytes())
    assert cached[0] > 0
    assert len(set(cached[1:])) == 1


# ---- errors ------------------------------------------------------------------------------------------------


X = np.ones((2, 3, 6, 6))
WRONG: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: F.max_pool2d(X[0, 0], 2), ValueError, r"^input must have shape \(N, C, H, W\) .*got \(6, 6\)"),
    (lambda: F.max_pool2d("image", 2), TypeError, r"^input must be an array of float16"),
    (
        lambda: F.max_pool2d(X, 7),
        ValueError,
        r"^input must have room for a window of 7, got shape \(2, 3, 6, 6\)",
    ),
    (lambda: F.max_pool2d(X[:, :, :0], 1), ValueError, r"^input must have room for a window"),
    (lambda: F.max_pool2d(X, 0), ValueError, r"^kernel_size must be at least 1, got 0"),
    (lambda: F.max_pool2d(X, 2.0), TypeError, r"^kernel_size must be an integer or two, got 2.0"),  # type: ignore[arg-type]
    (lambda: F.max_pool2d(X, 2**62, 1, 2**61), ValueError, r"^kernel_size must be below 2\^31"),
    (
        lambda: F.avg_pool2d(X, 2**13, 1, 2**12),
        ValueError,
        r"^kernel_size must have at most 2\^24 elements, got 8192",
    ),
    (lambda: F.max_pool2d(X, 2, 2**70), ValueError, r"^stride must be below 2\^31"),
    (lambda: F.max_pool2d(X, 2, 0), ValueError, r"^stride must be at least 1, got 0"),
    (
        lambda: F.max_pool2d(X, 3, padding=2),
        ValueError,
        r"^padding must be at most half of kernel_size 3, got 2",
    ),
    (lambda: F.max_pool2d(X, 3, padding=-1), ValueError, r"^padding must be at least 0, got -1"),
    (lambda: F.max_pool2d(X, 3, dilation=(1, 0)), ValueError, r"^dilation must be at least 1"),
    (
        lambda: F.max_pool2d(X, 2, out=np.ones(3)),
        ValueError,
        r"^out must have shape \(2, 3, 3, 3\), got \(3,\)",
    ),
    (lambda: F.avg_pool2d(X, 2, divisor_override=0), ValueError, r"^divisor_override must not be 0"),
    (lambda: F.avg_pool2d(X, 2, divisor_override="2"), TypeError, r"^divisor_override must be a real number"),  # type: ignore[arg-type]
    (
        lambda: F.adaptive_avg_pool2d(X, 2**30),
        ValueError,
        "^output_size must leave fewer than",
    ),
    (lambda: F.adaptive_avg_pool2d(X[:0], 2**30), ValueError, "^output_size must leave fewer than"),
    (lambda: F.adaptive_avg_pool2d(X, (2**30, 2**12)), MemoryError, "Unable to allocate"),
    (lambda: F.adaptive_avg_pool2d(X, 0), ValueError, r"^output_size must be at least 1, got 0"),
    (
        lambda: F.adaptive_avg_pool2d(X, (1, 2, 3)),
        TypeError,
        r"^output_size must be an integer or None, or two",
    ),
    (lambda: F.adaptive_avg_pool2d(X[:, :, :0], 1), ValueError, r"^input must have rows and columns"),
    (
        lambda: F.fractional_max_pool2d(X, 2),
        ValueError,
        r"^one of output_size and output_ratio must be given",
    ),
    (lambda: F.fractional_max_pool2d(X, 2, 3, 0.5), ValueError, r"^one of output_size and output_ratio"),
    (lambda: F.fractional_max_pool2d(X, 2, 6), ValueError, r"^input must have room for \(6, 6\) windows"),
    (lambda: F.fractional_max_pool2d(X, 2, None, 1.5), ValueError, r"^output_ratio must be in \(0, 1\)"),
    (
        lambda: F.fractional_max_pool2d(X, 2, None, 0.1),
        ValueError,
        r"^input must have room for \(0, 0\) windows",
    ),
    (lambda: F.fractional_max_pool2d(X, 2, 3, key=5), TypeError, r"^key must be a fastnn.Key"),  # type: ignore[arg-type]
    (lambda: F.max_pool2d_backward(X, None), TypeError, r"^saved must be what forward returned"),  # type: ignore[arg-type]
    (
        lambda: F.avg_pool2d_backward(X, F.avg_pool2d(X, 2)[1]),
        ValueError,
        r"^dy must have the shape of forward's result, \(2, 3, 3, 3\), got \(2, 3, 6, 6\)",
    ),
    (
        lambda: F.adaptive_avg_pool2d_backward(X, F.adaptive_avg_pool2d(X, (None, 2))[1]),
        ValueError,
        r"^dy must have the shape of forward's result, \(2, 3, 6, 2\), got",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_errors(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# ---- layers ------------------------------------------------------------------------------------------------


LAYERS: list[tuple[str, dict[str, Any]]] = [
    ("MaxPool2d", {"kernel_size": 2}),
    ("MaxPool2d", {"kernel_size": (2, 3), "stride": 1, "padding": 1, "dilation": 2, "ceil_mode": True}),
    ("AvgPool2d", {"kernel_size": 2}),
    (
        "AvgPool2d",
        {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False},
    ),
    ("AvgPool2d", {"kernel_size": 3, "divisor_override": 4}),
    ("AdaptiveAvgPool2d", {"output_size": (2, None)}),
]


@pytest.mark.parametrize(("name", "params"), LAYERS, ids=str)
def test_a_layer_is_its_function(name: str, params: dict[str, Any]) -> None:
    function = {"MaxPool2d": "max_pool2d", "AvgPool2d": "avg_pool2d"}.get(name, "adaptive_avg_pool2d")
    layer = getattr(nn, name)(**params)
    x = np.random.default_rng(0).normal(size=(2, 3, 9, 8))
    y, saved = getattr(F, function)(x, **params)
    np.testing.assert_array_equal(layer(x), y)
    np.testing.assert_array_equal(layer.backward(y), getattr(F, f"{function}_backward")(y, saved))
    with pytest.raises(RuntimeError, match=f"{name}.backward needs a forward pass first"):
        layer.backward(y)
    layer(x)
    with pytest.raises(ValueError, match="dy must have the shape of forward's result"):
        layer.backward(x[:1])


@pytest.mark.parametrize(
    ("name", "params"), [*LAYERS, ("FractionalMaxPool2d", {"kernel_size": 2, "output_ratio": 0.5})], ids=str
)
def test_a_layer_is_written_as_torchs(name: str, params: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    assert repr(getattr(nn, name)(**params)) == repr(getattr(torch.nn, name)(**params))


def test_layer_errors() -> None:
    with pytest.raises(ValueError, match="padding must be at most half of kernel_size"):
        nn.MaxPool2d(2, padding=2)
    with pytest.raises(ValueError, match="stride must be at least 1"):
        nn.AvgPool2d(2, 0)
    with pytest.raises(TypeError, match="output_size must be an integer or None, or two"):
        nn.AdaptiveAvgPool2d((1, 2, 3))
    with pytest.raises(ValueError, match="one of output_size and output_ratio must be given"):
        nn.FractionalMaxPool2d(2)


# ---- return_indices ----------------------------------------------------------------------------------------


def at_indices(x: Array, indices: Array) -> Array:
    planes, places = x.shape[:-2], indices.shape[-2:]
    elements, numbers = (array.reshape(*planes, np.prod(array.shape[-2:])) for array in (x, indices))
    flat = np.take_along_axis(elements, numbers, -1)
    return flat.reshape(*planes, *places)


@each(
    "layer",
    [
        nn.MaxPool2d(2, return_indices=True),
        nn.MaxPool2d((3, 2), (2, 1), 1, return_indices=True),
        nn.MaxPool2d(3, 2, 1, 2, True, True),
        nn.MaxPool2d(20, 1, 10, return_indices=True),
        nn.FractionalMaxPool2d((2, 3), output_size=(4, 3), return_indices=True),
    ],
)
@each("shape", [(2, 3, 9, 8), (3, 9, 8), (2, 0, 9, 8)])
def test_indices_say_where_the_largest_are(layer: nn.Module, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).permutation(np.arange(np.prod(shape), dtype=np.float64)).reshape(shape)
    output: Any = layer(x)
    y, indices = output
    assert (indices.dtype, indices.shape) == (np.int64, y.shape)
    np.testing.assert_array_equal(at_indices(x, indices), y)
    assert layer.backward(np.ones_like(y)).shape == shape


def test_means_have_no_indices() -> None:
    for _, saved in (F.avg_pool2d(X, 2), F.adaptive_avg_pool2d(X, 2)):
        with pytest.raises(ValueError, match="indices must be asked of max pooling"):
            saved.indices()
