"""Networks as the assignments' students write them, on fastnn.cs231n: the notebooks' checks, and training."""

# ruff: noqa: NPY002 - the notebooks draw from NumPy's global generator

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.cs231n_digits import FullyConnectedNet, accuracy, train
from fastnn._core.typing import Array
from fastnn.cs231n import layer_utils, layers
from fastnn.cs231n.gradient_check import eval_numerical_gradient
from support.notebooks import rel_error


@pytest.fixture(autouse=True)
def seed() -> None:
    np.random.seed(231)


class ThreeLayerConvNet:
    """conv - relu - 2x2 max pool - affine - relu - affine - softmax, as assignment 2 has it."""

    def __init__(
        self,
        input_dim: tuple[int, int, int] = (3, 32, 32),
        num_filters: int = 32,
        filter_size: int = 7,
        hidden_dim: int = 100,
        weight_scale: float = 1e-3,
        dtype: Any = np.float32,
    ) -> None:
        channels, height, width = input_dim
        shapes = {
            "W1": (num_filters, channels, filter_size, filter_size),
            "W2": (num_filters * (height // 2) * (width // 2), hidden_dim),
            "W3": (hidden_dim, 10),
        }
        self.params: dict[str, Array] = {}
        for i, (name, shape) in enumerate(shapes.items(), 1):
            self.params[name] = (weight_scale * np.random.randn(*shape)).astype(dtype)
            self.params[f"b{i}"] = np.zeros(shape[0] if i == 1 else shape[-1], dtype)
        self.conv_param = {"stride": 1, "pad": (filter_size - 1) // 2}
        self.reg, self.dtype = 0.0, dtype

    def loss(self, x: Array, y: Array | None = None) -> Any:
        pool_param = {"pool_height": 2, "pool_width": 2, "stride": 2}
        w1, b1, w2, b2, w3, b3 = (self.params[f"{kind}{i}"] for i in (1, 2, 3) for kind in "Wb")
        h, cache1 = layer_utils.conv_relu_pool_forward(
            x.astype(self.dtype), w1, b1, self.conv_param, pool_param
        )
        h, cache2 = layer_utils.affine_relu_forward(h, w2, b2)
        scores, cache3 = layers.affine_forward(h, w3, b3)
        if y is None:
            return scores
        loss, dh = layers.softmax_loss(scores, y)
        grads: dict[str, Array] = {}
        dh, grads["W3"], grads["b3"] = layers.affine_backward(dh, cache3)
        dh, grads["W2"], grads["b2"] = layer_utils.affine_relu_backward(dh, cache2)
        _, grads["W1"], grads["b1"] = layer_utils.conv_relu_pool_backward(dh, cache1)
        for name in ("W1", "W2", "W3"):
            loss += 0.5 * self.reg * float(np.sum(self.params[name] ** 2))
            grads[name] += self.reg * self.params[name]
        return loss, grads


def gradient_errors(model: Any, x: Array, y: Array, h: float = 1e-5) -> dict[str, float]:
    _, grads = model.loss(x, y)
    return {
        name: rel_error(
            grads[name],
            eval_numerical_gradient(lambda _: model.loss(x, y)[0], model.params[name], verbose=False, h=h),
        )
        for name in grads
    }


def test_two_layer_net_as_in_the_notebook() -> None:
    n, d, h, c = 3, 5, 50, 7
    model = FullyConnectedNet([d, h, c], dtype=np.float64)
    model.params = {
        "W1": np.linspace(-0.7, 0.3, num=d * h).reshape(d, h),
        "b1": np.linspace(-0.1, 0.9, num=h),
        "W2": np.linspace(-0.3, 0.4, num=h * c).reshape(h, c),
        "b2": np.linspace(-0.9, 0.1, num=c),
    }
    x = np.linspace(-5.5, 4.5, num=n * d).reshape(d, n).T
    expected = [
        *(11.53165108, 12.2917344, 13.05181771, 13.81190102, 14.57198434, 15.33206765, 16.09215096),
        *(12.05769098, 12.74614105, 13.43459113, 14.1230412, 14.81149128, 15.49994135, 16.18839143),
        *(12.58373087, 13.20054771, 13.81736455, 14.43418138, 15.05099822, 15.66781506, 16.2846319),
    ]
    assert np.abs(model.loss(x) - np.array(expected).reshape(n, c)).sum() < 1e-6
    y = np.array([0, 5, 1])
    for reg, correct in ((0.0, 3.4702243556), (1.0, 26.5948426952)):
        model.reg = reg
        assert abs(model.loss(x, y)[0] - correct) < 1e-10
    for reg in (0.0, 0.7):
        model.reg = reg
        assert max(gradient_errors(model, x, y).values()) < 1e-6


@pytest.mark.parametrize("normalization", [None, "batchnorm", "layernorm"])
def test_fully_connected_gradients(normalization: str | None) -> None:
    x, y = np.random.randn(4, 15), np.random.randint(10, size=4)
    model = FullyConnectedNet([15, 20, 30, 10], normalization, keep=0.75, reg=0.1, dtype=np.float64)
    model.dropout_param["seed"] = 123
    errors = gradient_errors(model, x, y)
    if normalization == "batchnorm":  # a bias before it has no effect: two zeros, but for rounding
        assert max(errors.pop("b1"), errors.pop("b2")) <= 1
    assert max(errors.values()) < 1e-5


@pytest.mark.parametrize(
    ("rule", "rate"), [("sgd", 1e-1), ("sgd_momentum", 1e-2), ("rmsprop", 1e-3), ("adam", 3e-3)]
)
def test_every_rule_overfits_fifty_samples(rule: str, rate: float) -> None:
    x, y = np.random.randn(50, 40), np.random.randint(10, size=50)
    model = FullyConnectedNet([40, 100, 100, 10])
    losses = train(model, x, y, epochs=60, batch_size=25, rule=rule, learning_rate=rate)
    assert losses[0] > 2
    assert losses[-1] < 0.1
    assert accuracy(model, x, y) == 1


def test_three_layer_conv_net_as_in_the_notebook() -> None:
    model = ThreeLayerConvNet()
    x, y = np.random.randn(10, 3, 32, 32), np.random.randint(10, size=10)
    loss, _ = model.loss(x, y)
    assert loss == pytest.approx(np.log(10), rel=1e-3)
    model.reg = 0.5
    assert 2.4 < model.loss(x, y)[0] < 2.6
    small = ThreeLayerConvNet((3, 8, 8), 3, 3, 7, weight_scale=0.1, dtype=np.float64)
    errors = gradient_errors(small, x[:2, :, :8, :8], y[:2], h=1e-6)
    assert max(errors.values()) < 1e-6


def test_three_layer_conv_net_overfits_a_small_set() -> None:
    x, y = np.random.randn(30, 3, 12, 12), np.random.randint(10, size=30)
    model = ThreeLayerConvNet((3, 12, 12), 8, 3, 50, weight_scale=5e-2)
    losses = train(model, x, y, epochs=60, batch_size=15, learning_rate=3e-3)
    assert losses[0] > 1.5
    assert losses[-1] < 0.1
    assert accuracy(model, x, y) == 1


def test_the_page_s_examples_show_what_they_say() -> None:
    page = Path(__file__).parents[2] / "docs" / "cs231n.md"
    failures = doctest.testfile(str(page), module_relative=False)
    assert failures.attempted
    assert not failures.failed


def test_example_learns_the_digits() -> None:
    script = Path(__file__).parents[2] / "examples" / "cs231n_digits.py"
    result = subprocess.run([sys.executable, script], check=True, capture_output=True, text=True)
    assert float(result.stdout.rstrip().removesuffix("%").rpartition(" ")[2]) >= 97
    assert result.stderr == ""
