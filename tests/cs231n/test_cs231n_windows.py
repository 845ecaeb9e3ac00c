"""CS231n's convolution and pooling, fast and naive, and layer_utils, by the notebook's own checks."""

# ruff: noqa: NPY002 - the notebooks draw from NumPy's global generator

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastnn._core.typing import Array
from fastnn.cs231n import fast_layers, layer_utils, layers
from fastnn.cs231n.layers import (
    conv_backward_naive,
    conv_forward_naive,
    max_pool_backward_naive,
    max_pool_forward_naive,
)
from support.notebooks import gradient_errors, rel_error

POOL = {"pool_height": 2, "pool_width": 2, "stride": 2}
CONVOLUTIONS = ["fast", "im2col", "strides"]
POOLINGS = ["fast", "im2col", "reshape"]


@pytest.fixture(autouse=True)
def seed() -> None:
    np.random.seed(231)


def normal(*shape: int) -> Array:
    return np.random.randn(*shape)


def fast(kind: str, name: str) -> tuple[Any, Any]:
    """forward and backward of this name in fast_layers."""
    return getattr(fast_layers, f"{kind}_forward_{name}"), getattr(fast_layers, f"{kind}_backward_{name}")


# ---- convolution -------------------------------------------------------------------------------------------


def test_conv_forward_as_in_the_notebook() -> None:
    x = np.linspace(-0.1, 0.5, num=96).reshape(2, 3, 4, 4)
    w = np.linspace(-0.2, 0.3, num=144).reshape(3, 3, 4, 4)
    b = np.linspace(-0.1, 0.2, num=3)
    conv_param = {"stride": 2, "pad": 1}
    out, cache = conv_forward_naive(x, w, b, conv_param)
    first = [
        *(-0.08759809, -0.10987781, -0.18387192, -0.2109216),
        *(0.21027089, 0.21661097, 0.22847626, 0.23004637),
        *(0.50813986, 0.54309974, 0.64082444, 0.67101435),
    ]
    second = [
        *(-0.98053589, -1.03143541, -1.19128892, -1.24695841),
        *(0.69108355, 0.66880383, 0.59480972, 0.56776003),
        *(2.36270298, 2.36904306, 2.38090835, 2.38247847),
    ]
    assert rel_error(out, np.array(first + second).reshape(2, 3, 2, 2)) < 1e-7
    assert len(cache) == 4
    assert all(kept is given for kept, given in zip(cache, (x, w, b, conv_param), strict=True))


