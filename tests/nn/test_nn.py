"""Layers: gradients against finite differences, names and defaults against fastnn.functional and torch."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import nn
from fastnn._core.typing import Array
from support.cases import each
from support.gradients import numerical_gradient

REQUIRED = {"threshold": {"threshold": 0.3, "value": -2.0}}
LAYERS = [pytest.param(layer, REQUIRED.get(name, {}), id=name) for name, layer in nn.ACTIVATIONS.items()]


def small_model() -> nn.Sequential:
    fastnn.manual_seed(3)
    return nn.Sequential(
        nn.Linear(4, 5, dtype=np.float64),
        nn.Tanh(),
        nn.Sequential(nn.Linear(5, 6, bias=False, dtype=np.float64), nn.GELU()),
        nn.Linear(6, 3, dtype=np.float64),
    )


def test_gradients_of_a_model_are_the_finite_differences() -> None:
    rng = np.random.default_rng(0)
    model, x, labels = small_model(), rng.standard_normal((7, 4)), rng.integers(0, 3, 7)

    def loss() -> float:
        return float(F.cross_entropy(model(x), labels)[0])

    dx = model.backward(F.cross_entropy(model(x), labels)[1])
    np.testing.assert_allclose(dx, numerical_gradient(loss, x), rtol=1e-6, atol=1e-9)
    names = [name for name, _ in model.named_parameters()]
    assert names == ["0.weight", "0.bias", "2.0.weight", "3.weight", "3.bias"]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert np.abs(parameter.grad).max() > 1e-3, name
        numerical = numerical_gradient(loss, parameter.data)
        np.testing.assert_allclose(parameter.grad, numerical, rtol=1e-6, atol=1e-9, err_msg=name)


@pytest.mark.parametrize(("layer", "required"), LAYERS)
def test_activation_layer(layer: type[nn.Activation], required: dict[str, float]) -> None:
    activation = layer(**required)
    # No point lies on a kink of any of the functions, at the default parameters.
    x = np.linspace(-7.03, 7.01, 41).reshape(-1, 1)
    np.testing.assert_array_equal(activation(x), getattr(F, layer.function)(x, **required))
    dy = np.random.default_rng(1).uniform(0.5, 1.5, x.shape)
    dx = activation.backward(dy)

    def loss() -> float:
        return float((activation(x) * dy).sum())

    rounding = 2e-10 * abs(loss())  # that of a difference of losses, over the step
    np.testing.assert_allclose(dx, numerical_gradient(loss, x), rtol=1e-6, atol=1e-7 + rounding)


@pytest.mark.parametrize(("layer", "required"), LAYERS)
def test_activation_layer_takes_what_its_function_takes(
    layer: type[nn.Activation], required: dict[str, float]
) -> None:
    def defaults(function: Callable[..., object]) -> dict[str, object]:
        variadic = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD  # Identity ignores them
        parameters = inspect.signature(function).parameters.values()
        return {p.name: p.default for p in parameters if p.kind not in variadic}

    of_function = defaults(getattr(F, layer.function))
    del of_function["input"], of_function["out"]
    assert defaults(layer) == of_function


@pytest.mark.parametrize(("layer", "required"), LAYERS)
def test_activation_layer_is_written_as_in_torch(
    layer: type[nn.Activation], required: dict[str, float]
) -> None:
    if layer in (nn.Squareplus, nn.Square, nn.Exp):
        pytest.skip("torch has none")
    torch = pytest.importorskip("torch")
    theirs = repr(getattr(torch.nn, layer.__name__)(**required)).replace("shrink(0.5)", "shrink(lambd=0.5)")
    assert repr(layer(**required)) == theirs


def test_activation_parameters_reach_forward_and_backward() -> None:
    layer = nn.Softplus(2.0, threshold=3.0)
    x = np.array([-1.0, 0.5, 1.4, 1.6])
    np.testing.assert_allclose(layer(x), [np.log1p(np.exp(2 * v)) / 2 if v < 1.5 else v for v in x])
    np.testing.assert_allclose(
        layer.backward(np.ones(4)), [1 / (1 + np.exp(-2 * v)) if v < 1.5 else 1.0 for v in x]
    )
    assert repr(layer) == "Softplus(beta=2.0, threshold=3.0)"


def test_bad_activation_parameter_is_reported_at_once() -> None:
    with pytest.raises(ValueError, match="approximate"):
        nn.GELU(approximate="erf")


def test_linear_takes_leading_axes_and_adds_up_gradients() -> None:
    rng = np.random.default_rng(0)
    layer = nn.Linear(3, 2, dtype=np.float64)
    x, dy = rng.standard_normal((4, 5, 3)), rng.standard_normal((4, 5, 2))
    assert layer.bias is not None
    np.testing.assert_allclose(
        layer(x), np.einsum("abi,oi->abo", x, layer.weight.data) + layer.bias.data, rtol=1e-13, atol=1e-14
    )
    np.testing.assert_allclose(layer.backward(dy), np.einsum("abo,oi->abi", dy, layer.weight.data))
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None
    once = layer.weight.grad.copy()
    np.testing.assert_allclose(once, np.einsum("abo,abi->oi", dy, x))
    np.testing.assert_allclose(layer.bias.grad, dy.sum(axis=(0, 1)))
    layer(x)
    layer.backward(dy)
    np.testing.assert_allclose(layer.weight.grad, 2 * once)
    layer.zero_grad()
    assert [p.grad for p in layer.parameters()] == [None, None]


@pytest.mark.parametrize("shape", [(3,), (0, 3), (1, 3)])
def test_linear_takes_one_sample_and_none(shape: tuple[int, ...]) -> None:
    layer = nn.Linear(3, 2)
    x = np.ones(shape, np.float32)
    y = layer(x)
    assert y.shape == (*shape[:-1], 2)
    assert layer.backward(np.ones_like(y)).shape == shape
    assert layer.weight.grad is not None
    np.testing.assert_array_equal(layer.weight.grad, np.full((2, 3), float(shape != (0, 3)), np.float32))


def test_linear_starts_as_in_torch() -> None:
    fastnn.manual_seed(5)
    layer = nn.Linear(100, 400)
    assert layer.bias is not None
    for values in (layer.weight.data, layer.bias.data):
        assert values.dtype == np.float32
        assert 0.095 < np.abs(values).max() <= 0.1
        assert abs(values.std() - 0.1 / np.sqrt(3)) < 0.004
        assert abs(values.mean()) < 0.01
    assert layer.weight.data.shape == (400, 100)
    assert repr(layer) == "Linear(in_features=100, out_features=400, bias=True)"


def test_manual_seed_repeats_the_weights() -> None:
    def weights(seed: int) -> list[bytes]:
        fastnn.manual_seed(seed)
        model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
        return [p.data.tobytes() for p in model.parameters()]

    assert weights(1) == weights(1)
    assert not set(weights(1)) & set(weights(2))
    assert len(set(weights(1))) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 2), "in_features must be .*, got 0"),
        ((2, -1), "out_features must be .*, got -1"),
        ((2.0, 2), "in_features must be .*, got 2.0"),
    ],
)
def test_linear_reports_bad_sizes(arguments: tuple[Any, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nn.Linear(*arguments)


REFUSED: list[tuple[Callable[..., nn.Module], str]] = [
    (lambda: nn.Linear(2, 2, generator=np.random.default_rng()), "generator must be a fastnn.Generator, got"),  # type: ignore[arg-type]
    (lambda: nn.Conv2d(2, 2, 1, generator=3), "generator must be a fastnn.Generator, got int"),  # type: ignore[arg-type]
    (lambda: nn.RReLU(generator=3), "generator must be a fastnn.Generator, got int"),  # type: ignore[arg-type]
    (lambda: nn.FractionalMaxPool2d(2, 1, generator=3), "generator must be a fastnn.Generator, got int"),  # type: ignore[arg-type]
    (lambda: nn.DropPath(generator=3), "generator must be a fastnn.Generator, got int"),  # type: ignore[arg-type]
    (lambda: nn.Flatten("1"), "Flatten: start_dim must be an integer, got str"),  # type: ignore[arg-type]
    (lambda: nn.Flatten(1, 2.0), "Flatten: end_dim must be an integer, got float"),  # type: ignore[arg-type]
    (lambda: nn.Maxout("2"), "Maxout: k must be a whole number of at least 1, got '2'"),  # type: ignore[arg-type]
    (lambda: nn.Maxout(2, "1"), "Maxout: dim must be an integer, got str"),  # type: ignore[arg-type]
    (lambda: nn.BatchNorm1d(3, eps=[]), "BatchNorm1d: eps must be a real number, got list"),  # type: ignore[arg-type]
    (lambda: nn.BatchNorm1d(3, momentum="x"), "BatchNorm1d: momentum must be a real number, got str"),  # type: ignore[arg-type]
    (lambda: nn.LayerNorm(3, eps=None), "LayerNorm: eps must be a real number, got NoneType"),  # type: ignore[arg-type]
    (lambda: nn.Linear(3, 3, dtype="float33"), "Linear: dtype must be float32 or float64, got 'float33'"),
    (lambda: nn.PReLU(dtype=np.int64), "PReLU: dtype must be a floating dtype, got int64"),
    (lambda: nn.Conv2d(2, 2, 1, padding_mode=np.zeros(2)), "Conv2d: padding_mode must be one of 'zeros', 'r"),  # type: ignore[arg-type]
    (lambda: nn.MSELoss(np.zeros(2)), "MSELoss: reduction must be one of 'mean', 'sum', 'none', got array"),  # type: ignore[arg-type]
    (lambda: nn.RMSNorm(3, eps=[]), "RMSNorm: eps must be a real number, got list"),  # type: ignore[arg-type]
    (lambda: nn.RMSNorm((1,) * 65), "RMSNorm: normalized_shape must have at most 64 dimensions, got 65"),
    (lambda: nn.Linear(True, 1), "Linear: in_features must be a whole number of at least 1, got True"),
    (lambda: nn.GroupNorm(True, 3), "GroupNorm: num_groups must divide num_channels, 3, got True"),
    (lambda: nn.GroupNorm(1, 2**62), "GroupNorm: num_channels must be below 2**60, got"),
    (
        lambda: nn.LayerNorm((2**40, 2**40)),
        "LayerNorm: normalized_shape must give a weight of fewer than",
    ),
    (
        lambda: nn.Linear(2**31, 2**31),
        "Linear: in_features and out_features must give a weight of fewer",
    ),
    (
        lambda: nn.Conv2d(2**31, 2**31, 2),
        "Conv2d: in_channels, out_channels and kernel_size must give a w",
    ),
]


@each(("make", "message"), REFUSED)
def test_layers_name_the_argument_that_they_cannot_take(make: Callable[..., object], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match="^" + re.escape(message)):
        make()


def test_linear_reports_bad_arrays() -> None:
    layer = nn.Linear(3, 2)
    with pytest.raises(TypeError, match="dtype must be float32 or float64, got int32"):
        nn.Linear(3, 2, dtype=np.int32)
    with pytest.raises(TypeError, match=r"x must be .* float32, got float64"):
        layer(np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"x must have shape \(4, 3\), got \(4, 2\)"):
        layer(np.zeros((4, 2), np.float32))
    layer(np.zeros((4, 3), np.float32))
    with pytest.raises(ValueError, match=r"dy must have shape \(4, 2\), got \(3, 2\)"):
        layer.backward(np.zeros((3, 2), np.float32))
    assert layer.weight.grad is None


@pytest.mark.parametrize("layer", [nn.Linear(2, 2), nn.ReLU(), nn.Sequential(nn.Tanh())], ids=repr)
def test_backward_needs_forward_first(layer: nn.Module) -> None:
    with pytest.raises(RuntimeError, match="backward needs a forward pass first"):
        layer.backward(np.ones((1, 2), np.float32))


def test_sequential_refuses_a_layer_in_two_places() -> None:
    shared = nn.ReLU()
    with pytest.raises(ValueError, match=r"must be different objects, got the same ReLU\(\) twice"):
        nn.Sequential(shared, nn.Sequential(nn.Tanh(), shared))
    with pytest.raises(TypeError, match=r"item 1 must be an nn.Module, got type"):
        nn.Sequential(shared, nn.ReLU)  # type: ignore[arg-type]


def test_sequential_is_a_sequence() -> None:
    layers = [nn.ReLU(), nn.Tanh()]
    model = nn.Sequential(*layers)
    assert (len(model), list(model), model[-1]) == (2, layers, layers[1])


def test_repr_is_torch_s() -> None:
    torch = pytest.importorskip("torch")
    t = torch.nn
    theirs = t.Sequential(t.Linear(4, 5, bias=False), t.Sequential(t.ELU(), t.Sigmoid()), t.Sequential())
    ours = nn.Sequential(nn.Linear(4, 5, bias=False), nn.Sequential(nn.ELU(), nn.Sigmoid()), nn.Sequential())
    with fastnn.fusion(False):
        assert repr(ours) == repr(theirs)
    assert repr(ours) == repr(theirs).replace("Sigmoid()\n  )", "Sigmoid()\n    fused: 0 to 1\n  )")


def test_state_dict_round_trip() -> None:
    saved, model = small_model(), small_model()
    state = saved.state_dict()
    for parameter in model.parameters():
        parameter.data += 1.0
    arrays = [parameter.data for parameter in model.parameters()]
    model.load_state_dict(state)
    for parameter, array, value in zip(model.parameters(), arrays, state.values(), strict=True):
        assert parameter.data is array
        np.testing.assert_array_equal(array, value)
    x = np.random.default_rng(0).standard_normal((2, 4))
    np.testing.assert_array_equal(model(x), saved(x))
    state["0.bias"] += 1.0
    assert not np.array_equal(state["0.bias"], saved.state_dict()["0.bias"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"3.bias": None}, ValueError, r"missing names \['3.bias'\]"),
        ({"4.bias": np.zeros(3)}, ValueError, r"unknown names \['4.bias'\]"),
        ({"3.bias": np.zeros(4)}, ValueError, r"'3.bias'\] must have .* \(3,\), got \(4,\)"),
        ({"3.bias": np.zeros(3, complex)}, TypeError, r"'3.bias'\] must have .* float64, got complex128"),
    ],
)
def test_load_state_dict_reports_what_does_not_fit(
    change: dict[str, Array | None], error: type[Exception], message: str
) -> None:
    model = small_model()
    before = model.state_dict()
    state = {name: value + 1.0 for name, value in before.items()} | change
    with pytest.raises(error, match=message):
        model.load_state_dict({name: value for name, value in state.items() if value is not None})
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_train_and_eval_reach_every_module() -> None:
    model = small_model()
    assert model.eval() is model
    assert {module.training for module in model.modules()} == {False}
    assert {module.training for module in model.train().modules()} == {True}
    assert len(list(model.modules())) == 7


def test_a_layer_of_ones_own() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            self.factor = nn.Parameter(np.array(2.0))

        def forward(self, x: Array) -> Array:
            self._saved = x
            return x * self.factor.data

        def backward(self, dy: Array) -> Array:
            self.factor.accumulate(np.sum(dy * self._take_saved()))
            return dy * self.factor.data

    class Block(nn.Module):
        def __init__(self) -> None:
            self.scale, self.activation = Scale(), nn.Sequential(nn.Tanh())

        def forward(self, x: Array) -> Array:
            return self.activation(self.scale(x))

        def backward(self, dy: Array) -> Array:
            return self.scale.backward(self.activation.backward(dy))

    block = Block()
    x = np.array([0.1, -0.2])
    np.testing.assert_allclose(block(x), np.tanh(2 * x))
    np.testing.assert_allclose(block.backward(np.ones(2)), 2 * (1 - np.tanh(2 * x) ** 2))
    assert list(block.state_dict()) == ["scale.factor"]
    np.testing.assert_allclose(block.scale.factor.grad, np.sum(x * (1 - np.tanh(2 * x) ** 2)))  # type: ignore[arg-type]
    assert repr(block) == "Block(\n  (scale): Scale()\n  (activation): Sequential(\n    (0): Tanh()\n  )\n)"
    with pytest.raises(NotImplementedError, match="Module does not define forward"):
        nn.Module()(x)


def test_copies_are_independent() -> None:
    model = small_model()
    twin = copy.deepcopy(model)
    next(iter(twin.parameters())).data += 1.0
    np.testing.assert_array_equal(model.state_dict()["0.weight"] + 1.0, twin.state_dict()["0.weight"])
