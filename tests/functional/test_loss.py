"""The losses against definitions, finite differences, torch, values by hand; arrays, threads, bad input."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import reference
from fastnn._core.typing import Array
from support.cases import each
from support.loss import (
    CASES,
    REDUCTIONS,
    TOLERANCE,
    Shape,
    cast,
    check,
    draws,
    input_for,
    labels_for,
    probabilities_for,
)
from support.ulp import widen

FULL = each("dtype", [np.float32, np.float64])
BOTH = each("module", [F, reference])
REDUCTION = each("reduction", REDUCTIONS)

SHAPES: list[Shape] = [
    *((5, classes) for classes in (1, 2, 3, 10, 15, 16, 17, 24, 25, 33, 64, 100, 1000)),
    (70, 10),
    (2, 3, 5),
    (2, 10, 6, 7),
    (2, 70, 33),
    (2, 257, 20),
    (1, 300, 2, 3),
]
SHAPE = each("shape", SHAPES)


CASE = pytest.mark.parametrize("case", CASES)


# ---- against the definition --------------------------------------------------------------------------------


@CASE
@SHAPE
@FULL
def test_agrees_with_the_definition(case: str, shape: Shape, dtype: Any, isa: str) -> None:
    name, arguments = CASES[case]
    x = input_for(case, shape).astype(dtype)
    target, params = cast(arguments(shape), dtype)
    before = x.copy()
    for reduction in REDUCTIONS:
        got = getattr(F, name)(x, target, reduction=reduction, **params)
        wide_target = widen(target) if target.dtype.kind == "f" else target
        exact = getattr(reference, name)(widen(x), wide_target, reduction=reduction, **params)
        check(got, exact, TOLERANCE[x.dtype])
        assert got[1].dtype == dtype
        if reduction == "none":
            assert (got[0].dtype, got[0].shape) == (dtype, np.shape(exact[0]))
        else:
            assert type(got[0]) is float
    np.testing.assert_array_equal(x, before)


@CASE
@BOTH
@each("reduction", ["mean", "sum"])
def test_gradient_is_the_finite_difference(case: str, module: Any, reduction: str) -> None:
    name, arguments = CASES[case]
    shape, h = (3, 4, 2), 1e-5
    x, (target, params) = input_for(case, shape), arguments(shape)
    function = getattr(module, name)
    _, dx = function(x, target, reduction=reduction, **params)
    for i in np.ndindex(shape):
        step = np.zeros(shape)
        step[i] = h
        up, down = (function(x + sign * step, target, reduction=reduction, **params)[0] for sign in (1, -1))
        assert dx[i] == pytest.approx((up - down) / (2 * h), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("case", [case for case, (name, _) in CASES.items() if name != "hinge_loss"])
@each("shape", [(7, 10), (3, 30, 8)])
@REDUCTION
def test_agrees_with_torch(case: str, shape: Shape, reduction: str) -> None:
    torch = pytest.importorskip("torch")
    name, arguments = CASES[case]
    x, (target, params) = input_for(case, shape), arguments(shape)
    tensor = torch.tensor(x, requires_grad=True)
    theirs = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in params.items()}
    function = getattr(torch.nn.functional, name)
    expected = function(tensor, torch.tensor(target), reduction=reduction, **theirs)
    expected.sum().backward()
    loss, dx = getattr(F, name)(x, target, reduction=reduction, **params)
    np.testing.assert_allclose(loss, expected.detach().numpy(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dx, tensor.grad.numpy(), rtol=1e-11, atol=1e-15)


def test_hinge_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch")
    x, labels = draws(9, 5), labels_for((9, 5))
    tensor = torch.tensor(x, requires_grad=True)
    expected = 5 * torch.nn.functional.multi_margin_loss(tensor, torch.tensor(labels), margin=0.7)
    expected.backward()
    loss, dx = F.hinge_loss(x, labels, 0.7)
    assert loss == pytest.approx(expected.item(), rel=1e-14)
    np.testing.assert_allclose(dx, tensor.grad.numpy(), rtol=1e-14)


# ---- by hand -----------------------------------------------------------------------------------------------


@BOTH
def test_cross_entropy_by_hand(module: Any) -> None:
    loss, dinput = module.cross_entropy(np.log([[1.0, 3.0], [1.0, 1.0]]), [1, 0])
    assert loss == pytest.approx((np.log(4 / 3) + np.log(2)) / 2, rel=1e-15)
    np.testing.assert_allclose(dinput, [[1 / 8, -1 / 8], [-1 / 4, 1 / 4]], rtol=1e-14)


@BOTH
def test_hinge_by_hand(module: Any) -> None:
    """The scores of CS231n's example, and a class exactly on the margin, which has no gradient."""
    loss, dinput = module.hinge_loss(np.array([[13.0, -7.0, 11.0], [3.0, 4.0, 2.0]]), [0, 1], 10.0, "none")
    np.testing.assert_array_equal(loss, [8, 17])
    np.testing.assert_array_equal(dinput, [[-1, 0, 1], [1, -2, 1]])
    loss, dinput = module.hinge_loss(np.array([[2.0, 1.0, 1.5]]), [0])
    assert loss == 0.5
    np.testing.assert_array_equal(dinput, [[-1, 0, 1]])
    loss, dinput = module.hinge_loss(np.array([[2.0, 1.0]]), [0])
    assert loss == 0
    np.testing.assert_array_equal(dinput, [[0, 0]])


