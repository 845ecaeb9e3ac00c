"""Convolution against the reference, torch and finite differences, and as a layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import _kernels, nn, reference
from fastnn._core.typing import Array
from support.cases import each
from support.gradients import numerical_gradient
from support.ulp import widen

Pair = int | tuple[int, int]

FULL: list[np.dtype[Any]] = [np.dtype(np.float32), np.dtype(np.float64)]
HALF: list[np.dtype[Any]] = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]
DTYPES = pytest.mark.parametrize("dtype", FULL, ids=str)


@dataclass(frozen=True)
class Case:
    """An input's shape, the weight's, and the parameters."""

    shape: tuple[int, ...]
    weight: tuple[int, int, int, int]
    stride: Pair = 1
    padding: Pair | str = 0
    dilation: Pair = 1
    groups: int = 1

    def __str__(self) -> str:
        values = self.shape, self.weight, self.stride, self.padding, self.dilation, self.groups
        return "-".join(str(value).replace(", ", "x").strip("()") for value in values)

    @property
    def params(self) -> dict[str, Any]:
        names = "stride", "padding", "dilation", "groups"
        return {name: getattr(self, name) for name in names}

    def arrays(self, dtype: np.dtype[Any]) -> tuple[Array, Array, Array, Array]:
        """(dy, input, weight, bias)."""
        rng = np.random.default_rng(math.prod(self.shape))
        x, weight = rng.normal(size=self.shape).astype(dtype), rng.normal(size=self.weight).astype(dtype)
        bias = rng.normal(size=self.weight[0]).astype(dtype)
        y = reference.conv2d(np.zeros(self.shape), np.zeros(self.weight), **self.params)
        return rng.normal(size=y.shape).astype(dtype), x, weight, bias

    def run(self, module: Any, dy: Any, x: Any, weight: Any, bias: Any) -> list[Array]:
        """The result and all gradients."""
        y = module.conv2d(x, weight, bias, **self.params)
        return [y, *module.conv2d_backward(dy, x, weight, **self.params)]


CASES = [
    Case((2, 3, 32, 32), (32, 3, 3, 3), padding=1),  # rows of whole vectors
    Case((3, 5, 7, 9), (6, 5, 3, 3), padding=1),
    Case((3, 4, 6, 21), (11, 4, 3, 3)),
    Case((2, 8, 7, 7), (16, 8, 1, 1)),  # without windows, as one row
    Case((2, 8, 9, 9), (5, 8, 1, 1), stride=2),
    Case((2, 5, 4, 4), (3, 5, 1, 1), stride=(3, 1), padding=(1, 2)),
    Case((2, 4, 8, 8), (6, 2, 3, 2), stride=2, padding=1, groups=2),
    Case((2, 6, 14, 15), (6, 1, 3, 3), (2, 1), (1, 2), (2, 3), 6),  # depthwise
    Case((2, 3, 12, 12), (6, 1, 3, 3), padding=1, groups=3),
    Case((1, 2, 50, 70), (3, 2, 5, 7), stride=3, padding=2, dilation=2),
    Case((2, 3, 30, 33), (9, 3, 3, 3), stride=3, padding=4),
    Case((2, 3, 11, 13), (4, 3, 4, 4), stride=3, padding=(3, 0), dilation=(2, 4)),
    Case((1, 2, 9, 8), (2, 2, 2, 2), stride=4, dilation=3),  # elements that no window reaches
    Case((2, 4, 10, 11), (4, 1, 2, 4), padding="same", dilation=(3, 2), groups=4),
    Case((2, 3, 9, 8), (4, 3, 3, 3), stride=2, padding="valid"),
    Case((1, 40, 6, 100), (70, 40, 3, 3), padding=1),  # several pieces of outputs and of channels
    Case((9, 16, 4, 4), (20, 16, 3, 3), padding=1),  # many samples to a block
    Case((1, 3, 70, 150), (4, 3, 3, 3), padding=1),  # strips of an image
    Case((1, 60, 3, 700), (3, 60, 3, 3), padding=1),  # parts of a row
    Case((3, 7, 5), (2, 3, 4, 2), padding=2),  # one image
    Case((5, 1, 1, 1), (1, 1, 1, 1)),
    Case((4, 3, 5, 5), (7, 3, 5, 5)),  # one window
]
EACH = pytest.mark.parametrize("case", CASES, ids=str)
SMALL = pytest.mark.parametrize("case", [CASES[k] for k in (1, 5, 6, 7, 12, 13)], ids=str)


def check(got: list[Any], wanted: list[Any], dtype: np.dtype[Any], terms: int) -> None:
    """Each is near: sums of `terms` products err by less than sqrt(terms) units, measured by the largest."""
    for ours, theirs in zip(got, wanted, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == dtype
        error = 4 * math.sqrt(terms) * float(np.finfo(dtype).eps) * float(np.abs(theirs).max(initial=0))
        np.testing.assert_allclose(widen(ours), theirs, rtol=0, atol=error)


def terms(case: Case) -> int:
    return max(math.prod(case.weight[1:]), math.prod(case.shape) // case.shape[-3])


@cache
def exact(case: Case, dtype: np.dtype[Any]) -> list[Array]:
    """The reference's result and gradients."""
    return case.run(reference, *(widen(array) for array in case.arrays(dtype)))


