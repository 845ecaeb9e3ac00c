"""Reductions over the threads of a team, in an order that the cut alone decides.

It must not know what is reduced.
"""

from __future__ import annotations

from typing import Any

from numba import cuda

from fastnn.cuda._runtime.ptx.functions import device, made_once
from fastnn.cuda.kernels.common.cuts import WARP, Cut

_ALL = 0xFFFFFFFF


@device
def add_each(r: Any, other: Any) -> None:
    """The merge of sums."""
    for k in range(len(r)):
        r[k] += other[k]


@made_once
def join(cut: Cut, merge: Any, count: int, number_type: Any) -> Any:
    """(r): the `count` numbers r of all threads of a team merged, in a fixed order, in each of them."""
    if cut.kind == "column":
        return _join_column(cut, merge, count, number_type)
    within = _join_lanes(min(cut.team, WARP), merge, count, number_type)
    return within if cut.team <= WARP else _join_warps(cut.team // WARP, within, merge, count, number_type)


@made_once
def _join_lanes(team: int, merge: Any, count: int, number_type: Any) -> Any:
    steps = team.bit_length() - 1

    @device
    def join_lanes(r: Any) -> None:
        other = cuda.local.array(count, number_type)
        for step in range(steps):
            for k in range(count):
                other[k] = cuda.shfl_xor_sync(_ALL, r[k], (team // 2) >> step)
            merge(r, other)

    return join_lanes


def _join_warps(warps: int, within: Any, merge: Any, count: int, number_type: Any) -> Any:
    across = _join_lanes(warps, merge, count, number_type)

    @device
    def join_warps(r: Any) -> None:
        shared = cuda.shared.array((count, warps), number_type)
        within(r)
        lane, warp = cuda.threadIdx.x % WARP, cuda.threadIdx.x // WARP
        cuda.syncthreads()  # the numbers of the last call have been read
        if lane == 0:
            for k in range(count):
                shared[k, warp] = r[k]
        cuda.syncthreads()
        for k in range(count):
            r[k] = shared[k, lane % warps]
        across(r)

    return join_warps


def _join_column(cut: Cut, merge: Any, count: int, number_type: Any) -> Any:
    team, lanes = cut.team, cut.lanes

    @device
    def join_column(r: Any) -> None:
        shared = cuda.shared.array((count, team, lanes), number_type)
        other = cuda.local.array(count, number_type)
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
