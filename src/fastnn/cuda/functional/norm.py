"""The twins of fastnn.functional.norm: the same for arrays on a GPU.

Saved statistics are float64 arrays of the input's library. Nothing is copied to the host.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastnn._core.arrays import check_dy, real_number
from fastnn._core.dtypes import computing_name
from fastnn.cuda._core import device_arrays, overlap
from fastnn.cuda._runtime import launch, memory
from fastnn.cuda._runtime.dtypes import WIDTH
from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.cuda.kernels.common import cuts, rows
from fastnn.cuda.kernels.common.division import magic
from fastnn.cuda.kernels.norm import norm_gradients, norms, row_sums, running
from fastnn.functional.norm import (
    NormSaved,
    _check_given_together,
    _check_instances,
    _group_blocks,
    _normalized_shape,
)

Gradients = tuple[Any, Any, Any]

#: Rows of a team in norm_gradients.by_element: enough that its sums are few, and not more blocks than their
#: sum takes.
_LEAST_TURNS, _MOST_BLOCKS, _WANTED_BLOCKS = 4, 1024, 528


class _Parameters(NamedTuple):
    """Weight and bias as kernels take them: of one dtype, which loads to what x is computed in."""

    weight: DeviceArray | None
    bias: DeviceArray | None
    dtype: str

    def addresses(self) -> tuple[int, int]:
        """Of both; 0 for None."""
        weight, bias = self.weight, self.bias
        return 0 if weight is None else weight.address, 0 if bias is None else bias.address

    def aligned(self, length: int) -> bool:
        """Whether each group's `length` parameters begin at a multiple of 16 bytes."""
        return length % WIDTH[self.dtype] == 0 and all(address % 16 == 0 for address in self.addresses())


def _parameter(name: str, value: Any, shape: tuple[int, ...]) -> DeviceArray | None:
    if value is None:
        return None
    array = device_arrays.ready(name, value)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    return device_arrays.contiguous(array)


def _parameters(weight: DeviceArray | None, bias: DeviceArray | None, target: DeviceArray) -> _Parameters:
    named = [(name, array) for name, array in (("weight", weight), ("bias", bias)) if array is not None]
    device_arrays.same_device([("input", target), *named])
    kinds, wide = {array.dtype for _, array in named}, computing_name(target.dtype)
    dtype = target.dtype if not kinds else kinds.pop() if len(kinds) == 1 else wide
    if computing_name(dtype) != wide:
        dtype = wide
    fitting = {name: overlap.apart(device_arrays.astype(array, dtype), target) for name, array in named}
    return _Parameters(fitting.get("weight"), fitting.get("bias"), dtype)


# ---- forward -----------------------------------------------------------------------------------------------


def _row_words(blocks: tuple[int, int, int]) -> tuple[int, ...]:
    groups, channels, inner = blocks
    return groups, magic(groups), channels, magic(inner)


def _kind(blocks: tuple[int, int, int]) -> str:
    """What has a weight of its own: each element of a row, each channel of it, or the row."""
    _, channels, inner = blocks
    return "row" if channels == 1 else "element" if inner == 1 else "channel"


def _normalise(
    input: Any,
    weight: DeviceArray | None,
    bias: DeviceArray | None,
    out: Any,
    shape: tuple[int, ...],
    blocks: tuple[int, int, int],
    eps: float,
    how: str = "own",
    given: tuple[DeviceArray, DeviceArray] | None = None,
    variance: DeviceArray | None = None,
) -> tuple[Any, NormSaved]:
    """The result and what backward needs. shape: the statistics'; variance: filled with the rows'."""
    eps = real_number("eps", eps)
    arrays = device_arrays.elementwise((("input", input),), out, in_c_order=True)
    y, (x,) = arrays.target, arrays.inputs
    mean, rstd = given or (memory.empty(x, shape, "float64"), memory.empty(x, shape, "float64"))
    parameters = _parameters(weight, bias, y)
    if x.size:
        kind, length = _kind(blocks), blocks[1] * blocks[2]
        cut = cuts.row_cut(length, x.dtype, 1, frozenset((x.address % 16, y.address % 16)))
        per_vector = parameters.aligned(length) if kind == "element" else blocks[2] % cut.width == 0
        form = (kind, weight is not None, bias is not None, per_vector and not cut.ragged)
        addresses = y.address, x.address, mean.address, rstd.address, *parameters.addresses()
        key = x.dtype, parameters.dtype, how, form, tuple(cut)
        last = 0 if variance is None else variance.address
        sizes = math.prod(shape), length, 1
        rows.run(norms.forward, key, cut, x, sizes, (*addresses, last), _row_words(blocks), (eps, 1 / length))
    kept = x.owner if out is None or not overlap.may_overlap(x, device_arrays.describe("out", out)) else None
    statistics = (None if how == "rms" else mean.owner), rstd.owner
    w, b = device_arrays.owners(weight, bias)
    return arrays.result(), NormSaved(kept, *statistics, w, b, blocks, given is not None)


