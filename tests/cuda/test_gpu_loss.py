"""The losses on a GPU, or the emulator, against the reference in float64, and the CPU's errors."""

from __future__ import annotations

import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn.functional
from fastnn import reference
from support.loss import CASES, REDUCTIONS, TOLERANCE, cast, check, draws, input_for, labels_for
from support.ulp import widen

FINFO: Any = ml_dtypes.finfo
F: Any = fastnn.functional  # takes device arrays, of which its annotations say nothing
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
Shape = tuple[int, ...]

SHORT, COLUMNS, LONG = (5, 12), (2, 7, 5), (1, 16500)  # rows, columns, rows that are read twice
CALLS: list[tuple[str, Shape, Any]] = [
    *((case, SHORT, F32) for case, (name, _) in CASES.items() if name != "nll_loss"),
    *((case, COLUMNS, F32) for case in ("weight", "soft_everything", "hinge")),
    *((case, LONG, F32) for case in ("labels", "everything", "soft_everything", "hinge")),
    *((case, SHORT, F64) for case in ("everything", "bce_weights")),
]


def there(cupy: Any, params: dict[str, Any]) -> dict[str, Any]:
    return {k: cupy.asarray(v) if isinstance(v, np.ndarray) else v for k, v in params.items()}


def run(cupy: Any, name: str, x: Any, target: Any, **params: Any) -> tuple[Any, Any]:
    """(loss, gradient) from the GPU."""
    loss, dx = getattr(F, name)(cupy.asarray(x), cupy.asarray(target), **there(cupy, params))
    assert isinstance(loss, cupy.ndarray)
    return loss.get(), dx.get()


@pytest.mark.parametrize(("case", "shape", "dtype"), CALLS, ids=str)
def test_agrees_with_the_definition(cupy: Any, case: str, shape: Shape, dtype: Any) -> None:
    name, arguments = CASES[case]
    x = input_for(case, shape).astype(dtype)
    target, params = cast(arguments(shape), dtype)
    wide = widen(target) if target.dtype.kind == "f" else target
    for reduction in REDUCTIONS if shape == SHORT else ("mean",):
        got = run(cupy, name, x, target, reduction=reduction, **params)
        exact = getattr(reference, name)(widen(x), wide, reduction=reduction, **params)
        check(got, exact, TOLERANCE[x.dtype])
        assert got[1].dtype == dtype
        assert (got[0].dtype, got[0].shape) == (dtype, np.shape(exact[0]))


def test_a_target_is_taken_in_the_input_s_dtype(cupy: Any) -> None:
    x, target = draws(*SHORT).astype(F32), np.eye(12)[labels_for(SHORT)]
    for name, dtypes in (("cross_entropy", ["f8"]), ("binary_cross_entropy_with_logits", ["f8", "i8"])):
        loss, dx = run(cupy, name, x, target.astype(F32))
        for dtype in dtypes:
            other = run(cupy, name, x, target.astype(dtype))
            assert (other[0], other[1].dtype) == (loss, F32)
            np.testing.assert_array_equal(other[1], dx)


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)], ids=str)
def test_half_types_have_losses_of_float32(cupy: Any, dtype: Any) -> None:
    x, labels = draws(*SHORT).astype(dtype), labels_for(SHORT)
    loss, dx = run(cupy, "cross_entropy", x, labels)
    exact = reference.cross_entropy(widen(x), labels)
    assert (loss.dtype, dx.dtype) == (F32, dtype)
    np.testing.assert_allclose(loss, exact[0], rtol=1e-6)
    np.testing.assert_allclose(widen(dx), exact[1].astype(F64), rtol=float(FINFO(dtype).eps), atol=1e-7)


