"""The network behind an estimator: its layers, first weights, optimiser, and how it is pickled.

It knows nothing of scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fastnn import nn, optim
from fastnn._core.inference import inference
from fastnn._core.typing import Array
from fastnn.random import Generator

# By scikit-learn's names and fastnn's; one whose parameters have no defaults cannot be chosen by name.
ACTIVATIONS = {name: layer for name, layer in nn.ACTIVATIONS.items() if name != "threshold"}
ACTIVATIONS["logistic"] = nn.Sigmoid
NORMS: dict[str, Callable[..., nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
SOLVERS: dict[str, Callable[..., optim.Optimizer]] = {"sgd": optim.SGD, "adam": optim.Adam}

PREDICTION_BATCH = 4096  # samples at a time; it limits the memory and does not change results


@dataclass(frozen=True)
class Design:
    """What a network is made of; `units` are the numbers of inputs, hidden units and outputs."""

    units: tuple[int, ...]
    activation: str
    norm: str | None
    dropout: float
    dtype: str


class Network:
    """A model of this design; dropout draws from a generator of its own, with this seed.

    `model` takes and returns arrays of the design's dtype; `linear` are its linear layers.
    """

    def __init__(self, design: Design, seed: int = 0) -> None:
        self.design = design
        self.generator = Generator(seed)
        self.model = _model(design, self.generator)
        self.model.needs_input_grad = False
        self.linear = [layer for layer in self.model if isinstance(layer, nn.Linear)]
        self.solver: str | None = None
        self.optimizer: optim.Optimizer | None = None

    @property
    def steps(self) -> int:
        """The steps of the optimiser so far."""
        states = self.optimizer.state.values() if self.optimizer else ()
        return max((state["step"] for state in states), default=0)

    def draw_weights(self, random: np.random.RandomState) -> None:
        """Start as scikit-learn does, with the same numbers: uniform weights and biases.

        Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
        """
        factor = 2 if ACTIVATIONS[self.design.activation] is nn.Sigmoid else 6
        for layer in self.linear:
            bound = np.sqrt(factor / (layer.in_features + layer.out_features))
            assert layer.bias is not None
            layer.weight.data[...] = random.uniform(-bound, bound, layer.weight.data.shape[::-1]).T
            layer.bias.data[...] = random.uniform(-bound, bound, layer.out_features)

    def optimize_by(self, solver: str, **settings: Any) -> optim.Optimizer:
        """Start a new optimiser. Its first group has the weights, which alone have weight decay."""
        weights = [layer.weight for layer in self.linear]
        others = [p for p in self.model.parameters() if not any(p is weight for weight in weights)]
        self.solver = solver
        self.optimizer = SOLVERS[solver]([{"params": weights}, {"params": others}], **settings)
        return self.optimizer

    def predict(self, x: Array) -> Array:
        """Return the output of the model, which must be in evaluation mode, batch by batch."""
        with inference():
            parts = [
                self.model(x[start : start + PREDICTION_BATCH])
                for start in range(0, len(x), PREDICTION_BATCH)
            ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: no gradients, and nothing that a pass saved in the layers."""
        return {
            "design": self.design,
            "generator": tuple(self.generator.get_state()),
            "model": self.model.state_dict(),
            "solver": self.solver,
            "optimizer": self.optimizer and self.optimizer.state_dict(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["design"])  # type: ignore[misc]
        self.generator.set_state(state["generator"])
        self.model.eval().load_state_dict(state["model"])
        if state["solver"] is not None:
            self.optimize_by(state["solver"], lr=0.0).load_state_dict(state["optimizer"])


def _model(design: Design, generator: Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(design.units[:-1]):
        layers.append(nn.Linear(inputs, outputs, dtype=design.dtype, generator=generator))
        if design.norm is not None:
            layers.append(NORMS[design.norm](outputs, dtype=design.dtype))
        layers.append(ACTIVATIONS[design.activation]())
        if design.dropout:
            layers.append(nn.Dropout(design.dropout, generator=generator))
    inputs, outputs = design.units[-2:]
    return nn.Sequential(*layers, nn.Linear(inputs, outputs, dtype=design.dtype, generator=generator))
