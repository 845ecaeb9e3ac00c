"""The plan of nn.Sequential: it follows what its layers have, and results are those of the layers alone."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import _kernels, nn, stages
from fastnn._core.typing import Array
from support.cases import each


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def fused_model() -> Any:
    fastnn.manual_seed(3)
    layers = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.LeakyReLU(0.2), nn.Dropout(0.5), nn.Linear(4, 4)
    model: Any = nn.Sequential(*layers, nn.BatchNorm1d(4), nn.Tanh())
    model[1].running_mean[:], model[1].weight.data[:] = numbers(4), numbers(4, seed=1)
    return model


def double(model: Any) -> None:
    model.load_state_dict({name: 2 * array for name, array in model.state_dict().items()})


new = numbers(4, seed=2)
CHANGES: dict[str, Callable[[Any], Any]] = {
    "mode": lambda model: model.train(not model.training),
    "mode of a layer": lambda model: model[1].train(not model.training),
    "mode as an attribute": lambda model: setattr(model[1], "training", not model.training),
    "frozen": lambda model: model.requires_grad_(False).train(),
    "eps": lambda model: setattr(model[1], "eps", 0.5),
    "momentum": lambda model: setattr(model[1], "momentum", 0.5),
    "parameter of an activation": lambda model: setattr(model[2], "negative_slope", 0.7),
    "in vars": lambda model: vars(model[2]).update(negative_slope=0.7),
    "p": lambda model: setattr(model[3], "p", 0.25),
    "layer": lambda model: model.__setitem__(2, nn.ReLU()),
    "parameter": lambda model: setattr(model[1], "weight", nn.Parameter(new)),
    "no parameter": lambda model: setattr(model[1], "weight", None),
    "data": lambda model: setattr(model[1].weight, "data", new),
    "data in place": lambda model: model[1].weight.data.__setitem__(0, 3),
    "data of another dtype": lambda model: setattr(model[1].weight, "data", new.astype(np.float64)),
    "parameter of Linear": lambda model: setattr(model[4], "weight", nn.Parameter(numbers(4, 4))),
    "data of Linear": lambda model: setattr(model[4].weight, "data", numbers(4, 4)),
    "data of Linear in place": lambda model: model[4].weight.data.__setitem__(0, 3),
    "data of Linear in another order": lambda model: setattr(model[4].weight, "data", numbers(4, 4).T),
    "no bias of Linear": lambda model: setattr(model[0], "bias", None),
    "statistics": lambda model: setattr(model[1], "running_var", new**2),
    "statistics in place": lambda model: model[1].running_var.__setitem__(0, 3),
    "no statistics": lambda model: vars(model[1]).update(running_mean=None, running_var=None),
    "state": double,
    "hook": lambda model: model[2].register_forward_hook(lambda layer, x, y: x.fill(-1)),
    "method": lambda model: setattr(model[2], "backward", lambda dy: 2 * dy),
}
WITHOUT_EFFECT = [(False, "momentum"), (False, "p")]


def pass_of(model: Any) -> list[Array | None]:
    """All that a forward and a backward pass make."""
    fastnn.manual_seed(4)
    model.zero_grad()
    y = model(numbers(6, 4))
    dx = model.backward(numbers(6, 4, seed=1))
    return [y, dx, *(parameter.grad for parameter in model.parameters()), *model.buffers()]


def same(one: list[Array | None], other: list[Array | None]) -> bool:
    if len(one) != len(other):
        return False
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))  # type: ignore[arg-type]


@each("training", [False, True])
@each("change", CHANGES)
def test_the_plan_follows_what_the_layers_have(change: str, training: bool) -> None:
    model = fused_model().train(training)
    pass_of(model)
    unchanged = copy.deepcopy(model)
    CHANGES[change](model)
    expected = pass_of(copy.deepcopy(model))  # a copy has no plan
    assert same(pass_of(model), expected)
    assert same(pass_of(unchanged), expected) == ((training, change) in WITHOUT_EFFECT)


class Borrowing(nn.LeakyReLU):
    """A layer whose stage depends on what is none of its attributes."""

    slope: ClassVar = 0.5

    def stage(self) -> stages.Activation:
        return stages.Activation("leaky_relu", negative_slope=type(self).slope)


def test_a_layer_of_ones_own_is_asked_for_its_stage_in_each_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = nn.Sequential(Borrowing(), nn.Square()), numbers(5, 4)
    for slope in (0.5, 0.25):
        monkeypatch.setattr(Borrowing, "slope", slope)
        np.testing.assert_array_equal(model(x), F.square(F.leaky_relu(x, slope)))


def test_a_plan_is_kept_as_long_as_nothing_changes() -> None:
    model = fused_model()
    pass_of(model)
    plan = model._planned()
    pass_of(model)
    assert model._planned() is plan
    with fastnn.fusion(False):
        assert model._planned().groups == [[layer] for layer in model]
    assert model._planned() is not plan
    assert pickle.loads(pickle.dumps(model))._plan is None


def test_attributes_are_compared_as_objects() -> None:
    layer: Any = nn.LeakyReLU()
    attributes = _kernels.Attributes([nn.ReLU(), layer], "_saved")
    layer._saved = layer(numbers(3))
    assert attributes.unchanged()
    layer.extra = None
    assert not attributes.unchanged()
    del layer.extra
    assert attributes.unchanged()
    layer.negative_slope = float(f"{layer.negative_slope}")  # equal, but a new object
    assert not attributes.unchanged()


@each("shape", [(1, 4), (5, 4), (5, 4, 3), (3000, 4), (0, 4)])
@each("dtype", ["float32", "float64"])
def test_norms_in_evaluation_are_those_of_the_layers(shape: tuple[int, ...], dtype: Any) -> None:
    layers: list[Any] = [nn.BatchNorm1d(4, dtype=dtype).eval(), nn.Tanh(), nn.Dropout().eval(), nn.ReLU()]
    layers[0].running_mean[:], layers[0].running_var[:] = new, new**2
    model: Any = nn.Sequential(*copy.deepcopy(layers))
    x, dy = numbers(*shape).astype(dtype), numbers(*shape, seed=1).astype(dtype)
    y = model(x)
    dx = model.backward(dy)
    for layer in layers:
        x = layer(x)
    for layer in reversed(layers):
        dy = layer.backward(dy)
    for got, expected in ((y, x), (dx, dy), (model[0].weight.grad, layers[0].weight.grad)):
        np.testing.assert_array_equal(got, expected)


OTHERS = [numbers(2, 5), numbers(2, 4, 1, 1), numbers(4), [[1.0] * 4, [2.0] * 4], numbers(2, 4).astype(int)]


@each("x", OTHERS)
def test_norms_in_evaluation_refuse_what_they_do_in_training(x: Any) -> None:
    model = nn.Sequential(nn.BatchNorm1d(4), nn.ReLU())

    def outcome() -> str:
        try:
            return str(model(x).dtype)
        except (TypeError, ValueError) as error:
            return str(error)

    in_training = outcome()
    model.eval()
    assert outcome() == in_training
