"""How an epoch is cut into batches. Knows nothing of models."""

from __future__ import annotations

import numpy as np

from fastnn import _kernels
from fastnn._core.typing import Array
from fastnn.random import Generator, Key


def shuffled(samples: int, key: Key) -> Array:
    """Return the order in which an epoch takes the samples: a function of `key` alone."""
    return Generator().set_state(key).numpy().permutation(samples)


def cut(order: Array, size: int) -> list[Array]:
    """Return the batches of `order`. One sample that would be left over joins the one before: no variance."""
    last = len(order) - 1 if size > 1 else len(order)
    return np.split(order, range(size, last, size))


def grouped(batches: list[Array], accumulate: int) -> list[list[Array]]:
    """Return the batches of each optimizer step; the last step of an epoch can have fewer."""
    return [batches[start : start + accumulate] for start in range(0, len(batches), accumulate)]


def steps_per_epoch(samples: int, batch_size: int, accumulate: int = 1) -> int:
    """Return how many optimizer steps `fit` makes in an epoch; schedules that count steps want to know."""
    return len(grouped(cut(np.empty(samples, np.bool_), batch_size), accumulate))


def take(array: Array, rows: Array) -> Array:
    """Return array[rows], in memory that an earlier batch gave back."""
    out = _kernels.empty((len(rows), *array.shape[1:]), array.dtype)
    # NumPy copies through a buffer of its own unless `mode` says that no index can be wrong.
    return np.take(array, rows, axis=0, out=out, mode="clip")
