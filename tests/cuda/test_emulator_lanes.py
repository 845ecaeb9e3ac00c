"""The emulator runs lanes as a device does: branches, calls, warps, barriers, atomics, waiting blocks."""

from __future__ import annotations

import numpy as np
import pytest

from support.ptx_text import each_lane, kernel, launch, on_device

LANES = np.arange(32)
ALL = "0xffffffff"


def test_branches_and_loops_come_together() -> None:
    body = """mov.u32 %r1, 0; and.b32 %r2, %r0, 3; setp.eq.u32 %p1, %r2, 0; @%p1 bra DONE;
    LOOP: add.u32 %r1, %r1, %r0; sub.u32 %r2, %r2, 1; setp.ne.u32 %p1, %r2, 0; @%p1 bra LOOP;
    DONE: activemask.b32 %r4; setp.ne.u32 %p1, %r4, 0xffffffff; @%p1 mov.u32 %r1, 999;"""
    np.testing.assert_array_equal(each_lane(body), LANES * (LANES & 3))


def test_guards() -> None:
    body = "mov.u32 %r1, 5; setp.lt.u32 %p1, %r0, 7; @%p1 mov.u32 %r1, 6; @!%p1 add.u32 %r1, %r1, 5;"
    np.testing.assert_array_equal(each_lane(body), np.where(LANES < 7, 6, 10))


def test_branch_by_index() -> None:
    body = """and.b32 %r2, %r0, 1; TARGETS: .branchtargets A, B; brx.idx %r2, TARGETS;
    A: mov.u32 %r1, 3; bra.uni C;
    B: mov.u32 %r1, 4; C:"""
    np.testing.assert_array_equal(each_lane(body), 3 + LANES % 2)


def test_calls_and_scopes() -> None:
    function = """.func (.param .b32 back) twice (.param .b32 x)
    { .reg .b32 %r<2>; .reg .pred %p<1>; .local .align 4 .b8 kept[8]; ld.param.u32 %r0, [x];
      st.local.u32 [kept+4], %r0; ld.local.u32 %r1, [kept+4]; setp.gt.u32 %p0, %r1, 20; @%p0 bra END;
      add.u32 %r1, %r1, %r1; END: st.param.b32 [back], %r1; ret; }"""
    body = """{ .param .b32 given; .param .b32 got; .reg .b32 %r1; mov.u32 %r1, %r0;
      st.param.b32 [given], %r1; call.uni (got), twice, (given); ld.param.b32 %r2, [got]; }
    { .param .b32 given; .param .b32 got; st.param.b32 [given], %r2; setp.ne.u32 %p1, %r0, 1;
      st.param.b32 [got], 77; @%p1 call (got), twice, (given); ld.param.b32 %r1, [got]; }"""
    once = np.where(LANES > 20, LANES, 2 * LANES)
    expected = np.where(once > 20, once, 2 * once)
    expected[1] = 77
    np.testing.assert_array_equal(each_lane(body, module=function), expected)


def test_constants_and_special_registers() -> None:
    table = ".const .align 4 .u32 table[3] = {5, 0x10, 7}; .global .align 1 .b8 bytes[4] = {1, 2};"
    body = """ld.const.u32 %r1, [table+4]; mov.u64 %d1, bytes; ld.global.u8 %r2, [%d1+1];
    add.u32 %r1, %r1, %r2;
    mov.u32 %r3, %laneid; add.u32 %r1, %r1, %r3; mov.u32 %r3, %ntid.x; add.u32 %r1, %r1, %r3;
    mov.u32 %r3, %warpid; mad.lo.u32 %r1, %r3, 1000, %r1;"""
    thread = np.arange(70)
    expected = 16 + 2 + thread % 32 + 70 + thread // 32 * 1000
    np.testing.assert_array_equal(each_lane(body, lanes=70, module=table), expected)


@pytest.mark.parametrize(
    ("text", "source", "valid"),
    [
        ("down.b32 %r1|%p1, %r0, 8, 0x1f", LANES + 8, LANES + 8 < 32),
        ("up.b32 %r1|%p1, %r0, 3, 0", LANES - 3, LANES >= 3),
        ("bfly.b32 %r1|%p1, %r0, 5, 0x1f", LANES ^ 5, LANES >= 0),
        ("idx.b32 %r1|%p1, %r0, 9, 0x1f", 0 * LANES + 9, LANES >= 0),
        ("down.b32 %r1|%p1, %r0, 2, 0x181f", LANES + 2, LANES % 8 < 6),  # segments of 8
        ("idx.b32 %r1|%p1, %r0, 1, 0x181f", LANES & ~7 | 1, LANES >= 0),
    ],
)
def test_shuffles(text: str, source: np.ndarray, valid: np.ndarray) -> None:
    body = f"shfl.sync.{text}, {ALL}; @!%p1 add.u32 %r1, %r1, 1000;"
    np.testing.assert_array_equal(each_lane(body), np.where(valid, source, LANES + 1000))


