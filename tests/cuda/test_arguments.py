"""Numbers that users give: whatever type they have, kernels get the types that their signatures say.

A launch passes the bytes of an argument as they are. So a kernel that is given an int for a float64, or a
float32 of NumPy's, would compute with another number. Here nothing is computed: launches check arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

import fastnn
import fastnn.functional as functional
from fastnn import Key, nn, optim, stages
from fastnn.cuda._runtime import launch
from fastnn.cuda.kernels.activation.maxout import maxout
from fastnn.cuda.kernels.chain.elementwise import chain_forward

F: Any = functional  # whose arrays are a GPU's here, and no NumPy's

pytestmark = pytest.mark.every_case

#: Numbers of other types than float, each of which is 1 or 0.5. Python's True is 1, and NumPy's is no number.
NUMBERS: list[Any] = [1, True, np.int64(1), np.float32(0.5), np.float16(0.5), np.float64(0.5)]
#: Where the lower of two bounds is given, the higher one, too.
WITH = {"lower": {"upper": 1}, "min_val": {"max_val": 2}}
#: Of functions and layers: what they cannot do without, by its name.
NEEDED: dict[str, Any] = {
    "key": Key(1, 2), "shape": (8, 8), "training": True, "normalized_shape": (4,), "num_groups": 2,
    "num_features": 4, "num_channels": 4, "linear": nn.Linear(4, 4), "value": 1, "threshold": 1,
}  # fmt: skip
#: They copy a number to the GPU or leave it on the host, and launch nothing with it.
WITHOUT_KERNEL = {("PReLU", "init"), ("FractionalMaxPool2d", "output_ratio")}
ON_THE_CPU = {"fractional_max_pool2d"}


def of_floats(module: Any) -> list[tuple[str, str]]:
    """The public functions and classes of a module, each with each of its parameters that are floats."""
    found = []
    for name in module.__all__:
        value = getattr(module, name)
        if not callable(value):
            continue
        for parameter in inspect.signature(value).parameters.values():
            if str(parameter.annotation).removesuffix(" | None") == "float":
                found.append((name, parameter.name))
    return found


@pytest.fixture
def gpu(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """CuPy, or its stand-in; kernels' arguments are checked, and nothing is compiled or launched."""
    monkeypatch.setattr(launch, "checks_arguments", True)
    monkeypatch.setattr(launch, "_prepared", lambda *kernel: ())
    monkeypatch.setattr(launch, "launch", lambda *arguments: None)
    return cupy


