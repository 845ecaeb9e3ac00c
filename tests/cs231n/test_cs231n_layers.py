"""fastnn.cs231n.layers: the notebooks' own checks, and each layer beside its definition in NumPy.

Expected numbers are those that the assignments' notebooks print or compare with.
"""

# ruff: noqa: NPY002 - the notebooks draw from NumPy's global generator, and dropout does with them

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastnn._core.typing import Array
from fastnn.cs231n import gradient_check, layers
from fastnn.cs231n.layers import (
    affine_backward,
    affine_forward,
    batchnorm_backward,
    batchnorm_backward_alt,
    batchnorm_forward,
    dropout_backward,
    dropout_forward,
    layernorm_backward,
    layernorm_forward,
    relu_backward,
    relu_forward,
    softmax_loss,
    spatial_batchnorm_backward,
    spatial_batchnorm_forward,
    spatial_groupnorm_backward,
    spatial_groupnorm_forward,
    svm_loss,
)
from support.cases import each
from support.notebooks import gradient_errors, rel_error


@pytest.fixture(autouse=True)
def seed() -> None:
    np.random.seed(231)


def normal(*shape: int) -> Array:
    return np.random.randn(*shape)


def variants(x: Array) -> list[Array]:
    """The same values in other layouts."""
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]))[..., ::2]
    wide[...] = x
    return [x, np.asfortranarray(x), wide, np.ascontiguousarray(x[::-1])[::-1], x.astype(">f8")]


# ---- affine, relu ------------------------------------------------------------------------------------------


def test_affine_forward_as_in_the_notebook() -> None:
    x = np.linspace(-0.1, 0.5, num=240).reshape(2, 4, 5, 6)
    w = np.linspace(-0.2, 0.3, num=360).reshape(120, 3)
    b = np.linspace(-0.3, 0.1, num=3)
    out, cache = affine_forward(x, w, b)
    expected = np.array([[1.49834967, 1.70660132, 1.91485297], [3.25553199, 3.5141327, 3.77273342]])
    assert rel_error(out, expected) < 1e-9
    assert all(kept is given for kept, given in zip(cache, (x, w, b), strict=True))


def test_affine_gradients() -> None:
    arrays = [normal(10, 2, 3), normal(6, 5), normal(5)]
    assert max(gradient_errors(affine_forward, affine_backward, arrays)) < 1e-8


def test_affine_of_no_samples() -> None:
    out, cache = affine_forward(np.zeros((0, 2, 3)), normal(6, 5), normal(5))
    dx, dw, db = affine_backward(out, cache)
    assert (out.shape, dx.shape) == ((0, 5), (0, 2, 3))
    assert not dw.any()
    assert not db.any()


def test_affine_refuses_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="w must have shape \\(6, M\\), got \\(5, 5\\)"):
        affine_forward(normal(2, 6), normal(5, 5), normal(5))
    with pytest.raises(ValueError, match="b must have shape \\(5,\\), got \\(4,\\)"):
        affine_forward(normal(2, 6), normal(6, 5), normal(4))


def test_relu_as_in_the_notebook() -> None:
    x = np.linspace(-0.5, 0.5, num=12).reshape(3, 4)
    out, cache = relu_forward(x)
    expected = [0, 0, 0.04545455, 0.13636364, 0.22727273, 0.31818182, 0.40909091, 0.5]
    assert rel_error(out, np.array([0.0] * 4 + expected).reshape(3, 4)) < 1e-7
    assert cache is x
    assert max(gradient_errors(relu_forward, relu_backward, [normal(10, 10)])) < 1e-10
    assert relu_backward(np.ones(2), np.zeros(2)).tolist() == [0, 0]


def test_whole_numbers_are_computed_with_in_float64() -> None:
    x, w, b = np.arange(-3, 3).reshape(2, 3), np.arange(6, dtype=np.uint8).reshape(3, 2), np.ones(2, int)
    out, cache = affine_forward(x, w, b)
    assert out.dtype == np.float64
    assert out.tolist() == (x @ w + 1).tolist()
    assert affine_backward(np.ones((2, 2)), cache)[1].dtype == np.float64
    assert relu_forward(x)[0].dtype == np.float64
    assert relu_backward(np.ones((2, 3)), x).tolist() == [[0, 0, 0], [0, 1, 1]]
    assert dropout_forward(x, {"mode": "train", "p": 0.5, "seed": 1})[0].dtype == np.float64
    assert softmax_loss(x, [0, 1])[1].dtype == np.float64


