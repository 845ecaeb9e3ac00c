"""Passes in evaluation: within fastnn.inference() nothing is kept, and many threads may use one model."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn, train
from fastnn._core.typing import Array
from support.cases import each


class Spy(nn.Module):
    """A layer that counts how many of the arrays which it and others of one list have seen are alive."""

    def __init__(self, seen: list[weakref.ref[Array]], alive: list[int]) -> None:
        self.seen, self.alive = (seen,), (alive,)  # tuples, as copies of nothing are wanted

    def forward(self, x: Array) -> Array:
        self._saved = x
        self.seen[0].append(weakref.ref(x))
        self.alive[0].append(sum(ref() is not None for ref in self.seen[0]))
        return x + 1

    def backward(self, dy: Array) -> Array:
        return dy


class Net(nn.Module):
    """A model without a Sequential around its layers."""

    def __init__(self, *layers: nn.Module) -> None:
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Array) -> Array:
        for layer in self.layers:
            x = layer(x)
        return x

    def backward(self, dy: Array) -> Array:
        for layer in reversed(list(self.layers)):
            dy = layer.backward(dy)
        return dy


def perceptron(around: Callable[..., nn.Module] = nn.Sequential) -> nn.Module:
    """Fused groups, layers of their own, one that would write in place, and layers within layers."""
    inner = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5))
    residual = nn.Residual(nn.Sequential(nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 6)))
    return around(inner, residual, nn.Dropout(0.5, inplace=True), nn.PReLU(), nn.Softmax(), nn.Linear(6, 3))


def images() -> nn.Module:
    pools = nn.MaxPool2d(2), nn.AvgPool2d(1), nn.AdaptiveAvgPool2d(2)
    norms = nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, track_running_stats=True)
    return nn.Sequential(nn.Conv2d(2, 4, 3), *norms, nn.SiLU(), *pools, nn.Flatten(), nn.Linear(16, 3))


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "fused": (perceptron, (5, 6), "float32"),
    "custom": (lambda: perceptron(Net), (5, 6), "float32"),
    "images": (images, (2, 2, 8, 8), "float32"),
    "half": (lambda: nn.Sequential(nn.BatchNorm1d(6), nn.Tanh(), nn.SELU()), (5, 6), "float16"),
}


def data(name: str, seed: int) -> tuple[nn.Module, Array]:
    make, shape, dtype = MODELS[name]
    fastnn.manual_seed(0)
    return make(), np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@each("name", MODELS)
def test_nothing_is_kept_and_results_are_the_same(name: str) -> None:
    model, x = data(name, 1)
    model(x)  # in training: running statistics, and what it kept, must not stay
    expected = model.eval()(x)
    with fastnn.inference():
        y = model(x)
    np.testing.assert_array_equal(y, expected)
    given, result = weakref.ref(x), weakref.ref(y)
    del x, y
    assert given() is None
    assert result() is None


@each("around", [nn.Sequential, Net])
def test_what_was_read_is_freed_at_once(around: Callable[..., nn.Module]) -> None:
    seen: list[weakref.ref[Array]] = []
    alive: list[int] = []
    model = around(*(Spy(seen, alive) for _ in range(6))).eval()
    x = np.zeros(3)
    model(x)
    assert alive[-1] == 6
    seen.clear()
    alive.clear()
    with fastnn.inference():
        model(x)
    assert max(alive) == 2  # the input, and what the present layer reads


def test_backward_says_what_to_do() -> None:
    model, x = data("fused", 1)
    y = model(x)
    with fastnn.inference():
        model(x)
    for module in (model, model[0][0], model[4]):  # type: ignore[index]
        with pytest.raises(RuntimeError, match=r"needs a forward pass outside fastnn\.inference\(\): call"):
            module.backward(y)
    criterion = nn.MSELoss()
    with fastnn.inference():
        criterion(y, y)
    with pytest.raises(RuntimeError, match=r"MSELoss\.backward needs a forward pass outside"):
        criterion.backward()
    model(x)
    assert model.backward(y).shape == x.shape


def test_contexts_nest_and_hold_for_their_thread() -> None:
    layer, x = nn.Linear(2, 2), np.ones((1, 2), np.float32)

    def keeps() -> bool:
        layer(x)
        return layer._saved is x

    @fastnn.inference()
    def decorated(depth: int) -> bool:
        return keeps() or (depth > 0 and decorated(depth - 1))

    assert not decorated(2)
    with fastnn.inference():
        with fastnn.inference():
            assert not keeps()
        assert not keeps()
        with ThreadPoolExecutor(1) as other:
            assert other.submit(keeps).result()
        with pytest.raises(KeyError), fastnn.inference():
            raise KeyError
        assert not keeps()
    assert keeps()


def test_fit_says_that_it_needs_backward() -> None:
    data = np.ones((4, 2), np.float32), np.array([0, 1, 0, 1])
    with fastnn.inference(), pytest.raises(RuntimeError, match=r"^fit must be called outside fastnn.infer"):
        train.fit(nn.Linear(2, 2), data)


def test_evaluate_keeps_nothing() -> None:
    fastnn.manual_seed(0)
    model, x, y = perceptron(), np.ones((4, 6), np.float32), np.arange(4) % 3
    criterion = nn.CrossEntropyLoss()
    measured = train.evaluate(model, (x, y), loss=criterion)
    with fastnn.inference():
        assert train.evaluate(model, (x, y), loss=criterion) == measured
    train.fit(model, (x, y), validation=(x, y), epochs=1, batch_size=4)
    with pytest.raises(RuntimeError, match="outside"):
        model.backward(x)


@each("keeps", [True, False])
@each("name", MODELS)
def test_threads_share_a_model_in_evaluation(name: str, keeps: bool) -> None:
    model, _ = data(name, 0)
    model.eval()
    inputs = [data(name, seed)[1][: 1 + seed % 2] for seed in range(8)]
    expected = [model(x) for x in inputs]
    start = threading.Barrier(4)

    def run(first: int) -> list[Array]:
        start.wait()
        if keeps:
            return [model(x) for x in inputs[first::4]]
        with fastnn.inference():
            return [model(x) for x in inputs[first::4]]

    with ThreadPoolExecutor(4) as pool:
        for first, results in enumerate(pool.map(run, range(4))):
            for y, right in zip(results, expected[first::4], strict=True):
                np.testing.assert_array_equal(y, right)
    assert [layer.inplace for layer in model.modules() if type(layer) is nn.Dropout] in ([False, True], [])


@each("kind", [nn.MaxPool2d, nn.MaxPool1d, nn.AdaptiveMaxPool2d])
def test_indices_of_pooling_are_those_of_the_thread(kind: Any) -> None:
    """A switch of threads within a pass: the other thread's indices must not come back."""
    layer = kind(2, return_indices=True).eval()
    x = np.random.default_rng(0).standard_normal((1, 4, 4)).astype(np.float32)
    right = layer(x)[1]

    class Intruder(kind):  # type: ignore[misc]
        def __setattr__(self, name: str, value: object) -> None:
            if name == "_saved" and isinstance(self._saved, type(value)):
                return  # another thread has put its own there
            super().__setattr__(name, value)

    intruded = Intruder(2, return_indices=True).eval()
    intruded(-x)
    np.testing.assert_array_equal(intruded(x)[1], right)
