"""The backward passes of norms of rows: which kernels are launched, and the sums of dweight and dbias."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastnn._core.arrays import check_dy
from fastnn._core.dtypes import computing_name
from fastnn.cuda._core import device_arrays
from fastnn.cuda._runtime import launch, memory
from fastnn.cuda._runtime.dtypes import WIDTH
from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.cuda.functional.norm_parameters import Parameters, joined, row_words, weighted_by
from fastnn.cuda.kernels.common import cuts, rows
from fastnn.cuda.kernels.common.division import magic
from fastnn.cuda.kernels.norm import norm_gradients, row_sums, weight_gradients
from fastnn.functional.norm import NormSaved

Gradients = tuple[Any, Any, Any]

#: Rows that a team of weight_gradients.by_element has at least, so that its sums are few.
_LEAST_TURNS = 4
#: Blocks that fill a GPU.
_WANTED_BLOCKS = 528


class _Call(NamedTuple):
    """What the kernels of a backward pass share."""

    dx: DeviceArray
    x: DeviceArray
    dy: DeviceArray
    mean: DeviceArray | None
    rstd: DeviceArray
    parameters: Parameters
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
    cut = weight_gradients.many_cut(length, call.x.dtype, all(array.address % 16 == 0 for array in arrays))
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
        weight_gradients.by_element, key, (groups, blocks), cut.block, *call.addresses(sums), *words, call.own
    )
    return _Sums(sums, blocks)


def _long_rows(call: _Call) -> _Sums:
    """Rows that no team holds together with their weights: dx, and then the sums, which read all again."""
    groups, length, _ = call.blocks
    samples = call.row_count // groups
    _rows(call, "element", call.row_count, length, row_words(call.blocks), None)
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
    per: str,
    count: int,
    length: int,
    words: tuple[int, ...],
    sums: DeviceArray | None,
    part: str = "all",
    coefficients: DeviceArray | None = None,
) -> None:
    cut = call.cut(length)
    at_once = per == "element" and not cut.ragged and call.parameters.aligned(length)
    form = norm_gradients.Form(per, call.mean is not None, call.weighted(), at_once, part)
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


def gradients(dy: Any, saved: NormSaved, out: Any) -> Gradients:
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
    parameters = joined(weight, None, dx)
    call = _Call(dx, x, g, mean, rstd, parameters, saved.blocks, own)
    sums = None
    if x.size:
        sums = (_by_element if weighted_by(saved.blocks) == "element" else _by_channel)(call)
    return arrays.result(), _merged(call, sums, weight, 0), _merged(call, sums, bias, 1)