@EACH
@DTYPES
def test_results_and_gradients(case: Case, dtype: np.dtype[Any], isa: str) -> None:
    arrays = case.arrays(dtype)
    check(case.run(F, *arrays), exact(case, dtype), dtype, terms(case))
    without_bias = exact(case, dtype)[0] - widen(arrays[3])[:, None, None]
    check([F.conv2d(*arrays[1:3], **case.params)], [without_bias], dtype, terms(case))


@EACH
@DTYPES
def test_threads_change_no_bit(case: Case, dtype: np.dtype[Any], threads: None) -> None:
    arrays = case.arrays(dtype)
    fastnn.set_num_threads(1)
    expected = case.run(F, *arrays)
    for count in (2, 3):
        fastnn.set_num_threads(count)
        for ours, theirs in zip(case.run(F, *arrays), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("shape", [(16, 8, 16, 16), (2, 8, 64, 64)])
def test_threads_change_no_bit_of_large_ones(shape: tuple[int, ...], threads: None) -> None:
    case = Case(shape, (48, 8, 3, 3), padding=1)
    arrays, results = case.arrays(FULL[0]), []
    for count in (1, 2, 3):
        fastnn.set_num_threads(count)
        results.append(case.run(F, *arrays))
    for again in results[1:]:
        for ours, theirs in zip(again, results[0], strict=True):
            np.testing.assert_array_equal(ours, theirs)


@SMALL
def test_gradients_by_finite_differences(case: Case) -> None:
    dy, x, weight, bias = case.arrays(FULL[1])

    def loss() -> float:
        return float((F.conv2d(x, weight, bias, **case.params) * dy).sum())

    gradients = F.conv2d_backward(dy, x, weight, **case.params)
    for array, gradient in zip((x, weight, bias), gradients, strict=True):
        assert gradient is not None
        np.testing.assert_allclose(gradient, numerical_gradient(loss, array), rtol=0, atol=1e-7)


@EACH
@DTYPES
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_torch(case: Case, dtype: np.dtype[Any]) -> None:
    torch = pytest.importorskip("torch")
    dy, *arrays = case.arrays(dtype)
    tensors = [torch.from_numpy(array).requires_grad_() for array in arrays]
    y = torch.nn.functional.conv2d(*tensors, **case.params)
    y.backward(torch.from_numpy(dy))
    theirs = [y.detach().numpy(), *(tensor.grad.numpy() for tensor in tensors)]
    check(case.run(F, dy, *arrays), theirs, dtype, 4 * terms(case))  # torch's errors too


@pytest.mark.parametrize("needed", [(True, False, False), (False, True, False), (False, False, True)])
@pytest.mark.parametrize("groups", [1, 2])
def test_only_what_is_needed(needed: tuple[bool, bool, bool], groups: int) -> None:
    case = Case((2, 4, 6, 7), (6, 4 // groups, 3, 3), padding=1, groups=groups)
    dy, x, weight, _ = case.arrays(FULL[0])
    every = F.conv2d_backward(dy, x, weight, **case.params)
    names = ("needs_input", "needs_weight", "needs_bias")
    some = F.conv2d_backward(dy, x, weight, **case.params, **dict(zip(names, needed, strict=True)))
    for one, all_of_them, wanted in zip(some, every, needed, strict=True):
        if wanted:
            np.testing.assert_array_equal(one, all_of_them)
        else:
            assert one is None


# ---- arrays ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_half_types_are_computed_in_float32(dtype: np.dtype[Any]) -> None:
    case = CASES[1]
    arrays = [array.astype(dtype) for array in case.arrays(FULL[0])]
    for ours, wide in zip(case.run(F, *arrays), case.run(F, *(a.astype("f") for a in arrays)), strict=True):
        assert ours.dtype == dtype
        np.testing.assert_array_equal(ours, wide.astype(dtype))


@DTYPES
def test_any_layout(dtype: np.dtype[Any]) -> None:
    case = CASES[1]
    arrays = case.arrays(dtype)
    expected = case.run(F, *arrays)
    strided = [np.repeat(array, 2, axis=-1)[..., ::2] for array in arrays]
    swapped = [array.astype(dtype.newbyteorder()) for array in arrays]
    last = [np.moveaxis(np.moveaxis(a, 1, -1).copy(), -1, 1) if a.ndim == 4 else a for a in arrays]
    for laid_out in (strided, swapped, last, [array.tolist() for array in arrays]):
        for ours, theirs in zip(case.run(F, *laid_out), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)  # a list is float64
    out = np.full((*expected[0].shape, 2), 7, dtype)[..., 0]
    assert F.conv2d(*arrays[1:], **case.params, out=out) is out
    np.testing.assert_array_equal(out, expected[0])


def test_out_may_overlap_the_input() -> None:
    case = Case((2, 4, 8, 8), (4, 4, 3, 3), padding=1)
    _, x, weight, bias = case.arrays(FULL[0])
    expected = F.conv2d(x, weight, bias, padding=1)
    assert F.conv2d(x, weight, bias, padding=1, out=x) is x
    np.testing.assert_array_equal(x, expected)


def test_dtypes_promote() -> None:
    x, weight = np.ones((1, 2, 3, 3), np.float32), np.ones((1, 2, 3, 3))
    assert F.conv2d(x, weight).dtype == np.float64
    assert F.conv2d(x.astype(np.int8), weight.astype(np.float16)).dtype == np.float16
    assert F.conv2d_backward(np.ones((1, 1, 1, 1), np.float16), x, weight)[0].dtype == np.float64  # type: ignore[union-attr]


@DTYPES
def test_no_elements(dtype: np.dtype[Any]) -> None:
    x, weight = np.ones((0, 3, 5, 5), dtype), np.ones((4, 3, 3, 3), dtype)
    y = F.conv2d(x, weight, np.ones(4, dtype))
    dx, dweight, dbias = F.conv2d_backward(y, x, weight)
    assert dx is not None
    assert (y.shape, dx.shape) == ((0, 4, 3, 3), x.shape)
    np.testing.assert_array_equal(dweight, np.zeros_like(weight))
    np.testing.assert_array_equal(dbias, np.zeros(4))
    none = F.conv2d(np.ones((2, 0, 5, 5), dtype), np.ones((4, 0, 3, 3), dtype), np.arange(4).astype(dtype))
    np.testing.assert_array_equal(none, np.broadcast_to(np.arange(4).reshape(1, 4, 1, 1), (2, 4, 3, 3)))
    x, weight = np.ones((0, 5, 5), dtype), np.ones((4, 0, 3, 3), dtype)  # one image, of no channels
    y = F.conv2d(x, weight)
    np.testing.assert_array_equal(y, np.zeros((4, 3, 3)))
    dx, dweight, dbias = F.conv2d_backward(y, x, weight)
    assert dx is not None
    assert dx.shape == x.shape


def test_nan_and_infinity_stay_where_they_are() -> None:
    x, weight = np.ones((2, 2, 9, 40), np.float32), np.ones((3, 2, 3, 3), np.float32)
    x[0, 0, 4, 20], x[1, 1, 8, 39] = np.nan, np.inf
    y = F.conv2d(x, weight, padding=1)
    expected = np.full(y.shape, True)
    expected[0, :, 3:6, 19:22] = expected[1, :, 7:, 38:] = False
    np.testing.assert_array_equal(np.isfinite(y), expected)
    assert np.isinf(y[1, :, 7:, 38:]).all()


# ---- memory ------------------------------------------------------------------------------------------------


def test_a_second_call_allocates_nothing() -> None:
    case = Case((32, 8, 32, 32), (16, 8, 3, 3), padding=1)
    arrays, cached = case.arrays(FULL[0]), []
    for _ in range(6):
        case.run(F, *arrays)
        cached.append(_kernels.cached_bytes())
    assert cached[0] > 0
    assert len(set(cached[1:])) == 1


def test_the_workspace_does_not_grow_with_the_batch() -> None:
    weight, sizes = np.ones((8, 4, 3, 3), np.float32), []
    for samples in (64, 512):
        x = np.ones((samples, 4, 32, 32), np.float32)
        out = np.empty((samples, 8, 30, 30), np.float32)
        fastnn.empty_cache()
        F.conv2d(x, weight, out=out)
        sizes.append(_kernels.cached_bytes())
    assert sizes[0] == sizes[1] < 2**20 * fastnn.get_num_threads()


# ---- errors ------------------------------------------------------------------------------------------------


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"input": np.ones((3, 3))}, ValueError, r"^input must have shape \(N, C, H, W\) .*got \(3, 3\)"),
    (
        {"input": np.ones((1, 5, 5, 2))},
        ValueError,
        r"got shape \(1, 5, 5, 2\); the channels seem to be last: np",
    ),
    ({"input": np.ones((1, 3, 5, 5))}, ValueError, r"^input must have 2 channels .*got shape \(1, 3, 5, 5\)"),
    ({"input": np.ones((1, 2, 2, 5))}, ValueError, r"^input must be at least as large as the kernel"),
    ({"input": "image"}, TypeError, r"^input must be an array of float16"),
    ({"weight": np.ones((2, 3, 3))}, ValueError, r"^weight must have 4 dimensions .*\(2, 3, 3\)"),
    ({"weight": np.ones((4, 2, 0, 3))}, ValueError, r"^weight must have at least 1 row and column"),
    ({"bias": np.ones(3)}, ValueError, r"^bias must have shape \(4,\), .*got \(3,\)"),
    ({"stride": 0}, ValueError, r"^stride must be at least 1, got 0"),
    ({"stride": (1, 2, 3)}, TypeError, r"^stride must be an integer or two, got \(1, 2, 3\)"),
    ({"stride": 1.5}, TypeError, r"^stride must be an integer or two, got 1.5"),
    ({"padding": -1}, ValueError, r"^padding must be at least 0, got -1"),
    ({"padding": "half"}, ValueError, r"^padding must be 'same', 'valid', an integer or two, got 'half'"),
    ({"padding": "same", "stride": 2}, ValueError, r"^padding='same' takes a stride of 1, got \(2, 2\)"),
    ({"dilation": (1, 0)}, ValueError, r"^dilation must be at least 1, got \(1, 0\)"),
    ({"stride": 2**70}, ValueError, r"^stride must be below 2\^31, got 1180591620717411303424"),
    ({"padding": (0, 2**62), "dilation": (1, 2**62)}, ValueError, r"^dilation must be below 2\^31"),
    ({"padding": 2**30, "dilation": 2**30}, ValueError, r"^padding must leave input with fewer than 2\^48"),
    ({"padding": 2**30, "input": np.ones((0, 2, 5, 5))}, ValueError, r"^padding must leave input with fewer"),
    ({"groups": 3}, ValueError, r"^groups must be at least 1 and divide weight's 4 outputs, got 3"),
    ({"groups": 0}, ValueError, r"^groups must be at least 1 and divide"),
    ({"groups": 2.0}, TypeError, r"^groups must be an integer, got float"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), WRONG, ids=lambda value: str(value)[:20])