@BOTH
def test_mse_and_bce_by_hand(module: Any) -> None:
    loss, dinput = module.mse_loss(np.array([1.0, 5.0]), np.array([3.0, 4.0]))
    assert loss == 2.5
    np.testing.assert_array_equal(dinput, [-2, 1])
    loss, dinput = module.binary_cross_entropy_with_logits(
        np.zeros(2), np.array([1.0, 0.25]), pos_weight=[3.0]
    )
    assert loss == pytest.approx(np.log(2) * (3 + 0.75 + 0.75) / 2, rel=1e-15)
    np.testing.assert_allclose(dinput, [-3 / 4, 0], atol=1e-16)


@BOTH
def test_absolute_and_huber_errors_by_hand(module: Any) -> None:
    x, t = np.array([1.0, 3.0, -4.0, 2.0]), np.array([1.0, 2.5, 0.0, 4.0])
    for name, parameters, losses, gradient in [
        ("l1_loss", {}, [0, 0.5, 4, 2], [0, 1, -1, -1]),
        ("smooth_l1_loss", {"beta": 2.0}, [0, 0.0625, 3, 1], [0, 0.25, -1, -1]),
        ("huber_loss", {"delta": 2.0}, [0, 0.125, 6, 2], [0, 0.5, -2, -2]),
    ]:
        got = getattr(module, name)(x, t, "none", **parameters)
        np.testing.assert_array_equal(got, (losses, gradient))


@BOTH
def test_divergences_and_likelihoods_by_hand(module: Any) -> None:
    x, t = np.log([[0.5, 0.5], [0.25, 0.75]]), np.array([[0.25, 0.75], [0.0, 1.0]])
    exact = [[0.25 * np.log(0.5), 0.75 * np.log(1.5)], [0, -np.log(0.75)]]
    for target, log_target in ((t, False), (np.where(t > 0, np.log(np.maximum(t, 0.1)), -np.inf), True)):
        losses, gradient = module.kl_div(x, target, "none", log_target)
        np.testing.assert_allclose(losses, exact, rtol=1e-14)
        np.testing.assert_allclose(gradient, -t, rtol=1e-15)
        loss, gradient = module.kl_div(x, target, "batchmean", log_target)
        assert loss == pytest.approx(np.sum(exact) / 2, rel=1e-15)
        np.testing.assert_allclose(gradient, -t / 2, rtol=1e-15)
    loss, gradient = module.nll_loss(x, [1, 0], [1.0, 3.0])
    assert loss == pytest.approx((3 * np.log(2) + np.log(4)) / 4, rel=1e-15)
    np.testing.assert_allclose(gradient, [[0, -0.75], [-0.25, 0]], rtol=1e-15)
    losses, gradient = module.binary_cross_entropy(
        np.array([0.0, 0.0, 1.0, 0.5]), [1.0, 0.0, 0.25, 1], None, "none"
    )
    np.testing.assert_allclose(losses, [100, 0, 75, np.log(2)], rtol=1e-15)
    np.testing.assert_allclose(gradient, [-1e12, 0, 0.75e12, -2], rtol=1e-15)


# ---- extremes ----------------------------------------------------------------------------------------------