def test_float32_stays_float32() -> None:
    x, w, b = (array.astype(np.float32) for array in (normal(4, 6), normal(6, 6), normal(6)))
    out, cache = affine_forward(x, w, b)
    assert {out.dtype, *(g.dtype for g in affine_backward(x, cache))} == {np.dtype(np.float32)}
    bn_param: dict[str, Any] = {"mode": "train"}
    out, norm_cache = batchnorm_forward(x, w[0], b, bn_param)
    assert {out.dtype, *(g.dtype for g in batchnorm_backward(out, norm_cache))} == {np.dtype(np.float32)}
    assert bn_param["running_mean"].dtype == np.float32
    out, dropout_cache = dropout_forward(x, {"mode": "train", "p": 0.5})
    assert out.dtype == dropout_backward(out, dropout_cache).dtype == np.float32


def test_smaller_floats_are_computed_with_in_float32() -> None:
    x, w, b = normal(4, 6).astype(np.float16), normal(6, 5).astype(np.float16), np.zeros(5, np.float16)
    out, cache = affine_forward(x, w, b)
    np.testing.assert_allclose(out, x.astype(np.float64) @ w.astype(np.float64), rtol=1e-5, atol=1e-6)
    assert {out.dtype, *(g.dtype for g in affine_backward(out, cache))} == {np.dtype(np.float32)}
    assert relu_forward(x)[0].dtype == np.float32


# ---- dropout -----------------------------------------------------------------------------------------------


def test_dropout_prints_what_the_notebook_prints() -> None:
    x = normal(500, 500) + 10
    printed = {0.25: (10.014059116977283, 0.749784), 0.4: (9.977917658761159, 0.600796)}
    printed[0.7] = 9.987811912159426, 0.30074
    for p, (mean, dropped) in printed.items():
        out, _ = dropout_forward(x, {"mode": "train", "p": p})
        assert out.mean() == pytest.approx(mean, rel=1e-14)
        assert (out == 0).mean() == dropped


def test_dropout_mask_and_cache() -> None:
    x = normal(4, 3, 2)
    dropout_param = {"mode": "train", "p": 0.3, "seed": 123}
    out, (kept_param, mask) = dropout_forward(x, dropout_param)
    np.random.seed(123)
    expected = (np.random.rand(*x.shape) < 0.3) / 0.3
    assert kept_param is dropout_param
    assert mask is not None
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_array_equal(out, x * expected)
    np.testing.assert_array_equal(dropout_backward(x, (dropout_param, mask)), x * expected)


def test_dropout_gradient() -> None:
    dropout_param = {"mode": "train", "p": 0.2, "seed": 123}
    errors = gradient_errors(dropout_forward, dropout_backward, [normal(10, 10) + 10], dropout_param)
    assert max(errors) < 1e-10


def test_dropout_at_test_time_changes_nothing() -> None:
    x = normal(3, 4)
    out, cache = dropout_forward(x, {"mode": "test", "p": 0.3})
    assert cache[1] is None
    np.testing.assert_array_equal(out, x)
    np.testing.assert_array_equal(dropout_backward(x, cache), x)


@pytest.mark.parametrize("p", [0, -0.1, 1.5])
def test_dropout_refuses_what_is_no_keep_probability(p: float) -> None:
    with pytest.raises(ValueError, match=rf"dropout_param\['p'\].*\(0, 1\], got {p}"):
        dropout_forward(normal(2, 2), {"mode": "train", "p": p})


# ---- losses ------------------------------------------------------------------------------------------------


def test_losses_print_what_the_notebook_prints() -> None:
    x = 0.001 * normal(50, 10)
    y = np.random.randint(10, size=50)
    for loss, printed in ((svm_loss, 8.999602749096233), (softmax_loss, 2.302545844500738)):
        value, dx = loss(x, y)
        assert value == pytest.approx(printed, rel=1e-14)
        assert rel_error(dx, numerical_gradient(loss, x, y)) < 1e-7


def numerical_gradient(loss: Any, x: Array, y: Array) -> Array:
    return gradient_check.eval_numerical_gradient(lambda x: loss(x, y)[0], x, verbose=False)


def test_losses_beside_their_definitions() -> None:
    x, y = normal(6, 4), np.array([0, 3, 1, 2, 2, 0], np.uint8)
    rows, correct = np.arange(6), x[np.arange(6), y]
    margins = np.maximum(0, x - correct[:, None] + 1)
    margins[rows, y] = 0
    assert svm_loss(x, y)[0] == pytest.approx(margins.sum() / 6)
    assert softmax_loss(x, y)[0] == pytest.approx(np.mean(np.log(np.exp(x).sum(1)) - correct))


# ---- norms -------------------------------------------------------------------------------------------------


