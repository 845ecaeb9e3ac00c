"""The kernels of a chain's forward pass: which are launched, on what, and in what order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fastnn._core.dtypes import computing_name
from fastnn.cuda._chain import cooperative
from fastnn.cuda._chain.problem import Parameters, Problem, address_of, dtype_of, kind_of
from fastnn.cuda._runtime.launch import fast_math
from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.cuda.kernels.chain import channels, elementwise, moments, resident, scaling
from fastnn.cuda.kernels.common import tiles
from fastnn.stages import BatchNorm, Head


class OnDevice(NamedTuple):
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


class Statistics(NamedTuple):
    """Of each channel the mean, as a sum of two float64 numbers, and 1 / deviation."""

    mean: DeviceArray | None = None
    mean_low: DeviceArray | None = None
    rstd: DeviceArray | None = None


class _Batch(NamedTuple):
    """What kernels take for the moments of a batch, and for the running ones."""

    head: BatchNorm
    running: OnDevice
    found: Statistics
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


def _batch(problem: Problem, head: BatchNorm, running: OnDevice, cut: channels.Cut) -> _Batch:
    count = problem.x.shape[1]
    return _Batch(
        head,
        running,
        Statistics(*[problem.empty((count,), "float64") for _ in range(3)]),
        problem.empty((count * cut.pieces * 4,), computing_name(problem.x.dtype)),
        (dtype_of(running.mean), dtype_of(running.var)),
        dtype_of(running.batches, "int64"),
    )


def _moments(problem: Problem, batch: _Batch, cut: channels.Cut) -> None:
    """The statistics of the batch, which the running ones take in: two kernels."""
    x, count, running = problem.x, problem.x.shape[1], batch.running
    key = x.dtype, cut.width, cut.single, batch.counter
    addresses = x.address, batch.pieces.address, address_of(running.batches)
    problem.launch(moments.moments, key, cut.grid, channels.THREADS, *addresses, *cut.numbers)
    problem.launch(
        moments.finish,
        (batch.pieces.dtype, *batch.averages, batch.counter if batch.cumulative else ""),
        problem.of_channels(count),
        32 * moments.WARPS,
        *(batch.pieces.address, cut.pieces, count),
        *map(address_of, batch.found),
        *(address_of(running.mean), address_of(running.var), address_of(running.batches)),
        *batch.numbers(x.size // count),
    )


def _at_once(
    problem: Problem,
    batch: _Batch,
    arrays: Sequence[DeviceArray],
    parameters: Parameters,
) -> bool:
    """All of a training step's forward by one kernel, if what it keeps fits on the chip."""
    x, chain, running = problem.x, problem.stages, batch.running
    (weight, bias), cut = parameters, problem.cut(*arrays)
    head = scaling.Head("batch", dtype_of(weight), dtype_of(bias), *batch.averages)
    key = x.dtype, cut.width, cut.single, head, chain.steps, problem.draws, batch.counter, batch.cumulative
    plan = cooperative.plan(resident.forward, key, x.device, fast_math.enabled, cut, 1)
    if plan is None:
        return False
    problem.launch_at_once(
        resident.forward,
        key,
        plan,
        *(array.address for array in arrays),
        *map(address_of, (*batch.found, running.mean, running.var, *parameters)),
        *(cooperative.counter(x).address, address_of(running.batches), batch.pieces.address),
        *cut.numbers,
        *plan.numbers(cut),
        *problem.words,
        *batch.numbers(x.size // x.shape[1]),
        *chain.numbers,
    )
    return True


def _apply(
    problem: Problem,
    head: Head | None,
    running: OnDevice,
    arrays: Sequence[DeviceArray],
    parameters: Parameters,
    found: Statistics,
) -> None:
    """The head, whose statistics are known, and the stages."""
    x, chain, cut, kind = problem.x, problem.stages, problem.cut(*arrays), kind_of(head)
    weight, bias = parameters
    averages = (dtype_of(running.mean), dtype_of(running.var)) if kind == "running" else ()
    taken = scaling.Head(kind, dtype_of(weight), dtype_of(bias), *averages)
    problem.launch(
        scaling.forward,
        (x.dtype, cut.width, cut.single, taken, chain.steps, problem.draws),
        cut.grid,
        channels.THREADS,
        *(array.address for array in arrays),
        *map(address_of, (*found, running.mean, running.var, *parameters)),
        *cut.numbers,
        *problem.words,
        head.eps if isinstance(head, BatchNorm) else 0.0,
        *chain.numbers,
    )


def _train(
    problem: Problem,
    head: BatchNorm,
    running: OnDevice,
    arrays: Sequence[DeviceArray],
    parameters: Parameters,
) -> Statistics:
    """Batch norm with the moments of the batch, and the stages."""
    cut = problem.cut(problem.x)
    batch = _batch(problem, head, running, cut)
    if not _at_once(problem, batch, arrays, parameters):
        _moments(problem, batch, cut)
        _apply(problem, head, running, arrays, parameters, batch.found)
    running.deliver()
    return batch.found


def run_forward(
    problem: Problem,
    head: Head | None,
    running: OnDevice,
    target: DeviceArray,
    addend: DeviceArray | None,
    parameters: Parameters,
) -> Statistics:
    """Launch the kernels; the statistics of batch norm."""
    x, chain = problem.x, problem.stages
    if x.size == 0:
        return Statistics()
    arrays = (target, x) if addend is None else (target, x, addend)
    if head is None and problem.is_elementwise:
        key, words = (x.dtype, chain.steps), problem.words if problem.draws else ()
        tile = tiles.tile(elementwise.forward_operands(*key))
        tiles.run(elementwise.chain_forward, key, tile, arrays, chain.numbers, words)
        return Statistics()
    if isinstance(head, BatchNorm) and head.training:
        return _train(problem, head, running, arrays, parameters)
    found = Statistics()
    if isinstance(head, BatchNorm):
        mean, rstd = (problem.empty((x.shape[1],), "float64") for _ in range(2))
        found = Statistics(mean, None, rstd)
    _apply(problem, head, running, arrays, parameters, found)
    return found
