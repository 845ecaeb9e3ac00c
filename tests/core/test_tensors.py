"""Tensors of other libraries in fastnn.functional: the results of arrays, on the same memory, as tensors.

A small class with DLPack stands for a library, so that all is tested where torch is not installed.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import FunctionType, SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import Key, _kernels
from fastnn._core import dispatch
from fastnn._core.typing import Array
from support.cases import each
from support.documents import ROOT

FUNCTIONS = [name for name in F.__all__ if isinstance(getattr(F, name), FunctionType)]
NO_ARRAYS = ["dropout_mask"]


class Standin:
    """A tensor of a library that has nothing but the array API's way to exchange memory."""

    def __init__(self, array: Array, device: int = 1) -> None:
        self.array, self.shape, self.ndim = array, array.shape, array.ndim
        self.device = device

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device, 0

    def __array_namespace__(self) -> Any:
        return SimpleNamespace(from_dlpack=lambda array: Standin(np.from_dlpack(array)))


@dataclass(frozen=True)
class Library:
    """How a library's tensors are made from arrays, and looked at, without a copy."""

    kind: type
    wrap: Callable[[Array], Any]
    look: Callable[[Any], Array]


@pytest.fixture(params=["stand-in", "torch"])
def library(request: pytest.FixtureRequest) -> Library:
    if request.param == "stand-in":
        return Library(Standin, Standin, lambda tensor: np.asarray(tensor.array))
    torch = pytest.importorskip("torch")
    return Library(torch.Tensor, torch.from_numpy, lambda tensor: np.asarray(tensor.numpy()))


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def normal(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


# ---- every function ----------------------------------------------------------------------------------------

POOLS = ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "fractional_max_pool2d")
LINES = ("max_pool1d", "avg_pool1d")
SHAPES = {
    "dropout2d": (2, 4, 3, 3),
    "dropout3d": (2, 4, 3, 3, 3),
    "conv2d": (2, 8, 6, 6),
    "conv1d": (2, 8, 6),
    **dict.fromkeys(POOLS, (2, 4, 6, 6)),
    **dict.fromkeys(LINES, (2, 4, 6)),
}
OUTPUTS = {
    "glu": (4, 8, 3),
    "swiglu": (4, 8, 3),
    "maxout": (4, 4, 6),
    "conv2d": (2, 8, 4, 4),
    "conv1d": (2, 8, 4),
    "embedding": (4, 6),
    "linear": (4, 8, 8),
    **dict.fromkeys(POOLS, (2, 4, 3, 3)),
    **dict.fromkeys(LINES, (2, 4, 3)),
}
WEIGHTS = {"conv2d": (8, 8, 3, 3), "conv1d": (8, 8, 3), "embedding": (8, 6), "linear": (8, 6)}
LABELS = ("cross_entropy", "hinge_loss", "nll_loss")
BY_ELEMENT = ("layer_norm", "rms_norm", "binary_cross_entropy_with_logits", "binary_cross_entropy")
PARAMETERS: dict[str, dict[str, Any]] = {
    "threshold": {"threshold": 0.1, "value": 2.0},
    "maxout": {"k": 2},
    "layer_norm": {"normalized_shape": (6,)},
    "rms_norm": {"normalized_shape": (6,)},
    "group_norm": {"num_groups": 2},
    "batch_norm": {"training": True},
    "rrelu": {"training": True},
    "max_pool2d": {"kernel_size": 2},
    "avg_pool2d": {"kernel_size": 2},
    "adaptive_avg_pool2d": {"output_size": 3},
    "adaptive_max_pool2d": {"output_size": 3},
    "max_pool1d": {"kernel_size": 2},
    "avg_pool1d": {"kernel_size": 2},
    "binary_cross_entropy": {"input": np.linspace(0, 1, 192, dtype=np.float32).reshape(4, 8, 6)},
    "embedding": {"input": np.array([1, 0, 7, 1]), "num_embeddings": 8},
    "fractional_max_pool2d": {"kernel_size": 2, "output_size": 3},
}


