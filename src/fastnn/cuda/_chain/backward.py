"""The kernels of a chain's backward pass: which are launched, on what, and in what order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fastnn._chain.saved import Saved
from fastnn._core.dtypes import computing_name
from fastnn.cuda._chain import cooperative
from fastnn.cuda._chain.problem import Parameters, Problem, address_of, dtype_of, kind_of
from fastnn.cuda._core import device_arrays
from fastnn.cuda._runtime import memory
from fastnn.cuda._runtime.launch import fast_math
from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.cuda.kernels.chain import channels, elementwise, gradients, moments, resident, scaling
from fastnn.cuda.kernels.common import tiles


class _Channels(NamedTuple):
    """What is known of each channel, and its gradients."""

    head: scaling.Head
    addresses: tuple[int, ...]
    weight: DeviceArray | None
    bias: DeviceArray | None
    dweight: DeviceArray | None
    dbias: DeviceArray | None


def _saved(name: str, value: Any) -> DeviceArray | None:
    return None if value is None else device_arrays.describe(f"saved.{name}", value)


def _channels(saved: Saved) -> _Channels:
    """What forward kept of each channel, and new arrays for the gradients of what it was given."""
    kind = kind_of(saved.head)
    weight, bias = _saved("weight", saved.weight), _saved("bias", saved.bias)
    statistics = (_saved(name, getattr(saved, name)) for name in ("mean", "mean_low", "rstd"))
    addresses = (*map(address_of, statistics), 0, 0, address_of(weight), address_of(bias))
    head = scaling.Head("evaluated" if kind == "running" else kind, dtype_of(weight), dtype_of(bias))
    dweight, dbias = (None if array is None else memory.empty_like(array) for array in (weight, bias))
    return _Channels(head, addresses, weight, bias, dweight, dbias)


class _Backward(NamedTuple):
    """What the kernels of a backward pass take."""

    problem: Problem
    each: _Channels
    arrays: Sequence[DeviceArray]
    addend: bool  # whether what was added is read
    cut: channels.Cut
    pieces: DeviceArray | None
    slopes: DeviceArray | None

    def pass_over(self, does: str) -> None:
        """Launch the kernel that goes over the arrays."""
        problem, cut, chain = self.problem, self.cut, self.problem.stages
        key = (
            problem.x.dtype, cut.width, cut.single, self.each.head, chain.steps, self.addend, problem.draws,
            does,
        )  # fmt: skip
        addresses = *(array.address for array in self.arrays), *self.each.addresses
        sums = address_of(self.pieces), address_of(self.slopes)
        numbers = *cut.numbers, *problem.words, *chain.numbers
        problem.launch(gradients.backward, key, cut.grid, channels.THREADS, *addresses, *sums, *numbers)

    def finish(self) -> None:
        """Launch the kernel that adds up what blocks have found."""
        problem, each, count = self.problem, self.each, self.problem.x.shape[1]
        problem.launch(
            gradients.finish,
            (problem.x.dtype, each.head),
            problem.of_channels(count),
            32 * moments.WARPS,
            *(address_of(self.pieces), self.cut.pieces, count, problem.x.size / count),
            *each.addresses,
            *map(address_of, (each.dweight, each.dbias, self.slopes)),
        )

    def at_once(self) -> bool:
        """All of a training step's backward by one kernel, if what it keeps fits on the chip."""
        problem, each, cut = self.problem, self.each, self.cut
        x, chain, layers = problem.x, problem.stages, 3 if self.addend else 2
        key = x.dtype, cut.width, cut.single, each.head, chain.steps, self.addend, problem.draws
        plan = cooperative.plan(resident.backward, key, x.device, fast_math.enabled, cut, layers)
        if plan is None:
            return False
        problem.launch_at_once(
            resident.backward,
            key,
            plan,
            *(array.address for array in self.arrays),
            *each.addresses,
            *(cooperative.counter(x).address, address_of(self.pieces)),
            *map(address_of, (each.dweight, each.dbias, self.slopes)),
            x.size / x.shape[1],
            *cut.numbers,
            *plan.numbers(cut),
            *problem.words,
            *chain.numbers,
        )
        return True


def run_backward(
    problem: Problem,
    saved: Saved,
    target: DeviceArray,
    g: DeviceArray,
    addend: DeviceArray | None,
    daddend: DeviceArray | None,
) -> Parameters:
    """Launch the kernels; the gradients for weight and bias."""
    x, arrays = problem.x, [target, g, problem.x]
    if daddend is not None:
        arrays += [x if addend is None else addend, daddend]
    if saved.head is None and problem.is_elementwise:
        key, words = (x.dtype, problem.stages.steps), problem.words if problem.draws else ()
        tile = tiles.tile(elementwise.backward_operands(*key))
        tiles.run(elementwise.chain_backward, key, tile, arrays, problem.stages.numbers, words)
        return None, None
    each = _channels(saved)
    if x.size == 0:
        for gradient in (each.dweight, each.dbias):
            if gradient is not None:
                gradient.library.assign(gradient.owner, 0)
        return each.dweight, each.dbias
    cut, training = problem.cut(*arrays), each.head.kind == "batch"
    sums = training or each.weight is not None or each.bias is not None
    count, real = x.shape[1], computing_name(x.dtype)
    pieces = problem.empty((count * cut.pieces * 4,), real) if sums else None
    slopes = problem.empty((count * 2,), real) if training else None
    back = _Backward(problem, each, arrays, addend is not None, cut, pieces, slopes)
    if training:
        if not back.at_once():
            back.pass_over(gradients.SUMS)
            back.finish()
            back.pass_over(gradients.FROM_SUMS)
    elif sums:
        back.pass_over(gradients.BOTH)
        back.finish()
    else:
        back.pass_over(gradients.PLAIN)
    return each.dweight, each.dbias
