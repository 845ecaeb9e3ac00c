"""Maxout, on rows of n elements of the result; the winners of each row are bits from a whole byte on.

A warp takes 32 neighbours, whose winners' bits it gathers by votes. Piece j of element i of a row is at
row row_step + j piece_step + i step of the input.
"""

from __future__ import annotations

from typing import Any

from numba import cuda, types

from fastnn.cuda._runtime.compiler import Built, template
from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.ptx.access import load, store
from fastnn.cuda._runtime.ptx.arithmetic import like
from fastnn.cuda._runtime.ptx.integers import store_number, whole_number
from fastnn.cuda._runtime.ptx.real import computing

_THREADS, _WARP, _ALL = 256, 32, 0xFFFFFFFF
_NARROW = (
    "a lane takes an element: winners' bits are gathered by votes, and the pieces of one may be neighbours"
)
_MOST = 65535  # blocks in the grid's second dimension


def _keys() -> list[tuple[str]]:
    return [(dtype,) for dtype in ITEMSIZE]


#: Addresses of result, operand and winners. Words: rows, n, pieces; row_step, piece_step, step; the winners'
#: bit planes, the bytes of a row of them and of a plane.
_TYPES = types.UniTuple(types.uint64, 3), types.UniTuple(types.int64, 9)


def grid(rows: int, n: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The grid and the block of a launch."""
    across = min(_THREADS, max(_WARP, 1 << (n - 1).bit_length()))
    down = _THREADS // across
    return (-(-rows // down), min(_MOST, -(-n // across))), (across, down)


@template(_keys, narrow=_NARROW)
def maxout(dtype: str) -> Built:
    """y, and the bit planes of the winners, from x. The first of equals wins, and NaN wins over all."""
    get, put, real, size, one = load(dtype, 1), store(dtype, 1), computing(dtype), ITEMSIZE[dtype], (2, 1)
    put_byte = store_number("uint8")

    def kernel(addresses: Any, words: Any) -> None:
        y, x, bits = addresses
        rows, n, k, row_step, piece_step, step, bit_planes, row_bytes, plane_bytes = words
        row = types.int64(cuda.blockIdx.x) * cuda.blockDim.y + cuda.threadIdx.y
        lane, tile = cuda.threadIdx.x & 31, types.int64(cuda.blockDim.x)
        start = cuda.blockIdx.y * tile
        while row < rows and start < n:
            i, v, winner = start + cuda.threadIdx.x, cuda.local.array(one, real), types.int64(0)
            v[0, 0] = like(v[0, 0], 0)
            if i < n:
                first = x + types.uint64((row * row_step + i * step) * size)
                get(first, v, 0)
                for j in range(1, k):
                    get(first + types.uint64(j * piece_step * size), v, 1)
                    if v[0, 0] == v[0, 0] and not v[1, 0] <= v[0, 0]:
                        v[0, 0], winner = v[1, 0], j
                put(y + types.uint64((row * n + i) * size), v, 0)
            at = bits + types.uint64(row * row_bytes + ((i - lane) >> 3) + lane)
            for plane in range(bit_planes):
                word = types.uint32(cuda.ballot_sync(_ALL, (winner >> plane) & 1))
                if lane < 4 and i - lane + 8 * lane < n:
                    put_byte(at + types.uint64(plane * plane_bytes), types.int64(word >> (8 * lane)))
            start += cuda.gridDim.y * tile

    return kernel, _TYPES


@template(_keys, narrow=_NARROW)
def maxout_backward(dtype: str) -> Built:
    """dx from dy and the winners: dy for the piece that won, 0 for the others."""
    get, put, real, size, one = load(dtype, 1), store(dtype, 1), computing(dtype), ITEMSIZE[dtype], (2, 1)
    get_byte = whole_number("uint8")

    def kernel(addresses: Any, words: Any) -> None:
        dx, dy, bits = addresses
        rows, n, k, row_step, piece_step, step, bit_planes, row_bytes, plane_bytes = words
        row = types.int64(cuda.blockIdx.x) * cuda.blockDim.y + cuda.threadIdx.y
        tile = types.int64(cuda.blockDim.x)
        i = cuda.blockIdx.y * tile + cuda.threadIdx.x
        while row < rows and i < n:
            v, winner = cuda.local.array(one, real), types.int64(0)
            get(dy + types.uint64((row * n + i) * size), v, 0)
            for plane in range(bit_planes):
                octet = get_byte(bits + types.uint64(plane * plane_bytes + row * row_bytes + (i >> 3)))
                winner |= ((octet >> (i & 7)) & 1) << plane
            first, dyi = dx + types.uint64((row * row_step + i * step) * size), v[0, 0]
            for j in range(k):
                v[0, 0] = dyi if j == winner else like(dyi, 0)
                put(first + types.uint64(j * piece_step * size), v, 0)
            i += cuda.gridDim.y * tile

    return kernel, _TYPES
