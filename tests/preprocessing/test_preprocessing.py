"""The transformers of fastnn.preprocessing: statistics, forms of samples, scikit-learn's contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnn._core.typing import Array
from fastnn.preprocessing import (
    PCA,
    Compose,
    Flatten,
    Images,
    MinMax,
    Standardize,
    Transformer,
    Whiten,
    ZeroCenter,
    transformed,
)
from support.cases import each
from support.pages import run_page


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page("preprocessing.md")


def draw(shape: tuple[int, ...], mean: float = 0.0, scale: float = 1.0) -> Array:
    return np.random.default_rng(0).normal(mean, scale, shape)


@each("cuts", [[], [1], [1, 2, 997], [500]])
@each("mean", [0.0, 1e6])
@each(("per", "shape", "axes"), [("feature", (1000, 3), 0), ("channel", (1000, 2, 3, 2), (0, 2, 3))])
def test_statistics_of_parts_are_those_of_the_whole(
    per: str, shape: tuple[int, ...], axes: int | tuple[int, ...], mean: float, cuts: list[int]
) -> None:
    x = draw(shape, mean)
    found = Standardize(per)
    for part in np.split(x, cuts):
        found.partial_fit(part)
    exact = x.astype(np.longdouble)
    np.testing.assert_allclose(found.mean_, exact.mean(axis=axes, keepdims=True)[0], rtol=1e-15, atol=1e-14)
    np.testing.assert_allclose(found.std_, exact.std(axis=axes, keepdims=True)[0], rtol=1e-12)
    assert found.n_samples_seen_ == 1000
    assert found.mean_.dtype == found.std_.dtype == np.float64


@each("cuts", [[], [1], [1, 2, 997], [500]])
@each(
    "make", [ZeroCenter, lambda: ZeroCenter("channel"), lambda: MinMax(per="channel", layout="nhwc"), MinMax]
)
def test_parts_of_any_size_give_the_same(make: Any, cuts: list[int]) -> None:
    x = draw((1000, 4, 2, 3), 1e6)
    whole, found = make().fit(x), make()
    for part in np.split(x, cuts):
        found.partial_fit(part)
    for name, value in whole.state_dict().items():
        np.testing.assert_allclose(found.state_dict()[name], value, rtol=1e-15)
    assert whole.fit(x[:5]).state_dict()["shape"].tolist() == [4, 2, 3]


@each("value", [0.1, 1e6 / 3, 255])
def test_constant_features_become_zero(value: float) -> None:
    x = np.full((5000, 2), value)
    x[:, 1] = np.arange(5000)
    found = Standardize().partial_fit(x[:77]).partial_fit(x[77:])
    assert found.std_[0] == 1
    assert not found.transform(x)[:, 0].any()


@each("dtype", ["uint8", "int64", "bool", "float16", "float32", "float64", ">f4"])
def test_every_dtype_and_layout(dtype: str) -> None:
    x = (draw((40, 3, 4)) > 0).astype(dtype)
    expected = (x - x.mean(0, np.float64)) / x.std(0, np.float64)
    found = Standardize().fit(x)
    for same in (x, np.asfortranarray(x), x[::-1][::-1]):
        got = found.transform(same)
        assert got.dtype == (np.float64 if dtype == "float64" else np.float32)
        np.testing.assert_allclose(got, expected, rtol=2e-7, atol=1e-7)
    np.testing.assert_allclose(found.inverse_transform(got), x, atol=1e-6)


def test_out_may_be_the_input() -> None:
    x = draw((50, 4)).astype(np.float32)
    found = Standardize().fit(x)
    expected, out = found.transform(x), np.empty((50, 4))
    assert found.transform(x, out=out) is out
    np.testing.assert_allclose(out, expected, rtol=1e-6)
    moved = np.concatenate([x, x[:1]])
    shifted = moved[1:]
    wanted = found.transform(moved[:-1])
    np.testing.assert_array_equal(found.transform(moved[:-1], out=shifted), wanted)
    for wrong, error in ((out[:, :3], ValueError), (np.empty((50, 4), int), TypeError), ([], TypeError)):
        with pytest.raises(error, match=r"^out must"):
            found.transform(x, out=wrong)  # type: ignore[arg-type]


@each(
    ("shape", "layout", "image", "last"),
    [
        ((6, 3, 32, 32), None, (3, 32, 32), False),
        ((6, 32, 32, 3), None, (3, 32, 32), True),
        ((6, 32, 30, 1), None, (1, 32, 30), True),
        ((6, 16, 8, 8), None, (16, 8, 8), False),
        ((6, 8, 8, 16), None, (16, 8, 8), True),
        ((6, 32, 32, 3), "nchw", (32, 32, 3), False),
        ((6, 3, 3, 3), "nhwc", (3, 3, 3), True),
        ((6, 28, 30), None, (1, 28, 30), False),
        ((6, 49), None, (1, 7, 7), False),
    ],
)
def test_images_of_every_layout(
    shape: tuple[int, ...], layout: str | None, image: tuple[int, int, int], last: bool
) -> None:
    x = draw(shape)
    found = Images(layout).fit(x)
    assert (found.image_shape, bool(found.channels_last_)) == (image, last)
    expected = np.moveaxis(x, -1, 1) if last else x.reshape(6, *image)
    np.testing.assert_array_equal(found.transform(x), expected)
    np.testing.assert_array_equal(found.inverse_transform(expected), x)
    if image != (3, 3, 3):  # the same images in the other layouts
        np.testing.assert_array_equal(found.transform(expected), expected)
        np.testing.assert_array_equal(found.transform(np.moveaxis(expected, 1, -1)), expected)


@each("shape", [(6, 3, 3, 3), (6, 1, 4, 3), (6, 20, 30, 9)])
def test_a_layout_that_the_shape_does_not_tell(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"layout must be given, 'nchw' .* or 'nhwc'"):
        Images().fit(np.zeros(shape))


@each(
    ("seen", "takes", "refuses"),
    [
        ((3, 4, 5), [(3, 4, 5), (60,), (1, 3, 4, 5)], [(4, 5, 3), (59,), (3, 20)]),
        ((60,), [(60,), (6, 10), (1, 6, 10), (60, 1)], [(61,), (3, 4, 5), (6, 9)]),
    ],
)
def test_samples_that_become_rows(
    seen: tuple[int, ...], takes: list[tuple[int, ...]], refuses: list[tuple[int, ...]]
) -> None:
    rows = draw((7, 60))
    found = Flatten().fit(rows.reshape(7, *seen))
    for shape in takes:
        np.testing.assert_array_equal(found.transform(rows.reshape(7, *shape)), rows)
    for shape in refuses:
        with pytest.raises(ValueError, match=r"^x must have samples of shape .*, as in training, got"):
            found.transform(np.zeros((7, *shape)))


WITH_NAN = np.ones((4, 3))
WITH_NAN[2, 1] = np.nan


@each(
    ("call", "message"),
    [
        (lambda: Standardize("pixel"), "per must be one of 'feature', 'channel', got 'pixel'"),
        (lambda: Images("chw"), "layout must be None or one of 'nchw', 'nhwc', got 'chw'"),
        (lambda: Standardize().transform(np.ones((2, 3))), "Standardize must be fitted first"),
        (lambda: Standardize().state_dict(), "Standardize must be fitted first"),
        (lambda: Standardize().fit(WITH_NAN), r"x must be finite .* the first is nan at \(2, 1\)"),
        (lambda: Standardize().fit(np.ones((0, 3))), r"x must have at least one sample .* \(0, 3\)"),
        (lambda: Standardize().fit(np.ones(3)), r"x must be \(samples, features\) .* got shape \(3,\)"),
        (lambda: Standardize().fit([["a"]]), "x must be whole or floating-point numbers, got dtype <U1"),
        (lambda: Standardize().fit(np.ones((2, 3))).partial_fit(np.ones((2, 4))), r"shape \(3,\), .* \(4,\)"),
        (
            lambda: Standardize().fit(np.ones((9, 3, 2))).transform(np.ones((3, 2))),
            r"x\[None\] makes a",
        ),
        (lambda: Standardize().fit(np.ones((9, 3))).inverse_transform(np.ones((9, 1))), r"got \(1,\)"),
        (lambda: Flatten().fit(np.ones((9, 3, 2))).inverse_transform(np.ones((9, 5))), r"got \(5,\)"),
        (lambda: Images().fit(np.ones((9, 3, 2))).inverse_transform(np.ones((9, 6))), r"got \(6,\)"),
        (lambda: Images().fit(np.ones((3, 15))), r"for a model of images, got shape \(3, 15\)"),
        (
            lambda: Standardize().set_params(axis=1),
            r"parameters must be of \['per', 'layout'\], got \['axis'\]",
        ),
        (lambda: Compose(), "steps must be at least one transformer"),
        (lambda: ZeroCenter(layout="chw"), "layout must be one of 'nchw', 'nhwc', got 'chw'"),
        (lambda: MinMax((1, 0)), "feature_range must be two finite numbers, the first below"),
        (lambda: MinMax((0, 1, 2)), "feature_range must be two numbers"),
        (lambda: Compose(Flatten()).set_params(**{"1__per": "x"}), "Compose: parameters must be of"),
        (
            lambda: Compose(ZeroCenter(), MinMax()).fit(np.ones((2, 3))).partial_fit(np.ones((2, 3))),
            "partial_fit must be of one step that learns",
        ),
    ],
)
def test_what_is_wrong_is_named(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message):
        call()


def test_a_part_that_is_refused_changes_nothing() -> None:
    found = Standardize().fit(draw((9, 3)))
    before = found.state_dict()
    with pytest.raises(ValueError, match="x must be finite"):
        found.partial_fit(WITH_NAN)
    for name, array in found.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@each("make", [lambda: Flatten(), lambda: Images(), lambda: Standardize("channel")])
def test_a_state_gives_the_same_transformer(make: type[Transformer]) -> None:
    x = draw((9, 5, 5, 3))
    other = Compose(make(), Standardize())
    found = Compose(make(), Standardize()).fit(x)
    other.load_state_dict(found.state_dict())
    np.testing.assert_array_equal(other.transform(x), found.transform(x))
    if found.steps[0].moves_only:  # else partial_fit is refused: what the second has learnt would not hold
        other.partial_fit(x)
        found.partial_fit(x)
        np.testing.assert_array_equal(other.transform(x), found.transform(x))
    state = found.state_dict()
    for wrong in ({}, state | {"2.mean": x}, {name: array[..., None] for name, array in state.items()}):
        with pytest.raises(ValueError, match=r"state must|shape must|mean must"):
            other.load_state_dict(wrong)


def test_a_new_array_of_a_dtype() -> None:
    found = Compose(Images(), Standardize("channel")).fit(draw((9, 5, 5, 3)))
    got = transformed(found, draw((4, 5, 5, 3)), np.float32)
    assert (got.shape, got.dtype.name, got.flags.c_contiguous) == ((4, 3, 5, 5), "float32", True)


def test_it_is_a_step_of_scikit_learn_s_pipelines() -> None:
    pytest.importorskip("sklearn")
    from sklearn.base import clone
    from sklearn.exceptions import NotFittedError
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils.validation import check_is_fitted

    x, y = draw((60, 3), 5.0, 2.0), np.arange(60) % 2
    ours, theirs = (make_pipeline(step, LogisticRegression()) for step in (Standardize(), StandardScaler()))
    np.testing.assert_allclose(ours.fit(x, y).predict_proba(x), theirs.fit(x, y).predict_proba(x), rtol=1e-6)
    for step in (ZeroCenter(), MinMax((-1, 1)), PCA(2), Whiten(), Compose(Flatten(), Standardize(), PCA(2))):
        copy = clone(step)
        assert repr(copy) == repr(step)
        assert copy is not step
        with pytest.raises(NotFittedError):
            check_is_fitted(copy)
        pipeline = make_pipeline(step, MinMax())
        assert pipeline.fit(x).transform(x).max() <= 1 + 1e-12
        check_is_fitted(pipeline)
    search = make_pipeline(Compose(Flatten(), PCA(2)), LogisticRegression())
    found = GridSearchCV(search, {"compose__1__n_components": [1, 3]}, cv=2).fit(x, y)
    assert found.best_params_["compose__1__n_components"] in (1, 3)
    copy = clone(Standardize(per="channel"))
    assert copy.get_params() == {"per": "channel", "layout": "nchw"}
    np.testing.assert_allclose(Standardize().fit_transform(x), StandardScaler().fit_transform(x), atol=1e-12)
