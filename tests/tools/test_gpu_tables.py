"""tools.gpu.estimates and compile_times: the arithmetic of the tables, and a function from end to end."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("numba.cuda.extending")
pytest.importorskip("cuda.core")

from fastnn.bench import cases
from fastnn.bench.data import Size
from tools.accuracy.report import markdown
from tools.gpu import compile_times, estimates
from tools.gpu.code import nvdisasm
from tools.gpu.estimates import Count, Estimate


@pytest.mark.parametrize(
    ("threads", "registers", "shared", "expected"),
    [
        (128, 32, 0, 64),  # as many as there can be
        (128, 64, 0, 32),  # half, by registers
        (128, 65, 0, 28),  # registers are given to a warp by 256: seven blocks of 9216
        (512, 105, 0, 16),  # one block
        (128, 32, 100_000, 8),  # two blocks, by shared memory
        (96, 16, 0, 63),  # blocks of three warps
    ],
)
def test_warps(threads: int, registers: int, shared: int, expected: int) -> None:
    assert estimates.warps(threads, registers, shared) == expected


def count(**changed: Any) -> Count:
    return Count("k", 100.0, 1000.0, 32, 64)._replace(**changed)


def test_extended() -> None:
    """What grows with the samples does so on; what is there once remains."""
    few = [count(), count(entry="sum", instructions=7.0, moved=64.0)]
    many = [count(instructions=190.0, moved=1900.0), few[1]]
    one, total = estimates.extended([few, many], 4, 40)
    assert (one.instructions, one.moved) == (10 + 40 * 22.5, 100 + 40 * 225)
    assert total == few[1]


def test_row() -> None:
    (case,) = cases.select(["relu"], ["forward"])
    elements = 2**28
    moved = count(moved=8.0 * elements, instructions=elements / 32)
    row = estimates._row(Estimate(case, "float32", Size((elements,)), [moved]))
    us = 8 * elements / 4.3e12 * 1e6
    assert row[4:] == ["1", f"{us:.0f}", "100%", "memory", "8.0", "1", "32", "64"]
    slow = moved._replace(instructions=100.0 * elements / 32)
    assert estimates._row(Estimate(case, "float32", Size((elements,)), [slow]))[7] == "issue"


@pytest.mark.skipif(nvdisasm() is None, reason="no nvdisasm: pip install nvidia-cuda-nvdisasm")
def test_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "SIZES", (("relu", (2**28,), 2**12),))
    rows = list(estimates.estimates())
    assert [(row.case.direction, row.dtype) for row in rows] == [
        ("forward", "float32"),
        ("forward", "bfloat16"),
        ("backward", "float32"),
        ("backward", "bfloat16"),
    ]
    for row, bytes_each in zip(rows, (8, 4, 12, 6), strict=True):
        (kernel,) = row.kernels
        assert kernel.moved == pytest.approx(bytes_each * 2**28, rel=1e-3)
        assert 1 < 32 * kernel.instructions / 2**28 < 20
        assert kernel.registers <= 64
    text = markdown(estimates.table(rows))
    page = f"before\n{estimates.BEGIN}old\n{estimates.END}after"
    assert text in estimates.filled(page, text)
    assert estimates.filled(page, text).endswith(f"{estimates.END}after")


def test_compile_times() -> None:
    text = compile_times.text({"a.f": [1.0, 2.0], "b.g": [4.0], "c.h": [0.2]})
    assert text.startswith("Of 4 kernels, on one core (")
    assert "), half take less than\n1.5 s; " in text
    lines = text.splitlines()[-2:]
    assert [line.split()[1] for line in lines] == ["b.g", "a.f"]  # the slowest first
