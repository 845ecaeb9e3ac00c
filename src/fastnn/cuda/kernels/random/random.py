"""Dropout of arrays, and its masks."""

from __future__ import annotations

import itertools
from typing import Any

from numba import cuda, types

from fastnn.cuda._runtime.compiler import Built, template
from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.ptx.functions import device
from fastnn.cuda._runtime.ptx.integers import store_integers
from fastnn.cuda.kernels.common.tiles import THREADS, Operand, tiled
from fastnn.cuda.kernels.random import draws, drop, philox


def operands(dtype: str) -> list[Operand]:
    """Y and X."""
    return [Operand(dtype, read=False, written=True), Operand(dtype, read=True, written=False)]


_VARIANTS = list(itertools.product(ITEMSIZE, (False, True), (False, True)))


@template(lambda: _VARIANTS)
def dropout(dtype: str, line: bool, mapped: bool) -> Built:
    """y = p[0] x + p[1] where the element is kept, else p[2]; without `line`, p[1] and p[2] are 0."""

    def body(span: int) -> Any:
        return drop.line(1, 0, span) if line else drop.scaled(1, 0, 0, span)

    return tiled(operands(dtype), 3, body, draws.MAPPED if mapped else draws.EACH)


#: Bytes of a mask that a thread makes, packed or not; with one access.
MASK_BYTES = {True: 4, False: 16}


@template(lambda: [(False,), (True,)], narrow="it reads nothing; a thread makes a word of bits")
def mask(packed: bool) -> Built:
    """The mask of elements from number `first`, a multiple of 8, on: bytes or bits, as threads make them."""
    size = MASK_BYTES[packed]
    make, store = _bits if packed else _booleans, store_integers(size // 4)
    blocks, words_made = (size if packed else size // 8), size // 4

    def kernel(address: int, threads: int, first: int, words: Any) -> None:
        thread = types.int64(cuda.blockIdx.x) * THREADS + cuda.threadIdx.x
        if thread < threads:
            made = cuda.local.array(words_made, types.uint32)
            make(made, words, (first >> 3) + thread * blocks)
            store(address + types.uint64(thread * size), made)

    return kernel, (types.uint64, types.int64, types.int64, types.UniTuple(types.int64, draws.KEY_WORDS))


@device
def _bits(made: Any, words: Any, block: int) -> None:
    """A word of four blocks' bits."""
    seed, offset, threshold = draws.now(words)
    bits = 0
    for b in range(4):
        bits |= philox.keep_bits(seed, offset, block + b, threshold) << (8 * b)
    made[0] = types.uint32(bits)


@device
def _booleans(made: Any, words: Any, block: int) -> None:
    """Four words of two blocks' bits, each in a byte."""
    seed, offset, threshold = draws.now(words)
    for b in range(2):
        bits = philox.keep_bits(seed, offset, block + b, threshold)
        for half in range(2):
            word = 0
            for k in range(4):
                word |= ((bits >> (4 * half + k)) & 1) << (8 * k)
            made[2 * b + half] = types.uint32(word)
