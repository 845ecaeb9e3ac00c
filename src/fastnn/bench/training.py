"""The cases of `fastnn bench --training`: whole steps of training, inference, and the optimiser's step alone.

A network is written once, for fastnn's names and torch's, which are the same. All contestants begin with the
same weights and train on the same batch, so that their losses can be compared. It knows no library.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from fastnn import nn
from fastnn._core.typing import Array
from fastnn.bench.data import Buffers, Case, Data, Shape, Size, view
from fastnn.random import default_generator

CLASSES = 10
FEATURES, HIDDEN = 784, 512
LR = 1e-3
NOTE = "torch's Adam is its fused one, the faster, except in adam_default and adam_mlp_default"
MANY_PARAMETERS = 2**25  # elements of the optimiser's step: far beyond any cache


def mlp(nn: Any, dropout: float = 0.0) -> Any:
    """784-512-512-10, with batch norm and ReLU, and dropout if that is not 0; of fastnn.nn or torch.nn."""
    layers = []
    for inputs in (FEATURES, HIDDEN):
        layers += [nn.Linear(inputs, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU()]
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(HIDDEN, CLASSES))


def mlp_dropout(nn: Any) -> Any:
    """The same with dropout of one half after each ReLU."""
    return mlp(nn, dropout=0.5)


def cnn(nn: Any) -> Any:
    """Two convolutions with batch norm, ReLU and pooling each, and a linear layer; for 32 x 32 images."""
    layers = []
    for inputs, outputs in ((3, 32), (32, 64)):
        layers += [
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 8 * 8, CLASSES))


@dataclass(frozen=True)
class Training(Case):
    """A network's step of training (with Adam), or its inference."""

    group: ClassVar[str] = "training"
    sample: ClassVar[float] = 20e-3  # several steps after each other, as in training
    calls: ClassVar[int] = 3  # two of Adam's steps show in the third loss

    batches: tuple[Size, ...]
    network: Callable[[Any], Any]

    @property
    def random(self) -> bool:
        """Whether the draws of another library make its losses differ from ours."""
        return self.network is mlp_dropout

    @property
    def checks(self) -> tuple[Size, ...]:
        """A small batch; a large one where the mean of the losses must not depend on the draws."""
        return (Size((1024 if self.random else 16, *self.batches[0].shape[1:])),)

    def sizes(self, *, quick: bool) -> tuple[Size, ...]:
        """Those of its row."""
        return self.batches

    def takes(self, size: Size) -> bool:
        """Any number of samples."""
        return size.shape[1:] == self.batches[0].shape[1:]

    def traffic(self) -> tuple[float, float]:
        """Not counted: most of a step is arithmetic."""
        return 0.0, 0.0

    def data(self, buffers: Buffers, size: Size) -> Data:
        """Return a batch with labels, and the weights that all contestants begin with."""
        values: dict[str, Any] = {"input": size.view(buffers.input), "target": labels(size)}
        return Data(self, size, values | {"weights": first_weights(self.network)}, view(buffers.out, (1,)))


def labels(size: Size) -> Array:
    """Return a class for each sample."""
    return np.random.default_rng(2).integers(0, CLASSES, size.shape[0])


def first_weights(network: Callable[[Any], Any]) -> dict[str, Array]:
    """Return the state of a new network, the same at every call; the default generator stays as it was."""
    before = default_generator().get_state()
    default_generator().manual_seed(0)
    try:
        state: dict[str, Array] = network(nn).state_dict()
    finally:
        default_generator().set_state(before)
    return state


@dataclass(frozen=True)
class Update(Case):
    """Adam's step on parameters that have their gradients."""

    group: ClassVar[str] = "training"

    shapes: tuple[Shape, ...]  # a single one is replaced by the size
    fused: bool  # which of torch's implementations it is compared with

    @property
    def random(self) -> bool:
        """Nothing is drawn."""
        return False

    @property
    def checks(self) -> tuple[Size, ...]:
        """A size that it takes."""
        return (self.sizes(quick=True)[0],)

    def sizes(self, *, quick: bool) -> tuple[Size, ...]:
        """All elements of its parameters, in one number."""
        if len(self.shapes) > 1:
            return (Size((sum(map(math.prod, self.shapes)),)),)
        return (Size((2**20,)),) if quick else (Size((MANY_PARAMETERS,)),)

    def takes(self, size: Size) -> bool:
        """Any number for one parameter; several have the number that they have."""
        return len(size.shape) == 1 and (len(self.shapes) == 1 or size in self.sizes(quick=True))

    def traffic(self) -> tuple[float, float]:
        """Parameter, gradient and two averages are read; all but the gradient are written: 28 bytes."""
        return 4.0, 3.0

    def data(self, buffers: Buffers, size: Size) -> Data:
        """Return parameters and gradients; `input` and `dy` are all their elements."""
        shapes = self.shapes if len(self.shapes) > 1 else (size.shape,)
        flat = {"input": size.view(buffers.input), "dy": size.view(buffers.dy)}
        parts = {"parameters": split(flat["input"], shapes), "gradients": split(flat["dy"], shapes)}
        return Data(self, size, flat | parts, flat["input"])


def split(flat: Array, shapes: tuple[Shape, ...]) -> list[Array]:
    """Return views of a flat array, one after the other, in these shapes."""
    views, start = [], 0
    for shape in shapes:
        views.append(view(flat[start:], shape))
        start += math.prod(shape)
    return views


def all_training() -> Iterator[Case]:
    """Every case, the networks first."""
    batches = tuple(Size((samples, FEATURES)) for samples in (128, 32))
    no_arrays = inspect.Signature()
    yield Training("mlp_dropout", "mlp", "step", no_arrays, batches, mlp_dropout)
    yield Training("mlp", "mlp", "step", no_arrays, batches, mlp)
    yield Training("cnn", "cnn", "step", no_arrays, (Size((64, 3, 32, 32)),), cnn)
    yield Training("mlp", "mlp", "inference", no_arrays, (Size((1, FEATURES)),), mlp)
    shapes = tuple(parameter.data.shape for parameter in mlp(nn).parameters())
    for name, parameters in (("adam_mlp", shapes), ("adam", ((MANY_PARAMETERS,),))):
        update = Update(name, "adam", "step", no_arrays, parameters, fused=True)
        yield update
        yield replace(update, label=f"{name}_default", fused=False)
