"""Finds the layers of a model whose weights are to be initialised, by the attributes `weight` and `bias`."""

from __future__ import annotations

from fastnn.init.constants import zeros_
from fastnn.nn.module import Module, check_model
from fastnn.nn.norm import LayerNorm, RMSNorm
from fastnn.nn.parameter import Parameter
from fastnn.nn.slope import PReLU


def layers_with_weight(model: Module) -> list[Module]:
    """The modules with a weight, norms included but not PReLU, whose weight is an activation's slope."""
    check_model(model)
    return [
        module
        for module in model.modules()
        if isinstance(vars(module).get("weight"), Parameter) and not isinstance(module, PReLU)
    ]


def matrix_layers(model: Module) -> list[Module]:
    """The modules with a weight of at least 2 dimensions but norms, in order: linear layers, convolutions."""
    return [
        layer
        for layer in layers_with_weight(model)
        if weight_of(layer).data.ndim >= 2 and not isinstance(layer, (LayerNorm, RMSNorm))
    ]


def weight_of(layer: Module) -> Parameter:
    """The layer's own weight."""
    weight: Parameter = vars(layer)["weight"]
    return weight


def zero_bias(layer: Module) -> None:
    """Set the layer's bias to 0, if it has one."""
    bias: Parameter | None = getattr(layer, "bias", None)
    if bias is not None:
        zeros_(bias)
