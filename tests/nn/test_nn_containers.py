"""Containers of layers and parameters: torch's names and methods, and plain lists, which are refused."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim
from fastnn._core.typing import Array
from support.cases import each


def linear(size: int = 4) -> nn.Linear:
    return nn.Linear(size, size, bias=False)


def parameter() -> nn.Parameter:
    return nn.Parameter(np.ones(2, np.float32))


def names(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_children()]


def numbers(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


class Holder(nn.Module):
    """A module of one's own with these attributes."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


# ---- lists and dicts ---------------------------------------------------------------------------------------


def test_what_containers_hold_is_trained_saved_and_switched() -> None:
    model = Holder(
        layers=nn.ModuleList([linear(), nn.ReLU()]),
        heads=nn.ModuleDict({"left": linear(), "right": nn.Linear(4, 2)}),
        scales=nn.ParameterList([parameter(), np.zeros(3)]),  # type: ignore[list-item]
        shifts=nn.ParameterDict([("low", parameter())]),
    )
    expected = ["layers.0.weight", "heads.left.weight", "heads.right.weight", "heads.right.bias"]
    expected += ["scales.0", "scales.1", "shifts.low"]
    assert list(model.state_dict()) == expected
    assert [name for name, _ in model.named_parameters()] == expected
    assert not model.eval().layers[1].training
    for p in model.parameters():
        p.grad = np.ones_like(p.data)
    optim.SGD(model.parameters(), lr=0.5).step()
    np.testing.assert_array_equal(model.scales[1].data, [-0.5] * 3)
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())
    twin = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    assert list(twin.state_dict()) == expected
    assert "\n  (scales): ParameterList(\n    (0): Parameter(shape=(2,), dtype=float32)" in repr(model)
    assert repr(nn.ModuleDict({"a": nn.ReLU()})) == "ModuleDict(\n  (a): ReLU()\n)"


@each(
    ("kind", "make"),
    [(nn.ModuleList, nn.ReLU), (nn.ParameterList, parameter), (lambda items: nn.Sequential(*items), nn.ReLU)],
)
def test_lists_have_the_methods_of_torch_s(kind: Any, make: Callable[[], Any]) -> None:
    a, b, c, d = (make() for _ in range(4))
    items = kind([a])
    assert items.append(b) is items
    assert items.extend([c]) is items
    items.insert(0, d)
    assert [list(items), len(items), items[-1], c in items] == [[d, a, b, c], 4, c, True]
    assert list(reversed(items)) == [c, b, a, d]
    assert items.pop(1) is a
    items[-1] = a
    assert list(items) == [d, b, a]
    assert type(items[1:]) is type(items)
    assert list(items[::2]) == [d, a]
    del items[:2]
    items += [b]
    assert list(items) == [a, b]
    assert list(items + kind([c])) == [a, b, c]
    assert getattr(items, "1") is b
    outside: list[Callable[[], Any]] = [lambda: items[2], lambda: items.insert(-4, c), lambda: items.pop(-3)]
    for call in outside:
        with pytest.raises(IndexError, match=r"List: index must be in|Sequential: index must be in"):
            call()
    for call in (
        lambda: items.append(3),
        lambda: items.extend([c, None]),
        lambda: items.__setitem__(0, kind),
    ):
        with pytest.raises(TypeError, match=r"item \d must be an nn\.(Module|Parameter), got"):
            call()
    for wrong in (c, np.ones(3), 3):
        with pytest.raises(TypeError, match=r"items must be an iterable of nn\.(Module|Parameter), got"):
            items.extend(wrong)
    assert list(items) == [a, b]


