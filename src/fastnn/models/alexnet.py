"""AlexNet, with torchvision's layers, names and first weights."""

from __future__ import annotations

from fastnn import nn
from fastnn.models.build import Weights, source, with_classifier
from fastnn.nn import Conv2d, MaxPool2d, ReLU, Sequential
from fastnn.random import Generator


def alexnet(
    *,
    weights: Weights = None,
    num_classes: int = 1000,
    dropout: float = 0.5,
    generator: Generator | None = None,
) -> Sequential:
    """AlexNet for images (N, 3, H, W) of at least 63 x 63: 61.1 million parameters.

    Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014. Arguments are in
    docs/models.md. Raises ValueError and TypeError for arguments and weights that do not fit.
    """
    draw = source(weights, generator)
    features = Sequential(
        *(Conv2d(3, 64, 11, stride=4, padding=2, generator=draw), ReLU(), MaxPool2d(3, stride=2)),
        *(Conv2d(64, 192, 5, padding=2, generator=draw), ReLU(), MaxPool2d(3, stride=2)),
        *(Conv2d(192, 384, 3, padding=1, generator=draw), ReLU()),
        *(Conv2d(384, 256, 3, padding=1, generator=draw), ReLU()),
        *(Conv2d(256, 256, 3, padding=1, generator=draw), ReLU(), MaxPool2d(3, stride=2)),
    )
    classifier = Sequential(
        *(nn.Dropout(dropout), nn.Linear(256 * 6 * 6, 4096, generator=draw), ReLU()),
        *(nn.Dropout(dropout), nn.Linear(4096, 4096, generator=draw), ReLU()),
        nn.Linear(4096, num_classes, generator=draw),
    )
    model = with_classifier(features, 6, classifier)
    if weights is not None:
        model.load_state_dict(weights)
    return model