def test_batchnorm_forward_as_in_the_notebook() -> None:
    x, w1, w2 = normal(200, 50), normal(50, 60), normal(60, 3)
    a = np.maximum(0, x.dot(w1)).dot(w2)
    np.testing.assert_allclose(a.mean(0), [-2.3814598, -13.18038246, 1.91780462], rtol=1e-7)
    gamma, beta = np.array([1.0, 2.0, 3.0]), np.array([11.0, 12.0, 13.0])
    out, _ = batchnorm_forward(a, gamma, beta, {"mode": "train"})
    np.testing.assert_allclose(out.mean(0), beta, rtol=1e-12)
    np.testing.assert_allclose(out.std(0), [0.99999999, 1.99999999, 2.99999999], atol=1e-8)


@pytest.mark.parametrize("momentum", [0.9, 0.25])
def test_batchnorm_running_statistics(momentum: float) -> None:
    bn_param: dict[str, Any] = {"mode": "train", "momentum": momentum, "eps": 1e-3}
    mean, var = np.zeros(3), np.zeros(3)
    for _ in range(4):
        x = normal(5, 3) * 3 + 2
        before = bn_param.get("running_mean")
        copy = None if before is None else before.copy()
        batchnorm_forward(x, np.ones(3), np.zeros(3), bn_param)
        if before is not None:  # what the user holds is not changed
            np.testing.assert_array_equal(before, copy)
        mean = momentum * mean + (1 - momentum) * x.mean(0)
        var = momentum * var + (1 - momentum) * x.var(0)
        np.testing.assert_allclose(bn_param["running_mean"], mean, rtol=1e-13)
        np.testing.assert_allclose(bn_param["running_var"], var, rtol=1e-13)
    bn_param["mode"] = "test"
    x, gamma, beta = normal(5, 3), normal(3), normal(3)
    out, cache = batchnorm_forward(x, gamma, beta, bn_param)
    np.testing.assert_allclose(out, gamma * (x - mean) / np.sqrt(var + 1e-3) + beta, rtol=1e-12)
    np.testing.assert_allclose(bn_param["running_mean"], mean, rtol=1e-13)
    dx, _, _ = batchnorm_backward(x, cache)
    np.testing.assert_allclose(dx, x * gamma / np.sqrt(var + 1e-3), rtol=1e-12)


def test_batchnorm_test_time_as_in_the_notebook() -> None:
    w1, w2 = normal(50, 60), normal(60, 3)
    bn_param: dict[str, Any] = {"mode": "train"}
    for _ in range(50):
        a = np.maximum(0, normal(200, 50).dot(w1)).dot(w2)
        batchnorm_forward(a, np.ones(3), np.zeros(3), bn_param)
    bn_param["mode"] = "test"
    a = np.maximum(0, normal(200, 50).dot(w1)).dot(w2)
    out, _ = batchnorm_forward(a, np.ones(3), np.zeros(3), bn_param)
    np.testing.assert_allclose(out.mean(0), [-0.03927354, -0.04349152, -0.10452688], rtol=1e-6)
    np.testing.assert_allclose(out.std(0), [1.01531428, 1.01238373, 0.97819988], rtol=1e-8)


@pytest.mark.parametrize("backward", [batchnorm_backward, batchnorm_backward_alt])
def test_batchnorm_gradients(backward: Any) -> None:
    arrays = [5 * normal(4, 5) + 12, normal(5), normal(5)]
    assert max(gradient_errors(batchnorm_forward, backward, arrays, {"mode": "train"})) < 1e-7


def test_batchnorm_refuses_other_modes() -> None:
    with pytest.raises(ValueError, match=r"bn_param\['mode'\] must be 'train' or 'test', got 'eval'"):
        batchnorm_forward(normal(3, 2), normal(2), normal(2), {"mode": "eval"})


def test_layernorm() -> None:
    x, gamma, beta = 5 * normal(4, 5) + 12, normal(5), normal(5)
    xhat = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 0.1)
    out, _ = layernorm_forward(x, gamma, beta, {"eps": 0.1})
    np.testing.assert_allclose(out, gamma * xhat + beta, rtol=1e-12)
    errors = gradient_errors(layernorm_forward, layernorm_backward, [x, gamma, beta], {})
    assert max(errors) < 1e-7


def test_spatial_batchnorm() -> None:
    x, gamma, beta = 5 * normal(2, 3, 4, 5) + 12, normal(3), normal(3)
    param = {"mode": "train"}
    rows = x.transpose(0, 2, 3, 1).reshape(-1, 3)
    expected = gamma * (rows - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-5) + beta
    out, _ = spatial_batchnorm_forward(x, gamma, beta, param)
    np.testing.assert_allclose(out.transpose(0, 2, 3, 1).reshape(-1, 3), expected, rtol=1e-11)
    errors = gradient_errors(spatial_batchnorm_forward, spatial_batchnorm_backward, [x, gamma, beta], param)
    assert max(errors) < 1e-6


