"""Runs a chain of stages on a GPU: brings the arrays into one layout and launches the kernels.

The twin of fastnn._chain: it knows the descriptions of fastnn.stages, and not who made them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastnn import _kernels, stages
from fastnn._chain import (
    NOT_RUNNING,
    Gradients,
    Layout,
    Running,
    Saved,
    _is_read_after_addition,
    _key_for,
    check_counter,
    check_gradient,
    check_residual,
    check_running,
    check_saved,
    check_shape,
    check_vector,
    layout,
)
from fastnn.cuda import _arrays, _launch, _resident
from fastnn.cuda._arrays import DeviceArray
from fastnn.cuda._launch import fast_math
from fastnn.cuda.kernels import channels, draws, elementwise, gradients, moments, resident, scaling, tiles
from fastnn.random import Key, keep_scale, keep_threshold
from fastnn.stages import BatchNorm, Head, Stage

Named = Sequence[tuple[str, DeviceArray]]


class _Stages(NamedTuple):
    """The stages of a chain as kernels know them."""

    kinds: tuple[tuple[str, ...], ...]
    numbers: tuple[float, ...]
    threshold: int  # of dropout; -1 without
    adds: bool


@functools.cache
def _rows() -> list[str]:
    return list(_kernels.activations())


@functools.lru_cache(1024)
def _known(given: tuple[Stage, ...]) -> _Stages:
    kinds: list[tuple[str, ...]] = []
    numbers: list[float] = []
    threshold = -1
    for stage in given:
        if isinstance(stage, stages.Activation):
            kinds.append(("activation", _rows()[stage.row]))
            numbers += stage.values
        elif isinstance(stage, stages.Dropout) and stage.p > 0:
            kinds.append(("dropout",))
            numbers += (keep_scale(stage.p), 0.0)
            threshold = keep_threshold(stage.p)
        elif isinstance(stage, stages.Add):
            kinds.append(("add",))
            numbers += (0.0, 0.0)
    return _Stages(tuple(kinds), tuple(numbers), threshold, ("add",) in kinds)


# ---- layouts -----------------------------------------------------------------------------------------------


def _has_channels_last(array: DeviceArray) -> bool:
    shape, strides = array.shape, array.strides()
    expected = 1
    for axis in (1, *range(len(shape) - 1, 1, -1), 0):
        if shape[axis] != 1 and strides[axis] != expected:
            return False
        expected *= shape[axis]
    return True


def _layout_of(array: DeviceArray) -> Layout:
    """The layout of an array's memory, or the usual one if its memory has gaps."""
    last = len(array.shape) > 2 and not array.contiguous and _has_channels_last(array)
    return layout(array.shape, array.size, last)


def _holds(form: Layout, array: DeviceArray) -> bool:
    return array.contiguous if form.usual else _has_channels_last(array)


def _arranged(form: Layout, array: DeviceArray, like: DeviceArray) -> DeviceArray:
    """The same values in this layout, which `like` has."""
    if _holds(form, array):
        return array
    if form.usual:
        return _arrays.contiguous(array)
    copy = _arrays.empty_like(like, array.dtype)
    copy.library.assign(copy.owner, array.owner)
    return copy


def _target(
    form: Layout, out: DeviceArray | None, read: DeviceArray, *apart: DeviceArray | None
) -> DeviceArray:
    """Where the kernel may write: `out` if it is laid out so, and is `read` or apart from all."""
    if out is not None and _holds(form, out) and _arrays.is_harmless(out, (read,), apart):
        return out
    return _arrays.empty_like(read)


def _delivered(target: DeviceArray, given: DeviceArray | None, out: Any) -> Any:
    """What the caller gets: `out` if it was given."""
    if given is None:
        return target.owner
    if given is not target:
        given.library.assign(given.owner, target.owner)
    return out


# ---- what is given -----------------------------------------------------------------------------------------


def _vector(name: str, value: Any, input: DeviceArray) -> DeviceArray | None:
    """What is given for each of the input's channels."""
    if value is None:
        return None
    array = _arrays.ready(name, value)
    check_vector(name, input.shape[1], array.shape)
    return _arrays.contiguous(array)


