"""Which shapes fit together, for each file of fastnn.functional, and the parameters that fit them."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Any

import numpy as np

import fastnn.functional as F

from .arrays import FLOATS, Draw, Shape

# Arguments that a call writes to, beside `out`.
WRITTEN = {"running_mean", "running_var", "num_batches_tracked"}


class Plan:
    """The arguments of a call: shapes of its arrays, and values that depend on them."""

    def __init__(self) -> None:
        self.shapes: dict[str, Shape] = {}
        self.values: dict[str, Callable[[], Any]] = {}  # sensible values of parameters
        self.arrays: dict[str, Callable[[Shape], Any]] = {}  # arrays with values of their own

    def array_of(self, d: Draw, name: str) -> Callable[[Shape], Any]:
        """What draws the array of this name."""
        return self.arrays.get(name, d.array)


def constants(**values: Any) -> dict[str, Callable[[], Any]]:
    """Values of parameters that are always the same."""
    return {name: partial(copy, value) for name, value in values.items()}


Family = Callable[[Draw, str, Plan], None]


def one_shape(d: Draw, name: str, plan: Plan) -> None:
    """All arrays have one shape."""
    shape = d.shape()
    plan.shapes = dict.fromkeys(("input", "dy", "output", "weight"), shape)


def gated(d: Draw, name: str, plan: Plan) -> None:
    """Halves, or k pieces, along one dimension."""
    shape = list(d.shape(1))
    axis, k = d.below(len(shape)), d.pick((1, 2, 2, 3, 4, 9))
    pieces = k if name == "maxout" else 2
    half = tuple(shape)
    shape[axis] *= pieces
    plan.shapes = {"input": tuple(shape), "dy": half}
    plan.values = {"k": lambda: k, "dim": lambda: axis - len(shape) * d.chance(0.3)}


def slope(d: Draw, name: str, plan: Plan) -> None:
    """One weight for all, or one for each channel."""
    shape = d.shape()
    channels = shape[1] if len(shape) > 1 else 1
    plan.shapes = {"input": shape, "dy": shape, "weight": d.pick(((1,), (), (channels,)))}


def softmax(d: Draw, name: str, plan: Plan) -> None:
    """Any shape, along one of its dimensions."""
    shape = d.shape()
    plan.shapes = dict.fromkeys(("input", "dy", "output"), shape)
    plan.values = {"dim": lambda: d.below(2 * len(shape) or 1) - len(shape)}


def dropout(d: Draw, name: str, plan: Plan) -> None:
    """Samples, channels or elements; the mask has no array."""
    dims = {"dropout1d": (2, 3), "dropout2d": (4, 4), "dropout3d": (4, 5), "drop_path": (1, 5)}.get(
        name, (0, 5)
    )
    shape = d.shape(*dims)
    plan.shapes = dict.fromkeys(("input", "dy", "weight"), shape)
    sizes = (shape, list(shape), d.size(), (2,) * 5 + (1,) * 60, (0, 2**40), (2**20, 2**22), (2**32, 2**32))
    plan.values = {"shape": lambda: d.pick(sizes[:3] * 6 + sizes), "like": lambda: None}


def loss(d: Draw, name: str, plan: Plan) -> None:
    """Labels or targets of the form of the input."""
    for key in ("weight", "pos_weight"):  # a mean by weights of both signs has few digits
        plan.arrays[key] = lambda s: d.array(s, None, None if d.values == "special" else d.rng.random(s))
    if name not in ("cross_entropy", "nll_loss", "hinge_loss"):
        shape = d.shape()
        part = tuple(1 if d.chance(0.3) else n for n in shape)[d.below(len(shape) + 1) :]
        plan.shapes = {"input": shape, "target": shape, "weight": part, "pos_weight": part}
        if d.values != "special":
            plan.arrays["target"] = lambda s: d.array(
                s, None if d.chance(0.9) else np.dtype(bool), d.rng.random(s)
            )
            if name == "binary_cross_entropy":
                plan.arrays["input"] = plan.arrays["target"]
        return
    shape = d.shape(2)
    classes, samples = shape[1], (shape[0], *shape[2:])
    plan.shapes = {"input": shape, "target": samples, "weight": (classes,)}
    if name == "cross_entropy" and d.chance(0.25):
        plan.shapes["target"] = shape
        plan.arrays["target"] = lambda s: d.array(s, None, d.rng.random(s))
    else:
        plan.arrays["target"] = lambda s: _labels(d, s, classes)
    plan.values["ignore_index"] = lambda: d.pick((-100, -100, 0, 1, -1, 2**40, -(2**63), 2**63, 2**70))
    plan.values["margin"] = lambda: d.pick((1.0, 0.5, 0.0, -1.0))


def _labels(d: Draw, shape: Shape, classes: int) -> Any:
    numbers = d.rng.integers(0, max(classes, 1), shape)
    dtype = np.dtype(d.pick("qqqqiihbBIQ"))
    most = int(np.iinfo(dtype).max) if dtype.itemsize < 8 else 2**63 - 1
    numbers = np.minimum(numbers, most)
    if d.chance(0.1) and numbers.size:
        at = d.below(numbers.size)
        numbers.reshape(-1)[at] = d.pick((-100, -1, classes, most, 0))
    with np.errstate(all="ignore"):
        return d.array(shape, dtype, numbers.astype(dtype))


def norm(d: Draw, name: str, plan: Plan) -> None:
    """Rows, groups or channels; weights of their shape."""
    if name in ("layer_norm", "rms_norm"):
        shape = d.shape(1)
        last = shape[d.below(len(shape)) :]
        plan.shapes = {"input": shape, "weight": last, "bias": last}
        plan.values["normalized_shape"] = lambda: (
            last[0] if len(last) == 1 and d.chance(0.5) else d.pick((last, list(last)))
        )
    else:
        shape = d.shape(2)
        groups = d.pick([g for g in (1, 2, 3, shape[1]) if g and shape[1] % g == 0] or [1])
        channels = (shape[1],)
        plan.shapes = {"input": shape, **dict.fromkeys(("weight", "bias", *WRITTEN), channels)}
        plan.values["num_groups"] = lambda: groups
        statistics = d.chance(0.5)
        for key in ("running_mean", "running_var"):
            plan.arrays[key] = lambda s: (
                d.array(s, d.pick(FLOATS[:2]), d.rng.random(s) + 0.5, writable=True) if statistics else None
            )
    plan.values["eps"] = lambda: d.pick((1e-5, 1e-3, 0.125))


def batch_norm(d: Draw, name: str, plan: Plan) -> None:
    """Channels along axis 1; running statistics or none."""
    shape = d.shape(2)
    channels = (shape[1],)
    plan.shapes = {
        "input": shape,
        **dict.fromkeys(("weight", "bias", "running_mean", "running_var"), channels),
    }
    training = d.chance(0.6)
    statistics = d.chance(0.9 - 0.4 * training)
    dtype = d.pick((FLOATS[0], *FLOATS[:2], d.dtype))
    for key in ("running_mean", "running_var"):
        plan.arrays[key] = lambda s: (
            d.array(s, dtype, (d.rng.random(s) + 0.5).astype(dtype), writable=True) if statistics else None
        )
    plan.values["training"] = lambda: training
    plan.values["momentum"] = lambda: d.pick((0.1, 0.125, 0.0, 1.0, None, None))
    plan.shapes["num_batches_tracked"] = d.pick(((), (), (1,)))
    plan.arrays["num_batches_tracked"] = lambda s: (
        d.array(s, np.dtype(d.pick("qqqiB")), np.full(s, 3), writable=True) if statistics else None
    )


def _images(d: Draw, kernel: tuple[int, int], channels: int) -> Shape:
    size = [d.pick((k, k + 1, k + 2, 5, 8, 16, 17, 33)) for k in kernel]
    if d.chance(0.05):
        size[d.below(2)] = d.pick((0, 1, 257, 1025))
    batch = (d.pick((0, 1, 1, 2, 3)),) if d.chance(0.8) else ()
    return (*batch, channels, *size)


def _pair(d: Draw, values: tuple[int, ...]) -> Any:
    a, b = d.pick(values), d.pick(values)
    return d.pick((a, (a, b), [b, a]))


def _two(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def embedding(d: Draw, name: str, plan: Plan) -> None:
    """Rows of a table by their numbers."""
    shape, rows, columns = d.shape(0, 3), d.pick((0, 1, 2, 5, 64)), d.size(70)
    plan.shapes = {"input": shape, "weight": (rows, columns), "dy": (*shape, columns)}
    plan.arrays["input"] = lambda s: _labels(d, s, rows)
    plan.values = {
        "num_embeddings": lambda: d.pick((rows, rows, rows, 2**40)),
        "padding_idx": lambda: d.pick((None, None, 0, -1, 3, rows)),
    }


def _lines(plan: Plan, name: str) -> None:
    """Make the plan for images one for lines, which have no rows."""
    for key in ("input", "weight", "dy"):
        if key in plan.shapes and len(plan.shapes[key]) > 2:
            plan.shapes[key] = (*plan.shapes[key][:-2], plan.shapes[key][-1])
    for key in ("kernel_size", "stride", "padding", "dilation"):
        if key in plan.values:
            plan.values[key] = partial(_last, plan.values[key])


def _last(value: Callable[[], Any]) -> Any:
    """Of the numbers for rows and columns those for columns."""
    drawn = value()
    return drawn[1] if isinstance(drawn, tuple) else drawn[1:] if isinstance(drawn, list) else drawn


def conv(d: Draw, name: str, plan: Plan) -> None:
    """Images, or lines, and kernels that fit in them, most often."""
    _conv(d, name.replace("1d", "2d"), plan)
    if "1d" in name:
        _lines(plan, name)


def _conv(d: Draw, name: str, plan: Plan) -> None:
    kernel = d.pick((1, 2, 3, 3, 5, 7)), d.pick((1, 2, 3, 3, 5, 11))
    groups = d.pick((1, 1, 1, 2, 3))
    ins, outs = d.pick((0, 1, 2, 3, 5, 16, 17)), d.pick((0, 1, 2, 3, 5, 16, 33))
    shape = _images(d, kernel, ins * groups)
    weight = (outs * groups, ins, *kernel)
    stride, dilation = _pair(d, (1, 1, 2, 3)), _pair(d, (1, 1, 1, 2))
    padding = d.pick(
        (_pair(d, (0, 1, 2)), "same", "valid", 2**20, 2**31 - 1, 2**40) if d.chance(0.2) else (0, 1, (1, 2))
    )
    plan.shapes = {"input": shape, "weight": weight, "bias": weight[:1]}
    plan.values = constants(stride=stride, padding=padding, dilation=dilation, groups=groups)
    if name == "conv2d_backward":
        try:
            y = F.conv2d(np.zeros(shape, "f"), np.zeros(weight, "f"), None, stride, padding, dilation, groups)
            plan.shapes["dy"] = y.shape
        except (ValueError, TypeError, MemoryError):
            plan.shapes["dy"] = d.shape(3, 4)


def linear(d: Draw, name: str, plan: Plan) -> None:
    """Rows of features, and weights that take them."""
    ins, outs = d.pick((0, 1, 2, 5, 16, 33)), d.pick((0, 1, 3, 16, 17))
    rows = d.shape()[:2]
    plan.shapes = {"input": (*rows, ins), "weight": (outs, ins), "bias": (outs,), "dy": (*rows, outs)}


def pool(d: Draw, name: str, plan: Plan) -> None:
    """Images, or lines, and windows that fit in them, most often."""
    _pool(d, name, plan)
    if "1d" in name:
        _lines(plan, name)


def _pool(d: Draw, name: str, plan: Plan) -> None:
    kernel = _pair(d, (1, 2, 2, 3, 3, 5, 7, 17))
    plan.shapes["input"] = _images(d, _two(kernel), d.pick((0, 1, 2, 3, 16, 17)))
    most = min(_two(kernel)) // 2
    plan.values = {
        "kernel_size": lambda: kernel,
        "stride": lambda: d.pick((None, _pair(d, (1, 2, 3, 5)))),
        "padding": lambda: _pair(d, tuple(range(most + 1))),
        "dilation": lambda: _pair(d, (1, 1, 1, 2)),
        "output_size": lambda: d.pick(
            (_pair(d, (1, 2, 3, 5, 7)), 2, (3, None), None) if name[:1] == "a" else (None, 2, (2, 3))
        ),
        "output_ratio": lambda: d.pick((None, 0.5, (0.5, 0.75))),
    }


FAMILIES: dict[str, Family] = {
    "activation": one_shape,
    "gated": gated,
    "slope": slope,
    "softmax": softmax,
    "dropout": dropout,
    "loss": loss,
    "embedding": embedding,
    "norm": norm,
    "batch_norm": batch_norm,
    "conv": conv,
    "linear": linear,
    "pool": pool,
}
