"""Checks of batch norm against the reference, for the CPU's functions and their twins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

import fastnn.functional as F
from fastnn import reference
from fastnn._core.typing import Array
from support.operations import HALF
from support.ulp import assert_within, widen

Shape = tuple[int, ...]


F32 = np.dtype(np.float32)


# y = (x - center) scale + shift rounds five times: the difference, scale, shift, product and sum. Then there
# are the statistics, whose errors are those of sums over a block. All in units of |w| (|x^| + mean of |x^|) +
# |b|, the terms before they cancel; a mean is as exact as the deviations from it are large. In float64 rstd,
# with its variance, sum, root and reciprocal, has no more digits than the rest.
FORWARD_ULP = 6.0


# dx = a dy + b (x - center) + c: a product and a sum more, and two more statistics.
BACKWARD_ULP = 8.0


# Of a sum, in units of the sum of the terms' sizes: a term is rounded three times, and summed over a block.
SUM_ULP = 4.0


class Problem(NamedTuple):
    """What a forward and a backward pass take."""

    x: Array
    dy: Array
    running_mean: Array | None = None
    running_var: Array | None = None
    weight: Array | None = None
    bias: Array | None = None
    num_batches_tracked: Array | None = None

    def laid_out(self, lay_out: Callable[[Array], Array]) -> Problem:
        """The same, with the large arrays in another layout."""
        return self._replace(x=lay_out(self.x), dy=lay_out(self.dy))

    def wide(self) -> Problem:
        """The same in the dtype that the exact result is computed in."""
        return Problem._make(a if a is None or a.dtype.kind == "i" else widen(a) for a in self)


class Result(NamedTuple):
    """What both passes return, and the running statistics afterwards."""

    y: Array
    dx: Array
    dweight: Array | None
    dbias: Array | None
    running_mean: Array | None
    running_var: Array | None
    num_batches_tracked: Array | None

    def bits(self) -> list[bytes | None]:
        return [None if array is None else array.tobytes() for array in self]


def run(given: Problem, training: bool, module: Any = F, **options: Any) -> tuple[Result, Any]:
    """Both passes by `module`, on copies of what is written to; and what forward saved."""
    mean, var, tracked = (
        None if a is None else a.copy()
        for a in (given.running_mean, given.running_var, given.num_batches_tracked)
    )
    y, saved = module.batch_norm(
        given.x, mean, var, given.weight, given.bias, training, num_batches_tracked=tracked, **options
    )
    gradients = module.batch_norm_backward(given.dy, saved)
    return Result._make((y, *gradients, mean, var, tracked)), saved


def parameter_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What parameters have beside an input of this dtype, as people use half types."""
    return F32 if dtype in HALF else dtype


def problem(
    shape: Shape, dtype: np.dtype[Any], running: bool = True, weight: bool = True, bias: bool = True
) -> Problem:
    """Numbers whose mean and variance differ from channel to channel."""
    rng, channels = np.random.default_rng(sum(shape)), shape[1]
    each = (1, channels, *[1] * (len(shape) - 2))
    x = rng.normal(size=shape) * rng.uniform(0.5, 3, each) + rng.normal(scale=2, size=each)
    dy = rng.normal(size=shape) + rng.normal(size=each)
    kind = parameter_dtype(dtype)
    mean, w, b = rng.normal(size=(3, channels)).astype(kind)
    var = rng.uniform(0.5, 2, channels).astype(kind)
    return Problem(
        x.astype(dtype),
        dy.astype(dtype),
        mean if running else None,
        var if running else None,
        w if weight else None,
        b if bias else None,
    )


def per_channel(values: Array | None, like: Array, otherwise: float) -> Array:
    """The values' sizes, to broadcast over `like`."""
    each = np.abs(np.full(like.shape[1], otherwise) if values is None else values)
    return each.reshape(-1, *[1] * (like.ndim - 2))


def assert_sums(
    got: Array | None, exact: Array | None, size: Array, ulps: float, input: np.dtype[Any]
) -> None:
    """Rounded once, and off by `ulps` of `size`, the sum of the terms' sizes, before that.

    The terms are computed in the input's dtype, or in float32 for the half types. In the subnormals a term is
    off by half of the least number, and there are up to 150 of them.
    """
    if got is None or exact is None:
        assert got is exact is None
        return
    computing = np.finfo(np.float64 if input == np.float64 else np.float32)
    eps = float(ml_dtypes.finfo(got.dtype).eps)  # type: ignore[no-untyped-call]
    error, allowed = np.abs(widen(got) - exact), eps * np.abs(exact) + ulps * float(computing.eps) * size
    allowed = allowed + 16 * float(computing.smallest_subnormal)
    worst = np.max(error / allowed, initial=0)
    assert (error <= allowed).all(), f"{worst} times what is allowed"


def check(
    given: Problem, training: bool, factor: float = 1.0, mean: float = 0.0, module: Any = F, **options: Any
) -> Result:
    """Fails unless all that both passes of `module` return and write is within `factor` times the bounds.

    The exact result is computed without `mean`, which all of x and the running mean have in common: taking it
    away rounds nothing, and longdouble is too short for a mean far larger than the deviations.
    """
    wide = given.wide()
    with_mean, _ = run(wide, training, reference, **options)
    if wide.running_mean is not None:
        wide = wide._replace(x=wide.x - mean, running_mean=wide.running_mean - mean)
    exact, saved = run(wide, training, reference, **options)
    exact = exact._replace(running_mean=with_mean.running_mean)
    others = (0, *range(2, wide.x.ndim))
    weight, bias = per_channel(wide.weight, wide.x, 1), per_channel(wide.bias, wide.x, 0)
    rstd = per_channel(saved.rstd, wide.x, 1)
    distance = np.abs(wide.x - saved.mean.reshape(rstd.shape))
    with np.errstate(invalid="ignore"):
        distance += distance.sum(axis=others, keepdims=True) / max(1, given.x.size // given.x.shape[1])
    x_hat, g = distance * rstd, np.abs(wide.dy)
    terms = g * x_hat

    got, _ = run(given, training, module, **options)
    assert_within(got.y, exact.y, factor * FORWARD_ULP, weight * x_hat + bias)
    if training and g.size:
        g = g + g.mean(axis=others, keepdims=True) + x_hat * terms.mean(axis=others, keepdims=True)
    assert_within(got.dx, exact.dx, factor * BACKWARD_ULP, weight * rstd * g)
    assert_sums(got.dweight, exact.dweight, terms.sum(axis=others), factor * SUM_ULP, given.x.dtype)
    assert_sums(got.dbias, exact.dbias, np.abs(wide.dy).sum(axis=others), factor * SUM_ULP, given.x.dtype)
    if exact.running_mean is not None and exact.running_var is not None:
        assert given.running_mean is not None
        size = np.abs(given.running_mean) + np.abs(exact.running_mean) + np.sqrt(exact.running_var)
        assert_sums(got.running_mean, exact.running_mean, size, factor * SUM_ULP, given.x.dtype)
        assert_sums(got.running_var, exact.running_var, exact.running_var, factor * SUM_ULP, given.x.dtype)
    likes = (given.x, given.dy, given.weight, given.bias, given.running_mean, given.running_var)
    for result, like in zip(got, likes, strict=False):
        if result is not None and like is not None:
            assert (result.shape, result.dtype) == (like.shape, like.dtype.newbyteorder("="))
    return got


def channels_last(array: Array) -> Array:
    """The same array with its channels last in memory."""
    return np.moveaxis(np.moveaxis(array, 1, -1).copy(), -1, 1)
