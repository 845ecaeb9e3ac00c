"""The numbers that transforms draw: functions of the key and the sample's place in the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastnn import _kernels
from fastnn._core.typing import Array
from fastnn.random import Generator, Key, row_in_stream


def uniform(key: Key, samples: int, numbers: int) -> Array:
    """Uniform numbers in (0, 1), (samples, numbers): number j of sample i is word i numbers + j of the key.

    Samples are counted from the key's row on. A word w of Philox, of 32 bits, becomes (w + 1/2) / 2^32.
    """
    words = stream(key, (samples, numbers), np.uint32)
    drawn: Array = (words + 0.5) * 2.0**-32
    return drawn


def stream(key: Key, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """The key's random bits as whole numbers of `dtype`, an array (samples, ...), from the key's row on."""
    each, block = math.prod(shape[1:]), 16 // np.dtype(dtype).itemsize
    first, count = row_in_stream(key, shape[0], each), shape[0] * each
    skip = first % block
    numbers = _kernels.draw_blocks(key, first // block, -(-(skip + count) // block)).view(dtype)
    return numbers[skip : skip + count].reshape(shape)


def between(bounds: Sequence[Any] | Array, drawn: Array) -> Array:
    """Uniform numbers from the first of the two bounds to the second."""
    low, high = bounds
    made: Array = low + (high - low) * drawn
    return made


def below(count: Array | int, drawn: Array) -> Array:
    """Whole numbers 0 ... count - 1, each as likely."""
    return (drawn * count).astype(np.int64)


def beta(key: Key, samples: int, alpha: float) -> Array:
    """Numbers of Beta(alpha, alpha), one for each sample of a whole batch: the key's row is not used."""
    return Generator().set_state(key).numpy().beta(alpha, alpha, samples)