def arguments(name: str) -> dict[str, Any]:
    """Arguments for a function by the names of its parameters; arrays wherever it takes some."""
    function, forward = getattr(F, name), name.removesuffix("_backward")
    shape = SHAPES.get(forward, (4, 8, 6))
    features = 6 if forward in BY_ELEMENT else 8
    made: dict[str, Any] = {
        "input": normal(*shape),
        "dy": normal(*OUTPUTS.get(forward, shape)),
        "output": np.abs(normal(*shape)),
        "target": np.arange(24).reshape(4, 6) % 8 if forward in LABELS else np.abs(normal(*shape)),
        "weight": normal(*WEIGHTS.get(forward, (features,))),
        "bias": normal(features),
        "pos_weight": normal(features),
        "running_mean": normal(features),
        "running_var": np.abs(normal(features)),
        "key": Key(1, 2),
        **PARAMETERS.get(forward, {}),
    }
    taken = inspect.signature(function).parameters
    if "saved" in taken:
        made["saved"] = getattr(F, forward)(**arguments(forward))[-1]
    return {parameter: made[parameter] for parameter in taken if parameter in made}


def as_tensors(library: Library, values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: library.wrap(value.copy()) if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }


def assert_same(library: Library, got: Any, expected: Any) -> None:
    """Tensors for arrays, bit for bit, and what is no array as it is."""
    if type(expected) is tuple:
        for a, b in zip(got, expected, strict=True):
            assert_same(library, a, b)
    elif isinstance(expected, np.ndarray):
        assert isinstance(got, library.kind)
        assert library.look(got).dtype == expected.dtype
        assert np.array_equal(library.look(got), expected, equal_nan=True)
    else:
        assert type(got) is type(expected)


@each("name", [name for name in FUNCTIONS if name not in NO_ARRAYS])
def test_tensors_give_the_results_of_arrays(name: str, library: Library) -> None:
    function, values = getattr(F, name), arguments(name)
    tensors = as_tensors(library, values)
    assert_same(library, function(**tensors), function(**values))
    for parameter, tensor in tensors.items():  # running statistics are moved in place, all else stays
        if isinstance(tensor, library.kind):
            assert np.array_equal(library.look(tensor), values[parameter]), parameter


@each("name", [name for name in FUNCTIONS if "out" in inspect.signature(getattr(F, name)).parameters])
def test_out_is_written_in_place(name: str, library: Library) -> None:
    function, values = getattr(F, name), arguments(name)
    expected = function(**values)
    position = None
    if type(expected) is tuple:  # a loss gives its gradient second
        position = next(i for i, value in enumerate(expected) if isinstance(value, np.ndarray))
    array = expected if position is None else expected[position]
    memory = np.full_like(array, np.nan)
    out = library.wrap(memory)
    got = function(**as_tensors(library, arguments(name)), out=out)
    assert (got if position is None else got[position]) is out
    assert np.array_equal(memory, array, equal_nan=True)


# ---- memory ------------------------------------------------------------------------------------------------


def test_nothing_is_copied(library: Library) -> None:
    x, made = normal(3, 4), normal(5)
    seen = []

    def function(input: Array) -> Array:
        seen.append(input)
        return made

    result = dispatch.takes_tensors(function)(library.wrap(x))
    assert (seen[0].ctypes.data, seen[0].shape, seen[0].strides) == (x.ctypes.data, x.shape, x.strides)
    assert library.look(result).ctypes.data == made.ctypes.data


def test_saved_is_on_the_memory_of_the_tensor(library: Library) -> None:
    x = normal(4, 8)
    y, saved = F.layer_norm(library.wrap(x), 8)
    assert isinstance(y, library.kind)
    assert saved.input is not None
    assert saved.input.ctypes.data == x.ctypes.data


