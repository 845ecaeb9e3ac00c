"""The benchmark's table, its peers, its measuring and its files. No time is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn._core.extras import way_to
from fastnn.bench import cases, measure, peers
from fastnn.bench.activations import all_activations
from fastnn.bench.data import DTYPES, Buffers, Case, Data, Size
from fastnn.bench.report import Report, both, machine, ratio
from fastnn.cli import main
from support.cases import each
from support.operations import CALLS

pytestmark = pytest.mark.usefixtures("short_benchmarks")

TIMING = measure.Timing(1e-6, 2e-6, 3, 10)

ACTIVATIONS = list(all_activations())
CELL = measure.Cell(
    "relu", "forward", "activations", "16", 16, "float32", 1, 128, {"fastnn": TIMING, "reference": TIMING}
)


def one(label: str, direction: str = "forward") -> Case:
    (case,) = cases.select([label], [direction])
    return case


def buffers(dtype: str) -> Buffers:
    return Buffers(dtype, 4096)


def bench(folder: Path, *options: str) -> int:
    quick = ["--quick", "--sizes", "16", "--threads", "1", "--time-per-cell", "0.001", "--peers"]
    return main(["bench", *quick, "--kernels", "relu", "glu", "--output", str(folder), *options])


def test_cases_cover_every_activation() -> None:
    assert {case.function for case in ACTIVATIONS} == {call.name for call in CALLS}
    names = [(case.label, case.direction) for case in cases.all_cases()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("label", "direction", "traffic"),
    [
        ("relu", "forward", (1, 1)),
        ("gelu_tanh", "backward", (2, 1)),
        ("identity", "backward", (1, 1)),
        ("glu", "forward", (1, 0.5)),
        ("glu", "backward", (1.5, 1)),
        ("maxout", "forward", (1, 0.25)),
        ("maxout", "backward", (0.25, 1)),
        ("prelu_channels", "backward", (2, 1)),
    ],
)
def test_traffic(label: str, direction: str, traffic: tuple[float, float]) -> None:
    case = one(label, direction)
    assert case.traffic() == traffic
    data = case.data(buffers("float64"), Size((64,)))
    assert data.moved == sum(traffic) * 64 * 8


@each("elements", [1, 5, 16, 1000, 4097])
@each("case", ACTIVATIONS)
def test_data_has_the_shapes_of_the_result(case: Case, elements: int) -> None:
    data = case.data(Buffers("float32", elements), Size((elements,)))
    call = peers.load("reference").prepare(data, out=False)
    assert call is not None
    assert elements <= data.elements < elements + 4
    assert measure.floats(call())[0].shape == data.out.shape
    assert np.count_nonzero(data.values["input"]) == data.elements


@pytest.mark.filterwarnings("default")  # warnings of the peers are not ours to fail on
@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, dtype) for name in ("fastnn", "torch") for dtype in DTYPES]
    + [("jax", "float32"), ("numba", "float32")],  # float32 alone: they compile each function
)
def test_contestants_compute_what_the_reference_does(name: str, dtype: str) -> None:
    pytest.importorskip(name)
    memory = buffers(dtype)
    contestants = [peers.load("reference"), peers.load(name)]
    with peers.session(contestants):
        for case in ACTIVATIONS:
            measure.check(case, contestants, memory)
        known = {
            case.callee
            for case in ACTIVATIONS
            if contestants[1].prepare(case.data(memory, Size((16,))), out=True)
        }
    assert {"relu", "relu_backward", "gelu", "gelu_backward"} <= known


@pytest.mark.filterwarnings("default")
def test_torch_with_a_buffer_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr("fastnn.bench.peers.torch_peer.LARGE", 0)
    contestants = [peers.load("reference"), peers.load("torch")]
    with peers.session(contestants):
        measure.check(one("logsigmoid"), contestants, buffers("float32"))


class Fake:
    """A contestant that returns its input times a factor, and cannot use two threads."""

    name = "fake"
    note = ""
    serial = False

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def session(self) -> AbstractContextManager[None]:
        return nullcontext()

    def prepare(self, data: Data, *, out: bool) -> peers.Call | None:
        return lambda: data.values["input"] * self.factor

    def set_threads(self, threads: int) -> bool:
        return threads == 1


def test_check_names_the_contestant_that_is_wrong() -> None:
    memory = buffers("float32")
    measure.check(one("identity"), [peers.load("reference"), Fake(1)], memory)
    with pytest.raises(ArithmeticError, match=r"fake .* disagrees with the reference on identity"):
        measure.check(one("identity"), [peers.load("reference"), Fake(1.01)], memory)


def test_contestants_are_timed_in_blocks_that_begin_without_a_clock() -> None:
    log: list[tuple[str, int]] = []  # who was called, and how many times for one reading of the clock

    class Clock:
        """10 us for a call, whatever it does."""

        def __init__(self, call: peers.Call) -> None:
            self.name = call()

        def timeit(self, number: int) -> float:
            log.append((self.name, number))
            time.sleep(1e-4)
            return 1e-5 * number

    calls = {name: partial(str, name) for name in ("a", "b")}
    timings = measure.in_turns(calls, 0.01, untimed=3e-3, sample=2e-4, timer=Clock)
    assert list(timings) == ["a", "b"]
    blocks = [[number for _, number in turn] for _, turn in groupby(log[2:], key=lambda entry: entry[0])]
    timed = [[number for number in block if number >= 20] for block in blocks]  # those that last a sample
    assert len(blocks) >= 2 * measure.BLOCKS - 2  # two blocks of one may follow each other
    assert all(block[:5] == [1] * 5 for block in blocks)
    assert all(len(samples) >= measure.SAMPLES for samples in timed)
    for timing in timings.values():
        assert timing.minimum == pytest.approx(1e-5)
        assert timing.median == pytest.approx(1e-5)
        assert timing.samples >= measure.BLOCKS * measure.SAMPLES
        assert timing.batch == 22


def test_on_several_threads_a_block_begins_with_more_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def in_turns(*_: object, untimed: float, **rest: object) -> dict[str, measure.Timing]:
        seen.append(untimed)
        return {"fastnn": TIMING}

    monkeypatch.setattr(measure, "in_turns", in_turns)
    plan = measure.Plan([(one("identity"), [Size((16,))])], ["float32"], [1, 2], out=True, seconds=0.001)
    list(measure.run(plan, [peers.load("fastnn")]))
    assert seen == [measure.WARM_UP, measure.UNTIMED]


@each(["medians", "measured", "stalled"], [([1.0], 1, False), ([5.0, 3.9], 2, False), ([5.0] * 9, 4, True)])
def test_a_stalled_contestant_is_timed_again(medians: list[float], measured: int, stalled: bool) -> None:
    fewer = {"a": measure.Timing(1.0, 1.0, 4, 1)}
    taken: list[list[str]] = []

    def timed(calls: Mapping[str, peers.Call]) -> dict[str, measure.Timing]:
        taken.append(list(calls))
        return {name: measure.Timing(1.0, medians[len(taken) - 1], 4, 1) for name in calls}

    found = measure.again_if_stalled({"a": str, "b": str}, timed, fewer)
    assert taken == [["a", "b"], *[["a"]] * (measured - 1)]
    assert (found["a"].stalled, found["b"].stalled) == (stalled, False)
    cell = replace(CELL, timings={"fastnn": TIMING, "torch": found["a"]})
    assert (ratio(cell, "torch") is None) == (both(cell, "torch") == "stall") == stalled


def test_a_slow_call_is_sampled_once() -> None:
    count = [0]

    def slow() -> None:
        count[0] += 1
        time.sleep(0.02)

    timing = measure.in_turns({"slow": slow}, 0.001, untimed=0.0)["slow"]
    assert (timing.samples, timing.batch, count[0]) == (1, 1, 1)


@each("dtype", DTYPES)
@each("offset", [0, 16])
def test_arrays_begin_where_they_are_asked_to(dtype: str, offset: int) -> None:
    memory = measure.cpu(offset).buffers(dtype, 1000)
    arrays = (memory.input, memory.dy, memory.output, memory.out)
    assert [array.ctypes.data % 64 for array in arrays] == [offset] * 4
    assert all(array.size >= 1000 for array in arrays)
    assert np.unique(memory.input).size > 900


def test_rows_have_those_who_can_use_the_threads() -> None:
    contestants: list[peers.Contestant] = [peers.load("fastnn"), peers.load("reference"), Fake(1)]
    work = [(one("identity"), [Size((16,)), Size((32,))])]
    plan = measure.Plan(work, ["float32"], [1, 2], out=True, seconds=0.001)
    with peers.session(contestants):
        cells = list(measure.run(plan, contestants))
    assert [(cell.elements, cell.threads) for cell in cells] == [(16, 1), (16, 2), (32, 1), (32, 2)]
    assert plan.cells == len(cells)
    for first, second in zip(cells[::2], cells[1::2], strict=True):
        assert list(first.timings) == ["fastnn", "reference", "fake"]
        assert list(second.timings) == ["fastnn", "reference"]
        assert first.timings["reference"] is second.timings["reference"]  # serial: timed once
        assert first.timings["fastnn"] is not second.timings["fastnn"]


def test_json_holds_the_report(tmp_path: Path) -> None:
    copies = [
        measure.Copy(1, 64, 0.5e9, "x"),
        measure.Copy(1, 256, 1.5e9, "x"),
        measure.Copy(2, 64, 1.0, "x"),
    ]
    report = Report(machine(), {"out": True}, ["fastnn", "reference"], [], copies, [CELL])
    assert report.share(CELL) == pytest.approx(0.128)  # of 1 GB/s, between the copies of 64 and 256 bytes
    assert report.share(replace(CELL, moved=1024)) == pytest.approx(1.024 / 1.5)
    report.write_json(tmp_path / "bench.json")
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]
    assert json.loads((tmp_path / "bench.json").read_text()) == json.loads(json.dumps(asdict(report)))
    assert Report.read_json(tmp_path / "bench.json") == report


def test_command_writes_table_json_and_chart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    threads = fastnn.get_num_threads()
    assert bench(tmp_path / "new") == 0
    assert fastnn.get_num_threads() == threads
    shown = capsys.readouterr().out
    assert "geometric mean" in shown
    assert str(fastnn.info()["cpu"]) in shown
    found = json.loads((tmp_path / "new" / "bench.json").read_text())
    assert found["settings"]["out"]
    assert found["settings"]["offset"] == 16
    assert "arrays begin 16 bytes after a cache line" in shown
    cells = {(cell["label"], cell["direction"], cell["elements"]) for cell in found["cells"]}
    assert cells == {
        (label, direction, 16) for label in ("relu", "glu") for direction in ("forward", "backward")
    }
    assert all(set(cell["timings"]) == {"fastnn", "reference"} for cell in found["cells"])
    assert (tmp_path / "new" / "bench-activations-float32-1.png").read_bytes().startswith(b"\x89PNG")


def test_command_without_out_aligned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(tmp_path, "--no-out", "--aligned", "--direction", "forward") == 0
    assert "arrays begin at a cache line (--aligned)" in capsys.readouterr().out
    found = json.loads((tmp_path / "bench.json").read_text())
    assert not found["settings"]["out"]
    assert found["settings"]["offset"] == 0
    assert {cell["direction"] for cell in found["cells"]} == {"forward"}


def test_command_without_matplotlib_and_tqdm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("matplotlib", "matplotlib.figure", "tqdm"):
        monkeypatch.setitem(sys.modules, module, None)
    assert bench(tmp_path) == 0
    shown = capsys.readouterr()
    assert f"no chart: matplotlib is not installed; {way_to('bench')}" in shown.out
    assert "[1/4] relu forward float32" in shown.err
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]


def test_the_limit_is_the_faster_copy_of_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = iter([(3e9, 1e9), (2e9, 4e9)])  # bytes per second of two copies, at the beginning and at the end

    def copies(*_: object) -> Iterator[measure.Copy]:
        for speed in next(runs):
            yield measure.Copy(1, 64, speed, "x")

    monkeypatch.setattr(measure, "copy_bandwidths", copies)
    assert bench(tmp_path) == 0
    found = Report.read_json(tmp_path / "bench.json")
    assert [copy.bytes_per_second for copy in found.copies] == [3e9, 4e9]


def test_an_interrupted_run_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> Iterator[measure.Cell]:
        yield CELL
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "run", interrupted)
    assert bench(tmp_path) == 130
    found = json.loads((tmp_path / "bench.json").read_text())
    assert (len(found["cells"]), found["complete"]) == (1, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kernels", "relu", "nope"], "kernels: unknown nope; known are identity, "),
        (["--peers", "tensorflow"], "peers: unknown tensorflow; known are torch, compile, jax, numba"),
        (["--sizes", "2^60"], "sizes: 1152921504606846976 elements take about"),
        (["--peers", "numba"], f"numba is not installed: {way_to('bench')}"),
    ],
)
def test_command_refuses(
    options: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    assert bench(tmp_path / "new", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("text", ["0", "-4", "2^", "many", "1.5"])
def test_sizes_are_whole_numbers(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        bench(tmp_path, f"--sizes={text}")
    assert "argument --sizes: " in capsys.readouterr().err


def test_peers_are_imported_only_when_asked_for() -> None:
    code = "import sys, fastnn.cli.bench, fastnn.bench.report, fastnn.bench.chart; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "jax", "numba", "matplotlib", "tqdm"} & set(modules)
