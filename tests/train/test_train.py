"""`fastnn train` from end to end, and the data it refuses."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import cli, datasets, nn, optim, train
from fastnn._core.extras import way_to
from fastnn._core.typing import Array
from fastnn.cli import main
from fastnn.cli.augment import AUGMENTATIONS, augmentation
from fastnn.cli.models import NETWORKS, Design
from fastnn.cli.rules import OPTIMIZERS, SCHEDULES, make_optimizer
from fastnn.preprocessing import PCA, Standardize, Transformer
from support.cases import each

pytest.importorskip("sklearn")
pytest.importorskip("safetensors")
pytest.importorskip("matplotlib")

FULL = Path("/dev/full")
FILES = {"checkpoints", "curves.png", "log.jsonl", "metrics.json", "weights.safetensors"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the output folder of `fastnn train` as it comes."""
    output = tmp_path_factory.mktemp("run")
    assert main(["train", "--output", str(output)]) == 0
    return output


@pytest.fixture(autouse=True)
def without_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """No run but the one above draws its curves: that would take longer than the run."""
    monkeypatch.setattr(train, "save_curves", lambda path, history, title: path.touch())


def weights(folder: Path) -> dict[str, Array]:
    from safetensors.numpy import load_file

    return dict(load_file(folder / "weights.safetensors"))


def test_digits_are_learnt(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["accuracy"] >= 0.97
    assert metrics["settings"]["sizes"] == [64, 128, 10]
    assert len(metrics["epochs"]) == metrics["settings"]["epochs"] == 30
    assert metrics["epochs"][-1]["loss"] < metrics["epochs"][0]["loss"] / 10
    assert metrics["epochs"][-1]["val_accuracy"] == metrics["accuracy"]
    assert {path.name for path in run.iterdir()} == FILES


def test_weights_give_the_same_predictions(run: Path) -> None:
    check_predictions(run, nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)))


def check_predictions(run: Path, model: nn.Module) -> None:
    """The saved weights, in this model, get the accuracy that the run printed."""
    path = run / "weights.safetensors"
    model.eval().load_state_dict(path)
    x, y = datasets.digits()
    data = train.prepare((x, y))
    raw = np.rint(data.preprocessing.inverse_transform(data.x_test))
    held_out = [int(np.flatnonzero((row == x).all(axis=1))[0]) for row in raw]
    logits = model(data.x_test)
    right = json.loads((run / "metrics.json").read_text())["accuracy"]
    assert np.mean(data.classes[logits.argmax(axis=1)] == y[held_out]) == right
    assert np.mean(fastnn.load(path).predict(x[held_out]) == y[held_out]) == right


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_norm_and_dropout(norm: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--norm", norm, "--dropout", "0.25", "--layers", "96,40", "--epochs", "8"]
    assert main(["train", *options, "--output", str(tmp_path)]) == 0
    layers: list[nn.Module] = []
    for inputs, outputs in ((64, 96), (96, 40)):
        norms = {"batch": nn.BatchNorm1d(outputs), "layer": nn.LayerNorm(outputs)}
        normalise = [norms[norm]] if norm in norms else []
        layers += [nn.Linear(inputs, outputs), *normalise, nn.ReLU(), nn.Dropout(0.25)]
    model = nn.Sequential(*layers, nn.Linear(40, 10))
    assert repr(model) in capsys.readouterr().out
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["settings"]["norm"], metrics["settings"]["dropout"]) == (norm, 0.25)
    assert metrics["accuracy"] > 0.95
    assert {*weights(tmp_path)} > {*model.state_dict(), "preprocessing.1.mean", "preprocessing.1.var"}
    check_predictions(tmp_path, model)  # in evaluation mode, as the accuracy printed is
    if norm == "batch":
        assert weights(tmp_path)["1.num_batches_tracked"].shape == ()
        assert weights(tmp_path)["1.num_batches_tracked"] == 8 * 45
        assert np.abs(weights(tmp_path)["1.running_mean"]).max() > 0.1


