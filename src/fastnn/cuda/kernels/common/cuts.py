"""How samples are cut over teams of threads: rows, or columns. It depends on shapes and addresses alone.

It must not know what is computed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fastnn.cuda._runtime.dtypes import ITEMSIZE, WIDTH
from fastnn.cuda._runtime.memory import DeviceArray

#: Threads of a block; and of a block that is one team at most, as each may need 128 registers.
THREADS, WIDEST = 128, 512
WARP = 32


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
        return max(WARP, THREADS // self.team)

    @property
    def block(self) -> int | tuple[int, int]:
        """The threads of a block."""
        return (self.lanes, self.team) if self.kind == "column" else max(THREADS, self.team)

    @property
    def together(self) -> int:
        """Samples in a block."""
        return self.lanes if self.kind == "column" else max(1, THREADS // self.team)


def _power_of_2(n: int) -> int:
    return 1 << max(n - 1, 0).bit_length()


def team_for(length: int, span: int) -> int:
    """The threads that hold `length` elements, `span` each: a part of a warp, a warp, or a block."""
    team = _power_of_2(-(-length // span))
    return team if team <= WARP else max(team, THREADS)


@functools.lru_cache(4096)
def row_cut(length: int, dtype: str, operands: int, remainders: frozenset[int]) -> Cut:
    """The cut of rows of `length` elements. remainders: the arrays' addresses modulo 16."""
    size, vector = ITEMSIZE[dtype], WIDTH[dtype]
    width = vector if len(remainders) == 1 and min(remainders) % size == 0 else 1
    ragged = width > 1 and (length % width != 0 or remainders != {0})
    needed = length + (width - 1 if ragged else 0)
    most = 32 * 4 // max(4, size) // operands  # 32 registers for elements
    least = min(8, most)
    if needed <= least * WARP:
        return Cut("row", _power_of_2(-(-needed // least)), least, width, ragged)
    if needed <= most * WARP:
        return Cut("row", WARP, _power_of_2(-(-needed // WARP)), width, ragged)
    for span in (max(min(16, most), vector), most):
        team = team_for(needed, span)
        if team <= WIDEST:
            return Cut("row", team, span, width, ragged)
    return Cut("row", WIDEST // 2, least, width, ragged, 2)


@functools.lru_cache(4096)
def column_cut(length: int, operands: int) -> Cut:
    """The cut of columns of `length` elements."""
    span = 16 // operands
    team = _power_of_2(-(-length // span))
    return Cut("column", team, span, 1) if team <= 16 else Cut("column", 16, span // 2, 1, passes=2)


def cut_of(shape: tuple[int, int, int], arrays: Sequence[DeviceArray], operands: int) -> Cut:
    """The cut of arrays of one dtype and of shape (outer, length, inner)."""
    _, length, inner = shape
    if inner > 1:
        return column_cut(length, operands)
    return row_cut(length, arrays[0].dtype, operands, frozenset(a.address % 16 for a in arrays))


# ---- for the examples of templates -------------------------------------------------------------------------

#: Dtypes of most examples: of float16 only loads and stores are others.
TYPICAL = ("float32", "float64", "bfloat16")


def example_cuts(dtype: str, operands: int) -> list[Cut]:
    """A cut of every kind: a part of a warp, a block, at odd places; read twice; columns."""
    plain, odd = frozenset({0}), frozenset({0, ITEMSIZE[dtype]})
    sizes = (64, plain), (4096, plain), (4097, plain), (50257, plain), (5, odd)
    by_rows = [row_cut(n, dtype, operands, where) for n, where in sizes]
    return [*by_rows, column_cut(21, operands), column_cut(10000, operands)]


def examples(operands: int) -> Iterator[tuple[str, Cut]]:
    """All cuts for float32, a row held and one read twice for others."""
    yield from (("float32", cut) for cut in example_cuts("float32", operands))
    for dtype in TYPICAL[1:]:
        yield from ((dtype, cut) for cut in example_cuts(dtype, operands)[1:4:2])
    yield "float16", example_cuts("float16", operands)[1]
