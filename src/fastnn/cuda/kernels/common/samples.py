"""Where a thread of a team is in its sample, and the sample's elements from and to memory.

What is known of the sample is a tuple c, whose places are named here. It must not know what is computed.
"""

from __future__ import annotations

from typing import Any

from numba import cuda, types

from fastnn.cuda._runtime.dtypes import ITEMSIZE, WIDTH
from fastnn.cuda._runtime.ptx.access import load, store
from fastnn.cuda._runtime.ptx.arithmetic import quotient
from fastnn.cuda._runtime.ptx.functions import device, in_turn, made_once
from fastnn.cuda._runtime.ptx.real import computing
from fastnn.cuda.kernels.common.cuts import Cut
from fastnn.cuda.kernels.common.division import divide

#: What c holds: addresses, whole numbers, floats, and where the thread is.
ADDRESSES, WORDS, NUMBERS, AT = 0, 1, 2, 3
#: The first words of every kernel: samples, elements of one, elements from one to the next, and magic(inner).
SAMPLES, LENGTH, INNER, MAGIC, OWN_WORDS = 0, 1, 2, 3, 4
#: Where a thread is: its sample, its place in the team, the sample's first element, its length (0: no
#: sample), how many elements before it the first vector begins. And the part of the sample that the team is
#: at: the index where its first vector begins, and, counted from there, where it has elements. A part has
#: few: its places are int32, as those in the team; all else is int64.
SAMPLE, MEMBER, BASE, COUNT, HEAD, START, FROM, TO = range(8)


@made_once
def part_of(cut: Cut) -> Any:
    """(sample, member, base, count, head, first): AT for the part that begins at `first`, less the head."""
    tile = cut.team * cut.span

    @device
    def part(sample: int, member: int, base: int, count: int, head: int, first: int) -> Any:
        start, skipped = first - head, head if first == 0 else types.int64(0)
        end = types.int32(max(min(count - start, types.int64(tile)), types.int64(0)))
        return sample, member, base, count, head, start, types.int32(skipped), end

    return part


@made_once
def place(cut: Cut, size: int) -> Any:
    """(addresses, words): the tuple AT of a thread at the first part; `size` is that of an element."""
    team, together, tile, part = cut.team, cut.together, cut.team * cut.span, part_of(cut)

    @device
    def row(i: Any) -> Any:
        thread = types.uint32(cuda.threadIdx.x)
        sample = types.int64(cuda.blockIdx.x) * together + quotient(thread, team)
        count = i[LENGTH] if sample < i[SAMPLES] else types.int64(0)
        return sample, types.int32(thread & types.uint32(team - 1)), sample * i[LENGTH], count

    @device
    def column(i: Any) -> Any:
        sample = types.int64(cuda.blockIdx.x) * together + cuda.threadIdx.x
        base = sample + divide(sample, i[MAGIC]) * ((i[LENGTH] - 1) * i[INNER])
        count = i[LENGTH] if sample < i[SAMPLES] else types.int64(0)
        return sample, types.int32(cuda.threadIdx.y), base, count

    @device
    def piece(i: Any) -> Any:
        sample = types.int64(cuda.blockIdx.x)
        base = sample * tile
        return sample, types.int32(cuda.threadIdx.x), base, i[LENGTH] - base

    find = {"row": row, "column": column, "piece": piece}[cut.kind]
    headed = cut.ragged and cut.kind != "piece"

    @device
    def place(a: Any, i: Any) -> Any:
        sample, member, base, count = find(i)
        head = ((types.int64(a[0]) + base * size) & 15) // size if headed else types.int64(0)
        return part(sample, member, base, count, head, types.int64(0))

    return place


