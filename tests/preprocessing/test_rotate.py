"""PCA, Whiten and OneHot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastnn._core.typing import Array
from fastnn.preprocessing import PCA, Compose, Images, OneHot, Transformer, Whiten
from support.cases import each


def draw(mean: float = 0.0, samples: int = 300) -> Array:
    """Correlated features."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(samples, 5)) @ rng.normal(size=(5, 5)) + mean


@each("mean", [0.0, 1e6])
@each("cuts", [[], [1], [1, 2, 297], [150]])
def test_parts_give_the_components_of_the_whole(cuts: list[int], mean: float) -> None:
    x, exact = draw(mean), draw()
    found = PCA()
    for part in np.split(x, cuts):
        found.partial_fit(part)
    variances, vectors = np.linalg.eigh(np.cov(exact.T, bias=True))
    np.testing.assert_allclose(found.explained_variance_, variances[::-1], rtol=1e-8)
    np.testing.assert_allclose(np.abs(found.components_ @ vectors[:, ::-1]), np.eye(5), atol=1e-8)
    np.testing.assert_allclose(found.explained_variance_ratio_.sum(), 1)
    whitened = Whiten("zca", eps=1e-12).fit(x).transform(x)
    np.testing.assert_allclose(whitened.T @ whitened / 300, np.eye(5), atol=1e-7)


def test_it_is_scikit_learn_s() -> None:
    pytest.importorskip("sklearn")
    from sklearn import decomposition

    x = draw()
    for k in (None, 2, 0.9):
        ours, theirs = PCA(k).fit(x), decomposition.PCA(k).fit(x)
        np.testing.assert_allclose(ours.components_, theirs.components_, atol=1e-10)
        np.testing.assert_allclose(ours.explained_variance_ * 300 / 299, theirs.explained_variance_)
        np.testing.assert_allclose(ours.explained_variance_ratio_, theirs.explained_variance_ratio_)
        np.testing.assert_allclose(ours.transform(x), theirs.transform(x), atol=1e-10)
        y = theirs.transform(x)
        np.testing.assert_allclose(ours.inverse_transform(y), theirs.inverse_transform(y))


@each("make", [lambda: PCA(), lambda: Whiten("pca"), lambda: Whiten("zca"), lambda: PCA(1.0)])
@each("dtype", ["uint8", "int64", "float32", "float64", ">f4"])
def test_images_there_and_back(make: Any, dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 256, (60, 3, 4, 3)).astype(dtype)
    found = Compose(Images("nhwc"), make()).fit(x)
    y = found.transform(x)
    assert y.shape == ((60, 3, 3, 4) if getattr(found.steps[1], "method", "") == "zca" else (60, 36))
    assert y.dtype == (np.float64 if dtype == "float64" else np.float32)
    np.testing.assert_allclose(found.inverse_transform(y), x.astype(np.float64), atol=0.02)
    out = np.empty(y.shape[::-1], np.float64).T
    np.testing.assert_allclose(found.transform(x, out=out), y, atol=1e-3)
    rows = y.reshape(60, -1).astype(np.float64)
    if isinstance(found.steps[1], Whiten):
        np.testing.assert_allclose(rows.T @ rows / 60, np.eye(36), atol=1e-4)


def test_samples_that_do_not_vary() -> None:
    for x in (np.ones((4, 3)), np.ones((1, 3)), np.ones((4, 3)) * [1e6, 0.1, 7]):
        for found in (PCA(1), PCA(0.5), Whiten("pca"), Whiten("zca")):
            assert not found.fit_transform(x).any()
    assert PCA(1).fit(np.ones((4, 3))).explained_variance_ratio_ == 0