def test_batch_norm_and_a_lone_last_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["train", "--norm", "batch", "--epochs", "1", "--output", str(tmp_path)]
    assert main([*options, "--batch-size", "479"]) == 0  # 1438 = 3 * 479 + 1
    assert weights(tmp_path)["1.num_batches_tracked"] == 3
    assert main([*options, "--batch-size", "1"]) == 2
    assert re.search("more than one value per channel.*use a larger batch", capsys.readouterr().err)


def test_curves_are_a_picture(run: Path) -> None:
    from matplotlib.image import imread

    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = imread(run / "curves.png")[..., :3]
    assert min(pixels.shape[:2]) >= 400
    line = np.abs(pixels - np.array([0x0B, 0x6F, 0xB8]) / 255).max(axis=2) < 0.02  # the colour of "held out"
    left, right = np.array_split(line.any(axis=0), 2)
    assert left.mean() > 0.5
    assert right.mean() > 0.5


def test_progress_and_epochs_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--layers", "8,6", "--activation", "gelu", "--epochs", "2", "--batch-size", "64"]
    assert main(["train", *arguments, "--output", str(tmp_path / "a" / "b")]) == 0
    out, err = capsys.readouterr()
    assert "1438 training and 359 held-out samples" in out
    assert "(2): Linear(in_features=8, out_features=6, bias=True)\n  (3): GELU(approximate='none')" in out
    assert out.count("\nepoch ") == 2
    assert "epoch 2/2  loss " in out
    assert err == ""  # there is no terminal for a bar
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == FILES


def bits(folder: Path, seed: int, threads: int) -> bytes:
    """Train in a new process with that many BLAS and fastnn threads and return the weights' file."""
    names = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "FASTNN_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(threads))
    command = [sys.executable, "-m", "fastnn", *two_epochs(folder, seed)]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return (folder / "weights.safetensors").read_bytes()


def two_epochs(folder: Path, seed: int) -> list[str]:
    options = ["--epochs", "2", "--batch-size", "256", "--norm", "batch", "--dropout", "0.5"]
    return ["train", *options, "--seed", str(seed), "--output", str(folder)]


def test_same_seed_same_bits_for_any_thread_count(tmp_path: Path) -> None:
    first = bits(tmp_path / "first", seed=4, threads=1)
    assert bits(tmp_path / "second", seed=4, threads=2) == first
    assert main(two_epochs(tmp_path / "other", seed=5)) == 0
    assert (tmp_path / "other" / "weights.safetensors").read_bytes() != first


def blobs(samples: int = 200) -> tuple[Array, Array]:
    """Return two kinds of 4 x 3 images that are easy to tell apart, labelled 7 and -1."""
    rng = np.random.default_rng(0)
    y = np.where(rng.random(samples) < 0.5, 7, -1)
    x = rng.normal(0, 1, (samples, 4, 3))
    x[:, 0, 0] += y
    x[:, 1, 1] = 5.0  # a constant feature
    return x, y


@pytest.mark.parametrize("x_dtype", ["float64", "float32", "float16", "int16", ">f4"])
@pytest.mark.parametrize("y_dtype", ["int64", "int8"])
def test_own_data(tmp_path: Path, x_dtype: str, y_dtype: str) -> None:
    x, y = blobs()
    np.savez(tmp_path / "mine.npz", x=x.astype(x_dtype), y=y.astype(y_dtype), unused=np.array(["text"]))
    output = tmp_path / "out"
    options = ["--data", str(tmp_path / "mine.npz"), "--epochs", "5", "--layers", ""]
    assert main(["train", *options, "--output", str(output)]) == 0
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["accuracy"] > 0.9
    assert metrics["settings"]["sizes"] == [12, 2]
    assert {*fastnn.load(output / "weights.safetensors").predict(x.astype(x_dtype))} == {-1, 7}
    assert all(np.isfinite(tensor).all() for tensor in weights(output).values())


