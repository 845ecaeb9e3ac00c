"""LSUV: weights that give every layer's output unit variance on a batch of the user's data."""

from __future__ import annotations

import math
import warnings

import numpy as np

from fastnn._core.arrays import check_count, real_number, write
from fastnn._core.modes import evaluating
from fastnn._core.typing import Array
from fastnn.init.draws import orthogonal_
from fastnn.init.target import Draws
from fastnn.nn._initialize.layers import matrix_layers, weight_of, zero_bias
from fastnn.nn.module import Module


def lsuv_(
    model: Module, batch: Array, tol: float = 0.1, max_iterations: int = 10, generator: Draws = None
) -> Module:
    """Layer-sequential unit-variance initialisation; return the model.

    Every layer with a weight of at least 2 dimensions, norms aside, gets an orthogonal weight and a bias of
    0. Then, in the order in which they run, each weight is divided by the standard deviation of the layer's
    output for `batch`, until its variance is within tol of 1, at most max_iterations times; a layer that does
    not get there is warned of. The model runs in evaluation mode, and has its modes back afterwards. Mishkin
    and Matas, "All you need is a good init", 2016.

    batch: what the model takes. Raises ValueError for tol not above 0, max_iterations below 1, a model
    without such layers, and an output whose variance is 0 or not finite.
    """
    if not real_number("tol", tol) > 0:
        raise ValueError(f"tol must be above 0, got {tol}")
    check_count("max_iterations", max_iterations)
    layers = matrix_layers(model)
    if not layers:
        got = type(model).__name__
        raise ValueError(f"model must have a layer with a weight of 2 dimensions, got {got} without one")
    for layer in layers:
        orthogonal_(weight_of(layer), generator=generator)
        zero_bias(layer)
    with evaluating(model):
        for layer, _ in _outputs(model, layers, batch):
            _scale(model, layer, batch, tol, max_iterations)
    return model


def _scale(model: Module, layer: Module, batch: Array, tol: float, max_iterations: int) -> None:
    """Divide the weight until the layer's output has unit variance."""
    for _ in range(max_iterations):
        variance = _variance(model, layer, batch)
        if abs(variance - 1) < tol:
            return
        weight = weight_of(layer).data
        write(weight, weight.astype("float64") / math.sqrt(variance))
    variance = _variance(model, layer, batch)
    if abs(variance - 1) >= tol:
        warnings.warn(f"lsuv_: {layer!r} has an output of variance {variance:g} at the end", stacklevel=3)


def _variance(model: Module, layer: Module, batch: Array) -> float:
    """The variance of all that the layer puts out in a forward pass of the model."""
    outputs = _outputs(model, [layer], batch)
    output = outputs[0][1]
    if not output.size:
        raise ValueError(f"batch must have at least one sample, got an output of shape {output.shape}")
    with np.errstate(all="ignore"):
        variance = float(output.var(dtype="float64"))
    if not (variance > 0 and math.isfinite(variance)):
        raise ValueError(
            f"the output of {layer!r} for this batch must have a finite variance above 0, got {variance}"
        )
    return variance


def _outputs(model: Module, layers: list[Module], batch: Array) -> list[tuple[Module, Array]]:
    """The layers and their outputs, in the order in which they run."""
    outputs: list[tuple[Module, Array]] = []
    handles = [
        layer.register_forward_hook(lambda module, x, y: outputs.append((module, y))) for layer in layers
    ]
    try:
        model(batch)
    finally:
        for handle in handles:
            handle.remove()
    return outputs
