"""fit: what it computes, what it measures, and what it calls when."""

from __future__ import annotations

import doctest
import functools
import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import nn, optim, train
from fastnn._core.extras import way_to
from fastnn._core.typing import Array
from fastnn.nn._hooks import has_hooks
from fastnn.train import batches
from fastnn.train.measures import accuracy
from support.documents import ROOT, blocks

RNG = np.random.default_rng(1)
X = RNG.standard_normal((50, 4), np.float32)
Y = (X[:, 0] > 0).astype(np.int64)
DATA = X, Y


def network(seed: int = 0, dtype: Any = np.float32) -> nn.Sequential:
    fastnn.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8, dtype=dtype), nn.Tanh(), nn.Linear(8, 2, dtype=dtype))


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(
        np.array_equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("sklearn", "matplotlib", "safetensors"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}  # one block goes on where the last ended
    report: list[str] = []
    for code in blocks((ROOT / "docs" / "training.md").read_text(), "python"):
        example = doctest.DocTestParser().get_doctest(code, names, "training.md", None, 0)
        example.globs = names
        doctest.DocTestRunner().run(example, out=report.append, clear_globs=False)
    assert len(names) > 10
    assert not report, "".join(report)


# ---- batches -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", range(1, 12))
@pytest.mark.parametrize("size", [1, 2, 3, 5, 20])
def test_batches(samples: int, size: int) -> None:
    cut = batches.cut(np.arange(samples), size)
    assert np.concatenate(cut).tolist() == list(range(samples))
    assert len(cut) == train.steps_per_epoch(samples, size)
    lengths = [len(batch) for batch in cut]
    assert lengths[:-1] == [size] * (len(cut) - 1) or lengths[:-1] == []
    assert 1 < lengths[-1] <= size + 1 or size == 1 == lengths[-1] or samples == 1


def test_take_is_indexing() -> None:
    for array in (X, Y, X[::-1, ::2], X.astype(">f4"), np.arange(50).astype(np.uint8).reshape(50, 1, 1)):
        rows = np.array([3, 49, 0, 3])
        taken = batches.take(array, rows)
        assert np.array_equal(taken, array[rows])
        assert taken.flags.c_contiguous


# ---- the loop ----------------------------------------------------------------------------------------------


def test_it_is_the_loop_that_one_would_write() -> None:
    by_hand, fitted = network(), network()
    history = train.fit(
        fitted, DATA, optimizer=optim.SGD(fitted.parameters(), lr=0.1, momentum=0.9), epochs=2, batch_size=16
    )
    network()  # the generator again where it was
    optimizer = optim.SGD(by_hand.parameters(), lr=0.1, momentum=0.9)
    for epoch in range(2):
        order, total, right = fastnn.random.default_generator().numpy().permutation(50), 0.0, 0
        for rows in np.split(order, [16, 32, 48]):
            output = by_hand(X[rows])
            loss, doutput = F.cross_entropy(output, Y[rows])
            optimizer.zero_grad()
            by_hand.backward(doutput)
            optimizer.step()
            total += loss * len(rows)
            right += int((output.argmax(axis=1) == Y[rows]).sum())
        assert history[epoch]["loss"] == pytest.approx(total / 50, rel=1e-12)
        assert history[epoch]["accuracy"] == pytest.approx(right / 50)
    assert same(by_hand, fitted)
    assert not any(module.training for module in fitted.modules())
    assert [(record["epoch"], record["step"], record["lr"]) for record in history] == [
        (1, 4, 0.1),
        (2, 8, 0.1),
    ]


def test_every_sample_once_an_epoch_in_training_mode() -> None:
    seen: dict[bool, list[int]] = {True: [], False: []}

    class Spy(nn.Module):
        weight = None

        def __init__(self) -> None:
            self.weight = nn.Parameter(np.ones(1, np.float32))

        def forward(self, x: Array) -> Array:
            seen[self.training] += x[:, 0].astype(int).tolist()
            return np.zeros((len(x), 2), np.float32)

        def backward(self, dy: Array) -> Array:
            return dy

    x, y = np.arange(50, dtype=np.float32).reshape(-1, 1), np.arange(50) % 2
    model = Spy()
    history = train.fit(model, (x[:40], y[:40]), validation=(x[40:], y[40:]), epochs=2, batch_size=16)
    first, second = seen[True][:40], seen[True][40:]
    assert sorted(first) == sorted(second) == list(range(40))
    assert first != second
    assert seen[False] == [*range(40, 50)] * 2
    assert not model.training
    for record in history:
        np.testing.assert_allclose([record["loss"], record["val_loss"]], np.log(2), rtol=1e-6)
        assert (record["accuracy"], record["val_accuracy"]) == (0.5, 0.5)


@pytest.mark.parametrize("batch_size", [10, 7, 16])
def test_accumulated_batches_are_one_large_batch(batch_size: int) -> None:
    data = X.astype(np.float64), Y
    small, large = network(dtype=np.float64), network(dtype=np.float64)
    counts = []
    for model, size, accumulate in ((small, batch_size, 3), (large, 3 * batch_size, 1)):
        fastnn.manual_seed(7)
        optimizer = optim.SGD(model.parameters(), lr=0.5, momentum=0.5)
        options = {"batch_size": size, "accumulate": accumulate, "optimizer": optimizer}
        history = train.fit(model, data, epochs=3, **options)  # type: ignore[arg-type]
        counts.append(history[-1]["step"])
        assert counts[-1] == 3 * train.steps_per_epoch(50, size, accumulate)
    assert counts[0] == counts[1]
    for a, b in zip(small.state_dict().values(), large.state_dict().values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


def test_evaluate() -> None:
    model = network().train()
    large = np.tile(X, (60, 1)), np.tile(Y, 60)  # more than one batch of an evaluation
    measured = train.evaluate(model, large)
    loss, _ = F.cross_entropy(model(X), Y)
    assert measured["loss"] == pytest.approx(loss, rel=1e-6)
    assert measured["accuracy"] == pytest.approx(np.mean(model(X).argmax(axis=1) == Y))
    assert not model.training


# ---- losses, metrics ---------------------------------------------------------------------------------------


class Criterion:
    """A loss as a layer."""

    def __call__(self, output: Array, target: Array) -> float:
        loss, self._gradient = F.cross_entropy(output, target)
        return float(loss)

    def backward(self) -> Array:
        return self._gradient


def test_losses_by_name_function_and_layer() -> None:
    models = [network(), network(), network()]
    losses: list[Any] = ["cross_entropy", F.cross_entropy, Criterion()]
    for model, loss in zip(models, losses, strict=True):
        fastnn.manual_seed(0)
        train.fit(model, DATA, loss=loss, epochs=2)
    assert same(models[0], models[1])
    assert same(models[0], models[2])


def test_regression() -> None:
    targets = X @ np.array([[1.0], [-2], [0.5], [0]], np.float32)

    def largest_error(output: Array, target: Array) -> float:
        return float(np.abs(output - target).max())

    model = nn.Sequential(nn.Linear(4, 1))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    options: dict[str, Any] = {"validation": (X, targets), "optimizer": optimizer, "epochs": 40}
    history = train.fit(model, (X, targets), loss=F.mse_loss, metrics=[largest_error], **options)
    names = ["epoch", "step", "lr", "loss", "largest_error", "val_loss", "val_largest_error", "seconds"]
    assert list(history[0]) == names
    assert history[-1]["val_loss"] < 1e-4
    named = train.evaluate(model, (X, targets), loss="mse_loss", metrics={"error": largest_error})
    assert named == {"loss": history[-1]["val_loss"], "error": history[-1]["val_largest_error"]}
    assert list(train.evaluate(model, (X, targets), loss="mse_loss")) == ["loss"]


# ---- callbacks ---------------------------------------------------------------------------------------------


def test_callbacks_are_called_in_order() -> None:
    calls: list[str] = []

    class Note(train.Callback):
        def __getattribute__(self, name: str) -> Any:
            if name.startswith("on_"):
                return lambda trainer: calls.append(f"{name[3:]} {trainer.epoch}.{trainer.step}")
            return super().__getattribute__(name)

    train.fit(network(), DATA, epochs=2, batch_size=25, callbacks=[Note()])
    assert calls == [
        *("train_start 0.0", "epoch_start 1.0"),
        *("gradients 1.0", "step 1.1", "step_end 1.1", "gradients 1.1", "step 1.2", "step_end 1.2"),
        *("epoch_end 1.2", "epoch_start 2.2"),
        *("gradients 2.2", "step 2.3", "step_end 2.3", "gradients 2.3", "step 2.4", "step_end 2.4"),
        *("epoch_end 2.4", "train_end 2.4"),
    ]


def test_gradients_can_be_changed() -> None:
    class Clip(train.Callback):
        def on_gradients(self, trainer: train.Trainer) -> None:
            for parameter in trainer.model.parameters():
                assert parameter.grad is not None
                parameter.grad[...] = 0

    model, before = network(), network()
    train.fit(model, DATA, optimizer=optim.SGD(model.parameters(), lr=0.1), callbacks=[Clip()])
    assert same(model, before)


def test_a_callback_can_stop() -> None:
    class Stop(train.Callback):
        def on_step(self, trainer: train.Trainer) -> None:
            if trainer.step == 5:
                trainer.stop("enough")

    last = Last()
    assert len(train.fit(network(), DATA, epochs=9, batch_size=25, callbacks=[Stop(), last])) == 2
    assert (last.trainer.step, last.trainer.stopped) == (5, "enough")


class Last(train.Callback):
    """Keeps the trainer."""

    trainer: train.Trainer

    def on_train_end(self, trainer: train.Trainer) -> None:
        self.trainer = trainer


class Script(nn.Module):
    """A model whose loss on the validation is what the script says, epoch by epoch."""

    def __init__(self, values: list[float]) -> None:
        self.values = values
        self.weight = nn.Parameter(np.zeros(1, np.float32))

    def forward(self, x: Array) -> Array:
        if self.training:
            self.weight.data += 1  # the epoch
        return np.full(
            (len(x), 1), 1.0 if self.training else self.values[int(self.weight.data[0]) - 1], np.float32
        )

    def backward(self, dy: Array) -> Array:
        return dy


# ---- several inputs and outputs, held-out samples, weights of classes --------------------------------------


class Two(nn.Module):
    """The sum of two linear layers, of two inputs; and the first of them."""

    def __init__(self) -> None:
        fastnn.manual_seed(2)
        self.a, self.b = nn.Linear(4, 2), nn.Linear(3, 2)

    def forward(self, x: Array, z: Array) -> Any:
        first = self.a(x)
        return first + self.b(z), first

    def backward(self, dy: Any) -> tuple[Array, Array]:
        both, first = dy
        return self.a.backward(both + first), self.b.backward(both)


def two_losses(output: Any, target: Any) -> tuple[float, Any]:
    parts = [F.cross_entropy(output[0], target[0]), F.mse_loss(output[1], target[1])]
    return parts[0][0] + parts[1][0], tuple(gradient for _, gradient in parts)


def right(output: Any, target: Any) -> float:
    return float((output[0].argmax(axis=1) == target[0]).mean())


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    z = RNG.standard_normal((50, 3), np.float32)
    target = RNG.standard_normal((50, 2), np.float32)
    data = ((X, z), (Y, target))
    options: dict[str, Any] = {"validation": data, "loss": two_losses, "metrics": [right], "batch_size": 7}
    part, whole = Two(), Two()
    history = train.fit(whole, data, epochs=4, accumulate=2, **options)
    assert history[-1]["val_right"] == right(whole(X, z), (Y, target))
    assert history[-1]["loss"] < history[0]["loss"]
    assert train.evaluate(whole, data, loss=two_losses)["loss"] == history[-1]["val_loss"]
    fastnn.manual_seed(2)
    Two()
    for epochs in (2, 4):
        train.fit(part, data, epochs=epochs, accumulate=2, checkpoints=tmp_path, resume=True, **options)
    assert same(whole, part)
    z[3, 1] = np.nan
    with pytest.raises(train.Diverged, match=r"data: x\[1\] must be finite, got NaN .* at x\[1\]\[3, 1\]"):
        train.fit(Two(), data, **options)
    for bad in ((X, z[:9]), (X, (z, z[:9]))):
        with pytest.raises(
            ValueError, match=r"data must be x and y with a row for each sample, got shapes .*9"
        ):
            train.fit(Two(), (bad, Y))


def test_a_layer_takes_its_input_by_name_and_several() -> None:
    layer, z = Two(), np.ones((50, 3), np.float32)
    expected = layer(X, z)[0]
    seen: list[Any] = []
    layer.register_forward_hook(lambda module, *passed: seen.append(len(passed)))
    for got in (layer(X, z=z), layer(x=X, z=z), layer(input=X, z=z)):
        np.testing.assert_array_equal(got[0], expected)
    assert seen == [3, 3, 3]
    np.testing.assert_array_equal(layer.a(input=X), layer.a(x=X))
    np.testing.assert_array_equal(layer.a(input=X), layer.a(X))


def test_validation_split(tmp_path: Path) -> None:
    rare = (np.arange(200) % 10 == 0).astype(np.int64)
    x = RNG.standard_normal((200, 4), np.float32)
    seen: list[Array] = []

    def labels(output: Array, target: Array) -> float:
        seen.append(target)
        return 0.0

    options: dict[str, Any] = {"validation_split": 0.25, "batch_size": 300, "metrics": [labels]}
    train.fit(network(), (x, rare), epochs=1, **options)
    assert [(len(y), int(y.sum())) for y in seen] == [(150, 15), (50, 5)]
    whole, part = network(), network()
    history = train.fit(whole, (x, rare), epochs=3, **options)
    fastnn.manual_seed(0)
    network()
    for epochs in (1, 3):
        again = train.fit(part, (x, rare), epochs=epochs, checkpoints=tmp_path, resume=True, **options)
        fastnn.manual_seed(99)
    assert same(whole, part)
    assert again[-1]["val_loss"] == history[-1]["val_loss"]
    for wrong, message in (
        (0.0, "be in \\(0, 1\\), got 0"),
        (1e-4, "leave samples on both sides, got 0.0001 of 50"),
    ):
        with pytest.raises(ValueError, match=f"^validation_split must {message}"):
            train.fit(network(), DATA, validation_split=wrong)
    with pytest.raises(ValueError, match=r"^validation_split must be None where validation is given"):
        train.fit(network(), DATA, validation=DATA, validation_split=0.5)


def test_class_weight() -> None:
    class_weight = pytest.importorskip("sklearn.utils.class_weight")
    y = (np.arange(50) % 5 == 0).astype(np.int64)
    balanced = class_weight.compute_class_weight("balanced", classes=np.arange(2), y=y)
    layers = {w: network() for w in ("balanced", "dict", "array", "by hand")}
    given: dict[str, Any] = {"balanced": "balanced", "dict": dict(enumerate(balanced)), "array": balanced}
    for name, weight in given.items():
        fastnn.manual_seed(0)
        history = train.fit(layers[name], (X, y), class_weight=weight, validation=(X, y), epochs=2)
        assert same(layers[name], layers["balanced"])
    loss = functools.partial(F.cross_entropy, weight=balanced.astype(np.float32))
    fastnn.manual_seed(0)
    train.fit(layers["by hand"], (X, y), loss=loss, epochs=2)
    assert same(layers["by hand"], layers["balanced"])
    assert history[-1]["val_loss"] == train.evaluate(layers["array"], (X, y))["loss"]  # without weights
    single, target = nn.Linear(4, 1), y[:, None].astype(np.float32)
    for name in ("binary_cross_entropy_with_logits",):
        weight = np.where(target > 0, balanced[1], balanced[0])
        output = single(X)
        expected = getattr(F, name)(output, target, weight)[0]
        record = train.fit(single, (X, target), loss=name, class_weight="balanced", epochs=1, batch_size=50)
        assert record[0]["loss"] == pytest.approx(expected, rel=1e-6)
    wrong: list[tuple[Any, Any, type[Exception], str]] = [
        (
            "balanced",
            "mse_loss",
            ValueError,
            "class_weight must go with a loss by one of the names .* 'mse_loss'",
        ),
        ("balanced", nn.CrossEntropyLoss(), ValueError, "class_weight must go .* got loss CrossEntropyLoss"),
        (
            "even",
            "cross_entropy",
            ValueError,
            "class_weight must be 'balanced', a dict or an array, got 'even'",
        ),
        ({0: "a"}, "cross_entropy", TypeError, r"class_weight\[0\] must be a real number, got str"),
        ({3: 1.0}, "cross_entropy", ValueError, "class_weight must have labels of y as keys, got 3"),
        ([1.0], "cross_entropy", ValueError, "class_weight must be weights of at least 0 for the 2 classes"),
        ([1.0, -1.0], "cross_entropy", ValueError, "class_weight must be weights of at least 0"),
        (
            [1.0] * 3,
            "cross_entropy",
            ValueError,
            "class_weight must have weights of the output's 2 classes, got 3",
        ),
    ]
    for weight, loss_of, error, message in wrong:
        with pytest.raises(error, match=f"^{message}"):
            train.fit(network(), (X, y), loss=loss_of, class_weight=weight)


def scripted(values: list[float], stopping: train.EarlyStopping) -> tuple[int, float, str]:
    """How many epochs were trained, of which epoch the weights are, and why training ended."""
    zeros = np.zeros((10, 1), np.float32)

    def value(output: Array, target: Array) -> tuple[float, Array]:
        return float(output[0, 0]), output

    def accuracy(output: Array, target: Array) -> float:
        return float(output[0, 0])

    model, last, data = Script(values), Last(), (zeros, zeros)
    options: dict[str, Any] = {"validation": data, "epochs": len(values), "batch_size": 10}
    history = train.fit(model, data, loss=value, metrics=[accuracy], callbacks=[stopping, last], **options)
    return len(history), float(model.weight.data[0]), last.trainer.stopped


def test_early_stopping() -> None:
    why = "val_loss has not been better since epoch 2"
    assert scripted([5, 3, 4, 3, 9, 9], train.EarlyStopping(2)) == (4, 2, why)
    assert scripted([5, 3, 4, 2, 9, 1], train.EarlyStopping(2)) == (6, 6, "")
    assert scripted([5, 3, 4, 2, 9], train.EarlyStopping(9)) == (5, 4, "")
    why = "val_loss has not been better since epoch 1"
    assert scripted([5, 4.9, 4.8, 4.7], train.EarlyStopping(2, min_delta=0.5)) == (3, 1, why)
    why = "val_accuracy has not been better since epoch 3"
    assert scripted([0.1, 0.2, 0.4, 0.4, 0.9], train.EarlyStopping(1, "val_accuracy")) == (4, 3, why)
    why = "val_loss has not been better since epoch 3"
    assert scripted([1, 2, 3, 0], train.EarlyStopping(1, mode="max")) == (4, 3, why)
    with pytest.raises(ValueError, match=r"monitor must be one of epoch, step, lr, loss, .*, got 'val_f1'"):
        scripted([1.0], train.EarlyStopping(1, "val_f1", mode="max"))
    partial: Any = functools.partial
    for make in (partial(train.EarlyStopping, 1), partial(train.Checkpoints, "folder")):
        for options in ({"monitor": "val_f2"}, {"mode": "best"}, {"monitor": "lr"}):
            with pytest.raises(ValueError, match=r"^mode must be 'min' or 'max' for monitor="):
                make(**options)
    with pytest.raises(ValueError, match="patience must be a whole number of at least 1, got 0"):
        train.EarlyStopping(0)


# ---- schedules ---------------------------------------------------------------------------------------------


class Rates(train.Callback):
    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_step(self, trainer: train.Trainer) -> None:
        self.rates.append(trainer.lr)


@pytest.mark.parametrize(("per", "rates"), [("step", [8, 4, 2, 1]), ("epoch", [8, 8, 4, 4])])
def test_schedules_by_step_and_by_epoch(per: str, rates: list[float]) -> None:
    model, seen = network(), Rates()
    optimizer = optim.SGD(model.parameters(), lr=8 / 1024)
    scheduler = optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    options: dict[str, Any] = {"optimizer": optimizer, "scheduler": scheduler, "schedule_per": per}
    history = train.fit(model, DATA, epochs=2, batch_size=25, callbacks=[seen], **options)
    assert [1024 * rate for rate in seen.rates] == rates
    assert len(history) == 2


@pytest.mark.parametrize("validated", [True, False])
def test_plateau_gets_the_loss(validated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    given: list[float] = []
    monkeypatch.setattr(scheduler, "step", given.append)
    validation = (X[:20], Y[:20]) if validated else None
    history = train.fit(
        model, DATA, validation=validation, optimizer=optimizer, scheduler=scheduler, epochs=3
    )
    assert given == [record["val_loss" if validated else "loss"] for record in history]


# ---- the log, TensorBoard, curves, progress ----------------------------------------------------------------


def test_a_log_of_another_program(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('[1]\n{}\n"text"\n')
    train.fit(network(), DATA, epochs=1, callbacks=[train.JsonLog(tmp_path / "log.jsonl")])
    (line,) = (tmp_path / "log.jsonl").read_text().splitlines()
    assert json.loads(line)["epoch"] == 1
    missing = tmp_path / "none" / "log.jsonl"
    with pytest.raises(FileNotFoundError, match=f"'{missing}'"):
        train.fit(network(), DATA, epochs=1, callbacks=[train.JsonLog(missing)])


def test_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"

    class Read(train.Callback):
        def on_epoch_end(self, trainer: train.Trainer) -> None:
            assert len(path.read_text().splitlines()) == 3 * trainer.epoch  # it is there at once

    def odd(output: Array, target: Array) -> float:
        return float("nan")

    callbacks = [train.JsonLog(path, steps=True), Read()]
    history = train.fit(network(), DATA, epochs=2, batch_size=25, metrics=[odd], callbacks=callbacks)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["step", "step", "epoch"] * 2
    assert [line["step"] for line in lines] == [1, 2, 2, 3, 4, 4]
    assert lines[2] == {"event": "epoch", **history[0], "odd": None}
    assert list(lines[0]) == ["event", "epoch", "step", "loss", "lr"]
    train.fit(network(), DATA, epochs=1, callbacks=[train.JsonLog(path)])
    assert len(path.read_text().splitlines()) == 1


class Writer:
    """tensorboardX's SummaryWriter, as far as it is used."""

    def __init__(self, folder: str, purge_step: int) -> None:
        self.given, self.closed = [(folder, purge_step)], False
        Writer.last = self
        self.scalars: dict[str, list[tuple[float, int]]] = {}

    last: Writer

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        self.scalars.setdefault(tag, []).append((value, step))

    def flush(self) -> None: ...

    def close(self) -> None:
        self.closed = True


def test_tensorboard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    module: Any = types.ModuleType("tensorboardX")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    callbacks = [train.TensorBoard(tmp_path)]
    history = train.fit(network(), DATA, validation=DATA, epochs=2, batch_size=25, callbacks=callbacks)
    writer = Writer.last
    assert writer.given == [(str(tmp_path), 1)]
    assert writer.closed
    assert writer.scalars["epoch/val_loss"] == [(record["val_loss"], record["step"]) for record in history]
    assert [step for _, step in writer.scalars["step/loss"]] == [1, 2, 3, 4]
    assert writer.scalars["step/lr"] == [(0.001, step) for step in (1, 2, 3, 4)]


def test_tensorboard_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch.utils.tensorboard", "tensorboardX"):
        monkeypatch.setitem(sys.modules, name, None)
    expected = f"tensorboardX is not installed: {way_to('tensorboard')}"
    with pytest.raises(ImportError, match=re.escape(expected)):
        train.TensorBoard("runs")


def test_tensorboard_files(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    train.fit(network(), DATA, epochs=1, callbacks=[train.TensorBoard(tmp_path)])
    (events,) = tmp_path.glob("events.out.tfevents.*")
    assert b"epoch/loss" in events.read_bytes()


@pytest.mark.parametrize("panels", [1, 2, 3])
def test_curves(tmp_path: Path, panels: int) -> None:
    image = pytest.importorskip("matplotlib.image")

    def second(output: Array, target: Array) -> float:
        return -1.0

    metrics: list[Any] = ["accuracy", second][: panels - 1]
    curves = train.Curves(tmp_path / "curves.png", title="a title")
    train.fit(network(), DATA, validation=DATA, epochs=3, metrics=metrics, callbacks=[curves])
    pixels = image.imread(tmp_path / "curves.png")[..., :3]
    assert pixels.shape == (570, 675 * (panels + 1), 3)  # one more for the update ratio
    line = np.abs(pixels - np.array([0x0B, 0x6F, 0xB8]) / 255).max(axis=2) < 0.02  # the colour of "held out"
    assert all(part.any() for part in np.array_split(line.any(axis=0), panels + 1)[:panels])
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


@pytest.mark.parametrize(("progress", "terminal"), [(True, True), (True, False), ("lines", True)])
def test_progress(
    progress: Any, terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    train.fit(network(), DATA, validation=DATA, epochs=2, batch_size=25, progress=progress)
    out, err = capsys.readouterr()
    assert out.count("\n") == 2
    assert out.startswith("epoch 1/2  loss 0.")
    assert "%  held out: loss 0." in out
    assert ("4/4" in err) == bool(err) == (terminal and progress is True)
    train.fit(network(), DATA, epochs=1)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("module", ["safetensors.numpy", "matplotlib.figure", "tqdm.auto"])
def test_missing_extras_are_named_before_the_work(
    module: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, module.partition(".")[0], None)
    make = {"safetensors.numpy": train.Checkpoints, "matplotlib.figure": train.Curves}
    with pytest.raises(ImportError, match=re.escape(f"is not installed: {way_to('demo')}")):
        make[module](tmp_path) if module in make else train.Progress()


# ---- arguments ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"data": X}, TypeError, r"data must be \(x, y\), a tuple of two arrays .*; got a ndarray"),
        (
            {"data": (X, Y[:-1])},
            ValueError,
            r"data must be .* a row for each sample, got shapes \(50, 4\) and \(49,\)",
        ),
        ({"data": (X[:0], Y[:0])}, ValueError, "data must be x and y"),
        ({"validation": (X, Y[:2])}, ValueError, "validation must be x and y"),
        ({"epochs": 0}, ValueError, "epochs must be a whole number of at least 1, got 0"),
        ({"batch_size": 2.5}, ValueError, "batch_size must be .*, got 2.5"),
        ({"accumulate": -1}, ValueError, "accumulate must be .*, got -1"),
        (
            {"loss": "entropy"},
            ValueError,
            "loss must be a function or one of cross_entropy, nll_loss.*'entropy'",
        ),
        ({"loss": 3}, TypeError, "loss must be a function or a name, got int"),
        ({"model": 3}, TypeError, "model must be a layer of fastnn.nn, got int"),
        ({"optimizer": "adam"}, TypeError, "optimizer must be one of fastnn.optim, .*, got 'adam'"),
        (
            {"optimizer": optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)},
            ValueError,
            "optimizer must have parameters of the model, got none",
        ),
        ({"scheduler": 3}, TypeError, "scheduler must be one of fastnn.optim.lr_scheduler, got 3"),
        (
            {"callbacks": train.Callback()},
            TypeError,
            "callbacks must be a list of fastnn.train.Callback, got <.*>",
        ),
        ({"callbacks": [3]}, TypeError, r"callbacks must be a list .*, got \[3\]"),
        (
            {"metrics": "accuracy"},
            TypeError,
            r"metrics must be a list, as \['accuracy'\], or a dict by name, got 'accuracy'",
        ),
        (
            {"metrics": ["f2"]},
            ValueError,
            r"metrics must be functions, .* or names \(accuracy, .*\), got 'f2'",
        ),
        (
            {"metrics": ["accuracy"] * 2},
            ValueError,
            r"metrics must have distinct names \(a dict gives them\), got 'accuracy' twice",
        ),
        ({"model": nn.ReLU}, TypeError, "model must be a layer of fastnn.nn, got the class ReLU"),
        ({"loss": nn.MSELoss}, TypeError, r"loss must be .*, as MSELoss\(\), got the class MSELoss"),
        ({"optimizer": optim.Adam}, TypeError, r"as optim.Adam\(model.parameters\(\)\), got the class Adam"),
        (
            {"scheduler": optim.lr_scheduler.StepLR},
            TypeError,
            "scheduler must be one of fastnn.optim.lr_scheduler, got the class StepLR",
        ),
        ({"callbacks": [train.Callback]}, TypeError, "callbacks must be a list .*, got the class Callback"),
        (
            {"metrics": [nn.MSELoss]},
            TypeError,
            "metrics must be functions, objects or names, got the class MSELoss",
        ),
        ({"schedule_per": "batch"}, ValueError, "schedule_per must be 'epoch' or 'step', got 'batch'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    usual: dict[str, Any] = {"model": network(), "data": DATA}
    with pytest.raises(error, match=message):
        train.fit(**(usual | arguments))


def test_nobody_needs_the_gradient_for_the_data() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
    given: list[object] = []
    model[0].register_full_backward_hook(lambda module, dy, dx: given.append(dx))
    x = np.random.default_rng(0).standard_normal((40, 4), np.float32)
    train.fit(model, (x, np.arange(40) % 3), epochs=1)
    assert given
    assert all(dx is None for dx in given)
    model(x)
    assert model.backward(np.ones((40, 3), np.float32)).shape == x.shape


def test_accuracy_of_labels_and_of_probabilities() -> None:
    output = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    labels = np.array([1, 0, 0, 1])
    assert accuracy(output, labels) == accuracy(output, np.eye(2)[labels]) == 0.5
    pixels = output.T.reshape(1, 2, 4)
    assert accuracy(pixels, labels[None]) == accuracy(pixels, np.eye(2)[labels].T[None]) == 0.5
    for bad in (output[:, 1], output[:, :1]):
        with pytest.raises(
            ValueError, match=r"accuracy: output must have shape \(N, C\) .*; for one logit each"
        ):
            accuracy(bad, labels)
    with pytest.raises(ValueError, match=r"accuracy: target must have shape \(4,\), of labels, or \(4, 2\)"):
        accuracy(output, labels[:, None])


def test_targets_of_other_dtypes_train_as_their_own() -> None:
    x, y = DATA
    floats = ("float32", "float64")
    for loss, dtypes in (
        ("cross_entropy", floats),
        ("binary_cross_entropy_with_logits", (*floats, "int64", "bool")),
    ):
        first, *others = (
            train.fit(network(), (x, np.eye(2)[y].astype(dtype)), loss=loss, epochs=1)[-1] for dtype in dtypes
        )
        assert ("accuracy" in first) == (loss == "cross_entropy")
        for other in others:
            assert other["loss"] == first["loss"]
    with pytest.raises(ValueError, match=r"target must have the shape of input, .*; target.reshape\(-1, 1\)"):
        train.fit(nn.Linear(x.shape[1], 1), (x, np.float64(y)), loss="mse_loss", epochs=1)


# ---- statistics of layers, and the first layer -------------------------------------------------------------


def test_statistics_measure_the_layers_and_change_nothing(tmp_path: Path) -> None:
    def trained(*callbacks: train.Callback) -> tuple[nn.Sequential, list[train.Record]]:
        fastnn.manual_seed(0)
        first = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5)
        model = nn.Sequential(*first, nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 3))
        model[1].bias.data[:2] = -50  # two dead units
        model[4].weight.data *= 300  # units that are saturated
        history = train.fit(model, DATA, validation=DATA, epochs=2, batch_size=25, callbacks=callbacks)
        return model, [
            {key: value for key, value in record.items() if key != "seconds"} for record in history
        ]

    statistics = train.Statistics(every=3, path=tmp_path / "layers.jsonl")
    plain, measured = trained(), trained(statistics)
    assert plain[1] == measured[1]
    for name, array in plain[0].state_dict().items():
        assert np.array_equal(array, measured[0].state_dict()[name]), name
    assert not any(has_hooks(module) for module in measured[0].modules())
    steps = [record["step"] for record in statistics.records]
    assert steps == list(range(1, measured[1][-1]["step"] + 1, 3))
    first = {layer["layer"]: layer for layer in statistics.records[0]["layers"]}
    assert [layer["kind"] for layer in first.values()] == [type(layer).__name__ for layer in plain[0]]
    assert first["2"]["dead"] == 0.25
    assert first["5"]["saturated"] > 0.5
    assert first["0"]["saturated"] is first["0"]["dead"] is None
    assert sum(first["0"]["activations"]["histogram"]) == 25 * 8
    assert sum(first["6"]["gradients"]["histogram"]) == 25 * 3
    lines = [json.loads(line) for line in (tmp_path / "layers.jsonl").read_text().splitlines()]
    assert lines == [{"event": "step", **record} for record in statistics.records]
    with pytest.raises(ValueError, match="every must be a whole number of at least 1, got 0"):
        train.Statistics(every=0)


def test_the_numbers_of_statistics_are_numpys() -> None:
    x, y = DATA
    model = nn.Sequential(nn.Linear(4, 3))
    before = model[0].weight.data.copy()
    output = model(x)
    gradient = F.cross_entropy(output, y)[1]
    statistics, optimizer = train.Statistics(), optim.SGD(model.parameters(), lr=0.5)
    train.fit(model, DATA, epochs=1, batch_size=len(x), optimizer=optimizer, callbacks=[statistics])
    (record,) = statistics.records
    (layer,) = record["layers"]
    for array, found in ((output, layer["activations"]), (gradient, layer["gradients"])):
        assert found["mean"] == pytest.approx(float(array.mean()), abs=1e-6)
        assert found["std"] == pytest.approx(float(array.std()), rel=1e-5)
        low, high = float(array.min()), float(array.max())
        assert (found["min"], found["max"]) == (pytest.approx(low), pytest.approx(high))
        assert np.abs(np.subtract(found["histogram"], np.histogram(array, 30, (low, high))[0])).sum() <= 4
    ratio = np.linalg.norm(model[0].weight.data - before) / np.linalg.norm(before)
    assert layer["update_ratios"]["weight"] == record["update_ratio"] == pytest.approx(ratio, rel=1e-5)


def test_curves_have_the_update_ratio(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    statistics = train.Statistics(every=1)
    callbacks = [statistics, train.Curves(tmp_path / "curves.png")]
    history = train.fit(network(), DATA, epochs=2, batch_size=25, callbacks=callbacks)
    by_step = {record["step"]: record["update_ratio"] for record in statistics.records}
    assert [record["update_ratio"] for record in history] == [by_step[record["step"]] for record in history]


def test_the_first_layer_as_images(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    given: dict[str, Any]
    for layer, given, shape in (
        (nn.Linear(16, 5), {}, (2 * 5 - 1, 3 * 5 - 1)),
        (nn.Linear(12, 4), {"image_shape": (3, 2, 2)}, (5, 5, 3)),
        (nn.Conv2d(3, 4, 5), {}, (11, 11, 3)),
        (nn.Conv2d(2, 100, 3), {}, (31, 31)),
    ):
        figure = train.first_layer(nn.Sequential(nn.ReLU(), layer), tmp_path / "first.png", **given)
        assert figure.axes[0].get_images()[0].get_array().shape == shape
    assert [path.name for path in tmp_path.iterdir()] == ["first.png"]
    wrong: list[tuple[nn.Module, dict[str, Any], str]] = [
        (nn.ReLU(), {}, "model must have a weight of two or more dimensions to draw, got none"),
        (nn.Linear(12, 4), {}, r"image_shape must be .* of weight's 12 features, got None"),
        (nn.Conv2d(1, 4, 3), {"image_shape": (3, 3)}, "image_shape must be None for weight of shape"),
    ]
    for model, given, message in wrong:
        with pytest.raises(ValueError, match=message):
            train.first_layer(model, **given)
