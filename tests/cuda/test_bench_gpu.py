"""`fastnn bench --device cuda`: its logic, with the stand-in for CuPy and a clock of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnn.bench import cases, gpu, measure, peers
from fastnn.bench.data import Size
from fastnn.bench.report import Report
from fastnn.cli import main
from fastnn.cuda._runtime import status
from support import emulated_device
from tools.gpu import page


class Ticks:
    """A GPU's events: two are 10 ms apart, and a millisecond for each call that the test makes."""

    made = 0

    def record(self) -> None:
        self.at = Ticks.made

    def synchronize(self) -> None: ...


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Any:
    cupy = emulated_device.install(monkeypatch)
    monkeypatch.setattr(status, "find_gpu", lambda: status.Gpu("H100", (9, 0), 1, "580.65", (13, 0)))
    monkeypatch.setattr(cupy.cuda, "Event", Ticks, raising=False)
    monkeypatch.setattr(cupy.cuda, "get_elapsed_time", lambda a, b: 10.0 + b.at - a.at, raising=False)
    monkeypatch.setattr(cupy.cuda.runtime, "memGetInfo", lambda: (2**34, 2**34), raising=False)
    monkeypatch.setattr(gpu, "COPY_ELEMENTS", 2**12)
    monkeypatch.setattr(measure, "WARM_UP", 0.0)
    return cupy


def bench(folder: Path, *options: str) -> int:
    quick = ["--sizes", "64", "4096", "--time-per-cell", "0.001", "--output", str(folder)]
    return main(["bench", "--device", "cuda", *quick, "--peers", "cupy", "--kernels", *options])


def test_run(device: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(tmp_path, "relu") == 0
    report = Report.read_json(tmp_path / "bench.json")
    assert report.settings["device"] == "cuda"
    assert report.contestants == ["fastnn", "cupy"]
    rows = [(c.direction, c.size, c.dtype, sorted(c.timings)) for c in report.cells]
    both = ["cupy", "fastnn"]
    assert len(rows) == 12
    assert ("forward", "4096", "float32", both) in rows
    assert ("backward", "64", "float16", ["fastnn"]) in rows
    assert ("forward", "64", "bfloat16", ["fastnn"]) in rows  # which the stand-in's ufuncs do not take
    (copy,) = report.copies
    assert copy.bytes_per_second > 0
    assert report.cells[0].moved == 2 * 64 * 4
    out = capsys.readouterr().out
    assert "H100, compute capability 9.0, driver 580.65 for CUDA 13.0" in out
    assert "copy on the GPU" in out
    assert json.loads((tmp_path / "bench.json").read_text())["machine"]["cuda"].startswith("H100")


def test_wrong_results_are_found(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (case,) = cases.select(["relu"], ["forward"])
    buffers = gpu.DeviceBuffers("float32", 4096)
    contestants = [peers.load("fastnn"), peers.load("cupy")]
    measure.check(case, contestants, buffers, gpu.GPU)
    from fastnn.bench.peers import cupy_peer

    monkeypatch.setitem(cupy_peer.UFUNCS, "relu", lambda x, out=None: device.maximum(x, 0.5, out=out))
    with pytest.raises(ArithmeticError, match=r"cupy .* disagrees with the reference on relu"):
        measure.check(case, contestants, buffers, gpu.GPU)


def test_buffers(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "DRAWN_ELEMENTS", 16)
    buffers: Any = gpu.DeviceBuffers("bfloat16", 40)
    assert buffers.input.dtype.name == "bfloat16"
    values = gpu.host(buffers.input)
    assert values.dtype == np.float32
    assert len(values) >= 40
    assert np.array_equal(values[:10], values[20:30])  # 16 elements, and 4 for layouts, are repeated
    assert len(set(values[:16])) > 8


def test_events(device: Any) -> None:
    def call() -> None:
        Ticks.made += 1

    assert gpu.Events(call).timeit(4) == pytest.approx(14e-3)


@pytest.mark.parametrize(
    "label", ["relu", "batch_norm", "layer_norm", "cross_entropy", "group_norm", "dropout"]
)
def test_sizes(label: str) -> None:
    for case in cases.select([label]):
        sizes = gpu.sizes(case, quick=False)
        assert sizes
        assert all(case.takes(size) for size in sizes)
        assert len(gpu.sizes(case, quick=True)) < len(sizes)
        assert max(size.elements for size in sizes) >= 2**26


def test_data_is_on_the_gpu(device: Any) -> None:
    (case,) = cases.select(["layer_norm"], ["forward"])
    made = gpu.data(case, gpu.DeviceBuffers("float32", 64), Size((4, 16)))
    arrays = [value for value in made.values.values() if not isinstance(value, tuple)]
    assert {type(value) for value in arrays} == {device.ndarray}
    assert isinstance(gpu.on_host(made).values["weight"], np.ndarray)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--training"], "device: --training, --threads and --aligned are for the CPU"),
        (["--threads", "2"], "device: --training, --threads and --aligned are for the CPU"),
        (["--aligned"], "device: --training, --threads and --aligned are for the CPU"),
        (["--dtypes", "float64"], "dtypes: on a GPU float32, float16, bfloat16, got float64"),
        (["--sizes", "2^40"], "this GPU has 16 GiB free"),
        (["--peers", "jax"], "peers: unknown jax; known are torch, compile, cudnn, cupy"),
    ],
)
def test_errors(
    device: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert bench(tmp_path, "relu", *options) == 2
    assert message in capsys.readouterr().err


def test_page(device: Any, tmp_path: Path) -> None:
    assert bench(tmp_path, "relu", "--direction", "backward", "--dtypes", "float16") == 0
    report = Report.read_json(tmp_path / "bench.json")
    text = page.PAGE.read_text()
    filled = page.filled(text, report)
    assert "| relu | backward | 4096 | float16 | " in filled
    assert page.filled(filled, report) == filled
    assert filled.startswith(text.partition(page.BEGIN)[0])
    assert filled.endswith(text.partition(page.END)[2])