X, Y = blobs(10)
WITH_NAN, WITH_INFINITY = X.copy(), X.copy()
WITH_NAN[3, 2, 1] = np.nan
WITH_INFINITY[0, 0, 0] = -np.inf


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "key 'y' is missing; the file has ['x']"),
        ({"data": X, "y": Y}, "key 'x' is missing; the file has ['data', 'y']"),
        ({"x": X[:, 0, 0], "y": Y}, "x must be (samples, features), none of them 0, got shape (10,)"),
        ({"x": np.float64(1), "y": Y}, "none of them 0, got shape ()"),
        ({"x": X[:0], "y": Y[:0]}, "none of them 0, got shape (0, 4, 3)"),
        ({"x": X[:, :0], "y": Y}, "none of them 0, got shape (10, 0, 3)"),
        ({"x": X.astype(str), "y": Y}, "x must be whole or floating-point numbers, got dtype <U"),
        ({"x": X + 1j, "y": Y}, "x must be whole or floating-point numbers, got dtype complex128"),
        ({"x": WITH_NAN, "y": Y}, "x must be finite numbers that float32 can hold, got 1 others; the first is nan at (3, 2, 1)"),  # noqa: E501
        ({"x": WITH_INFINITY, "y": Y}, "the first is -inf at (0, 0, 0)"),
        ({"x": X * 1e300, "y": Y}, "x must be finite numbers that float32 can hold, got 120 others"),
        ({"x": X, "y": Y[:-1]}, "y must have shape (10,), one label for each sample of x, got (9,)"),
        ({"x": X, "y": Y[:, None]}, "y must have shape (10,), one label for each sample of x, got (10, 1)"),
        ({"x": X, "y": Y.astype(float)}, "y must be whole numbers, the class labels, got dtype float64"),
        ({"x": X, "y": Y.astype(str)}, "y must be whole numbers, the class labels, got dtype <U"),
        ({"x": X, "y": np.zeros(10, int)}, "y must be of at least 2 classes, got 0 only"),
        ({"x": X[:4], "y": Y[:4]}, "x and y must be at least 5 samples, got 4"),
        ({"x": X, "y": Y.astype(object)}, "key 'y' cannot be read: Object arrays cannot be loaded"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)  # fmt: skip
def test_bad_data_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arrays: dict[str, Array], message: str
) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    assert main(["train", "--data", str(path), "--output", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"fastnn train: error: {path}: ")
    assert message in err
    assert err.count("\n") == 1
    assert out == ""
    assert not (tmp_path / "out").exists()


def broken_file(kind: str, path: Path) -> None:
    if kind == "text":
        path.write_text("x,y\n1,2\n", encoding="utf-8")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "one array":
        with path.open("wb") as file:
            np.save(file, X)
    else:
        np.savez(path, x=X, y=Y)
        content = bytearray(path.read_bytes())
        if kind == "cut off":
            del content[len(content) // 2 :]
        elif kind == "bit flipped":
            content[300] ^= 1
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("text", "not a .npz file"),
        ("empty", "not a .npz file"),
        ("cut off", "not a .npz file"),
        ("one array", "one array, not a .npz file"),
        ("bit flipped", "key 'x' cannot be read"),
    ],
)
def test_broken_file_is_reported(tmp_path: Path, kind: str, message: str) -> None:
    broken_file(kind, tmp_path / "broken.npz")
    with pytest.raises(ValueError, match=f"broken.npz: {message}"):
        datasets.npz(tmp_path / "broken.npz")
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        datasets.npz(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layers", "128,x"], "argument --layers: must be a whole number of at least 1, got 'x'"),
        (["--layers", "0"], "argument --layers"),
        (["--layers", "64", "32x"], "argument --layers: must be a whole number of at least 1, got '32x'"),
        (["--lr", "-1"], "argument --lr: must be a number of at least 0, got '-1'"),
        (["--lr", "-1e-3"], "argument --lr: must be a number of at least 0, got '-1e-3'"),
        (["--weight-decay", "-.5"], "argument --weight-decay: must be a number of at least 0, got '-.5'"),
        (["--lr", "nan"], "argument --lr"),
        (["--momentum", "1"], "argument --momentum: must be a number from 0 to below 1, got '1'"),
        (["--epochs", "0"], "argument --epochs: must be a whole number of at least 1, got '0'"),
        (["--batch-size", "2.5"], "argument --batch-size"),
        (["--seed", "-1"], "argument --seed"),
        (["--dropout", "1"], "argument --dropout: must be a number from 0 to below 1, got '1'"),
        (["--norm", "group"], "argument --norm: invalid choice: 'group'"),
        (["--activation", "step"], "argument --activation: invalid choice: 'step'"),
    ],
)
def test_bad_options_are_named(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", *arguments])
    assert stop.value.code == 2
    assert f"fastnn train: error: {message}" in capsys.readouterr().err


def test_diverging_training_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--lr", "1e6", "--epochs", "3", "--output", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert re.search(
        r"error: the loss became .* in epoch 1, step \d+: .* layer '.*learning rate 1e\+06: try a", err
    )
    assert {path.name for path in tmp_path.iterdir()} == {"log.jsonl"}


