"""Initialisation of networks with residual blocks. It knows nn.Residual, and layers by their weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.init.constants import zeros_
from fastnn.init.scaling import kaiming_normal_
from fastnn.init.target import Draws

if TYPE_CHECKING:
    from fastnn.nn import Module, Parameter, Residual


def zero_last_(model: Module) -> Module:
    """Set the last layer of every residual branch to 0, so that each block starts as its shortcut.

    Returns the model. The last layer is the last module of the branch with a weight, a norm included, but no
    activation. Goyal et al., "Accurate, Large Minibatch SGD", 2017. Raises ValueError for a model without
    nn.Residual, and for a branch without such a layer.
    """
    for block in _blocks(model):
        _zero(_last(block))
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
        layers = weight_layers(block.branch)
        for layer in layers[:-1]:
            weight = kaiming_normal_(_weight(layer), nonlinearity="relu", generator=generator)
            weight.data *= len(blocks) ** (-1 / (2 * len(layers) - 2))
            zero_bias(layer)
        _zero(_last(block))
    inside = {id(module) for block in blocks for module in block.modules()}
    for last in weight_layers(model)[-1:]:
        if id(last) not in inside:
            _zero(last)
    return model


def weight_layers(model: Module) -> list[Module]:
    """The modules with a weight of at least 2 dimensions but norms, in order: linear layers, convolutions."""
    from fastnn.nn import LayerNorm, RMSNorm

    return [
        layer
        for layer in _layers(model)
        if _weight(layer).data.ndim >= 2 and not isinstance(layer, (LayerNorm, RMSNorm))
    ]


def zero_bias(layer: Module) -> None:
    """Set the layer's bias to 0, if it has one."""
    bias: Parameter | None = getattr(layer, "bias", None)
    if bias is not None:
        zeros_(bias)


def _blocks(model: Module) -> list[Residual]:
    from fastnn.nn import Residual  # here, so that `import fastnn` does not load the layers

    blocks = [module for module in model.modules() if isinstance(module, Residual)]
    if not blocks:
        raise ValueError(f"model has no nn.Residual; {type(model).__name__} takes another initialisation")
    return blocks


def _layers(model: Module) -> list[Module]:
    from fastnn.nn import Parameter, PReLU

    return [
        module
        for module in model.modules()
        if isinstance(getattr(module, "weight", None), Parameter) and not isinstance(module, PReLU)
    ]


def _last(block: Residual) -> Module:
    layers = _layers(block.branch)
    if not layers:
        raise ValueError(f"{block!r} has no layer with a weight in its branch")
    return layers[-1]


def _weight(layer: Module) -> Parameter:
    weight: Parameter = vars(layer)["weight"]
    return weight


def _zero(layer: Module) -> None:
    zeros_(_weight(layer))
    zero_bias(layer)