def test_the_input_may_be_written_over(library: Library) -> None:
    x = normal(4, 8)
    expected, tensor = F.gelu(x), library.wrap(x)
    assert F.gelu(tensor, out=tensor) is tensor
    assert np.array_equal(x, expected)


def test_a_result_lives_as_long_as_its_tensor(library: Library) -> None:
    x = normal(2**18)  # beyond the size from which memory comes from the cache
    kept = F.relu(library.wrap(x))
    for _ in range(4):
        F.relu(np.full_like(x, 7))
    assert np.array_equal(library.look(kept), np.maximum(x, 0))


def test_strided_tensors(library: Library) -> None:
    x = normal(6, 8)[::2, 1::3]
    assert_same(library, F.tanh(library.wrap(x)), F.tanh(x))


# ---- kinds of arguments ------------------------------------------------------------------------------------


def test_the_first_argument_decides_what_is_returned(library: Library) -> None:
    array = normal(4, 8)
    tensor: Any = library.wrap(array)
    assert isinstance(F.silu_backward(tensor, array), library.kind)
    assert isinstance(F.silu_backward(array, tensor), np.ndarray)
    y, _ = F.layer_norm(array, 8, library.wrap(normal(8)))
    assert isinstance(y, np.ndarray)
    y, _ = F.layer_norm(weight=normal(8), normalized_shape=8, input=tensor)
    assert isinstance(y, library.kind)
    assert F.relu(array, out=tensor) is tensor


def test_other_arguments_are_as_before() -> None:
    for value in ([1.0, -2.0], (1.0, -2.0), np.float32(3), 2.5, memoryview(b"ab"), np.ma.array([1.0])):
        assert not _kernels.has_tensor((value,), {})
        assert isinstance(F.relu(value), np.ndarray)


def test_a_tensor_without_a_library_gives_an_array() -> None:
    class Alone(Standin):
        __array_namespace__: Any = property()  # reading it is an AttributeError

    result = F.relu(Alone(normal(3)))  # type: ignore[arg-type]
    assert isinstance(result, np.ndarray)


def test_the_draws_are_those_of_arrays(library: Library) -> None:
    results = []
    for wrap in (library.wrap, lambda array: array):
        fastnn.manual_seed(7)
        results.append([F.dropout(wrap(np.ones(64, np.float32))) for _ in range(2)])
    for a, b in zip(*results, strict=True):
        assert np.array_equal(library.look(a), b)


# ---- what is refused ---------------------------------------------------------------------------------------


@each(
    ("call", "name"),
    [
        (F.relu, "input"),
        (partial(F.relu, normal(2)), "out"),
        (partial(F.gelu_backward, normal(2)), "input"),
        (partial(F.relu_backward, normal(2)), "output"),
        (F.dropout, "input"),
        (F.dropout_backward, "dy"),
        (partial(F.layer_norm, normal(2), 2), "weight"),
        (partial(F.cross_entropy, normal(2, 2)), "target"),
    ],
)
def test_another_device_is_refused_by_the_name_of_the_argument(call: Any, name: str) -> None:
    tensor = Standin(normal(2), device=2)
    arguments = {"out": tensor} if name == "out" else {}
    if "dropout_backward" in repr(call):
        arguments["key"] = Key(0, 0)  # type: ignore[assignment]
    with pytest.raises(
        TypeError, match=rf"^{name} must be in the CPU's memory, got a tensor on 2: use \.cpu"
    ):
        call(*(() if name == "out" else (tensor,)), **arguments)


def test_memory_that_may_not_be_written_to(library: Library) -> None:
    locked = normal(3)
    locked.flags.writeable = False
    out = Standin(locked)
    with pytest.raises((ValueError, BufferError)):
        F.relu(normal(3), out=out)  # type: ignore[arg-type]


# ---- torch and jax -----------------------------------------------------------------------------------------