@BOTH
@each("pad", [0, 200])
def test_cross_entropy_of_extreme_logits(module: Any, pad: int) -> None:
    """In a short row and in a long one, whose other classes are masked out."""

    def padded(row: list[float], dtype: Any) -> Array:
        return np.array([row + [-np.inf] * pad], dtype)

    loss, dinput = module.cross_entropy(padded([1e4, 0, -1e4], np.float32), [1])
    assert loss == 1e4
    np.testing.assert_array_equal(dinput, [[1, -1, 0] + [0] * pad])
    loss, dinput = module.cross_entropy(padded([-np.inf, 2.0], np.float64), [1])  # nothing but the label
    assert loss == 0
    np.testing.assert_array_equal(dinput, np.zeros((1, 2 + pad)))
    loss, dinput = module.cross_entropy(padded([np.nan, 2.0], np.float64), [1])
    assert np.isnan(loss)
    assert np.isnan(dinput).all()
    loss, _ = module.cross_entropy(padded([-np.inf, 2.0], np.float64), [0])
    assert loss == np.inf
    target = padded([0.25, 0.75], np.float64)
    target[target < 0] = 0  # a masked class of probability 0 costs nothing
    loss, dinput = module.cross_entropy(padded([2.0, 2.0], np.float64), target)
    assert loss == pytest.approx(np.log(2), rel=1e-15)
    np.testing.assert_allclose(dinput, [[0.25, -0.25] + [0] * pad], atol=1e-15)
    large = float(np.finfo(np.float32).max)
    loss, dinput = module.cross_entropy(padded([large, large], np.float32), [1])
    assert loss == pytest.approx(np.log(2), rel=1e-6)
    np.testing.assert_array_equal(dinput, [[0.5, -0.5] + [0] * pad])


# Labels and distributions meet -inf, +inf and NaN in every place, in rows of few classes and of many.
INF = np.inf
SPECIAL = [
    *([-INF, 0.0, 1.0], [-INF, -INF, 0.0], [-INF, -INF, -INF], [np.nan, 0.0, 1.0]),
    *([INF, 0.0, 1.0], [INF, INF, 0.0], [INF, -INF, 0.0], [0.0, 1.0, 2.0]),
]
SPECIAL_CASES: list[tuple[str, dict[str, Any]]] = [
    *[
        ("cross_entropy", {"label_smoothing": s, "weight": w})
        for s in (0.0, 0.1, 1.0)
        for w in (None, 1.0, 0.0)
    ],
    *[("hinge_loss", {"margin": margin}) for margin in (1.0, 0.0, -0.5)],
]


@FULL
@each(("name", "params"), SPECIAL_CASES)
@each("classes", [3, 203])
def test_infinite_logits(name: str, params: dict[str, Any], classes: int, dtype: Any, isa: str) -> None:
    """`weight` is that of the first class."""
    logits = np.concatenate([np.array(SPECIAL)[:, order] for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0])])
    x = np.full((3 * len(logits), classes), -1, dtype)
    x[:, :3] = np.repeat(logits, 3, axis=0)
    label = np.resize(np.arange(3), len(x))
    targets = [label]
    if name == "cross_entropy":
        targets += [np.eye(classes, dtype=dtype)[label], np.where(label == 1, -100, label)]
        weight = params["weight"]
        params = {**params, "weight": weight if weight is None else np.r_[weight, np.ones(classes - 1)]}
    for target in targets:
        got = getattr(F, name)(x, target, **params, reduction="none")
        exact = getattr(reference, name)(widen(x), target, **params, reduction="none")
        for ours, theirs in zip(got, exact, strict=True):
            np.testing.assert_allclose(ours, theirs.astype(np.float64), rtol=1e-5, atol=1e-6)


ODD = (INF, -INF, np.nan, 0.0, 1.0, 5e-324, 1e-310, 1e-46, 1e-38, 1e-12, 1 - 1e-7, 1e30, -1.0)


@FULL
@each(
    ("name", "parameters"),
    [
        *(("mse_loss", {}), ("l1_loss", {}), ("kl_div", {}), ("kl_div", {"log_target": True})),
        *(("smooth_l1_loss", {"beta": beta}) for beta in (0.0, 0.5, 1e-50)),
        *(("huber_loss", {"delta": delta}) for delta in (0.5, 1e-50, INF)),
        ("binary_cross_entropy", {}),
    ],
)
def test_elements_of_every_kind(name: str, parameters: dict[str, Any], dtype: Any, isa: str) -> None:
    """Infinities, NaN, 0, subnormals and what is near 1 meet as input and as target."""
    numbers = np.array(ODD, dtype)
    if name == "binary_cross_entropy":
        numbers = numbers[~((numbers < 0) | (numbers > 1))]
    x, t = (grid.ravel().copy() for grid in np.meshgrid(numbers, numbers))
    got = getattr(F, name)(x, t, reduction="none", **parameters)
    for ours, exact in zip(got, getattr(reference, name)(x, t, reduction="none", **parameters), strict=True):
        np.testing.assert_allclose(ours, exact, rtol=8 * np.finfo(dtype).eps, atol=np.finfo(dtype).tiny)


