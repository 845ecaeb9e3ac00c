"""Runs a chain of stages on a GPU: checks what is given, and brings the arrays into one layout.

The twin of fastnn._chain.run. It knows the descriptions of fastnn.stages, not who made them, nor any kernel.
"""

from __future__ import annotations

from typing import Any

from fastnn._chain.arguments import check_residual, check_shape, check_vector
from fastnn._chain.layout import Layout, layout
from fastnn._chain.run import is_read_after_addition, key_for
from fastnn._chain.running import NOT_RUNNING, Running, check_counter, check_running
from fastnn._chain.saved import Gradients, Saved, check_saved
from fastnn._core.arrays import check_dy
from fastnn.cuda._chain.backward import run_backward
from fastnn.cuda._chain.forward import OnDevice, run_forward
from fastnn.cuda._chain.problem import Problem, known
from fastnn.cuda._core import device_arrays, overlap
from fastnn.cuda._runtime import memory
from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.random import Key
from fastnn.stages import BatchNorm, Head, Stage

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
        return device_arrays.contiguous(array)
    copy = memory.empty_like(like, array.dtype)
    copy.library.assign(copy.owner, array.owner)
    return copy


def _target(
    form: Layout, out: DeviceArray | None, read: DeviceArray, *apart: DeviceArray | None
) -> DeviceArray:
    """Where the kernel may write: `out` if it is laid out so, and is `read` or apart from all."""
    if out is not None and _holds(form, out) and overlap.is_harmless(out, (read,), apart):
        return out
    return memory.empty_like(read)


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
    array = device_arrays.ready(name, value)
    check_vector(name, input.shape[1], array.shape)
    return device_arrays.contiguous(array)


def _running(running: Running, head: BatchNorm, x: DeviceArray) -> OnDevice:
    """The running statistics, checked before anything is written."""
    running.check_pair(head)
    found: list[DeviceArray | None] = [None, None]
    for k, (name, value) in enumerate((("running_mean", running.mean), ("running_var", running.var))):
        if value is not None:
            array = found[k] = device_arrays.describe(name, value)
            check_running(name, x.shape[1], array.shape, array.dtype)
    batches = None
    if running.batches is not None and head.training:
        batches = device_arrays.describe("num_batches_tracked", running.batches)
        check_counter(batches.size, batches.shape, batches.dtype)
    running.check_training(head, x.shape, x.size // max(x.shape[1], 1))
    if head.training and head.ranks is not None:
        raise ValueError(
            "input must be in the CPU's memory for batch norm over several ranks in training, got an array"
            " on a GPU: use model.cpu(), or batch norm of each rank's rows alone (ranks=None)"
        )
    mean, var = (None if array is None else device_arrays.contiguous(array) for array in found)
    return OnDevice((found[0], found[1]), mean, var, batches)


# ---- both passes -------------------------------------------------------------------------------------------


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
    x = device_arrays.ready("input", input)
    check_shape(head, x.shape)
    addend = None
    if residual is not None:
        addend = device_arrays.ready("residual", residual)
        check_residual(addend.shape, x.shape)
    scale, shift = _vector("weight", weight, x), _vector("bias", bias, x)
    averages = (
        _running(running, head, x) if isinstance(head, BatchNorm) else OnDevice((None, None), *[None] * 3)
    )
    dtype = device_arrays.common_dtype((("input", x), ("residual", addend)))
    given = None if out is None else device_arrays.check_out(out, x.shape, dtype)
    several = ("input", x), ("residual", addend), ("weight", scale), ("bias", shift), ("out", given)
    running_ones = ("running_mean", averages.mean), ("running_var", averages.var)
    device_arrays.same_device((*several, *running_ones, ("num_batches_tracked", averages.batches)))
    key = key_for(stages, key)

    if given is not None:  # backward needs them as they are now
        scale, shift, addend = (v if v is None else overlap.apart(v, given) for v in (scale, shift, addend))
    overlaps = given is not None and overlap.may_overlap(given, x)
    x = device_arrays.astype(x, dtype)
    form = _layout_of(x)
    x = _arranged(form, x, x)
    if addend is not None:
        addend = _arranged(form, device_arrays.astype(addend, dtype), x)
    problem, target = Problem(x, form, known(stages), key), _target(form, given, x, addend)
    found = run_forward(problem, head, averages, target, addend, (scale, shift))
    y = _delivered(target, given, out)
    if addend is not None and not is_read_after_addition(stages):
        addend = None
    mean, mean_low, rstd, weight, bias, addend = device_arrays.owners(*found, scale, shift, addend)
    kept = None if overlaps else x.owner
    return y, Saved(head, stages, kept, mean, mean_low, rstd, weight, bias, addend, key)


def backward(dy: Any, saved: Saved, *, out: Any = None) -> Gradients:
    """The gradients of a forward call, from dL/dy and what that call saved."""
    check_saved(saved)
    g, x = device_arrays.ready("dy", dy), device_arrays.describe("saved.input", saved.input)
    check_dy(g.shape, x.shape)
    dtype = device_arrays.common_dtype((("dy", g), ("input", x)))
    given = None if out is None else device_arrays.check_out(out, x.shape, dtype)
    device_arrays.same_device((("dy", g), ("input", x), ("out", given)))
    x = device_arrays.astype(x, dtype)
    form = _layout_of(x)
    x = _arranged(form, x, x)
    g = _arranged(form, device_arrays.astype(g, dtype), x)
    problem = Problem(x, form, known(saved.stages), saved.key)
    addend = daddend = None
    if problem.stages.adds:
        daddend = memory.empty_like(x)
        if saved.residual is not None:
            addend = device_arrays.astype(device_arrays.describe("saved.residual", saved.residual), dtype)
            addend = _arranged(form, addend, x)
    named = ("saved.weight", saved.weight), ("saved.bias", saved.bias)
    vectors = [device_arrays.describe(name, vector) for name, vector in named if vector is not None]
    target = _target(form, given, g, x, addend, *vectors)
    dweight, dbias = run_backward(problem, saved, target, g, addend, daddend)
    return Gradients(_delivered(target, given, out), *device_arrays.owners(dweight, dbias, daddend))