def test_a_shuffle_waits_for_lanes_that_branched_off() -> None:
    body = f"""mov.u32 %r2, %r0; setp.lt.u32 %p1, %r0, 5; @!%p1 bra MEET; add.u32 %r2, %r2, 100; bra MEET;
    MEET: shfl.sync.bfly.b32 %r1, %r2, 1, 0x1f, {ALL};"""
    values = np.where(LANES < 5, LANES + 100, LANES)
    np.testing.assert_array_equal(each_lane(body), values[LANES ^ 1])
    apart = f"""setp.lt.u32 %p1, %r0, 5; @%p1 bra A; mov.u32 %r2, %r0; bar.warp.sync {ALL}; bra B;
    A: mov.u32 %r2, 7; bar.warp.sync {ALL}; B: shfl.sync.bfly.b32 %r1, %r2, 1, 0x1f, {ALL};"""
    with pytest.raises(RuntimeError, match=r"deadlock: threads spin or wait for ever at bar\.warp\.sync"):
        each_lane(apart)


def test_votes_and_reductions_of_a_warp() -> None:
    for text, expected in (
        (f"setp.lt.u32 %p1, %r0, 4; vote.sync.ballot.b32 %r1, %p1, {ALL};", 15),
        (f"setp.lt.u32 %p1, %r0, 4; vote.sync.any.pred %p2, %p1, {ALL}; selp.b32 %r1, 1, 0, %p2;", 1),
        (f"setp.lt.u32 %p1, %r0, 4; vote.sync.all.pred %p2, %p1, {ALL}; selp.b32 %r1, 1, 0, %p2;", 0),
        (f"redux.sync.add.s32 %r1, %r0, {ALL};", 31 * 16),
        (f"sub.u32 %r2, %r0, 5; redux.sync.min.s32 %r1, %r2, {ALL};", 2**32 - 5),
    ):
        np.testing.assert_array_equal(each_lane(text), np.full(32, expected, np.uint32))
    same = each_lane(f"and.b32 %r2, %r0, 1; match.any.sync.b32 %r1, %r2, {ALL};")
    np.testing.assert_array_equal(same, np.where(LANES % 2, 0xAAAAAAAA, 0x55555555))


def test_a_shuffle_from_lanes_that_take_no_part_gives_nothing_useful() -> None:
    found = each_lane(f"setp.eq.u32 %p1, %r0, 1; @%p1 exit; shfl.sync.bfly.b32 %r1, %r0, 1, 31, {ALL};")
    assert list(found[:4]) == [2**32 - 1, 0, 3, 2]
    found = each_lane("shfl.sync.down.b32 %r1, %r0, 4, 31, 0xff;", lanes=8)
    assert list(found) == [4, 5, 6, 7] + 4 * [2**32 - 1]


def test_barriers_wait_for_all_warps_and_not_for_those_that_left() -> None:
    body = """.shared .align 4 .b8 place[256]; setp.ge.u32 %p1, %r0, 60; @%p1 exit;
    mov.u32 %r4, place; mad.lo.u32 %r5, %r0, 4, %r4; setp.lt.u32 %p2, %r0, 32; @%p2 bra WRITE;
    mov.u32 %r6, 50; SLOW: sub.u32 %r6, %r6, 1; setp.ne.u32 %p3, %r6, 0; @%p3 bra SLOW;
    WRITE: st.shared.u32 [%r5], %r0; @%p2 bra OTHER; bar.sync 0; bra READ; OTHER: bar.sync 0; READ:
    sub.u32 %r6, 59, %r0; mad.lo.u32 %r6, %r6, 4, %r4; ld.shared.u32 %r1, [%r6];"""
    expected = np.where(np.arange(64) < 60, 59 - np.arange(64), 0)
    np.testing.assert_array_equal(each_lane(body, lanes=64), expected)


def test_barriers_reduce() -> None:
    count = "setp.lt.u32 %p1, %r0, 41; bar.red.popc.u32 %r1, 0, %p1;"
    np.testing.assert_array_equal(each_lane(count, lanes=96), np.full(96, 41))
    every = "setp.lt.u32 %p1, %r0, 96; bar.red.and.pred %p2, 0, %p1; selp.b32 %r1, 1, 0, %p2;"
    np.testing.assert_array_equal(each_lane(every, lanes=96), np.ones(96))


