"""The table of kernels: how each is called for about so many elements, the bytes it must move, and its loop.

Activations, norms and the like are the cases of `fastnn bench`, with its count of bytes; what it does not
time has a row here. This module measures nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import fastnn.functional as F
from fastnn import Key, nn, optim
from fastnn.bench.activations import all_activations
from fastnn.bench.data import Buffers, Case, Shape, Size, view
from fastnn.bench.layers import all_layers
from fastnn.bench.peers import Call, load

ELEMENTS = (2**14, 2**17, 2**20, 2**25)
FLOAT = 4  # bytes: all is measured in float32

# Losses of two arrays, which give their gradient at once, and what must be in (0, 1).
LOSSES = (F.mse_loss, F.huber_loss, F.binary_cross_entropy_with_logits, F.binary_cross_entropy, F.kl_div)
PROBABILITIES = {"binary_cross_entropy": ("input", "target"), "kl_div": ("target",)}

# Rule of optimizers.def: the optimiser that takes it, and how many arrays a step writes; it reads one more.
RULES: dict[str, tuple[Callable[..., Any], int]] = {
    "sgd": (partial(optim.SGD, lr=1e-3), 1),
    "sgd_momentum": (partial(optim.SGD, lr=1e-3, momentum=0.9), 2),
    "adagrad": (optim.Adagrad, 2),
    "rmsprop": (optim.RMSprop, 2),
    "adadelta": (optim.Adadelta, 3),
    "adam": (optim.Adam, 3),
    "adam_amsgrad": (partial(optim.Adam, amsgrad=True), 4),
    "adamax": (optim.Adamax, 3),
    "nadam": (optim.NAdam, 3),
    "radam": (optim.RAdam, 3),
    "lion": (optim.Lion, 2),
}


@dataclass(frozen=True)
class Work:
    """A call at one size, and what it must do."""

    call: Call
    size: str
    elements: int  # of the input
    moved: int  # bytes that must be read and written
    operations: float = 0.0  # in floating point, where their number says more than a loop
    memory: int | None = None  # bytes of its arrays, where some are both read and written


@dataclass(frozen=True)
class Kernel:
    """One row of the page."""

    name: str
    loops: tuple[str, ...]  # names that its loop may have in the compiled objects
    writes: float  # elements written per input element
    work: Callable[[Buffers, int], Work | None]  # for about so many elements

    def cycles(self, stored: Mapping[str, float]) -> float | None:
        """The cycles of a vector of input, by those of each loop's stored vectors; None without a loop."""
        return next((stored[name] * self.writes for name in self.loops if name in stored), None)


def all_kernels() -> Iterator[Kernel]:
    """Every row."""
    for case in (*all_activations(), *all_layers()):
        if case.direction != "forward+backward" or case.label == "cross_entropy":
            yield from of_case(case)
    yield Kernel("dropout backward", (), 1, dropout_backward)
    for loss in LOSSES:
        yield Kernel(loss.__name__, (), 1, partial(loss_work, loss))
    for rule, (make, writes) in RULES.items():
        yield Kernel(rule, (f"{rule}_loop",), writes, partial(step_work, make, writes))
    for name, work in {**PRODUCTS, **WINDOWS}.items():
        yield Kernel(name, (), 1, work)


def of_case(case: Case) -> Iterator[Kernel]:
    """The rows of a case of `fastnn bench`, one for each kind of shape that it is timed on."""
    loops = (f"{case.label}_{case.direction}_loop", f"{case.callee}_loop")
    for layout, shape in LAYOUTS[kind(case)].items():
        name = f"{case.label} {case.direction}{layout}"
        yield Kernel(name, loops, case.traffic()[1], partial(case_work, case, shape))


def kind(case: Case) -> str:
    """The key of LAYOUTS for a case."""
    if case.group == "activations":
        return "elements"
    return next((name for name in ("batch_norm", "group_norm") if case.label.startswith(name)), "rows")