@FULL
def test_logarithms_keep_their_digits(dtype: Any, isa: str) -> None:
    """The loss of one class is -log(p), of the other -log(1 - p), also where p is near 0 or 1."""
    small = np.logspace(-30, -0.31, 300)
    p = np.concatenate([small, 1 - small, np.linspace(0.3, 0.7, 100)]).astype(dtype)
    with np.errstate(divide="ignore"):  # of 1 - small, rounded to 1
        all_exact = -np.log(widen(p)), -np.log1p(-widen(p))
    for t, exact in zip((1, 0), all_exact, strict=True):
        losses, _ = F.binary_cross_entropy(p, np.full_like(p, t), reduction="none")
        exact = np.minimum(exact, 100).astype(np.float64)
        np.testing.assert_allclose(losses, exact, rtol=3 * np.finfo(dtype).eps)


@FULL
@each("shape", [(40, 10), (40, 100), (3, 10, 40), (3, 300, 5)])
def test_ignored_samples_and_broken_ones_keep_to_themselves(dtype: Any, shape: Shape, isa: str) -> None:
    x, labels = draws(*shape).astype(dtype), labels_for(shape)
    first = (0,) * labels.ndim
    clean = F.cross_entropy(x, labels, reduction="none")
    broken = np.moveaxis(x.copy(), 1, -1)
    broken[first][3] = np.nan
    x = np.moveaxis(broken, -1, 1)
    loss, dinput = F.cross_entropy(x, labels, reduction="none")
    bad = np.isnan(loss)
    assert bad[first]
    assert bad.sum() == 1
    np.testing.assert_array_equal(loss[~bad], clean[0][~bad])
    gradient, expected = np.moveaxis(dinput, 1, -1), np.moveaxis(clean[1], 1, -1)
    assert np.isnan(gradient[bad]).all()
    np.testing.assert_array_equal(gradient[~bad], expected[~bad])
    labels[first] = -100  # an ignored sample may hold anything
    for smoothing in (0.0, 0.1):
        loss, dinput = F.cross_entropy(x, labels, reduction="none", label_smoothing=smoothing)
        assert loss[first] == 0
        assert (np.moveaxis(dinput, 1, -1)[first] == 0).all()
        assert np.isfinite(loss).all()


@each("labels", [np.full(4, -100), np.full(4, 2)])
@each("weight", [None, [1.0, 1.0, 0.0]])
def test_nothing_to_average(labels: Array, weight: Any) -> None:
    if weight is None and labels[0] == 2:
        pytest.skip("an ordinary loss")
    for module in (F, reference):
        loss, dinput = module.cross_entropy(draws(4, 3), labels, weight)
        assert math.isnan(loss)
        np.testing.assert_array_equal(dinput, np.zeros((4, 3)))
        if labels[0] == 2:  # with smoothing there is a loss, which is divided by 0
            assert module.cross_entropy(draws(4, 3), labels, weight, label_smoothing=0.1)[0] == np.inf
        loss, dinput = module.cross_entropy(draws(4, 3), labels, weight, reduction="sum")
        assert loss == 0
        np.testing.assert_array_equal(dinput, np.zeros((4, 3)))


@CASE
def test_reduction_may_be_a_text_of_numpys(case: str) -> None:
    name, arguments = CASES[case]
    target, params = arguments((4, 3))
    x = input_for(case, (4, 3))
    expected, got = (
        getattr(F, name)(x, target, reduction=text, **params)[0] for text in ("sum", np.str_("sum"))
    )
    assert got == expected


@CASE
def test_no_samples(case: str) -> None:
    name, arguments = CASES[case]
    target, params = arguments((0, 3))
    for reduction, expected in (("mean", np.nan), ("sum", 0.0)):
        loss, dinput = getattr(F, name)(np.empty((0, 3), np.float32), target, reduction=reduction, **params)
        np.testing.assert_array_equal(loss, expected)
        assert dinput.shape == (0, 3)


@FULL
def test_bce_keeps_its_tails(dtype: Any, isa: str) -> None:
    x = np.array([-np.inf, -1e4, -80, -30, -1e-3, 0, 1e-3, 30, 80, 1e4, np.inf], dtype)
    for t in (0.0, 1.0):
        target = np.full_like(x, t)
        loss, dinput = F.binary_cross_entropy_with_logits(x, target, reduction="none")
        exact, dexact = reference.binary_cross_entropy_with_logits(widen(x), widen(target), reduction="none")
        finite = np.isfinite(exact)
        np.testing.assert_array_equal(loss[~finite], np.inf)
        rtol = 4 * float(np.finfo(dtype).eps)
        np.testing.assert_allclose(loss[finite], exact[finite].astype(dtype), rtol=rtol)
        np.testing.assert_allclose(dinput, dexact.astype(dtype), rtol=rtol)
    assert np.isnan(F.binary_cross_entropy_with_logits(np.full(3, np.nan, dtype), np.zeros(3, dtype))[0])


