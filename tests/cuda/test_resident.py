"""Batch norm by one kernel that keeps on the chip what it reads: the bits of the kernels for any size."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn
import fastnn.functional
from fastnn import stages
from fastnn._core.typing import Array
from fastnn.cuda._chain import cooperative
from fastnn.cuda._core import device_arrays
from fastnn.cuda._runtime import launch
from fastnn.cuda._runtime.replay import write_words
from fastnn.cuda.kernels.chain import channels, resident
from fastnn.random import Key
from support import ptx_emulator
from support.batch_norm import channels_last, problem, run
from support.device_functions import OnDevice, there
from support.operations import BFLOAT16, HALF

F: Any = fastnn.functional  # whose arrays are a GPU's here, and no NumPy's
fuse: Any = fastnn.fuse
LEAKY = stages.Activation("leaky_relu")
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)

#: Of one channel a tile, and of several; with fewer pieces than blocks, and in several turns.
SHAPES = [(2, 1, 30_000), (700, 24), (20, 8, 7, 7), (9, 2, 2, 4, 32), (2, 3, 16, 16), (4, 8)]


@pytest.fixture
def launched(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the kernels that are launched."""
    names: list[str] = []
    run_kernel = launch.run

    def run(template: Any, *arguments: Any, **options: Any) -> None:
        if template is not write_words:  # a stream's first kernel needs its counter
            names.append(template.name)
        run_kernel(template, *arguments, **options)

    monkeypatch.setattr(launch, "run", run)
    return names


def in_several_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing fits on the chip from now on."""
    cooperative.plan.cache_clear()
    monkeypatch.setattr(launch, "at_once", lambda *kernel: 0)


@pytest.fixture(autouse=True)
def forget_plans() -> Any:
    yield
    cooperative.plan.cache_clear()


@pytest.mark.parametrize("dtype", [F32, F64, *HALF], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bits(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    cupy: Any,
    launched: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: Any = problem(shape, dtype)
    device = OnDevice(cupy)
    once, _ = run(given, True, device)
    assert launched == ["resident.forward", "resident.backward"]
    in_several_passes(monkeypatch)
    others, _ = run(given, True, device)
    assert len(launched) == 2 + 6
    assert once.bits() == others.bits()


BLOCK = [stages.BatchNorm(), stages.Activation("relu"), stages.Dropout(0.3), stages.Add(), LEAKY]


def chain(cupy: Any, dtype: np.dtype[Any], lay_out: Callable[[Array], Array]) -> list[bytes]:
    """All results of both passes of a chain whose backward pass reads three arrays."""
    rng, fused = np.random.default_rng(0), fuse(*BLOCK)
    x, dy, residual = (there(cupy, lay_out(rng.normal(size=(6, 8, 9, 8)).astype(dtype))) for _ in range(3))
    y, saved = fused.forward(x, residual=residual, key=Key(3, 4))
    results = y, *fused.backward(dy, saved)
    return [array.get().tobytes() for array in results if array is not None]


@pytest.mark.parametrize("lay_out", [np.copy, channels_last], ids=["usual", "channels_last"])
@pytest.mark.parametrize("dtype", [F32, BFLOAT16], ids=str)
def test_chains(
    dtype: np.dtype[Any],
    lay_out: Any,
    cupy: Any,
    launched: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    once = chain(cupy, dtype, lay_out)
    assert launched[-2:] == ["resident.forward", "resident.backward"]
    in_several_passes(monkeypatch)
    assert once == chain(cupy, dtype, lay_out)
    assert launched[-1] == "gradients.backward"


def test_memory_is_read_once(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two transfers of an array forward, three backward; in several passes one more, and two."""
    if cupy.__name__ == "cupy":
        pytest.skip("counted by the emulator")
    emulate, moved = ptx_emulator.run, []

    def run(*arguments: Any, **options: Any) -> Any:
        statistics = emulate(*arguments, **options)
        wide = (n for name, n in statistics.instructions.items() if re.match(r"(ld|st)\.global\.v4", name))
        moved.append(16 * sum(wide))
        return statistics

    monkeypatch.setattr(ptx_emulator, "run", run)
    x, dy = (there(cupy, a) for a in problem((5, 2, 64, 64), F32)[:2])

    def transfers(step: Callable[[], Any]) -> tuple[float, Any]:
        moved.clear()
        result = step()
        return sum(moved) / x.nbytes, result

    def both() -> tuple[float, float]:
        forward, (_, saved) = transfers(lambda: F.batch_norm(x, training=True))
        backward, _ = transfers(lambda: F.batch_norm_backward(dy, saved))
        return forward, backward

    assert both() == pytest.approx((2, 3), rel=0.05)
    in_several_passes(monkeypatch)
    assert both() == pytest.approx((3, 5), rel=0.05)


def test_what_cannot_be_resident_is_not(cupy: Any, launched: list[str]) -> None:
    memory = cupy.zeros(6 * 8 * 4 * 10 + 1, "float32")
    F.batch_norm(memory[1:].reshape(6, 8, 4, 10), training=True)
    has = launch.properties(0)
    bytes_of_one = 4 * 40 * 40 * 4
    samples = 60 if cupy.__name__ != "cupy" else has.multiprocessors * has.shared_memory // bytes_of_one + 1
    large = there(cupy, problem((samples, 4, 40, 40), F32).x)
    F.batch_norm(large, training=True)
    assert "resident.forward" not in launched


@pytest.mark.parametrize("blocks", [1, 7, 132, 10_000])
def test_plans_have_turns_for_all_pieces(blocks: int, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "at_once", lambda *kernel: blocks if kernel[-1] <= 100_000 else 0)
    key, found = ("float32",), []
    for shape in ((1, 1, 4096), (32, 64, 3136), (8, 256, 49), (256, 512, 4), (4096, 96, 1)):
        cut = channels.cut("float32", *shape, False, True)
        for layers in (1, 3):
            plan = cooperative.plan(resident.forward, key, 0, False, cut, layers)
            if plan is None:
                continue
            found.append(plan)
            pieces = math.prod(cut.grid)
            assert plan.blocks <= blocks
            assert plan.blocks * (plan.turns - 1) < pieces <= plan.blocks * plan.turns
            assert plan.slab == cut.most_visits * layers * 4096
            assert plan.turns * plan.slab <= 100_000
    assert found


def test_streams_count_apart(cupy: Any) -> None:
    x = cupy.ones((4, 8), "float32")
    own = device_arrays.describe("x", x)
    first, again = cooperative.counter(own), cooperative.counter(own)
    with cupy.cuda.Stream(non_blocking=True):
        other = cooperative.counter(own)
    assert first.address == again.address != other.address
    for _ in range(3):  # an odd number of times, and with other numbers of blocks
        F.batch_norm(x, training=True)
        F.batch_norm(cupy.ones((700, 12), "float32"), training=True)
    assert int(first.owner.get()[0]) & 0x7FFFFFFF == 0