@made_once
def _in_part(cut: Cut) -> Any:
    """(c, e): the place of the thread's element e in the part."""
    team, width = cut.team, cut.width

    @device
    def place_of(c: Any, e: int) -> Any:
        return types.int32((c[AT][MEMBER] + e // width * team) * width + e % width)

    return place_of


@made_once
def index(cut: Cut) -> Any:
    """(c, e): the index of the thread's element e; outside 0 to COUNT - 1 where there is none."""
    place_of = _in_part(cut)

    @device
    def index_of(c: Any, e: int) -> Any:
        return c[AT][START] + place_of(c, e)

    return index_of


@made_once
def has(cut: Cut) -> Any:
    """(c, e): whether the sample has the thread's element e."""
    place_of, ragged = _in_part(cut), cut.ragged

    @device
    def has_it(c: Any, e: int) -> Any:
        place = place_of(c, e)
        return c[AT][FROM] <= place < c[AT][TO] if ragged else place < c[AT][TO]

    return has_it


# ---- memory ------------------------------------------------------------------------------------------------


@device
def _base(c: Any) -> Any:
    """Where the sample begins in the arrays that are read and written."""
    return c[AT][BASE]


@made_once
def moved(
    cut: Cut, dtype: str, address: int, row: int, outside: float | None, base: Any = _base, whole: bool = True
) -> Any:
    """(c, v, s): loads row `row` of v, `outside` where the sample has no element; with None stores it.

    base(c): the sample's first element in that array. whole: vectors that lie in the sample are accessed at
    once.
    """
    move = _vector(cut, dtype, address, row, outside, base, whole)
    # No loop over vectors: with a branch in it, the compiler for capability 10 keeps it, and v in memory.
    return in_turn([_from(move, e) for e in range(0, cut.span, cut.width)])


@made_once
def _from(move: Any, e: int) -> Any:
    """(c, v, s): a vector's move, for the thread's elements from e on."""

    @device
    def move_there(c: Any, v: Any, s: Any) -> None:
        move(c, v, s, e)

    return move_there


@made_once
def _vector(
    cut: Cut, dtype: str, address: int, row: int, outside: float | None, base: Any, whole: bool
) -> Any:
    """(c, v, s, e): as `moved`, for the thread's elements from e on, as many as one access has.

    e is a constant in every call, and yet an argument: so it is compiled once, and not for each e.
    """
    width, size, span = cut.width, ITEMSIZE[dtype], cut.span
    ragged, apart, loads = cut.ragged or not whole, cut.kind == "column", outside is not None
    load_or_store, real, filler = (load if loads else store), computing(dtype), outside or 0.0
    step = min(width, WIDTH[dtype]) if whole else 1
    at_once, place_of = load_or_store(dtype, step), _in_part(cut)
    singly = in_turn([_element(dtype, row, span, k, outside) for k in range(width)])

    @device
    def move(c: Any, v: Any, s: Any, e: int) -> None:
        first, start, at = place_of(c, e), c[AT][START], c[ADDRESSES][address]
        begin, end = c[AT][FROM], c[AT][TO]
        if apart:
            at += types.uint64((base(c) + (start + first) * c[WORDS][INNER]) * size)
        else:
            at += types.uint64((base(c) + start) * size) + types.uint32(first * size)
        if whole and first < end and (not ragged or (first >= begin and types.int32(first + width) <= end)):
            for piece in range(0, width, step):
                at_once(at + types.uint64(piece * size), v, row * span + e + piece)
        elif ragged:
            singly((at, first, begin, end, e), v, s)
        elif loads:
            for k in range(width):
                v[row, e + k] = real(filler)

    return move


@made_once
def _element(dtype: str, row: int, span: int, k: int, outside: float | None) -> Any:
    """((address and place of the vector's first element, FROM, TO, e), v, s): its element k."""
    size, real, loads, filler = ITEMSIZE[dtype], computing(dtype), outside is not None, outside or 0.0
    single = (load if loads else store)(dtype, 1)

    @device
    def move(vector: Any, v: Any, s: Any) -> None:
        at, first, begin, end, e = vector
        if begin <= types.int32(first + k) < end:
            single(at + types.uint64(k * size), v, row * span + e + k)
        elif loads:
            v[row, e + k] = real(filler)

    return move