def test_errors(wrong: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = {"input": np.ones((1, 2, 5, 5)), "weight": np.ones((4, 2, 3, 3)), **wrong}
    with pytest.raises(error, match=message):
        F.conv2d(**arguments)
    if "bias" not in wrong:
        with pytest.raises(error, match=message):
            F.conv2d_backward(np.ones((1, 4, 3, 3)), **arguments)


@pytest.mark.parametrize("stride", [7, 2**31 - 1])
def test_a_stride_beyond_the_image(stride: int) -> None:
    x, weight, dy = np.ones((1, 2, 5, 5)), np.ones((4, 2, 3, 3)), np.ones((1, 4, 1, 1))
    np.testing.assert_array_equal(F.conv2d(x, weight, stride=stride), np.full((1, 4, 1, 1), 18))
    dx, dweight, dbias = F.conv2d_backward(dy, x, weight, stride)
    expected = np.zeros(x.shape)
    expected[:, :, :3, :3] = 4
    np.testing.assert_array_equal(dx, expected)
    np.testing.assert_array_equal(dweight, weight)
    np.testing.assert_array_equal(dbias, np.ones(4))


def test_a_gradient_of_another_shape() -> None:
    x, weight = np.ones((1, 2, 5, 5)), np.ones((4, 2, 3, 3))
    with pytest.raises(
        ValueError, match=r"^dy must have the shape of forward's result, \(1, 4, 3, 3\), got \(1, 4, 5, 5\)"
    ):
        F.conv2d_backward(np.ones((1, 4, 5, 5)), x, weight)
    with pytest.raises(ValueError, match=r"^out must have shape \(1, 4, 3, 3\)"):
        F.conv2d(x, weight, out=np.ones((1, 4, 3, 4)))


# ---- the layer ---------------------------------------------------------------------------------------------


def test_layer() -> None:
    layer = nn.Conv2d(4, 6, (3, 2), 2, 1, (1, 2), 2)
    x = np.random.default_rng(0).normal(size=(2, 4, 9, 8)).astype(np.float32)
    assert layer.bias is not None
    numbers = (2, 1, (1, 2), 2)
    y = layer(x)
    np.testing.assert_array_equal(y, F.conv2d(x, layer.weight.data, layer.bias.data, *numbers))
    dx = layer.backward(y)
    expected = F.conv2d_backward(y, x, layer.weight.data, *numbers)
    for ours, theirs in zip((dx, layer.weight.grad, layer.bias.grad), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(RuntimeError, match=r"Conv2d.backward needs a forward pass first"):
        layer.backward(y)


def test_a_layer_starts_within_its_bound() -> None:
    fastnn.manual_seed(1)
    layer = nn.Conv2d(8, 200, (3, 5), groups=2)
    bound = 1 / math.sqrt(4 * 15)
    assert layer.bias is not None
    assert layer.weight.data.shape == (200, 4, 3, 5)
    for array in (layer.weight.data, layer.bias.data):
        assert array.dtype == np.float32
        assert 0.95 * bound < np.abs(array).max() <= bound
    fastnn.manual_seed(1)
    np.testing.assert_array_equal(nn.Conv2d(8, 200, (3, 5), groups=2).weight.data, layer.weight.data)
    seeded, again = (nn.Conv2d(1, 1, 3, generator=fastnn.Generator(5)).weight.data for _ in range(2))
    np.testing.assert_array_equal(seeded, again)


def test_frozen_parameters_and_the_first_layer() -> None:
    layer = nn.Conv2d(2, 3, 3)
    x = np.ones((1, 2, 4, 4), np.float32)
    layer.requires_grad_(False)
    dx = layer.backward(layer(x))
    assert layer.bias is not None
    assert layer.weight.grad is layer.bias.grad is None
    assert dx.shape == x.shape
    layer.requires_grad_(True)
    layer.needs_input_grad = False
    gradient: Any = layer.backward(layer(x))
    assert gradient is None
    assert layer.weight.grad is not None


def test_layer_errors() -> None:
    for name, arguments in {
        "in_channels": (0, 3, 3),
        "out_channels": (3, 1.5, 3),
        "groups": (4, 4, 3, 1, 0, 1, 3),
        "kernel_size": (3, 3, 0),
        "stride": (3, 3, 3, 0),
        "padding": (3, 3, 3, 1, "half"),
        "dilation": (3, 3, 3, 1, 0, 0),
    }.items():
        with pytest.raises(ValueError, match=name):
            nn.Conv2d(*arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"padding_mode must be one of 'zeros', .*, got 'edge'"):
        nn.Conv2d(1, 1, 3, padding_mode="edge")
    with pytest.raises(TypeError, match="dtype must be float32 or float64, got int64"):
        nn.Conv2d(1, 1, 3, dtype=np.int64)
    layer = nn.Conv2d(2, 3, 3)
    with pytest.raises(TypeError, match=r"Conv2d: x must be .* the weight's dtype, float32, got float64"):
        layer(np.ones((1, 2, 4, 4)))
    with pytest.raises(ValueError, match="input must have 2 channels"):
        layer(np.ones((1, 3, 4, 4), np.float32))
    layer(np.ones((1, 2, 4, 4), np.float32))
    with pytest.raises(ValueError, match=r"dy must have the shape of forward's result, \(1, 3, 2, 2\)"):
        layer.backward(np.ones((1, 3, 4, 4), np.float32))


def test_a_layer_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    for arguments in (
        {"kernel_size": 3},
        {"kernel_size": (3, 2), "stride": 2, "padding": (1, 0), "groups": 2},
        {"kernel_size": 3, "padding": "same", "dilation": 2, "bias": False},
    ):
        ours, theirs = nn.Conv2d(4, 6, **arguments), torch.nn.Conv2d(4, 6, **arguments)
        assert repr(ours) == repr(theirs)
        ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
        x = np.random.default_rng(0).normal(size=(2, 4, 7, 7)).astype(np.float32)
        np.testing.assert_allclose(ours(x), theirs(torch.from_numpy(x)).detach().numpy(), rtol=0, atol=1e-5)


# ---- padding_mode ------------------------------------------------------------------------------------------


@each(("mode", "numpys"), [("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")])
@each(
    ("kernel", "stride", "padding", "dilation", "widths"),
    [
        ((3, 3), 1, 2, 1, [(2, 2), (2, 2)]),
        ((3, 2), (2, 1), (4, 0), 1, [(4, 4), (0, 0)]),
        ((4, 3), 1, "same", 2, [(3, 3), (2, 2)]),
        ((2, 4), 1, "same", 1, [(0, 1), (1, 2)]),
    ],
)
@each("shape", [(2, 2, 5, 6), (2, 5, 6)])
def test_padding_modes_repeat_the_image(
    mode: str, numpys: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, widths: Any, shape: Any
) -> None:
    fastnn.manual_seed(0)
    layer = nn.Conv2d(2, 3, kernel, stride, padding, dilation, padding_mode=mode, dtype=np.float64)
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    padded = np.pad(x, [(0, 0)] * (x.ndim - 2) + widths, numpys)
    weight, bias = layer.weight.data, layer.bias.data  # type: ignore[union-attr]
    y = layer(x)
    np.testing.assert_allclose(y, F.conv2d(padded, weight, bias, stride, 0, dilation), rtol=1e-12)
    dy, moved = rng.standard_normal(y.shape), rng.standard_normal(shape)
    # What is linear in x has dx = its transpose of dy: <dx, moved> = <dy, the change of y by moved>.
    dx = layer.backward(dy)
    assert dx.shape == x.shape
    np.testing.assert_allclose(np.vdot(dx, moved), np.vdot(dy, layer(x + moved) - y), rtol=1e-9)
    layer.backward(dy)
    layer.needs_input_grad = False
    layer(x)
    assert layer.backward(dy) is None
    assert f"padding_mode={mode}" in repr(layer)


@each(("mode", "padding"), [("reflect", 5), ("circular", 6)])
def test_padding_must_find_what_it_repeats(mode: str, padding: int) -> None:
    layer = nn.Conv2d(1, 1, 3, padding=padding, padding_mode=mode)
    with pytest.raises(ValueError, match=f"Conv2d: padding must be at most {padding - 1} with padding_mode"):
        layer(np.ones((1, 1, 5, 5), np.float32))
    nn.Conv2d(1, 1, 3, padding=padding - 1, padding_mode=mode)(np.ones((1, 1, 5, 5), np.float32))


# ---- lines -------------------------------------------------------------------------------------------------


LINES: list[tuple[tuple[int, ...], tuple[int, int, int], dict[str, Any]]] = [
    ((2, 4, 11), (6, 4, 3), {}),
    ((4, 11), (6, 4, 3), {"stride": 2, "padding": 1}),
    ((2, 4, 30), (6, 2, 5), {"padding": "same", "dilation": (2,), "groups": 2}),
]


@pytest.mark.parametrize(("shape", "weight_shape", "params"), LINES, ids=str)
@DTYPES
def test_lines_are_images_with_one_row(
    shape: tuple[int, ...], weight_shape: tuple[int, ...], params: dict[str, Any], dtype: np.dtype[Any]
) -> None:
    rng = np.random.default_rng(0)
    x, w, b = (rng.normal(size=s).astype(dtype) for s in (shape, weight_shape, weight_shape[:1]))
    exact = reference.conv1d(widen(x), widen(w), widen(b), **params)
    tolerance = 64 * np.finfo(dtype).eps
    for given in (x, np.repeat(x, 2, axis=-1)[..., ::2]):
        y, out = F.conv1d(given, w, b, **params), np.empty(exact.shape, dtype)
        np.testing.assert_allclose(y, exact.astype(np.float64), rtol=0, atol=tolerance)
        assert F.conv1d(given, w, b, **params, out=out) is out
        np.testing.assert_array_equal(out, y)
    dy = rng.normal(size=y.shape).astype(dtype)
    got = F.conv1d_backward(dy, x, w, **params)
    for ours, theirs in zip(
        got, reference.conv1d_backward(widen(dy), widen(x), widen(w), **params), strict=True
    ):
        assert ours is not None
        assert theirs is not None
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs.astype(np.float64), rtol=0, atol=4 * tolerance)
    assert F.conv1d_backward(dy, x, w, **params, needs_input=False)[0] is None


def test_lines_of_other_forms() -> None:
    x, w = np.ones((2, 4, 11)), np.ones((6, 4, 3))
    wrong: list[tuple[Any, Any, dict[str, Any], type[Exception], str]] = [
        (x[None], w, {}, ValueError, r"input must have shape \(N, C, L\) or \(C, L\), got"),
        (x, w[..., None], {}, ValueError, r"weight must have shape \(O, C / groups, k\), got"),
        (x, w, {"stride": (1, 2)}, TypeError, r"stride must be an integer, got \(1, 2\)"),
        (x, w, {"padding": -1}, ValueError, "padding must be at least 0, got -1"),
        (x, w, {"out": np.ones((2, 6, 8))}, ValueError, "out must have shape"),
        (x, w, {"out": [1.0]}, TypeError, "out must be a NumPy array, got list"),
    ]
    for lines, weight, params, error, message in wrong:
        with pytest.raises(error, match=f"^{message}"):
            F.conv1d(lines, weight, **params)
    for make in (lambda: nn.Conv1d(4, 6, (3, 3)), lambda: nn.MaxPool1d((3, 3)), lambda: nn.AvgPool1d((3, 3))):
        with pytest.raises(TypeError, match=r"^kernel_size must be an integer, got \(3, 3\)"):
            make()