@each("make", [lambda: PCA(2), lambda: PCA(), lambda: Whiten("pca"), lambda: Whiten("zca"), lambda: OneHot()])
def test_a_state_gives_the_same_transformer(make: Any) -> None:
    x: Array = np.array(["b", "a", "ccc"]) if isinstance(make(), OneHot) else draw(1e6)
    found, other = make().fit(x), make()
    state = found.state_dict()
    other.load_state_dict(state)
    np.testing.assert_array_equal(other.transform(x), found.transform(x))
    if getattr(found, "n_components", None) == 2:
        with pytest.raises(ValueError, match="partial_fit cannot go on from a state with 2 of 5 components"):
            other.partial_fit(x)
    else:
        np.testing.assert_allclose(
            other.partial_fit(x[:3]).transform(x), found.partial_fit(x[:3]).transform(x), atol=1e-7
        )
    before = other.transform(x)
    for name in state:
        for wrong in (state[name][..., None].astype(np.float32), np.array(-1), np.array([[np.nan]])):
            with pytest.raises(ValueError, match=rf"^{type(found).__name__}: "):
                other.load_state_dict(state | {name: wrong})
    np.testing.assert_array_equal(other.transform(x), before)


@each("labels", [[3, 1, 3, 7], [True, False, True], ["no", "yes", "no"], np.array([2**63, 1], np.uint64)])
def test_one_hot(labels: Any) -> None:
    y = np.asarray(labels)
    found = OneHot().partial_fit(y[:1]).partial_fit(y)
    rows = found.transform(y)
    assert (rows.dtype.name, rows.shape) == ("float32", (len(y), len(np.unique(y))))
    np.testing.assert_array_equal(rows, y[:, None] == np.unique(y))
    np.testing.assert_array_equal(found.inverse_transform(rows * 0.4), y)
    out, back = np.empty(rows.shape), np.empty_like(y)
    assert found.transform(y, out=out) is out
    assert found.inverse_transform(out, out=back) is back
    np.testing.assert_array_equal(out, rows)
    np.testing.assert_array_equal(back, y)


@each(
    ("call", "error", "message"),
    [
        (lambda: PCA(0), ValueError, "n_components must be None, a whole number"),
        (lambda: PCA(1.5), ValueError, r"in \(0, 1\], got 1.5"),
        (lambda: PCA(True), ValueError, "got True"),
        (
            lambda: PCA("mle"),  # type: ignore[arg-type]
            TypeError,
            "n_components must be a real number, got str",
        ),
        (lambda: PCA(6).fit(draw()), ValueError, "n_components must be at most 5, the number of elements"),
        (lambda: PCA(4).fit(draw()[:3]), ValueError, "n_components must be at most 3, the number of samples"),
        (lambda: PCA().transform(draw()), ValueError, "PCA must be fitted first"),
        (lambda: PCA().components_, ValueError, "PCA must be fitted first"),
        (
            lambda: PCA(2).fit(draw()).inverse_transform(draw()),
            ValueError,
            r"samples of shape \(2,\)",
        ),
        (
            lambda: PCA(2).fit(draw()).transform(draw(), out=draw()),
            ValueError,
            r"^out must have shape",
        ),
        (lambda: PCA().fit(draw()).partial_fit(draw() * np.nan), ValueError, "x must be finite"),
        (lambda: Whiten("cholesky"), ValueError, "method must be one of 'pca', 'zca', got 'cholesky'"),
        (lambda: Whiten(eps=0), ValueError, "eps must be a finite number above 0, got 0"),
        (
            lambda: OneHot().fit([0.5]),
            ValueError,
            "x must be labels, .* got dtype float64",
        ),
        (
            lambda: OneHot().fit([[1]]),
            ValueError,
            r"shape \(samples,\), got shape \(1, 1\)",
        ),
        (lambda: OneHot().fit([]).transform([]), ValueError, "x must be labels"),
        (lambda: OneHot().fit([1, 2]).transform([2, 3]), ValueError, "labels that fit saw, got 3 at 1"),
        (
            lambda: OneHot().fit([1, 2]).transform(["a"]),
            ValueError,
            "like those of fit, int64, got <U1",
        ),
        (lambda: OneHot().transform([1]), ValueError, "OneHot must be fitted first"),
    ],
)
def test_what_is_wrong_is_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_fit_that_fails_changes_nothing() -> None:
    x = draw()
    found: Transformer = Compose(Images(), PCA(4)).fit(x[:, :4])
    before = found.transform(x[:, :4])
    with pytest.raises(ValueError, match="n_components must be at most 3, the number of samples"):
        found.fit(np.concatenate([x, x, x, x], 1)[:3, :16])
    np.testing.assert_array_equal(found.transform(x[:, :4]), before)
