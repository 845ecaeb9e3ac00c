"""Dropout and its masks on a GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, SupportsIndex

from fastnn._core.arrays import probability
from fastnn.cuda._core import device_arrays
from fastnn.cuda._core.device_arrays import Elementwise
from fastnn.cuda._runtime import launch, memory
from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.cuda.kernels.common import tiles
from fastnn.cuda.kernels.common.tiles import THREADS
from fastnn.cuda.kernels.random import draws, random
from fastnn.functional.dropout import _forward_key, _shape
from fastnn.random import Key, keep_threshold


def _dropout(
    name: str,
    input: Any,
    out: Any,
    key: Key,
    threshold: int,
    scale: float,
    shift: float,
    dropped: float,
    axes: int,
) -> Any:
    """scale x + shift where the draw is below `threshold`, else `dropped`.

    Elements of one index into the first `axes` axes share a draw; axes < 0: every one has its own.
    """
    shared_from = None if axes < 0 else axes
    arrays = _drawable(device_arrays.elementwise(((name, input),), out), out, shared_from)
    (x,), y = arrays.inputs, arrays.target
    if threshold == 65536 and scale == 1 and shift == 0:  # the bits of every NaN too
        y.library.assign(y.owner, x.owner)
        return arrays.result()
    source, words = draws.source(Key(*key), threshold, y, shared_from)
    kernel = y.dtype, not shift == dropped == 0, source is draws.MAPPED
    tile = tiles.tile(random.operands(y.dtype))
    tiles.run(random.dropout, kernel, tile, (y, x), (scale, shift, dropped), words)
    return arrays.result()


def _drawable(arrays: Elementwise, out: Any, shared_from: int | None) -> Elementwise:
    """The arrays, or others in C order if no map leads from their memory to draws."""
    if len(draws.axes_of(arrays.target, shared_from)) <= draws.MOST_AXES:
        return arrays
    inputs = tuple(device_arrays.contiguous(x) for x in arrays.inputs)
    return Elementwise(inputs, memory.empty(inputs[0], inputs[0].shape, inputs[0].dtype), out)


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