# ---- labels ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cross_entropy", "hinge_loss"])
@pytest.mark.parametrize(("shape", "bad"), [(SHORT, 12), (SHORT, -1), (SHORT, 2**62), (COLUMNS, -(2**63))])
def test_a_label_out_of_range_is_nan(cupy: Any, name: str, shape: Shape, bad: int) -> None:
    """Nothing is read or written for it: the emulator would say so."""
    x, labels = draws(*shape).astype(F32), labels_for(shape)
    clean = run(cupy, name, x, labels, reduction="none")
    first = (0,) * labels.ndim
    labels[first] = bad
    loss, dx = run(cupy, name, x, labels, reduction="none")
    assert np.isnan(loss[first])
    assert np.isnan(np.moveaxis(dx, 1, -1)[first]).all()
    rest = np.isfinite(loss)
    assert rest.sum() == rest.size - 1
    np.testing.assert_array_equal(loss[rest], clean[0][rest])
    ours, theirs = np.moveaxis(dx, 1, -1)[rest], np.moveaxis(clean[1], 1, -1)[rest]
    np.testing.assert_array_equal(ours, theirs)
    assert np.isnan(run(cupy, name, x, labels)[0])


def test_ignored_samples_may_hold_anything(cupy: Any) -> None:
    x, labels = draws(*SHORT).astype(F32), labels_for(SHORT)
    x[1, 3], labels[1] = np.nan, -100
    loss, dx = run(cupy, "cross_entropy", x, labels, reduction="none")
    assert loss[1] == 0
    assert (dx[1] == 0).all()
    assert np.isfinite(loss).all()


def test_nothing_to_average(cupy: Any) -> None:
    x = draws(*SHORT).astype(F32)
    for params in ({}, {"weight": np.zeros(12, F32)}):
        labels = np.full(5, -100 if not params else 2)
        loss, dx = run(cupy, "cross_entropy", x, labels, **params)
        assert np.isnan(loss)
        np.testing.assert_array_equal(dx, np.zeros_like(x))
        assert run(cupy, "cross_entropy", x, labels, reduction="sum", **params)[0] == 0


def test_no_samples(cupy: Any) -> None:
    for case in ("labels", "probabilities", "hinge", "mse"):
        name, arguments = CASES[case]
        target, params = cast(arguments((0, 3)), F32)
        for reduction, expected in (("mean", np.nan), ("sum", 0.0)):
            loss, dx = run(cupy, name, np.empty((0, 3), F32), target, reduction=reduction, **params)
            np.testing.assert_array_equal(loss, expected)
            assert dx.shape == (0, 3)


# ---- numbers -----------------------------------------------------------------------------------------------


def test_cross_entropy_of_extreme_logits(cupy: Any) -> None:
    x = np.full((5, 12), -np.inf, F32)
    large = float(np.finfo(F32).max)
    x[:3, :3] = [[1e4, 0, -1e4], [-np.inf, 2, -np.inf], [np.nan, 2, 0]]
    x[3:, :3] = [[large, large, -np.inf], [-np.inf, 2, 1]]
    loss, dx = run(cupy, "cross_entropy", x, np.array([1, 1, 0, 1, 0]), reduction="none")
    np.testing.assert_allclose(loss, [1e4, 0, np.nan, np.log(2), np.inf], rtol=1e-6)
    np.testing.assert_array_equal(dx[0, :3], [1, -1, 0])
    np.testing.assert_array_equal(dx[1], np.zeros(12))
    assert np.isnan(dx[2]).all()
    np.testing.assert_array_equal(dx[3, :3], [0.5, -0.5, 0])


def test_infinite_logits(cupy: Any) -> None:
    x = np.array([[-np.inf, 0, 1], [-np.inf, -np.inf, 0], [np.inf, 0, 1], [0, 1, 2]], F32)
    for name, params in (("cross_entropy", {"label_smoothing": 0.1}), ("hinge_loss", {})):
        labels = np.zeros(4, int)
        loss, dx = run(cupy, name, x, labels, reduction="none", **params)
        exact, dexact = getattr(reference, name)(widen(x), labels, reduction="none", **params)
        np.testing.assert_allclose(loss, exact, rtol=1e-6)
        np.testing.assert_allclose(dx, dexact, rtol=1e-6, atol=1e-7)


