"""nn.summary, the numbers of parameters, and what a Parameter says of its array."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn
from fastnn._core.typing import Array

TABLE = """\
layer                   output shape    parameters
--------------------------------------------------
Sequential              (4, 10)                  -
  0: Conv2d             (4, 8, 30, 30)         224
  1: BatchNorm2d        (4, 8, 30, 30)          16
  2: ReLU               (4, 8, 30, 30)           -
  3: Residual           (4, 8, 30, 30)           -
    branch: Sequential  (4, 8, 30, 30)           -
      0: Conv2d         (4, 8, 30, 30)          72
  4: MaxPool2d          (4, 8, 15, 15)           -
  5: Flatten            (4, 1800)                -
  6: Dropout            (4, 1800)                -
  7: Linear             (4, 10)             18,010

parameters: 18,322 (18,098 trained), 71.6 KiB
memory of a pass: 48.0 KiB of input, 534.5 KiB of layers' results"""


def network() -> nn.Sequential:
    fastnn.manual_seed(0)
    residual = nn.Residual(nn.Sequential(nn.Conv2d(8, 8, 1)))
    convolutions = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), residual
    model = nn.Sequential(
        *convolutions, nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(8 * 15 * 15, 10)
    )
    model[0].requires_grad_(False)
    return model


def test_the_table() -> None:
    assert nn.summary(network(), (4, 3, 32, 32)) == TABLE


def test_everything_stays_as_it_was() -> None:
    """A pass whose backward is still to come, modes, buffers, hooks and generators."""
    model = nn.Sequential(
        nn.FractionalMaxPool2d(2, 3), nn.BatchNorm2d(1), nn.ReLU(), nn.Dropout(0.5), nn.Flatten()
    )
    model.append(nn.Linear(9, 2))
    model[1].eval()
    seen: list[Any] = []
    model[4].register_forward_hook(lambda *given: seen.append(given))
    x = np.random.default_rng(0).standard_normal((3, 1, 6, 6)).astype(np.float32)

    def rest_of_the_pass(summarised: bool) -> list[Array]:
        fastnn.manual_seed(1)
        own = copy.deepcopy(model)
        y = own(x)
        if summarised:
            before = len(seen), fastnn.random.default_generator().get_state()
            nn.summary(own, (5, 1, 6, 6))
            assert (len(seen), fastnn.random.default_generator().get_state()) == before
        own.backward(y)
        gradients = [parameter.grad for parameter in own.parameters() if parameter.grad is not None]
        assert len(gradients) == 4
        assert [module.training for module in own] == [True, False, True, True, True, True]
        return [*gradients, *own.buffers(), own(x)]

    for ours, right in zip(rest_of_the_pass(True), rest_of_the_pass(False), strict=True):
        np.testing.assert_array_equal(ours, right)
    bad = network()
    with pytest.raises(ValueError, match=r"^Sequential\[0\] Conv2d: input must have 3 channels"):
        nn.summary(bad, (1, 1, 32, 32))
    assert bad.training
    assert "forward" not in vars(bad)


def test_dtypes_and_modules_without_a_result() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.used = self.used_again = nn.Linear(2, 2, dtype=np.float64)
            self.unused = nn.PReLU()

        def forward(self, x: Array) -> Array:
            assert x.dtype == np.float64
            return self.used(x)

    lines = nn.summary(Net(), (1, 2)).splitlines()
    assert [line.split()[-1] for line in lines[2:6]] == ["-", "6", "-", "1"]
    assert lines[7] == "parameters: 7 (7 trained), 52 bytes"
    assert lines[8] == "memory of a pass: 16 bytes of input, 16 bytes of layers' results"
    assert "(3,)" in nn.summary(nn.Identity(), (3,), dtype=np.int64)


def test_numbers_of_parameters() -> None:
    model = network()
    numbers = [model.num_parameters(trainable) for trainable in (None, True, False)]
    assert numbers == [18322, 18098, 224]
    assert nn.Sequential(nn.PReLU(3)).num_parameters() == nn.PReLU(3).num_parameters == 3


def test_what_a_parameter_says_of_its_array() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    weight: nn.Parameter = model[0].weight  # a type checker takes any attribute of a layer by its number
    assert (weight.shape, weight.ndim, weight.size, weight.dtype) == ((2, 3), 2, 6, np.float32)
    np.testing.assert_array_equal(weight.T, weight.data.T)
    assert np.shares_memory(weight.T, weight.data)
    assert nn.ModuleList(model)[0].weight is nn.ModuleDict({"a": model[0]})["a"].weight