def test_dicts_have_the_methods_of_dict() -> None:
    relu, tanh = nn.ReLU(), nn.Tanh()
    layers = nn.ModuleDict({"relu": relu})
    layers["tanh"] = tanh
    layers.update([["keys", nn.GELU()]], exp=nn.Exp())
    assert list(layers) == list(layers.keys()) == names(layers) == ["relu", "tanh", "keys", "exp"]
    assert layers.relu is layers["relu"] is relu
    assert layers.pop("tanh") is tanh
    assert "tanh" not in layers
    assert layers.get("tanh") is None
    layers.relu = tanh
    assert layers.relu is tanh
    assert layers == layers
    assert layers != nn.ModuleDict(layers)
    with pytest.raises(KeyError, match="none"):
        layers["none"]
    for wrong, error in (("a.b", ValueError), ("", ValueError), (3, TypeError)):
        with pytest.raises(error, match="ModuleDict: names must"):
            layers.update({"fine": relu, wrong: relu})
    with pytest.raises(TypeError, match=r"ModuleDict: item a must be an nn\.Module, got list"):
        layers["a"] = [relu]  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"ModuleDict: item exp must be an nn\.Module, got int"):
        layers.exp = 3
    layers.clear()
    assert len(layers) == 0


def test_a_container_computes_nothing_and_says_what_it_has_not() -> None:
    with pytest.raises(NotImplementedError, match="ModuleList does not define forward"):
        nn.ModuleList([nn.ReLU()])(numbers(3))
    with pytest.raises(AttributeError, match="Sequential has no attribute 'conv'"):
        nn.Sequential().conv  # noqa: B018

    class Early(nn.Sequential):
        def __init__(self) -> None:
            self.first = nn.ReLU()

    with pytest.raises(AttributeError, match=r"Early: super\(\).__init__\(\) must come before first"):
        Early()


# ---- plain lists ------------------------------------------------------------------------------------------