def test_bce_keeps_its_tails(cupy: Any) -> None:
    x = np.array([-np.inf, -1e4, -80, -30, -1e-3, 0, 1e-3, 30, 80, 1e4, np.inf, 2], F32)
    name, rtol = "binary_cross_entropy_with_logits", 4 * float(np.finfo(F32).eps)
    for t in (0.0, 1.0):
        target = np.full_like(x, t)
        loss, dx = run(cupy, name, x, target, reduction="none")
        exact, dexact = getattr(reference, name)(widen(x), widen(target), reduction="none")
        finite = np.isfinite(exact)
        np.testing.assert_array_equal(loss[~finite], np.inf)
        np.testing.assert_allclose(loss[finite], exact[finite].astype(F32), rtol=rtol)
        np.testing.assert_allclose(dx, dexact.astype(F32), rtol=rtol)


def test_sums_of_many_are_double(cupy: Any) -> None:
    """Of several blocks, whose last is not full; in float32 the sum would lose the small ones."""
    n = 9001
    x, t = np.full(n, 1.0, F32), np.zeros(n, F32)
    x[0] = 30000.0
    x[1:] = 2.0**-6
    assert run(cupy, "mse_loss", x, t, reduction="sum")[0] == F32.type(9e8 + (n - 1) * 2.0**-12)
    losses = cupy.asarray(np.zeros((40000, 2), F32))
    labels = cupy.zeros(40000, "int64")
    assert float(F.hinge_loss(losses, labels, reduction="sum")[0]) == 40000


# ---- arrays ------------------------------------------------------------------------------------------------


def test_in_place_and_misaligned(cupy: Any) -> None:
    x, labels = draws(*SHORT).astype(F32), labels_for(SHORT)
    expected = run(cupy, "cross_entropy", x, labels)
    over, small = cupy.asarray(x), cupy.asarray(labels.astype("int32"))
    loss, dx = F.cross_entropy(over, small, out=over)
    assert dx is over
    np.testing.assert_array_equal(dx.get(), expected[1])
    np.testing.assert_array_equal(loss.get(), expected[0])
    t = draws(*SHORT, seed=1).astype(F32)
    expected = run(cupy, "mse_loss", x, t)
    moved = cupy.empty(x.size + 1, F32)[1:].reshape(x.shape)
    moved[...] = cupy.asarray(x)
    loss, dx = F.mse_loss(moved, cupy.asarray(t), out=moved)
    assert dx is moved
    np.testing.assert_array_equal(dx.get(), expected[1])
    np.testing.assert_allclose(loss.get(), expected[0], rtol=1e-6)


@pytest.mark.parametrize(
    "call",
    [
        lambda m, x, t: F.cross_entropy(x, t, reduction="all"),
        lambda m, x, t: F.cross_entropy(x, t[:1]),
        lambda m, x, t: F.cross_entropy(x[0], t),
        lambda m, x, t: F.cross_entropy(x, x[:, :1]),
        lambda m, x, t: F.cross_entropy(x, t, x[0, :2]),
        lambda m, x, t: F.cross_entropy(x, t, label_smoothing=2.0),
        lambda m, x, t: F.cross_entropy(x, t, ignore_index=1.5),
        lambda m, x, t: F.cross_entropy(x, t, out=x[:1]),
        lambda m, x, t: F.hinge_loss(x, t, margin=m.inf),
        lambda m, x, t: F.hinge_loss(x, x),
        lambda m, x, t: F.hinge_loss(x, t[:1]),
        lambda m, x, t: F.mse_loss(x, x[:1]),
        lambda m, x, t: F.mse_loss(x[:, :1], x[:, 0]),
        lambda m, x, t: F.cross_entropy(x, x[:, 0]),
        lambda m, x, t: F.hinge_loss(x, t[:, None]),
        lambda m, x, t: F.binary_cross_entropy_with_logits(x, x, x[0, :2]),
    ],
)
def test_errors_are_the_cpu_s(cupy: Any, call: Any) -> None:
    x, t = np.ones((3, 4), F32), np.array([0, 1, 2])
    with pytest.raises((ValueError, TypeError)) as expected:
        call(np, x, t)
    with pytest.raises(expected.type, match=re.escape(str(expected.value))):
        call(np, cupy.asarray(x), cupy.asarray(t))


def test_the_likelihood_alone_is_not_there(cupy: Any) -> None:
    with pytest.raises(NotImplementedError, match=r"^nll_loss takes no arrays on a GPU; cross_entropy does"):
        F.nll_loss(cupy.asarray(draws(*SHORT)), cupy.asarray(labels_for(SHORT)))
