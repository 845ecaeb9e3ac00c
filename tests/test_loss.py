"""fastnn.functional.cross_entropy against its definition, finite differences, torch, and bad input."""

import re
from typing import Any

import numpy as np
import pytest

from fastnn import reference
from fastnn.functional.loss import cross_entropy

rng = np.random.default_rng(0)
BOTH = pytest.mark.parametrize("loss_function", [cross_entropy, reference.cross_entropy])


@BOTH
def test_cross_entropy_by_hand(loss_function: Any) -> None:
    loss, dlogits = loss_function(np.log([[1.0, 3.0], [1.0, 1.0]]), [1, 0])
    assert loss == pytest.approx((np.log(4 / 3) + np.log(2)) / 2, rel=1e-15)
    np.testing.assert_allclose(dlogits, [[1 / 8, -1 / 8], [-1 / 4, 1 / 4]], rtol=1e-14)


@BOTH
def test_cross_entropy_gradient_is_the_finite_difference(loss_function: Any) -> None:
    logits, labels, h = rng.normal(scale=3, size=(5, 7)), rng.integers(7, size=5), 1e-5
    _, dlogits = loss_function(logits, labels)
    for i in np.ndindex(logits.shape):
        step = np.zeros_like(logits)
        step[i] = h
        difference = loss_function(logits + step, labels)[0] - loss_function(logits - step, labels)[0]
        assert dlogits[i] == pytest.approx(difference / (2 * h), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("dtype", "rtol"), [(np.float32, 2e-6), (np.float64, 1e-14), (">f4", 2e-6), (">f8", 1e-14)]
)
@pytest.mark.parametrize("shape", [(1, 1), (1, 10), (200, 3), (64, 10)])
def test_cross_entropy_agrees_with_the_definition(dtype: Any, rtol: float, shape: tuple[int, int]) -> None:
    logits = rng.normal(scale=4, size=shape).astype(dtype)
    labels = rng.integers(shape[1], size=shape[0]).astype(np.uint8)
    before = logits.copy()
    loss, dlogits = cross_entropy(logits, labels)
    exact, dexact = reference.cross_entropy(logits.astype(np.float64), labels)
    assert isinstance(loss, float)
    assert loss == pytest.approx(exact, rel=rtol)
    assert dlogits.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_allclose(dlogits, dexact, rtol=0, atol=rtol / shape[0])
    np.testing.assert_array_equal(logits, before)


@BOTH
def test_cross_entropy_of_extreme_logits(loss_function: Any) -> None:
    loss, dlogits = loss_function(np.array([[1e4, 0, -1e4]], np.float32), [1])
    assert loss == 1e4
    np.testing.assert_array_equal(dlogits, [[1, -1, 0]])
    loss, dlogits = loss_function(np.array([[-np.inf, 2.0]]), [1])  # a class that is masked out
    assert loss == 0
    np.testing.assert_array_equal(dlogits, [[0, 0]])
    loss, dlogits = loss_function(np.array([[np.nan, 2.0]]), [1])
    assert np.isnan(loss)
    assert np.isnan(dlogits).all()


def test_cross_entropy_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch")
    logits, labels = rng.normal(scale=3, size=(40, 10)), rng.integers(10, size=40)
    tensor = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(tensor, torch.tensor(labels))
    expected.backward()
    loss, dlogits = cross_entropy(logits, labels)
    assert loss == pytest.approx(expected.item(), rel=1e-14)
    np.testing.assert_allclose(dlogits, tensor.grad.numpy(), rtol=1e-12, atol=1e-17)


@pytest.mark.parametrize(
    ("logits", "labels", "error", "message"),
    [
        (np.ones((2, 3), np.int64), [0, 1], TypeError, "logits has dtype int64; it takes float32 or float64"),
        (np.ones((2, 3), np.float16), [0, 1], TypeError, "logits has dtype float16"),
        (np.ones(3), [0, 1, 2], ValueError, "logits has shape (3,); it takes (N, C)"),
        (np.ones((0, 3)), np.ones(0, int), ValueError, "logits has shape (0, 3)"),
        (np.ones((2, 0)), [0, 0], ValueError, "logits has shape (2, 0)"),
        (np.ones((2, 3)), [0.0, 1.0], TypeError, "labels has dtype float64; it takes integers"),
        (np.ones((2, 3)), [True, False], TypeError, "labels has dtype bool"),
        (np.ones((2, 3)), [0, 1, 2], ValueError, "labels has shape (3,); it takes (2,)"),
        (np.ones((2, 3)), [[0], [1]], ValueError, "labels has shape (2, 1); it takes (2,)"),
        (np.ones((2, 3)), [0, 3], ValueError, "labels[1] is 3; it takes a class from 0 to 2"),
        (np.ones((2, 3)), [-1, 7], ValueError, "labels[0] is -1; it takes a class from 0 to 2"),
    ],
)
def test_cross_entropy_names_what_is_wrong(
    logits: Any, labels: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        cross_entropy(logits, labels)
