"""Models as data: every layer comes back as it was, and what is no model is refused."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn
from fastnn._core.typing import Array
from fastnn._model_files.architecture import Builder, describe
from support.cases import each

f64 = np.float64


class Net(nn.Module):
    """A model of the user's, with arguments as attributes."""

    def __init__(self, hidden: int, bias: bool = True, *, act: nn.Module | None = None) -> None:
        self.hidden, self.act = hidden, act or nn.ReLU()
        self.first = nn.Linear(4, hidden, bias=bias)
        self.bias = self.first.bias

    def forward(self, x: Any) -> Any:
        return self.act(self.first(x))


class Hidden(nn.Module):
    """One whose arguments cannot be told."""

    def __init__(self, size: int) -> None:
        self.weight = nn.Parameter(np.zeros(size, np.float32))


class Shifted(nn.Module):
    """One with an array that is not in its state_dict, and so not in a file."""

    def __init__(self, shift: Array) -> None:
        self.shift = shift


class Named(nn.Sequential):
    """A subclass without a constructor of its own."""


#: For each class: objects that use its arguments; a class that is not here is made without arguments.
MADE: dict[str, list[Callable[[], nn.Module]]] = {
    "Linear": [lambda: nn.Linear(3, 2), lambda: nn.Linear(np.arange(4)[3], 2, False, f64)],
    "Conv2d": [
        lambda: nn.Conv2d(2, 4, 3),
        lambda: nn.Conv2d(2, 4, (3, 1), 2, (1, 0), 2, 2, False, "reflect", f64),
        lambda: nn.Conv2d(2, 4, 3, padding="same"),
    ],
    "Conv1d": [lambda: nn.Conv1d(2, 4, 3), lambda: nn.Conv1d(2, 4, 3, 2, 1, 2, 2, False, dtype=f64)],
    "Embedding": [lambda: nn.Embedding(5, 3), lambda: nn.Embedding(5, 3, -1, dtype=f64)],
    "Unflatten": [lambda: nn.Unflatten(1, (2, 3))],
    "MaxPool1d": [lambda: nn.MaxPool1d(2), lambda: nn.MaxPool1d(3, 1, 1, 2, True, True)],
    "AvgPool1d": [lambda: nn.AvgPool1d(2), lambda: nn.AvgPool1d(3, 1, 1, True, False)],
    "AdaptiveMaxPool2d": [lambda: nn.AdaptiveMaxPool2d(1), lambda: nn.AdaptiveMaxPool2d((None, 3), True)],
    "Maxout": [lambda: nn.Maxout(2), lambda: nn.Maxout(3, -1)],
    "PReLU": [nn.PReLU, lambda: nn.PReLU(4, 0.5, np.float16)],
    "RReLU": [nn.RReLU, lambda: nn.RReLU(0.1, 0.2, True)],
    "Threshold": [lambda: nn.Threshold(0.1, -np.inf)],
    "Hardtanh": [nn.Hardtanh, lambda: nn.Hardtanh(-2, 2.5)],
    "GELU": [lambda: nn.GELU("tanh")],
    "Softmax": [lambda: nn.Softmax(1)],
    "Flatten": [nn.Flatten, lambda: nn.Flatten(2, 3)],
    "Dropout": [nn.Dropout, lambda: nn.Dropout(0.25, True, generator=fastnn.Generator(3))],
    "DropConnect": [lambda: nn.DropConnect(nn.Linear(3, 2), 0.25)],
    "Residual": [
        lambda: nn.Residual(nn.ReLU()),
        lambda: nn.Residual(nn.Sequential(nn.Linear(3, 2)), nn.Linear(3, 2)),
    ],
    "Sequential": [
        nn.Sequential,
        lambda: nn.Sequential(nn.Linear(3, 2), nn.Sequential(nn.ReLU(), nn.Identity(7, a=1))),
        lambda: nn.Sequential(OrderedDict(one=nn.ReLU(), two=nn.Tanh())),
    ],
    "ModuleList": [nn.ModuleList, lambda: nn.ModuleList([nn.Linear(3, 2), nn.ReLU()])],
    "ModuleDict": [lambda: nn.ModuleDict({"b": nn.ReLU(), "a": nn.Linear(1, 1)})],
    "ParameterList": [lambda: nn.ParameterList([nn.Parameter(np.ones((2, 3), np.float32))])],
    "ParameterDict": [
        lambda: nn.ParameterDict({"b": nn.Parameter(np.ones(2)), "a": nn.Parameter(np.ones(()))})
    ],
    "LayerNorm": [lambda: nn.LayerNorm(3), lambda: nn.LayerNorm((2, 3), 1e-3, True, False, f64)],
    "RMSNorm": [lambda: nn.RMSNorm(3), lambda: nn.RMSNorm([2, 3], 1e-3, False)],
    "GroupNorm": [lambda: nn.GroupNorm(2, 4), lambda: nn.GroupNorm(2, 4, 1e-3, True, f64, bias=False)],
    "MaxPool2d": [lambda: nn.MaxPool2d(2), lambda: nn.MaxPool2d((2, 3), 1, (1, 0), 2, True, True)],
    "AvgPool2d": [lambda: nn.AvgPool2d(2), lambda: nn.AvgPool2d((2, 3), 1, (1, 0), True, False, 7)],
    "AdaptiveAvgPool2d": [lambda: nn.AdaptiveAvgPool2d(1), lambda: nn.AdaptiveAvgPool2d((None, 3))],
    "FractionalMaxPool2d": [
        lambda: nn.FractionalMaxPool2d(2, 3),
        lambda: nn.FractionalMaxPool2d((2, 3), output_ratio=(0.5, 0.7), return_indices=True),
    ],
    "CrossEntropyLoss": [
        nn.CrossEntropyLoss,
        lambda: nn.CrossEntropyLoss(np.arange(3.0), 7, "sum", 0.1),
    ],
    "BCEWithLogitsLoss": [lambda: nn.BCEWithLogitsLoss(pos_weight=[1.0, 2.0])],
    "HingeLoss": [lambda: nn.HingeLoss(2.0)],
}


