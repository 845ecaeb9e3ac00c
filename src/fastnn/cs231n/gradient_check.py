"""The assignments' gradient_check.py: gradients by central differences. It knows NumPy only.

x is changed in place, element by element, and back: so f may read it elsewhere, as in `lambda _: loss()`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import randrange
from typing import Any

import numpy as np

from fastnn._core.typing import Array

__all__ = [
    "eval_numerical_gradient",
    "eval_numerical_gradient_array",
    "eval_numerical_gradient_blobs",
    "eval_numerical_gradient_net",
    "grad_check_sparse",
    "np",
]


def _difference(f: Callable[[], Any], x: Array, index: tuple[int, ...], h: float) -> Any:
    """f() at x[index] + h less f() at x[index] - h; f's arrays are copied, as they may be used again."""
    old = x[index]
    try:
        x[index] = old + h
        above = np.copy(f())
        x[index] = old - h
        return above - np.copy(f())
    finally:
        x[index] = old


def _gradient(f: Callable[[], Any], x: Array, h: float, weight: Any = 1.0, verbose: bool = False) -> Array:
    """The gradient over x of the sum of f() times weight; verbose prints each element with its index."""
    if x.dtype.kind != "f":
        raise TypeError(f"x must be an array of floats, to add h = {h} to, got {x.dtype}")
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        gradient[index] = np.sum(_difference(f, x, index, h) * weight) / (2 * h)
        if verbose:
            print(index, gradient[index])
    return gradient


def eval_numerical_gradient(
    f: Callable[[Array], Any], x: Array, verbose: bool = True, h: float = 0.00001
) -> Array:
    """Return the gradient of f, a number, at x, in x's shape and dtype.

    verbose prints each element with its index. Raises TypeError if x is no array of floats, as do all here.
    """
    f(x)  # the assignments' does, and random draws or running averages in f go on from there
    return _gradient(lambda: f(x), x, h, verbose=verbose)


def eval_numerical_gradient_array(f: Callable[[Array], Array], x: Array, df: Any, h: float = 1e-5) -> Array:
    """Return the gradient at x of the sum of f(x) df, f's result being an array and df a gradient over it."""
    return _gradient(lambda: f(x), x, h, df)


def eval_numerical_gradient_blobs(
    f: Callable[..., Any], inputs: Sequence[Any], output: Any, h: float = 1e-5
) -> list[Array]:
    """Return the gradient over each of the inputs of the sum of output.vals output.diffs.

    Inputs and output have arrays `vals` and `diffs`; f(*inputs, output) writes to output.vals.
    """

    def run() -> Array:
        f(*inputs, output)
        vals: Array = output.vals
        return vals

    return [_gradient(run, blob.vals, h, output.diffs) for blob in inputs]


def eval_numerical_gradient_net(net: Any, inputs: Sequence[Any], output: Any, h: float = 1e-5) -> list[Array]:
    """Return what eval_numerical_gradient_blobs does, net.forward() being the function."""
    return eval_numerical_gradient_blobs(lambda *blobs: net.forward(), inputs, output, h=h)


def grad_check_sparse(
    f: Callable[[Array], Any], x: Array, analytic_grad: Array, num_checks: int = 10, h: float = 1e-5
) -> None:
    """Print the numerical and the analytic gradient, and their relative error, at num_checks random places.

    The places are Python's random ones: random.seed repeats them.
    """
    for _ in range(num_checks):
        index = tuple(randrange(length) for length in x.shape)
        numerical = _difference(lambda: f(x), x, index, h) / (2 * h)
        analytic = analytic_grad[index]
        error = abs(numerical - analytic) / (abs(numerical) + abs(analytic))
        print(f"numerical: {numerical:f} analytic: {analytic:f}, relative error: {error:e}")
