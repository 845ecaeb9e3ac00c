"""PReLU, RReLU, GLU, SwiGLU and Maxout as layers: what the functions give, and torch's layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import Generator, nn
from fastnn._core.typing import Array


def numbers(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("layer", "name", "arguments"),
    [
        (nn.GLU(), "glu", (-1,)),
        (nn.GLU(1), "glu", (1,)),
        (nn.SwiGLU(0), "swiglu", (0,)),
        (nn.RReLU(0.25, 0.5).eval(), "rrelu", (0.25, 0.5)),
    ],
    ids=str,
)
def test_a_layer_is_its_function(layer: nn.Module, name: str, arguments: tuple[Any, ...]) -> None:
    x = numbers(0, 4, 6, 8)
    y = layer(x)
    np.testing.assert_array_equal(y, getattr(F, name)(x, *arguments))
    dy = numbers(1, *y.shape)
    np.testing.assert_array_equal(layer.backward(dy), getattr(F, f"{name}_backward")(dy, x, *arguments))


def test_maxout() -> None:
    layer, x = nn.Maxout(3), numbers(0, 5, 6)
    y, saved = F.maxout(x, 3)
    np.testing.assert_array_equal(layer(x), y)
    np.testing.assert_array_equal(layer.backward(y), F.maxout_backward(y, saved))
    model = nn.Sequential(nn.Linear(6, 12), layer, nn.Linear(4, 2))
    assert model(x).shape == (5, 2)
    assert model.backward(numbers(1, 5, 2)).shape == x.shape


def test_maxout_over_linear_is_the_largest_of_k_linear_maps_with_its_gradient() -> None:
    outputs, k = 4, 3
    model = nn.Sequential(nn.Linear(5, outputs * k, dtype=np.float64), nn.Maxout(k))
    x, dy = (numbers(seed, 7, size).astype(np.float64) for seed, size in ((0, 5), (1, outputs)))
    weight, bias = (parameter.data for parameter in model.parameters())
    maps = np.einsum("ni,oki->nok", x, weight.reshape(outputs, k, 5)) + bias.reshape(outputs, k)
    np.testing.assert_allclose(model(x), maps.max(axis=2), rtol=1e-13)
    dx = model.backward(dy)
    gradients = [dx, *(parameter.grad for parameter in model.parameters())]
    for array, gradient in zip((x, weight, bias), gradients, strict=True):
        assert gradient is not None
        for index in np.ndindex(array.shape):
            value, losses = array[index], []
            for step in (1e-6, -1e-6):
                array[index] = value + step
                losses.append(np.sum(model(x) * dy))
            array[index] = value
            assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(gradient[index], abs=1e-7)


@pytest.mark.parametrize("parameters", [1, 6])
def test_prelu_is_torch_s(parameters: int) -> None:
    torch = pytest.importorskip("torch")
    x, dy = numbers(0, 4, 6, 8), numbers(1, 4, 6, 8)
    theirs, ours = torch.nn.PReLU(parameters), nn.PReLU(parameters)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    tensor = torch.tensor(x, requires_grad=True)
    result = theirs(tensor)
    result.backward(torch.tensor(dy))
    np.testing.assert_array_equal(ours(x), result.detach().numpy())
    np.testing.assert_array_equal(ours.backward(dy), tensor.grad.numpy())
    assert ours.weight.grad is not None
    np.testing.assert_allclose(ours.weight.grad, theirs.weight.grad.numpy(), rtol=1e-5)


def test_rrelu_draws_in_training_and_again_in_backward() -> None:
    x, layer = -np.ones((50, 40), np.float32), nn.RReLU(generator=Generator(3))
    y = layer(x)
    assert 1 / 8 < -y.max() < -y.min() < 1 / 3
    np.testing.assert_array_equal(layer.backward(x), y)
    assert (layer(x) != y).any()
    fastnn.manual_seed(3)
    np.testing.assert_array_equal(nn.RReLU()(x), y)


def test_a_gradient_beyond_the_dtype_of_the_slope_is_infinite_without_a_warning() -> None:
    layer, x = nn.PReLU(), np.full(3, -1.0)
    layer(x)
    layer.backward(np.full(3, 1e300))
    np.testing.assert_array_equal(layer.weight.grad, np.array([-np.inf], np.float32))


@pytest.mark.parametrize("make", [lambda: nn.PReLU(0), lambda: nn.PReLU(1.5), lambda: nn.RReLU(0.5, 0.25)])  # type: ignore[arg-type]
def test_bad_arguments(make: Callable[[], nn.Module]) -> None:
    with pytest.raises(ValueError, match=r"num_parameters|lower"):
        make()


@pytest.mark.parametrize("layer", [nn.PReLU(), nn.RReLU(), nn.GLU(), nn.SwiGLU(), nn.Maxout(2)], ids=str)
def test_backward_needs_forward(layer: nn.Module) -> None:
    with pytest.raises(RuntimeError, match=f"{type(layer).__name__}.backward needs a forward pass first"):
        layer.backward(numbers(0, 4, 4))
