"""The numbers that transforms draw: functions of the key and the sample's place in the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn import _kernels
from fastnn._core.typing import Array
from fastnn.random import Generator, Key


def uniform(key: Key, samples: int, numbers: int) -> Array:
    """Uniform numbers in (0, 1), (samples, numbers): number j of sample i is word i numbers + j of the key.

    A word w of Philox, of 32 bits, becomes (w + 1/2) / 2^32.
    """
    count = samples * numbers
    words = _kernels.draw_blocks(key, 0, -(-count // 4)).view(np.uint32)[:count]
    drawn: Array = (words + 0.5) * 2.0**-32
    return drawn.reshape(samples, numbers)


def between(bounds: Sequence[Any] | Array, drawn: Array) -> Array:
    """Uniform numbers from the first of the two bounds to the second."""
    low, high = bounds
    made: Array = low + (high - low) * drawn
    return made


def below(count: Array | int, drawn: Array) -> Array:
    """Whole numbers 0 ... count - 1, each as likely."""
    return (drawn * count).astype(np.int64)


def beta(key: Key, samples: int, alpha: float) -> Array:
    """Numbers of Beta(alpha, alpha), one for each sample; the first ones are the same in a larger batch."""
    return Generator().set_state(key).numpy().beta(alpha, alpha, samples)
