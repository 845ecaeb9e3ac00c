"""Kernels over samples: rows of elements that lie together, or columns of elements `inner` apart.

A team of threads takes a sample (cuts.py); a thread has `span` of its elements at a time in a local array v
(v[j, e] is element e of operand j). Work is done by device functions of three arguments (c, v, s): c tells
all that is known of the sample (samples.py), s are its numbers, float64. It must not know what is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from numba import cuda, types

from fastnn.cuda._runtime import launch
from fastnn.cuda._runtime.compiler import Built, Key, Template
from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.cuda._runtime.ptx.functions import device, in_turn, made_once
from fastnn.cuda.kernels.common.cuts import WIDEST, Cut
from fastnn.cuda.kernels.common.division import magic
from fastnn.cuda.kernels.common.reductions import join
from fastnn.cuda.kernels.common.samples import (
    AT,
    BASE,
    COUNT,
    HEAD,
    MEMBER,
    OWN_WORDS,
    SAMPLE,
    moved,
    part_of,
    place,
)


class Round(NamedTuple):
    """One reduction over a sample.

    start: what a thread's numbers r begin with, of type `number_type`; gather(c, v, s, r) adds its elements;
    merge(r, other) adds another thread's; finish(c, s, r) keeps what is made of the team's.
    """

    number_type: Any
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
    return tuple(types.UniTuple(number_type, count) for number_type, count in counts)


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
    number_type, count, start, finish = each.number_type, len(each.start), each.start, each.finish
    joined = join(cut, each.merge, count, number_type)

    @device
    def reduce(c: Any, v: Any, s: Any) -> None:
        r = cuda.local.array(count, number_type)
        for k in range(count):
            r[k] = number_type(start[k])
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
    find = place(cut, ITEMSIZE[work.reads[0].dtype])
    shape, state = (len(work.reads), cut.span), work.state

    def on_samples(a: Any, i: Any, p: Any) -> None:
        v, s = cuda.local.array(shape, real), cuda.local.array(state, types.float64)
        run((a, i, p, find(a, i)), v, s)

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
    launch.run(template, key, like, blocks, cut.block, *addresses, *own, *words, *numbers)
