"""Ensembles: means by the definition, in the place of one model, in one file; and what is refused."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn, train
from fastnn._core.typing import Array
from fastnn.ensemble import Ensemble
from fastnn.preprocessing import Standardize
from support.cases import each
from support.pages import run_page

X = np.random.default_rng(0).standard_normal((50, 6), np.float32)


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("sklearn", "safetensors"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    run_page("ensembles.md")


def nets(outputs: int = 3, count: int = 3, *last: nn.Module) -> list[nn.Sequential]:
    fastnn.manual_seed(0)
    made = [
        nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, outputs))
        for _ in range(count)
    ]
    return [nn.Sequential(*net, *copy.deepcopy(last)).eval() for net in made]


def probabilities(y: Array) -> Array:
    e = np.exp(y.astype(np.float64))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


@each("weights", [None, [3, 0, 1]])
def test_the_mean_by_its_definition(weights: Any) -> None:
    share = np.array(weights or [1, 1, 1]) / sum(weights or [1, 1, 1])
    models = nets()
    p = np.tensordot(share, [probabilities(model(X)) for model in models], 1)
    logits = Ensemble(models, weights)(X)
    np.testing.assert_allclose(logits, np.log(p), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(probabilities(logits), p, rtol=1e-5)
    assert logits.dtype == np.float32
    binary = nets(1)
    one = np.tensordot(share, [1 / (1 + np.exp(-model(X).astype(np.float64))) for model in binary], 1)
    expected = np.log(one / (1 - one))
    np.testing.assert_allclose(Ensemble(binary, weights, "sigmoid")(X), expected, rtol=1e-4, atol=1e-6)
    mean = np.tensordot(share, [model(X) for model in binary], 1)
    np.testing.assert_allclose(Ensemble(binary, weights, "outputs")(X), mean, rtol=1e-5, atol=1e-6)


def test_sure_models_have_finite_logits() -> None:
    sure = [nn.Linear(2, 2, bias=False) for _ in range(2)]
    for model in sure:
        model.weight.data[...] = [[0, 0], [500, 0]]
    x = np.array([[1, 0], [-1, 0]], np.float32)
    assert np.isfinite(Ensemble(sure)(x)).all()
    single = [nn.Linear(2, 1, bias=False) for _ in range(2)]
    for model in single:
        model.weight.data[...] = [[500, 0]]
    logits = Ensemble(single, average="sigmoid")(x)
    np.testing.assert_allclose(logits[:, 0], [87.3365, -87.3365], rtol=1e-5)


def test_it_stands_in_the_place_of_a_model(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    labels = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)
    models = nets()
    for model in models:
        train.fit(model, (X, labels), epochs=1)
    ensemble = Ensemble(models, [1, 2, 2])
    measured = train.evaluate(ensemble, (X, labels))
    p = probabilities(ensemble(X))
    assert measured["loss"] == pytest.approx(-np.log(p[np.arange(50), labels]).mean(), rel=1e-5)
    assert measured["accuracy"] == np.mean(p.argmax(axis=1) == labels)
    path = tmp_path / "ensemble.safetensors"
    scale = Standardize().fit(X + 3)
    fastnn.save(path, ensemble, preprocessing=scale, classes=["a", "b", "c"])
    found = fastnn.load(path)
    assert repr(found.model) == repr(ensemble)
    np.testing.assert_array_equal(found.model(X), ensemble(X))
    raw = scale.inverse_transform(X)
    np.testing.assert_allclose(found.predict_proba(raw), p, rtol=1e-4)
    with ThreadPoolExecutor(4) as pool:
        for other in pool.map(found.outputs, [raw] * 8):
            np.testing.assert_array_equal(other, found.outputs(raw))


def test_models_that_end_in_probabilities() -> None:
    models = nets(3, 2, nn.Softmax(1))
    ensemble = Ensemble(models, average="outputs")
    found = fastnn.Predictor(ensemble, classes=np.arange(3))
    np.testing.assert_allclose(found.predict_proba(X), (models[0](X) + models[1](X)) / 2, rtol=1e-6)


def test_nothing_is_kept_for_backward() -> None:
    models = nets()
    Ensemble(models)(X)
    with pytest.raises(RuntimeError, match=r"outside fastnn.inference\(\)"):
        models[0][-1].backward(np.ones((50, 3), np.float32))


@each(
    ("make", "error", "message"),
    [
        (lambda: Ensemble([]), ValueError, "models must be at least one model, got none"),
        (lambda: Ensemble(nets(3, 1)[0]), TypeError, "models must be a list of models, got one, Sequential"),
        (
            lambda: Ensemble([nn.ReLU]),  # type: ignore[list-item]
            TypeError,
            r"models\[0\] must be a layer of fastnn.nn, got type",
        ),
        (
            lambda: Ensemble([fastnn.Predictor(nn.ReLU())]),  # type: ignore[list-item]
            TypeError,
            r"models\[0\] must be a layer of fastnn.nn, got Predictor; give its .model",
        ),
        (lambda: Ensemble(nets(3, 1) * 2), ValueError, "must be different objects, got one at 0 and 1; copy"),
        (lambda: Ensemble(nets(), [1, 2]), ValueError, "weights must be one for each of 3 models, got 2"),
        (lambda: Ensemble(nets(), [1, -2, 3]), ValueError, r"at least 0, and not all 0, got \[1.0, -2.0, 3"),
        (lambda: Ensemble(nets(), [0, 0, 0]), ValueError, "and not all 0"),
        (lambda: Ensemble(nets(), [1e308, 1e308, 0]), ValueError, "weights must be finite, as their sum"),
        (lambda: Ensemble(nets(), [1, np.nan, 1]), ValueError, "weights must be finite"),
        (lambda: Ensemble(nets(), ["a", 1, 1]), TypeError, r"weights\[0\] must be"),  # type: ignore[list-item]
        (lambda: Ensemble(nets(), average="mean"), ValueError, "average must be one of 'softmax', 'sig"),
        (
            lambda: Ensemble(nets(3, 2, nn.Softmax(1))),
            ValueError,
            r"models\[0\] ends in Softmax, .* average must be 'outputs', got 'softmax'",
        ),
        (
            lambda: Ensemble(nets(1))(X),
            ValueError,
            r"with C at least 2, got \(50, 1\); average=",
        ),
        (
            lambda: Ensemble([*nets(3), *nets(4)])(X),
            ValueError,
            r"one shape and dtype, got \(50, 3\) float32 of models\[0\] and \(50, 4\) float32 of models\[3\]",
        ),
        (lambda: Ensemble(nets()).train()(X), ValueError, "must be in evaluation mode, as ensemble.eval"),
        (
            lambda: train.fit(Ensemble(nets()), (X, np.zeros(50, int))),
            ValueError,
            "to train, train each model by itself",
        ),
    ],
)
def test_what_is_no_ensemble(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
