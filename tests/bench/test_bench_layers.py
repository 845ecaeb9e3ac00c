"""The benchmark's cases on shapes: their arrays, traffic, peers, options and pages. No time is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnn.bench import cases, measure, peers
from fastnn.bench.data import DTYPES, Buffers, Case, Data, Size
from fastnn.bench.layers import QUICK_ELEMENTS, all_layers
from fastnn.bench.report import Report, lines, machine
from fastnn.cli import main
from tools.benchmark_page import page

pytestmark = pytest.mark.usefixtures("short_benchmarks")

LAYERS = list(all_layers())
LAST = Size((2, 64, 6, 5), channels_last=True)


def one(label: str, direction: str = "forward") -> Case:
    (case,) = cases.select([label], [direction])
    return case


def cell(size: str, elements: int, **seconds: float) -> measure.Cell:
    timings = {
        name: measure.Timing(minimum, 2e-6 if name == "fastnn" else minimum, 4, 1)
        for name, minimum in seconds.items()
    }
    return measure.Cell("softmax", "forward", "layers", size, elements, "float32", 1, 8 * elements, timings)


def report(*cells: measure.Cell) -> Report:
    settings = {"out": True, "threads": [1], "dtypes": ["float32"], "offset": 16}
    names = ["fastnn", "reference", "torch", "jax"]
    return Report(machine(), settings, names, [], [measure.Copy(1, 2**20, 1e9, "x")], list(cells))


def bench(folder: Path, *options: str) -> int:
    quick = ["--quick", "--threads", "1", "--time-per-cell", "0.001", "--peers", "--output", str(folder)]
    return main(["bench", *options, *quick])


@pytest.mark.parametrize("size", [Size((3, 4)), Size((2, 3, 4, 5)), LAST])
def test_a_size_is_read_as_it_is_written(size: Size) -> None:
    assert Size.parse(str(size)) == size
    view = size.view(np.arange(4000.0))
    assert view.shape == size.shape
    assert view.ravel("K").tolist() == list(range(size.elements))  # the first elements, in memory's order
    assert view.flags.c_contiguous != size.channels_last


@pytest.mark.parametrize("text", ["3x0", "3x4:last", "x3", "3xa"])
def test_a_size_that_there_is_not(text: str) -> None:
    with pytest.raises(ValueError, match=r"sizes must be positive|invalid literal"):
        Size.parse(text)


@pytest.mark.parametrize(
    ("label", "direction", "arrays"),
    [
        ("batch_norm", "forward", 2),
        ("batch_norm", "backward", 3),
        ("batch_norm_eval", "forward", 2),
        ("batch_norm_relu", "forward+backward", 5),
        ("batch_norm_relu_dropout", "forward", 2),
        ("softmax", "backward", 3),
        ("cross_entropy", "forward+backward", 2),
        ("dropout", "forward", 2),
    ],
)
def test_traffic(label: str, direction: str, arrays: int) -> None:
    data = one(label, direction).data(Buffers("float64", 128), Size((2, 64)))
    assert data.moved == arrays * 128 * 8


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: f"{case.label}-{case.direction}")
def test_a_case_takes_its_sizes(case: Case) -> None:
    sizes = case.sizes(quick=False)
    assert sizes
    assert all(case.takes(size) for size in (*sizes, *case.checks))
    assert case.sizes(quick=True) == tuple(size for size in sizes if size.elements <= QUICK_ELEMENTS)


def test_channels_last_arrays_are_views_of_the_same_memory() -> None:
    buffers = Buffers("float32", LAST.elements)
    data = one("batch_norm_relu", "forward+backward").data(buffers, LAST)
    for array, buffer in zip(
        (data.values["input"], data.values["dy"], data.values["output"], data.out),
        (buffers.input, buffers.dy, buffers.output, buffers.out),
        strict=True,
    ):
        assert np.shares_memory(array, buffer)
        assert array.strides[1] == array.itemsize


@pytest.mark.filterwarnings("default")  # warnings of the peers are not ours to fail on
@pytest.mark.parametrize(
    ("name", "dtype"), [(name, dtype) for name in ("fastnn", "torch") for dtype in DTYPES]
)
def test_contestants_compute_what_the_reference_does(name: str, dtype: str) -> None:
    pytest.importorskip(name)
    contestants = [peers.load("reference"), peers.load(name)]
    buffers = Buffers(dtype, 4096)
    with peers.session(contestants):
        for case in LAYERS:
            measure.check(case, contestants, buffers)
            assert contestants[1].prepare(case.data(buffers, case.checks[0]), out=True)


@pytest.mark.filterwarnings("default")
def test_jax_computes_what_the_reference_does(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jax")
    contestants = [peers.load("reference"), peers.load("jax")]
    buffers = Buffers("float32", 4096)
    for case in LAYERS:
        monkeypatch.setattr(type(case), "checks", case.checks[-1:])  # it compiles each of them for a while
        measure.check(case, contestants, buffers)
        monkeypatch.undo()


class Given:
    """A contestant that returns what it is given."""

    name = "given"
    note = ""
    serial = False

    def __init__(self, *results: Any) -> None:
        self.results = results

    def session(self) -> AbstractContextManager[None]:
        return nullcontext()

    def prepare(self, data: Data, *, out: bool) -> peers.Call | None:
        return lambda: tuple(r(data) for r in self.results)

    def set_threads(self, threads: int) -> bool:
        return True


def dropped(data: Data) -> Any:
    x = data.values["input"]
    return 2 * x * (np.random.default_rng(5).random(x.shape) < 0.5)


@pytest.mark.parametrize(
    ("label", "direction", "results"),
    [
        ("dropout", "forward", [lambda data: data.values["input"]]),
        ("dropout", "forward", [lambda data: dropped(data)[:1]]),
        ("dropout", "forward", [lambda data: dropped(data) + 0.3]),
        ("batch_norm", "forward", [lambda data: data.values["input"]]),
        ("cross_entropy", "forward+backward", [lambda data: 0.5]),
        ("batch_norm", "backward", []),
    ],
)
def test_check_names_the_contestant_that_is_wrong(label: str, direction: str, results: list[Any]) -> None:
    with pytest.raises(ArithmeticError, match=rf"given .* disagrees with the reference on .*{label}"):
        measure.check(
            one(label, direction), [peers.load("reference"), Given(*results)], Buffers("float32", 4096)
        )


def test_check_allows_other_draws_by_products_and_another_order_of_axes() -> None:
    buffers = Buffers("float32", 4096)
    reference = peers.load("reference")

    def last(data: Data) -> Any:
        call = reference.prepare(data, out=False)
        assert call is not None
        y = call()[0]
        return np.moveaxis(y, 1, -1) if data.size.channels_last else y

    measure.check(one("dropout"), [reference, Given(dropped)], buffers)
    measure.check(one("batch_norm"), [reference, Given(last, lambda data: np.zeros(3))], buffers)


def test_compile_has_forward_and_both_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from fastnn.bench.peers import compile_peer

    monkeypatch.setattr(compile_peer.torch, "compile", lambda function, **_: function)
    peer = peers.load("compile")
    contestants = [peers.load("reference"), peers.load("torch"), peer]
    buffers = Buffers("float32", 4096)
    with peers.session(contestants):
        for case in LAYERS:
            measure.check(case, contestants, buffers)
            has = peer.prepare(case.data(buffers, case.checks[0]), out=True) is not None
            assert has == (case.direction != "backward")
        relu = one("relu")
        assert peer.prepare(relu.data(buffers, relu.checks[0]), out=True) is None


def test_compile_says_where_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from fastnn.bench.peers import compile_peer

    def broken(*_: Any) -> Any:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(compile_peer.torch, "compile", lambda function, **_: broken)
    peer = peers.load("compile")
    softmax = one("softmax")
    data = softmax.data(Buffers("float32", 4096), softmax.checks[0])
    assert peer.prepare(data, out=True) is None
    assert peer.prepare(data, out=True) is None
    assert peer.note.endswith("; softmax failed: RuntimeError")
    assert peer.note.count("failed") == 1


def test_calls_that_would_take_too_long_are_not_made() -> None:
    last = cell("100x1000", 100_000, fastnn=3.0, torch=3e-3, reference=0.03)
    larger = Size((1000, 10_000))
    assert measure.affordable("torch", last, larger)  # 0.3 s
    assert not measure.affordable("reference", last, larger)  # 3 s
    assert measure.affordable("fastnn", last, larger)  # the table needs it
    assert measure.affordable("numba", last, larger)  # it has no such function, or not yet
    assert measure.affordable("reference", replace(last, elements=100), larger)  # may be overhead


def test_a_contestant_out_of_time_gets_no_more_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "KNOWN", 0)
    monkeypatch.setattr(measure, "BUDGET", 0.0)
    sizes = [Size((4, 64)), Size((8, 64))]
    plan = measure.Plan([(one("layer_norm"), sizes)], ["float32"], [1], out=True, seconds=0.001)
    contestants = [peers.load("fastnn"), peers.load("reference")]
    first, second = measure.run(plan, contestants)
    assert set(first.timings) == {"fastnn", "reference"}
    assert set(second.timings) == {"fastnn"}


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["batch_norm"], {"batch_norm"}),
        (["batch_norm_*"], {"batch_norm_eval", "batch_norm_relu", "batch_norm_relu_dropout"}),
        (["*softmax", "relu"], {"softmax", "log_softmax", "relu"}),
        (["layers"], {case.label for case in LAYERS}),
    ],
)
def test_names_patterns_and_tables_select(names: list[str], labels: set[str]) -> None:
    assert {case.label for case in cases.select(names)} == labels


def test_command_times_the_given_shapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes = ["--shapes", "4x64", "2x32x3x3", "2x32x3x3:last"]
    assert bench(tmp_path, "--kernels", "batch_norm", "layer_norm", "relu", "--sizes", "16", *shapes) == 0
    shown = capsys.readouterr().out
    assert "best peer" in shown
    found = json.loads((tmp_path / "bench.json").read_text())["cells"]
    sizes = {label: {c["size"] for c in found if c["label"] == label} for label in ("batch_norm", "relu")}
    assert sizes == {"batch_norm": set(shapes[1:]), "relu": {"16"}}
    assert {c["size"] for c in found if c["label"] == "layer_norm"} == {"4x64", "2x32x3x3"}
    assert {c["group"] for c in found} == {"activations", "layers"}


def test_command_charts_the_layers(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert bench(tmp_path, "--kernels", "batch_norm*", "--shapes", "4x64", "2x8x3x3:last") == 0
    assert (tmp_path / "bench-layers-float32-1.png").read_bytes().startswith(b"\x89PNG")


def test_command_refuses_shapes_that_no_kernel_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(tmp_path, "--kernels", "layer_norm", "--shapes", "2x8x3x3:last") == 2
    assert "kernels: none of these has such a direction or takes such a shape" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["16", "4x", "0x4", "4x4:first"])
def test_shapes_have_two_axes(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        bench(tmp_path, f"--shapes={text}")
    assert "argument --shapes: " in capsys.readouterr().err


def test_report_has_the_means_of_each_layer() -> None:
    two = report(cell("4x4", 16, fastnn=1e-6, torch=4e-6, jax=2e-6), cell("8x4", 32, fastnn=1e-6, torch=1e-6))
    text = list(lines(two))
    (start,) = (i for i, line in enumerate(text) if line.startswith("geometric mean"))
    line = text[start + 1].split()
    assert line == ["softmax", "forward", "float32", "1", "2.00", "2.00", "1.41"]


def test_page_has_the_cells_below_1_first() -> None:
    cells = [
        cell("4x4", 16, fastnn=1e-6, torch=4e-6, jax=2e-6),
        cell("8x4", 32, fastnn=1e-6, torch=1e-6, jax=5e-7),
    ]
    text = page("", [report(*cells)], "abc1234")
    assert "arrays begin 16 bytes after a cache line, as NumPy's do" in text
    assert "commit abc1234" in text
    below = "| softmax | forward | 8x4 | 1 | jax | 1 us | 0.50 (0.25) | 26% |"
    assert f"## Below 1: 1 of 4 cells\n\n{text[text.index('| what') :].partition(below)[0]}{below}" in text
    assert "| softmax | forward | 2.00 | 1.00 | 1.00 |" in text
    assert "| softmax | forward | 4x4 | 1 us | 4.00 (2.00) | 2.00 (1.00) | 0.1 | 13% |" in text
    assert "| softmax | forward | 8x4 | 1 us | 1.00 (0.50) | **0.50 (0.25)** | 0.3 | 26% |" in text
    activation = replace(cells[1], group="activations", label="relu", size="32")
    assert "| relu | 1.00 (0.50) 26% |" in page("", [report(activation)], "abc1234")


def test_page_keeps_the_sections_of_other_machines() -> None:
    found = report(cell("4x4", 16, fastnn=1e-6, torch=4e-6, jax=2e-6))
    this = f"{found.machine['cpu']}, {found.machine['isa']}"
    other = "Zilog Z80, mmx\n\n## Below 1: all\n"
    first = page(f"# Speed\n\nwords\n\n# {this}\n\nold\n\n# {other}", [found], "abc1234")
    assert "old" not in first.split(f"\n# {this}\n")[1]
    assert first.endswith(f"\n# {other}")
    assert page(first, [found], "abc1234") == first


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_peak_memory_holds_output_and_gradient() -> None:
    size = Size((32, 64, 32, 32))
    command = [sys.executable, "-m", "tools.peak_memory", "fastnn", str(size)]
    root = Path(__file__).parents[2]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout
    assert int(shown) >= 1.9 * 4 * size.elements