def values(gpu: Any, shape: tuple[int, ...] = (4, 4, 2, 4)) -> Any:
    return gpu.asarray(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def shape_for(name: str) -> tuple[int, ...]:
    """What a function or layer of this name takes."""
    return {"1d": (4, 4, 4), "3d": (4, 4, 2, 2, 4)}.get(name[-2:], (4, 4, 2, 4))


def needed(callee: Any, gpu: Any, given: set[str], shape: tuple[int, ...] = (4, 4, 2, 4)) -> dict[str, Any]:
    """What a function or a class has to be given besides, arrays for what is not in NEEDED."""
    arguments: dict[str, Any] = {}
    for name, parameter in inspect.signature(callee).parameters.items():
        optional = parameter.default is not inspect.Parameter.empty
        if name in given or (optional and name not in ("key", "training")):
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name == "target" and callee in (F.cross_entropy, F.hinge_loss):
            arguments[name] = gpu.zeros((4, 2, 4), np.int64)
        else:
            arguments[name] = NEEDED[name] if name in NEEDED else values(gpu, shape)
    return arguments


def ids(case: Any) -> str:
    return f"{type(case).__name__}-{case}" if isinstance(case, int | float | np.generic) else str(case)


def sweep(parameter: str, call: Callable[..., None]) -> None:
    """The call with every kind of number for a parameter."""
    for number in NUMBERS:
        call(**{parameter: type(number)(0) if parameter in WITH else number, **WITH.get(parameter, {})})


def refuse(parameter: str, call: Callable[..., None]) -> None:
    """The call with what is no number."""
    with pytest.raises(TypeError, match=f"{parameter} must be .* number.*, got (numpy.)?bool"):
        call(**{parameter: np.bool_(True), **WITH.get(parameter, {})})


@pytest.mark.parametrize(("name", "parameter"), [c for c in of_floats(F) if c[0] not in ON_THE_CPU])
def test_functions(gpu: Any, name: str, parameter: str) -> None:
    function, shape = getattr(F, name), shape_for(name.removesuffix("_backward"))

    def call(**given: Any) -> None:
        arguments = needed(function, gpu, set(given), shape)
        if name == "instance_norm" and parameter == "momentum":
            arguments |= {"running_mean": values(gpu, (4,)), "running_var": values(gpu, (4,))}
        if name == "batch_norm":
            arguments |= {"running_mean": values(gpu, (4,)), "running_var": values(gpu, (4,))}
            function(**arguments | {"training": False}, **given)
        if name == "dropout_mask":
            arguments["like"] = values(gpu)
        function(**arguments, **given)

    sweep(parameter, call)
    refuse(parameter, call)


@pytest.mark.parametrize(
    ("name", "parameter"), [case for case in of_floats(nn) if case not in WITHOUT_KERNEL]
)
def test_layers(gpu: Any, name: str, parameter: str) -> None:
    made = getattr(nn, name)
    shape = shape_for(name)

    def call(**given: Any) -> None:
        layer = made(**needed(made, gpu, set(given)), **given).to("cuda")
        x = values(gpu, shape)
        if name.endswith("Loss"):
            labels = gpu.zeros((4, 2, 4), np.int64)
            layer(x, labels if name in ("CrossEntropyLoss", "HingeLoss") else values(gpu))
            return
        layer.backward(layer(x))
        layer.eval()
        layer(x)

    sweep(parameter, call)
    refuse(parameter, call)


def steps(gpu: Any, **given: Any) -> None:
    """Two steps with one number of an optimizer's."""
    parameter = nn.Parameter(values(gpu))
    parameter.grad = values(gpu)
    optimizer = given.pop("optimizer")([parameter], **given)
    for _ in range(2):
        optimizer.step()


@pytest.mark.parametrize(
    ("name", "parameter"), [c for c in of_floats(optim) if issubclass(getattr(optim, c[0]), optim.Optimizer)]
)
def test_optimizers(gpu: Any, name: str, parameter: str) -> None:
    optimizer = getattr(optim, name)
    if parameter == "dampening":
        sweep("dampening", lambda **given: steps(gpu, optimizer=optimizer, lr=1, momentum=1, **given))
    elif parameter == "lr":
        sweep("lr", lambda **given: steps(gpu, optimizer=optimizer, **given))
    else:
        sweep(parameter, lambda **given: steps(gpu, optimizer=optimizer, lr=1, **given))


@pytest.mark.parametrize("number", NUMBERS, ids=ids)
def test_averages_and_clipping(gpu: Any, number: Any) -> None:
    parameter, clip = nn.Parameter(values(gpu)), cast("Any", nn.utils.clip_grad_norm_)
    parameter.grad = values(gpu)
    average = optim.ExponentialMovingAverage([parameter], decay=number)
    average.update()
    average.update()
    for norm_type in (1, 2, 3, np.float32(2), np.int64(2), float("inf")):
        clip([parameter], number, norm_type)
    nn.utils.clip_grad_value_([parameter], number)


@pytest.mark.parametrize("number", NUMBERS, ids=ids)
def test_chains(gpu: Any, number: Any) -> None:
    """Of batch norm by one kernel and by several, of stages without a head."""
    tail = stages.Activation("elu", alpha=number), stages.Add(), stages.Dropout(0.5)
    x, residual = values(gpu), values(gpu)
    running = {"running_mean": values(gpu, (4,)), "running_var": values(gpu, (4,))}
    batch_norms = [
        stages.BatchNorm(eps=number, momentum=number, training=training, skip_nonfinite=skip)  # type: ignore[arg-type]
        for training, skip in ((True, number > 0.75), (False, 1))
    ]
    for head in batch_norms:
        chain: Any = fastnn.fuse(head, *tail)
        y, saved = chain.forward(x, residual=residual, key=Key(1, 2), **running)
        chain.backward(y, saved)
    chain = fastnn.fuse(*tail)
    y, saved = chain.forward(x, residual=residual, key=Key(1, 2))
    chain.backward(y, saved)


# ---- the check itself --------------------------------------------------------------------------------------


def arguments_of(case: str) -> tuple[Any, ...]:
    return {
        "right": (0, 0, 8, 1.0, 0.0),
        "int for float": (0, 0, 8, 1, 0.0),
        "float for int": (0, 0, 8.0, 1.0, 0.0),
        "bool": (0, 0, True, 1.0, 0.0),
        "float32": (0, 0, 8, np.float32(1), 0.0),
        "int64 of NumPy": (0, 0, np.int64(8), 1.0, 0.0),
        "too few": (0, 0, 8, 1.0),
    }[case]


RELU = "float32", (("activation", "relu"),)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("int for float", r"argument 3 of elementwise.chain_forward must be of type float, got int 1"),
        ("float for int", r"argument 2 .* must be of type int, got float 8.0"),
        ("bool", r"argument 2 .* must be of type int, got bool True"),
        ("float32", r"argument 3 .* must be of type float, got float32 1.0"),
        ("int64 of NumPy", r"argument 2 .* must be of type int, got int64 8"),
        ("too few", r"elementwise.chain_forward must have 5 arguments, got 4"),
    ],
)
def test_wrong_arguments(gpu: Any, case: str, message: str) -> None:
    launch.start(chain_forward, RELU, 0, 0, 1, 256, arguments_of("right"))
    with pytest.raises(TypeError, match=message):
        launch.start(chain_forward, RELU, 0, 0, 1, 256, arguments_of(case))


def test_too_large(gpu: Any) -> None:
    right = [0] * len(maxout.parameters((9, 0), ("float32",)))
    launch.start(maxout, ("float32",), 0, 0, 1, 256, right)
    with pytest.raises(OverflowError, match=f"argument 1 of maxout.maxout must fit an int64, got {2**63}"):
        launch.start(maxout, ("float32",), 0, 0, 1, 256, [0, 2**63, *right[2:]])


def test_only_in_development_mode(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a launch has no time for it."""
    monkeypatch.setattr(launch, "checks_arguments", False)
    launch.start(chain_forward, RELU, 0, 0, 1, 256, arguments_of("float32"))
