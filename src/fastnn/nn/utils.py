"""Clipping of gradients, which knows no layer, and functions for whole models: update_bn and fuse_bn."""

from __future__ import annotations

from collections.abc import Iterable

from fastnn._core.tensor_lists import Move, TensorList, clip_norm, make_lists
from fastnn._core.uninterrupted import uninterrupted
from fastnn.nn._fuse_bn import fuse_bn
from fastnn.nn._update_bn import update_bn
from fastnn.nn.parameter import Parameter

__all__ = ["clip_grad_norm_", "clip_grad_value_", "fuse_bn", "update_bn"]


def clip_grad_norm_(
    parameters: Parameter | Iterable[Parameter],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> float:
    """Scale all gradients, in place, so that the norm of them together is at most max_norm; return that norm.

    The norm before clipping is (sum |g|^norm_type)^(1 / norm_type), or the largest |g| for norm_type=inf;
    where it is above max_norm, gradients are multiplied by max_norm / (norm + 1e-6), as in PyTorch.
    Parameters without a gradient are left out. Sums are of float64; the number of threads does not change
    them. Where gradients are on a GPU, the norm is an array without axes there, in float64, and nothing waits
    for it but `error_if_nonfinite`. foreach: PyTorch's, without effect. Pascanu, Mikolov and Bengio, 2013.

    Raises ValueError for a max_norm below 0 and a norm_type that is not above 0, RuntimeError for a norm that
    is infinite or NaN if `error_if_nonfinite` (then nothing is changed), TypeError for what is no gradient.
    """
    norm_type = float(norm_type)
    if not max_norm >= 0:
        raise ValueError(f"max_norm must be at least 0, got {max_norm}")
    if not norm_type > 0:
        raise ValueError(f"norm_type must be above 0, or inf, got {norm_type}")
    lists = _gradients(parameters)
    return clip_norm(lists, max_norm, norm_type, error_if_nonfinite)


def clip_grad_value_(
    parameters: Parameter | Iterable[Parameter], clip_value: float, foreach: bool | None = None
) -> None:
    """Limit every element of every gradient, in place, to [-clip_value, clip_value]; NaN stays NaN.

    `foreach` is PyTorch's, without effect. Raises ValueError for a clip_value below 0.
    """
    if not clip_value >= 0:
        raise ValueError(f"clip_value must be at least 0, got {clip_value}")
    for each in _gradients(parameters):
        uninterrupted(each.calls(Move("clamp", (clip_value,))))


def _gradients(parameters: Parameter | Iterable[Parameter]) -> list[TensorList]:
    given = [parameters] if isinstance(parameters, Parameter) else list(parameters)
    for index, parameter in enumerate(given):
        if not isinstance(parameter, Parameter):
            raise TypeError(f"parameters[{index}] must be an nn.Parameter, got {type(parameter).__name__}")
    gradients = {
        index: (parameter.grad,) for index, parameter in enumerate(given) if parameter.grad is not None
    }
    return make_lists(gradients, "parameters", ("grad",))