def _of_rows(
    input: Any,
    normalized_shape: int | Sequence[int],
    weight: Any,
    bias: Any,
    eps: float | None,
    out: Any,
    how: str,
) -> tuple[Any, NormSaved]:
    x = device_arrays.ready("input", input)
    shape = _normalized_shape(normalized_shape, x.shape)
    w, b = _parameter("weight", weight, shape), _parameter("bias", bias, shape)
    if eps is None:
        eps = 2.0**-52 if x.dtype == "float64" else 2.0**-23
    return _normalise(x.owner, w, b, out, x.shape[: -len(shape)], (1, math.prod(shape), 1), eps, how)


def layer_norm(
    input: Any,
    normalized_shape: int | Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *,
    out: Any = None,
) -> tuple[Any, NormSaved]:
    """As fastnn.functional.layer_norm. A row of up to 16384 float32 is read once, written once."""
    return _of_rows(input, normalized_shape, weight, bias, eps, out, "own")


def rms_norm(
    input: Any,
    normalized_shape: int | Sequence[int],
    weight: Any = None,
    eps: float | None = None,
    *,
    out: Any = None,
) -> tuple[Any, NormSaved]:
    """As fastnn.functional.rms_norm."""
    return _of_rows(input, normalized_shape, weight, None, eps, out, "rms")


def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *, out: Any = None
) -> tuple[Any, NormSaved]:
    """As fastnn.functional.group_norm. An input in another order than C is copied."""
    x = device_arrays.ready("input", input)
    blocks = _group_blocks(x.shape, num_groups)
    n, channels, *_ = x.shape
    w, b = _parameter("weight", weight, (channels,)), _parameter("bias", bias, (channels,))
    return _normalise(x.owner, w, b, out, (n, blocks[0]), blocks, eps)


# ---- running statistics ------------------------------------------------------------------------------------


def _running(name: str, value: Any, channels: int) -> DeviceArray:
    array = device_arrays.describe(name, value)
    if array.dtype not in ("float32", "float64"):
        raise TypeError(f"{name} must be an array of float32 or float64, got {array.dtype}")
    if array.shape != (channels,):
        raise ValueError(f"{name} must have shape ({channels},), got {array.shape}")
    return array


def _run_on_channels(
    template: Any,
    moving: tuple[DeviceArray, DeviceArray],
    by_sample: tuple[DeviceArray, DeviceArray],
    numbers: tuple[float, ...],
) -> None:
    mean, variance = moving
    samples, channels = by_sample[0].shape
    if samples * channels == 0:
        return
    addresses = [array.address for array in (*moving, *by_sample)]
    words = channels, samples, *mean.strides(), *variance.strides()
    grid, key = -(-channels // cuts.THREADS), (mean.dtype, variance.dtype)
    like = by_sample[0]
    launch.run(
        template,
        key,
        like,
        grid,
        cuts.THREADS,
        *addresses,
        *words,
        *numbers,
    )


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    out: Any = None,
) -> tuple[Any, NormSaved]:
    """As fastnn.functional.instance_norm. Running statistics are moved in the input's stream."""
    x = device_arrays.ready("input", input)
    if len(x.shape) < 2:
        raise ValueError(f"input must have shape (N, C, ...), got {x.shape}")
    n, channels, *rest = x.shape
    inner = math.prod(rest)
    w, b = _parameter("weight", weight, (channels,)), _parameter("bias", bias, (channels,))
    eps = real_number("eps", eps)
    shape, blocks = (n, channels), (channels, 1, inner)
    _check_given_together(running_mean, running_var, use_input_stats)
    if running_mean is None:
        _check_instances(x.shape, inner)
        return _normalise(x.owner, w, b, out, shape, blocks, eps)
    mean, var = (
        _running("running_mean", running_mean, channels),
        _running("running_var", running_var, channels),
    )
    device_arrays.same_device([("input", x), ("running_mean", mean), ("running_var", var)])
    if not use_input_stats:
        given = memory.empty(x, shape, "float64"), memory.empty(x, shape, "float64")
        _run_on_channels(running.given_statistics, (mean, var), given, (eps,))
        return _normalise(x.owner, w, b, out, shape, blocks, eps, "given", given)
    _check_instances(x.shape, inner)
    part, variance = real_number("momentum", momentum), memory.empty(x, shape, "float64")
    y, saved = _normalise(x.owner, w, b, out, shape, blocks, eps, variance=variance)
    if x.size:
        means = device_arrays.describe("mean", saved.mean)
        numbers = part, inner / (inner - 1)
        _run_on_channels(running.move_running, (mean, var), (means, variance), numbers)
    return y, saved


