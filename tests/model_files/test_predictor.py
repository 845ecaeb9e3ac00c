"""Predictor: raw samples of every form give what the model gives for prepared ones."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import nn, optim, train
from fastnn._core.typing import Array
from fastnn.preprocessing import Standardize
from support.cases import each

CLASSES = np.array(["cat", "dog", "emu"])


def images(samples: int = 30) -> tuple[Array, Array]:
    """Images of 3 x 6 x 5 pixels and their classes."""
    rng = np.random.default_rng(0)
    y = np.arange(samples) % 3
    x = rng.integers(0, 200, (samples, 3, 6, 5))
    x[np.arange(samples), y] += 55
    return x.astype(np.uint8), CLASSES[y]


def cnn() -> nn.Sequential:
    fastnn.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(48, 3))


def trained() -> tuple[fastnn.Predictor, Array, Array]:
    x, y = images()
    data = train.prepare((x, y), images=True)
    model = cnn()
    train.fit(model, (data.x_train, data.y_train), epochs=2)
    made = data.preprocessing.transform(x)
    return fastnn.Predictor(model.eval(), data.preprocessing, data.classes), x, model(made)


def test_samples_of_every_form() -> None:
    found, x, expected = trained()
    layouts = [x, x[::-1][::-1], np.asfortranarray(x), np.moveaxis(x, 1, -1)]
    narrow, wide = (
        [x.astype(dtype) for dtype in dtypes]
        for dtypes in (("float32", ">f4", ">u2", "float16", "uint8"), ("float64", "int64"))
    )
    for same in (*layouts, *narrow):
        np.testing.assert_array_equal(found.outputs(same), expected)
    for same in (*wide, x.tolist()):  # these are standardised in float64, and rounded to float32 then
        np.testing.assert_allclose(found.outputs(same), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.predict(x), CLASSES[expected.argmax(axis=1)])
    np.testing.assert_array_equal(found.predict_proba(x), F.softmax(expected, 1))
    np.testing.assert_array_equal(found.predict(x[:1]), found.predict(x)[:1])


def test_batches_do_not_change_results(monkeypatch: pytest.MonkeyPatch) -> None:
    found, x, expected = trained()
    monkeypatch.setattr("fastnn._model_files.predictor.ELEMENTS", 7 * 90)
    np.testing.assert_allclose(found.outputs(x), expected, rtol=1e-5, atol=1e-6)
    bad = x.astype(float)
    bad[23, 1, 2, 3] = np.inf
    with pytest.raises(ValueError, match=r"the first is inf at \(23, 1, 2, 3\)"):
        found.predict(bad)


def test_many_threads_at_once() -> None:
    found, x, expected = trained()
    with ThreadPoolExecutor(8) as pool:
        for got in pool.map(found.outputs, [x] * 64):
            np.testing.assert_array_equal(got, expected)


NAN = np.zeros((2, 3, 6, 5))
NAN[1, 0, 0, 2] = np.nan


@each(
    ("x", "message"),
    [
        (np.zeros((2, 3, 6, 6)), r"samples of shape \(3, 6, 5\), as in training, got \(3, 6, 6\)"),
        (np.zeros((2, 90)), r"samples of shape \(3, 6, 5\), as in training, got \(90,\)"),
        (np.zeros((2, 5, 6, 3)), r"samples of shape \(3, 6, 5\), as in training, got \(5, 6, 3\)"),
        (np.zeros((3, 6, 5)), r"got \(6, 5\); x\[None\] makes a batch of a single sample"),
        (np.zeros(90), r"x must be \(samples, features\) .* got shape \(90,\); x\[None\] makes a batch"),
        (np.float64(3), r"got shape \(\)"),
        (np.zeros((0, 3, 6, 5)), r"x must have at least one sample, got shape \(0, 3, 6, 5\)"),
        (NAN, r"x must be finite numbers .* got 1 others; the first is nan at \(1, 0, 0, 2\)"),
        (np.full((2, 3, 6, 5), 1e300), r"finite numbers that float32 can hold, got 180 others"),
        ([["a"]], r"x must be whole or floating-point numbers, got dtype <U1"),
        (NAN + 1j, r"x must be whole or floating-point numbers, got dtype complex128"),
    ],
)
def test_samples_that_are_refused(x: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trained()[0].predict(x)  # type: ignore[arg-type]


def test_masked_samples_are_refused() -> None:
    with pytest.raises(TypeError, match="x must be an array without masked elements"):
        trained()[0].predict(np.ma.masked_less(NAN, 1))


def test_a_model_in_training_mode_is_refused() -> None:
    found, x, expected = trained()
    found.model[3].train()  # type: ignore[index]
    with pytest.raises(ValueError, match=r"model must be in evaluation mode: call predictor.model.eval\(\)"):
        found.predict(x)
    found.model.eval()
    np.testing.assert_array_equal(found.outputs(x), expected)


@each("dtype", ["float32", "float64"])
def test_a_model_without_classes_gives_its_outputs(dtype: str) -> None:
    x = np.random.default_rng(0).normal(3, 2, (20, 4))
    model = nn.Linear(4, 2, dtype=dtype).eval()
    scale = Standardize().fit(x)
    found = fastnn.Predictor(model, scale)
    np.testing.assert_array_equal(found.predict(x), model(scale.transform(x).astype(dtype)))
    plain = fastnn.Predictor(model)
    np.testing.assert_array_equal(plain.predict(x), model(x.astype(dtype)))
    with pytest.raises(ValueError, match="probabilities are of models with classes, and this one has none"):
        plain.predict_proba(x)


def test_one_output_for_two_classes() -> None:
    x = np.random.default_rng(0).normal(0, 1, (20, 4)).astype(np.float32)
    linear, classes = nn.Linear(4, 1).eval(), np.array(["no", "yes"])
    p = F.sigmoid(linear(x))
    for model in (linear, nn.Sequential(linear, nn.Sigmoid()).eval()):
        found = fastnn.Predictor(model, classes=classes)
        np.testing.assert_allclose(found.predict_proba(x), np.concatenate([1 - p, p], axis=1), rtol=1e-6)
        np.testing.assert_array_equal(found.predict(x), classes[(p[:, 0] > 0.5).astype(int)])
    assert fastnn.Predictor(linear, classes=classes).probabilities_of(np.array([50.0]))[0, 0] > 0


@each("last", [nn.Softmax, nn.LogSoftmax])
def test_a_model_that_ends_in_probabilities(last: type[nn.Module]) -> None:
    x = np.random.default_rng(0).normal(0, 1, (20, 4)).astype(np.float32)
    linear = nn.Linear(4, 3)
    found = fastnn.Predictor(nn.Sequential(linear, last(-1)).eval(), classes=CLASSES)  # type: ignore[call-arg]
    np.testing.assert_allclose(found.predict_proba(x), F.softmax(linear(x), 1), rtol=1e-6)


def test_probabilities_of_several_sigmoids_add_up_and_layers_behind_change_nothing() -> None:
    x = np.random.default_rng(0).normal(0, 1, (20, 4)).astype(np.float32)
    linear = nn.Linear(4, 3)
    p = F.sigmoid(linear(x))
    sigmoids = nn.Sequential(linear, nn.Sequential(nn.Sigmoid()), nn.Dropout(0.5), nn.Flatten()).eval()
    found = fastnn.Predictor(sigmoids, classes=CLASSES).predict_proba(x)
    np.testing.assert_allclose(found, p / p.sum(axis=1, keepdims=True), rtol=1e-6)


def test_numbers_of_rows_stay_whole_numbers() -> None:
    model = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 2)).eval()
    x = np.array([[0, 4], [3, 1]], np.uint8)
    np.testing.assert_array_equal(fastnn.Predictor(model).predict(x), model(x))


def test_outputs_that_do_not_fit_the_classes() -> None:
    found = fastnn.Predictor(nn.Linear(4, 5).eval(), classes=CLASSES)
    with pytest.raises(ValueError, match=r"an output for each of 3 classes, got shape \(2, 5\)"):
        found.predict(np.zeros((2, 4)))


def test_raw_pixels_have_the_accuracy_that_training_reports(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).integers(100, 160, (80, 9)).astype(np.uint8), np.arange(80) % 2
    x[y == 1, 4] += 50
    fastnn.manual_seed(0)
    data = train.prepare((x, y), (x, y))
    model = nn.Linear(9, 2)
    train.fit(model, (data.x_train, data.y_train), optimizer=optim.SGD(model.parameters(), lr=0.5), epochs=20)
    reported = train.evaluate(model, (data.x_test, data.y_test))["accuracy"]
    fastnn.save(tmp_path / "m.safetensors", model, preprocessing=data.preprocessing, classes=data.classes)
    assert np.mean(fastnn.load(tmp_path / "m.safetensors").predict(x) == y) == reported > 0.9
    raw = model(x.astype(np.float32)).argmax(axis=1)  # what a user gets who forgets the preprocessing
    assert np.mean(raw == y) < reported - 0.1
