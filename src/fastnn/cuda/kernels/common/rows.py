"""The machinery of kernels over samples: how each is cut over threads, loaded, reduced and written.

A sample is a row of n elements that lie together, or a column of n elements that are `inner` apart. A team
of threads takes it; a thread has `span` of its elements at a time in a local array v (v[j, e] is element e
of operand j). Work is done by device functions of three arguments (c, v, s): c tells all that is known of
the sample, s are its numbers, float64. It must not know what is computed.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

from numba import cuda, types

from fastnn.cuda._core.device_arrays import DeviceArray, stream
from fastnn.cuda._runtime import launch
from fastnn.cuda._runtime.compiler import Built, Key, Template
from fastnn.cuda._runtime.ptx import (
    ITEMSIZE,
    WIDTH,
    computing,
    device,
    in_turn,
    load,
    made_once,
    quotient,
    store,
)
from fastnn.cuda.kernels.common.division import divide, magic

#: What c holds: addresses, whole numbers, floats, and where the thread is.
ADDRESSES, WORDS, NUMBERS, AT = 0, 1, 2, 3
#: The first words of every kernel: samples, elements of one, elements from one to the next, and magic(inner).
SAMPLES, LENGTH, INNER, MAGIC, OWN_WORDS = 0, 1, 2, 3, 4
#: Where a thread is: its sample, its place in the team, the sample's first element, its length (0: no
#: sample), how many elements before it the first vector begins. And the part of the sample that the team is
#: at: the index where its first vector begins, and, counted from there, where it has elements. A part has
#: few: its places are int32, as those in the team; all else is int64.
SAMPLE, MEMBER, BASE, COUNT, HEAD, START, FROM, TO = range(8)

#: Threads of a block; those of a block that is one team: with more, a thread could not have 128 registers.
THREADS, WIDEST = 128, 512
_WARP = 32
_ALL = 0xFFFFFFFF


class Cut(NamedTuple):
    """How samples are cut: a team of threads, each with `span` elements at a time, `width` by one access.

    kind "row": a team is a part of a warp, a warp, or a block. "column": neighbouring samples are in
    neighbouring lanes, and a team in one lane of several warps. "piece": one array, of which each block
    takes `team * span` elements. ragged: samples may begin and end inside a vector. passes: 1 where a team
    holds a sample, 2 where it must be read twice.
    """

    kind: str
    team: int
    span: int
    width: int
    ragged: bool = False
    passes: int = 1

    @property
    def lanes(self) -> int:
        """Of a column: samples in a block."""
        return max(_WARP, THREADS // self.team)

    @property
    def block(self) -> int | tuple[int, int]:
        """The threads of a block."""
        return (self.lanes, self.team) if self.kind == "column" else max(THREADS, self.team)

    @property
    def together(self) -> int:
        """Samples in a block."""
        return self.lanes if self.kind == "column" else max(1, THREADS // self.team)


class Round(NamedTuple):
    """One reduction over a sample.

    start: what a thread's numbers r begin with, of type `kind`; gather(c, v, s, r) adds its elements;
    merge(r, other) adds another thread's; finish(c, s, r) keeps what is made of the team's.
    """

    kind: Any
    start: tuple[float, ...]
    gather: Any
    merge: Any
    finish: Any


class Read(NamedTuple):
    """An operand that a kernel reads: its dtype, where its address is, what stands for elements outside."""

    dtype: str
    address: int
    outside: float = 0.0


class Written(NamedTuple):
    """A row of v that a kernel writes."""

    dtype: str
    address: int
    row: int = 0


class Work(NamedTuple):
    """What a kernel does with a sample: begin, rounds, and emit, which leaves in v what is written."""

    reads: tuple[Read, ...]
    written: tuple[Written, ...]
    addresses: int
    words: int  # beside OWN_WORDS
    numbers: int
    state: int  # numbers in s
    begin: Any
    rounds: tuple[Round, ...]
    emit: Any


@device
def nothing(c: Any, v: Any, s: Any) -> None:
    """For work without a beginning or an end."""


@device
def add_each(r: Any, other: Any) -> None:
    """The merge of sums."""
    for k in range(len(r)):
        r[k] += other[k]


# ---- where a thread is -------------------------------------------------------------------------------------


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
def _place(cut: Cut, size: int) -> Any:
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
    # No loop over vectors: with a branch in it, the compiler for capability 10 keeps it, and v in memory.
    vectors = range(0, cut.span, cut.width)
    return in_turn([_vector(cut, dtype, address, row, outside, base, whole, e) for e in vectors])


@made_once
def _vector(
    cut: Cut, dtype: str, address: int, row: int, outside: float | None, base: Any, whole: bool, e: int
) -> Any:
    """The same for the thread's elements from e on, as many as one access has."""
    width, size, place_in_v = cut.width, ITEMSIZE[dtype], row * cut.span + e
    ragged, apart, loads = cut.ragged or not whole, cut.kind == "column", outside is not None
    kind, real, filler = (load if loads else store), computing(dtype), outside or 0.0
    step = min(width, WIDTH[dtype]) if whole else 1
    at_once, place_of = kind(dtype, step), _in_part(cut)
    singly = in_turn([_element(dtype, row, e + k, k, place_in_v + k, outside) for k in range(width)])

    @device
    def move(c: Any, v: Any, s: Any) -> None:
        first, start, at = place_of(c, e), c[AT][START], c[ADDRESSES][address]
        begin, end = c[AT][FROM], c[AT][TO]
        if apart:
            at += types.uint64((base(c) + (start + first) * c[WORDS][INNER]) * size)
        else:
            at += types.uint64((base(c) + start) * size) + types.uint32(first * size)
        if whole and first < end and (not ragged or (first >= begin and types.int32(first + width) <= end)):
            for piece in range(0, width, step):
                at_once(at + types.uint64(piece * size), v, place_in_v + piece)
        elif ragged:
            singly((at, first, begin, end), v, s)
        elif loads:
            for k in range(width):
                v[row, e + k] = real(filler)

    return move