@pytest.mark.parametrize(("stride", "pad"), [(1, 0), (1, 1), (2, 1), (3, 2)])
def test_conv_beside_its_definition(stride: int, pad: int) -> None:
    x, w, b = normal(2, 3, 7, 6), normal(4, 3, 3, 2), normal(4)
    padded = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    shape = [1 + (length + 2 * pad - field) // stride for length, field in ((7, 3), (6, 2))]
    expected = np.empty((2, 4, *shape))
    for i, j in np.ndindex(*shape):
        window = padded[:, None, :, i * stride : i * stride + 3, j * stride : j * stride + 2]
        expected[:, :, i, j] = (window * w).sum((2, 3, 4)) + b
    conv_param = {"stride": stride, "pad": pad}
    out, _ = conv_forward_naive(x, w, b, conv_param)
    np.testing.assert_allclose(out, expected, rtol=1e-11, atol=1e-13)
    errors = gradient_errors(conv_forward_naive, conv_backward_naive, [x, w, b], conv_param)
    assert max(errors) < 1e-7


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_fast_convolutions_agree_and_take_each_others_caches(name: str) -> None:
    forward, backward = fast("conv", name)
    arrays = normal(3, 3, 31, 31), normal(5, 3, 3, 3), normal(5)
    conv_param = {"stride": 2, "pad": 1}
    out, cache = forward(*arrays, conv_param)
    expected, naive_cache = conv_forward_naive(*arrays, conv_param)
    np.testing.assert_array_equal(out, expected)
    dout = normal(*out.shape)
    gradients = conv_backward_naive(dout, naive_cache)
    # The original's fast cache has the columns too; a cache that was made so serves as well.
    for other in (cache, naive_cache, (*naive_cache, None)):
        for got, wanted in zip(backward(dout, other), gradients, strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_conv_in_other_layouts_and_dtypes() -> None:
    x, w, b = normal(2, 3, 5, 5), normal(4, 3, 3, 3), normal(4)
    conv_param = {"stride": 1, "pad": 1}
    out, cache = conv_forward_naive(x, w, b, conv_param)
    dout = normal(*out.shape)
    gradients = conv_backward_naive(dout, cache)
    layouts: tuple[Callable[[Array], Array], ...] = (
        np.asfortranarray,
        lambda array: np.ascontiguousarray(array[::-1])[::-1],
    )
    for layout in layouts:
        other, other_cache = conv_forward_naive(layout(x), layout(w), layout(b), conv_param)
        np.testing.assert_allclose(other, out, rtol=1e-12, atol=1e-14)
        for got, wanted in zip(conv_backward_naive(layout(dout), other_cache), gradients, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-13)
    x32, w32, b32 = (array.astype(np.float32) for array in (x, w, b))
    out32, cache32 = conv_forward_naive(x32, w32, b32, conv_param)
    assert out32.dtype == np.float32
    np.testing.assert_allclose(out32, out, rtol=1e-4, atol=1e-5)
    assert {g.dtype for g in conv_backward_naive(out32, cache32)} == {np.dtype(np.float32)}
    ones = np.ones((1, 1, 3, 3), int), np.ones((1, 1, 2, 2), int), np.ones(1, int)
    whole, _ = conv_forward_naive(*ones, conv_param)
    assert whole.dtype == np.float64
    assert whole[0, 0].tolist() == [[2, 3, 3, 2], [3, 5, 5, 3], [3, 5, 5, 3], [2, 3, 3, 2]]


# ---- pooling -----------------------------------------------------------------------------------------------


def test_max_pool_forward_as_in_the_notebook() -> None:
    x = np.linspace(-0.3, 0.4, num=96).reshape(2, 3, 4, 4)
    out, (kept, kept_param) = max_pool_forward_naive(x, POOL)
    expected = np.array([
        *(-0.26315789, -0.24842105, -0.20421053, -0.18947368),
        *(-0.14526316, -0.13052632, -0.08631579, -0.07157895),
        *(-0.02736842, -0.01263158, 0.03157895, 0.04631579),
        *(0.09052632, 0.10526316, 0.14947368, 0.16421053),
        *(0.20842105, 0.22315789, 0.26736842, 0.28210526),
        *(0.32631579, 0.34105263, 0.38526316, 0.4),
    ])  # fmt: skip
    assert rel_error(out, expected.reshape(2, 3, 2, 2)) < 1e-7
    assert kept is x
    assert kept_param is POOL


@pytest.mark.parametrize(("height", "width", "stride"), [(2, 2, 2), (3, 2, 1), (2, 3, 3), (1, 1, 2)])
def test_max_pool_beside_its_definition(height: int, width: int, stride: int) -> None:
    x = normal(3, 2, 8, 8)
    pool_param = {"pool_height": height, "pool_width": width, "stride": stride}
    shape = 1 + (8 - height) // stride, 1 + (8 - width) // stride
    expected = np.empty((3, 2, *shape))
    for i, j in np.ndindex(*shape):
        window = x[:, :, i * stride : i * stride + height, j * stride : j * stride + width]
        expected[:, :, i, j] = window.max((2, 3))
    np.testing.assert_array_equal(max_pool_forward_naive(x, pool_param)[0], expected)
    errors = gradient_errors(max_pool_forward_naive, max_pool_backward_naive, [x], pool_param)
    assert max(errors) < 1e-9


@pytest.mark.parametrize("name", POOLINGS)
def test_fast_poolings_agree_and_a_cache_put_together_again_serves(name: str) -> None:
    forward, backward = fast("max_pool", name)
    x = normal(4, 3, 16, 16)
    out, cache = forward(x, POOL)
    dout = normal(*out.shape)
    expected = max_pool_backward_naive(dout, max_pool_forward_naive(x, POOL)[1])
    kept, pool_param = cache
    np.testing.assert_array_equal(backward(dout, cache), expected)
    np.testing.assert_array_equal(backward(dout, (kept, pool_param)), expected)


def test_the_first_of_equal_maxima_gets_the_gradient() -> None:
    x = np.zeros((1, 1, 2, 4))
    x[0, 0, 1, 2:] = 7
    _, cache = max_pool_forward_naive(x, POOL)
    dx = max_pool_backward_naive(np.array([[[[1.0, 2.0]]]]), cache)
    assert dx[0, 0].tolist() == [[1, 0, 0, 0], [0, 0, 2, 0]]


# ---- layers that follow each other -------------------------------------------------------------------------


def test_affine_relu_gradients() -> None:
    arrays = [normal(2, 3, 4), normal(12, 10), normal(10)]
    layer = layer_utils.affine_relu_forward, layer_utils.affine_relu_backward
    assert max(gradient_errors(*layer, arrays)) < 1e-8


def test_conv_relu_gradients() -> None:
    arrays = [normal(2, 3, 8, 8), normal(3, 3, 3, 3), normal(3)]
    layer = layer_utils.conv_relu_forward, layer_utils.conv_relu_backward
    assert max(gradient_errors(*layer, arrays, {"stride": 1, "pad": 1})) < 1e-6


def test_conv_relu_pool_gradients() -> None:
    arrays = [normal(2, 3, 8, 8), normal(3, 3, 3, 3), normal(3)]
    layer = layer_utils.conv_relu_pool_forward, layer_utils.conv_relu_pool_backward
    assert max(gradient_errors(*layer, arrays, {"stride": 1, "pad": 1}, POOL)) < 1e-6


def test_conv_bn_relu_gradients() -> None:
    arrays = [normal(2, 3, 8, 8), normal(3, 3, 3, 3), normal(3), normal(3), normal(3)]
    params = {"stride": 1, "pad": 1}, {"mode": "train"}
    layer: Any = layer_utils.conv_bn_relu_forward, layer_utils.conv_bn_relu_backward
    dx, dw, _, dgamma, dbeta = gradient_errors(*layer, arrays, *params)
    assert max(dx, dw, dgamma, dbeta) < 1e-6
    # The bias before a batch norm has no effect: both gradients are 0 but for rounding.
    out, cache = layer[0](*arrays, *params)
    assert np.abs(layer[1](out, cache)[2]).max() < 1e-12


def test_importing_all_of_layer_utils_brings_everything() -> None:
    names: dict[str, Any] = {}
    exec("from fastnn.cs231n.layer_utils import *", names)
    assert {*layers.__all__, *fast_layers.__all__} <= set(names)
    assert {f"conv_forward_{name}" for name in CONVOLUTIONS} <= set(names)
    assert {f"max_pool_backward_{name}" for name in POOLINGS} <= set(names)
