"""The twins of fastnn.functional.loss: the same for arrays on a GPU, but that nothing is copied to the host.

So a loss is an array of 0 dimensions there, of float32, or float64 for float64. Labels cannot be checked
before they are used: one that is neither a class nor ignore_index makes its sample's loss and gradient NaN,
and with them the sum and the mean.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from fastnn import _kernels
from fastnn._core.arrays import integer
from fastnn._core.dtypes import computing_name
from fastnn.cuda._core import device_arrays, overlap
from fastnn.cuda._core.device_arrays import Elementwise
from fastnn.cuda._runtime import memory
from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.cuda.functional.softmax import sizes
from fastnn.cuda.kernels.common import cuts, rows, totals
from fastnn.cuda.kernels.loss import element_losses, losses
from fastnn.functional.loss import (
    Numbers,
    _advice,
    _check_elements_reduction,
    _check_label_form,
    _check_logits,
    _check_margin,
    _check_reduction,
    _check_smoothing,
    _check_target_form,
    of_one_sample,
)

Loss = tuple[Any, Any]

#: The formulas of the losses of elements, by the binding's numbers.
NAMES = {getattr(_kernels, name.upper()): name for name in element_losses.FORMULAS}


def _reduced(
    arrays: Elementwise, numbers: DeviceArray, reduction: str, count: int, divisor: DeviceArray | None = None
) -> Loss:
    """(loss, gradient) from losses, or sums of them; the mean is over `count`, or the divisor."""
    dtype = computing_name(arrays.target.dtype)
    if reduction == "sum":
        loss = totals.add_up(numbers, dtype)
    elif divisor is None:
        loss = totals.add_up(numbers, dtype, 1 / count if count else math.nan)
    else:
        loss = totals.add_up(numbers, dtype, divisor=divisor)
    return loss.owner, arrays.result()


# ---- losses of samples -------------------------------------------------------------------------------------


def _labels(target: DeviceArray, logits: tuple[int, ...]) -> DeviceArray:
    _check_label_form(target.shape, target.dtype, logits)
    return device_arrays.contiguous(device_arrays.astype(target, "int64"))


def _class_weight(weight: Any, classes: int, target: DeviceArray) -> DeviceArray | None:
    if weight is None:
        return None
    array = device_arrays.ready("weight", weight)
    if array.shape != (classes,):
        raise ValueError(f"weight must have shape {(classes,)}, one for each class, got {array.shape}")
    device_arrays.same_device([("input", target), ("weight", array)])
    return overlap.apart(device_arrays.contiguous(device_arrays.astype(array, target.dtype)), target)


def _of_samples(
    template: Any,
    form: tuple[Any, ...],
    operands: int,
    arrays: Elementwise,
    labels: DeviceArray | None,
    weight: DeviceArray | None,
    ignored: int,
    numbers: tuple[float, float, float, float],
    divisor: DeviceArray | None,
) -> DeviceArray:
    """Each sample's loss in float64; the gradient is written. operands: of its classes, in registers."""
    dx, (x, *probabilities) = arrays.target, arrays.inputs
    each = memory.empty(x, (x.shape[0], *x.shape[2:]), "float64")
    shape = sizes(x.shape, 1)
    cut = cuts.cut_of(shape, (dx, *arrays.inputs), operands)
    others = labels, probabilities[0] if probabilities else None, weight, divisor
    addresses = dx.address, x.address, each.address, *(0 if a is None else a.address for a in others)
    if x.size:
        rows.run(template, (x.dtype, *form, tuple(cut)), cut, x, shape, addresses, (ignored,), numbers)
    return each


def _delivered(
    arrays: Elementwise, each: DeviceArray, reduction: str, divisor: DeviceArray | None = None
) -> Loss:
    if reduction == "none":
        return device_arrays.astype(each, arrays.target.dtype).owner, arrays.result()
    return _reduced(arrays, each, reduction, each.size, divisor)