@pytest.mark.parametrize(
    ("options", "optimizer", "schedule"),
    [
        ("--optimizer adam --schedule cosine", "adam", "cosine"),
        ("--optimizer sgd --schedule onecycle --lr 0.1", "sgd", "onecycle"),
        ("--optimizer adamw --lr 0.002 --schedule warmup-cosine", "adamw", "warmup-cosine"),
    ],
)
def test_optimizers_and_schedules(options: str, optimizer: str, schedule: str, tmp_path: Path) -> None:
    assert main(["train", *options.split(), "--epochs", "10", "--output", str(tmp_path)]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["settings"]["optimizer"], metrics["settings"]["schedule"]) == (optimizer, schedule)
    assert metrics["accuracy"] > 0.95
    rates = [epoch["lr"] for epoch in metrics["epochs"]]
    assert rates[-1] < max(rates) / 100


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_learns(name: str) -> None:
    fastnn.manual_seed(0)
    data = train.prepare(datasets.digits())
    model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    optimizer = make_optimizer(name, model, {"lr": None})
    history = train.fit(model, (data.x_train, data.y_train), optimizer=optimizer, epochs=4)
    assert history[-1]["loss"] < history[0]["loss"] / 1.1


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_ends_where_it_should(name: str) -> None:
    optimizer = optim.SGD([nn.Parameter(np.zeros(1, np.float32))], lr=0.5)
    per, make = SCHEDULES[name]
    scheduler = make(optimizer, 6, 60)
    rates = []
    for _ in range(60 if per == "step" else 6):
        rates.append(optimizer.param_groups[0]["lr"])
        if scheduler is not None:
            scheduler.step(*[1.0] * (name == "plateau"))
    assert max(rates) == pytest.approx(0.5)
    last = {"none": 0.5, "step": 0.005, "exponential": 0.5 * 0.01 ** (5 / 6), "plateau": 0.05}.get(name)
    assert rates[-1] == pytest.approx(last) if last else rates[-1] < 0.01


