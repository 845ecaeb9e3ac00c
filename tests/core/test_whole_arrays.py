"""What would be lost on the way to an array, masks and units, is refused, wherever arrays are taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn.functional as F
from fastnn import nn, optim, train
from fastnn._core.files import save_weights
from fastnn._core.typing import Array
from fastnn._model_files import Predictor
from fastnn.cs231n import layers
from fastnn.preprocessing import Standardize
from fastnn.train.state import pack
from support.cases import each

X = np.arange(24.0).reshape(4, 6)
LABELS = np.array([0, 1, 2, 0])


def masked(array: Array, places: Any = 1) -> Any:
    mask = np.zeros(array.shape, bool)
    mask.flat[places] = True
    result: Any = np.ma.masked_array
    return result(array, mask)


class Quantity(np.ndarray[Any, Any]):
    """A stand-in for astropy's: an array with a unit."""

    unit = "m"


class Pint:
    """A stand-in for pint's: it has an array, and a unit."""

    def __init__(self, magnitude: Array) -> None:
        self.magnitude = magnitude
        self.shape = magnitude.shape

    @property
    def units(self) -> str:
        return "m"

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return np.array(self.magnitude, dtype)


LOSSY: list[tuple[Callable[[Array], Any], str]] = [
    (masked, "must be an array without masked elements, got 1 of them"),
    (lambda array: array.view(Quantity), "must be plain numbers, got a Quantity with a unit"),
]
LOSSY_LISTS: list[tuple[Callable[[Array], Any], str]] = [
    (Pint, "must be plain numbers, got a Pint with a unit"),
    (lambda array: [*masked(array)], "must be an array without masked elements"),
    (lambda array: [*map(Pint, array)], "must be plain numbers, got a Pint with a unit"),
]


def step(parameter: nn.Parameter) -> None:
    optim.SGD([parameter], lr=0.1).step()


def parameter_of(data: Any, grad: Any = X) -> nn.Parameter:
    parameter = nn.Parameter(data)
    parameter.grad = grad
    return parameter


def loaded_average(value: Any) -> None:
    average = optim.ExponentialMovingAverage([nn.Parameter(X.copy())])
    average.load_state_dict({**average.state_dict(), "averages": [value]})


def loaded_momentum(value: Any) -> None:
    optimizer = optim.SGD([nn.Parameter(X.copy())], momentum=0.9)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": {0: {"step": 1, "momentum_buffer": value}}})


