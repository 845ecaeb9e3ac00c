"""pytest-benchmark over the cases of `fastnn bench --training`: a group per case and size.

Run `pytest bench/test_training.py`, or a part of it: `-k "mlp and torch"`. As in test_cases.py, on all
threads, with the sizes of `--quick`; `fastnn bench --training` times the contestants in turns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import fastnn
from fastnn.bench import peers
from fastnn.bench.data import Buffers, Case, Size
from fastnn.bench.training import all_training

PLACES = [(case, size) for case in all_training() for size in case.sizes(quick=True)]
CONTESTANTS = ("fastnn", *(name for name in peers.installed() if name == "torch"))

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the peers are not ours to fail on


@pytest.fixture(scope="module", params=CONTESTANTS)
def contestant(request: pytest.FixtureRequest) -> Iterator[peers.Contestant]:
    loaded = peers.load(request.param)
    with peers.session([loaded]):
        loaded.set_threads(fastnn.get_num_threads())
        yield loaded


@pytest.fixture(scope="module")
def buffers() -> Buffers:
    return Buffers("float32", max(size.elements for _, size in PLACES))


@pytest.mark.benchmark(max_time=0.5)
@pytest.mark.parametrize(
    ("case", "size"), [pytest.param(c, s, id=f"{c.label}-{c.direction}-{s}") for c, s in PLACES]
)
def test_case(benchmark: Any, case: Case, size: Size, contestant: peers.Contestant, buffers: Buffers) -> None:
    call = contestant.prepare(case.data(buffers, size), out=True)
    assert call is not None
    benchmark.group = f"{case.label} {case.direction} {size}"
    benchmark(call)
