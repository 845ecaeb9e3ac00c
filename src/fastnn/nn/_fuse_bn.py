"""Folds batch norms into the layers before them, for inference."""

from __future__ import annotations

import copy
from collections import Counter
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from fastnn.nn._hooks import has_hooks
from fastnn.nn.batchnorm import BatchNorm1d, BatchNorm2d
from fastnn.nn.container import Sequential
from fastnn.nn.conv import Conv1d, Conv2d
from fastnn.nn.linear import Linear
from fastnn.nn.module import Module, check_model
from fastnn.nn.parameter import Parameter
from fastnn.nn.syncbatchnorm import SyncBatchNorm

M = TypeVar("M", bound=Module)

NORMS: dict[type[Module], tuple[type[Module], ...]] = {
    Conv2d: (BatchNorm2d, SyncBatchNorm),
    Conv1d: (BatchNorm1d, SyncBatchNorm),
    Linear: (BatchNorm1d, SyncBatchNorm),
}


def fuse_bn(model: M) -> M:
    """Return a copy of a model in evaluation mode whose batch norms are part of the layers before them.

    W' = W s and b' = (b - mean) s + bias with s = weight / sqrt(var + eps), for a BatchNorm directly behind a
    Conv2d, Conv1d or Linear in a Sequential or a ResidualBlock; the norm is taken out, and other names stay.
    Outputs are the same but for rounding. The model stays as it is, as in PyTorch's fuse_conv_bn_eval. Norms
    are left alone where they use the batch's statistics, where they or the layers before them have hooks or
    are in several places, and in modules of your own, whose order nobody else knows. A Linear before a
    BatchNorm1d must get rows (N, features), as it does in a classifier. Raises ValueError in training mode.
    """
    check_model(model)
    if any(module.training for module in model.modules()):
        raise ValueError("model must be in evaluation mode, model.eval(), as the norms' statistics must stay")
    fused = copy.deepcopy(model)
    owned = Counter(id(part) for module in fused.modules() for part in (module, *_parameters(module)))
    for container in [module for module in fused.modules() if isinstance(module, Sequential)]:
        for (_, layer), (name, norm) in pairwise([*_line(container)]):
            parts = [layer, norm, *_parameters(layer), *_parameters(norm)]
            if _is_pair(layer, norm) and all(owned[id(part)] == 1 for part in parts):
                _fold(layer, norm)
                delattr(container, name)
    return fused


def _parameters(module: Module) -> list[Parameter]:
    return [parameter for _, parameter in module._own_parameters()]


def _line(container: Sequential) -> list[tuple[str, Module]]:
    """The named layers that run one after the other; none where a class changed how they run."""
    classes = type(container).__mro__
    forward, in_line = (
        next(place for place, cls in enumerate(classes) if name in vars(cls))
        for name in ("forward", "_in_line")
    )
    return [] if forward < in_line else [*container._in_line(container._items).items()]


def _is_pair(layer: Module, norm: Any) -> bool:
    """Whether the norm can be folded into the layer."""
    return (
        type(norm) in NORMS.get(type(layer), ())
        and norm.running_mean is not None
        and not (has_hooks(layer) or has_hooks(norm))
    )


def _fold(layer: Any, norm: Any) -> None:
    """Multiply in double, and round once."""
    mean, var = norm.running_mean.astype(np.float64), norm.running_var.astype(np.float64)
    scale, weight = (var + norm.eps) ** -0.5, layer.weight.data
    if norm.weight is not None:
        scale = scale * norm.weight.data
    shift = (-mean if layer.bias is None else layer.bias.data - mean) * scale
    if norm.bias is not None:
        shift = shift + norm.bias.data
    layer.weight.data = (weight * scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(weight.dtype)
    layer.bias = Parameter(shift.astype(weight.dtype), layer.weight.requires_grad)
