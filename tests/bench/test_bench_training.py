"""The training benchmark: its cases, contestants, command and files, in small sizes. No time is asserted."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim
from fastnn.bench import cases, measure, memory, peers
from fastnn.bench.data import Buffers, Data, Size
from fastnn.bench.report import Report, lines, machine
from fastnn.bench.training import Training, Update, all_training, first_weights, mlp
from fastnn.cli import main
from tools.benchmark_page import page

# Where the layers or Adam are not there, so is what is made of them.
NETWORKS = [case for case in all_training() if isinstance(case, Training)]
UPDATES = [case for case in all_training() if isinstance(case, Update)]

pytestmark = pytest.mark.usefixtures("short_benchmarks")


def small(network: Any) -> Training:
    """A network of one's own in place of a large one."""
    return Training("small", "small", "step", inspect.Signature(), (Size((8, 6)),), network)


def perceptron(nn: Any) -> Any:
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 10))


def run(case: Any, sizes: Sequence[Size], names: Sequence[str]) -> list[measure.Cell]:
    contestants = [peers.load(name) for name in names]
    plan = measure.Plan([(case, sizes)], ["float32"], [1], out=True, seconds=0.001)
    with peers.session(contestants):
        return list(measure.run(plan, contestants))


def bench(folder: Path, *options: str) -> int:
    quick = ["--quick", "--threads", "1", "--time-per-cell", "0.001", "--peers", "--output", str(folder)]
    return main(["bench", "--training", *options, *quick])


@pytest.fixture(autouse=True)
def short_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Training, "sample", 1e-4)


# ---- cases -------------------------------------------------------------------------------------------------


def test_the_cases() -> None:
    found = [
        (case.label, case.direction, [str(size) for size in case.sizes(quick=False)])
        for case in all_training()
    ]
    parameters = str(784 * 512 + 512 + 512 * 512 + 512 + 4 * 512 + 512 * 10 + 10)
    assert found == [
        ("mlp_dropout", "step", ["128x784", "32x784"]),
        ("mlp", "step", ["128x784", "32x784"]),
        ("cnn", "step", ["64x3x32x32"]),
        ("mlp", "inference", ["1x784"]),
        ("adam_mlp", "step", [parameters]),
        ("adam_mlp_default", "step", [parameters]),
        ("adam", "step", ["33554432"]),
        ("adam_default", "step", ["33554432"]),
    ]
    functions = {case.label for case in cases.all_cases()}
    assert not functions & {case.label for case in all_training()}


def test_cases_are_chosen_by_name() -> None:
    assert {case.label for case in cases.select(["mlp*"], training=True)} == {"mlp", "mlp_dropout"}
    assert len(cases.select(training=True)) == len(list(all_training()))
    with pytest.raises(ValueError, match=r"^kernels: unknown relu; known are mlp_dropout, "):
        cases.select(["relu"], training=True)


def test_an_update_moves_28_bytes_for_each_element() -> None:
    for case in UPDATES:
        (size,) = case.sizes(quick=True)
        data = case.data(Buffers("float32", size.elements), size)
        assert data.moved == 28 * size.elements
        assert sum(array.size for array in data.values["parameters"]) == size.elements
        assert all(np.shares_memory(array, data.values["input"]) for array in data.values["parameters"])
        assert case.takes(size)
        assert not case.takes(Size((4, 4)))


def test_all_begin_with_the_same_weights() -> None:
    fastnn.manual_seed(3)
    drawn = fastnn.random.default_generator().get_state()
    one, two = first_weights(mlp), first_weights(mlp)
    assert fastnn.random.default_generator().get_state() == drawn
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert "0.weight" in one


# ---- contestants -------------------------------------------------------------------------------------------


def step(case: Training, size: Size) -> tuple[peers.Call, Data]:
    data = case.data(Buffers("float32", size.elements), size)
    call = peers.load("fastnn").prepare(data, out=True)
    assert call is not None
    return call, data


def test_a_step_trains() -> None:
    call, _ = step(small(perceptron), Size((32, 6)))
    losses = [call() for _ in range(200)]
    assert losses[-1] < 0.9 * losses[0]


def test_a_step_is_that_of_the_parts() -> None:
    call, data = step(small(perceptron), Size((8, 6)))
    got = [call() for _ in range(3)]
    model = perceptron(nn)
    model.load_state_dict(data.values["weights"])
    optimizer = optim.Adam(model.parameters())
    expected = []
    for _ in range(3):
        loss, dlogits = fastnn.functional.cross_entropy(model(data.values["input"]), data.values["target"])
        model.backward(dlogits)
        optimizer.step()
        optimizer.zero_grad()
        expected.append(loss)
    assert got == expected


def test_inference_uses_the_running_statistics() -> None:
    case = replace(small(perceptron), direction="inference")
    call, _ = step(case, Size((1, 6)))
    assert call().shape == (1, 10)