def test_patience(tmp_path: Path) -> None:
    options = ["--lr", "0.5", "--momentum", "0", "--patience", "2", "--epochs", "90"]
    assert main(["train", *options, "--output", str(tmp_path)]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    losses = [epoch["val_loss"] for epoch in metrics["epochs"]]
    assert len(losses) < 90
    assert metrics["loss"] == min(losses) == losses[-3]


def test_resumed_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train_in(name: str, *options: str) -> int:
        common = ["--epochs", "4", "--dropout", "0.2", "--schedule", "cosine", "--optimizer", "adam"]
        return main(["train", *common, "--output", str(tmp_path / name), *options])

    def interrupt(log: train.JsonLog, trainer: train.Trainer) -> None:
        if trainer.epoch == 3:
            raise KeyboardInterrupt

    assert train_in("whole") == 0
    with monkeypatch.context() as patch:
        patch.setattr(train.JsonLog, "on_epoch_end", interrupt)
        assert train_in("resumed", "--replace") == 130
    metrics = (tmp_path / "whole" / "metrics.json").read_text()
    (tmp_path / "resumed" / "metrics.json").write_text(metrics)  # as of an earlier run in the same folder
    way = capsys.readouterr().err.split("go on with: fastnn ")[1]
    assert train_in("resumed") == 2
    assert "did not come to its end, the latest step-00000090.json: --resume" in capsys.readouterr().err
    assert main(shlex.split(way)) == 0
    out = capsys.readouterr().out
    assert f"going on from {tmp_path / 'resumed' / 'checkpoints' / 'step-00000090.json'}" in out
    assert out.count("\nepoch ") == 2
    files = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "resumed")]
    assert files[0] == files[1]
    assert train_in("resumed") == 0  # the run has ended: without --resume the next one takes its place
    assert capsys.readouterr().out.count("\nepoch ") == 4
    with monkeypatch.context() as patch:
        patch.setattr(train.JsonLog, "on_epoch_end", interrupt)
        assert train_in("resumed") == 130
    capsys.readouterr()
    assert train_in("resumed", "--replace", "--quiet") == 0
    assert re.fullmatch("held-out accuracy .*\nwrote .*\nto predict: .*\n", capsys.readouterr().out)
    assert train_in("new", "--resume") == 0  # killed before the first checkpoint: at the start


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        ("", "--lr 0.5", "--lr must be as when the run was started (not given), got 0.5"),
        (
            "",
            "--activation gelu",
            "--activation must be as when the run was started (relu), got gelu",
        ),
        ("", "--layers 64,8", "--layers must be as when the run was started (128), got 64,8"),
        (
            "",
            "--optimizer adam",
            "--optimizer must be as when the run was started (sgd), got adam",
        ),
        (
            "",
            "--patience 3",
            "--patience must be as when the run was started (not given), got 3",
        ),
        (
            "--patience 3",
            "",
            "--patience must be as when the run was started (3), got not given",
        ),
        ("", "--model cnn", "--model must be as when the run was started (mlp), got cnn"),
        ("", "--seed 1", "--seed must be as when the run was started (0), got 1"),
        (
            "--schedule cosine",
            "--schedule cosine --epochs 3",
            "--epochs must be as when the run was started (1), got 3",
        ),
    ],
)
def test_resumed_with_other_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], first: str, then: str, message: str
) -> None:
    """They would be ignored, as the checkpoint has its own, and metrics.json would be wrong."""
    assert main(["train", "--epochs", "1", *first.split(), "--output", str(tmp_path)]) == 0
    before = (tmp_path / "metrics.json").read_bytes()
    assert main(["train", "--epochs", "1", *then.split(), "--output", str(tmp_path), "--resume"]) == 2
    assert message in capsys.readouterr().err
    assert (tmp_path / "metrics.json").read_bytes() == before


@pytest.mark.parametrize("schedule", ["none", "plateau"])
def test_resumed_for_more_epochs(tmp_path: Path, schedule: str) -> None:
    common = ["train", "--schedule", schedule, "--output"]
    assert main([*common, str(tmp_path / "whole"), "--epochs", "3"]) == 0
    assert main([*common, str(tmp_path / "longer"), "--epochs", "1"]) == 0
    assert main([*common, str(tmp_path / "longer"), "--epochs", "3", "--resume"]) == 0
    whole, longer = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "longer"))
    assert whole == longer


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_goes_through_onecycle(name: str) -> None:
    """It cycles the momentum where there is one, and gives none to those that have none."""
    model = nn.Linear(2, 2)
    optimizer = make_optimizer(name, model, {})
    before = optimizer.param_groups[0].get("momentum")
    SCHEDULES["onecycle"][1](optimizer, 2, 20)
    assert bool(optimizer.param_groups[0].get("momentum")) == bool(before)


def test_options_that_an_optimizer_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--optimizer", "adam", "--momentum", "0.5", "--output", str(tmp_path)]) == 2
    assert "error: --momentum: adam has no such option" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        ("--model cnn --layers 8,16", "(0): Conv2d(1, 8, "),
        ("--model cnn --layers 8 --norm none --dropout 0.1 --augment noise", "(4): Dropout(p=0.1"),
        ("--model resnet --layers 8,16 --norm layer", "AdaptiveAvgPool2d(output_size=1)"),
    ],
)
def test_models_of_images(
    options: str, layers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", *options.split(), "--optimizer", "adam", "--lr", "0.005", "--epochs", "4"]
    assert main([*arguments, "--output", str(tmp_path)]) == 0
    assert layers in capsys.readouterr().out
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["accuracy"] > 0.9
    assert metrics["settings"]["sizes"][:3] == [1, 8, 8]
    assert weights(tmp_path)["preprocessing.1.mean"].shape == (1, 1, 1)


@pytest.mark.parametrize("model", ["cnn", "resnet"])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (2, 5, 7), (1, 1, 1)])
def test_networks_take_images_of_any_size(model: str, shape: tuple[int, int, int]) -> None:
    design = Design((4, 6, 8), "gelu", "batch", 0.5)
    network = NETWORKS[model].build(shape, 10, design)
    x = np.random.default_rng(0).standard_normal((6, *shape), np.float32)
    y = network(x)
    assert y.shape == (6, 10)
    assert network.backward(y).shape == x.shape


