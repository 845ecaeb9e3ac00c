"""Runs a chain of stages on the CPU, forward and backward: lays arrays out alike and calls the kernels.

It knows the descriptions of fastnn.stages, and not who made them. On a GPU, fastnn.cuda._chain.run does this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnn import _kernels
from fastnn._chain.arguments import as_given, check_residual, check_shape, vector
from fastnn._chain.layout import Layout, layout_of
from fastnn._chain.running import NOT_RUNNING, Running
from fastnn._chain.saved import Gradients, Saved, check_saved
from fastnn._core import arrays
from fastnn._core.dispatch import twin_of
from fastnn._core.dlpack import is_on_gpu
from fastnn._core.dtypes import computing_dtype
from fastnn._core.typing import Array
from fastnn.random import Key, given_or_next, keep_scale, keep_threshold
from fastnn.stages import Activation, Add, BatchNorm, Dropout, Head, Stage


def _add_stages(
    chain: _kernels.Chain,
    stages: Sequence[Stage],
    samples: Array,
    key: Key | None,
    addend: Array | None,
    daddend: Array | None = None,
) -> None:
    for stage in stages:
        if isinstance(stage, Activation):
            chain.activate(stage.row, *stage.values)
        elif isinstance(stage, Dropout) and stage.p > 0 and key is not None:
            chain.drop(key, keep_threshold(stage.p), keep_scale(stage.p), samples)
        elif isinstance(stage, Add):
            chain.add(addend, daddend)


def is_read_after_addition(stages: Sequence[Stage]) -> bool:
    """Whether an activation comes after the addition: its gradient then depends on the residual."""
    kinds = [type(stage) for stage in stages]
    return Activation in kinds[kinds.index(Add) :]


def _addend(residual: ArrayLike | None, x: Array) -> Array | None:
    if residual is None:
        return None
    addend = arrays.ready("residual", residual)
    check_residual(addend.shape, x.shape)
    return addend


def key_for(stages: tuple[Stage, ...], key: Key | None) -> Key | None:
    """The key for its dropout: for None the default generator's next. Without dropout, what is given."""
    for stage in stages:
        if isinstance(stage, Dropout) and stage.p > 0:
            return given_or_next(key)
    return key


def forward(
    head: Head | None,
    stages: tuple[Stage, ...],
    input: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    running: Running = NOT_RUNNING,
    key: Key | None = None,
    residual: ArrayLike | None = None,
    out: Array | None = None,
) -> tuple[Array, Saved]:
    """Run the chain of head and stages; return (y, what backward needs)."""
    if isinstance(head, BatchNorm) and residual is None:
        quick = _kernels.batch_norm(head, stages, input, *running, weight, bias, out)
        if quick is not None:
            read: Any = input  # which is an array, as are weight and bias
            saved: Any = head, stages, _kept(read, out), *quick[1:4], weight, bias, None, key, quick[4]
            return quick[0], Saved(*saved)
    if is_on_gpu(input):
        options: Any = {"weight": weight, "bias": bias, "running": running, "key": key, "residual": residual}
        done: tuple[Array, Saved] = twin_of(forward)(head, stages, input, **options, out=out)
        return done
    x = arrays.ready("input", input)
    check_shape(head, x.shape)
    addend = _addend(residual, x)
    if addend is not None:
        x = x.astype(arrays.common_dtype((("input", x), ("residual", addend))), copy=False)
    dtype, layout = computing_dtype(x.dtype), layout_of(x)
    if out is not None:
        arrays.check_out(out, x.shape, x.dtype)
        weight, bias, addend = (arrays.unspoilt(array, out) for array in (weight, bias, addend))
    scale, shift = vector("weight", weight, x, dtype), vector("bias", bias, x, dtype)
    if isinstance(head, BatchNorm):
        running.check(head, x)
    key = key_for(stages, key)

    plain = layout.arrange(x, dtype)
    if addend is not None:
        addend = layout.arrange(addend, dtype)
    target = _target(out, layout, plain, addend, scale, shift)
    chain = _kernels.Chain(dtype.char == "d", *layout[1:])
    mean = mean_low = rstd = variance = None
    elsewhere = 0
    if isinstance(head, BatchNorm) and head.training and head.ranks is not None:
        mean, mean_low, rstd, variance, elsewhere = _kernels.normalise_across(
            chain, head.ranks, head.eps, plain, running.mean, scale, shift
        )
    elif isinstance(head, BatchNorm) and head.training:
        mean, mean_low, rstd, variance = chain.normalise(head.eps, scale, shift)
    elif isinstance(head, BatchNorm):
        mean, rstd = running.evaluate(chain, head, scale, shift)
    elif head is not None:
        chain.scale(False, None, None, None, scale, shift)
    _add_stages(chain, stages, x, key, addend)
    chain.forward(plain, target)
    if isinstance(head, BatchNorm) and mean is not None and variance is not None:
        values = layout.outer * layout.inner + elsewhere
        if values:
            running.update(head, mean, variance, values)
    y = _result(target, x.dtype, out)
    if addend is not None and not is_read_after_addition(stages):
        addend = None
    vectors = (as_given("weight", weight, scale), as_given("bias", bias, shift))
    return y, Saved(head, stages, _kept(x, out), mean, mean_low, rstd, *vectors, addend, key, elsewhere)