def norms(name: str) -> list[Callable[[], nn.Module]]:
    cls = getattr(nn, name)
    return [
        lambda: cls(3),
        lambda: cls(3, 1e-3, 0.2, True, True, f64, bias=False),
        lambda: cls(3, affine=False, track_running_stats=True, dtype=f64),
    ]


MADE |= {
    name: norms(name)
    for name in nn.__all__
    if name.startswith(("BatchNorm", "InstanceNorm", "SyncBatchNorm"))
}
MADE["BatchNorm2d"] += [
    lambda: nn.BatchNorm2d(3, momentum=None, biased_running_var=True, skip_nonfinite=False)
]
LAYERS = [
    name
    for name in nn.__all__
    if isinstance(cls := getattr(nn, name), type) and issubclass(cls, nn.Module) and name != "Activation"
]


def again(model: nn.Module, *custom: type[nn.Module]) -> nn.Module:
    made: nn.Module = Builder(custom).build(json.loads(json.dumps(describe(model))), "")
    return made


def attributes(model: nn.Module) -> dict[str, Any]:
    """All attributes of all modules, arrays by what does not change in training."""
    found: dict[str, Any] = {}
    for place, module in model.named_modules():
        for name, value in module.__getstate__().items():
            array = value.data if isinstance(value, nn.Parameter) else value
            if isinstance(array, np.ndarray):
                value = array.shape, array.dtype.name
            if not isinstance(value, nn.Module | dict | tuple | list) or name == "_items":
                found[f"{place}.{name}"] = [*value] if isinstance(value, dict) else value
            elif isinstance(value, tuple | list) and not any(isinstance(one, nn.Module) for one in value):
                found[f"{place}.{name}"] = tuple(value)
    return {name: value for name, value in found.items() if not name.endswith((".generator", "._fusible"))}


@each("name", LAYERS)
def test_every_layer_comes_back(name: str) -> None:
    for make in MADE.get(name, [getattr(nn, name)]):
        model = make()
        made = again(model)
        assert type(made) is type(model)
        assert repr(made) == repr(model)
        assert attributes(made) == attributes(model)
        assert [*made.state_dict()] == [*model.state_dict()]
        assert getattr(made, "generator", None) is None
        made.load_state_dict(model.state_dict())


