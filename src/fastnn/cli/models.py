"""The networks that `fastnn train --model` offers. Each takes a sample's shape and gives a Sequential."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fastnn import models, nn

# threshold's parameters have no defaults; networks with square or exp do not train.
ACTIVATIONS = {
    name: layer for name, layer in nn.ACTIVATIONS.items() if name not in ("threshold", "square", "exp")
}
NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
IMAGE_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "layer": lambda channels: nn.GroupNorm(1, channels),
}


@dataclass(frozen=True)
class Design:
    """The options that all networks share. `layers`: their sizes, as each network defines them."""

    layers: Sequence[int]
    activation: str
    norm: str
    dropout: float

    def act(self) -> nn.Module:
        """Return a new layer of the activation."""
        return ACTIVATIONS[self.activation]()

    def drop(self) -> list[nn.Module]:
        """Return a dropout layer, or none."""
        return [nn.Dropout(self.dropout)] if self.dropout else []


def mlp(shape: tuple[int, ...], classes: int, design: Design) -> nn.Sequential:
    """Linear layers, the hidden ones of sizes `layers`: each with norm, activation and dropout."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([shape[0], *design.layers]):
        norm = [NORMS[design.norm](outputs)] if design.norm in NORMS else []
        layers += [nn.Linear(inputs, outputs), *norm, design.act(), *design.drop()]
    return nn.Sequential(*layers, nn.Linear([shape[0], *design.layers][-1], classes))


def cnn(shape: tuple[int, ...], classes: int, design: Design) -> nn.Sequential:
    """3 x 3 convolutions with `layers` channels, each halving height and width; a linear layer at the end."""
    channels, height, width = shape
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([channels, *design.layers]):
        layers += [*_convolution(inputs, outputs, design), design.act()]
        if min(height, width) > 1:
            layers.append(nn.MaxPool2d(2))
            height, width = height // 2, width // 2
    last = [channels, *design.layers][-1] * height * width
    return nn.Sequential(*layers, nn.Flatten(), *design.drop(), nn.Linear(last, classes))


def resnet(shape: tuple[int, ...], classes: int, design: Design) -> nn.Sequential:
    """A convolution, and a residual block for each of `layers` channels; all but the first halve the image.

    He, Zhang, Ren and Sun, 2016; the mean over each channel goes to a linear layer.
    """
    if not design.layers:
        raise ValueError("--layers must be at least one size for a resnet, got none")
    first = design.layers[0]
    layers: list[nn.Module] = [*_convolution(shape[0], first, design), design.act()]
    for index, (inputs, outputs) in enumerate(pairwise([first, *design.layers])):
        layers += [_block(inputs, outputs, 2 if index else 1, design), design.act()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), *design.drop(), nn.Linear(design.layers[-1], classes)]
    return nn.Sequential(*layers, *head)


def _convolution(
    inputs: int, outputs: int, design: Design, stride: int = 1, kernel_size: int = 3
) -> list[nn.Module]:
    """A convolution and its norm, which has a bias of its own."""
    normalised = design.norm in IMAGE_NORMS
    layers = nn.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=not normalised)
    return [layers, IMAGE_NORMS[design.norm](outputs)] if normalised else [layers]


def _block(inputs: int, outputs: int, stride: int, design: Design) -> nn.Module:
    before = [*_convolution(inputs, outputs, design, stride), design.act()]
    branch = nn.Sequential(*before, *_convolution(outputs, outputs, design))
    if stride == 1 and inputs == outputs:
        return nn.Residual(branch)
    return nn.Residual(branch, nn.Sequential(*_convolution(inputs, outputs, design, stride, kernel_size=1)))


def torchvision(name: str) -> Callable[[tuple[int, ...], int, Design], nn.Sequential]:
    """The network of fastnn.models of this name, which takes no options."""

    def build(shape: tuple[int, ...], classes: int, design: Design) -> nn.Sequential:
        if design != PLAIN:
            raise ValueError(
                f"--layers, --activation, --norm and --dropout must not be given with --model {name}, which"
                " has its own"
            )
        if shape[0] != 3:
            raise ValueError(
                f"--model {name} takes images of 3 channels, got {shape[0]}; --mode RGB makes them of images"
                " in a folder"
            )
        made: nn.Sequential = getattr(models, name)(num_classes=classes)
        return made

    return build


PLAIN = Design([], "relu", "batch", 0.0)  # without options


@dataclass(frozen=True)
class Network:
    """How to build a network, and its defaults for the command line."""

    build: Callable[[tuple[int, ...], int, Design], nn.Sequential]
    images: bool
    layers: tuple[int, ...]
    norm: str
    lr: float  # of SGD: 0.05 diverges on the 28 x 28 pixels of MNIST


NETWORKS = {
    "mlp": Network(mlp, images=False, layers=(128,), norm="none", lr=0.02),
    "cnn": Network(cnn, images=True, layers=(32, 64), norm="batch", lr=0.01),
    "resnet": Network(resnet, images=True, layers=(32, 64), norm="batch", lr=0.01),
    **{
        name: Network(torchvision(name), images=True, layers=(), norm="batch", lr=0.01)
        for name in models.__all__
        if name.startswith(("alexnet", "resnet", "vgg"))
    },
}