def _kept(input: Array, out: Array | None) -> Array | None:
    """The input for backward: None where y may have been written over it."""
    return None if out is not None and np.may_share_memory(out, input) else input


def _target(out: Array | None, layout: Layout, read: Array, *others: Array | None) -> Array:
    """Where the chain may write as it reads one array in step, and others: `out`, or a new array."""
    reads = [array for array in others if array is not None]
    if out is None or not layout.holds(out, read.dtype) or arrays.spoils(out, read, in_step=True):
        return layout.empty(read.dtype)
    return layout.empty(read.dtype) if any(arrays.spoils(out, array) for array in reads) else out


def _result(target: Array, dtype: np.dtype[Any], out: Array | None) -> Array:
    if out is None:
        return arrays.rounded(target, dtype)
    if out is not target:
        arrays.write(out, target)
    return out


def _sums(doubles: NDArray[np.float64], dtype: np.dtype[Any]) -> Array:
    return _kernels.as_float32(doubles) if dtype == np.float32 else arrays.rounded(doubles, dtype)


def backward(dy: ArrayLike, saved: Saved, *, out: Array | None = None) -> Gradients:
    """Return the gradients of a forward call, from dL/dy and what that call saved."""
    check_saved(saved)
    assert saved.input is not None
    if isinstance(saved.head, BatchNorm):
        quick = _kernels.batch_norm_backward(dy, saved, out)
        if quick is not None:
            return Gradients(*quick)
    if is_on_gpu(saved.input) or is_on_gpu(dy):
        gradients: Gradients = twin_of(backward)(dy, saved, out=out)
        return gradients
    g, x, head, stages = arrays.ready("dy", dy), saved.input, saved.head, saved.stages
    arrays.check_dy(g.shape, x.shape)
    if g.dtype != x.dtype:
        x = x.astype(arrays.common_dtype((("dy", g), ("input", x))), copy=False)
    if out is not None:
        arrays.check_out(out, x.shape, x.dtype)
    dtype, layout = computing_dtype(x.dtype), layout_of(x)
    plain, g = layout.arrange(x, dtype), layout.arrange(g, dtype)
    weight, bias = saved.weight, saved.bias
    scale, shift = vector("weight", weight, x, dtype), vector("bias", bias, x, dtype)
    target = _target(out, layout, g, plain, scale, shift, saved.residual)
    chain = _kernels.Chain(dtype.char == "d", *layout[1:])
    training = isinstance(head, BatchNorm) and head.training
    dbias = dweight = addend = daddend = None
    if head is not None:
        chain.scale(training, saved.mean, saved.mean_low, saved.rstd, scale, shift, saved.elsewhere)
        if training or weight is not None or bias is not None:
            dbias, dweight = np.empty(x.shape[1]), np.empty(x.shape[1])
    if stages and any(isinstance(stage, Add) for stage in stages):
        addend = None if saved.residual is None else layout.arrange(saved.residual, dtype)
        daddend = layout.empty(dtype)
    _add_stages(chain, stages, x, saved.key, addend, daddend)
    if isinstance(head, BatchNorm) and training and head.ranks is not None:
        assert dbias is not None
        assert dweight is not None
        _kernels.backward_across(chain, head.ranks, g, plain, target, dbias, dweight)
    else:
        chain.backward(g, plain, target, dbias, dweight)
    return Gradients(
        _result(target, x.dtype, out),
        None if weight is None or dweight is None else _sums(dweight, weight.dtype),
        None if bias is None or dbias is None else _sums(dbias, bias.dtype),
        None if daddend is None else arrays.rounded(daddend, x.dtype),
    )