def test_a_barrier_that_lanes_never_reach() -> None:
    body = "setp.eq.u32 %p1, %r0, 3; @%p1 bra MEET; SPIN: bra SPIN; MEET: bar.sync 0;"
    with pytest.raises(RuntimeError, match="deadlock: threads spin or wait for ever at bra SPIN"):
        each_lane(body)


def test_dynamic_shared_memory_follows_the_static() -> None:
    body = """.shared .align 4 .b8 first[12]; mov.u64 %d1, more;
    sub.u32 %r2, 1, %r0; mul.wide.u32 %d2, %r2, 4; add.u64 %d2, %d2, %d1;
    cvta.shared.u64 %d3, %d2; st.u32 [%d3], %r0; bar.sync 0; mul.wide.u32 %d2, %r0, 4; add.u64 %d2, %d2, %d1;
    ld.shared.u32 %r1, [%d2]; cvt.u32.u64 %r2, %d1; mad.lo.u32 %r1, %r2, 100, %r1;"""
    module = ".extern .shared .align 16 .b8 more[];"
    assert list(each_lane(body, lanes=2, module=module, shared=8)) == [1601, 1600]


def test_atomics_take_turns() -> None:
    ticket = """atom.global.add.u32 %r3, [%d0], 2;
    mul.wide.u32 %d1, %r0, 4; add.u64 %d1, %d1, %d0; st.global.u32 [%d1+4], %r3;"""
    counter = np.zeros(1 + 200, np.uint32)
    with on_device(counter) as address:
        launch(kernel(ticket), address, block=200)
    assert counter[0] == 400
    assert sorted(counter[1:]) == list(range(0, 400, 2))


@pytest.mark.parametrize(
    ("text", "start", "expected"),
    [
        ("red.global.max.s32 [%d0], %r0", 5, 31),
        ("red.global.min.u32 [%d0], %r0", 5, 0),
        ("atom.global.inc.u32 %r1, [%d0], 4", 3, (3 + 32) % 5),
        ("atom.global.exch.b32 %r1, [%d0], 9", 5, 9),
        ("atom.global.cas.b32 %r1, [%d0], %r0, 7", 30, 7),
        ("atom.global.xor.b32 %r1, [%d0], %r0", 1, 1),
    ],
)
def test_atomic_operations(text: str, start: int, expected: int) -> None:
    place = np.array([start], np.uint32)
    with on_device(place) as address:
        launch(kernel(f"{text};"), address)
    assert place[0] == expected


def test_atomic_float_additions() -> None:
    place = np.array([0.5], np.float32)
    with on_device(place) as address:
        launch(kernel("cvt.rn.f32.u32 %f1, %r0; red.global.add.f32 [%d0], %f1;"), address)
    assert place[0] == 496.5


def test_blocks_that_wait_for_one_another() -> None:
    """Thread 0 of each block counts itself in and spins till all have: the last one sets them free."""
    body = """mov.u32 %r2, %nctaid.x; setp.ne.u32 %p1, %r0, 0; @%p1 bra MEET;
    atom.global.add.u32 %r3, [%d0], 1; sub.u32 %r4, %r2, 1; setp.ne.u32 %p2, %r3, %r4; @%p2 bra SPIN;
    st.global.u32 [%d0+4], 1; bra MEET;
    SPIN: ld.acquire.gpu.global.u32 %r5, [%d0+4]; setp.eq.u32 %p3, %r5, 0; @%p3 bra SPIN;
    MEET: bar.sync 0; ld.global.u32 %r6, [%d0]; mov.u32 %r7, %ctaid.x; mul.wide.u32 %d1, %r7, 4;
    add.u64 %d1, %d1, %d0; @%p1 bra END; st.global.u32 [%d1+8], %r6; END:"""
    seen = np.zeros(2 + 20, np.uint32)
    with on_device(seen) as address:
        launch(kernel(body), address, grid=20, block=64, cooperative=True)
    assert list(seen[2:]) == [20] * 20


def test_a_grid_that_does_not_run_at_once() -> None:
    """More blocks than the emulator runs side by side, with a count of what they do."""
    body = (
        "mov.u32 %r1, %ctaid.x; mul.wide.u32 %d1, %r1, 4; add.u64 %d1, %d1, %d0; red.global.add.u32 [%d1], 1;"
    )
    counts = np.zeros(100, np.uint32)
    with on_device(counts) as address:
        statistics = launch(kernel(body), address, grid=100, block=1024)
    assert (counts == 1024).all()
    assert statistics.instructions["red.global.add.u32"] == 102400
    assert (statistics.bytes_read, statistics.bytes_written) == (409600, 409600)