def image(elements: int, *, channels_last: bool) -> Size:
    """Images of 32 channels of 256 elements, or 64 of 1024."""
    few = elements < 2**20
    shape = (elements // 2**13, 32, 16, 16) if few else (elements // 2**16, 64, 32, 32)
    return Size(shape, channels_last)


def table(elements: int) -> Size:
    """Rows of 256."""
    return Size((elements // 256, 256))


IMAGES_OF = {
    " (N, C, H, W)": partial(image, channels_last=False),
    " (channels last)": partial(image, channels_last=True),
}
LAYOUTS: Mapping[str, Mapping[str, Callable[[int], Size]]] = {
    "elements": {"": lambda elements: Size((elements,))},
    "rows": {"": table},
    "group_norm": IMAGES_OF,
    "batch_norm": {" (N, C)": table, **IMAGES_OF},
}


def case_work(case: Case, shape: Callable[[int], Size], buffers: Buffers, elements: int) -> Work | None:
    """A case of `fastnn bench`."""
    data = case.data(buffers, shape(elements))
    call = load("fastnn").prepare(data, out=True)
    return call and Work(call, str(data.size), data.elements, data.moved)


def dropout_backward(buffers: Buffers, elements: int) -> Work:
    """The mask is drawn again."""
    dy, out = buffers.dy[:elements], buffers.out[:elements]
    return Work(
        partial(F.dropout_backward, dy, key=Key(0, 0), out=out), str(elements), elements, 2 * dy.nbytes
    )


def loss_work(loss: Callable[..., Any], buffers: Buffers, elements: int) -> Work:
    """Two arrays are read, and the gradient is written."""
    arrays = {"input": buffers.input[:elements], "target": buffers.dy[:elements]}
    for name in PROBABILITIES.get(loss.__name__, ()):
        arrays[name] = 0.01 + 0.98 * np.random.default_rng(0).random(elements, np.float32)
    call = partial(loss, **arrays, out=buffers.out[:elements])
    return Work(call, str(elements), elements, 3 * FLOAT * elements)


def step_work(make: Callable[..., Any], writes: int, buffers: Buffers, elements: int) -> Work:
    """A step of an optimiser on one parameter."""
    parameter = nn.Parameter(buffers.input[:elements].copy())
    parameter.grad = buffers.dy[:elements]
    step = make([parameter]).step
    for _ in range(6):  # RAdam has another rule for its first steps
        step()
    moved, memory = ((each + 1) * FLOAT * elements for each in (2 * writes, writes))
    return Work(step, str(elements), elements, moved, memory=memory)


# Products, for each of ELEMENTS: rows of the input, features, outputs.
MANY_ROWS = ((128, 128, 128), (256, 512, 512), (1024, 1024, 1024), (8192, 1024, 4096))
ONE_ROW = ((1, 128, 128), (1, 512, 256), (1, 1024, 1024), (1, 4096, 8192))


def product(shapes: tuple[Shape, ...], buffers: Buffers, elements: int) -> Work:
    """`linear` without a bias."""
    rows, features, outputs = shapes[ELEMENTS.index(elements)]
    x, weight = view(buffers.input, (rows, features)), view(buffers.dy, (outputs, features))
    out = view(buffers.out, (rows, outputs))
    moved = x.nbytes + weight.nbytes + out.nbytes
    size = f"{rows}x{features}x{outputs}"
    return Work(partial(F.linear, x, weight, out=out), size, x.size, moved, 2.0 * rows * features * outputs)


PRODUCTS: Mapping[str, Callable[[Buffers, int], Work]] = {
    "linear": partial(product, MANY_ROWS),
    "linear, one row": partial(product, ONE_ROW),
}

# Images for convolution and pooling.
IMAGES = {2**14: (1, 16, 32, 32), 2**17: (8, 16, 32, 32), 2**20: (16, 64, 32, 32), 2**25: (512, 64, 32, 32)}


def convolution(direction: str, buffers: Buffers, elements: int) -> Work | None:
    """3 x 3 windows, as many outputs as inputs; nothing of the largest size, which is only more images."""
    shape = IMAGES[elements]
    if elements == max(ELEMENTS):
        return None
    x, dy, out = (view(b, shape) for b in (buffers.input, buffers.dy, buffers.out))
    weight = np.random.default_rng(0).standard_normal((shape[1], shape[1], 3, 3), np.float32)
    operations, size = 2.0 * x.size * shape[1] * 9, "x".join(map(str, shape))
    if direction == "forward":
        forward = partial(F.conv2d, x, weight, padding=1, out=out)
        return Work(forward, size, x.size, 2 * x.nbytes + weight.nbytes, operations)
    backward = partial(F.conv2d_backward, dy, x, weight, padding=1)
    return Work(backward, size, x.size, 3 * x.nbytes + 2 * weight.nbytes, 2 * operations)


def pooling(
    function: Callable[..., Any], backward: Callable[..., Any] | None, buffers: Buffers, elements: int
) -> Work:
    """2 x 2 windows; max pooling's saved indices are left out of the bytes."""
    shape = IMAGES[elements]
    half = (*shape[:2], shape[2] // 2, shape[3] // 2)
    x, out, size = view(buffers.input, shape), view(buffers.output, half), "x".join(map(str, shape))
    call = partial(function, x, 2, out=out)
    if backward is not None:
        _, saved = call()
        call = partial(backward, view(buffers.dy, half), saved, out=view(buffers.out, shape))
    return Work(call, size, x.size, x.nbytes + out.nbytes)


WINDOWS: Mapping[str, Callable[[Buffers, int], Work | None]] = {
    "conv2d 3x3 forward": partial(convolution, "forward"),
    "conv2d 3x3 backward": partial(convolution, "backward"),
    "max_pool2d 2x2 forward": partial(pooling, F.max_pool2d, None),
    "max_pool2d 2x2 backward": partial(pooling, F.max_pool2d, F.max_pool2d_backward),
    "avg_pool2d 2x2 forward": partial(pooling, F.avg_pool2d, None),
    "avg_pool2d 2x2 backward": partial(pooling, F.avg_pool2d, F.avg_pool2d_backward),
}
