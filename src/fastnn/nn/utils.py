"""Clipping of gradients. It knows parameters, and no layer."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from fastnn import _kernels
from fastnn._tensors import TensorList, find_rule
from fastnn.nn.parameter import Parameter

_REDUCTIONS = {1.0: _kernels.SIZES, 2.0: _kernels.SQUARES, math.inf: _kernels.LARGEST}
_NO_PENALTIES = (False, 0.0, 0.0, 0.0)


def clip_grad_norm_(
    parameters: Parameter | Iterable[Parameter],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> float:
    """Scale all gradients, in place, so that the norm of them together is at most max_norm; return that norm.

    The norm before clipping is (sum |g|^norm_type)^(1 / norm_type), or the largest |g| for norm_type=inf;
    where it is above max_norm, gradients are multiplied by max_norm / (norm + 1e-6), as in PyTorch.
    Parameters without a gradient are left out. Sums are of float64; the number of threads does not change
    them. Pascanu, Mikolov and Bengio, 2013.

    Raises ValueError for a max_norm below 0 and a norm_type that is not above 0, RuntimeError for a norm that
    is infinite or NaN if `error_if_nonfinite` (then nothing is changed), TypeError for what is no gradient.
    """
    norm_type = float(norm_type)
    if not max_norm >= 0:
        raise ValueError(f"max_norm is {max_norm}; it takes a number of at least 0")
    if not norm_type > 0:
        raise ValueError(f"norm_type is {norm_type}; it takes a number above 0, or inf")
    lists = _gradients(parameters)
    norm = _total_norm(lists, norm_type)
    if error_if_nonfinite and not math.isfinite(norm):
        raise RuntimeError(f"the gradients' norm of order {norm_type} is {norm}, so they cannot be clipped")
    factor = max_norm / (norm + 1e-6)
    if not factor >= 1:  # NaN included: torch makes the gradients NaN then
        _run(lists, "scale", factor)
    return norm


def clip_grad_value_(parameters: Parameter | Iterable[Parameter], clip_value: float) -> None:
    """Limit every element of every gradient, in place, to [-clip_value, clip_value]; NaN stays NaN."""
    if not clip_value >= 0:
        raise ValueError(f"clip_value is {clip_value}; it takes a number of at least 0")
    _run(_gradients(parameters), "clamp", float(clip_value))


def _gradients(parameters: Parameter | Iterable[Parameter]) -> list[TensorList]:
    given = [parameters] if isinstance(parameters, Parameter) else list(parameters)
    lists: dict[bool, TensorList] = {}
    for index, parameter in enumerate(given):
        if not isinstance(parameter, Parameter):
            raise TypeError(f"parameters[{index}] is {type(parameter).__name__}; it takes an nn.Parameter")
        if parameter.grad is None:
            continue
        float64 = np.asarray(parameter.grad).dtype.char == "d"
        if float64 not in lists:
            lists[float64] = TensorList(len(given))
        lists[float64].add((parameter.grad,), "parameters", index, ("grad",))
    return list(lists.values())


def _total_norm(lists: list[TensorList], norm_type: float) -> float:
    reduction = _REDUCTIONS.get(norm_type)
    if reduction is None:
        sums = [np.sum(np.abs(g, dtype=np.float64) ** norm_type) for each in lists for g in each.targets]
    else:
        sums = [value for each in lists for value in each.tensors.reduce(reduction)[:, 0].tolist()]
    if reduction == _kernels.LARGEST:
        return float(np.max(sums, initial=0.0))
    return float(np.sum(sums) ** (1 / norm_type))


def _run(lists: list[TensorList], rule: str, number: float) -> None:
    for each in lists:
        each.tensors.update(find_rule(rule), _NO_PENALTIES, (number,))
        each.write_back()
