"""Puts the emulator and the stand-ins for CuPy and cuBLAS in the place of a GPU, for one test."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import pytest

from support import host_cublas, host_cupy, ptx_emulator

Extent = tuple[int, int, int]


class _Config(NamedTuple):
    grid: Any
    block: Any
    shared: int
    cooperative: bool


def _prepared(
    template: Any,
    key: Any,
    device: int,
    stream: int,
    grid: Any,
    block: Any,
    shared: int,
    cooperative: bool,
    fast: bool,
) -> tuple[int, _Config, Any]:
    from fastnn.cuda._runtime import launch

    return stream, _Config(grid, block, shared, cooperative), launch._code(template, key, device, fast)


def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Until the test's end `import cupy` gives the stand-in, and fastnn's kernels run on the emulator.

    Returns the stand-in.
    """
    from fastnn.cuda._chain import cooperative
    from fastnn.cuda._core import blas
    from fastnn.cuda._runtime import launch

    device = launch.Properties("emulator", (9, 0), multiprocessors=132, shared_memory=227 << 10, l2=50 << 20)
    monkeypatch.setitem(sys.modules, "cupy", host_cupy)
    monkeypatch.setitem(sys.modules, "nvmath.bindings.cublas", host_cublas)
    monkeypatch.setattr(blas, "_WORKSPACE", 4096)  # the emulator fills what it gives
    monkeypatch.setattr(cooperative, "_COUNTERS", cooperative._Counters())  # set to 0 in this test
    monkeypatch.setattr(launch, "properties", lambda number: device)
    monkeypatch.setattr(launch, "checks_arguments", True)
    monkeypatch.setattr(launch, "_only_one", lambda: True)
    monkeypatch.setattr(launch._Thread, "ready", True)
    monkeypatch.setattr(launch, "_prepared", _prepared)
    monkeypatch.setattr(launch, "at_once", _few_at_once)
    monkeypatch.setattr(launch, "launch", _launch_emulated)
    return host_cupy


def _launch_emulated(stream: int, config: _Config, code: Any, *arguments: Any) -> None:
    ptx_emulator.run(
        code.ptx,
        code.entry,
        _extent(config.grid),
        _extent(config.block),
        config.shared,
        arguments,
        cooperative=config.cooperative,
    )


def _few_at_once(template: object, key: object, device: int, fast: bool, threads: int, shared: int) -> int:
    """Few, so that small arrays need several turns of a block."""
    return 5 if shared <= 200 << 10 else 0


def _extent(sizes: int | tuple[int, ...]) -> Extent:
    x, y, z = (*((sizes,) if isinstance(sizes, int) else sizes), 1, 1)[:3]
    return x, y, z
