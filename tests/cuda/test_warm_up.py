"""fastnn.cuda.warm_up and `fastnn cuda warm-up`: after them a model's calls compile nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim, train
from fastnn._core.devices import moved
from fastnn._warm_up import building
from fastnn._warm_up.planning import Kernel
from fastnn.cli import main
from fastnn.cuda import warm_up
from fastnn.cuda._runtime import compiler, launch, status
from fastnn.preprocessing import Standardize

X = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
Y = np.arange(4) % 3


def network() -> nn.Sequential:
    fastnn.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, for this process and those that it starts; nothing is loaded yet."""
    monkeypatch.setenv("FASTNN_CACHE_DIR", str(tmp_path / "cache"))
    launch._code.cache_clear()
    launch._loaded.cache_clear()
    return tmp_path / "cache"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The templates of the kernels that this process compiles."""
    found: list[str] = []
    real = compiler.Template._compiled

    def counted(self: compiler.Template, *args: Any) -> compiler.Code:
        found.append(self.name)
        return real(self, *args)

    monkeypatch.setattr(compiler.Template, "_compiled", counted)
    return found


def test_training_compiles_nothing(cupy: Any, folder: Path, compiled: list[str]) -> None:
    model = network()
    before = model.state_dict()
    done = warm_up(model, (X, Y), optimizer=optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    assert done.kernels == done.compiled == len(list(folder.glob("*.kernel")))
    assert {name: a.tolist() for name, a in model.state_dict().items()} == {
        name: a.tolist() for name, a in before.items()
    }
    model.to("cuda")
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    train.fit(model, (X, Y), validation=(X, Y), optimizer=optimizer, epochs=2, batch_size=4)
    assert compiled == []
    optimizer = optim.SGD(model.parameters(), lr=0.1)  # without momentum: another kernel
    train.fit(model, (X, Y), optimizer=optimizer, epochs=1, batch_size=4)
    assert "lists.update" in compiled


def test_the_command_finds_what_is_there(
    cupy: Any,
    folder: Path,
    compiled: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("safetensors")
    path = tmp_path / "model.safetensors"
    settings = {"optimizer": "sgd", "batch_size": 4, "momentum": None}
    steps = Standardize().fit(X)
    fastnn.save(
        path, nn.Linear(6, 3), preprocessing=steps, classes=["a", "b", "c"], about={"settings": settings}
    )
    major, minor = launch.properties(0).capability
    words = ["cuda", "warm-up", str(path), "--capability", f"{major}.{minor}", "--quiet"]
    assert main(words) == 0, capsys.readouterr().err
    said = capsys.readouterr()
    count = len(list(folder.glob("*.kernel")))
    assert said.out.startswith(f"compiled {count} kernels in ")
    assert said.err == ""
    model = fastnn.load(path).model.train().to("cuda")
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.001)
    train.fit(model, (X, Y), optimizer=optimizer, epochs=1, batch_size=4)
    assert compiled == []
    assert main([*words[:-1], "--jobs", "1"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("compiled 0 kernels in ")
    assert f", {count} were in {folder} before" in said.out
    assert said.err.endswith(f"[{count}/{count}] kernels\n")


def test_prediction_in_half(cupy: Any, folder: Path, compiled: list[str]) -> None:
    model = nn.Sequential(nn.ReLU(), nn.Softmax(1))
    x = X.astype(np.float16)
    assert warm_up(model, x, jobs=1, progress=False) == (2, 2)
    model.to("cuda").eval()(moved(x, 0))
    assert compiled == []


def test_all(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[Kernel] = []

    def build_all(pool: Any, kernels: list[Kernel], capability: Any, progress: bool) -> int:
        wanted[:] = kernels
        return 0

    monkeypatch.setattr(building, "build_all", build_all)
    done = warm_up(capability=(8, 0))
    assert done.kernels == len(wanted) > 500
    assert {kernel.template for kernel in wanted} == set(building.templates())


def test_errors(folder: Path) -> None:
    with pytest.raises(TypeError, match=r"capability must be two whole numbers, as \(9, 0\), got '9.0'"):
        warm_up(network(), X, capability="9.0")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"capability must be 7.5 or later, got 6.1"):
        warm_up(network(), X, capability=(6, 1))
    with pytest.raises(TypeError, match=r"model must be a layer of fastnn\.nn, got int"):
        warm_up(3, X, capability=(9, 0))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"data must be a batch, \(x, y\) or x, got None"):
        warm_up(network(), capability=(9, 0))
    with pytest.raises(ValueError, match="jobs must be"):
        warm_up(network(), X, capability=(9, 0), jobs=0)
    with pytest.raises(ValueError, match="Linear"):  # of the model, in the other process
        warm_up(network(), X[:, :5], capability=(9, 0), jobs=1)
    assert not folder.exists()


def test_a_cache_that_cannot_be_written(folder: Path) -> None:
    folder.write_text("in the way", encoding="utf-8")
    with pytest.raises(OSError, match=f"{folder}: compiled kernels cannot be kept there"):
        warm_up(nn.ReLU(), X, capability=(9, 0), jobs=1, progress=False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.safetensors"], "--capability must be given, as 9.0, where there is no GPU"),
        (["missing.safetensors", "--capability", "9.0"], "there is no file missing.safetensors"),
        (["m", "--capability", "90"], "must be two numbers, as 9.0, got '90'"),
        (["m", "--shape", "3,4"], "must be numbers with x between them, as 3x32x32, got '3,4'"),
        ([], "one of the arguments MODEL --all is required"),
    ],
)
@pytest.mark.every_case
def test_command_errors(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status, "find_gpu", lambda: "no GPU: no NVIDIA driver found")
    try:
        code = main(["cuda", "warm-up", *words])
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == 2
    assert message in capsys.readouterr().err