def test_spatial_groupnorm_prints_what_the_notebook_prints() -> None:
    x = 4 * normal(2, 6, 4, 5) + 10
    before = x.reshape(4, -1)
    np.testing.assert_allclose(before.mean(1), [9.72505327, 8.51114185, 8.9147544, 9.43448077], rtol=1e-8)
    out, _ = spatial_groupnorm_forward(x, np.ones((1, 6, 1, 1)), np.zeros((1, 6, 1, 1)), 2, {"mode": "train"})
    after = out.reshape(4, -1)
    assert np.abs(after.mean(1)).max() < 1e-14
    printed = [0.99999963, 0.99999948, 0.99999973, 0.99999968]
    np.testing.assert_allclose(after.std(1), printed, atol=1e-8)


@pytest.mark.parametrize("shape", [(6,), (1, 6, 1, 1)], ids=["2018", "2024"])
def test_spatial_groupnorm_gradients(shape: tuple[int, ...]) -> None:
    arrays = [5 * normal(2, 6, 4, 5) + 12, normal(*shape), normal(*shape)]
    errors = gradient_errors(spatial_groupnorm_forward, spatial_groupnorm_backward, arrays, 2, {})
    assert max(errors) < 1e-6


def test_any_layout_gives_the_same() -> None:
    x, gamma, beta, y = normal(6, 4), normal(4), normal(4), [0, 1, 2, 3, 0, 1]
    param = {"mode": "train", "p": 0.5, "seed": 3}

    def results(x: Array) -> list[Array]:
        """The outputs and gradients of all layers of rows."""
        affine, affine_cache = affine_forward(x, normal_weight, gamma)
        relu, relu_cache = relu_forward(x)
        batch, batch_cache = batchnorm_forward(x, gamma, beta, dict(param))
        layer, layer_cache = layernorm_forward(x, gamma, beta, {})
        dropout, dropout_cache = dropout_forward(x, param)
        return [
            *(affine, *affine_backward(x, affine_cache)),
            *(relu, relu_backward(x, relu_cache)),
            *(batch, *batchnorm_backward(x, batch_cache)),
            *(layer, *layernorm_backward(x, layer_cache)),
            *(dropout, dropout_backward(x, dropout_cache)),
            *(softmax_loss(x, y)[1], svm_loss(x, y)[1]),
        ]

    normal_weight = normal(4, 4)
    expected = results(x)
    for other in variants(x)[1:]:
        for got, wanted in zip(results(other), expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_importing_all_brings_the_assignments_names() -> None:
    names: dict[str, Any] = {}
    exec("from fastnn.cs231n.layers import *", names)
    assert set(layers.__all__) <= set(names)
    for layer in ("affine", "relu", "batchnorm", "layernorm", "dropout", "spatial_batchnorm"):
        assert {f"{layer}_forward", f"{layer}_backward"} <= set(names)
    assert names["np"] is np


# ---- what NumPy broadcast, and labels ----------------------------------------------------------------------


@each("bias", [normal(1, 5), normal(2, 1), 0.5, 2, np.float64(0.5), np.float32(3), [1, 2, 3, 4, 5]])
def test_biases_broadcast_as_numpy_s(bias: Any) -> None:
    x, w = normal(2, 2, 3), normal(6, 5)
    out, cache = affine_forward(x, w, bias)
    np.testing.assert_allclose(out, x.reshape(2, 6) @ w + bias, rtol=1e-13)
    assert [array.shape for array in affine_backward(out, cache)] == [(2, 2, 3), (6, 5), (5,)]


def test_numbers_take_the_arrays_dtype() -> None:
    x, w = normal(2, 3).astype(np.float32), normal(3, 4).astype(np.float32)
    assert affine_forward(x, w, 0.5)[0].dtype == np.float32  # type: ignore[arg-type]
    assert batchnorm_forward(x, 1.0, 0, {"mode": "train"})[0].dtype == np.float32  # type: ignore[arg-type]


def test_gamma_and_beta_may_be_numbers() -> None:
    x, dout = normal(6, 4), normal(6, 4)
    ones, param = np.ones(4), {"mode": "train"}
    for forward, backward in (
        (batchnorm_forward, batchnorm_backward),
        (layernorm_forward, layernorm_backward),
    ):
        expected, cache = forward(x, 2 * ones, 3 * ones, dict(param))
        got, number_cache = forward(x, 2.0, 3, dict(param))  # type: ignore[arg-type]
        np.testing.assert_array_equal(got, expected)
        for gradient, same in zip(backward(dout, number_cache), backward(dout, cache), strict=True):
            np.testing.assert_array_equal(gradient, same)


@each("loss", [softmax_loss, svm_loss])
@each("y", [np.array([0.0, 1.0]), [0.5, 1], np.array([True, False]), np.array(["0", "1"])])
def test_labels_are_integers(loss: Any, y: Any) -> None:
    with pytest.raises(TypeError, match=r"^y must be labels, integers, got an array of "):
        loss(normal(2, 3), y)
