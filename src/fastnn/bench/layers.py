"""The cases measured on shapes: normalisation, softmax, the loss, dropout, and blocks of them in one call.

One row of ROWS gives a case in each of its directions. The bytes that must move are those of arrays of the
input's size: a channel or a row stays in cache between the pass that sums and the pass that writes, a block's
backward computes activation and mask again, and parameters are small.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

import fastnn.functional as F
from fastnn import Key, reference
from fastnn.bench.data import Buffers, Case, Data, Size, callee

TABLES = tuple(Size(shape) for shape in ((128, 256), (256, 1024), (4096, 1024)))
MORE_TABLES = tuple(Size(shape) for shape in ((8192, 128), (32, 10), (1024, 10), (64, 50257)))
PLANES = tuple(Size(shape) for shape in ((64, 64, 32, 32), (32, 256, 14, 14), (128, 64, 56, 56)))
PLANES_LAST = tuple(Size(size.shape, channels_last=True) for size in PLANES)
QUICK_ELEMENTS = 2**21  # --quick leaves out what is larger

CHECKS = (Size((64, 64)), Size((2, 64, 6, 5)), Size((2, 64, 6, 5), channels_last=True))

BOTH = ("forward", "backward")
BLOCK = ("forward", "forward+backward")
GROUPS = 32
DROPOUT: Mapping[str, Any] = {"p": 0.5, "training": True, "key": Key(0, 0)}
AFFINE = ("weight", "bias")

# Arrays of the input's size that must be read and written.
TRAFFIC = {"forward": (1.0, 1.0), "backward": (2.0, 1.0), "forward+backward": (3.0, 2.0)}
ONE_PASS = {"cross_entropy"}  # forward and gradient read the input once and write the gradient alone


def by_label(size: Size) -> bool:
    """Whether it is a table of classes, a label for each row."""
    return len(size.shape) == 2


def by_channel(size: Size) -> bool:
    """Whether axis 1 can be the channels."""
    return len(size.shape) >= 2


def by_group(size: Size) -> bool:
    """Whether the channels can be divided into GROUPS, of more than a few values each."""
    return len(size.shape) >= 3 and size.shape[1] % GROUPS == 0


def by_row(size: Size) -> bool:
    """Whether the last axis is contiguous rows."""
    return len(size.shape) >= 2 and not size.channels_last


@dataclass(frozen=True)
class Row:
    """How a layer is called, and where it is timed."""

    function: str
    directions: tuple[str, ...]
    sizes: tuple[Size, ...]
    takes: Callable[[Size], bool]
    arrays: tuple[str, ...] = ()  # arguments beside the input and its gradient
    params: Mapping[str, Any] = field(default_factory=dict)
    then: tuple[str, ...] = ()  # what follows in the same call: an activation's name, "dropout"


BATCH_NORM = Row(
    "batch_norm",
    BOTH,
    (*TABLES, *PLANES, *PLANES_LAST),
    by_channel,
    ("running_mean", "running_var", *AFFINE),
    {"training": True},
)
RELU = replace(BATCH_NORM, directions=BLOCK, then=("relu",))
LAYER_NORM = Row("layer_norm", BOTH, (*TABLES, *MORE_TABLES), by_row, ("normalized_shape", *AFFINE))
SOFTMAX = replace(LAYER_NORM, function="softmax", arrays=())

ROWS: dict[str, Row] = {
    "batch_norm": BATCH_NORM,
    "batch_norm_eval": replace(BATCH_NORM, directions=("forward",), params={"training": False}),
    "batch_norm_relu": RELU,
    "batch_norm_relu_dropout": replace(RELU, params=DROPOUT, then=("relu", "dropout")),
    "layer_norm": LAYER_NORM,
    "rms_norm": replace(LAYER_NORM, function="rms_norm", arrays=("normalized_shape", "weight")),
    "group_norm": Row("group_norm", BOTH, (*PLANES, *PLANES_LAST), by_group, AFFINE, {"num_groups": GROUPS}),
    "softmax": SOFTMAX,
    "log_softmax": replace(SOFTMAX, function="log_softmax"),
    "cross_entropy": Row("cross_entropy", ("forward+backward",), SOFTMAX.sizes, by_label, ("target",)),
    "dropout": Row("dropout", ("forward",), (*TABLES, *PLANES), by_row, params=DROPOUT),
}


@dataclass(frozen=True)
class Layer(Case):
    """A layer, or a block that begins with it, in one direction."""

    group: ClassVar[str] = "layers"

    row: Row

    @property
    def random(self) -> bool:
        """Whether the draws of another library make its result differ from ours."""
        return "key" in self.row.params

    @property
    def checks(self) -> tuple[Size, ...]:
        """Two and four axes, both orders in memory, as far as it takes them."""
        return tuple(size for size in CHECKS if self.takes(size))

    def sizes(self, *, quick: bool) -> tuple[Size, ...]:
        """Those of its row."""
        return tuple(size for size in self.row.sizes if not quick or size.elements <= QUICK_ELEMENTS)

    def takes(self, size: Size) -> bool:
        """What the row says."""
        return self.row.takes(size)

    def traffic(self) -> tuple[float, float]:
        """Elements that must be read and written, per input element."""
        return (1.0, 1.0) if self.function in ONE_PASS else TRAFFIC[self.direction]

    def data(self, buffers: Buffers, size: Size) -> Data:
        """Return views of the shared memory in this shape.

        `output` is what the forward function gives, where backward wants it; for a block, the buffer that
        takes the output while `out` takes the gradient.
        """
        features = size.shape[-1 if "normalized_shape" in self.row.arrays else 1]
        made = arguments(size, features, buffers.dtype)
        values: dict[str, Any] = {name: made[name] for name in self.row.arrays} | dict(self.row.params)
        values |= {"input": size.view(buffers.input), "dy": size.view(buffers.dy)}
        output = size.view(buffers.output)
        if "output" in self.signature.parameters:
            values["output"] = getattr(F, self.function)(values["input"], out=output)
        elif self.row.then:
            values["output"] = output
        return Data(self, size, values, size.view(buffers.out))


def arguments(size: Size, features: int, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return whatever a layer may take beside arrays of the input's size."""
    rng = np.random.default_rng(1)
    return {
        "weight": rng.uniform(0.5, 1.5, features).astype(dtype),
        "bias": rng.standard_normal(features).astype(dtype),
        "running_mean": rng.standard_normal(features).astype(dtype),
        "running_var": rng.uniform(0.5, 1.5, features).astype(dtype),
        "normalized_shape": (features,),
        "target": rng.integers(0, features, size.shape[0]),
    }


def all_layers() -> Iterator[Layer]:
    """Every case, in the order of ROWS."""
    for label, row in ROWS.items():
        for direction in row.directions:
            signature = inspect.signature(getattr(reference, callee(row.function, direction)))
            yield Layer(label, row.function, direction, signature, row)
