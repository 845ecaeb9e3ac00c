"""A loss that is not finite, or too large: the message names the epoch, step, layer and learning rate."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim, train
from fastnn._core.typing import Array
from fastnn.train.divergence import DivergenceTest

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 6), np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


class Spoil(nn.Module):
    """Hands on what it gets, but from pass number `at` on with a NaN: in forward or in backward."""

    def __init__(self, at: int, forward: bool) -> None:
        self.at, self.spoils_forward, self.passes = at, forward, 0

    def forward(self, x: Array) -> Array:
        self.passes += self.training
        return self._spoilt(x) if self.spoils_forward else x

    def backward(self, dy: Array) -> Array:
        return dy if self.spoils_forward else self._spoilt(dy)

    def _spoilt(self, array: Array) -> Array:
        array = array.copy()
        if self.passes >= self.at:
            array[0, 1] = np.nan
        return array


def network(middle: nn.Module) -> nn.Sequential:
    fastnn.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Sequential(middle, nn.Linear(5, 4)), nn.Linear(4, 2))


def diverged(model: nn.Module, x: Array = X, lr: float = 0.05, **options: Any) -> train.Diverged:
    optimizer = optim.SGD(model.parameters(), lr=lr)
    with pytest.raises(train.Diverged) as caught:
        train.fit(model, (x, Y), optimizer=optimizer, batch_size=10, epochs=5, **options)
    assert isinstance(caught.value, FloatingPointError)
    return caught.value


def test_a_forward_pass() -> None:
    error = diverged(network(Spoil(at=7, forward=True)))
    assert (error.epoch, error.step, error.layer, error.lr) == (2, 7, "2.0", 0.05)
    assert str(error) == (
        "the loss became nan in epoch 2, step 7: the first value that is not finite is in the output of layer"
        " '2.0' (Spoil) (1 NaN and 0 infinite of 50); learning rate 0.05: try a lower one"
    )


def test_layers_that_are_fused() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Exp(), nn.Exp(), nn.LeakyReLU(), nn.Linear(5, 2))
    assert "fused: 1 to 4" in repr(model)
    assert diverged(model, 20 * X).layer == "3"


def test_a_backward_pass_shows_in_the_next_step() -> None:
    error = diverged(network(Spoil(at=7, forward=False)))
    assert (error.epoch, error.step, error.layer) == (2, 8, "0")
    assert "was in the gradient of bias of layer '0' (Linear), in the backward pass before (1 NaN" in str(
        error
    )


class Overflow(train.Callback):
    def on_step(self, trainer: train.Trainer) -> None:
        if trainer.step == 3:
            next(iter(trainer.model.parameters())).data[2, 3] = np.nan


def test_a_parameter() -> None:
    error = diverged(network(nn.Tanh()), callbacks=[Overflow()])
    assert (error.epoch, error.step, error.layer) == (1, 4, "0")
    text = "is in weight of layer '0' (Linear), since the step before (1 NaN and 0 infinite of 30)"
    assert text in str(error)


def test_the_input() -> None:
    x = X.copy()
    x[17, 2] = np.nan
    x[31] = np.inf
    error = diverged(network(nn.Tanh()), x)
    assert (error.epoch, error.layer) == (1, "")
    assert re.fullmatch(
        r"the loss became (nan|inf) in epoch 1, step \d: data: x must be finite, got NaN or infinities in 2"
        r" of 40 rows, the first at x\[17, 2\]",
        str(error),
    )


def test_the_target() -> None:
    y = X[:, :2].copy()
    y[23, 1] = np.nan
    model = network(nn.Tanh())
    with pytest.raises(train.Diverged, match=r"in 1 of 40 rows, the first at y\[23, 1\]$"):
        train.fit(model, (X, y), loss="mse_loss", batch_size=10)


def test_a_large_learning_rate() -> None:
    error = diverged(network(nn.ReLU()), lr=1e4)
    assert error.epoch == 1
    assert ", above 3 times its first value, " in str(error)
    assert "all outputs are finite, the largest, " in str(error)
    assert str(error).endswith("learning rate 10000: try a lower one")
    number = r"([0-9.e+]+)"
    recent, first = re.findall(f"samples {number}, above 3 times its first value, {number},", str(error))[0]
    assert float(recent) > 3 * float(first)


def test_the_factor_is_an_argument() -> None:
    error = diverged(network(nn.ReLU()), lr=1e4, divergence=float("inf"))
    assert "the loss became" in str(error)
    assert "times its first" not in str(error)
    error = diverged(network(nn.ReLU()), lr=0.01, divergence=0.5)
    assert "above 0.5 times its first value" in str(error)


def test_a_loss_that_begins_at_zero_or_below_has_no_factor() -> None:
    def loss(output: Array, target: Array) -> tuple[float, Array]:
        values.append(len(values) - 9.0)
        return values[-1], np.zeros_like(output)

    values: list[float] = []
    history = train.fit(network(nn.ReLU()), (X, Y), loss=loss, batch_size=10, epochs=2)
    assert len(history) == 2


def alarms(losses: list[float], samples: int) -> list[int]:
    """Which of these batches' losses would stop training, if it went on."""
    divergence = DivergenceTest(3.0)
    return [index for index, loss in enumerate(losses) if divergence.too_large(loss, samples)]


def test_large_batches_are_compared_with_the_first() -> None:
    assert alarms([2.0, 5.9, 6.1, 2, float("nan"), 2], 256)[:2] == [2, 4]


def test_small_batches_are_compared_by_their_mean() -> None:
    steady = [0.01, 0.9, 0.02, 0.0, 0.3, *[0.01, 0.0, 0.8, 0.05] * 20]
    assert alarms(steady, 1) == []
    assert alarms([0.01, *[0.05] * 200], 32) == []  # the first batch was a lucky one
    assert alarms([2.3, 2.1, 1e5], 32) == [2]
    late = alarms([*[1.0] * 100, *[4.0] * 100], 32)
    assert 100 < late[0] < 120
    assert late == [*range(late[0], 200)]


def test_the_validation() -> None:
    x = X.copy()
    x[3, 1] = np.inf
    error = diverged(network(nn.ReLU()), validation=(x, Y))
    assert (error.epoch, error.step) == (1, 4)
    assert "the loss of the validation became nan in epoch 1, step 4: validation: x must" in str(error)
    assert str(error).endswith("in 1 of 40 rows, the first at x[3, 1]")


class Suspicious(nn.Dropout):
    """Overflows where the first element is dropped."""

    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        return np.where(y[0, 0] == 0, np.float32(np.inf), np.float32(1)) * np.ones_like(y)

    def backward(self, dy: Array) -> Array:
        return dy


def test_the_batch_is_computed_again_with_the_same_dropout() -> None:
    """Also with a generator of the layer's own; otherwise three of four would not find it."""
    for seed in range(8):
        for generator in (None, fastnn.Generator(seed)):
            fastnn.manual_seed(seed)
            spoils = Suspicious(0.25, generator=generator)
            model = nn.Sequential(nn.Linear(6, 5), nn.Sigmoid(), spoils, nn.Linear(5, 2))
            assert diverged(model, divergence=1e9).layer == "2"


def test_hooks_are_gone_afterwards() -> None:
    model = network(nn.ReLU())
    shown = repr(model)
    diverged(model, lr=1e4)
    assert repr(model) == shown
    assert not any("forward" in vars(module) for module in model.modules())