ANYTHING: dict[str, Callable[[Any], object]] = {
    "relu": lambda x: F.relu(x(X)),
    "relu_backward": lambda x: F.relu_backward(X, x(X)),
    "softmax": lambda x: F.softmax(x(X)),
    "glu": lambda x: F.glu(x(X)),
    "maxout": lambda x: F.maxout(x(X), 2),
    "prelu": lambda x: F.prelu(X, x(np.ones(6))),
    "dropout": lambda x: F.dropout(x(X), 0.5),
    "batch_norm": lambda x: F.batch_norm(x(X), None, None, training=True),
    "batch_norm weight": lambda x: F.batch_norm(X, None, None, x(np.ones(6)), training=True),
    "layer_norm": lambda x: F.layer_norm(x(X), 6),
    "layer_norm weight": lambda x: F.layer_norm(X, 6, x(np.ones(6))),
    "group_norm": lambda x: F.group_norm(x(X), 2),
    "conv2d": lambda x: F.conv2d(x(X.reshape(1, 1, 4, 6)), np.ones((1, 1, 2, 2))),
    "conv2d weight": lambda x: F.conv2d(X.reshape(1, 1, 4, 6), x(np.ones((1, 1, 2, 2)))),
    "max_pool2d": lambda x: F.max_pool2d(x(X.reshape(1, 1, 4, 6)), 2),
    "mse_loss": lambda x: F.mse_loss(X, x(X)),
    "cross_entropy": lambda x: F.cross_entropy(x(X), LABELS),
    "cross_entropy target": lambda x: F.cross_entropy(X, x(LABELS)),
    "cross_entropy weight": lambda x: F.cross_entropy(X, LABELS, x(np.ones(6))),
    "hinge_loss target": lambda x: F.hinge_loss(X, x(LABELS)),
    "CrossEntropyLoss": lambda x: nn.CrossEntropyLoss(x(np.ones(6))),
    "load_state_dict": lambda x: nn.Linear(6, 4, bias=False).load_state_dict({"weight": x(X)}),
    "optimizer's state": lambda x: loaded_momentum(x(X)),
    "averages": lambda x: loaded_average(x(X)),
    "fit": lambda x: train.fit(nn.Linear(6, 3), (x(X), LABELS), epochs=1),
    "evaluate": lambda x: train.evaluate(nn.Linear(6, 3), (X, x(LABELS))),
    "prepare": lambda x: train.prepare((x(X), LABELS)),
    "Standardize": lambda x: Standardize().fit(x(X)),
    "predict": lambda x: Predictor(nn.Linear(6, 3).eval()).predict(x(X)),
    "affine_forward": lambda x: layers.affine_forward(x(X), np.ones((6, 2)), np.ones(2)),
    "softmax_loss": lambda x: layers.softmax_loss(x(X), LABELS),
}
ARRAYS: dict[str, Callable[[Any], object]] = {
    "out": lambda x: F.relu(X, out=x(X.copy())),
    "running_mean": lambda x: F.batch_norm(X, x(np.zeros(6)), np.ones(6), training=True),
    "running_var": lambda x: F.instance_norm(X[None], np.zeros(4), x(np.ones(4)), use_input_stats=False),
    "Linear": lambda x: nn.Linear(6, 3, dtype=np.float64)(x(X)),
    "gradient": lambda x: step(parameter_of(X.copy(), x(X))),
    "parameter": lambda x: step(parameter_of(x(X))),
    "pack": lambda x: pack({"a": x(X)}),
    "save_weights": lambda x: save_weights(Path("/none"), {"a": x(X)}, {}),
}


@each(("lossy", "message"), LOSSY + LOSSY_LISTS)
@each("name", ANYTHING)
def test_what_would_be_lost_is_refused(name: str, lossy: Callable[[Array], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        ANYTHING[name](lossy)


@each(("lossy", "message"), LOSSY)
@each("name", ARRAYS)
def test_arrays_too(name: str, lossy: Callable[[Array], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        ARRAYS[name](lossy)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_sklearn_s_estimators_too() -> None:
    estimators = pytest.importorskip("fastnn.sklearn")
    fitted: Any = estimators.MLPClassifier((2,), max_iter=1).fit(X, LABELS)
    for call, arguments in ((fitted.predict, (masked(X),)), (fitted.fit, (X, masked(LABELS)))):
        with pytest.raises(TypeError, match="must be an array without masked elements"):
            call(*arguments)


def test_what_loses_nothing_is_taken() -> None:
    loss = F.mse_loss(X, X + 1)[0]
    targets: list[Any] = [masked(X + 1, []), (X + 1).tolist(), [*(X + 1)]]
    for target in targets:
        assert F.mse_loss(X, target)[0] == loss


@each("value", [X * 1j, [1j, 2.0], np.array([None, 1.0]), np.array(["2000-01-01"], "M8[D]"), ["1"]])
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^input must be an array of float16, "):
        F.relu(value)


def test_pandas_missing_values() -> None:
    """They become NaN, which spreads, or are refused; none becomes a number."""
    pandas = pytest.importorskip("pandas")
    assert np.isnan(F.relu(pandas.array([1, None], "Float64"))[1])
    with pytest.raises(TypeError, match=r"^input must be an array of float16, .* got object"):
        F.relu(pandas.array([True, None], "boolean"))
