"""What a kernel does wrong is an error that names instruction, thread and place."""

from __future__ import annotations

import numpy as np
import pytest

from support.ptx_emulator import DeviceMemoryError, RaceError, memory
from support.ptx_text import each_lane, kernel, launch, on_device

INDEX = "mul.wide.u32 %d1, %r0, 4; add.u64 %d1, %d1, %d0;"


@pytest.mark.parametrize(
    "access", ["ld.global.u32 %r1, [%d1]", "st.global.u32 [%d1], %r0", "ld.u32 %r1, [%d1]"]
)
def test_out_of_bounds(access: str) -> None:
    with (
        on_device(np.zeros(20, np.uint32)) as address,
        pytest.raises(DeviceMemoryError) as error,
    ):
        launch(kernel(f"{INDEX} {access};"), address)
    where = f"thread (20, 0, 0) of block (0, 0, 0): the address {address + 80:#x} is in no allocation"
    assert str(error.value) == f"{access}: {where}"


def test_freed_memory_and_null() -> None:
    address = memory.allocate(128)
    memory.free(address)
    for wrong in (address, 0):
        with pytest.raises(DeviceMemoryError, match="is in no allocation"):
            launch(kernel(f"{INDEX} st.global.u32 [%d1], %r0;"), wrong)
    with pytest.raises(ValueError, match=f"no allocation begins at {address:#x}"):
        memory.free(address)


def test_only_the_lanes_of_a_branch_are_checked() -> None:
    values = np.zeros(20, np.uint32)
    with on_device(values) as address:
        launch(kernel(f"{INDEX} setp.lt.u32 %p1, %r0, 20; @%p1 st.global.u32 [%d1], %r0;"), address)
    np.testing.assert_array_equal(values, np.arange(20))


def test_misaligned() -> None:
    with (
        on_device(np.zeros(200, np.uint32)) as address,
        pytest.raises(DeviceMemoryError, match=r"thread \(1, 0, 0\) .* 0x\w+ is not aligned to 16 bytes"),
    ):
        launch(kernel(f"{INDEX} ld.global.v4.u32 {{%r1, %r2, %r3, %r4}}, [%d1];"), address)


def test_memory_that_nothing_has_written() -> None:
    address = memory.allocate(128)
    memory.mark(address, 64)
    text = kernel(f"{INDEX} ld.global.u32 %r1, [%d1];")
    with pytest.raises(DeviceMemoryError, match=r"thread \(16, 0, 0\) .* holds what nothing has written"):
        launch(text, address)
    launch(text, address, strict=False)
    launch(kernel(f"{INDEX} st.global.u32 [%d1], %r0; ld.global.u32 %r1, [%d1];"), address)
    launch(text, address)
    memory.free(address)


def test_beyond_shared_memory() -> None:
    body = (
        ".shared .align 4 .b8 s[64]; mov.u32 %r2, s; mad.lo.u32 %r2, %r0, 4, %r2; st.shared.u32 [%r2], %r0;"
    )
    with pytest.raises(DeviceMemoryError, match=r"thread \(16, .* is beyond the 64 bytes of shared memory"):
        each_lane(body)


SHARED = ".shared .align 4 .b8 s[256]; mov.u32 %r3, s; mad.lo.u32 %r2, %r0, 4, %r3;"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "st.shared.u32 [%r2], %r0; ld.shared.u32 %r1, [%r3];",
            r"read of shared byte 0 by thread \(1, .*\(0, ",
        ),
        ("ld.shared.u32 %r1, [%r3]; st.shared.u32 [%r2], %r0;", r"write of shared byte 0 by thread \(0, "),
        (
            "ld.shared.u32 %r1, [%r3]; setp.eq.u32 %p1, %r0, 63; @%p1 st.shared.u32 [%r3], %r0;",
            r"write of shared byte 0 by thread \(63, .*\(0, ",
        ),
        ("st.shared.u32 [%r3], %r0;", "write of shared byte 0"),
        ("st.shared.u32 [%r2], 0; atom.shared.add.u32 %r1, [%r3], 1;", "atomic of shared byte 0"),
        (
            "atom.shared.add.u32 %r1, [%r3], 1; ld.shared.u32 %r1, [%r3];",
            "since an atomic operation accessed it",
        ),
    ],
)
def test_races(body: str, message: str) -> None:
    with pytest.raises(RaceError, match=message):
        each_lane(SHARED + body, lanes=64)
    each_lane(SHARED + body, lanes=64, races=False)
    first, _, second = body.partition(";")
    if second:
        each_lane(f"{SHARED}{first}; bar.sync 0; {second}", lanes=64)


def test_a_warp_is_ordered_by_its_own_barriers() -> None:
    body = (
        "st.shared.u32 [%r2], %r0; bar.warp.sync 0xffffffff; xor.b32 %r4, %r2, 4; ld.shared.u32 %r1, [%r4];"
    )
    np.testing.assert_array_equal(each_lane(SHARED + body, lanes=64), np.arange(64) ^ 1)
    with pytest.raises(RaceError, match="read of shared byte"):
        each_lane(SHARED + body.replace("xor.b32 %r4, %r2, 4", "xor.b32 %r4, %r2, 128"), lanes=64)


def test_what_the_emulator_does_not_know() -> None:
    for text in (
        "wgmma.fence.sync.aligned",
        "add.rn.funny.f32 %f1, %f1, %f1",
        "mov.u32 %r1, %pm0",
        "bar.sync 1",
    ):
        with pytest.raises(
            NotImplementedError, match=text.split()[0].split(".")[0] if "pm0" not in text else "%pm0"
        ):
            each_lane(f"{text};")
    with pytest.raises(ValueError, match=r"no kernel 'k' in the PTX, which has \[\]"):
        launch(".version 8.0")


def test_arguments_must_fit() -> None:
    with pytest.raises(TypeError, match="k takes 1 arguments, and got 2"):
        launch(kernel("trap;"), 1, 2)
    with pytest.raises(
        ValueError, match=r"argument 0 of k, np.float32\(1.0\), has 4 bytes, and its parameter 8"
    ):
        launch(kernel("trap;"), np.float32(1))
    with pytest.raises(TypeError, match="an argument of type str"):
        launch(kernel("trap;"), "x")
    with pytest.raises(RuntimeError, match=r"trap: thread \(0, 0, 0\) of block \(0, 0, 0\) has trapped"):
        launch(kernel("trap;"), -1)
    with pytest.raises(ValueError, match=r"a grid of \(1, 1, 1\) blocks of \(1025, 1, 1\) threads"):
        launch(kernel("trap;"), 1, block=1025)
