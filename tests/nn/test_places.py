"""An error within a model names the layer that it comes from."""

from __future__ import annotations

import re
import traceback
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastnn import nn, train
from fastnn._core.typing import Array
from support.cases import each

X = np.ones((4, 5), np.float32)


class Net(nn.Module):
    """A model of one's own: children by name, in a ModuleList, in a Sequential."""

    def __init__(self, features: int = 4, normalised: int = 4) -> None:
        self.hidden = nn.Linear(5, 4)
        self.layers = nn.ModuleList([nn.Linear(features, 4)])
        self.block = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(normalised), nn.ReLU())

    def forward(self, x: Array) -> Array:
        y: Array = self.block(self.layers[0](self.hidden(x)))
        return y

    def backward(self, dy: Array) -> Array:
        return self.hidden.backward(self.layers[0].backward(self.block.backward(dy)))


class Refusing(nn.Module):
    """Raises what it is given, in the pass of this name."""

    def __init__(self, error: Exception, where: str = "forward") -> None:
        self.error, self.where = error, where

    def forward(self, x: Array) -> Array:
        if self.where == "forward":
            raise self.error
        return x

    def backward(self, dy: Array) -> Array:
        raise self.error


def refuse(*given: Any) -> None:
    raise ValueError("no")


def hooked(method: str) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(5, 4), nn.Identity())
    register = model[1].register_forward_hook if method == "forward" else model[1].register_full_backward_hook
    register(refuse)
    return model


def linears(*features: tuple[int, int]) -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(*sizes) for sizes in features))


FORWARD: list[tuple[nn.Module, str]] = [
    (nn.Linear(4, 4), "Linear: x must have shape (4, 4), got (4, 5)"),
    (linears((5, 3), (4, 4)), "Sequential[1] Linear: x must have shape (4, 4), got (4, 3)"),
    (nn.Sequential(linears((5, 3), (4, 4))), "Sequential[0][1] Linear: x must have shape"),
    (nn.Sequential(OrderedDict(first=nn.Linear(6, 4))), "Sequential.first Linear: x must have shape"),
    (nn.Sequential(nn.ReLU(), nn.Flatten(2, 1)), "Sequential[1] Flatten: "),
    (Net(features=3), "Net.layers[0] Linear: x must have shape (4, 3), got (4, 4)"),
    (Net(normalised=9), "Net.block[1] BatchNorm1d: x must have shape (N, C)"),  # in a fused group
    (nn.Sequential(Net(normalised=9)), "Sequential[0].block[1] BatchNorm1d: x must have shape (N, C)"),
    (nn.Sequential(nn.Residual(nn.Linear(4, 4))), "Sequential[0].branch Linear: x must have shape"),
    (nn.Residual(nn.Linear(5, 4)), "Residual: branch and shortcut must return the same shape"),
    (nn.Sequential(nn.GELU(), Refusing(ValueError("no"))), "Sequential[1] Refusing: no"),
    (hooked("forward"), "Sequential[1] Identity: no"),
]


@each(("model", "message"), FORWARD)
def test_in_forward(model: nn.Module, message: str) -> None:
    with pytest.raises((ValueError, IndexError), match="^" + re.escape(message)) as caught:
        model(X)
    assert len(caught.value.args) == 1
    assert traceback.extract_tb(caught.tb)[-1].name not in ("__call__", "name_place")


def test_in_a_fused_chain() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Tanh())
    model[0].forward = lambda x: np.array(["a"])  # as a layer of one's own may do
    with pytest.raises(TypeError, match=r"^Sequential\[1\] ReLU: input must be an array of float16"):
        model(X)


BACKWARD: list[tuple[Callable[[], nn.Module], str]] = [
    (lambda: linears((5, 3), (3, 4)), "Sequential[1] Linear: dy must have shape (4, 4), got (4, 2)"),
    (lambda: nn.Sequential(linears((5, 4))), "Sequential[0][0] Linear: dy must have shape"),
    (lambda: nn.Residual(linears((5, 5))), "Residual.branch[0] Linear: dy must have shape"),
    (Net, "Net.block[2] ReLU: dy must have the shape of forward's result, (4, 4), got (4, 2)"),
    (lambda: nn.Sequential(Net()), "Sequential[0].block[2] ReLU: dy must have the shape of forward's"),
    (lambda: nn.Sequential(Refusing(ValueError("no"), "backward")), "Sequential[0] Refusing: no"),
]


@each(("make", "message"), BACKWARD)
def test_in_backward(make: Callable[[], nn.Module], message: str) -> None:
    model = make()
    model(X)
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        model.backward(np.ones((4, 2), np.float32))


def test_in_a_hook_after_backward() -> None:
    model = hooked("backward")
    with pytest.raises(ValueError, match=r"^Sequential\[1\] Identity: no$"):
        model.backward(model(X))


def test_without_a_forward_pass() -> None:
    model = Net()
    model(X)
    model.layers[0]._saved = None
    with pytest.raises(RuntimeError, match=r"^Net\.layers\[0\] Linear\.backward needs a forward pass first"):
        model.backward(X[:, :4])


class TwoParts(Exception):  # noqa: N818
    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)


class OwnText(Exception):  # noqa: N818
    def __str__(self) -> str:
        return f"code {self.args[0]}"


@each(
    "error",
    [
        *(TwoParts(3, "text"), OSError(2, "no such file", "a.txt"), np.exceptions.AxisError("bad axis")),
        *(KeyError("weight"), KeyError(3), OwnText("E1"), AssertionError()),
    ],
)
def test_errors_of_other_forms_keep_it_and_get_one_note(error: Exception) -> None:
    before = str(error), error.args
    model: Any = nn.Sequential(nn.Residual(nn.Sequential(Refusing(error))))
    for _ in range(2):  # raised again, it says it once
        with pytest.raises(type(error)) as caught:
            model(X)
        assert caught.value is error
        assert (str(error), error.args) == before
        assert error.__notes__ == ["in Sequential[0].branch[0] Refusing"]


def test_in_fit_too() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(3, 2))
    with pytest.raises(
        ValueError, match=r"^Sequential\[1\] Linear: x must have shape \(4, 3\), got \(4, 4\)"
    ):
        train.fit(model, (X, np.zeros(4, int)))
