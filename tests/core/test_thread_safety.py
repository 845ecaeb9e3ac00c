"""Functions and objects that several Python threads use at the same time: results are those of one thread."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import _kernels, nn, optim, stages
from fastnn._core.typing import Array
from support.cases import each

THREADS, ROUNDS = 4, 5


@pytest.fixture(autouse=True)
def _frequent_switches(threads: None) -> Iterator[None]:
    """With a GIL, threads take turns more often than usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """What the actions return that begin at the same time, each in a thread of its own."""
    barrier = threading.Barrier(len(actions))

    def begin(action: Callable[[], Any]) -> Any:
        barrier.wait(600)
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(begin, actions))


def bits(value: Any) -> Any:
    """The bytes of all arrays of a result."""
    if isinstance(value, (tuple, list)):
        return [bits(part) for part in value]
    return None if value is None else np.asarray(value).tobytes()


def images(size: int) -> Array:
    """One batch: of few elements, which are computed with the GIL held, or of many."""
    return np.random.default_rng(size).standard_normal((8, 4, size, size)).astype(np.float32)


W = np.random.default_rng(1).standard_normal((4, 4, 3, 3)).astype(np.float32)
B = np.linspace(0.5, 2, 4, dtype=np.float32)

FUNCTIONS: dict[str, Callable[[Array], Any]] = {
    "gelu": lambda x: F.gelu_backward(F.gelu(x), x),
    "strided": lambda x: F.silu(x[:, ::-1].T),
    "half": lambda x: F.tanh(x.astype(np.float16)),
    "softmax": lambda x: F.softmax(x, 1),
    "cross_entropy": lambda x: F.cross_entropy(x, np.zeros((len(x), *x.shape[2:]), np.int64)),
    "batch_norm": lambda x: F.batch_norm(x, B.copy(), B.copy(), B, B, training=True),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[2:]),
    "linear": lambda x: F.linear(x.reshape(8, -1), x[0].reshape(1, -1), None),
    "conv2d": lambda x: F.conv2d(x, W, B, padding=1),
    "conv2d_backward": lambda x: F.conv2d_backward(F.conv2d(x, W), x, W),
    "max_pool2d": lambda x: F.max_pool2d(x, 2),
    "dropout": lambda x: F.dropout(x, 0.3, key=fastnn.Key(1, 2)),
    "rrelu": lambda x: F.rrelu(x, training=True, key=fastnn.Key(1, 2)),
}


@each("size", [4, 32])
def test_functions(size: int) -> None:
    x = images(size)
    expected = [bits(function(x)) for function in FUNCTIONS.values()]

    def call(number: int) -> bool:
        right = True
        order = np.roll(np.arange(len(expected)), number)  # each thread begins with another function
        for round_ in range(ROUNDS):
            fastnn.set_num_threads(1 + (number + round_) % 3)
            for at in order:
                right &= bits([*FUNCTIONS.values()][at](x)) == expected[at]
        return right

    assert all(at_once(*(lambda n=n: call(n) for n in range(THREADS))))


def network() -> nn.Sequential:
    block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
    first = [nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5)]
    second = [nn.Residual(block), nn.LeakyReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)]
    return nn.Sequential(*first, *second)


def test_one_model_in_evaluation() -> None:
    """The threads make the first passes of each model, so its plan too, and one reads it meanwhile."""
    x = images(8)
    state = network().state_dict()
    expected = None
    for _ in range(3 * ROUNDS):
        model = network().eval()
        model.load_state_dict(state)
        reader = [lambda model=model: model.eval().state_dict() and [*model.parameters()] and None]

        def infer(model: nn.Module = model) -> Array:
            with fastnn.inference():
                return model(x)

        results = at_once(*[lambda model=model: model(x)] * THREADS, infer, infer, *reader)
        assert results.pop() is None
        expected = expected or bits(results[0])
        assert [bits(y) for y in results] == [expected] * len(results)


def test_a_fused_chain() -> None:
    chain = fastnn.fuse(stages.BatchNorm(), stages.Activation("relu"), stages.Dropout(0.5))

    def passes() -> Any:
        done = []
        for size in (4, 32) * ROUNDS:
            x = images(size)
            y, saved = chain.forward(x, weight=B, bias=B, key=fastnn.Key(3, 4))
            done.append((y, *chain.backward(x, saved)))
        return bits(done)

    expected = passes()
    assert at_once(*[passes] * THREADS) == [expected] * THREADS


@each("rule", [optim.SGD, optim.Adam, optim.LAMB, optim.LARS])
def test_an_optimizer_for_each_thread(rule: type[Any]) -> None:
    """They read the same gradients, and each has parameters of its own."""
    gradients = [images(size) for size in (4, 32)]

    def train() -> Any:
        parameters = [nn.Parameter(gradient + 1) for gradient in gradients]
        optimizer = rule(parameters, lr=0.1)
        for _ in range(ROUNDS):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            nn.utils.clip_grad_norm_(parameters, 1e9)
            optimizer.step()
        return bits([parameter.data for parameter in parameters])

    expected = train()
    assert at_once(*[train] * THREADS) == [expected] * THREADS


@each("generator", [None, fastnn.Generator(3)])
def test_threads_never_draw_the_same_numbers(generator: fastnn.Generator | None) -> None:
    count = 200
    source = fastnn.manual_seed(5) if generator is None else generator
    first = source.get_state()

    def draw() -> list[fastnn.Key]:
        if generator is None:
            return [fastnn.random.given_or_next(None) for _ in range(count)]
        return [source.key() if i % 2 else source.take(1) for i in range(count)]

    keys = [key for part in at_once(*[draw] * THREADS) for key in part]
    offset = first.offset
    assert sorted(keys) == [fastnn.Key(first.seed, offset + i) for i in range(THREADS * count)]


def test_training_on_threads() -> None:
    """Each with a model and an optimizer of its own: the result is that of training alone."""

    def train() -> Any:
        model = network()
        generator = np.random.default_rng(0)
        for parameter in model.parameters():
            parameter.data[...] = generator.standard_normal(parameter.data.shape) / 8
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.generator = fastnn.Generator(7)
        optimizer = optim.Adam(model.parameters(), lr=0.01)
        for _ in range(ROUNDS):
            _, dlogits = F.cross_entropy(model(images(8)), np.arange(8) % 3)
            optimizer.zero_grad()
            model.backward(dlogits)
            optimizer.step()
        return bits([parameter.data for parameter in model.parameters()])

    expected = train()
    assert at_once(*[train] * THREADS) == [expected] * THREADS


def test_what_belongs_to_a_thread_says_so() -> None:
    x = images(4)
    chain = _kernels.Chain(False, 8, 4, 16, False)
    tensors = _kernels.Tensors(2)
    calls: list[Callable[[], Any]] = [
        lambda: chain.forward(x, x),
        lambda: chain.backward(x, x, x, None, None),
        lambda: chain.scale(False, None, None, None, None, None),
        lambda: chain.activate(0, 0.0, 0.0),
        lambda: chain.add(None, None),
        lambda: tensors.add((x,)),
        lambda: tensors.reduce(_kernels.SQUARES),
        lambda: tensors.update(_kernels.find_rule("scale"), (False, 0.0, 0.0, 0.0), (1.0,)),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="must be called by the thread that made it"):
            at_once(call)


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="a Python with a GIL")
def test_import_leaves_the_gil_off() -> None:
    code = "import sys, fastnn.nn, fastnn.optim, fastnn.train; print(sys._is_gil_enabled())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