def test_sums_of_many_are_double() -> None:
    """In float32 the sum would stop growing, or lose the small ones."""
    n = 1 << 21
    x, t = np.full(n, 1.0, np.float32), np.zeros(n, np.float32)
    x[0] = 3000.0
    assert F.mse_loss(x, t, "sum")[0] == 9e6 + n - 1
    logits = np.zeros((n // 8, 8), np.float32)
    assert F.cross_entropy(logits, np.zeros(n // 8, int))[0] == pytest.approx(np.log(8), rel=1e-7)


# ---- arrays ------------------------------------------------------------------------------------------------

LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "plain": np.array,
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "reversed": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "fortran": np.asfortranarray,
    "swapped": lambda a: a.astype(a.dtype.newbyteorder()),
}


EPS = {np.float32: 2e-6, np.float16: 2.0**-10, ml_dtypes.bfloat16: 2.0**-7}


@CASE
@each("layout", LAYOUTS)
@each("dtype", EPS)
def test_layouts_dtypes_and_out(case: str, layout: str, dtype: Any) -> None:
    name, arguments = CASES[case]
    lay_out, shape = LAYOUTS[layout], (4, 30, 6)
    x = input_for(case, shape).astype(dtype)
    target, params = cast(arguments(shape), dtype)
    loss, dinput = getattr(F, name)(x, target, reduction="none", **params)
    assert loss.dtype == dinput.dtype == dtype
    wide = cast((target, params), np.float64)
    exact = getattr(reference, name)(x.astype(np.float64), wide[0], reduction="none", **wide[1])
    check(
        (loss.astype(np.float64), dinput.astype(np.float64)),
        exact,
        EPS[dtype],
    )
    laid = {k: lay_out(v) if isinstance(v, np.ndarray) else v for k, v in params.items()}
    for out in (None, np.zeros(shape, dtype), lay_out(np.zeros(shape, dtype)), "input", "target"):
        given, goal = lay_out(x), lay_out(target)
        if isinstance(out, str):
            if out == "target" and goal.dtype.kind != dtype(0).dtype.kind:
                continue
            out = given if out == "input" else goal
        got = getattr(F, name)(given, goal, reduction="none", out=out, **laid)
        assert out is None or got[1] is out
        np.testing.assert_array_equal(got[0], loss)
        np.testing.assert_array_equal(got[1].astype(dtype), dinput)


def test_labels_of_any_integer_dtype() -> None:
    x, labels = draws(20, 10), labels_for((20, 10))
    expected = F.cross_entropy(x, labels)
    for dtype in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i4", ">i8"):
        for function in (F.cross_entropy, F.hinge_loss):
            loss, dinput = function(x, labels.astype(dtype))
            assert loss == function(x, labels)[0]
            np.testing.assert_array_equal(dinput, function(x, labels)[1])
    assert F.cross_entropy(x.tolist(), labels.tolist())[0] == expected[0]
    numbers: Any = np.int64(-100), np.float32(0)
    assert F.cross_entropy(x, labels, None, numbers[0], "mean", numbers[1])[0] == expected[0]
    assert F.cross_entropy(x, labels, ignore_index=2**70)[0] == expected[0]
    assert F.cross_entropy(x.round().astype(int), labels)[1].dtype == np.float64


TAKEN = {
    "float64": np.float64,
    "float32": np.float32,
    "float16": np.float16,
    "integers": int,
    "booleans": bool,
}


@each("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
@each("taken", TAKEN)
def test_a_target_is_taken_in_the_input_s_dtype(dtype: Any, taken: str) -> None:
    x, labels = draws(5, 4).astype(dtype), [0, 3, 1, 1, 2]
    t: Array = np.eye(4)[labels].astype(TAKEN[taken])
    functions: list[Any] = [F.mse_loss, F.binary_cross_entropy_with_logits]
    for function in functions if t.dtype.kind in "ib" else [F.cross_entropy, *functions]:
        for given in (t, np.asfortranarray(t)):
            loss, dinput = function(x, given)
            expected = function(x, t.astype(dtype))
            assert (loss, dinput.dtype) == (expected[0], x.dtype)
            np.testing.assert_array_equal(dinput, expected[1])


def test_a_fine_target_keeps_its_digits_beside_a_half_input() -> None:
    x, t = np.ones(3, np.float16), np.full(3, 1 + 2.0**-20)
    assert F.mse_loss(x, t, "sum")[0] == 3 * 2.0**-40


def test_weights_are_taken_in_the_input_s_dtype() -> None:
    x = draws(5, 4).astype(np.float32)
    assert F.cross_entropy(x, [0, 1, 2, 3, 0], np.array([1, 2, 3, 4]))[1].dtype == np.float32


def test_out_in_the_memory_of_another_argument() -> None:
    x, labels = draws(6, 4), labels_for((6, 4))
    loss, dinput = F.cross_entropy(x, labels)
    memory = np.empty(30)
    memory[:24] = x.ravel()
    got = F.cross_entropy(memory[:24].reshape(6, 4), labels, out=memory[6:].reshape(6, 4))
    assert got[0] == loss
    np.testing.assert_array_equal(got[1], dinput)
    for shape in ((3, 10), (2, 5000), (1, 300, 40)):
        x, t = draws(*shape), probabilities_for(shape)
        loss, dinput = F.cross_entropy(x, t)
        assert F.cross_entropy(x, t, out=t)[0] == loss
        np.testing.assert_array_equal(t, dinput)
    x = draws(6, 4)
    loss, dinput = F.cross_entropy(x, labels)
    shared = np.empty(24)
    shared[:6].view(np.int64)[:] = labels
    got = F.cross_entropy(x, shared[:6].view(np.int64), out=shared.reshape(6, 4))
    assert got[0] == loss
    np.testing.assert_array_equal(got[1], dinput)


@CASE
@each("shape", [(3000, 10), (300, 200), (3, 40000), (5, 64, 300)])
def test_threads_do_not_change_a_bit(case: str, shape: Shape, threads: None) -> None:
    name, arguments = CASES[case]
    x = input_for(case, shape).astype(np.float32)
    target, params = cast(arguments(shape), np.float32)
    results = []
    for count in (1, 2, 3, 8):
        fastnn.set_num_threads(count)
        results.append(getattr(F, name)(x, target, **params))
    for loss, dinput in results[1:]:
        assert loss == results[0][0]
        np.testing.assert_array_equal(dinput, results[0][1])


# ---- one sample without a batch ----------------------------------------------------------------------------


@each("reduction", ["mean", "sum", "none"])
@each("dtype", ["float32", "float64", "float16"])
def test_one_sample_needs_no_batch(reduction: str, dtype: str) -> None:
    x = np.array([1.0, -2.0, 0.5, 3.0], dtype)
    weight, soft = np.array([1, 2, 3, 4], dtype), np.array([0.1, 0.2, 0.3, 0.4], dtype)
    calls: list[Any] = [
        lambda x, t, s, **kw: F.cross_entropy(x, t, weight, reduction=reduction, label_smoothing=0.1, **kw),
        lambda x, t, s, **kw: F.cross_entropy(x, s, reduction=reduction, **kw),
        lambda x, t, s, **kw: F.hinge_loss(x, t, reduction=reduction, **kw),
    ]
    for call in calls:
        expected, gradient = call(x[None], np.array([2]), soft[None])
        out = np.empty_like(x)
        for loss, dx in (call(x, np.array(2), soft), call(x, 2, soft, out=out)):
            assert np.shape(loss) == ()
            assert loss == np.squeeze(expected)
            np.testing.assert_array_equal(dx, gradient[0])
        assert dx is out
    for name in ("cross_entropy", "hinge_loss"):
        loss, dx = getattr(reference, name)(x.astype(float), 2, reduction=reduction)
        ours = getattr(F, name)(x.astype(float), 2, reduction=reduction)
        np.testing.assert_allclose(loss, ours[0])
        np.testing.assert_allclose(dx, ours[1], atol=1e-15)
    with pytest.raises(ValueError, match=r"target\[0\] must be a class from 0 to 3"):
        F.cross_entropy(x, 4)


# ---- errors ------------------------------------------------------------------------------------------------

ONES = np.ones((2, 3))


@pytest.mark.parametrize("name", ["cross_entropy", "hinge_loss"])
@pytest.mark.parametrize(
    ("input", "target", "error", "message"),
    [
        (np.ones((2, 3), complex), [0, 1], TypeError, "input must be an array of float16"),
        (
            np.ones(3),
            [0, 1, 2],
            ValueError,
            "target must have shape (), one label for the sample, got (3,)",
        ),
        (
            np.ones((2, 0)),
            [0, 0],
            ValueError,
            "input must have shape (N, C), (N, C, ...) or (C,) with C at least 1, got",
        ),
        (ONES, [True, False], TypeError, "target must be integers, got an array of bool"),
        (ONES, [0, 1, 2], ValueError, "target must have shape (2,), one label for each sample, got (3,)"),
        (ONES, [[0], [1]], ValueError, "target must have shape (2,), one label for each sample, got (2, 1)"),
        (ONES, [0, 3], ValueError, "target[1] must be a class from 0 to 2*, got 3"),
        (ONES, [-1, 7], ValueError, "target[0] must be a class from 0 to 2*, got -1"),
        (
            ONES,
            np.array([2**64 - 100, 0], np.uint64),
            ValueError,
            "target[0] must be a class from 0 to 2*, got 18446744073709551516",
        ),
        (
            np.ones((2, 3, 2)),
            [[0, 1], [1, 9]],
            ValueError,
            "target[1, 1] must be a class*, got 9",
        ),
    ],
)
def test_bad_samples_raise_before_anything_is_written(
    name: str, input: Any, target: Any, error: type[Exception], message: str
) -> None:
    out = np.full(np.shape(input), 7.0)
    for given in (target, np.asarray(target)):  # plain arrays take a way of their own
        with pytest.raises(error, match=".*".join(map(re.escape, message.split("*")))):
            getattr(F, name)(input, given, out=out)
    assert (out == 7).all()


@each("bad", [0, 39, 77])
@each("value", [10, -1, -100, 2**62, -(2**63)])
def test_one_bad_label_of_many(bad: int, value: int) -> None:
    x, labels = draws(78, 10), labels_for((78, 10), 5)
    labels[bad] = value
    for call in (F.hinge_loss, F.cross_entropy):
        parameters: dict[str, Any] = {} if call is F.hinge_loss else {"ignore_index": 5}
        with pytest.raises(
            ValueError, match=rf"^target\[{bad}\] must be a class from 0 to 9.*, got {value}$"
        ):
            call(x, labels, **parameters)
    if value == -100:
        assert np.isfinite(F.cross_entropy(x, labels)[0])


def test_bad_targets() -> None:
    with pytest.raises(TypeError, match=r"^target must be integers, got an array of float64"):
        F.hinge_loss(ONES, [0.0, 1.0])
    with pytest.raises(ValueError, match=r"^target must have the shape of input, \(2, 3\), got \(2,\)"):
        F.cross_entropy(ONES, [0.0, 1.0])
    with pytest.raises(ValueError, match=r"^target\[0\] must be a class from 0 to 2, got -100$"):
        F.hinge_loss(ONES, [-100, 1])
    with pytest.raises(ValueError, match=r"^target\[1\] must be .* or ignore_index, 5, got -100$"):
        F.cross_entropy(ONES, [5, -100], ignore_index=5)
    for function in (F.mse_loss, F.binary_cross_entropy_with_logits):
        with pytest.raises(ValueError, match=r"^target must have the shape of input, \(2, 3\), got \(3,\)"):
            function(ONES, np.ones(3))


OF_STRINGS, OF_ONE_HOT = "np.unique(target, return_inverse=True)[1]", "target.argmax(axis=1) makes labels"
OF_FLOATS = "labels must be integers: target.astype(np.int64)"
ADVICE: list[tuple[Callable[..., Any], Any, str]] = [
    (F.mse_loss, np.ones(6), "of input, (6, 1), got (6,); target.reshape(-1, 1) has it"),
    (F.mse_loss, np.ones(5), "target must have the shape of input, (6, 1), got (5,)"),
    (F.mse_loss, ["a"] * 6, "target must be an array of float16, bfloat16, float32, float64, integers"),
    (F.cross_entropy, ["cat"] * 6, f"target must be integers, got strings; {OF_STRINGS}"),
    (F.cross_entropy, np.array(["a"] * 6, object), f"integers, got an array of object; {OF_STRINGS}"),
    (F.cross_entropy, np.zeros(6), f"target must have the shape of input, (6, 6), got (6,); {OF_FLOATS}"),
    (F.cross_entropy, np.zeros((6, 1), int), "each sample, got (6, 1); target.reshape(-1) has it"),
    (F.cross_entropy, np.eye(6, dtype=int), f"one label for each sample, got (6, 6); {OF_ONE_HOT}"),
    (F.cross_entropy, np.eye(6, dtype=bool), f"got an array of bool; {OF_ONE_HOT}"),
    (F.hinge_loss, ["cat"] * 6, f"target must be integers, got strings; {OF_STRINGS}"),
    (F.hinge_loss, np.zeros(6), f"got an array of float64; {OF_FLOATS}"),
    (F.hinge_loss, np.eye(6), f"got an array of float64; {OF_ONE_HOT}"),
]


@each(("loss", "target", "message"), ADVICE)
def test_bad_targets_get_advice(loss: Any, target: Any, message: str) -> None:
    x = np.ones((6, 1) if loss is F.mse_loss else (6, 6), np.float32)
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        loss(x, target)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"label_smoothing": 1.5}, ValueError, "label_smoothing must be in [0, 1], got 1.5"),
        ({"label_smoothing": math.nan}, ValueError, "label_smoothing must be in [0, 1], got nan"),
        ({"label_smoothing": "0"}, TypeError, "label_smoothing must be a real number, got str"),
        ({"ignore_index": 1.0}, TypeError, "ignore_index must be an integer, got float"),
        ({"weight": np.ones(2)}, ValueError, "weight must have shape (3,), one for each class, got (2,)"),
        ({"weight": np.ones((1, 3))}, ValueError, "weight must have shape (3,)"),
        ({"out": np.ones((2, 2))}, ValueError, "out must have shape (2, 3), got (2, 2)"),
        ({"out": np.ones((2, 3), np.float32)}, TypeError, "out must have dtype float64, got float32"),
    ],
)
def test_bad_parameters(parameters: dict[str, Any], error: type[Exception], message: str) -> None:
    for target in ([0, 1], ONES / 3):
        with pytest.raises(error, match=re.escape(message)):
            F.cross_entropy(ONES, target, **parameters)


