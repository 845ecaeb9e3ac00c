"""A graph that is captured once and replayed makes the steps that a program without it makes, bit for bit.

Without a GPU, the launches of the block are kept and made again: what a graph does, with the arguments that
they had. On a GPU CuPy captures.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import nn, optim
from fastnn._core import products
from fastnn._core.typing import Array
from fastnn.cuda import Graph
from fastnn.random import Generator, Key

column_sums: Any = products.column_sums


class _Capture:
    """What a graph does, by keeping calls: those that a device would do in the stream's order.

    What CuPy and cuBLAS refuse while a stream is captured is refused here, too.
    """

    def __init__(self) -> None:
        self.stream: Any = None
        self.kept: list[Callable[[], None]] = []

    def ordered(self, function: Callable[..., None]) -> Callable[..., None]:
        """The function, which is kept while a stream is captured."""

        def call(*args: Any) -> None:
            if self.stream is None:
                function(*args)
            else:
                self.kept.append(lambda: function(*args))

        return call

    def refused(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which raises while a stream is captured."""

        def call(*args: Any, **kwargs: Any) -> Any:
            if self.stream is not None:
                raise NotImplementedError(f"{function.__name__} while a stream is captured")
            return function(*args, **kwargs)

        return call

    def begin(self, stream: Any) -> None:
        self.stream, self.kept = stream, []

    def end(self, stream: Any) -> Any:
        assert self.stream is stream
        self.stream, kept = None, self.kept

        def launch(stream: Any) -> None:
            for call in kept:
                call()

        return SimpleNamespace(launch=launch)


