"""Snapshots and averages of weights: what callbacks keep while a model trains, and after an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim, train
from fastnn._core.typing import Array
from fastnn.optim import lr_scheduler
from support.cases import each

X = np.random.default_rng(0).standard_normal((40, 4), np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


class EveryWeight(train.Callback):
    """Keeps the weights after each step or epoch."""

    def __init__(self, per: str) -> None:
        self.per, self.seen = per, list[dict[str, Array]]()

    def on_step_end(self, trainer: train.Trainer) -> None:
        self.seen += [trainer.model.state_dict()] * (self.per == "step")

    def on_epoch_end(self, trainer: train.Trainer) -> None:
        self.seen += [trainer.model.state_dict()] * (self.per == "epoch")


class Stop(train.Callback):
    """Ctrl-C after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, trainer: train.Trainer) -> None:
        if trainer.step == self.step:
            raise KeyboardInterrupt


def run(
    schedule: Any, *callbacks: train.Callback, per: str = "step", average: Any = None, **more: Any
) -> Any:
    """Five steps in each of four epochs; return the model."""
    fastnn.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, 2))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    made = [train.WeightAveraging(**average(model))] if average else []
    train.fit(
        model,
        (X, Y),
        optimizer=optimizer,
        scheduler=schedule(optimizer),
        schedule_per=per,
        epochs=4,
        batch_size=8,
        callbacks=[*callbacks, *made],
        **more,
    )
    return (model, made[0].average) if made else model


def restarts(optimizer: Any) -> Any:
    return lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3, 2)


def same(a: Any, b: Any) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


@each(
    ("schedule", "per", "ends"),
    [
        (restarts, "step", [3, 9]),
        (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2), "epoch", [2, 4]),
        (lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 3, 2), "step", [5, 10, 15, 20]),
    ],
)
def test_snapshots_are_of_the_ends_of_cycles(schedule: Any, per: str, ends: list[int]) -> None:
    seen, snapshots, last = EveryWeight(per), train.Snapshots(), train.Snapshots(keep=1)
    run(schedule, snapshots, last, seen, per=per)
    assert len(snapshots.weights) == len(ends)
    for weights, end in zip(snapshots.weights, ends, strict=True):
        same(weights, seen.seen[end - 1])
    same(last.weights[0], snapshots.weights[-1])
    assert len(last.weights) == 1
    ensemble = snapshots.ensemble()
    for model, weights in zip(ensemble.models, snapshots.weights, strict=True):
        same(model.state_dict(), weights)
    assert ensemble(X).shape == (40, 2)


def test_snapshots_and_averages_go_on_after_an_interruption(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")

    def average(model: Any) -> Any:
        return {"average": optim.StochasticWeightAverage(model.parameters()), "start_epoch": 2}

    whole, again = train.Snapshots(), train.Snapshots()
    model, swa = run(restarts, whole, average=average)
    saver = train.Checkpoints(tmp_path, every_steps=1)
    with pytest.raises(KeyboardInterrupt):
        run(restarts, train.Snapshots(), Stop(13), average=average, checkpoints=saver)
    resumed, other = run(restarts, again, average=average, checkpoints=saver, resume=True)
    same(model.state_dict(), resumed.state_dict())
    for a, b in zip([*whole.weights, swa.state_dict()], [*again.weights, other.state_dict()], strict=True):
        if "averages" in a:
            assert a["updates"] == b.pop("updates") == a.pop("updates") == 3
            a, b = dict(enumerate(a["averages"])), dict(enumerate(b["averages"]))
        same(a, b)


@each(("per", "start", "first"), [("epoch", 2, 1), ("step", 3, 10)])
def test_the_average_is_of_what_was_seen_from_an_epoch_on(per: str, start: int, first: int) -> None:
    seen = EveryWeight(per)

    def average(model: Any) -> Any:
        return {
            "average": optim.StochasticWeightAverage(model.parameters()),
            "start_epoch": start,
            "per": per,
        }

    model, found = run(lambda o: lr_scheduler.StepLR(o, 50), seen, average=average)
    for (name, _), value in zip(model.named_parameters(), found.averages, strict=True):
        mean = np.mean([weights[name] for weights in seen.seen[first:]], axis=0)
        np.testing.assert_allclose(value, mean, rtol=1e-5, atol=1e-7)


@each(
    ("make", "error", "message"),
    [
        (lambda: train.Snapshots(2.5), ValueError, r"keep must be a whole number of at least 1, got 2\.5"),  # type: ignore[arg-type]
        (lambda: train.Snapshots().ensemble(), RuntimeError, "no cycle of the schedule has come to its end"),
        (
            lambda: run(lambda o: lr_scheduler.StepLR(o, 2), train.Snapshots()),
            ValueError,
            "scheduler must have cycles for Snapshots, .* got StepLR",
        ),
        (lambda: run(lambda o: None, train.Snapshots()), ValueError, "must have cycles .* got none"),
        (lambda: train.WeightAveraging(nn.ReLU()), TypeError, "average must be an average of fastnn.optim"),  # type: ignore[arg-type]
        (
            lambda: train.WeightAveraging(optim.StochasticWeightAverage([]), 0),
            ValueError,
            "start_epoch must be a whole number of at least 1, got 0",
        ),
        (
            lambda: train.WeightAveraging(optim.StochasticWeightAverage([]), per="batch"),
            ValueError,
            "per must be 'epoch' or 'step', got 'batch'",
        ),
    ],
)
def test_wrong_arguments_are_named(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