# ---- backward ----------------------------------------------------------------------------------------------


class _Call(NamedTuple):
    """What the kernels of a backward pass share."""

    dx: DeviceArray
    x: DeviceArray
    dy: DeviceArray
    mean: DeviceArray | None
    rstd: DeviceArray
    parameters: _Parameters
    blocks: tuple[int, int, int]
    own: float

    @property
    def row_count(self) -> int:
        """Of rows that have statistics."""
        return self.rstd.size

    def addresses(self, sums: DeviceArray | None, coefficients: DeviceArray | None = None) -> tuple[int, ...]:
        arrays = self.dx, self.x, self.mean, self.rstd, self.parameters.weight, self.dy, sums, coefficients
        return tuple(0 if array is None else array.address for array in arrays)

    def launch(self, template: Any, key: Any, grid: Any, block: Any, *arguments: Any) -> None:
        launch.run(template, key, self.x, grid, block, *arguments)

    def weighted(self) -> bool:
        return self.parameters.weight is not None

    def cut(self, length: int) -> cuts.Cut:
        addresses = frozenset(array.address % 16 for array in (self.dx, self.x, self.dy))
        return cuts.row_cut(length, self.x.dtype, 2, addresses)


class _Sums(NamedTuple):
    """Partial sums of dweight and dbias, an array (2, parts, columns)."""

    array: DeviceArray
    parts: int


