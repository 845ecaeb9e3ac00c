"""fastnn.check changes nothing, finds the faults that nets are made to have, and a healthy net has none."""

from __future__ import annotations

import copy
import json
import random
import re
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import nn, optim, train
from fastnn._check import data as data_part
from fastnn._check import layers as layers_part
from fastnn._check import overfit as overfit_part
from fastnn._check import rates as rates_part
from fastnn._check import run
from fastnn._check import subject as subject_module
from fastnn._check.gradients import check_gradients
from fastnn._check.initial_loss import check_loss_values
from fastnn._check.overfit import check_overfitting
from fastnn._check.rates import smoothed, suggest
from fastnn._check.report import Finding
from fastnn._check.subject import Subject, generators_kept
from fastnn._core.extras import way_to
from fastnn._core.typing import Array
from fastnn.optim.lr_scheduler import StepLR
from fastnn.random import default_generator
from support import interrupts
from support.cases import each
from support.pages import run_page

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 8)).astype(np.float32)
Y = ((X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)) % 3
IMAGES = np.maximum(RNG.standard_normal((40, 1, 6, 6)), 0).astype(np.float32)  # half of the pixels are 0


def subject(
    model: nn.Module, x: Any = X, y: Any = Y, *, loss: Any = "cross_entropy", **given: Any
) -> Subject:
    return run._subject(
        model,
        (x, y),
        loss,
        given.get("class_weight"),
        given.get("optimizer"),
        {"validation": given.get("validation"), "test": given.get("test")},
        given.get("regularization"),
        given.get("batch_size", 16),
    )


def mlp(act: Callable[[], nn.Module] = nn.ReLU, hidden: int = 1, outputs: int = 3) -> nn.Sequential:
    fastnn.manual_seed(0)
    sizes = [8, *[32] * hidden]
    inside = [layer for n, m in pairwise(sizes) for layer in (nn.Linear(n, m), act())]
    return nn.Sequential(*inside, nn.Linear(sizes[-1], outputs))


def with_weights(model: nn.Sequential, std: float) -> nn.Sequential:
    for p in model.parameters():
        p.data[...] = std * np.random.default_rng(1).standard_normal(p.shape) if p.ndim > 1 else 0
    return model


def bad(findings: list[Finding]) -> dict[str, str]:
    return {f.subject: f"{f.judgement}: {f.measured} -> {f.advice}" for f in findings if f.judgement != "ok"}


# ---- it changes nothing ------------------------------------------------------------------------------------


class Noisy(nn.Module):
    """A layer with a counter, a list and a generator of its own, that draws from the global ones as well.

    `events` is the test's, not the layer's: it sees the copies too.
    """

    def __init__(self, events: Callable[[], None]) -> None:
        self.calls, self.seen, self.rng = 0, list[float](), np.random.default_rng(3)
        self.scale = nn.Parameter(np.ones(16, np.float32))
        self.events = events

    def forward(self, x: Array) -> Array:
        self.events()
        self.calls += 1
        self.seen.append(float(x.mean()) + self.rng.random() + np.random.rand() + random.random())  # noqa: NPY002
        self._saved = x
        return x * self.scale.data

    def backward(self, dy: Array) -> Array:
        x = self._take_saved()
        self.scale.accumulate((dy * x).sum(axis=0))
        return dy * self.scale.data