class _OnDevice(NamedTuple):
    """Running statistics as kernels need them: contiguous, copies where they were not."""

    given: tuple[DeviceArray | None, DeviceArray | None]
    mean: DeviceArray | None
    var: DeviceArray | None
    batches: DeviceArray | None

    def deliver(self) -> None:
        """Updated copies go to where they come from."""
        for array, own in zip(self.given, (self.mean, self.var), strict=True):
            if array is not None and own is not None and array is not own:
                array.library.assign(array.owner, own.owner)


def _running(running: Running, head: BatchNorm, x: DeviceArray) -> _OnDevice:
    """The running statistics, checked before anything is written."""
    running.check_pair(head)
    found: list[DeviceArray | None] = [None, None]
    for k, (name, value) in enumerate((("running_mean", running.mean), ("running_var", running.var))):
        if value is not None:
            array = found[k] = _arrays.describe(name, value)
            check_running(name, x.shape[1], array.shape, array.dtype)
    batches = None
    if running.batches is not None:
        batches = _arrays.describe("num_batches_tracked", running.batches)
        check_counter(batches.size, batches.shape, batches.dtype)
    running.check_training(head, x.shape, x.size // max(x.shape[1], 1))
    mean, var = (None if array is None else _arrays.contiguous(array) for array in found)
    return _OnDevice((found[0], found[1]), mean, var, batches)


def _dtype(array: DeviceArray | None, absent: str = "float32") -> str:
    """The dtype; of what is not there, whose address is 0, one that most have: a kernel less."""
    return absent if array is None else array.dtype


def _address(array: DeviceArray | None) -> int:
    return 0 if array is None else array.address


class _Problem(NamedTuple):
    """What forward and backward passes have in common: the input, how it is cut, and the stages."""

    x: DeviceArray
    form: Layout
    stages: _Stages
    key: Key | None

    @property
    def draws(self) -> str:
        """How dropout counts elements."""
        if self.stages.threshold < 0:
            return ""
        return "memory" if self.form.usual else "columns"

    @property
    def words(self) -> list[int]:
        """Those of its draws, as kernels take them."""
        key = Key(0, 0) if self.key is None else self.key
        return [*map(_launch.signed, draws.key_words(key, max(self.stages.threshold, 0), self.x))]

    @property
    def is_elementwise(self) -> bool:
        """Whether a chain without a head can go over memory as it lies."""
        return self.draws != "columns"

    def cut(self, *arrays: DeviceArray | None) -> channels.Cut:
        """How these arrays are cut, of which all have the input's layout."""
        together = 0
        for array in arrays:
            together |= _address(array)
        return channels.cut(self.x.dtype, *self.form[1:], together % 16 == 0)

    def launch(self, template: Any, key: Any, grid: Any, block: int, *arguments: Any) -> None:
        """Launch a kernel on the input's device and stream."""
        _launch.run(template, key, self.x.device, _arrays.stream(self.x), grid, block, *arguments)

    def launch_at_once(self, template: Any, key: Any, plan: _resident.Plan, *arguments: Any) -> None:
        """Launch a kernel whose blocks wait for each other."""
        like, shared = self.x, plan.turns * plan.slab
        place, sizes = (like.device, _arrays.stream(like)), (plan.blocks, channels.THREADS)
        _launch.run(template, key, *place, *sizes, *arguments, shared=shared, cooperative=True)

    def empty(self, shape: tuple[int, ...], dtype: str) -> DeviceArray:
        """A new array beside the input."""
        return _arrays.empty(self.x, shape, dtype)

    def of_channels(self, count: int) -> int:
        """The blocks in which warps take a channel each."""
        return -(-count // moments.WARPS)


# ---- forward -----------------------------------------------------------------------------------------------


class _Statistics(NamedTuple):
    """Mean, its rest and rstd of each channel."""

    mean: DeviceArray | None = None
    rest: DeviceArray | None = None
    rstd: DeviceArray | None = None


class _Batch(NamedTuple):
    """What kernels take for the moments of a batch, and for the running ones."""

    head: BatchNorm
    running: _OnDevice
    found: _Statistics
    pieces: DeviceArray
    averages: tuple[str, str]  # dtypes of the running ones
    counter: str  # dtype of the number of batches

    @property
    def cumulative(self) -> bool:
        """Whether running moments are averages over all batches."""
        return self.head.momentum is None

    def numbers(self, values: int) -> tuple[float, ...]:
        """eps, momentum, factor and skip, for `values` elements of a channel."""
        head = self.head
        factor = 1.0 if head.biased_running_var else values / (values - 1)
        return head.eps, head.momentum or 0.0, factor, int(head.skip_nonfinite)


def _batch(problem: _Problem, head: BatchNorm, running: _OnDevice, cut: channels.Cut) -> _Batch:
    count = problem.x.shape[1]
    return _Batch(
        head,
        running,
        _Statistics(*[problem.empty((count,), "float64") for _ in range(3)]),
        problem.empty((count * cut.pieces * 4,), moments.piece_dtype(problem.x.dtype)),
        (_dtype(running.mean), _dtype(running.var)),
        _dtype(running.batches, "int64"),
    )


def _moments(problem: _Problem, batch: _Batch, cut: channels.Cut) -> None:
    """The statistics of the batch, which the running ones take in: two kernels."""
    x, count, running = problem.x, problem.x.shape[1], batch.running
    key = x.dtype, cut.width, cut.single, batch.counter
    addresses = x.address, batch.pieces.address, _address(running.batches)
    problem.launch(moments.moments, key, cut.grid, channels.THREADS, *addresses, *cut.numbers)
    problem.launch(
        moments.finish,
        (batch.pieces.dtype, *batch.averages, batch.counter if batch.cumulative else ""),
        problem.of_channels(count),
        32 * moments.WARPS,
        *(batch.pieces.address, cut.pieces, count),
        *map(_address, batch.found),
        *(_address(running.mean), _address(running.var), _address(running.batches)),
        *batch.numbers(x.size // count),
    )


def _at_once(
    problem: _Problem,
    batch: _Batch,
    arrays: Sequence[DeviceArray],
    parameters: tuple[DeviceArray | None, DeviceArray | None],
    cut: channels.Cut,
) -> bool:
    """All of a training step's forward by one kernel, if what it keeps fits on the chip."""
    x, chain, running = problem.x, problem.stages, batch.running
    weight, bias = parameters
    head = scaling.Head("batch", _dtype(weight), _dtype(bias), *batch.averages)
    key = x.dtype, cut.width, cut.single, head, chain.kinds, problem.draws, batch.counter, batch.cumulative
    plan = _resident.plan(resident.forward, key, x.device, fast_math.enabled, cut, 1)
    if plan is None:
        return False
    problem.launch_at_once(
        resident.forward,
        key,
        plan,
        *(array.address for array in arrays),
        *map(_address, (*batch.found, running.mean, running.var, *parameters)),
        *(_resident.counter(x).address, _address(running.batches), batch.pieces.address),
        *cut.numbers,
        *plan.numbers(cut),
        *problem.words,
        *batch.numbers(x.size // x.shape[1]),
        *chain.numbers,
    )
    return True


def _kind_of(head: Head | None) -> str:
    if isinstance(head, BatchNorm):
        return "batch" if head.training else "running"
    return "none" if head is None else "scale"


def forward(
    head: Head | None,
    stages: tuple[Stage, ...],
    input: Any,
    *,
    weight: Any = None,
    bias: Any = None,
    running: Running = NOT_RUNNING,
    key: Key | None = None,
    residual: Any = None,
    out: Any = None,
) -> tuple[Any, Saved]:
    """The chain of head and stages: (y, what backward needs)."""
    x = _arrays.ready("input", input)
    check_shape(head, x.shape)
    addend = None
    if residual is not None:
        addend = _arrays.ready("residual", residual)
        check_residual(addend.shape, x.shape)
    scale, shift = _vector("weight", weight, x), _vector("bias", bias, x)
    averages = (
        _running(running, head, x) if isinstance(head, BatchNorm) else _OnDevice((None, None), *[None] * 3)
    )
    dtype = _arrays.common_dtype((("input", x), ("residual", addend)))
    given = None if out is None else _arrays.check_out(out, x.shape, dtype)
    several = ("input", x), ("residual", addend), ("weight", scale), ("bias", shift), ("out", given)
    running_ones = ("running_mean", averages.mean), ("running_var", averages.var)
    _arrays.same_device((*several, *running_ones, ("num_batches_tracked", averages.batches)))
    key = _key_for(stages, key)

    overlaps = given is not None and _arrays.may_overlap(given, x)
    x = _arrays.astype(x, dtype)
    form = _layout_of(x)
    x = _arranged(form, x, x)
    if addend is not None:
        addend = _arranged(form, _arrays.astype(addend, dtype), x)
    problem, target = _Problem(x, form, _known(stages), key), _target(form, given, x, addend)
    found = _run_forward(problem, head, averages, target, addend, scale, shift)
    y = _delivered(target, given, out)
    if addend is not None and not _is_read_after_addition(stages):
        addend = None
    mean, rest, rstd, weight, bias, addend = _arrays.owners(*found, scale, shift, addend)
    kept = None if overlaps else x.owner
    return y, Saved(head, stages, kept, mean, rest, rstd, weight, bias, addend, key)


def _run_forward(
    problem: _Problem,
    head: Head | None,
    running: _OnDevice,
    target: DeviceArray,
    addend: DeviceArray | None,
    weight: DeviceArray | None,
    bias: DeviceArray | None,
) -> _Statistics:
    """Launch the kernels; the statistics of batch norm."""
    x, chain, found = problem.x, problem.stages, _Statistics()
    if x.size == 0:
        return found
    arrays = (target, x) if addend is None else (target, x, addend)
    if head is None and problem.is_elementwise:
        key, words = (x.dtype, chain.kinds), problem.words if problem.draws else ()
        tile = tiles.tile(elementwise.forward_operands(*key))
        tiles.run(elementwise.chain_forward, key, tile, arrays, chain.numbers, words)
        return found
    cut, parameters = problem.cut(*arrays), (weight, bias)
    if isinstance(head, BatchNorm) and head.training:
        batch = _batch(problem, head, running, problem.cut(x))
        found = batch.found
        done = _at_once(problem, batch, arrays, parameters, cut)
        if not done:
            _moments(problem, batch, problem.cut(x))
        running.deliver()
        if done:
            return found
    elif isinstance(head, BatchNorm):
        mean, rstd = (problem.empty((x.shape[1],), "float64") for _ in range(2))
        found = _Statistics(mean, None, rstd)
    kind = _kind_of(head)
    averages = (_dtype(running.mean), _dtype(running.var)) if kind == "running" else ()
    problem.launch(
        scaling.forward,
        (
            x.dtype,
            cut.width,
            cut.single,
            scaling.Head(kind, _dtype(weight), _dtype(bias), *averages),
            chain.kinds,
            problem.draws,
        ),
        cut.grid,
        channels.THREADS,
        *(array.address for array in arrays),
        *map(_address, (*found, running.mean, running.var, *parameters)),
        *cut.numbers,
        *problem.words,
        head.eps if isinstance(head, BatchNorm) else 0.0,
        *chain.numbers,
    )
    return found


# ---- backward ----------------------------------------------------------------------------------------------


def backward(dy: Any, saved: Saved, *, out: Any = None) -> Gradients:
    """The gradients of a forward call, from dL/dy and what that call saved."""
    check_saved(saved)
    g, x = _arrays.ready("dy", dy), _arrays.describe("saved.input", saved.input)
    check_gradient(g.shape, x.shape)
    dtype = _arrays.common_dtype((("dy", g), ("input", x)))
    given = None if out is None else _arrays.check_out(out, x.shape, dtype)
    _arrays.same_device((("dy", g), ("input", x), ("out", given)))
    x = _arrays.astype(x, dtype)
    form = _layout_of(x)
    x = _arranged(form, x, x)
    g = _arranged(form, _arrays.astype(g, dtype), x)
    problem, target = _Problem(x, form, _known(saved.stages), saved.key), _target(form, given, g, x)
    addend = daddend = None
    if problem.stages.adds:
        daddend = _arrays.empty_like(x)
        if saved.residual is not None:
            addend = _arrays.astype(_arrays.describe("saved.residual", saved.residual), dtype)
            addend = _arranged(form, addend, x)
    dweight, dbias = _run_backward(problem, saved, target, g, addend, daddend)
    return Gradients(_delivered(target, given, out), *_arrays.owners(dweight, dbias, daddend))


class _Channels(NamedTuple):
    """What is known of each channel, and its gradients."""

    head: scaling.Head
    addresses: tuple[int, ...]
    weight: DeviceArray | None
    bias: DeviceArray | None
    dweight: DeviceArray | None
    dbias: DeviceArray | None


def _saved(name: str, value: Any) -> DeviceArray | None:
    return None if value is None else _arrays.describe(f"saved.{name}", value)


def _channels(saved: Saved) -> _Channels:
    """What forward kept of each channel, and new arrays for the gradients of what it was given."""
    kind = _kind_of(saved.head)
    weight, bias = _saved("weight", saved.weight), _saved("bias", saved.bias)
    statistics = (_saved(name, getattr(saved, name)) for name in ("mean", "rest", "rstd"))
    addresses = (*map(_address, statistics), 0, 0, _address(weight), _address(bias))
    head = scaling.Head("evaluated" if kind == "running" else kind, _dtype(weight), _dtype(bias))
    dweight, dbias = (None if array is None else _arrays.empty_like(array) for array in (weight, bias))
    return _Channels(head, addresses, weight, bias, dweight, dbias)


def _run_backward(
    problem: _Problem,
    saved: Saved,
    target: DeviceArray,
    g: DeviceArray,
    addend: DeviceArray | None,
    daddend: DeviceArray | None,
) -> tuple[DeviceArray | None, DeviceArray | None]:
    """Launch the kernels; the gradients for weight and bias."""
    x, chain = problem.x, problem.stages
    if saved.head is None and problem.is_elementwise:
        _run_elementwise_backward(problem, target, g, addend, daddend)
        return None, None
    each = _channels(saved)
    if x.size == 0:
        for gradient in (each.dweight, each.dbias):
            if gradient is not None:
                gradient.library.assign(gradient.owner, 0)
        return each.dweight, each.dbias
    arrays = [target, g, x]
    if daddend is not None:
        arrays += [x if addend is None else addend, daddend]
    cut, training = problem.cut(*arrays), each.head.kind == "batch"
    sums = training or each.weight is not None or each.bias is not None
    count, kind = x.shape[1], moments.piece_dtype(x.dtype)
    pieces = problem.empty((count * cut.pieces * 4,), kind) if sums else None
    slopes = problem.empty((count * 2,), kind) if training else None

    once = (
        training
        and pieces is not None
        and slopes is not None
        and _backward_at_once(problem, each, arrays, addend is not None, cut, pieces, slopes)
    )
    if once:
        return each.dweight, each.dbias

    def go(does: str) -> None:
        key = x.dtype, cut.width, cut.single, each.head, chain.kinds, addend is not None, problem.draws, does
        given = (*(array.address for array in arrays), *each.addresses, _address(pieces), _address(slopes))
        rest = *cut.numbers, *problem.words, *chain.numbers
        problem.launch(gradients.backward, key, cut.grid, channels.THREADS, *given, *rest)

    go(gradients.SUMS if training else gradients.BOTH if sums else gradients.PLAIN)
    if pieces is not None:
        problem.launch(
            gradients.finish,
            (x.dtype, each.head),
            problem.of_channels(count),
            32 * moments.WARPS,
            *(pieces.address, cut.pieces, count, x.size / count),
            *each.addresses,
            *map(_address, (each.dweight, each.dbias, slopes)),
        )
    if training:
        go(gradients.FROM_SUMS)
    return each.dweight, each.dbias


def _backward_at_once(
    problem: _Problem,
    each: _Channels,
    arrays: Sequence[DeviceArray],
    addend: bool,
    cut: channels.Cut,
    pieces: DeviceArray,
    slopes: DeviceArray,
) -> bool:
    """All of a training step's backward by one kernel, if what it keeps fits on the chip."""
    x, chain = problem.x, problem.stages
    key = x.dtype, cut.width, cut.single, each.head, chain.kinds, addend, problem.draws
    plan = _resident.plan(resident.backward, key, x.device, fast_math.enabled, cut, 3 if addend else 2)
    if plan is None:
        return False
    problem.launch_at_once(
        resident.backward,
        key,
        plan,
        *(array.address for array in arrays),
        *each.addresses,
        *(_resident.counter(x).address, pieces.address),
        *map(_address, (each.dweight, each.dbias, slopes)),
        x.size / x.shape[1],
        *cut.numbers,
        *plan.numbers(cut),
        *problem.words,
        *chain.numbers,
    )
    return True


def _run_elementwise_backward(
    problem: _Problem,
    target: DeviceArray,
    g: DeviceArray,
    addend: DeviceArray | None,
    daddend: DeviceArray | None,
) -> None:
    x, chain = problem.x, problem.stages
    arrays = [target, g, x]
    if daddend is not None:
        arrays += [x if addend is None else addend, daddend]
    key, words = (x.dtype, chain.kinds), problem.words if problem.draws else ()
    tile = tiles.tile(elementwise.backward_operands(*key))
    tiles.run(elementwise.chain_backward, key, tile, arrays, chain.numbers, words)
