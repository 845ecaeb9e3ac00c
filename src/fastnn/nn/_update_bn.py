"""update_bn: the running statistics of a model's batch norms, computed anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fastnn._core.arrays import check_count
from fastnn._core.devices import moved
from fastnn._core.inference import inference
from fastnn._core.modes import evaluating
from fastnn._core.typing import Array
from fastnn.nn.batchnorm import _BatchNorm
from fastnn.nn.module import Module, check_model, device_of_model

Data = Any  # Array | tuple[Inputs, labels] | Iterable of batches


def update_bn(model: Module, data: Data, batch_size: int = 128) -> None:
    """Set the running statistics of all batch norms to their means over the batches of `data`.

    That is what averaged weights need, whose activations no training pass has seen (Izmailov et al.,
    "Averaging Weights Leads to Wider Optima and Better Generalization", 2018); PyTorch has it in
    optim.swa_utils. data: samples x, an array (N, ...), or train.fit's (x, y), of which x is taken and cut
    into equal batches of at least batch_size samples; or else an iterable of batches, each x or (x, y). Of a
    model of several inputs x is a tuple.

    Passes keep nothing for backward. Only batch norms are in training mode in them, so nothing is dropped and
    no random number is drawn, unlike in PyTorch. Modes and momenta are as before afterwards; layers that are
    frozen or have no running statistics stay as they are. Raises ValueError for no batch and for what a
    layer does not take; then all statistics are as before.
    """
    check_model(model)
    check_count("batch_size", batch_size)
    norms = [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None and not module.frozen
    ]
    if not norms:
        return
    statistics = [(array, array.copy()) for norm in norms for array in norm.buffers()]
    momenta = [(norm, norm.momentum) for norm in norms]
    try:
        with evaluating(model):
            for norm in norms:
                norm.reset_running_stats()
                norm.training, norm.momentum = True, None
            _run(model, _batches(data, batch_size))
    except BaseException:
        for array, before in statistics:
            array[...] = before
        raise
    finally:
        for norm, momentum in momenta:
            norm.momentum = momentum


def _run(model: Module, batches: Iterable[tuple[Array, ...]]) -> None:
    device, count = device_of_model(model), 0
    with inference():
        for inputs in batches:
            model(*(moved(x, device) for x in inputs))
            count += 1
    if not count:
        raise ValueError("data must have at least one batch, got none")


def _batches(data: Data, batch_size: int) -> Iterator[tuple[Array, ...]]:
    """The inputs of each batch."""
    if not hasattr(data, "shape") and not isinstance(data, tuple):
        for batch in data:
            yield _inputs(batch)
        return
    inputs = _inputs(data)
    samples = len(inputs[0])
    pieces = max(samples // batch_size, min(samples, 1))
    for piece in range(pieces):
        rows = slice(piece * samples // pieces, (piece + 1) * samples // pieces)
        yield tuple(x[rows] for x in inputs)


def _inputs(batch: Any) -> tuple[Array, ...]:
    """The inputs of x or (x, y), where x is an array or a tuple of several."""
    x = batch[0] if isinstance(batch, list | tuple) else batch
    return x if isinstance(x, tuple) else (x,)