class Setting:
    """A model in the middle of its training, and all that belongs to it."""

    def __init__(self, events: Callable[[], None] = lambda: None) -> None:
        fastnn.manual_seed(7)
        self.model = nn.Sequential(
            nn.Linear(8, 16),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Dropout(0.2),
            Noisy(events),
            nn.Dropout(0.1, generator=fastnn.Generator(5)),
            nn.Linear(16, 3),
        )
        groups = [{"params": self.model[0].parameters()}, {"params": self.model[6].parameters(), "lr": 0.1}]
        self.optimizer = optim.SGD(groups, lr=0.2, momentum=0.9, weight_decay=1e-3)
        self.scheduler = StepLR(self.optimizer, 100)
        train.fit(self.model, (X, Y), optimizer=self.optimizer, scheduler=self.scheduler, epochs=2)
        self.hooked = list[Any]()
        self.model[2].register_forward_hook(lambda *passed: self.hooked.append(passed))
        self.model[0].needs_input_grad = False
        self.model[3].frozen = True
        self.model.train()
        self.loss = nn.CrossEntropyLoss(np.array([1, 2, 1], np.float32))
        self.loss(self.model(X[:4]), Y[:4])
        self.model.backward(self.loss.backward())

    def state(self) -> dict[str, Any]:
        """Everything, with what objects are the same ones."""
        modules = [*self.model.modules(), self.loss]
        plain: dict[str, Any] = {"hooked": len(self.hooked)}
        for place, module in enumerate(modules):
            for name, value in vars(module).items():
                if isinstance(value, fastnn.Generator):
                    value = value.get_state()
                elif isinstance(value, np.random.Generator):
                    value = copy.deepcopy(value.bit_generator.state)
                elif isinstance(value, nn.Parameter):
                    value = (
                        id(value),
                        id(value.data),
                        id(value.grad),
                        value.data.tobytes(),
                        _bytes(value.grad),
                    )
                elif isinstance(value, np.ndarray):
                    value = (id(value), value.tobytes())
                elif name == "seen":
                    value = list(value)
                elif not isinstance(value, bool | int | float | str):
                    value = id(value)
                plain[f"{place}.{name}"] = value
        for parameter, state in self.optimizer.state.items():
            plain[f"state {id(parameter)}"] = {name: _bytes(value) for name, value in state.items()}
        plain["groups"] = [
            {name: value if name != "params" else list(map(id, value)) for name, value in group.items()}
            for group in self.optimizer.param_groups
        ]
        plain["scheduler"] = copy.deepcopy(self.scheduler.state_dict())
        plain["default"] = default_generator().get_state()
        plain["numpy"] = str(np.random.get_state())  # noqa: NPY002
        plain["python"] = random.getstate()
        plain["data"] = X.tobytes() + Y.tobytes()
        return plain

    def check(self) -> fastnn._check.Report:
        return fastnn.check(
            self.model,
            (X, Y),
            loss=self.loss,
            optimizer=self.optimizer,
            validation=(X[:9], Y[:9]),
            batch_size=16,
        )