@pytest.mark.filterwarnings("default")  # warnings of the peers are not ours to fail on
@pytest.mark.parametrize("case", [*NETWORKS, *UPDATES], ids=lambda case: f"{case.label}-{case.direction}")
def test_torch_computes_the_same(case: Training | Update) -> None:
    pytest.importorskip("torch")
    if case.label == "cnn" and not hasattr(nn, "Conv2d"):
        pytest.skip("no Conv2d")
    sizes = [Size((2, *case.batches[0].shape[1:]))] if isinstance(case, Training) else case.sizes(quick=True)
    (cell,) = run(case, sizes, ["fastnn", "torch"])
    assert list(cell.timings) == ["fastnn", "torch"]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("direction", ["step", "inference"])
def test_compile_computes_the_same(direction: str) -> None:
    pytest.importorskip("torch")
    case = replace(small(perceptron), direction=direction)
    (cell,) = run(case, [Size((8, 6))], ["fastnn", "compile"])
    assert list(cell.timings) == ["fastnn", "compile"]


@pytest.mark.filterwarnings("default")
def test_another_result_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr("fastnn.bench.peers.torch_training.LR", 2e-3)
    with pytest.raises(ArithmeticError, match=r"^torch .* disagrees with the reference on small"):
        run(small(perceptron), [Size((8, 6))], ["fastnn", "torch"])


# ---- memory ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not memory.CLEAR.exists(), reason="it reads /proc")
def test_peak_memory_holds_what_adam_keeps() -> None:
    peak = memory.peak("fastnn", "mlp", Size((8, 784)))
    assert (peak.label, peak.size, peak.contestant) == ("mlp", "8x784", "fastnn")
    assert 4 * 2.6e6 < peak.over_small_step < peak.over_imports < 1e8


# ---- the command -------------------------------------------------------------------------------------------


def test_command_writes_table_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        memory, "peak", lambda name, label, size: memory.Peak(label, str(size), name, 20_000_000, 10_000_000)
    )
    assert bench(tmp_path, "--kernels", "mlp*", "adam", "--shapes", "4x784", "--sizes", "2^12") == 0
    shown = capsys.readouterr().out
    rows = [line.split()[:5] for line in shown.splitlines()]
    for row in (["mlp_dropout", "step", "4x784"], ["mlp", "inference", "4x784"], ["adam", "step", "4096"]):
        assert [*row, "float32", "1"] in rows
    assert ["peak", "memory", "library", "size", "over"] in rows
    assert re.search(r"^mlp_dropout +fastnn +4x784 +20\.0 MB \(1\.00 x\) +10\.0 MB \(1\.00 x\)$", shown, re.M)
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]
    found = Report.read_json(tmp_path / "bench.json")
    assert [(cell.label, cell.direction, cell.group) for cell in found.cells] == [
        ("mlp_dropout", "step", "training"),
        ("mlp", "step", "training"),
        ("mlp", "inference", "training"),
        ("adam", "step", "training"),
    ]
    assert found.peaks == [memory.Peak("mlp_dropout", "4x784", "fastnn", 20_000_000, 10_000_000)]
    assert json.loads(found.json()) == json.loads((tmp_path / "bench.json").read_text())


def test_command_prints_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(tmp_path, "--kernels", "adam", "--sizes", "4096", "--json") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == json.loads((tmp_path / "bench.json").read_text())
    assert "wrote" in shown.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dtypes", "float64"], "dtypes: networks are of float32, got float64"),
        (["--peers", "jax"], "peers: unknown jax; known are torch, compile"),
        (["--kernels", "relu"], "kernels: unknown relu; known are mlp_dropout, mlp, cnn, adam_mlp, "),
    ],
)
def test_command_refuses(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bench", "--training", *options, "--output", str(tmp_path / "new")]
    assert main(command) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_report_shows_what_a_library_needs() -> None:
    timing = measure.Timing(1e-3, 1e-3, 4, 1)
    cell = measure.Cell("mlp", "step", "training", "8x784", 6272, "float32", 2, 0, {"fastnn": timing})
    peaks = [
        memory.Peak("mlp", "8x784", "fastnn", 10**7, 10**7),
        memory.Peak("mlp", "8x784", "torch", 25 * 10**6, 10**7),
    ]
    copies = [measure.Copy(2, 2**20, 1e9, "x")]
    settings = {"out": True, "threads": [2], "dtypes": ["float32"], "offset": 16}
    found = Report(machine(), settings, ["fastnn"], [], copies, [cell], True, peaks)
    text = list(lines(found))
    assert any(re.search(r"torch .* 25\.0 MB \(2\.50 x\) +10\.0 MB \(1\.00 x\)$", line) for line in text)
    (row,) = (line.split() for line in text if line.startswith("mlp ") and "step" in line)
    assert row[-2:] == ["-", "-"]  # no bytes are counted
    written = page("", [found], "abc1234")
    assert "| mlp | step | 8x784 | 2 | 1 ms |  |" in written
    assert "| torch | 8x784 | 25.0 MB | 10.0 MB |" in written


def test_torch_is_imported_only_when_asked_for() -> None:
    code = "import sys, fastnn.bench.training, fastnn.bench.memory; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "torch" not in shown.split()
