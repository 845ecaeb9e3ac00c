"""Training the head on features: what the frozen part of a model returns is computed once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from fastnn._core.arrays import as_array, check_count
from fastnn._core.devices import moved, on_host
from fastnn._core.files import replacing
from fastnn._core.inference import inference
from fastnn._core.modes import evaluating
from fastnn._core.typing import Array
from fastnn.models.steps import has_state, steps
from fastnn.nn import Module, Sequential
from fastnn.nn._draws import draws
from fastnn.nn.module import check_model, device_of_model


def split(model: Module) -> tuple[Sequential, Sequential]:
    """Return the frozen first part of a Sequential, and the rest: Sequentials of the same layers.

    So training the rest trains the model. The first part ends before the first layer that is trained, or
    before a dropout directly before that. In evaluation mode it computes what the model computes there in
    training, if models.freeze froze it. Raises ValueError for a model whose first layers are not frozen, and
    for one without a layer to train.
    """
    check_model(model)
    layers = [layer for _, layer in steps(model)]
    frozen = [*takewhile(lambda layer: not any(p.requires_grad for p in layer.parameters()), layers)]
    ends = max((place for place, layer in enumerate(frozen, 1) if has_state(layer)), default=0)
    frozen = [*frozen[:ends], *takewhile(lambda layer: not any(map(draws, layer.modules())), frozen[ends:])]
    if not ends or not any(p.requires_grad for p in model.parameters()):
        raise ValueError(
            "model must be a Sequential of frozen layers, then of trained ones, as models.freeze(model) makes"
            f" it; got {type(model).__name__} with {'no frozen layers first' if not ends else 'all frozen'}"
        )
    return Sequential(*frozen), Sequential(*layers[len(frozen) :])


def extract_features(
    model: Module, x: ArrayLike, *, batch_size: int = 256, out: str | Path | None = None
) -> Array:
    """Return model(x) in evaluation mode, computed in batches: features, if the model is a frozen part.

        body, head = models.split(models.freeze(model))
        features = models.extract_features(body, x, out="features.npy")
        train.fit(head, (features, y))

    out: a .npy file that gets the result, which is then a read-only view of it, mapped into memory; so the
    features of a data set may be larger than memory, as x may, if it is mapped too. The file appears whole,
    or not at all. The modes of the model's layers are as before. Raises ValueError for x without samples, for
    a batch_size below 1 and an `out` that does not end in .npy, OSError where it cannot be written.
    """
    check_model(model)
    samples = as_array("x", x)
    if not samples.ndim or not len(samples):
        raise ValueError(f"x must have at least one sample, got shape {samples.shape}")
    check_count("batch_size", batch_size)
    if out is not None and Path(out).suffix != ".npy":
        raise ValueError(f"out must end in .npy, got {out}")
    with evaluating(model), inference():
        if out is None:
            return np.concatenate([*_batches(model, samples, batch_size)])
        with replacing(Path(out)) as temporary:
            _write(temporary, len(samples), _batches(model, samples, batch_size))
    features: Array = np.load(out, mmap_mode="r")
    return features


def _batches(model: Module, x: Array, batch_size: int) -> Iterator[Array]:
    device = device_of_model(model)
    for start in range(0, len(x), batch_size):
        yield on_host(model(moved(np.ascontiguousarray(x[start : start + batch_size]), device)))


def _write(path: Path, samples: int, batches: Iterator[Array]) -> None:
    """Write rows, batch by batch, as a .npy file."""
    place, target = 0, None
    for batch in batches:
        if target is None:
            target = np.lib.format.open_memmap(path, "w+", batch.dtype, (samples, *batch.shape[1:]))
        target[place : place + len(batch)] = batch
        place += len(batch)