def _cross_entropy(
    kind: int,
    input: Any,
    target: Any,
    weight: Any,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    out: Any,
) -> Loss:
    """As fastnn.functional.cross_entropy, with the loss on the GPU; labels out of range as above."""
    if kind == _kernels.NLL:
        message = "nll_loss takes no arrays on a GPU; cross_entropy does, and takes the logits"
        raise NotImplementedError(message)
    _check_reduction(reduction)
    x, t = device_arrays.ready("input", input), device_arrays.describe("target", target)
    if len(x.shape) == 1:
        options = weight, ignore_index, reduction, label_smoothing
        return of_one_sample(functools.partial(_cross_entropy, kind), input, target, *options, out=out)
    _check_logits(x.shape)
    ignored, smoothing = integer("ignore_index", ignore_index), _check_smoothing(label_smoothing)
    classes, labels = x.shape[1], None
    if t.dtype in ITEMSIZE:
        _check_target_form(t.shape, x.shape, _advice(t.shape, t.dtype, x.shape))
        soft = device_arrays.astype(t, x.dtype)
        arrays = device_arrays.elementwise((("input", x.owner), ("target", soft.owner)), out, in_c_order=True)
    else:
        labels = _labels(t, x.shape)
        arrays = device_arrays.elementwise((("input", x.owner),), out, in_c_order=True)
        device_arrays.same_device([("input", x), ("target", t)])
        labels = overlap.apart(labels, arrays.target)
    class_weight, divisor = _class_weight(weight, classes, arrays.target), None
    if not -(2**63) <= ignored < 2**63:
        ignored = -1  # no label is that large, and -1 is no class
    samples = x.shape[0] * math.prod(x.shape[2:])
    scale = 1 / samples if reduction == "mean" and samples else 1.0
    if reduction == "mean" and labels is not None:
        divisor = totals.count_labels(labels, class_weight, arrays.target.dtype, classes, ignored)
    form = losses.Form(labels is not None, class_weight is not None, smoothing > 0, divisor is not None)
    numbers = 1 - smoothing, smoothing / classes, 0.0, scale
    key, operands = (tuple(form),), 1 + form.soft
    each = _of_samples(
        losses.cross_entropy, key, operands, arrays, labels, class_weight, ignored, numbers, divisor
    )
    return _delivered(arrays, each, reduction, divisor)


def _hinge_loss(input: Any, target: Any, margin: float, reduction: str, out: Any) -> Loss:
    """As fastnn.functional.hinge_loss, with the loss on the GPU; labels out of range as above."""
    _check_reduction(reduction)
    margin = _check_margin(margin)
    x, t = device_arrays.ready("input", input), device_arrays.describe("target", target)
    if len(x.shape) == 1:
        return of_one_sample(_hinge_loss, input, target, margin, reduction, out=out)
    _check_logits(x.shape)
    labels = _labels(t, x.shape)
    arrays = device_arrays.elementwise((("input", x.owner),), out, in_c_order=True)
    device_arrays.same_device([("input", x), ("target", t)])
    labels = overlap.apart(labels, arrays.target)
    scale = 1 / labels.size if reduction == "mean" and labels.size else 1.0
    each = _of_samples(losses.hinge, (), 1, arrays, labels, None, 0, (1.0, 0.0, margin, scale), None)
    return _delivered(arrays, each, reduction)


# ---- losses of elements ------------------------------------------------------------------------------------


def _element_weight(name: str, weight: Any, like: DeviceArray, target: DeviceArray) -> DeviceArray | None:
    """The weight as an array of the form of `like`, which its shape must broadcast to."""
    if weight is None:
        return None
    array = device_arrays.ready(name, weight)
    device_arrays.same_device([("input", like), (name, array)])
    try:
        full = like.library.broadcast(array.owner, like.shape)
    except (ValueError, RuntimeError):
        raise ValueError(f"{name} must broadcast to input's shape, {like.shape}, got {array.shape}") from None
    full = device_arrays.contiguous(device_arrays.astype(like.library.describe(name, full), like.dtype))
    # The gradient may be written to the weight itself, but not to a shifted view of it.
    return full if full.address == target.address else overlap.apart(full, target)


def _elements_loss(
    kind: int,
    input: Any,
    target: Any,
    weight: Any,
    pos_weight: Any,
    numbers: Numbers,
    reduction: str,
    out: Any,
) -> Loss:
    """As the function of fastnn.functional of this kind, with the loss on the GPU."""
    x, t = device_arrays.ready("input", input), device_arrays.ready("target", target)
    _check_target_form(t.shape, x.shape)
    t = device_arrays.astype(t, x.dtype)
    arrays = device_arrays.elementwise((("input", x.owner), ("target", t.owner)), out, in_c_order=True)
    dx, (x, t) = arrays.target, arrays.inputs
    reduction = _check_elements_reduction(kind, x.shape, reduction)
    count = x.shape[0] if reduction == "batchmean" else x.size
    w, pos = (
        _element_weight(name, value, x, dx)
        for name, value in (("weight", weight), ("pos_weight", pos_weight))
    )
    given = [array for array in (dx, x, t, w, pos) if array is not None]
    each = memory.empty_like(x) if reduction == "none" else None
    cut = element_losses.cut_for(x.dtype, len(given) - 1, all(array.address % 16 == 0 for array in given))
    blocks = -(-x.size // (cut.team * cut.span))
    sums = memory.empty(x, (blocks,), "float64")
    if x.size:
        others = (0 if array is None else array.address for array in (w, pos, sums, each))
        addresses = dx.address, x.address, t.address, *others
        key = x.dtype, NAMES[kind], w is not None, pos is not None, each is not None, tuple(cut)
        scale = 1 / count if reduction in ("mean", "batchmean") else 1.0
        rows.run(element_losses.elements, key, cut, x, (1, x.size, 1), addresses, (), (scale, *numbers))
    if each is not None:
        return each.owner, arrays.result()
    return _reduced(arrays, sums, reduction, count)
