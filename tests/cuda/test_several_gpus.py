"""What users do with real GPUs beside plain calls: torch's tensors, threads, side streams, several GPUs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn
import fastnn.functional as functional
from fastnn import nn, optim

F: Any = functional  # whose arrays are a GPU's here, and no NumPy's
X = np.random.default_rng(0).standard_normal((64, 48)).astype(np.float32)


def results(x: Any) -> list[Any]:
    """Of a function of each kind of kernel, and a matrix product."""
    y, saved = F.layer_norm(x, (48,))
    normed, _ = F.batch_norm(x, training=True)
    return [F.gelu(x), F.softmax(x), y, F.layer_norm_backward(x, saved)[0], normed, F.linear(x, x)]


def check(x: Any, host: Callable[[Any], Any]) -> None:
    for got, expected in zip(results(x), results(X), strict=True):
        assert type(got) is type(x)
        np.testing.assert_allclose(host(got), expected, rtol=2e-5, atol=2e-5)


@pytest.fixture
def torch() -> Any:
    found = pytest.importorskip("torch")
    if not found.cuda.is_available():
        pytest.skip("no GPU that torch can use")
    return found


def in_new_thread(function: Callable[[], object]) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


@pytest.mark.gpu
def test_torch(torch: Any) -> None:
    check(torch.from_numpy(X).cuda(), lambda y: y.cpu().numpy())


@pytest.mark.gpu
def test_torch_on_a_side_stream(torch: Any) -> None:
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        check(torch.from_numpy(X).cuda(), lambda y: y.cpu().numpy())


def test_threads(cupy: Any) -> None:
    in_new_thread(lambda: np.testing.assert_array_equal(F.relu(cupy.asarray(X)).get(), F.relu(X)))


@pytest.mark.gpu
def test_threads_that_call_nothing_else(cupy: Any) -> None:
    x = cupy.asarray(X)
    in_new_thread(lambda: check(x, lambda y: y.get()))


def test_side_streams(cupy: Any) -> None:
    with cupy.cuda.Stream(non_blocking=True):
        y = F.relu(cupy.asarray(X))
        np.testing.assert_array_equal(y.get(), F.relu(X))


@pytest.fixture
def second(cupy: Any) -> Any:
    """CuPy, where there are two GPUs."""
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("needs two GPUs")
    return cupy


@pytest.mark.gpu
def test_a_gpu_that_is_not_current(second: Any) -> None:
    with second.cuda.Device(1):
        x = second.asarray(X)
    with second.cuda.Device(0):
        check(x, lambda y: y.get())
        assert all(y.device.id == 1 for y in results(x))


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["SGD", "Adam", "LAMB"])
def test_optimizers_on_a_gpu_that_is_not_current(second: Any, name: str) -> None:
    weights = []
    for device in ("cpu", "cuda:1"):
        fastnn.manual_seed(0)
        layer: Any = nn.Linear(48, 48).to(device)
        optimizer = getattr(optim, name)(layer.parameters(), lr=0.1)
        for _ in range(2):
            for parameter in layer.parameters():
                parameter.grad = parameter.data * 1
            optimizer.step()
        state = optimizer.state_dict()
        optimizer.load_state_dict(state)
        weights.append([layer.to("cpu").weight.data, layer.bias.data])
    for got, expected in zip(*weights, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