def test_gradients_that_torch_would_record(torch: Any) -> None:
    x = torch.ones(3, requires_grad=True)
    message = r"^input must be a tensor without requires_grad.*; use \.detach\(\), or torch\.no_grad\(\)$"
    with pytest.raises(ValueError, match=message):
        F.relu(x)
    with torch.no_grad():
        y: Any = F.relu(x)
    assert not y.requires_grad
    y = F.relu(x.detach())
    assert not y.requires_grad
    assert type(F.relu(torch.nn.Parameter(x).detach())) is torch.Tensor


def test_tensors_that_dlpack_has_no_form_for(torch: Any) -> None:
    for other in (
        torch.ones(3).to_sparse(),
        torch.ones(3, device="meta"),
        torch.ones(3, dtype=torch.float8_e5m2),
    ):
        with pytest.raises(
            TypeError, match=r"^weight must be a tensor that DLPack can pass on, got a Tensor of"
        ):
            F.prelu(torch.ones(3), weight=other)


@each("dtype", ["float16", "bfloat16", "float32", "float64", "int32", "bool"])
def test_dtypes_of_torch(torch: Any, dtype: str) -> None:
    array = (normal(64) * 3).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    y: Any = F.tanh(torch.from_numpy(normal(64) * 3).to(getattr(torch, dtype)))
    expected = F.tanh(array)
    assert str(y.dtype) == f"torch.{expected.dtype}"
    assert np.array_equal(y.double().numpy(), expected.astype(np.float64))


def test_bfloat16_in_place(torch: Any) -> None:
    x = torch.linspace(-2, 2, 9).to(torch.bfloat16)
    expected = torch.relu(x)
    assert F.relu(x, out=x) is x
    assert torch.equal(x, expected)


def test_bfloat16_without_ml_dtypes(torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match=r"^input is of bfloat16, which takes ml_dtypes: pip install"):
        F.relu(torch.ones(2, dtype=torch.bfloat16))


def test_a_step_beside_torch(torch: Any) -> None:
    """Batch norm and a loss, forward and backward, running statistics in place, against autograd."""
    x = torch.from_numpy(normal(16, 8))
    labels = torch.arange(16) % 8
    ours, theirs = torch.nn.BatchNorm1d(8), torch.nn.BatchNorm1d(8)
    with torch.no_grad():
        statistics = ours.running_mean, ours.running_var
        y, saved = F.batch_norm(x, *statistics, ours.weight, ours.bias, training=True)
        loss, dy = F.cross_entropy(y, labels)
        dx, dweight, dbias = F.batch_norm_backward(dy, saved)
    leaf = x.clone().requires_grad_()
    expected = torch.nn.functional.cross_entropy(theirs(leaf), labels)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-6)
    close(dx, leaf.grad)
    close(dweight, theirs.weight.grad)
    close(dbias, theirs.bias.grad)
    close(ours.running_mean, theirs.running_mean)
    close(ours.running_var, theirs.running_var)


@pytest.fixture
def jnp() -> Iterator[Any]:
    pytest.importorskip("jax")
    return importlib.import_module("jax.numpy")


def test_jax(jnp: Any) -> None:
    x = jnp.linspace(-2, 2, 24).reshape(4, 6)
    y: Any = F.silu(x)
    assert type(y) is type(x)
    assert np.array_equal(np.asarray(y), F.silu(np.asarray(x)))
    low: Any = F.relu(x.astype(jnp.bfloat16))
    assert low.dtype == jnp.bfloat16
    assert float(low.max()) == 2
    with pytest.raises(ValueError, match="out must be writeable, got a read-only array"):
        F.silu(x, out=x)


def test_every_call_of_the_binding_has_a_general_way() -> None:
    sources = ROOT / "src" / "fastnn"
    binding = "".join(file.read_text() for file in (sources / "_binding").glob("*.pxi"))
    above = "".join(
        file.read_text() for part in ("_core", "functional") for file in (sources / part).glob("*.py")
    )
    calls = re.findall(r'return general\("(\w+)"', binding)
    assert calls
    assert set(calls) == set(re.findall(r'@general_way\("(\w+)"', above))
