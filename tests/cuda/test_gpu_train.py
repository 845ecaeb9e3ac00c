"""Training on a GPU: the losses of the CPU, checkpoints, averages, diagnosis, and the command."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim, train
from fastnn.cli import main
from fastnn.ensemble import Ensemble

RNG = np.random.default_rng(0)
X = RNG.standard_normal((24, 6)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)


def network() -> nn.Sequential:
    fastnn.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def fit(model: nn.Module, **options: Any) -> list[train.Record]:
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    given: dict[str, Any] = {"validation": (X, Y), "epochs": 2, "batch_size": 8, "optimizer": optimizer}
    return train.fit(model, (X, Y), **given | options)


def numbers(history: list[train.Record]) -> Any:
    return [[value for name, value in record.items() if name != "seconds"] for record in history]


def test_losses_as_on_the_cpu(cupy: Any) -> None:
    here = fit(network())
    model = network().to("cuda")
    there = fit(model)
    np.testing.assert_allclose(numbers(there), numbers(here), rtol=1e-4)
    assert all(isinstance(p.data, cupy.ndarray) for p in model.parameters())
    assert all(type(value) in (int, float) for record in there for value in record.values())
    measured = train.evaluate(model, (X, Y))
    assert measured == {"loss": there[-1]["val_loss"], "accuracy": there[-1]["val_accuracy"]}


def test_an_ensemble_as_on_the_cpu(cupy: Any) -> None:
    here = Ensemble([nn.Linear(6, 3), nn.Linear(6, 3)], [1, 2])
    there = copy.deepcopy(here).to("cuda")(cupy.asarray(X))
    assert isinstance(there, cupy.ndarray)
    np.testing.assert_allclose(there.get(), here(X), rtol=1e-5)


def test_numbers_are_read_once_a_batch(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Any] = []
    get = cupy.ndarray.get

    def counted(array: Any, *args: Any, **options: Any) -> Any:
        reads.append(array)
        return get(array, *args, **options)

    monkeypatch.setattr(cupy.ndarray, "get", counted)
    for name in ("__float__", "__bool__", "__int__", "item"):
        monkeypatch.setattr(cupy.ndarray, name, lambda self: pytest.fail("another transfer"))
    fit(network().to("cuda"), epochs=1, validation=None)
    assert [array.shape for array in reads] == [(2,)] * 3


def test_resumed_bitwise(cupy: Any, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")

    class Interrupt(train.Callback):
        def on_step(self, trainer: Any) -> None:
            if trainer.step == 4:
                raise KeyboardInterrupt

    whole = network().to("cuda")
    expected = fit(whole)
    checkpoints = train.Checkpoints(tmp_path, every_steps=1)
    with pytest.raises(KeyboardInterrupt):
        fit(network().to("cuda"), checkpoints=checkpoints, callbacks=[Interrupt()])
    again = network().to("cuda")
    fastnn.manual_seed(99)
    got = fit(again, checkpoints=checkpoints, resume=True)
    assert numbers(got) == numbers(expected)
    state = again.state_dict()
    for name, array in whole.state_dict().items():
        np.testing.assert_array_equal(state[name], array)


def test_averages_of_the_weights(cupy: Any) -> None:
    results = []
    for device in ("cpu", "cuda"):
        model = network().to(device)
        average = optim.ExponentialMovingAverage(model.parameters(), 0.5)

        class Take(train.Callback):
            def on_step(self, trainer: Any, average: Any = average) -> None:
                average.update()

        fit(model, callbacks=[Take()], epochs=1)
        with average.applied():
            results.append(model.state_dict())
    for name, array in results[0].items():
        np.testing.assert_allclose(results[1][name], array, rtol=1e-4, atol=1e-5)


def test_diverged(cupy: Any) -> None:
    model = network().to("cuda")
    model[0].weight.data[...] = np.nan
    with pytest.raises(train.Diverged, match="is in weight of layer '0'") as caught:
        fit(model)
    assert caught.value.layer == "0"


def test_a_model_on_two_devices(cupy: Any) -> None:
    model = network()
    model[4].to("cuda")
    with pytest.raises(
        ValueError, match=r"^Sequential: .* must be on one device, got .* on cpu and .* on cuda:0; use"
    ):
        fit(model)


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet"])
def test_command(cupy: Any, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("safetensors")
    pytest.importorskip("tqdm")
    x = RNG.standard_normal((20, 16)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=np.arange(20) % 2)
    records = []
    for device in ("cpu", "cuda"):
        output = tmp_path / device
        options = ["--data", str(tmp_path / "data.npz"), "--model", name, "--layers", "4", "--epochs", "1"]
        rest = ["--batch-size", "8", "--device", device, "--output", str(output)]
        assert main(["train", *options, *rest]) == 0, capsys.readouterr().err
        records.append(json.loads((output / "metrics.json").read_text()))
    np.testing.assert_allclose(
        numbers(records[1]["epochs"]), numbers(records[0]["epochs"]), rtol=1e-3, atol=1e-5
    )


def test_command_without_a_gpu(
    cupy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> int:
        raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")

    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", none)
    assert main(["train", "--device", "cuda"]) == 2
    said = "fastnn train: error: --device must be 'cpu' where CUDA finds no GPU (cudaErrorNoDevice: "
    assert capsys.readouterr().err.startswith(said)
    assert main(["train", "--device", "tpu"]) == 2
    assert (
        "--device must be 'cpu', 'cuda' or a GPU by its number, as 'cuda:1', got 'tpu'"
        in capsys.readouterr().err
    )