@pytest.fixture
def gpu(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """CuPy, and a stand-in that captures."""
    if cupy.__name__ == "cupy":
        return cupy
    from fastnn.cuda._runtime import launch
    from support import host_cublas

    capture, array = _Capture(), cupy.ndarray
    in_order = (
        (launch, "launch"),
        (array, "fill"),
        (array, "__setitem__"),
        *((host_cublas, name) for name in ("set_stream", "set_workspace", "gemm_ex")),
    )
    for place, name in in_order:
        monkeypatch.setattr(place, name, capture.ordered(getattr(place, name)))
    for place, name in ((array, "get"), (array, "item"), (cupy, "_new"), (host_cublas, "create")):
        monkeypatch.setattr(place, name, capture.refused(getattr(place, name)))
    for name, function in (
        ("begin_capture", lambda stream: capture.begin(stream)),
        ("end_capture", lambda stream: capture.end(stream)),
        ("is_capturing", lambda stream: stream is capture.stream),
        ("record", lambda stream: None),
        ("wait_event", lambda stream, event: None),
    ):
        monkeypatch.setattr(cupy.cuda.Stream, name, function, raising=False)
    return cupy


def draws(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


class Model:
    """Two dropouts, of elements and of channels, and an optimizer that takes their results for gradients."""

    def __init__(self, array: Any, name: str, options: dict[str, Any]) -> None:
        self.x = array(draws((6, 5, 4, 3), 0))
        self.generator = Generator(9)
        self.parameters = [nn.Parameter(array(draws((6, 5, 4, 3), i))) for i in (1, 2)]
        self.optimizer = getattr(optim, name)(self.parameters, **{"lr": 0.1, **options})

    def step(self) -> Any:
        keys = self.generator.key(), self.generator.key(), Key(3, 4)
        y = F.dropout2d(F.dropout(self.x, key=keys[0]), key=keys[1])
        for parameter, key in zip(self.parameters, keys[1:], strict=True):
            parameter.grad = F.dropout_backward(y, key=key)
        self.optimizer.step()
        return y

    def weights(self) -> list[Array]:
        return [p.data if isinstance(p.data, np.ndarray) else p.data.get() for p in self.parameters]


# radam's first steps are another rule; the trust ratios are made on the GPU; all numbers of nadam change.
CASES = [
    ("SGD", {"momentum": 0.9, "dampening": 0.1}),
    ("Adam", {"amsgrad": True, "decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("RAdam", {"betas": (0.5, 0.9)}),
    ("NAdam", {}),
    ("LAMB", {"weight_decay": 0.1}),
    ("LARS", {"max_norm": 1.5, "l1": 0.01}),
]


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_a_replayed_graph_makes_the_same_steps(gpu: Any, name: str, options: dict[str, Any]) -> None:
    eager, replayed = Model(np.array, name, options), Model(gpu.array, name, options)
    for model in (eager, replayed):
        model.step()
    graph = Graph()
    with graph.capture():
        y = replayed.step()
    expected = eager.step()
    for turn in range(8):
        np.testing.assert_array_equal(y.get(), expected)
        np.testing.assert_allclose(replayed.weights(), eager.weights(), rtol=5e-7)
        assert replayed.generator.get_state() == eager.generator.get_state()
        for model in (eager, replayed):
            model.optimizer.param_groups[0]["lr"] = 0.1 / (turn + 1)
        if turn == 3:  # between replays all goes its own way
            for model in (eager, replayed):
                model.generator.key()
                model.step()
        if turn == 5:
            for model in (eager, replayed):
                model.generator.manual_seed(77)
        expected = eager.step()
        graph.replay()
    states = [model.optimizer.state_dict()["state"] for model in (eager, replayed)]
    assert [state["step"] for state in states[1].values()] == [11, 11]
    assert [state["step"] for state in states[0].values()] == [11, 11]


def test_a_key_that_the_user_keeps_is_kept(gpu: Any) -> None:
    x = gpu.array(draws((1000,), 0))
    key = Generator(5).key()
    graph = Graph()
    with graph.capture():
        y: Any = F.dropout(x, key=key)
    for _ in range(2):
        np.testing.assert_array_equal(y.get(), F.dropout(x.get(), key=key))
        graph.replay()


def test_chains_draw_anew(gpu: Any) -> None:
    """In memory's order, and with the channels last."""
    for shape in ((4, 5, 6, 8), (4, 6, 8, 5)):
        x = draws(shape, 0)
        model = nn.Sequential(nn.BatchNorm2d(5), nn.ReLU(), nn.Dropout(0.4))
        last = shape[1] != 5
        eager_x = x.transpose(0, 3, 1, 2) if last else x
        device_x = gpu.array(x).transpose(0, 3, 1, 2) if last else gpu.array(x)
        fastnn.manual_seed(1)
        expected = [np.array(model(eager_x)) for _ in range(4)]
        on_device = nn.Sequential(nn.BatchNorm2d(5), nn.ReLU(), nn.Dropout(0.4)).to("cuda")
        fastnn.manual_seed(1)
        on_device(device_x)
        graph = Graph()
        with graph.capture():
            y: Any = on_device(device_x)
        for each in expected[1:]:
            np.testing.assert_allclose(y.get(), each, rtol=1e-6, atol=1e-6)
            graph.replay()


class Network:
    """A step of training with convolution, matrix products and their biases."""

    def __init__(self, gpu: Any) -> None:
        fastnn.manual_seed(3)
        layers = nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 5 * 4, 7), nn.ReLU()
        self.model: Any = nn.Sequential(*layers, nn.Linear(7, 5, bias=False)).to("cuda")
        self.optimizer = optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.x, self.labels = gpu.array(draws((6, 2, 5, 4), 0)), gpu.array(np.arange(6) % 5)

    def step(self) -> Any:
        logits = self.model(self.x)
        loss, dlogits = F.cross_entropy(logits, self.labels)
        self.optimizer.zero_grad()
        self.model.backward(dlogits)
        self.optimizer.step()
        return loss

    def weights(self) -> list[Array]:
        return [parameter.data.get() for parameter in self.model.parameters()]


def test_matrix_products(gpu: Any) -> None:
    eager, replayed = Network(gpu), Network(gpu)
    for network in (eager, replayed):
        network.step()
    graph = Graph()
    with graph.capture():
        loss = replayed.step()
    for turn in range(3):
        expected = eager.step()
        np.testing.assert_array_equal(loss.get(), expected.get())
        for weight, other in zip(replayed.weights(), eager.weights(), strict=True):
            np.testing.assert_array_equal(weight, other)
        for network in (eager, replayed):
            network.x[...] = gpu.array(draws(network.x.shape, turn + 1))
        graph.replay()


def test_a_capture_that_fails_leaves_nothing_unfilled(gpu: Any) -> None:
    x = gpu.array(np.ones((23, 4), np.float32))
    column_sums(x[:22])

    def fail() -> None:
        with Graph().capture():
            column_sums(x)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    np.testing.assert_array_equal(column_sums(x).get(), np.full((1, 4), 23))


def test_random_slopes_are_drawn_anew(gpu: Any) -> None:
    x, dy = draws((1000,), 0), draws((1000,), 1)

    def step(generator: Generator, dy: Any, x: Any) -> tuple[Any, Any]:
        key = generator.key()
        return F.rrelu(x, training=True, key=key), F.rrelu_backward(dy, x, training=True, key=key)

    generators, there = (Generator(4), Generator(4)), (gpu.array(dy), gpu.array(x))
    graph = Graph()
    with graph.capture():
        results = step(generators[0], *there)
    for _ in range(3):
        for result, expected in zip(results, step(generators[1], dy, x), strict=True):
            np.testing.assert_array_equal(result.get(), expected)
        graph.replay()


def test_averages(gpu: Any) -> None:
    averages = []
    for array in (np.array, gpu.array):
        parameter = nn.Parameter(array(draws((9,), 1)))
        average = optim.ExponentialMovingAverage([parameter], warm_up=True)
        graph = Graph()
        for step in range(4):
            parameter.data *= 1.5
            if array is np.array or step == 0:
                average.update()
            elif step == 1:
                with graph.capture():
                    average.update()
            else:
                graph.replay()
        averages.append(average.state_dict())
    assert averages[0]["updates"] == averages[1]["updates"] == 4
    np.testing.assert_allclose(averages[1]["averages"][0], averages[0]["averages"][0], rtol=2e-7)


def test_errors(gpu: Any) -> None:
    model = Model(gpu.array, "RMSprop", {})
    graph = Graph()
    with pytest.raises(RuntimeError, match="the graph is empty: capture a step first"):
        graph.replay()
    with pytest.raises(RuntimeError, match="make it before the graph is captured"), graph.capture():
        model.step()
    model.step()
    with graph.capture(), pytest.raises(RuntimeError, match="being captured already"), Graph().capture():
        pass
    with graph.capture():
        model.step()
    model.optimizer.param_groups[0]["momentum"] = 0.5
    with pytest.raises(RuntimeError, match=r"captured with .*rmsprop.*rmsprop_momentum.*: capture it again"):
        graph.replay()


def test_pooling_by_regions(gpu: Any) -> None:
    x: Any = gpu.array(draws((2, 3, 12, 12), 0))
    size = 11, 5  # in no other test
    message = "copies its regions to the GPU: call it once before the graph is captured"
    with pytest.raises(RuntimeError, match=message), Graph().capture():
        F.adaptive_avg_pool2d(x, size)
    expected: Any = F.adaptive_avg_pool2d(x, size)[0]
    graph = Graph()
    with graph.capture():
        y: Any = F.adaptive_avg_pool2d(x, size)[0]
    np.testing.assert_array_equal(y.get(), expected.get())
    with pytest.raises(RuntimeError, match="fractional_max_pool2d draws on the CPU"), Graph().capture():
        F.fractional_max_pool2d(x, 2, 5, key=Key(1, 2))