def test_augmentations_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for shape in ((1, 8, 8), (3, 5, 40)):
        x, y = np.zeros((6, *shape), np.float32), np.arange(6)
        transform = augmentation([*AUGMENTATIONS], shape, 10)
        assert transform is not None
        changed, labels = transform(x, y)
        assert (changed.shape, labels.shape) == (x.shape, (6, 10))
    output = ["--output", str(tmp_path)]
    assert main(["train", "--augment", "flip", *output]) == 2
    assert "error: --augment is for a model of images, as --model cnn" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "--model", "cnn", "--augment", "flip,flop", *output])
    assert "--augment: names must be of flip, vflip, " in capsys.readouterr().err
    quick = ["train", "--model", "cnn", "--layers", "2", "--epochs", "1", "--quiet", *output]
    assert main([*quick, "--augment", "crop,cutmix"]) == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["settings"]["augment"] == ["crop", "cutmix"]
    checkpoints = train.Checkpoints(tmp_path / "checkpoints")
    latest = checkpoints.latest()
    assert latest is not None
    used = checkpoints.load(latest)["settings"]["transform"]
    assert used.startswith("Compose(transforms=[RandomCrop(size=(8, 8), padding=1")
    assert main([*quick, "--resume"]) == 2
    assert (
        "--augment must be as when the run was started (crop,cutmix), got not given"
        in capsys.readouterr().err
    )


def test_data_that_are_no_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.npz"
    np.savez(path, x=X[:, 0], y=Y)
    assert main(["train", "--model", "cnn", "--data", str(path)]) == 2
    assert f"error: {path}: x must be (samples, channels, height, width), " in capsys.readouterr().err


def test_a_resnet_without_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--model", "resnet", "--layers", "", "--output", str(tmp_path)]) == 2
    assert "error: --layers must be at least one size for a resnet, got none" in capsys.readouterr().err


