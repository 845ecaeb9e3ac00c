"""ResNets, with torchvision's layers, names and first weights."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Unpack

from fastnn import init, nn
from fastnn.models.block import SHORTCUT, ResidualBlock
from fastnn.models.build import Arguments, Weights, convolution, finished, source
from fastnn.nn import BatchNorm2d, Module, ReLU, Sequential
from fastnn.random import Generator

Layers = OrderedDict[str, Module]


class ResNetArguments(Arguments, total=False):
    """zero_init_residual: each block starts as the identity (Goyal et al., 2017); not where weights load."""

    zero_init_residual: bool


def resnet18(**arguments: Unpack[ResNetArguments]) -> Sequential:
    """ResNet-18 for images (N, 3, H, W): 11.7 million parameters. He, Zhang, Ren and Sun, 2016.

    Arguments, by keyword: weights=None, num_classes=1000, zero_init_residual=False, generator=None; see
    docs/models.md.
    """
    return _resnet(_basic, 1, (2, 2, 2, 2), **arguments)


def resnet34(**arguments: Unpack[ResNetArguments]) -> Sequential:
    """ResNet-34: as resnet18, with 21.8 million parameters."""
    return _resnet(_basic, 1, (3, 4, 6, 3), **arguments)


def resnet50(**arguments: Unpack[ResNetArguments]) -> Sequential:
    """ResNet-50: as resnet18, with blocks of three convolutions and 25.6 million parameters.

    A block's stride is that of its 3 x 3 convolution, as in torchvision ("ResNet v1.5").
    """
    return _resnet(_bottleneck, 4, (3, 4, 6, 3), **arguments)


def resnet101(**arguments: Unpack[ResNetArguments]) -> Sequential:
    """ResNet-101: as resnet50, with 44.5 million parameters."""
    return _resnet(_bottleneck, 4, (3, 4, 23, 3), **arguments)


def _resnet(
    layers_of: Callable[[int, int, int], Layers],
    expansion: int,
    blocks: Sequence[int],
    *,
    weights: Weights = None,
    num_classes: int = 1000,
    zero_init_residual: bool = False,
    generator: Generator | None = None,
) -> Sequential:
    layers = Layers(
        conv1=convolution(3, 64, 7, stride=2, padding=3, bias=False),
        bn1=BatchNorm2d(64),
        relu=ReLU(),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1),
    )
    channels = 64
    for index, count in enumerate(blocks):
        made, width = Sequential(), 64 * 2**index
        for stride in [2 if index else 1, *[1] * (count - 1)]:
            made.append(_block(layers_of(channels, width, stride), channels, expansion * width, stride))
            channels = expansion * width
        layers[f"layer{index + 1}"] = made
    fc = nn.Linear(channels, num_classes, generator=source(weights, generator))
    layers.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=fc)
    model = finished(Sequential(layers), weights, generator)
    if zero_init_residual and weights is None:
        for norm in [block.last for block in model.modules() if isinstance(block, ResidualBlock)]:
            init.zeros_(norm.weight)
    return model


def _block(layers: Layers, inputs: int, outputs: int, stride: int) -> ResidualBlock:
    """The block of these layers, with a projection where they change the shape."""
    if stride != 1 or inputs != outputs:
        projection = convolution(inputs, outputs, 1, stride=stride, bias=False)
        layers[SHORTCUT] = Sequential(projection, BatchNorm2d(outputs))
    return ResidualBlock(layers)


def _basic(channels: int, width: int, stride: int) -> Layers:
    return Layers(
        conv1=convolution(channels, width, 3, stride=stride, padding=1, bias=False),
        bn1=BatchNorm2d(width),
        relu=ReLU(),
        conv2=convolution(width, width, 3, padding=1, bias=False),
        bn2=BatchNorm2d(width),
    )


def _bottleneck(channels: int, width: int, stride: int) -> Layers:
    return Layers(
        conv1=convolution(channels, width, 1, bias=False),
        bn1=BatchNorm2d(width),
        relu=ReLU(),
        conv2=convolution(width, width, 3, stride=stride, padding=1, bias=False),
        bn2=BatchNorm2d(width),
        relu2=ReLU(),
        conv3=convolution(width, 4 * width, 1, bias=False),
        bn3=BatchNorm2d(4 * width),
    )