@made_once
def _element(dtype: str, row: int, e: int, k: int, place_in_v: int, outside: float | None) -> Any:
    """((address and place of the vector's first element, FROM, TO), v, s): its element k."""
    size, real, loads, filler = ITEMSIZE[dtype], computing(dtype), outside is not None, outside or 0.0
    single = (load if loads else store)(dtype, 1)

    @device
    def move(vector: Any, v: Any, s: Any) -> None:
        at, first, begin, end = vector
        if begin <= types.int32(first + k) < end:
            single(at + types.uint64(k * size), v, place_in_v)
        elif loads:
            v[row, e] = real(filler)

    return move


# ---- reductions --------------------------------------------------------------------------------------------


@made_once
def join(cut: Cut, merge: Any, count: int, kind: Any) -> Any:
    """(r): the `count` numbers r of all threads of a team merged, in a fixed order, in each of them."""
    if cut.kind == "column":
        return _join_column(cut, merge, count, kind)
    within = _join_lanes(min(cut.team, _WARP), merge, count, kind)
    return within if cut.team <= _WARP else _join_warps(cut.team // _WARP, within, merge, count, kind)


@made_once
def _join_lanes(team: int, merge: Any, count: int, kind: Any) -> Any:
    steps = team.bit_length() - 1

    @device
    def join_lanes(r: Any) -> None:
        other = cuda.local.array(count, kind)
        for step in range(steps):
            for k in range(count):
                other[k] = cuda.shfl_xor_sync(_ALL, r[k], (team // 2) >> step)
            merge(r, other)

    return join_lanes


def _join_warps(warps: int, within: Any, merge: Any, count: int, kind: Any) -> Any:
    across = _join_lanes(warps, merge, count, kind)

    @device
    def join_warps(r: Any) -> None:
        shared = cuda.shared.array((count, warps), kind)
        within(r)
        lane, warp = cuda.threadIdx.x % _WARP, cuda.threadIdx.x // _WARP
        cuda.syncthreads()  # the numbers of the last call have been read
        if lane == 0:
            for k in range(count):
                shared[k, warp] = r[k]
        cuda.syncthreads()
        for k in range(count):
            r[k] = shared[k, lane % warps]
        across(r)

    return join_warps


def _join_column(cut: Cut, merge: Any, count: int, kind: Any) -> Any:
    team, lanes = cut.team, cut.lanes

    @device
    def join_column(r: Any) -> None:
        shared, other = cuda.shared.array((count, team, lanes), kind), cuda.local.array(count, kind)
        lane, member = cuda.threadIdx.x, cuda.threadIdx.y
        cuda.syncthreads()
        for k in range(count):
            shared[k, member, lane] = r[k]
        cuda.syncthreads()
        for k in range(count):
            r[k] = shared[k, 0, lane]
        for each in range(1, team):
            for k in range(count):
                other[k] = shared[k, each, lane]
            merge(r, other)

    @device
    def alone(r: Any) -> None:
        return

    return alone if team == 1 else join_column


# ---- kernels -----------------------------------------------------------------------------------------------

#: What templates of such kernels are compiled with. Narrow: columns, and rows at odd places, are read one
#: by one.
OPTIONS: dict[str, Any] = {
    "launch_bounds": WIDEST,
    "registers": 128,
    "narrow": "columns, rows at odd places and statistics are accessed one by one",
}


def argument_types(addresses: int, words: int, numbers: int) -> tuple[Any, ...]:
    """Those of a kernel (addresses, words, numbers)."""
    counts = (types.uint64, addresses), (types.int64, words), (types.float64, numbers)
    return tuple(types.UniTuple(kind, count) for kind, count in counts)


def kernel(cut: Cut, work: Work, real: Any) -> Built:
    """The kernel (addresses, words, numbers) that does `work` on all samples."""
    made = (_held if cut.passes == 1 else _streamed)(cut, work, real)
    return made, argument_types(work.addresses, OWN_WORDS + work.words, work.numbers)


def _loads(cut: Cut, work: Work) -> Any:
    return in_turn([moved(cut, r.dtype, r.address, j, r.outside) for j, r in enumerate(work.reads)])


def _stores(cut: Cut, work: Work) -> Any:
    return in_turn([moved(cut, w.dtype, w.address, w.row, None) for w in work.written])


def _reduced(cut: Cut, each: Round, gather: Any) -> Any:
    """(c, v, s): the round; gather(c, v, s, r) goes over all elements of the sample."""
    kind, count, start, finish = each.kind, len(each.start), each.start, each.finish
    joined = join(cut, each.merge, count, kind)

    @device
    def reduce(c: Any, v: Any, s: Any) -> None:
        r = cuda.local.array(count, kind)
        for k in range(count):
            r[k] = kind(start[k])
        gather(c, v, s, r)
        joined(r)
        finish(c, s, r)

    return reduce


def _held(cut: Cut, work: Work, real: Any) -> Any:
    rounds = [_reduced(cut, each, each.gather) for each in work.rounds]
    steps = [work.begin, _loads(cut, work), *rounds, work.emit, _stores(cut, work)]
    return _kernel(cut, work, real, in_turn(steps))


def _streamed(cut: Cut, work: Work, real: Any) -> Any:
    steps = [work.begin]
    if work.rounds:
        (each,) = work.rounds
        steps.append(_reduced(cut, each, _of_parts(cut, each.gather, _loads(cut, work))))
    if work.written:
        steps.append(_backwards(cut, in_turn([_loads(cut, work), work.emit, _stores(cut, work)])))
    return _kernel(cut, work, real, in_turn(steps))


def _kernel(cut: Cut, work: Work, real: Any, run: Any) -> Any:
    place = _place(cut, ITEMSIZE[work.reads[0].dtype])
    shape, state = (len(work.reads), cut.span), work.state

    def on_samples(a: Any, i: Any, p: Any) -> None:
        v, s = cuda.local.array(shape, real), cuda.local.array(state, types.float64)
        run((a, i, p, place(a, i)), v, s)

    return on_samples


@made_once
def _moved_to(cut: Cut) -> Any:
    """(c, first): c with the team at another part of the sample."""
    part = part_of(cut)

    @device
    def move(c: Any, first: int) -> Any:
        a, i, p, at = c
        return a, i, p, part(at[SAMPLE], at[MEMBER], at[BASE], at[COUNT], at[HEAD], first)

    return move


def _of_parts(cut: Cut, gather: Any, loads: Any) -> Any:
    """(c, v, s, r): gathers, while the sample goes through the registers."""
    tile, moved_to = cut.team * cut.span, _moved_to(cut)

    @device
    def gather_parts(c: Any, v: Any, s: Any, r: Any) -> None:
        for first in range(0, c[AT][COUNT] + c[AT][HEAD], tile):
            now = moved_to(c, first)
            loads(now, v, s)
            gather(now, v, s, r)

    return gather_parts


def _backwards(cut: Cut, write: Any) -> Any:
    """(c, v, s): what is done with each part of the sample, the last first: it may still be in a cache."""
    tile, moved_to = cut.team * cut.span, _moved_to(cut)

    @device
    def each_part(c: Any, v: Any, s: Any) -> None:
        parts = (c[AT][COUNT] + c[AT][HEAD] + tile - 1) // tile
        for done in range(parts):
            write(moved_to(c, (parts - 1 - done) * tile), v, s)

    return each_part


# ---- launches ----------------------------------------------------------------------------------------------


def _power_of_2(n: int) -> int:
    return 1 << max(n - 1, 0).bit_length()


def team_for(length: int, span: int) -> int:
    """The threads that hold `length` elements, `span` each: a part of a warp, a warp, or a block."""
    team = _power_of_2(-(-length // span))
    return team if team <= _WARP else max(team, THREADS)


@functools.lru_cache(4096)
def row_cut(length: int, dtype: str, operands: int, remainders: frozenset[int]) -> Cut:
    """For rows of `length`: remainders are those of the arrays' addresses by 16."""
    size, vector = ITEMSIZE[dtype], WIDTH[dtype]
    width = vector if len(remainders) == 1 and min(remainders) % size == 0 else 1
    ragged = width > 1 and (length % width != 0 or remainders != {0})
    needed = length + (width - 1 if ragged else 0)
    most = 32 * 4 // max(4, size) // operands  # 32 registers for elements
    least = min(8, most)
    if needed <= least * _WARP:
        return Cut("row", _power_of_2(-(-needed // least)), least, width, ragged)
    if needed <= most * _WARP:
        return Cut("row", _WARP, _power_of_2(-(-needed // _WARP)), width, ragged)
    for span in (max(min(16, most), vector), most):
        team = team_for(needed, span)
        if team <= WIDEST:
            return Cut("row", team, span, width, ragged)
    return Cut("row", WIDEST // 2, least, width, ragged, 2)


@functools.lru_cache(4096)
def column_cut(length: int, operands: int) -> Cut:
    """For columns of `length`."""
    span = 16 // operands
    team = _power_of_2(-(-length // span))
    return Cut("column", team, span, 1) if team <= 16 else Cut("column", 16, span // 2, 1, passes=2)


def cut_of(shape: tuple[int, int, int], arrays: Sequence[DeviceArray], operands: int) -> Cut:
    """For arrays of one dtype and of shape (outer, length, inner)."""
    _, length, inner = shape
    if inner > 1:
        return column_cut(length, operands)
    return row_cut(length, arrays[0].dtype, operands, frozenset(a.address % 16 for a in arrays))


def run(
    template: Template,
    key: Key,
    cut: Cut,
    like: DeviceArray,
    sizes: tuple[int, int, int],
    addresses: Sequence[int],
    words: Sequence[int] = (),
    numbers: Sequence[float] = (),
) -> None:
    """Launch a kernel of this cut on samples of (outer, length, inner)."""
    outer, length, inner = sizes
    samples = outer * inner
    many, each = (length, cut.team * cut.span) if cut.kind == "piece" else (samples, cut.together)
    blocks = -(-many // each)
    if blocks == 0:
        return
    own = samples, length, inner, magic(inner)
    launch.run(
        template, key, like.device, stream(like), blocks, cut.block, *addresses, *own, *words, *numbers
    )
