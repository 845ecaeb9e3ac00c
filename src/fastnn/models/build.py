"""What the networks share: the arguments of their constructors, and where first weights come from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

from fastnn import init, nn
from fastnn.nn import Conv2d, Module, Sequential
from fastnn.random import Generator, Zeros

Weights = Mapping[str, Any] | str | Path | None


class Arguments(TypedDict, total=False):
    """What every network takes, by keyword.

    weights: arrays by name or a file of them, as load_state_dict takes; None (the default): first weights as
    torchvision has them, drawn from `generator`, or from fastnn's default. num_classes: the outputs, 1000 as
    in ImageNet. Raises ValueError and TypeError for weights that do not fit.
    """

    weights: Weights
    num_classes: int
    generator: Generator | None


def source(weights: Weights, generator: Generator | None) -> Generator | None:
    """Where the layers' own first weights come from, which loaded ones would write over."""
    return generator if weights is None else Zeros()


#: A Conv2d whose weights are still 0: `finished` sets them.
convolution = partial(Conv2d, generator=Zeros())


def with_classifier(features: Sequential, size: int, classifier: Sequential) -> Sequential:
    """The network of convolutions, means that make `size` x `size` of any size, and linear layers."""
    layers: dict[str, Module] = {"features": features, "avgpool": nn.AdaptiveAvgPool2d(size)}
    return Sequential(OrderedDict(layers, flatten=nn.Flatten(), classifier=classifier))


def finished(model: Sequential, weights: Weights, generator: Generator | None) -> Sequential:
    """Load the weights, or draw those of convolutions as torchvision does (by fan_out, biases 0)."""
    if weights is not None:
        model.load_state_dict(weights)
        return model
    for layer in model.modules():
        if isinstance(layer, Conv2d):
            init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
    return model
