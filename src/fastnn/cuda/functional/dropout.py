"""The twin of fastnn.functional.dropout's masks. Dropout itself is fastnn.cuda._kernels.dropout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, SupportsIndex

from fastnn._core.arrays import probability
from fastnn.cuda._core import device_arrays
from fastnn.cuda._runtime import launch, memory
from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.cuda.kernels.common.tiles import THREADS
from fastnn.cuda.kernels.random import draws, random
from fastnn.functional.dropout import _forward_key, _shape
from fastnn.random import Key, keep_threshold


def dropout_mask(
    shape: SupportsIndex | Sequence[SupportsIndex],
    p: float = 0.5,
    *,
    key: Key | None = None,
    packed: bool = False,
    like: Any = None,
) -> Any:
    """The mask in the memory of the GPU that `like` is on, of its library."""
    drop = probability("p", p)
    sizes = _shape(shape)
    count = math.prod(sizes)
    made = mask(
        device_arrays.describe("like", like), count, _forward_key(key, True), keep_threshold(drop), packed
    )
    return made if packed else made.reshape(sizes)


def mask(like: DeviceArray, count: int, key: Key, threshold: int, packed: bool, first: int = 0) -> Any:
    """Booleans of `count` elements from number `first`, a multiple of 8, on, or bytes of their bits.

    The kernel makes whole vectors, for which there is room behind what is returned.
    """
    bytes_, size = -(-count // 8) if packed else count, random.MASK_BYTES[packed]
    threads = -(-bytes_ // size)
    made = memory.empty(like, (threads * size,), "uint8" if packed else "bool")
    if threads > 0:
        words = map(launch.signed, draws.key_words(key, threshold, like))
        grid, numbers = -(-threads // THREADS), (made.address, threads, first)
        launch.run(random.mask, (packed,), like, grid, THREADS, *numbers, *words)
    return made.owner[:bytes_]
