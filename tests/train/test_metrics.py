"""Metrics against scikit-learn: of whole data sets, with classes that do not occur; by name, and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import metrics, nn, train
from fastnn._core.typing import Array
from fastnn.metrics import by_name, mode_of
from support.cases import each

sklearn: Any = pytest.importorskip("sklearn.metrics")
RNG = np.random.default_rng(3)

TRUE = RNG.integers(0, 5, 300)
LOGITS = RNG.standard_normal((300, 6)).round(1) + np.eye(6)[TRUE]  # class 5 is never true; ties
LOGITS[:, 4] = -9.0  # class 4 is never predicted
KINDS = each("kind", ["precision", "recall", "f1"])


def in_batches(metric: Any, output: Array, target: Array) -> float:
    """The value of a metric that sees the data in parts, and is saved and restored between them."""
    for rows in np.split(np.arange(len(output)), [7, 8, 100]):
        again = type(metric)() if not isinstance(metric, metrics.TopKAccuracy) else metric
        again.load_state_dict(metric.state_dict())
        metric = again
        metric.update(output[rows], target[rows])
    value: float = metric.compute()
    return value


@KINDS
@each("average", ["macro", "micro", "weighted"])
@each("zero_division", [0, 1])
def test_classes_as_scikit_learn(kind: str, average: str, zero_division: int) -> None:
    theirs, ours = getattr(sklearn, f"{kind}_score"), getattr(metrics, f"{kind}_score")
    predicted = LOGITS.argmax(axis=1)
    options = {"average": average, "zero_division": zero_division}
    expected = theirs(TRUE, predicted, **options)
    assert ours(TRUE, predicted, **options) == pytest.approx(expected, rel=1e-14)
    names = np.array(["ant", "bee", "cat", "dog", "eel", "fox"])
    assert ours(names[TRUE], names[predicted], **options) == pytest.approx(expected, rel=1e-14)
    cls = {"precision": metrics.Precision, "recall": metrics.Recall, "f1": metrics.F1}[kind]
    metric = cls(average, zero_division=zero_division)
    assert in_batches(metric, LOGITS, TRUE) == pytest.approx(expected, rel=1e-14)
    assert in_batches(cls(average, zero_division=zero_division), LOGITS, np.eye(6)[TRUE]) == pytest.approx(
        expected
    )


@KINDS
def test_two_classes_as_scikit_learn(kind: str) -> None:
    theirs, ours = getattr(sklearn, f"{kind}_score"), getattr(metrics, f"{kind}_score")
    for true in (TRUE % 2, np.zeros(300, int), np.ones(300, int)):
        for predicted in (RNG.integers(0, 2, 300), np.zeros(300, int), np.ones(300, int)):
            for zero_division in (0, 1):
                expected = theirs(true, predicted, zero_division=zero_division)
                assert ours(true, predicted, zero_division=zero_division) == pytest.approx(
                    expected, rel=1e-14
                )
            expected = theirs(true, predicted, zero_division=0)
            logits = np.where(predicted, 0.3, -0.3)
            for output in (logits, logits[:, None], np.stack([-logits, logits], axis=1)):
                assert in_batches(by_name(kind), output, true) == pytest.approx(expected, rel=1e-14)
    probability = np.where(TRUE % 2, 0.7, 0.4)
    found = metrics.F1(threshold=0.5)
    found.update(probability, (TRUE % 2).astype(float))
    assert found.compute() == 1
    assert ours(["no", "yes"], ["yes", "yes"], pos_label="yes") == theirs(
        ["no", "yes"], ["yes", "yes"], pos_label="yes"
    )


def test_the_first_k_as_scikit_learn() -> None:
    labels = np.arange(6)
    for scores in (LOGITS, np.zeros((300, 6)), LOGITS.astype(np.float32)):
        for k in (1, 2, 5):
            expected = sklearn.top_k_accuracy_score(TRUE, scores, k=k, labels=labels)
            assert metrics.top_k_accuracy_score(TRUE, scores, k=k) == expected
            assert in_batches(metrics.TopKAccuracy(k), scores, TRUE) == expected
    broken = metrics.TopKAccuracy(6)
    broken.update(np.array([[np.nan, 1.0], [0.0, 1.0]]), np.array([0, 0]))
    assert broken.compute() == 0.5


def test_numbers_as_scikit_learn() -> None:
    y, noise = RNG.standard_normal((2, 300, 3)) + 1e4
    for true, predicted in (
        (y, noise),
        (y, y),
        (y[:, 0], noise[:, 0]),
        (np.ones(300), np.ones(300)),
        (np.ones(300), y[:, 0]),
    ):
        for theirs, ours, metric in (
            (sklearn.r2_score, metrics.r2_score, metrics.R2()),
            (sklearn.mean_absolute_error, metrics.mean_absolute_error, metrics.MeanAbsoluteError()),
        ):
            expected = theirs(true, predicted)
            assert ours(true, predicted) == pytest.approx(expected, rel=1e-9)
            assert in_batches(metric, predicted, true) == pytest.approx(expected, rel=1e-9)
    assert np.isnan(metrics.r2_score([1.0], [2.0]))


def test_probabilities_part_at_a_half() -> None:
    x = np.linspace(0.01, 0.99, 20, dtype=np.float32)[:, None]
    y, losses = (x > 0.5).astype(np.float32), ("binary_cross_entropy", F.binary_cross_entropy, nn.BCELoss())
    for loss in losses:
        assert train.evaluate(nn.Identity(), (x, y), loss=loss, metrics=["f1"])["f1"] == 1
    logits = train.evaluate(
        nn.Identity(), (x - 0.5, y), loss="binary_cross_entropy_with_logits", metrics=["f1"]
    )
    assert logits["f1"] == 1


def test_names() -> None:
    for name in metrics.NAMES:
        assert by_name(name).__name__ == name
    assert by_name("f1_weighted").average == "weighted"
    assert by_name("top12_accuracy").k == 12
    for name in ("f1_", "f3", "top0_accuracy", "precision_binary_", "r2_macro"):
        assert by_name(name) is None, name
    known = {
        "loss": "min",
        "val_mae": "min",
        "val_f1_macro": "max",
        "r2": "max",
        "top5_accuracy": "max",
        "lr": None,
    }
    assert {name: mode_of(name) for name in known} == known


def test_an_epoch_has_the_values_of_all_its_samples(tmp_path: Path) -> None:
    """Not the means of batches; and a run that goes on within an epoch has them, too."""
    x, y = LOGITS.astype(np.float32), TRUE
    names = ["accuracy", "f1", "recall_weighted", "top2_accuracy"]

    def model() -> nn.Module:
        fastnn.manual_seed(1)
        return nn.Sequential(nn.Linear(6, 6))

    def halt(step: int) -> train.Callback:
        class Halt(train.Callback):
            def on_step(self, trainer: train.Trainer) -> None:
                if trainer.step == step:
                    trainer.stop("a test")

        return Halt()

    options: dict[str, Any] = {"metrics": names, "validation": (x, y), "batch_size": 64}
    whole = model()
    history = train.fit(whole, (x, y), epochs=2, **options)
    predicted = whole(x).argmax(axis=1)
    assert history[-1]["val_f1"] == pytest.approx(
        sklearn.f1_score(y, predicted, average="macro", zero_division=0)
    )
    part = model()
    saver = train.Checkpoints(tmp_path, every_steps=1)
    train.fit(part, (x, y), epochs=2, checkpoints=saver, callbacks=[halt(7)], **options)
    again = train.fit(part, (x, y), epochs=2, checkpoints=saver, resume=True, callbacks=[halt(0)], **options)
    for ours, theirs in zip(history, again, strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}
    measured = train.evaluate(whole, (x, y), metrics=[*names, metrics.Precision("micro")])
    assert list(measured) == ["loss", *names, "precision_micro"]
    assert measured["f1"] == history[-1]["val_f1"]


@each(
    ("call", "error", "message"),
    [
        (lambda: metrics.f1_score([0, 1, 2], [0, 1, 1]), ValueError, "average must be another than 'binary'"),
        (lambda: metrics.f1_score([0, 1], [0]), ValueError, "y_pred must be labels, one for each"),
        (lambda: metrics.f1_score(["a", "b"], ["a", "b"]), ValueError, "pos_label must be one of"),
        (lambda: metrics.F1("mean"), ValueError, "average must be one of 'binary', 'macro'"),
        (lambda: metrics.F1(zero_division=2), ValueError, "zero_division must be 0 or 1, got 2"),
        (lambda: metrics.TopKAccuracy(0), ValueError, "k must be a whole number of at least 1, got 0"),
        (
            lambda: metrics.F1().update(LOGITS, TRUE[:9]),
            ValueError,
            "target must have a class for each output",
        ),
        (lambda: metrics.r2_score([1.0, 2.0], [1.0]), ValueError, "target must have output's shape"),
        (
            lambda: metrics.top_k_accuracy_score([7], [[0.0, 1.0]]),
            ValueError,
            "y_true must be classes from 0 to 1",
        ),
    ],
)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
