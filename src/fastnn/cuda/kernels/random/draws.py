"""Which elements of an array dropout keeps: from an element's place in memory to its draw, and its bit.

What a kernel takes for it are words, in the order of SEED ... MAP. It must not know what is done with the
bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from numba import cuda, types

from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.cuda._runtime.ptx.functions import device, made_once
from fastnn.cuda._runtime.ptx.integers import two_words_at
from fastnn.cuda._runtime.replay import growth
from fastnn.cuda.kernels.common.division import divide, magic
from fastnn.cuda.kernels.common.tiles import Draws
from fastnn.cuda.kernels.random import philox
from fastnn.random import Key

#: Where the words are: the key; below which value a draw keeps; the address of what the key has grown by, or
#: 0; and, for `mapped`, the map.
SEED, OFFSET, THRESHOLD, LIVE, MAP = range(5)
KEY_WORDS = MAP  # without a map


@device
def now(words: Any) -> Any:
    """(seed, offset, threshold): in a recorded kernel, whose words stay, with what the key has grown by."""
    seed, offset = words[SEED], words[OFFSET]
    live = types.uint64(words[LIVE])
    if live != 0:
        more = two_words_at(live)
        seed, offset = seed + more[0], offset + more[1]
    return seed, offset, words[THRESHOLD]


def key_words(key: Key, threshold: int, like: DeviceArray) -> list[int]:
    """The words of EACH. Kernels count elements from 0 on: ValueError for a key of another row."""
    if key.row:
        raise ValueError(f"key must have row 0 for arrays on a GPU, got row {key.row}")
    return [key.seed, key.offset, threshold, growth(key, like)]


# ---- draws in the order of memory --------------------------------------------------------------------------


@device
def _one_each(now: Any, words: Any, i: int) -> int:
    return philox.kept(now[0], now[1], i, now[2])


@made_once
def _each(width: int, chunks: int, stride: int) -> Any:
    """(now, words, start): the bits of `chunks` chunks of `width` from start on, `stride` elements apart.

    start is a multiple of width, and lanes hold chunks side by side. Where a Philox block has the draws of
    several lanes, each of them makes the block of another chunk, and they tell each other.
    """
    lanes, mask = 8 // width, (1 << width) - 1

    @device
    def bits_of_own(now: Any, words: Any, start: int) -> int:
        seed, offset, threshold = now
        bits = 0
        for c in range(chunks):
            bits |= philox.keep_bits(seed, offset, (start + c * stride) >> 3, threshold) << (c * width)
        return bits

    @device
    def bits_of_all(now: Any, words: Any, start: int) -> int:
        seed, offset, threshold = now
        lane = cuda.laneid
        mine = (start + lane % chunks * stride) >> 3
        made = types.int32(philox.keep_bits(seed, offset, mine, threshold))
        bits = 0
        for c in range(chunks):
            there = cuda.shfl_sync(-1, made, lane // lanes * lanes + c)
            bits |= ((there >> (start & 7)) & mask) << (c * width)
        return bits

    return bits_of_own if lanes < chunks else bits_of_all


EACH = Draws(KEY_WORDS, now, _one_each, _each)


# ---- draws in another order --------------------------------------------------------------------------------


class Axis(NamedTuple):
    """An axis of memory: its length, and by how much the draw's number grows along it."""

    length: int
    step: int


def axes_of(array: DeviceArray, shared_from: int | None = None) -> list[Axis]:
    """The axes of a dense array, the last one densest in memory; neighbours are joined where they can be.

    Draws are counted in C order; all elements of one index into the axes before `shared_from` share a draw.
    """
    lengths = array.shape[:shared_from]
    steps = [math.prod(lengths[d + 1 :]) for d in range(len(lengths))]
    steps += [0] * (len(array.shape) - len(lengths))
    order = sorted(range(len(steps)), key=lambda d: -array.strides()[d])
    axes: list[Axis] = []
    for axis in (Axis(array.shape[d], steps[d]) for d in order if array.shape[d] != 1):
        if axes and axes[-1].step == axis.length * axis.step:
            axis = Axis(axes.pop().length * axis.length, axis.step)
        axes.append(axis)
    return axes


def source(
    key: Key, threshold: int, array: DeviceArray, shared_from: int | None = None
) -> tuple[Draws, list[int]]:
    """How a kernel that goes along the memory of a dense array draws for it, and the words that it takes.

    The array has at most MOST_AXES axes; one in C order always has.
    """
    words, axes = key_words(key, threshold, array), axes_of(array, shared_from)
    if array.size == 0 or not axes or (len(axes) == 1 and axes[0].step == 1):
        return EACH, words
    return MAPPED, [*words, *map_words(axes)]


MOST_AXES = 3


def map_words(axes: Sequence[Axis]) -> list[int]:
    """The words of a map of at most three axes, the last one densest in memory.

    What a number's first and second index are found with, divisor and magic, and the axes' steps.
    """
    (_, outer), (length, middle), (inner_length, inner) = [Axis(1, 0)] * (3 - len(axes)) + list(axes)
    rest = length * inner_length
    return [rest, magic(rest), inner_length, magic(inner_length), outer, middle, inner]


@made_once
def _mapped(width: int, chunks: int, stride: int) -> Any:
    """As `_each`. A block is made again only where the next element's draw is in another."""

    @device
    def bits(now: Any, words: Any, start: int) -> int:
        seed, offset, threshold = now
        rest, rest_magic, length, length_magic, outer, middle, inner = words[MAP:]
        bits, made, block = 0, 0, -1
        for k in range(chunks * width):
            i = start + k // width * stride + k % width
            o = divide(i, rest_magic)
            m = divide(i - o * rest, length_magic)
            draw = o * outer + m * middle + (i - o * rest - m * length) * inner
            if draw >> 3 != block:
                block = draw >> 3
                made = philox.keep_bits(seed, offset, block, threshold)
            bits |= ((made >> (draw & 7)) & 1) << k
        return bits

    return bits


MAPPED = Draws(MAP + 7, now, _mapped(1, 1, 0), _mapped)