def _bytes(value: Any) -> Any:
    return value.tobytes() if isinstance(value, np.ndarray) else value


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_pictures", lambda findings, tables: ({}, []))


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that do not ask what the steps find."""
    for part, name, steps in (
        (overfit_part, "STEPS", 40),
        (rates_part, "PER_DECADE", 5),
        (layers_part, "STEPS", 4),
    ):
        monkeypatch.setattr(part, name, steps)


@pytest.mark.usefixtures("without_pictures", "few_steps")
def test_it_leaves_everything_as_it_was_to_the_last_bit() -> None:
    setting = Setting()
    before = setting.state()
    report = setting.check()
    assert {name for name, *_ in report.by_part()} == {finding.part for finding in report.findings}
    assert setting.state() == before


@pytest.mark.usefixtures("without_pictures", "few_steps")
def test_it_does_so_where_a_part_raises_or_is_interrupted() -> None:
    """In each of the parts: the passes of a whole check are counted, and some of them are interrupted."""
    passes, limit, error = 0, 10**9, KeyboardInterrupt

    def count() -> None:
        nonlocal passes
        passes += 1
        if passes > limit:
            raise error

    setting = Setting(count)
    passes = 0
    setting.check()
    whole = passes
    for place, raised in enumerate([KeyboardInterrupt, ZeroDivisionError, KeyboardInterrupt, SystemExit]):
        limit, passes, error = 10**9, 0, raised  # type: ignore[assignment]
        before = setting.state()
        limit = whole * place // 4
        with pytest.raises(raised):
            setting.check()
        assert setting.state() == before, (place, raised)


def test_generators_are_put_back_wherever_ctrl_c_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "LIBRARY", subject_module.__file__)

    def draw() -> None:
        with generators_kept():
            default_generator().key()
            random.random()

    state = default_generator().get_state(), random.getstate()
    lines = interrupts.run(draw)
    for line in range(1, lines + 1):
        with pytest.raises(interrupts.Interrupt):
            interrupts.run(draw, line)
        assert (default_generator().get_state(), random.getstate()) == state, line


class Tied(nn.Module):
    """Two layers of one weight: the second one's is a view of the first one's, transposed."""

    def __init__(self) -> None:
        self.one, self.two, self.three = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.two.weight = self.one.weight
        self.three.weight.data = self.one.weight.data.T


def test_copies_keep_what_is_tied() -> None:
    tied = Tied()
    optimizer = optim.SGD(tied.parameters(), lr=0.1)
    copies = subject(tied, optimizer=optimizer).copies()
    model: Any = copies.model
    assert model.two.weight is model.one.weight is copies.optimizer.param_groups[0]["params"][0]
    assert not np.shares_memory(model.one.weight.data, tied.one.weight.data)
    model.one.weight.data[0, 1] = 5
    assert model.three.weight.data[1, 0] == 5
    assert tied.three.weight.data[1, 0] != 5


def test_what_cannot_be_copied_or_would_be_changed_is_named() -> None:
    model = mlp()
    model[1].stream = (number for number in [1])
    with pytest.raises(
        TypeError, match=r"layer '1' \(ReLU\) with stream, of which: cannot pickle 'generator'"
    ):
        subject(model).copies()
    model = mlp()

    def penalised(output: Array, target: Array) -> Any:
        return F.cross_entropy(output, target)[0] + float((model[0].weight.data ** 2).sum()), None

    with pytest.raises(ValueError, match=r"loss must be a function of output and target .* uses model"):
        fastnn.check(model, (X, Y), loss=penalised)
    with pytest.raises(ValueError, match="batch_size must be a whole number of at least 1, got 0"):
        fastnn.check(model, (X, Y), batch_size=0)
    with pytest.raises(TypeError, match="regularization must be a function of the model, got float"):
        fastnn.check(model, (X, Y), regularization=0.1)  # type: ignore[arg-type]
    with fastnn.inference(), pytest.raises(RuntimeError, match=r"outside fastnn\.inference"):
        fastnn.check(model, (X, Y))


# ---- 1: the initial loss -----------------------------------------------------------------------------------

ONE_HOT = np.eye(3, dtype=np.float32)[Y]
LOSSES: dict[str, tuple[Any, Any, float | None]] = {  # loss, targets, expected
    "labels": ("cross_entropy", Y, np.log(3)),
    "smoothed": (partial(F.cross_entropy, label_smoothing=0.1), Y, np.log(3)),
    "weighted": (nn.CrossEntropyLoss(np.array([1, 5, 2], np.float32)), Y, np.log(3)),
    "probabilities": (F.cross_entropy, ONE_HOT, np.log(3)),
    "hinge": (nn.HingeLoss(margin=2.0), Y, 4.0),
    "binary": ("binary_cross_entropy_with_logits", ONE_HOT, np.log(2)),
    "distance": ("mse_loss", ONE_HOT, float(ONE_HOT.var(axis=0).mean())),
}


@each("name", LOSSES)
def test_the_initial_loss_is_compared_with_knowing_nothing(name: str) -> None:
    loss, y, expected = LOSSES[name]
    model = mlp()
    first, *_ = check_loss_values(subject(model, y=y, loss=loss))
    assert first.judgement == "ok", first
    assert first.numbers["expected"] == pytest.approx(expected, rel=0.02)
    if name != "distance":
        for p in model[-1].parameters():
            p.data *= 40
        assert (
            "scores are too large"
            in bad(check_loss_values(subject(model, y=y, loss=loss)))["loss before training"]
        )


def test_probabilities_and_losses_of_ones_own() -> None:
    sigmoid = nn.Sequential(*mlp(), nn.Sigmoid())
    first, *_ = check_loss_values(subject(sigmoid, y=ONE_HOT, loss=nn.BCELoss()))
    assert (first.judgement, first.numbers["expected"]) == ("ok", pytest.approx(np.log(2)))
    logs = nn.Sequential(*mlp(), nn.LogSoftmax(dim=1))
    assert check_loss_values(subject(logs, loss="nll_loss"))[0].numbers["expected"] == pytest.approx(
        np.log(3)
    )
    first, *_ = check_loss_values(subject(mlp(), loss=lambda output, y: F.cross_entropy(output, y)))
    assert (first.judgement, first.numbers["expected"]) == ("ok", pytest.approx(np.log(3), rel=0.2))


def test_the_loss_goes_up_with_regularisation() -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1, weight_decay=0.01, l1=0.001)
    penalty = sum(
        0.005 * float((p.data**2).sum()) + 0.001 * float(np.abs(p.data).sum()) for p in model.parameters()
    )
    _, decay, given = check_loss_values(
        subject(model, optimizer=optimizer, regularization=lambda model: -1.0)
    )
    assert (decay.judgement, decay.numbers["penalty"]) == ("ok", pytest.approx(penalty, rel=1e-6))
    assert given.judgement == "failure"
    optimizer.param_groups[0]["weight_decay"] = 10.0
    assert "larger than the loss" in check_loss_values(subject(model, optimizer=optimizer))[1].advice


# ---- 2: gradients ------------------------------------------------------------------------------------------


class Scaled(nn.Module):
    """x times a weight for each feature; `wrong` says what backward does wrong."""

    def __init__(self, wrong: str = "") -> None:
        self.scale, self.wrong = nn.Parameter(np.full(32, 1.5, np.float32)), wrong

    def forward(self, x: Array) -> Array:
        self._saved = x
        return x * self.scale.data

    def backward(self, dy: Array) -> Array:
        x = self._take_saved()
        if self.wrong != "forgets the weight":
            self.scale.accumulate((dy * x).sum(axis=0) * (1 + 0.01 * (self.wrong == "weight")))
        return dy * self.scale.data * (1 + 0.01 * (self.wrong == "input"))


class Around(nn.Module):
    """A layer around others whose own part of backward is forgotten."""

    def __init__(self) -> None:
        self.inner = nn.Linear(32, 32)

    def forward(self, x: Array) -> Array:
        return self.inner(x) + x

    def backward(self, dy: Array) -> Array:
        return self.inner.backward(dy)


class Single(nn.Module):
    """A layer that computes in float32, whatever it is given."""

    def forward(self, x: Array) -> Array:
        y: Array = np.tanh(x.astype(np.float32))
        self._saved = y
        return y

    def backward(self, dy: Array) -> Array:
        y: Array = self._take_saved()
        slope: Array = 1 - y**2
        return dy * slope


CUSTOM: dict[str, tuple[nn.Module, str]] = {  # a layer, and what is said of it
    "right": (Scaled(), ""),
    "wrong for the input": (Scaled("input"), "gradient for input has a relative error of 0.00"),
    "wrong for the weight": (Scaled("weight"), "gradient for scale has a relative error of 0.00"),
    "none for the weight": (Scaled("forgets the weight"), "gradient for scale has a relative error of 1"),
    "forgets itself": (Around(), "gradient for input has a relative error of"),
}


@each("name", CUSTOM)
def test_a_wrong_backward_is_found_and_named(name: str) -> None:
    layer, told = CUSTOM[name]
    fastnn.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), layer, nn.Dropout(0.3), nn.ReLU(), nn.Linear(32, 3))
    found = bad(check_gradients(subject(model))[0])
    assert list(found) == ([f"layer '1' ({type(layer).__name__})"] if told else []), found
    assert told in "".join(found.values())


def test_kinks_and_dropout_give_no_false_alarm() -> None:
    """Inputs of 0 and biases of 0 put ReLUs and maxima exactly at their kinks."""
    fastnn.manual_seed(0)
    convolution, last = nn.Conv2d(1, 4, 3), nn.Linear(16, 3)
    for p in (convolution.bias, last.bias):
        assert p is not None
        p.data[...] = 0
    inside = [
        nn.ReLU(),
        nn.Dropout2d(0.2),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(4),
        nn.Hardtanh(),
        nn.Flatten(),
        last,
    ]
    model = nn.Sequential(nn.MaxPool2d(1), nn.ReLU(), convolution, *inside)
    findings, rows = check_gradients(subject(model, IMAGES, Y[:40]))
    assert not bad(findings)
    assert [row["kind"] for row in rows] == [type(layer).__name__ for layer in model]


def test_a_wrong_loss_is_named_and_layers_of_float32_are_compared_less_closely() -> None:
    def twice(output: Array, target: Array) -> Any:
        loss, gradient = F.cross_entropy(output, target)
        return loss, 2 * gradient

    assert "relative error of 0.5" in bad(check_gradients(subject(mlp(), loss=twice))[0])["the loss"]
    model = nn.Sequential(nn.Linear(8, 32), Single())
    assert check_gradients(subject(model))[1][1]["relative error"] < 1e-5


# ---- 3: some samples are learnt by heart -------------------------------------------------------------------


def test_overfitting_without_dropout_and_penalties() -> None:
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Dropout(0.9), nn.Linear(32, 3))
    optimizer = optim.SGD(model.parameters(), lr=0.5, momentum=0.9, weight_decay=1.0, max_norm=0.1)
    (found,), (row,) = check_overfitting(subject(model, optimizer=optimizer))
    assert (found.judgement, row["optimizer"]) == ("ok", "SGD, lr 0.5")
    assert row["loss"] < 0.03
    smoothed = partial(F.cross_entropy, label_smoothing=0.2)  # whose lowest value is 0.7
    (found,), _ = check_overfitting(subject(model, optimizer=optimizer, loss=smoothed))
    assert found.judgement == "ok", found


def test_what_was_tried_is_told_where_nothing_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overfit_part, "STEPS", 150)
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=1e-7)
    (found,), rows = check_overfitting(subject(model, X[:12], Y[:12], optimizer=optimizer))
    assert [row["optimizer"] for row in rows][:2] == ["SGD, lr 1e-07", "Adam, lr 0.001"]
    assert found.judgement == "warning"
    assert "12 samples" in found.subject
    model[0].bias.data[...] = -50.0  # all ReLUs are dead
    (found,), rows = check_overfitting(subject(model))
    assert (found.judgement, len(rows)) == ("failure", 3)
    assert "tried Adam, lr 0.001" in found.measured


# ---- 4: the learning rate ----------------------------------------------------------------------------------

RATES = np.geomspace(1e-7, 10, 161)


def curve(fall: float = 1e-3, ends: float = 0.3, noise: float = 0.02, seed: int = 0) -> Array:
    """A loss of 2.3 that falls around a rate, and diverges at another."""
    log = np.log10(RATES)
    losses: Array = 2.3 - 1.8 / (1 + np.exp(-5 * (log - np.log10(fall)))) + np.exp(6 * (log - np.log10(ends)))
    return losses + noise * np.random.default_rng(seed).standard_normal(len(losses))


def spiked(losses: Array, *places: int, size: float = 8.0) -> Array:
    losses = losses.copy()
    losses[list(places)] += size
    return losses


CURVES = {
    "clean": curve(noise=0),
    "noisy": curve(noise=0.15),
    "early spikes": spiked(curve(), 5, 6, 20, 40),
    "a wide spike": spiked(curve(), *range(15, 24), size=3.0),
    "a dip": spiked(curve(), 30, size=-2.0),
    "late spikes": spiked(curve(), 100, 104, size=5.0),
    "infinite at the end": np.where(RATES > 0.6, np.inf, curve()),
    "NaN at the end": np.where(RATES > 0.6, np.nan, curve()),
}


@each("name", CURVES)
def test_the_suggestion_is_the_steepest_stable_descent(name: str) -> None:
    found = suggest(RATES, CURVES[name])
    assert not isinstance(found, str), found
    assert 4e-4 < found.lr < 2.5e-3
    assert 1e-4 < found.low < 1e-3 < found.high < 0.3
    assert found.diverged is not None
    assert 0.1 < found.diverged < 2


def test_spikes_of_two_steps_leave_no_trace() -> None:
    flat = np.full(20, 2.0)
    np.testing.assert_allclose(smoothed(spiked(flat, 9, 10, size=1e6)), flat)


def test_curves_that_say_nothing_and_one_that_never_diverges() -> None:
    found = suggest(RATES, curve(ends=1e9))
    assert not isinstance(found, str)
    assert found.diverged is None
    assert 4e-4 < found.lr < 2.5e-3
    assert found.high == RATES[-1]
    for seed in range(20):
        flat = 2.3 + 0.1 * np.random.default_rng(seed).standard_normal(161)
        assert suggest(RATES, flat) == "no rate lowers the loss"
        assert suggest(RATES, spiked(flat, 3, 4, 60)) == "no rate lowers the loss"
    for losses in ([2.3, 2.4, np.nan], [2.3, np.inf], [np.nan]):
        assert suggest(RATES[: len(losses)], losses) == "the loss diverges from the lowest rate on"
    assert suggest(RATES, 2.3 * np.exp(np.arange(161.0))) == "the loss diverges from the lowest rate on"


# ---- 5: layers ---------------------------------------------------------------------------------------------


def sgd(model: nn.Module, lr: float) -> optim.Optimizer:
    return optim.SGD(model.parameters(), lr=lr)


def dead(model: nn.Sequential, units: int) -> nn.Sequential:
    model[0].bias.data[:units] = -50.0
    return model


FAULTS: dict[str, tuple[Callable[[], nn.Sequential], float, str, str]] = {  # model, lr, subject, advice
    "small, tanh": (
        lambda: with_weights(mlp(nn.Tanh, 4), 0.01),
        0.1,
        "activations at",
        "initialisation too small",
    ),
    "small, ReLU": (
        lambda: with_weights(mlp(nn.ReLU, 3), 1e-3),
        0.1,
        "activations at",
        "initialisation too small",
    ),
    "large, tanh": (
        lambda: with_weights(mlp(nn.Tanh, 2), 2.0),
        1e-3,
        "saturated",
        "initialisation or inputs too large",
    ),
    "large, sigmoid": (lambda: with_weights(mlp(nn.Sigmoid, 2), 4.0), 1e-3, "saturated", "too large"),
    "large, hard": (lambda: with_weights(mlp(nn.Hardtanh, 2), 2.0), 1e-3, "saturated", "too large"),
    "large, ReLU": (
        lambda: with_weights(mlp(nn.ReLU, 3), 2.0),
        1e-4,
        "activations at",
        "initialisation too large",
    ),
    "vanishing": (lambda: mlp(nn.Sigmoid, 8), 0.1, "gradients at", "gradients vanish"),
    "rate too high": (lambda: mlp(), 30.0, "updates of", "learning rate too high"),
    "rate too low": (lambda: mlp(), 1e-7, "updates of", "learning rate too low"),
    "some dead": (lambda: dead(mlp(), 12), 0.1, "dead units of '1' (ReLU)", "dead ReLUs"),
    "all dead": (lambda: dead(mlp(), 32), 0.1, "dead units of '1' (ReLU)", "dead ReLUs"),
    "killed": (
        lambda: mlp(hidden=2),
        5.0,
        "dead units of",
        "learning rate too high: the first steps make units die",
    ),
}


@each("name", FAULTS)
def test_each_fault_of_layers_is_recognised(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers_part, "STEPS", 8)
    make, lr, where, told = FAULTS[name]
    model = make()
    findings = bad(layers_part.check_layers(subject(model, optimizer=sgd(model, lr)))[0])
    assert any(key.startswith(where) and told in text for key, text in findings.items()), findings


def healthy() -> dict[str, nn.Sequential]:
    kaiming = mlp(hidden=4)
    for p in kaiming.parameters():
        if p.ndim > 1:
            fastnn.init.kaiming_normal_(p, nonlinearity="relu")
    norm = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 3))
    return {
        "ReLU": mlp(),
        "tanh": mlp(nn.Tanh, 2),
        "kaiming": kaiming,
        "norm and dropout": norm,
    }


@pytest.mark.usefixtures("without_pictures")
def test_a_healthy_net_has_no_warning() -> None:
    for name, model in healthy().items():
        report = fastnn.check(model, (X, Y), optimizer=optim.Adam(model.parameters(), lr=1e-3), batch_size=16)
        assert not bad(list(report.findings)), name


def test_one_sample_in_a_batch_and_a_rule_with_a_large_first_step_are_no_fault() -> None:
    for rule, lr, batch_size in ((optim.SGD, 0.05, 1), (optim.RMSprop, 0.01, 16)):
        model = mlp()
        looked_at = subject(model, optimizer=rule(model.parameters(), lr=lr), batch_size=batch_size)
        assert not bad(layers_part.check_layers(looked_at)[0]), rule


def test_dead_units_are_those_of_the_whole_data_and_layers_are_not_fused_away() -> None:
    model = mlp()
    model[0].weight.data[:3] = 0
    model[0].bias.data[:3] = -1  # three units that never fire
    model[0].weight.data[3] = 0
    model[0].weight.data[3, 0] = 1
    model[0].bias.data[3] = (
        -(np.sort(X[:, 0])[-2] + np.sort(X[:, 0])[-1]) / 2
    )  # one that fires for one sample
    assert layers_part.dead_units(model, subject(model)) == {"1": pytest.approx(3 / 32)}


# ---- 6: data -----------------------------------------------------------------------------------------------


def changed(array: Array, change: Callable[[Array], object]) -> Array:
    array = array.copy()
    change(array)
    return array


NAN = changed(X, lambda x: x.__setitem__((3, 2), np.nan))
TWICE = changed(X, lambda x: x.__setitem__(slice(0, 5), X[5:10]))
DATA: dict[str, tuple[Any, Any, dict[str, Any], str, str]] = {  # x, y, more arguments, subject, what is told
    "NaN": (NAN, Y, {}, "training data", "failure: NaN or infinities in 1 of 120 rows, the first at x[3, 2]"),
    "NaN held out": (X, Y, {"test": (NAN, Y)}, "test data", "failure: NaN"),
    "not centred": (X + 3, Y, {}, "scale of the inputs", "warning: .* not centred"),
    "wide": (X * 300, Y, {}, "scale of the inputs", "far from 1"),
    "scales": (
        X * np.array([1e4, *[1] * 7], np.float32) / 1e3,
        Y,
        {},
        "scale of the inputs",
        "different scales",
    ),
    "all constant": (X * 0 + 1, Y, {}, "constant features of the inputs", "failure"),
    "half constant": (
        X * np.array([1, 1, 1, *[0] * 5], np.float32),
        Y,
        {},
        "constant features of the inputs",
        "warning",
    ),
    "from 1": (X, Y + 1, {}, "labels, training", "failure: 1 to 3, of 3 outputs"),
    "held out": (X, Y, {"validation": (X, Y + 5)}, "labels, validation", "failure: 5 to 7"),
    "unused": (X, np.minimum(Y, 1), {}, "class balance", "no samples of class 2"),
    "rare": (X, np.where(np.arange(120) < 4, 2, Y % 2), {}, "class balance", "unbalanced"),
    "duplicates": (X, Y, {"test": (TWICE[:50], Y[:50])}, "duplicates, test", "failure: 50 of 50"),
    "targets": (X, 500 + 20 * X[:, :3], {"loss": "mse_loss"}, "targets", "standardise the targets"),
    "binary": (X, 2 * ONE_HOT, {"loss": "binary_cross_entropy_with_logits"}, "targets", "failure: 0 to 2"),
    "probabilities": (X, 2 * ONE_HOT, {}, "labels", "failure: rows of probabilities"),
}


@each("name", DATA)
def test_faults_of_data(name: str) -> None:
    x, y, given, where, told = DATA[name]
    findings = bad(data_part.check_data(subject(mlp(), x, y, **given))[0])
    assert re.search(told.replace("[", r"\["), findings[where]), findings


def test_borders_of_images_are_a_note_and_good_data_have_no_warning() -> None:
    framed = IMAGES - IMAGES.mean()
    framed[:, :, 0] = 0
    findings, _ = data_part.check_data(subject(mlp(), framed, Y[:40], loss=lambda output, y: (0.0, output)))
    (constant,) = (f for f in findings if f.subject.startswith("constant"))
    assert (constant.judgement, constant.numbers["constant"]) == ("ok", 6)
    assert "pixels at the borders" in constant.advice
    findings, usable = data_part.check_data(subject(mlp(), test=(-X, Y)))
    assert usable
    assert not bad(findings)


@pytest.mark.usefixtures("without_pictures")
def test_data_that_cannot_be_trained_with_end_the_check() -> None:
    report = fastnn.check(mlp(), (NAN, Y))
    assert {finding.part for finding in report.findings} == {"data"}
    assert len(report.failures) == 1


# ---- what it takes, and the report -------------------------------------------------------------------------


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        self.one, self.two = nn.Linear(8, 3), nn.Linear(2, 3)

    def forward(self, x: Array, z: Array) -> tuple[Array, Array]:
        return self.one(x), self.two(z)

    def backward(self, dy: tuple[Array, Array]) -> tuple[Array, Array]:
        return self.one.backward(dy[0]), self.two.backward(dy[1])


def both(output: Any, target: Any) -> Any:
    pairs = [F.cross_entropy(one, y) for one, y in zip(output, target, strict=True)]
    return sum(loss for loss, _ in pairs), tuple(gradient for _, gradient in pairs)


@pytest.mark.usefixtures("without_pictures", "few_steps")
def test_several_inputs_and_outputs_few_samples_and_weights_of_classes() -> None:
    fastnn.manual_seed(0)
    adam = partial(optim.Adam, lr=0.01)
    two = TwoInputs()
    report = fastnn.check(two, ((X, X[:, :2]), (Y, Y)), loss=both, optimizer=adam(two.parameters()))
    assert not [
        f for f in report.failures if f.part != "overfit"
    ]  # two numbers do not tell three classes apart
    model = mlp()
    report = fastnn.check(model, (X[:5], Y[:5]), class_weight="balanced", optimizer=adam(model.parameters()))
    assert not [f for f in report.failures if f.part != "data"]


@pytest.mark.usefixtures("few_steps")
def test_the_report_has_the_same_records_in_all_forms(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    model = with_weights(mlp(), 3.0)
    report = fastnn.check(model, (X, Y), optimizer=sgd(model, 0.5), test=(X[:3], Y[:3]))
    report.save(tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"check.html", "check.md", "check.json"}
    page, text = ((tmp_path / "new" / f"check.{kind}").read_text() for kind in ("html", "md"))
    records = json.loads((tmp_path / "new" / "check.json").read_text())
    assert [f["subject"] for f in records["findings"]] == [f.subject for f in report.findings]
    assert len(report.failures) >= 2
    for f in report.findings:
        assert f"| {f.judgement} | {f.subject} | {f.measured} | {f.advice} |" in text
        assert all(
            form.replace("'", "&#x27;").replace(">", "&gt;") in page for form in (f.subject, f.measured)
        )
        assert str(f) in str(report)
    assert page.count("data:image/png;base64,") == len(report.pictures) == 3
    assert "http" not in page.replace("http-equiv", "")
    assert report.summary in page
    assert report.summary in text
    assert report._repr_html_() == report.to_html()


@pytest.mark.usefixtures("few_steps")
def test_without_matplotlib_the_report_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    model = mlp()
    report = fastnn.check(model, (X, Y), optimizer=optim.Adam(model.parameters(), lr=0.01))
    assert not report.pictures
    assert f"no pictures: matplotlib is not installed: {way_to('demo')}" in str(report)
    assert "no pictures" in report.to_markdown()


@pytest.mark.usefixtures("without_pictures")
def test_the_page_of_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("sklearn", "matplotlib"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    run_page("check.md")


@pytest.mark.usefixtures("without_pictures")
def test_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastnn import cli

    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", x=X, y=Y)
    options = ["--data", "data.npz", "--layers", "16", "--batch-size", "16"]
    assert cli.main(["check", *options, "--output", "out"]) == 0
    assert "no failures" in capsys.readouterr().out
    assert (tmp_path / "out" / "check.html").exists()
    assert cli.main(["check", *options, "--lr", "1000"]) == 1
    assert "learning rate too high" in capsys.readouterr().out
    assert (tmp_path / "runs" / "data" / "check.json").exists()
    assert cli.main(["check", *options, "--output", str(tmp_path / "data.npz")]) == 2
    assert "cannot make the folder" in capsys.readouterr().err
