"""fastnn.cs231n.gradient_check and im2col, beside what they are defined to be."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastnn._core.typing import Array
from fastnn.cs231n.gradient_check import (
    eval_numerical_gradient,
    eval_numerical_gradient_array,
    eval_numerical_gradient_blobs,
    eval_numerical_gradient_net,
    grad_check_sparse,
)
from fastnn.cs231n.im2col import col2im_indices, get_im2col_indices, im2col_indices


def test_gradient_of_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    x = np.arange(6.0).reshape(2, 3)
    before = x.copy()
    gradient = eval_numerical_gradient(lambda _: float((x**3).sum()), x)  # f reads x elsewhere
    np.testing.assert_allclose(gradient, 3 * x**2, atol=1e-8)
    np.testing.assert_array_equal(x, before)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[4] == f"(1, 1) {gradient[1, 1]}"
    eval_numerical_gradient(lambda x: x.sum(), x, verbose=False)
    assert capsys.readouterr().out == ""


def test_f_is_called_as_often_as_the_assignments_do() -> None:
    """Once at x, then twice for each element: random draws in f come out the same."""
    seen: list[float] = []

    def f(x: Array) -> float:
        seen.append(x[0])
        return 0.0

    eval_numerical_gradient(f, np.array([1.0]), verbose=False, h=0.5)
    assert seen == [1.0, 1.5, 0.5]


def test_gradient_of_an_array() -> None:
    x, df = np.arange(6.0).reshape(2, 3).T, np.ones(2) * [1, 10]
    buffer = np.empty(2)
    gradient = eval_numerical_gradient_array(lambda x: np.sum(x**2, 0, out=buffer), x, df)
    np.testing.assert_allclose(gradient, 2 * x * df, rtol=1e-8)


def test_x_is_put_back_after_an_error() -> None:
    x = np.zeros(2)

    def fails(x: Array) -> Array:
        raise RuntimeError("in f")

    with pytest.raises(RuntimeError, match="in f"):
        eval_numerical_gradient_array(fails, x, 1.0)
    assert x.tolist() == [0, 0]


def test_whole_numbers_are_refused() -> None:
    with pytest.raises(TypeError, match=r"x must be an array of floats, .* got int64"):
        eval_numerical_gradient_array(lambda x: x, np.arange(3), 1.0)


def test_gradients_of_blobs_and_nets() -> None:
    a, b, out = (SimpleNamespace(vals=np.arange(3.0) + i, diffs=np.arange(3.0) - i) for i in range(3))

    def multiply(a: Any, b: Any, out: Any) -> None:
        out.vals = a.vals * b.vals**2

    net = SimpleNamespace(forward=lambda: multiply(a, b, out))
    for da, db in (
        eval_numerical_gradient_blobs(multiply, (a, b), out),
        eval_numerical_gradient_net(net, (a, b), out),
    ):
        np.testing.assert_allclose(da, out.diffs * b.vals**2, rtol=1e-8)
        np.testing.assert_allclose(db, out.diffs * 2 * a.vals * b.vals, atol=1e-8)


def test_sparse_check_prints(capsys: pytest.CaptureFixture[str]) -> None:
    x = np.arange(1.0, 7.0).reshape(2, 3)
    random.seed(1)
    grad_check_sparse(lambda x: (x**2).sum(), x, 2 * x + 1, num_checks=3)
    lines = capsys.readouterr().out.splitlines()
    random.seed(1)
    for line in lines:
        value = 2 * x[random.randrange(2), random.randrange(3)]
        start = f"numerical: {value:f} analytic: {value + 1:f}, relative error: "
        assert line.startswith(start)
        assert float(line.removeprefix(start)) == pytest.approx(1 / (2 * value + 1), rel=1e-6)
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("field", "padding", "stride"), [((3, 3), 1, 1), ((2, 3), 0, 1), ((3, 1), 2, 2), ((4, 5), 0, 3)]
)
def test_windows_as_columns(field: tuple[int, int], padding: int, stride: int) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 3, 7, 5))
    padded = np.pad(x, [(0, 0), (0, 0), (padding,) * 2, (padding,) * 2])
    columns = im2col_indices(x, *field, padding, stride)
    k, i, j = get_im2col_indices((2, 3, 7, 5), *field, padding, stride)
    np.testing.assert_array_equal(columns, padded[:, k, i, j].transpose(1, 2, 0).reshape(columns.shape))
    down, across = (7 + 2 * padding - field[0]) // stride + 1, (5 + 2 * padding - field[1]) // stride + 1
    by_hand = [
        padded[n, :, r * stride : r * stride + field[0], c * stride : c * stride + field[1]].reshape(-1)
        for r in range(down)
        for c in range(across)
        for n in range(2)
    ]
    np.testing.assert_array_equal(columns, np.array(by_hand).T)
    # col2im is the transpose: <im2col(x), g> = <x, col2im(g)>
    g = rng.standard_normal(columns.shape)
    back = col2im_indices(g, (2, 3, 7, 5), *field, padding, stride)
    assert back.shape == x.shape
    assert np.vdot(columns, g) == pytest.approx(np.vdot(x, back))


def test_windows_that_do_not_fill_x_are_refused() -> None:
    with pytest.raises(ValueError, match="windows of 2 by 2 with stride 2 must fill x"):
        im2col_indices(np.zeros((1, 1, 5, 4)), 2, 2, 0, 2)
    with pytest.raises(ValueError, match="must fill x"):
        col2im_indices(np.zeros((9, 0)), (1, 1, 2, 2), 3, 3, 0)