def test_building_draws_nothing_from_the_default_generator() -> None:
    fastnn.manual_seed(3)
    expected = nn.Linear(2, 2).weight.data
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(), nn.Linear(3, 3))
    fastnn.manual_seed(3)
    again(model)
    np.testing.assert_array_equal(nn.Linear(2, 2).weight.data, expected)


def test_layers_of_the_user() -> None:
    model = nn.Sequential(Net(5, bias=False, act=nn.Tanh()), Named(nn.Linear(5, 2)))
    made = again(model, Net, Named)
    assert repr(made) == repr(model)
    assert attributes(made) == attributes(model)
    with pytest.raises(ValueError, match=r"layers.0: Net is a layer of your own: give .*layers=\[Net\]"):
        again(model)
    with pytest.raises(ValueError, match=r"Hidden: the file does not say how it was made; .*model=model"):
        again(Hidden(2), Hidden)
    with pytest.raises(ValueError, match=r"Shifted: the file does not say how it was made"):
        again(Shifted(np.ones(3)), Shifted)


LINEAR = {"layer": "Linear", "arguments": {"in_features": 3, "out_features": 2}}


def linear(**arguments: object) -> dict[str, Any]:
    return {"layer": "Linear", "arguments": LINEAR["arguments"] | arguments}  # type: ignore[operator]


@each(
    ("data", "message"),
    [
        ({"layer": "Softmaxx", "arguments": {}}, "there is no layer 'Softmaxx' in this version"),
        ({"layer": "__doc__", "arguments": {}}, "there is no layer '__doc__'"),
        ({"layer": "utils", "arguments": {}}, "there is no layer 'utils'"),
        ({"layer": "Parameter", "arguments": {}}, "there is no layer 'Parameter'"),
        ({"layer": "np", "arguments": {}}, "there is no layer 'np'"),
        ({"transformer": "Transformer.fit", "arguments": {}}, "there is no transformer 'Transformer.fit'"),
        ({"layer": ["Linear"], "arguments": {}}, "the model must be a layer, with arguments"),
        ({"class": "Linear", "arguments": {}}, "the model must be a layer, with arguments"),
        ({}, "the model must be a layer"),
        ({"layer": "Linear", "arguments": {}, "code": "1"}, "the model must be a layer"),
        ({"layer": "Linear"}, "Linear: the file does not say how it was made"),
        ({"layer": "Linear", "arguments": [3, 2]}, "Linear: the file does not say how it was made"),
        (linear(colour=1), "Linear has no argument 'colour'"),
        (linear(bias=1), "Linear: bias must be true or false, got 1"),
        (linear(in_features="3"), "Linear cannot be made as the file says: Linear: in_features must be"),
        (linear(in_features=2.0), "in_features must be a whole number"),
        (linear(in_features=-1), "in_features must be a whole number of at least 1"),
        (linear(dtype="object"), "dtype must be float32 or float64"),
        (linear(dtype={"shape": [2**30, 2**30], "dtype": "float32"}), "dtype must be an array's shape"),
        (linear(in_features=LINEAR), "in_features must be"),
        ({"layer": "Sequential", "arguments": {"layers": {"items": {"0": linear(x=1)}}}}, "layers.0: Linear"),
        ({"layer": "Sequential", "arguments": {"layers": [LINEAR, 3]}}, "Sequential cannot be made"),
        ({"layer": "Residual", "arguments": {"branch": None}}, "Residual: branch must be"),
        ({"layer": "Threshold", "arguments": {}}, "Threshold cannot be made"),
        ({"layer": "ParameterList", "arguments": {"values": [{"shape": [-1], "dtype": "int8"}]}}, "values.0"),
        ({"layer": "ParameterList", "arguments": {"values": [{"shape": [1], "dtype": "O"}]}}, "values.0"),
    ],
)  # fmt: skip
def test_data_that_are_no_model(data: object, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        Builder().build(data, "")
