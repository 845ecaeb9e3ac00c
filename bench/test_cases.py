"""pytest-benchmark over the cases of `fastnn bench`: a group per case, size and dtype, a row per contestant.

Run `pytest bench`, or a part of it: `pytest bench -k "gelu and 16384 and float32"`. The sizes are those of
`fastnn bench --quick`. On all threads; the peers are those installed. `fastnn bench` times the
contestants in turns, so its ratios are the ones to quote: this suite is for following one case over time
(--benchmark-autosave, --benchmark-compare).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import fastnn
from fastnn.bench import peers
from fastnn.bench.cases import all_cases
from fastnn.bench.data import DTYPES, Buffers, Case, Size

PLACES = [(case, size) for case in all_cases() for size in case.sizes(quick=True)]
CONTESTANTS = (*peers.OURS, *peers.installed())

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the peers are not ours to fail on


@pytest.fixture(scope="module")
def contestants() -> Iterator[dict[str, peers.Contestant]]:
    loaded = {name: peers.load(name) for name in CONTESTANTS}
    with peers.session(list(loaded.values())):
        for contestant in loaded.values():
            contestant.set_threads(fastnn.get_num_threads())
        yield loaded


@pytest.fixture(scope="module")
def buffers() -> dict[str, Buffers]:
    return {dtype: Buffers(dtype, max(size.elements for _, size in PLACES)) for dtype in DTYPES}


@pytest.mark.benchmark(max_time=0.2)
@pytest.mark.parametrize("name", CONTESTANTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("case", "size"), [pytest.param(c, s, id=f"{c.label}-{c.direction}-{s}") for c, s in PLACES]
)
def test_case(
    benchmark: Any,
    case: Case,
    size: Size,
    dtype: str,
    name: str,
    contestants: dict[str, peers.Contestant],
    buffers: dict[str, Buffers],
) -> None:
    data = case.data(buffers[dtype], size)
    call = contestants[name].prepare(data, out=True)
    if call is None:
        pytest.skip(f"{name} has no {case.callee}")
    benchmark.group = f"{case.label} {case.direction} {data.size} {dtype}"
    benchmark.extra_info["bytes"] = data.moved
    benchmark(call)
