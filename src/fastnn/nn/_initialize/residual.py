"""Initialisation of networks with residual blocks, nn.Residual."""

from __future__ import annotations

from fastnn.init.constants import zeros_
from fastnn.init.scaling import kaiming_normal_
from fastnn.init.target import Draws
from fastnn.nn._initialize.layers import layers_with_weight, matrix_layers, weight_of, zero_bias
from fastnn.nn.module import Module, check_model
from fastnn.nn.residual import Residual


def zero_last_(model: Module) -> Module:
    """Set the last layer of every residual branch to 0, so that each block starts as its shortcut.

    Returns the model. The last layer is the last module of the branch with a weight, a norm included, but no
    activation. Goyal et al., "Accurate, Large Minibatch SGD", 2017. Raises ValueError for a model without
    nn.Residual, and for a branch without such a layer.
    """
    for block in _blocks(model):
        _zero(_last_layer(block))
    return model


def fixup_(model: Module, generator: Draws = None) -> Module:
    """Initialise a model with residual blocks and no norms by Fixup's scheme; return the model.

    With L blocks and m weight layers in a branch: these are drawn by kaiming_normal_ (for relu) and
    multiplied by L^(-1 / (2m - 2)), their biases are 0, and the last layer of the branch is 0. So is the last
    weight layer of the model, if it is outside of all blocks: its classifier. Other layers stay as they are.
    The scheme's scalar biases and multipliers are layers of the model's own. Weight layers have a weight of
    at least 2 dimensions and are no norms. Zhang, Dauphin and Ma, "Fixup Initialization", 2019. Raises
    ValueError as zero_last_ does.
    """
    blocks = _blocks(model)
    for block in blocks:
        layers = matrix_layers(block.branch)
        for layer in layers[:-1]:
            weight = kaiming_normal_(weight_of(layer), nonlinearity="relu", generator=generator)
            weight.data *= len(blocks) ** (-1 / (2 * len(layers) - 2))
            zero_bias(layer)
        _zero(_last_layer(block))
    inside = {id(module) for block in blocks for module in block.modules()}
    for last in matrix_layers(model)[-1:]:
        if id(last) not in inside:
            _zero(last)
    return model


def _blocks(model: Module) -> list[Residual]:
    check_model(model)
    blocks = [module for module in model.modules() if isinstance(module, Residual)]
    if not blocks:
        raise ValueError(f"model must have an nn.Residual, got {type(model).__name__} without one")
    return blocks


def _last_layer(block: Residual) -> Module:
    layers = layers_with_weight(block.branch)
    if not layers:
        raise ValueError(f"a residual branch must have a layer with a weight, got {block!r}")
    return layers[-1]


def _zero(layer: Module) -> None:
    zeros_(weight_of(layer))
    zero_bias(layer)