def test_other_bad_parameters() -> None:
    wrong: Any
    for wrong in ("average", None, 1, ["mean"]):
        for name, _ in CASES.values():
            target = [0, 1] if name in ("cross_entropy", "nll_loss", "hinge_loss") else ONES
            with pytest.raises(ValueError, match=r"^reduction must be .*'mean', 'sum' or 'none', got"):
                getattr(F, name)(ONES, target, reduction=wrong)
    for wrong in ("1", None):
        with pytest.raises(TypeError, match=r"^margin must be a real number"):
            F.hinge_loss(ONES, [0, 1], margin=wrong)
    for margin in (math.nan, math.inf):
        with pytest.raises(ValueError, match=r"^margin must be finite, got"):
            F.hinge_loss(ONES, [0, 1], margin)
    for name, wrong, error, message in [
        ("smooth_l1_loss", {"beta": -1}, ValueError, "beta must be at least 0, got -1"),
        ("smooth_l1_loss", {"beta": math.nan}, ValueError, "beta must be at least 0, got nan"),
        ("huber_loss", {"delta": 0}, ValueError, "delta must be above 0, got 0"),
        ("huber_loss", {"delta": "1"}, TypeError, "delta must be a real number, got str"),
        (
            "kl_div",
            {"reduction": "max"},
            ValueError,
            "reduction must be 'batchmean', 'mean', 'sum' or 'none'",
        ),
        (
            "mse_loss",
            {"reduction": "batchmean"},
            ValueError,
            "reduction must be 'mean', 'sum' or 'none', got",
        ),
    ]:
        with pytest.raises(error, match=f"^{message}"):
            getattr(F, name)(ONES, ONES, **wrong)
    with pytest.raises(ValueError, match=r"^input must have a dimension of samples .*, got shape \(\)$"):
        F.kl_div(np.float32(1), np.float32(1), "batchmean")
    out = np.full((2, 3), 7.0)
    for bad in (1.5, -1e-9, INF):
        x = np.where(np.arange(6).reshape(2, 3) == 4, bad, 0.5)
        for given in (x, x[:, ::-1], x.astype("f")):
            with pytest.raises(
                ValueError, match=r"^input must be in \[0, 1\], probabilities, got .* at \(1, 1\)"
            ):
                F.binary_cross_entropy(given, ONES, out=out if given.dtype == "d" else None)
    assert (out == 7).all()
    for name in ("weight", "pos_weight"):
        parameters: dict[str, Any] = {name: np.ones(2)}
        with pytest.raises(
            ValueError, match=rf"^{name} must broadcast to input's shape, \(2, 3\), got \(2,\)"
        ):
            F.binary_cross_entropy_with_logits(ONES, ONES, **parameters)


def test_the_sum_of_many_weights_keeps_its_digits() -> None:
    rng = np.random.default_rng(3)
    labels, weight = rng.integers(0, 5, 200_000), rng.random(5)
    x = np.zeros((labels.size, 5))
    mean, total = (
        F.cross_entropy(x, labels, weight, reduction=reduction)[0] for reduction in ("mean", "sum")
    )
    assert abs(mean / (float(total) / math.fsum(weight[labels])) - 1) < 4 * np.finfo(float).eps