def _by_element(call: _Call) -> _Sums:
    """Each element of a row has a weight: layer and RMS norm, and group norm of one value a channel."""
    groups, length, _ = call.blocks
    samples = call.row_count // groups
    arrays = call.dx, call.x, call.dy, *([call.parameters.weight] if call.parameters.weight else [])
    cut = norm_gradients.many_cut(length, call.x.dtype, all(array.address % 16 == 0 for array in arrays))
    if cut is None:
        return _long_rows(call)
    turns = -(-samples // (cut.together * _WANTED_BLOCKS))
    turns = max(turns, _LEAST_TURNS)
    blocks = -(-samples // (cut.together * turns))
    wide = computing_name(call.x.dtype)
    sums = memory.empty(call.x, (2, blocks, groups, length), wide)
    key = call.x.dtype, call.parameters.dtype, call.mean is not None, call.weighted(), tuple(cut)
    words = samples, length, 1, magic(1), groups, turns
    call.launch(
        norm_gradients.by_element, key, (groups, blocks), cut.block, *call.addresses(sums), *words, call.own
    )
    return _Sums(sums, blocks)


def _long_rows(call: _Call) -> _Sums:
    """Rows that no team holds together with their weights: dx, and then the sums, which read all again."""
    groups, length, _ = call.blocks
    samples = call.row_count // groups
    _rows(call, "element", call.row_count, length, _row_words(call.blocks), None)
    aligned = all(array.address % 16 == 0 for array in (call.x, call.dy))
    width = WIDTH[call.x.dtype] if aligned and length % WIDTH[call.x.dtype] == 0 else 1
    columns = -(-length // (row_sums.LANES * width))
    each = max(row_sums.DEEP, -(-call.row_count * columns // _WANTED_BLOCKS))
    blocks = -(-samples // each)
    wide = computing_name(call.x.dtype)
    sums = memory.empty(call.x, (2, blocks, groups, length), wide)
    key, threads = (call.x.dtype, width, call.mean is not None), (row_sums.LANES, row_sums.DEEP)
    words, grid = (samples, length, each, groups, columns, magic(columns)), (groups * columns, blocks)
    call.launch(row_sums.column_sums, key, grid, threads, *call.addresses(sums), *words)
    return _Sums(sums, blocks)


def _rows(
    call: _Call,
    kind: str,
    count: int,
    length: int,
    words: tuple[int, ...],
    sums: DeviceArray | None,
    part: str = "all",
    coefficients: DeviceArray | None = None,
) -> None:
    cut = call.cut(length)
    at_once = kind == "element" and not cut.ragged and call.parameters.aligned(length)
    form = norm_gradients.Form(kind, call.mean is not None, call.weighted(), at_once, part)
    key = call.x.dtype, call.parameters.dtype, tuple(form), tuple(cut)
    addresses = call.addresses(sums, coefficients)
    rows.run(norm_gradients.by_row, key, cut, call.x, (count, length, 1), addresses, words, (call.own,))


def _by_channel(call: _Call) -> _Sums:
    """Each channel's elements lie together: instance norm; group norm, whose means several channels share."""
    groups, channels, inner = call.blocks
    all_rows, all_channels = call.row_count * channels, groups * channels
    samples = call.row_count // groups
    sums = memory.empty(call.x, (2, samples, all_channels), "float64")
    words = all_channels, magic(all_channels), 1, magic(channels)
    if channels == 1:
        _rows(call, "row", all_rows, inner, words, sums)
        return _Sums(sums, samples)
    _rows(call, "row", all_rows, inner, words, sums, "sums")
    coefficients = memory.empty(call.x, (call.row_count, 2), "float64")
    key = call.parameters.dtype, call.weighted()
    weight = 0 if call.parameters.weight is None else call.parameters.weight.address
    assert call.mean is not None
    addresses = weight, sums.address, call.mean.address, call.rstd.address, coefficients.address
    numbers = call.row_count, groups, magic(groups), channels
    grid = -(-call.row_count // cuts.THREADS)
    call.launch(norm_gradients.group_coefficients, key, grid, cuts.THREADS, *addresses, *numbers, call.own)
    _rows(call, "row", all_rows, inner, words, sums, "map", coefficients)
    return _Sums(sums, samples)


def _merged(call: _Call, sums: _Sums | None, like: DeviceArray | None, place: int) -> Any:
    """dweight (place 0) or dbias (1) in the dtype and shape of `like`; None without."""
    if like is None:
        return None
    result = memory.empty(call.x, like.shape, like.dtype)
    if result.size:
        addresses = [0 if sums is None else sums.array.address, 0, 0]
        addresses[1 + place] = result.address
        columns, parts = result.size, 0 if sums is None else sums.parts
        wide = "float64" if sums is None else sums.array.dtype
        grid = -(-columns // row_sums.LANES), 2
        threads = row_sums.LANES, row_sums.DEEP
        call.launch(row_sums.merged, (wide, like.dtype), grid, threads, *addresses, parts, columns)
    return result.owner


def _backward(dy: Any, saved: NormSaved, out: Any) -> Gradients:
    """(dx, dweight, dbias), each in the dtype of what it is the gradient of."""
    if not isinstance(saved, NormSaved):
        raise TypeError(f"saved must be the NormSaved that forward returned, got {type(saved).__name__}")
    if saved.input is None:
        raise ValueError("saved must have forward's input, got none: forward's out was in the input's memory")
    g, x = device_arrays.ready("dy", dy), device_arrays.ready("input", saved.input)
    check_dy(g.shape, x.shape)
    arrays = device_arrays.elementwise((("dy", g.owner), ("input", x.owner)), out, in_c_order=True)
    dx, (g, x) = arrays.target, arrays.inputs
    given = [None if value is None else device_arrays.describe("saved", value) for value in saved[1:5]]
    mean, rstd, weight, bias = given
    assert rstd is not None
    own = 0.0 if saved.given or not x.size else 1 / (saved.blocks[1] * saved.blocks[2])
    parameters = _parameters(weight, None, dx)
    call = _Call(dx, x, g, mean, rstd, parameters, saved.blocks, own)
    sums = None
    if x.size:
        sums = (_by_element if _kind(saved.blocks) == "element" else _by_channel)(call)
    return arrays.result(), _merged(call, sums, weight, 0), _merged(call, sums, bias, 1)


def layer_norm_backward(dy: Any, saved: NormSaved, *, out: Any = None) -> Gradients:
    """As fastnn.functional.layer_norm_backward: rows' sums in float64, those over rows in a fixed order."""
    return _backward(dy, saved, out)


def rms_norm_backward(dy: Any, saved: NormSaved, *, out: Any = None) -> tuple[Any, Any]:
    """As fastnn.functional.rms_norm_backward."""
    dx, dweight, _ = _backward(dy, saved, out)
    return dx, dweight


def group_norm_backward(dy: Any, saved: NormSaved, *, out: Any = None) -> Gradients:
    """As fastnn.functional.group_norm_backward."""
    return _backward(dy, saved, out)


def instance_norm_backward(dy: Any, saved: NormSaved, *, out: Any = None) -> Gradients:
    """As fastnn.functional.instance_norm_backward."""
    return _backward(dy, saved, out)