@each(
    ("value", "message"),
    [
        ([linear()], r"ModuleList, got a list with a Linear in it, 0\.hidden\[0\],"),
        ((nn.ReLU(), nn.Dropout()), "ModuleList, got a tuple with a ReLU"),
        ({"a": linear()}, r"ModuleDict, got a dict with a Linear in it, 0\.hidden\['a'\],"),
        ({linear()}, "ModuleList, got a set"),
        (deque([parameter()]), "ParameterList, got a deque with a Parameter"),
        (OrderedDict(a=parameter()), "ParameterDict, got a OrderedDict"),
        (
            [1, {"a": (None, [linear()])}],
            r"ModuleList, got a list .*hidden\[1\]\['a'\]\[1\]\[0\],",
        ),
    ],
)
def test_layers_in_a_plain_container_are_refused(value: Any, message: str) -> None:
    model = nn.Sequential(Holder(hidden=value, out=linear()))
    uses: list[Callable[[], Any]] = [
        lambda: list(model.parameters()), model.state_dict, model.eval, model.train, model.zero_grad,
        lambda: model.load_state_dict({}), lambda: model.to("cpu"), model.requires_grad_,
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(TypeError, match=rf"^Sequential: 0\.hidden must be an nn\.{message}"):
            use()
    assert model.training


def test_a_list_that_is_filled_later_is_found() -> None:
    model = Holder(hidden=[])
    assert not list(model.parameters())
    model.hidden.append(linear())
    with pytest.raises(TypeError, match=r"Holder: hidden must be an nn\.ModuleList"):
        model.zero_grad()


def test_lists_of_what_is_registered_are_in_order() -> None:
    first, second, weight = linear(), nn.Sequential(linear(), nn.ReLU()), parameter()
    order = [first, second, second[0]]
    order.append(order)
    by_name = {"weight": weight, "sizes": [1, 2.5, "x", None, np.ones(3)]}
    model = Holder(first=first, second=second, weight=weight, order=order, by_name=by_name)
    by_name["model"] = model
    assert list(model.train().state_dict()) == ["weight", "first.weight", "second.0.weight"]


# ---- Sequential -------------------------------------------------------------------------------------------


def test_names_of_sequential_are_torch_s() -> None:
    named = OrderedDict(conv=linear(), act=nn.ReLU(), out=linear())
    model = nn.Sequential(named)
    assert list(model.state_dict()) == ["conv.weight", "out.weight"]
    assert model.conv is model[0] is named["conv"]
    assert list(model[1:].state_dict()) == ["out.weight"]
    assert list(nn.Sequential(nn.ReLU(), linear())[1:].state_dict()) == ["1.weight"]
    assert names(model.append(nn.ReLU())) == ["conv", "act", "out", "3"]
    assert names(model.insert(1, nn.ReLU())) == ["conv", "1", "act", "out", "4"]
    model.extra = nn.Tanh()
    assert names(model)[-1] == "extra"
    del model.extra, model[0]
    assert names(model) == ["0", "1", "2", "3"]
    for wrong in ([nn.ReLU()], {"a": nn.ReLU()}):
        with pytest.raises(TypeError, match=r"Sequential: item 0 must be an nn\.Module, got (list|dict)"):
            nn.Sequential(wrong)  # type: ignore[arg-type]


def test_a_layer_can_stand_in_one_place_only() -> None:
    layer = linear()
    model = nn.Sequential(layer, nn.Sequential(nn.ReLU()))
    wrong: list[Callable[[], Any]] = [
        lambda: model.append(layer), lambda: model.insert(0, nn.Residual(layer)), lambda: model.append(model),
        lambda: model.__setitem__(0, next(model[1].children())), lambda: setattr(model, "again", layer),
    ]  # fmt: skip
    for put in wrong:
        with pytest.raises(ValueError, match="Sequential: modules must be different objects, got the same"):
            put()
    assert names(model) == ["0", "1"]


CHANGES: dict[str, tuple[Callable[[nn.Sequential], Any], str]] = {
    "append": (lambda model: model.append(nn.Tanh()), "fused: 1 to 3"),
    "insert": (lambda model: model.insert(1, linear()), "fused: 2 to 3"),
    "replace": (lambda model: model.__setitem__(2, linear()), "(2): Linear"),
    "delete": (lambda model: model.__delitem__(0), "fused: 0 to 1"),
    "attribute": (lambda model: setattr(model, "last", nn.Tanh()), "fused: 1 to 3"),
}


@each("change", CHANGES)
def test_the_plan_follows_the_layers(change: str) -> None:
    fastnn.manual_seed(0)
    model, x = nn.Sequential(linear(), nn.BatchNorm1d(4), nn.ReLU()), numbers(5, 4)
    model(x)
    dx = model.backward(x)
    model(x)
    apply, shown = CHANGES[change]
    apply(model)
    np.testing.assert_array_equal(model.backward(x), dx)  # the way of the forward pass before the change
    assert shown in repr(model)
    assert ("fused" in shown) == ("fused" in repr(model))
    fresh = nn.Sequential(*copy.deepcopy(list(model)))
    np.testing.assert_array_equal(model(x), fresh(x))
    np.testing.assert_array_equal(model.backward(x), fresh.backward(x))


def test_a_model_is_called_with_input_by_name() -> None:
    x = numbers(5, 4)
    for module in (nn.ReLU(), nn.Sequential(linear(), nn.ReLU()), nn.Flatten()):
        np.testing.assert_array_equal(module(input=x), module(x))


# ---- inplace ----------------------------------------------------------------------------------------------


@each("layer", [nn.Softmax, nn.Exp, nn.Linear])
@each("inplace", [nn.ReLU, nn.Dropout, nn.Dropout1d, nn.ELU])
def test_in_place_layers_leave_what_the_layer_before_keeps(layer: Any, inplace: Any) -> None:
    def passed(**options: bool) -> list[Array]:
        fastnn.manual_seed(1)
        x = numbers(4, 4)
        first = layer(4, 4) if layer is nn.Linear else layer()
        model = nn.Sequential(first, inplace(**options))
        with fastnn.fusion(False):
            y = model(x)
            result = [y, model.backward(np.ones_like(y))]
        np.testing.assert_array_equal(x, numbers(4, 4))
        return result

    for got, expected in zip(passed(inplace=True), passed(), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_the_repr_shows_inplace() -> None:
    assert repr(nn.ReLU(True)) == "ReLU(inplace=True)"
    assert repr(nn.ReLU()) == "ReLU()"
    assert repr(nn.Threshold(1, 2, True)) == "Threshold(threshold=1, value=2, inplace=True)"
    assert repr(nn.RReLU(inplace=True)).endswith(", inplace=True)")
