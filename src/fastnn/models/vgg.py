"""VGG networks, with torchvision's layers, names and first weights."""

from __future__ import annotations

from typing import Unpack

from fastnn import init, nn
from fastnn.models.build import Arguments, Weights, convolution, finished, with_classifier
from fastnn.nn import Sequential
from fastnn.random import Generator, Zeros

#: How many convolutions stand before each of the five poolings.
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
CHANNELS = (64, 128, 256, 512, 512)


class VGGArguments(Arguments, total=False):
    """dropout: the probability of the classifier's two dropouts."""

    dropout: float


def vgg11(**arguments: Unpack[VGGArguments]) -> Sequential:
    """VGG-11 for images (N, 3, H, W) of at least 32 x 32: 132.9 million parameters.

    Simonyan and Zisserman, "Very deep convolutional networks", 2015. Arguments, by keyword: weights=None,
    num_classes=1000, dropout=0.5, generator=None; see docs/models.md.
    """
    return _vgg(11, False, **arguments)


def vgg13(**arguments: Unpack[VGGArguments]) -> Sequential:
    """VGG-13: as vgg11, with 133.0 million parameters."""
    return _vgg(13, False, **arguments)


def vgg16(**arguments: Unpack[VGGArguments]) -> Sequential:
    """VGG-16: as vgg11, with 138.4 million parameters."""
    return _vgg(16, False, **arguments)


def vgg19(**arguments: Unpack[VGGArguments]) -> Sequential:
    """VGG-19: as vgg11, with 143.7 million parameters."""
    return _vgg(19, False, **arguments)


def vgg11_bn(**arguments: Unpack[VGGArguments]) -> Sequential:
    """vgg11 with a batch norm after each convolution."""
    return _vgg(11, True, **arguments)


def vgg13_bn(**arguments: Unpack[VGGArguments]) -> Sequential:
    """vgg13 with a batch norm after each convolution."""
    return _vgg(13, True, **arguments)


def vgg16_bn(**arguments: Unpack[VGGArguments]) -> Sequential:
    """vgg16 with a batch norm after each convolution."""
    return _vgg(16, True, **arguments)


def vgg19_bn(**arguments: Unpack[VGGArguments]) -> Sequential:
    """vgg19 with a batch norm after each convolution."""
    return _vgg(19, True, **arguments)


def _vgg(
    depth: int,
    batch_norm: bool,
    *,
    weights: Weights = None,
    num_classes: int = 1000,
    dropout: float = 0.5,
    generator: Generator | None = None,
) -> Sequential:
    features, inputs = Sequential(), 3
    for channels, count in zip(CHANNELS, CONVOLUTIONS[depth], strict=True):
        for _ in range(count):
            features.append(convolution(inputs, channels, 3, padding=1))
            features.extend([nn.BatchNorm2d(channels)] if batch_norm else [])
            features.append(nn.ReLU())
            inputs = channels
        features.append(nn.MaxPool2d(2))
    first, second, last = (
        nn.Linear(*sizes, generator=Zeros())
        for sizes in ((512 * 7 * 7, 4096), (4096, 4096), (4096, num_classes))
    )
    classifier = Sequential(
        *(first, nn.ReLU(), nn.Dropout(dropout)), *(second, nn.ReLU(), nn.Dropout(dropout)), last
    )
    model = finished(with_classifier(features, 7, classifier), weights, generator)
    if weights is None:
        for layer in (first, second, last):
            init.normal_(layer.weight, 0, 0.01, generator)
    return model
