"""MLPClassifier and MLPRegressor: scikit-learn's checks, its estimators as the oracle, what is new."""

from __future__ import annotations

import copy
import pickle
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import nn
from fastnn._core.extras import way_to
from fastnn._core.typing import Array

pytest.importorskip("sklearn", minversion="1.7")  # from when its estimators have sample_weight and loss

from sklearn import neural_network as theirs
from sklearn.base import clone
from sklearn.datasets import load_digits, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import train_test_split
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastnn import sklearn as ours
from support.pages import run_page

QUICK: dict[str, Any] = {"max_iter": 60, "learning_rate_init": 0.01}
WEIGHTS = "check_sample_weight_equivalence_on_dense_data"


@pytest.fixture(autouse=True)
def unfinished() -> Iterator[None]:
    """Training is cut short here, and says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def expected_failures(estimator: Any) -> dict[str, str]:
    if estimator.norm == "batch":
        return {WEIGHTS: "a sample of weight 0 counts for the mean and variance of its batch"}
    return {WEIGHTS: "dropout draws for a sample of weight 0 too"} if estimator.dropout else {}


@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [
        ours.MLPClassifier(**QUICK),
        ours.MLPRegressor(**QUICK),
        ours.MLPClassifier(**QUICK, norm="batch", activation="gelu"),
        ours.MLPRegressor(**QUICK, norm="layer", dropout=0.1, solver="sgd"),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


# ---- scikit-learn's estimators as the oracle ---------------------------------------------------------------


def digits() -> tuple[Array, Array]:
    x, y = load_digits(return_X_y=True)
    return x[:300] / 16, y[:300]


def numbers(outputs: int = 1) -> tuple[Array, Array]:
    x, y = make_regression(300, 10, n_targets=outputs, random_state=0)
    return x, y / 100


def many_labels() -> tuple[Array, Array]:
    x, y = make_multilabel_classification(300, random_state=0)
    return x, y


ADAPTIVE = {"learning_rate": "adaptive", "tol": 0.02, "n_iter_no_change": 2}
SGD = {"solver": "sgd", "learning_rate_init": 0.1}
EARLY = {"early_stopping": True, "n_iter_no_change": 2, "max_iter": 20}


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"hidden_layer_sizes": (20, 30), "activation": "tanh", "batch_size": 64, "alpha": 1.0},
        {"hidden_layer_sizes": (), "shuffle": False},
        {"hidden_layer_sizes": 30, "activation": "logistic", "beta_1": 0.8, "beta_2": 0.99, "epsilon": 0.01},
        {"activation": "identity", "tol": 0.5, "n_iter_no_change": 2, "max_iter": 40},
        SGD,
        SGD | {"nesterovs_momentum": False},
        SGD | {"momentum": 0},
        SGD | {"learning_rate": "invscaling", "power_t": 0.3, "learning_rate_init": 0.5},
        SGD | ADAPTIVE | {"max_iter": 30},
        SGD | ADAPTIVE | EARLY,
        EARLY,
    ],
    ids=str,
)
@pytest.mark.parametrize("weighted", [False, True])
def test_classifier_does_what_scikit_learns_does(parameters: dict[str, Any], weighted: bool) -> None:
    x, y = digits()
    same_training("MLPClassifier", x, y, parameters, weighted)


@pytest.mark.parametrize("parameters", [{}, SGD, EARLY], ids=str)
@pytest.mark.parametrize("kind", ["binary", "texts", "one class", "many labels"])
def test_kinds_of_labels(kind: str, parameters: dict[str, Any]) -> None:
    x, y = many_labels() if kind == "many labels" else digits()
    if kind == "one class":
        y = np.full(len(y), 3)
    elif kind == "binary":
        y = y > 4
    elif kind == "texts":
        y = np.array([f"a {digit}" for digit in y])
    same_training("MLPClassifier", x, y, parameters)


@pytest.mark.parametrize("parameters", [{}, SGD | {"learning_rate_init": 0.01}, EARLY], ids=str)
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_regressor_does_what_scikit_learns_does(outputs: int, loss: str, parameters: dict[str, Any]) -> None:
    x, y = numbers(outputs)
    if loss == "poisson":
        y = np.floor(np.abs(y))
    same_training("MLPRegressor", x, y, parameters | {"loss": loss}, weighted=outputs == 3)


def same_training(name: str, x: Array, y: Array, parameters: dict[str, Any], weighted: bool = False) -> None:
    """Both train the same network from the same random numbers, by the same steps."""
    parameters = {"max_iter": 5, "random_state": 3, "hidden_layer_sizes": 24} | parameters
    weight = np.random.default_rng(0).uniform(0, 2, len(x)) if weighted else None
    mine, reference = (getattr(module, name)(**parameters) for module in (ours, theirs))
    mine.fit(x, y, sample_weight=weight)
    reference.fit(x, y, sample_weight=weight)
    for attribute in ("n_iter_", "t_", "n_layers_", "n_outputs_", "n_features_in_", "out_activation_"):
        assert getattr(mine, attribute) == getattr(reference, attribute), attribute
    for got, expected in zip(
        mine.coefs_ + mine.intercepts_, reference.coefs_ + reference.intercepts_, strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-10)
    for attribute in ("loss_", "best_loss_", "loss_curve_", "validation_scores_", "best_validation_score_"):
        got, expected = getattr(mine, attribute), getattr(reference, attribute)
        assert (got is None) == (expected is None)
        if got is not None:
            np.testing.assert_allclose(got, expected, rtol=1e-10)
    np.testing.assert_allclose(mine.score(x, y), reference.score(x, y), rtol=1e-12)
    if name == "MLPRegressor":
        np.testing.assert_allclose(mine.predict(x), reference.predict(x), rtol=1e-7, atol=1e-9)
        return
    np.testing.assert_array_equal(mine.classes_, reference.classes_)
    np.testing.assert_array_equal(mine.predict(x), reference.predict(x))
    np.testing.assert_allclose(mine.predict_proba(x), reference.predict_proba(x), rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(
        mine.predict_log_proba(x), np.log(mine.predict_proba(x)), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("parameters", [{}, SGD | {"learning_rate": "invscaling"}], ids=str)
def test_partial_fit_and_warm_start_do_what_scikit_learns_do(parameters: dict[str, Any]) -> None:
    x, y = digits()
    pair = [module.MLPClassifier(20, random_state=3, max_iter=2, **parameters) for module in (ours, theirs)]
    for estimator in pair:
        estimator.partial_fit(x[:100], y[:100], classes=np.arange(10))
        estimator.partial_fit(x[100:], y[100:])
        estimator.partial_fit(x[100:], y[100:], classes=np.arange(10))
    same_weights(*pair)
    assert len(pair[0].loss_curve_) == 3
    for estimator in pair:
        estimator.set_params(warm_start=True).fit(x, y).fit(x, y)
        estimator.partial_fit(x, y)
    same_weights(*pair)
    np.testing.assert_allclose(pair[0].loss_curve_, pair[1].loss_curve_, rtol=1e-10)


def same_weights(mine: Any, reference: Any) -> None:
    for got, expected in zip(
        mine.coefs_ + mine.intercepts_, reference.coefs_ + reference.intercepts_, strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-10)


def test_held_out_accuracy_on_the_digits() -> None:
    x_train, x_test, y_train, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
    scores = []
    for module, dtype in ((ours, np.float32), (theirs, np.float64)):
        estimator = module.MLPClassifier((64,), random_state=1, max_iter=60)
        scores.append(estimator.fit(x_train.astype(dtype), y_train).score(x_test.astype(dtype), y_test))
    assert scores[0] >= max(scores[1] - 0.01, 0.96)


# ---- what scikit-learn does not have -----------------------------------------------------------------------


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_norm_dropout_and_the_model(norm: str | None, dtype: Any) -> None:
    x, y = digits()
    x = x.astype(dtype)
    mlp = ours.MLPClassifier(
        (32, 16), "gelu", norm=norm, dropout=0.25, random_state=0, max_iter=60, learning_rate_init=0.01
    )
    assert mlp.fit(x, y).score(x, y) > 0.95
    norms: dict[str | None, list[type]] = {"batch": [nn.BatchNorm1d], "layer": [nn.LayerNorm], None: []}
    kinds = [nn.Linear, *norms[norm], nn.GELU, nn.Dropout]
    assert [type(layer) for layer in mlp.model_] == [*kinds, *kinds, nn.Linear]
    assert not any(module.training for module in mlp.model_.modules())
    z = mlp.model_(x)
    assert z.dtype == dtype
    np.testing.assert_array_equal(mlp.predict_proba(x), F.softmax(z, 1))
    np.testing.assert_array_equal(mlp.predict(x), mlp.classes_[z.argmax(axis=1)])
    assert [coef.shape for coef in mlp.coefs_] == [(64, 32), (32, 16), (16, 10)]
    assert all(parameter.grad is None for parameter in mlp.model_.parameters())


@pytest.mark.parametrize("name", sorted({*nn.ACTIVATIONS, "logistic"} - {"threshold"}))
def test_every_activation_by_its_name(name: str) -> None:
    x, y = digits()
    mlp = ours.MLPClassifier(8, name, random_state=0, max_iter=1).fit(x, y)
    assert type(mlp.model_[1]) is (nn.Sigmoid if name == "logistic" else nn.ACTIVATIONS[name])


@pytest.mark.parametrize("samples", [4, 5, 9])
def test_batch_norm_never_gets_one_sample_alone(samples: int) -> None:
    x, y = digits()
    mlp = ours.MLPClassifier(5, norm="batch", batch_size=4, max_iter=2, random_state=0)
    mlp.fit(x[:samples], y[:samples])
    assert mlp.model_[1].num_batches_tracked == 2 * max(1, samples // 4)
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        mlp.fit(x[:1], y[:1])


def test_predictions_of_many_samples_are_computed_in_parts() -> None:
    x, y = digits()
    mlp = ours.MLPClassifier(5, max_iter=1, random_state=0).fit(x, y)
    many = np.tile(x, (30, 1))
    np.testing.assert_allclose(mlp.predict_proba(many), np.tile(mlp.predict_proba(x), (30, 1)), rtol=1e-12)


def test_the_default_generator_is_left_alone() -> None:
    x, y = digits()
    state = fastnn.random.default_generator().get_state()
    numpy_state = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    mlp = ours.MLPClassifier(5, dropout=0.5, random_state=0, max_iter=2).fit(x, y)
    copy.deepcopy(mlp).partial_fit(x, y)
    assert fastnn.random.default_generator().get_state() == state
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # type: ignore[index]  # noqa: NPY002


def test_random_state_decides_everything() -> None:
    x, y = digits()

    def proba(seed: Any) -> Array:
        mlp = ours.MLPClassifier(9, norm="batch", dropout=0.5, random_state=seed, max_iter=3)
        return mlp.fit(x, y).predict_proba(x)  # type: ignore[no-any-return]

    first = proba(1)
    fastnn.manual_seed(77)
    np.testing.assert_array_equal(proba(1), first)
    np.testing.assert_array_equal(proba(np.random.RandomState(1)), first)
    assert np.abs(proba(2) - first).max() > 0.01
    assert np.abs(proba(None) - proba(None)).max() > 0.001


@pytest.mark.parametrize("parameters", [{}, SGD, {"norm": "batch", "dropout": 0.5}], ids=str)
@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
def test_a_copy_goes_on_as_the_original(way: str, parameters: dict[str, Any]) -> None:
    x, y = digits()
    mlp = ours.MLPClassifier(9, random_state=0, max_iter=3, **parameters).fit(x, y)
    other = pickle.loads(pickle.dumps(mlp)) if way == "pickle" else copy.deepcopy(mlp)
    np.testing.assert_array_equal(other.predict_proba(x), mlp.predict_proba(x))
    before = mlp.predict_proba(x)
    other.partial_fit(x, y)
    np.testing.assert_array_equal(mlp.predict_proba(x), before)  # nothing is shared
    mlp.partial_fit(x, y)
    np.testing.assert_array_equal(other.predict_proba(x), mlp.predict_proba(x))
    assert other.loss_curve_ == mlp.loss_curve_


def test_a_pickle_has_neither_gradients_nor_samples() -> None:
    x, y = digits()
    mlp = ours.MLPClassifier((9,), random_state=0, max_iter=1, solver="sgd", momentum=0).fit(x, y)
    mlp.predict(np.tile(x, (8, 1)))
    assert len(pickle.dumps(mlp)) < 16_000  # 64 x 9 + 9 x 10 weights of 8 bytes, and some names


def test_clone_forgets_the_training() -> None:
    x, y = digits()
    mlp = ours.MLPClassifier((9, 5), "silu", norm="layer", dropout=0.1, max_iter=1, random_state=4)
    copied = clone(mlp.fit(x, y))
    assert copied.get_params() == mlp.get_params()
    asks: list[Callable[[], object]] = [
        lambda: copied.predict(x),
        lambda: copied.coefs_,
        lambda: copied.model_,
    ]
    for ask in asks:
        with pytest.raises((NotFittedError, AttributeError), match="not fitted yet"):
            ask()
    assert not hasattr(copied, "coefs_")
    assert repr(mlp) == (
        "MLPClassifier(activation='silu', dropout=0.1, hidden_layer_sizes=(9, 5),\n"
        "              max_iter=1, norm='layer', random_state=4)"
    )


def test_the_examples_of_the_page_run() -> None:
    run_page("sklearn.md")


# ---- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"activation": "threshold"}, "The 'activation' parameter of MLPClassifier must be a str among"),
        ({"norm": "group"}, "The 'norm' parameter"),
        ({"dropout": 1.0}, "The 'dropout' parameter"),
        ({"solver": "lbfgs"}, "The 'solver' parameter"),
        ({"hidden_layer_sizes": (5, 0)}, "hidden_layer_sizes must be > 0"),
        ({"hidden_layer_sizes": 0}, "The 'hidden_layer_sizes' parameter"),
        ({"early_stopping": True, "validation_fraction": 0.003}, "The validation set is too small"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, Any], message: str) -> None:
    x, y = digits()
    with pytest.raises(ValueError, match=message):
        ours.MLPClassifier(**parameters).fit(x, y)


def test_calls_that_do_not_fit_the_last_one() -> None:
    x, y = digits()
    mlp = ours.MLPClassifier(5, max_iter=1)
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
        mlp.partial_fit(x, y)
    mlp.fit(x, y)
    with pytest.raises(ValueError, match="is not the same as on last call to partial_fit"):
        mlp.partial_fit(x, y, classes=[1, 2])
    with pytest.raises(ValueError, match=r"`y` has classes not in `self.classes_`"):
        mlp.partial_fit(x, y + 1)
    with pytest.raises(ValueError, match=r"the network must stay Design\(units=\(64, 5, 10\).*, got Design"):
        mlp.set_params(hidden_layer_sizes=6).partial_fit(x, y)
    with pytest.raises(ValueError, match="warm_start can only be used where"):
        mlp.set_params(hidden_layer_sizes=5, warm_start=True).fit(x, y > 4)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping"):
        mlp.set_params(early_stopping=True).partial_fit(x, y)
    with pytest.raises(ValueError, match="loss='poisson' takes y >= 0"):
        ours.MLPRegressor(loss="poisson").fit(x, y - 5)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_diverging_training_is_reported(early_stopping: bool) -> None:
    x, y = numbers()
    mlp: Any = ours.MLPRegressor(
        solver="sgd", learning_rate_init=1e6, max_iter=20, early_stopping=early_stopping
    )
    with (
        pytest.raises(ValueError, match="Solver produced non-finite parameter weights"),
        np.errstate(all="ignore"),
    ):
        mlp.fit(x, y)
    assert mlp.n_iter_ < 20


def test_batches_without_weight_are_left_out() -> None:
    x, y = numbers()
    x, y = x[:40], y[:40]
    weight = np.repeat([0.0, 1.0, 0.0, 1.0], 10)
    options: dict[str, Any] = {"batch_size": 10, "shuffle": False, "max_iter": 3, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mine = ours.MLPRegressor(5, **options).fit(x, y, sample_weight=weight)
        fewer = ours.MLPRegressor(5, **options).fit(x[weight > 0], y[weight > 0])
    np.testing.assert_allclose(mine.loss_curve_, fewer.loss_curve_, rtol=1e-12)
    np.testing.assert_allclose(mine.coefs_[0], fewer.coefs_[0], rtol=1e-9)
    with pytest.raises(ValueError, match="sample_weight must not be 0 for all of the"):
        ours.MLPRegressor(early_stopping=True).fit(x, y, sample_weight=np.arange(40) == 7)


def test_warnings_and_messages(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = digits()
    mlp: Any = ours.MLPClassifier(5, max_iter=2, batch_size=1000, verbose=True, random_state=0)
    with (
        pytest.warns(ConvergenceWarning, match="Maximum iterations"),
        pytest.warns(UserWarning, match="larger"),
    ):
        mlp.fit(x, y)
    assert capsys.readouterr().out == "".join(
        f"Iteration {epoch}, loss = {loss:.8f}\n" for epoch, loss in enumerate(mlp.loss_curve_, 1)
    )
    mlp.set_params(early_stopping=True, tol=1.0, n_iter_no_change=1, batch_size="auto", max_iter=9).fit(x, y)
    out = capsys.readouterr().out
    assert f"Validation score: {mlp.validation_scores_[0]:f}\n" in out
    assert out.endswith(
        "Validation score did not improve more than tol=1.000000 for 1 consecutive epochs. Stopping.\n"
    )


def test_interrupted_training_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = digits()
    mlp = ours.MLPClassifier(5, random_state=0, max_iter=9)

    def interrupt(self: Any, message: str) -> None:
        if mlp.n_iter_ == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("fastnn.sklearn._training._Training._print", interrupt)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        mlp.fit(x, y)
    assert len(mlp.loss_curve_) == 2
    assert mlp.predict(x).shape == y.shape


def test_scikit_learn_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("fastnn.sklearn")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("sklearn", "sklearn.base"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=re.escape(f"sklearn is not installed: {way_to('sklearn')}")):
        import fastnn.sklearn  # noqa: F401


def test_searches_share_the_cpus() -> None:
    """Two workers of joblib have half of the CPUs each, and find the parameters that one process finds."""
    joblib = pytest.importorskip("joblib")
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import GridSearchCV, HalvingRandomSearchCV, RandomizedSearchCV

    def threads(estimator: Any, x: Array, y: Array) -> dict[str, float]:
        return {"score": estimator.score(x, y), "threads": fastnn.get_num_threads()}

    x, y = digits()
    network = ours.MLPClassifier((8,), max_iter=4, random_state=0)
    rates = {"learning_rate_init": [1e-4, 1e-2]}
    common: dict[str, Any] = {"cv": 2, "n_jobs": 2}
    several: dict[str, Any] = {**common, "scoring": threads, "refit": "score"}
    searches = (
        GridSearchCV(network, rates, **several),
        RandomizedSearchCV(network, rates, n_iter=2, random_state=0, **several),
        HalvingRandomSearchCV(network, rates, n_candidates=2, random_state=0, **common),
    )
    for search in searches:
        search.fit(x, y)
        assert search.best_params_ == {"learning_rate_init": 1e-2}
    for search in searches[:2]:  # halving takes one score
        assert {*search.cv_results_["mean_test_threads"]} == {max(joblib.cpu_count() // 2, 1)}
    alone = GridSearchCV(network, rates, cv=2).fit(x, y).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(searches[0].cv_results_["mean_test_score"], alone)
    pytest.importorskip("joblib.externals.loky").get_reusable_executor().shutdown(wait=True)
