"""The mini-batch loop. Knows nothing of files, progress bars or where the data came from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

import fastnn.functional as F
from fastnn.nn import Module
from fastnn.optim import Optimizer
from fastnn.random import default_generator
from fastnn.train.data import Array, Data

EVALUATION_BATCH = 1024  # bounds the memory of an evaluation, nothing else


@dataclass(frozen=True)
class Epoch:
    """One pass through the training samples: mean cross-entropy in nats, accuracies as fractions.

    `loss` and `accuracy` are taken while the weights change, the `test_` ones on the held-out samples
    afterwards.
    """

    epoch: int
    loss: float
    accuracy: float
    test_loss: float
    test_accuracy: float


def fit(
    model: Module,
    optimizer: Optimizer,
    data: Data,
    *,
    epochs: int,
    batch_size: int,
    on_batch: Callable[[], object] = lambda: None,
    on_epoch: Callable[[Epoch], object] = lambda epoch: None,
) -> list[Epoch]:
    """Train `model` by softmax cross-entropy and return what each epoch measured.

    Every epoch takes the samples in a new order, from fastnn's default generator; a last batch of one sample
    joins the batch before it. `on_batch` and `on_epoch` are called after each. Raises FloatingPointError
    where the loss stops being a finite number.
    """
    history = []
    with np.errstate(over="ignore", invalid="ignore"):  # the loss shows it, below
        for epoch in range(1, epochs + 1):
            loss, accuracy = _train_epoch(model, optimizer, data.x_train, data.y_train, batch_size, on_batch)
            if not math.isfinite(loss):
                raise FloatingPointError(f"the loss became {loss} in epoch {epoch}: lower the learning rate")
            history.append(Epoch(epoch, loss, accuracy, *evaluate(model, data.x_test, data.y_test)))
            on_epoch(history[-1])
    return history


def evaluate(model: Module, x: Array, y: Array) -> tuple[float, float]:
    """Return (mean loss, accuracy) of `model` in evaluation mode, which it is left in."""
    model.eval()
    loss, right = 0.0, 0
    for batch in _batches(np.arange(len(x)), EVALUATION_BATCH):
        logits = model(x[batch])
        loss += F.cross_entropy(logits, y[batch])[0] * len(batch)
        right += _right(logits, y[batch])
    return loss / len(x), right / len(x)


def _train_epoch(
    model: Module, optimizer: Optimizer, x: Array, y: Array, batch_size: int, on_batch: Callable[[], object]
) -> tuple[float, float]:
    model.train()
    total, right = 0.0, 0
    for batch in _batches(default_generator().numpy().permutation(len(x)), batch_size):
        logits = model(x[batch])
        loss, dlogits = F.cross_entropy(logits, y[batch])
        optimizer.zero_grad()
        model.backward(dlogits)
        optimizer.step()
        total += loss * len(batch)
        right += _right(logits, y[batch])
        on_batch()
    return total / len(x), right / len(x)


def steps_per_epoch(samples: int, batch_size: int) -> int:
    """Return how many batches `fit` cuts the training samples into."""
    return len(_ends(samples, batch_size))


def _ends(samples: int, size: int) -> list[int]:
    """Where batches end. One sample that would be left over joins the batch before: it has no variance."""
    last = samples - 1 if size > 1 else samples
    return [*range(size, last, size), samples]


def _batches(order: Array, size: int) -> Iterator[Array]:
    for start, end in pairwise([0, *_ends(len(order), size)]):
        yield order[start:end]


def _right(logits: Array, labels: Array) -> int:
    return int(np.count_nonzero(logits.argmax(axis=1) == labels))