def test_images_are_standardised_by_channel() -> None:
    rng = np.random.default_rng(0)
    x = (rng.random((30, 3, 4, 5)) * np.array([50, 100, 200])[:, None, None] + 20).astype(np.uint8)
    y = np.arange(30) % 3 + 4
    data = train.prepare((x[:20], y[:20]), (x[20:], y[20:]), images=True)
    assert data.preprocessing.state_dict()["1.mean"].shape == (3, 1, 1)
    np.testing.assert_allclose(data.x_train.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(data.x_train.std(axis=(0, 2, 3)), 1, rtol=1e-5)
    np.testing.assert_allclose(data.preprocessing.inverse_transform(data.x_test), x[20:], atol=1e-4)
    assert data.x_train.dtype == data.x_test.dtype == np.float32
    assert data.classes[data.y_test].tolist() == y[20:].tolist()
    for rows, shape in ((x[:, 0], (1, 4, 5)), (x[:, 0, :4, :4].reshape(30, 16), (1, 4, 4))):
        assert train.prepare((rows, y), images=True).x_train.shape[1:] == shape
    with pytest.raises(
        ValueError, match=r"x must be \(samples, channels, .* for a model of images, got shape \(30, 15\)"
    ):
        train.prepare((x[:, 0, :3].reshape(30, 15), y), images=True)


def test_what_is_done_to_samples_is_chosen() -> None:
    x, y = np.random.default_rng(0).integers(0, 255, (40, 6, 6, 3), np.uint8), np.arange(40) % 2
    for name, form, of_images in (
        ("standardize", "Standardize()", "Standardize(per='channel')"),
        ("center", "ZeroCenter()", "ZeroCenter(per='channel')"),
        ("minmax", "MinMax()", "MinMax(per='channel')"),
        ("whiten", "Whiten()", "Whiten()"),
    ):
        for images, expected in ((False, f"Flatten(), {form}"), (True, f"Images(), {of_images}")):
            data = train.prepare((x, y), images=images, preprocess=name)
            assert repr(data.preprocessing) == f"Compose({expected})"
            assert data.x_train.shape == ((32, 3, 6, 6) if images else (32, 108))
    plain = train.prepare((x, y), preprocess="none").x_train
    np.testing.assert_array_equal(np.unique(plain), np.unique(np.rint(plain)))
    own = train.prepare((x, y), preprocess=PCA(3))
    assert own.x_test.shape == (8, 3)
    for wrong in ("centre", None, 3):
        with pytest.raises(ValueError, match="preprocess must be a transformer or one of 'standardize', "):
            train.prepare((x, y), preprocess=wrong)  # type: ignore[arg-type]


def test_statistics_are_in_checkpoints(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).normal(3, 2, (40, 6)), np.arange(40) % 2
    data = train.prepare((x, y))

    def run(epochs: int, preprocessing: Transformer) -> None:
        fastnn.manual_seed(0)
        train.fit(
            nn.Linear(6, 2),
            (data.x_train, data.y_train),
            epochs=epochs,
            callbacks=[train.Preprocessing(preprocessing)],
            checkpoints=tmp_path,
            resume=epochs > 1,
        )

    run(1, data.preprocessing)
    close, other = (train.prepare((samples, y)).preprocessing for samples in (x * (1 + 1e-12), x + 1))
    run(2, close)
    for name, value in data.preprocessing.state_dict().items():
        np.testing.assert_array_equal(close.state_dict()[name], value)
    with pytest.raises(ValueError, match=r"samples must be as when the run was started: .* 1\.mean now"):
        run(3, other)
    with pytest.raises(ValueError, match="Standardize must be fitted first"):
        train.Preprocessing(Standardize())
    with pytest.raises(TypeError, match=r"transformer must be one of fastnn.preprocessing, got int"):
        train.Preprocessing(3)  # type: ignore[arg-type]


def test_preprocess_is_an_option_that_decides_the_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["train", "--epochs", "1", "--quiet", "--output", str(tmp_path)]
    assert main([*line, "--preprocess", "minmax"]) == 0
    assert repr(fastnn.load(tmp_path / "weights.safetensors").preprocessing) == "Compose(Flatten(), MinMax())"
    assert main([*line, "--resume"]) == 2
    assert "--preprocess must be as when the run was started (minmax)" in capsys.readouterr().err


def test_more_samples_than_fit_in_a_part() -> None:
    x = np.random.default_rng(0).normal(100, 3, (10_001, 3))
    data = train.prepare((x, np.arange(10_001) % 2))
    raw = data.preprocessing.inverse_transform(data.x_train)
    std = np.sqrt(data.preprocessing.state_dict()["1.var"])
    np.testing.assert_allclose(std, raw.std(axis=0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(data.x_train.mean(axis=0, dtype=np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(data.x_train.std(axis=0, dtype=np.float64), 1, rtol=1e-6)


def test_a_csv_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = blobs(60)
    names = np.where(y == 7, "seven", "none")
    rows = [",".join([*map(str, row), name]) for row, name in zip(x.reshape(60, -1), names, strict=True)]
    header = ",".join([*(f"f{index}" for index in range(12)), "label"])
    (tmp_path / "mine.csv").write_text("\n".join([header, *rows]) + "\n")
    options = ["--data", str(tmp_path / "mine.csv"), "--epochs", "5", "--layers", ""]
    assert main(["train", *options, "--output", str(tmp_path / "out")]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["classes"] == ["none", "seven"]
    assert metrics["accuracy"] > 0.9
    told = "rows: 60; left out: the row of names\nlabel: label; classes (2): none, seven\nfeatures (12): f0, "
    assert capsys.readouterr().out.startswith(told)


def test_options_of_csv_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = blobs(60)
    rows = [f"{label}\t{a:.3f}\t{place}" for place, (a, label) in enumerate(zip(x.ravel(), y, strict=False))]
    (tmp_path / "mine.tsv").write_text("\n".join(rows))
    data = ["train", "--data", str(tmp_path / "mine.tsv"), "--epochs", "1", "--output", str(tmp_path / "out")]
    options = ["--target", "0", "--index", "-1", "--delimiter", "tab", "--no-header"]
    assert main([*data, *options]) == 0
    out = capsys.readouterr().out
    assert out.startswith("rows: 60; left out: the index 'column 3'\nlabel: column 1; classes (2)")
    assert main([*data, "--resume", *options[2:]]) == 2
    assert main([*data, "--no-index"]) == 2
    assert "60 classes in 60 samples; the labels are column 3, target (--target)" in capsys.readouterr().err


def test_missing_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert main(["train", "--output", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert err == f"fastnn train: error: safetensors is not installed: {way_to('demo')}\n"
    assert out == ""


def test_output_that_is_a_file_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("kept")
    assert main(["train", "--output", str(tmp_path / "file")]) == 2
    message = f"fastnn train: error: --output: cannot make the folder {tmp_path / 'file'}: File exists\n"
    assert capsys.readouterr().err == message
    assert (tmp_path / "file").read_text() == "kept"


def test_layers_may_be_words_or_one() -> None:
    parse = cli._parser().parse_args
    forms = ["64,32"], ["64", "32"], ["64,", "32"], ["64,32,"]
    assert [parse(["train", "--layers", *words]).layers for words in forms] == [[64, 32]] * 4
    assert parse(["train", "--layers", "", "--epochs", "1"]).layers == []


@pytest.mark.skipif(not FULL.exists(), reason="a device of Linux")
@each(("words", "program"), [("info", "fastnn info"), ("--help", "fastnn")])
def test_a_full_disk_is_named(words: str, program: str) -> None:
    """Also where argparse writes, and where Python writes at the end, when the buffer is flushed."""
    unbuffered = "1" if words == "--help" else ""
    with FULL.open("w", encoding="utf-8") as stdout:
        done = subprocess.run(
            [sys.executable, "-m", "fastnn", words],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
    message = f"{program}: error: [Errno 28] No space left on device: 'standard output'\n"
    assert (done.returncode, done.stderr) == (2, message)


@pytest.mark.skipif(not FULL.exists(), reason="a device of Linux")
def test_a_full_disk_is_named_by_what_writes_to_it(tmp_path: Path) -> None:
    log = train.JsonLog(tmp_path / "log.jsonl")
    trainer: Any = SimpleNamespace(history=[], step=0)
    log.on_train_start(trainer)
    assert log._file is not None
    log._file.close()
    log._file = FULL.open("a", encoding="utf-8")
    trainer.history.append({"loss": 1.0})
    with pytest.raises(OSError, match=re.escape(f"No space left on device: '{log.path}'")):
        log.on_epoch_end(trainer)
    with pytest.raises(OSError, match=re.escape(f"No space left on device: '{log.path}'")):
        log.on_train_end(trainer)


def test_held_out_fifth() -> None:
    x, y = datasets.digits()
    data = train.prepare((x, y))
    assert (len(data.x_train), len(data.x_test)) == (1438, 359)
    share = np.bincount(data.y_test) / np.bincount(y)
    assert np.abs(share - 0.2).max() < 0.01
    np.testing.assert_allclose(data.x_train.mean(axis=0), 0, atol=1e-5)
    constant = x.min(axis=0) == x.max(axis=0)
    np.testing.assert_allclose(
        data.x_train.std(axis=0, dtype=np.float64), np.where(constant, 0.0, 1.0), rtol=1e-5
    )
    rows = data.preprocessing.inverse_transform(np.concatenate([data.x_train, data.x_test]))
    np.testing.assert_allclose(np.sort(rows, axis=0), np.sort(x, axis=0), atol=1e-4)


def test_example_learns_the_digits() -> None:
    script = Path(__file__).parents[2] / "examples" / "digits.py"
    assert len(script.read_text().splitlines()) <= 40
    result = subprocess.run([sys.executable, script], check=True, capture_output=True, text=True)
    assert float(result.stdout.rstrip().removesuffix("%").rpartition(" ")[2]) >= 97
    assert result.stderr == ""


def test_info_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    assert "version" in capsys.readouterr().out
    assert main([]) == 0
    assert "fastnn train" in capsys.readouterr().out
