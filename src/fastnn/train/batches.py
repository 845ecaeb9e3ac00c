"""How an epoch is cut into batches. Knows nothing of models."""

from __future__ import annotations

import numpy as np

from fastnn import _kernels
from fastnn._core.stored import Stored
from fastnn._core.typing import Array
from fastnn.random import Generator, Key


def shuffled(samples: int, key: Key, block: int | None = None) -> Array:
    """Return the order in which an epoch takes the samples: a function of `key` alone.

    block: the samples of a block of so many stay together; the blocks are shuffled, and each in itself.
    """
    draw = Generator().set_state(key).numpy()
    if block is None:
        return draw.permutation(samples)
    starts = draw.permutation(-(-samples // block)) * block
    return np.concatenate([start + draw.permutation(min(block, samples - start)) for start in starts])


def cut(order: Array, size: int) -> list[Array]:
    """Return the batches of `order`."""
    return np.split(order, _cuts(len(order), size))


def _cuts(samples: int, size: int) -> range:
    """Where all batches but the last end. One sample that would be left over joins the last: no variance."""
    return range(size, samples - 1 if size > 1 else samples, size)


def grouped(batches: list[Array], accumulate: int) -> list[list[Array]]:
    """Return the batches of each optimizer step; the last step of an epoch can have fewer."""
    return [batches[start : start + accumulate] for start in range(0, len(batches), accumulate)]


def steps_per_epoch(samples: int, batch_size: int, accumulate: int = 1) -> int:
    """Return how many optimizer steps `fit` makes in an epoch; schedules that count steps want to know."""
    return -(-(len(_cuts(samples, batch_size)) + 1) // accumulate)


def take(array: Array | Stored, rows: Array) -> Array:
    """Return array[rows], in memory that an earlier batch gave back."""
    if isinstance(array, Stored):
        return array.take(rows)
    out = _kernels.empty((len(rows), *array.shape[1:]), array.dtype)
    # NumPy copies through a buffer of its own unless `mode` says that no index can be wrong.
    return np.take(array, rows, axis=0, out=out, mode="clip")
