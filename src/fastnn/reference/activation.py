"""Activations and their gradients in plain NumPy: the oracle of the tests and the baseline of the benchmark.

Written from the definitions; it must not know, or borrow from, the C kernels. Where the textbook form loses
digits (a difference of equals, an exponential that underflows) a comment says which equal form is used.

x is the input, y the output, dy the gradient with respect to y; each function is elementwise unless it says
otherwise. float32 is computed in float32, float64 in float64, longdouble in longdouble; integers and booleans
promote as in np.tanh; any other array raises TypeError. NaN gives NaN, an infinity gives the limit. A
gradient at NaN is NaN, whatever dy; only identity's does not depend on x.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .philox import Key, draws_of_samples

__all__ = [
    "celu",
    "celu_backward",
    "elu",
    "elu_backward",
    "exp",
    "exp_backward",
    "gelu",
    "gelu_backward",
    "hardshrink",
    "hardshrink_backward",
    "hardsigmoid",
    "hardsigmoid_backward",
    "hardswish",
    "hardswish_backward",
    "hardtanh",
    "hardtanh_backward",
    "identity",
    "identity_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "logsigmoid",
    "logsigmoid_backward",
    "mish",
    "mish_backward",
    "prelu",
    "prelu_backward",
    "relu",
    "relu6",
    "relu6_backward",
    "relu_backward",
    "rrelu",
    "rrelu_backward",
    "selu",
    "selu_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softplus",
    "softplus_backward",
    "softshrink",
    "softshrink_backward",
    "softsign",
    "softsign_backward",
    "square",
    "square_backward",
    "squareplus",
    "squareplus_backward",
    "swish",
    "swish_backward",
    "tanh",
    "tanh_backward",
    "tanhshrink",
    "tanhshrink_backward",
    "threshold",
    "threshold_backward",
]

Array = NDArray[np.floating[Any]]

# From decimals, so that longdouble gets all of its digits.
_SELU_ALPHA = np.longdouble("1.6732632423543772848170429916717")
_SELU_SCALE = np.longdouble("1.0507009873554804934193349852946")
_GELU_CUBIC = np.longdouble("0.044715")
_SQRT_8_OVER_PI = np.longdouble("1.5957691216057307117597842397375")
_SQRT_HALF = np.longdouble("0.70710678118654752440084436210485")
_SQRT_2_PI = np.longdouble("2.5066282746310005024157652848110")

_GELU_RANGE = 200  # beyond it both GELUs are 0 or x in every dtype, and their gradients 0 or 1
_MISH_TAIL = -50  # below it mish and silu are both x e^x to the last bit, in every dtype

_erfc = np.frompyfunc(math.erfc, 1, 1)
quiet = np.errstate(all="ignore")  # a decorator: the formula meets overflow or 0 * inf in a branch not taken


def floating(array: ArrayLike) -> Array:
    """Return the array in the dtype that np.tanh would give it; TypeError for what is not real numbers."""
    a = np.asarray(array)
    if a.dtype.kind not in "fiub":
        raise TypeError(f"expected real numbers, got an array of dtype {a.dtype}")
    return a.astype(np.result_type(a.dtype, np.float16), copy=False)


def _from_below(x: Array) -> Array:
    """Replace -inf by the least finite number, so that its product with 0 is 0."""
    return np.maximum(x, np.finfo(x.dtype).min)


def _bounded(x: Array) -> Array:
    """Replace both infinities by the extreme finite numbers: a product with 0 is 0, x / x is 1."""
    return np.clip(x, np.finfo(x.dtype).min, np.finfo(x.dtype).max)


@quiet
def times_sigmoid(factor: Array | float, x: Array) -> Array:
    """Return factor * sigmoid(x), with e^(-|x|/2) applied twice, as e^-|x| underflows before the product."""
    e = np.exp(-np.abs(x) / 2)
    result: Array = np.where(x < 0, factor * e * e, factor) / (1 + e * e)
    return result


@quiet
def _softplus(x: Array) -> Array:
    """Return log(1 + e^x), as x + log(1 + e^-x) for x > 0, so that nothing overflows."""
    result: Array = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
    return result


def _nan_of(x: Array, dx: Array) -> Array:
    """Return the gradient dx, but NaN where x is."""
    return np.where(np.isnan(x), x, dx)


# Straight lines


def identity(input: ArrayLike) -> Array:
    """Return a copy of x."""
    return floating(input).copy()


def identity_backward(dy: ArrayLike, input: ArrayLike) -> Array:
    """Return a copy of dy."""
    return floating(dy).copy()


def relu(input: ArrayLike) -> Array:
    """Return max(x, 0). Nair and Hinton, 2010."""
    return np.maximum(floating(input), 0)


def relu_backward(dy: ArrayLike, output: ArrayLike) -> Array:
    """Return dy where y > 0, else 0."""
    y = floating(output)
    return _nan_of(y, np.where(y > 0, floating(dy), 0))


def _leaky(x: Array, value: Array, slope: Array | float) -> Array:
    """Return the value where x > 0, else slope times the value, which is x itself, or dy for a gradient."""
    return np.where(x > 0, value, slope * value)


def leaky_relu(input: ArrayLike, negative_slope: float = 0.01) -> Array:
    """Return x where x > 0, else negative_slope x. Maas, Hannun and Ng, 2013."""
    x = floating(input)
    return _leaky(x, x, negative_slope)


def leaky_relu_backward(dy: ArrayLike, input: ArrayLike, negative_slope: float = 0.01) -> Array:
    """Return dy where x > 0, else negative_slope dy."""
    x = floating(input)
    return _nan_of(x, _leaky(x, floating(dy), negative_slope))


def _along_channels(weight: Array, x: Array) -> Array:
    """Shape a weight of (1,) or (C,), C = x.shape[1], so that it broadcasts over x."""
    channels = x.shape[1] if x.ndim > 1 else 1
    if weight.shape not in [(1,), (channels,)]:
        raise ValueError(
            f"weight must have shape (1,) or ({channels},), one for each channel, got {weight.shape}"
        )
    return weight.reshape([-1 if axis == 1 else 1 for axis in range(x.ndim)])


def prelu(input: ArrayLike, weight: ArrayLike) -> Array:
    """Return x where x > 0, else w x; w has shape (1,), or (C,) with C = x.shape[1]. He et al., 2015.

    Another shape raises ValueError.
    """
    x = floating(input)
    return _leaky(x, x, _along_channels(floating(weight), x))


def prelu_backward(dy: ArrayLike, input: ArrayLike, weight: ArrayLike) -> tuple[Array, Array]:
    """Return dx = dy where x > 0, else w dy; and dw = the sum of dy x over the x <= 0 that share a weight."""
    dy, x, weight = floating(dy), floating(input), floating(weight)
    w = _along_channels(weight, x)
    shared = tuple(axis for axis in range(x.ndim) if w.shape[axis] == 1)
    dweight = np.where(x > 0, 0, dy * x).sum(axis=shared)
    return _nan_of(x, _leaky(x, dy, w)), dweight.reshape(weight.shape)


def _rrelu_slope(x: Array, lower: float, upper: float, training: bool, key: Key | None) -> Any:
    if not training:
        return (lower + upper) / 2
    if key is None:
        raise ValueError("key must be (seed, offset) or (seed, offset, row) in training, got None")
    low, high = np.longdouble(lower), np.longdouble(upper)
    samples = (*x.shape, 1)[0]
    draws = draws_of_samples(samples, x.size // max(1, samples), key)
    u = (draws + np.longdouble(0.5)) / 2**16
    return (low + (high - low) * u).reshape(x.shape).astype(x.dtype)


def rrelu(
    input: ArrayLike,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    *,
    key: Key | None = None,
) -> Array:
    """Return x where x > 0, else slope x. Xu, Wang, Chen and Li, 2015.

    In training the slope of element i (C order) is lower + (upper - lower) (d_i + 1/2) / 2^16, where d_i is
    draw i of `philox.random_draws` for key = (seed, offset), or from sample `row` on for (seed, offset, row);
    key=None raises ValueError. In evaluation the slope is (lower + upper) / 2.
    """
    x = floating(input)
    return _leaky(x, x, _rrelu_slope(x, lower, upper, training, key))


def rrelu_backward(
    dy: ArrayLike,
    input: ArrayLike,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    *,
    key: Key | None = None,
) -> Array:
    """Return dy where x > 0, else slope dy, with the slopes of the forward call that had the same key."""
    x = floating(input)
    return _nan_of(x, _leaky(x, floating(dy), _rrelu_slope(x, lower, upper, training, key)))


def hardtanh(input: ArrayLike, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """Return x, cut to [min_val, max_val]. Collobert, 2004."""
    return np.clip(floating(input), min_val, max_val)


def hardtanh_backward(dy: ArrayLike, input: ArrayLike, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """Return dy where min_val < x < max_val, else 0."""
    x = floating(input)
    return _nan_of(x, np.where((x > min_val) & (x < max_val), floating(dy), 0))


def relu6(input: ArrayLike) -> Array:
    """Return min(max(x, 0), 6). Krizhevsky, 2010."""
    return hardtanh(input, 0, 6)


def relu6_backward(dy: ArrayLike, output: ArrayLike) -> Array:
    """Return dy where 0 < y < 6, else 0."""
    return hardtanh_backward(dy, output, 0, 6)


def hardsigmoid(input: ArrayLike) -> Array:
    """Return relu6(x + 3) / 6. Courbariaux, Bengio and David, 2015; with the slope of Howard et al., 2019."""
    return relu6(floating(input) + 3) / 6


def hardsigmoid_backward(dy: ArrayLike, input: ArrayLike) -> Array:
    """Return dy / 6 where -3 < x < 3, else 0."""
    x = floating(input)
    return _nan_of(x, np.where(np.abs(x) < 3, floating(dy) / 6, 0))


def hardswish(input: ArrayLike) -> Array:
    """Return x relu6(x + 3) / 6. Howard et al., "Searching for MobileNetV3", 2019."""
    x = floating(input)
    return _from_below(x) * hardsigmoid(x)


def hardswish_backward(dy: ArrayLike, input: ArrayLike) -> Array:
    """Return 0 where x <= -3, dy (x + 3/2) / 3 where -3 < x < 3, dy where x >= 3."""
    x = np.clip(floating(input), -3, 3)
    slope = np.where(np.abs(x) < 3, (x + 1.5) / 3, x > 0)
    return _nan_of(x, floating(dy) * slope)


def threshold(input: ArrayLike, threshold: float, value: float) -> Array:
    """Return x where x > threshold, else value."""
    x = floating(input)
    return np.where(x <= threshold, value, x)


def threshold_backward(dy: ArrayLike, input: ArrayLike, threshold: float, value: float) -> Array:
    """Return dy where x > threshold, else 0."""
    x = floating(input)
    return _nan_of(x, np.where(x > threshold, floating(dy), 0))


def hardshrink(input: ArrayLike, lambd: float = 0.5) -> Array:
    """Return x where |x| > lambd, else 0. Donoho and Johnstone, 1994."""
    x = floating(input)
    return np.where(np.abs(x) <= lambd, 0, x)


def hardshrink_backward(dy: ArrayLike, input: ArrayLike, lambd: float = 0.5) -> Array:
    """Return dy where |x| > lambd, else 0."""
    x = floating(input)
    return _nan_of(x, np.where(np.abs(x) > lambd, floating(dy), 0))


def softshrink(input: ArrayLike, lambd: float = 0.5) -> Array:
    """Return x - lambd where x > lambd, x + lambd where x < -lambd, else 0. Donoho and Johnstone, 1994."""
    x = floating(input)
    return x - np.clip(x, -lambd, lambd)


def softshrink_backward(dy: ArrayLike, input: ArrayLike, lambd: float = 0.5) -> Array:
    """Return dy where |x| > lambd, else 0."""
    return hardshrink_backward(dy, input, lambd)


# Exponential linear units


def elu(input: ArrayLike, alpha: float = 1.0) -> Array:
    """Return x where x > 0, else alpha (e^x - 1). Clevert, Unterthiner and Hochreiter, 2016."""
    x = floating(input)
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def elu_backward(dy: ArrayLike, input: ArrayLike, alpha: float = 1.0) -> Array:
    """Return dy where x > 0, else dy alpha e^x."""
    dy, x = floating(dy), floating(input)
    return np.where(x > 0, dy, dy * alpha * np.exp(np.minimum(x, 0)))


@quiet
def selu(input: ArrayLike) -> Array:
    """Return s x where x > 0, else s a (e^x - 1); s = 1.0507, a = 1.6733. Klambauer et al., 2017."""
    x = floating(input)
    scale, floor = _SELU_SCALE.astype(x.dtype), (_SELU_SCALE * _SELU_ALPHA).astype(x.dtype)
    return np.where(x > 0, scale * x, floor * np.expm1(np.minimum(x, 0)))


@quiet
def selu_backward(dy: ArrayLike, input: ArrayLike) -> Array:
    """Return s dy where x > 0, else dy s a e^x."""
    dy, x = floating(dy), floating(input)
    scale, floor = _SELU_SCALE.astype(x.dtype), (_SELU_SCALE * _SELU_ALPHA).astype(x.dtype)
    return np.where(x > 0, dy * scale, dy * floor * np.exp(np.minimum(x, 0)))


def celu(input: ArrayLike, alpha: float = 1.0) -> Array:
    """Return x where x > 0, else alpha (e^(x/alpha) - 1). Barron, 2017."""
    x = floating(input)
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))


def celu_backward(dy: ArrayLike, input: ArrayLike, alpha: float = 1.0) -> Array:
    """Return dy where x > 0, else dy e^(x/alpha)."""
    dy, x = floating(dy), floating(input)
    return np.where(x > 0, dy, dy * np.exp(np.minimum(x, 0) / alpha))


# Sigmoids and what is gated by one


def sigmoid(input: ArrayLike) -> Array:
    """Return 1 / (1 + e^-x)."""
    return times_sigmoid(1.0, floating(input))


def sigmoid_backward(dy: ArrayLike, input: ArrayLike) -> Array:
    """Return dy sigmoid(x) (1 - sigmoid(x)), as dy sigmoid(x) sigmoid(-x) for its digits where x is large."""
    x = floating(input)
    return times_sigmoid(times_sigmoid(floating(dy), x), -x)


def tanh(input: ArrayLike) -> Array:
    """Return (e^x - e^-x) / (e^x + e^-x)."""
    return np.tanh(floating(input))


@quiet
def tanh_backward(dy: ArrayLike, input: ArrayLike) -> Array:
    """Return dy (1 - tanh(x)^2), as dy / cosh(x)^2 for its digits where x is large."""
    cosh = np.cosh(floating(input))
    return floating(dy) / cosh / cosh


def silu(input: ArrayLike) -> Array:
    """Return x sigmoid(x), also known as swish. Hendrycks and Gimpel, 2016; Ramachandran et al., 2017."""
    x = floating(input)
    return times_sigmoid(_from_below(x), x)


def silu_backward(dy: ArrayLike, input: ArrayLike) -> Array:
    """Return dy sigmoid(x) (1 + x (1 - sigmoid(x)))."""
    x = _bounded(floating(input))
    return floating(dy) * times_sigmoid(1 + x * sigmoid(-x), x)


swish, swish_backward = silu, silu_backward


def mish(input: ArrayLike) -> Array:
    """Return x tanh(softplus(x)). Misra, 2019."""
    x = floating(input)
    return np.where(x < _MISH_TAIL, silu(x), _from_below(x) * np.tanh(_softplus(x)))


def mish_backward(dy: ArrayLike, input: ArrayLike) -> Array:
    """Return dy (t + x sigmoid(x) (1 - t^2)) with t = tanh(softplus(x))."""
    x = _bounded(floating(input))
    t = np.tanh(_softplus(x))
    slope: Array = t + silu(x) * (1 - t) * (1 + t)
    return floating(dy) * slope


@quiet
def softplus(input: ArrayLike, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """Return log(1 + e^(beta x)) / beta, and x where beta x > threshold. Dugas et al., 2001."""
    x = floating(input)
    return np.where(beta * x > threshold, x, _softplus(beta * x) / beta)


@quiet
def softplus_backward(dy: ArrayLike, input: ArrayLike, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """Return dy sigmoid(beta x), and dy where beta x > threshold."""
    dy, x = floating(dy), floating(input)
    return np.where(beta * x > threshold, dy, times_sigmoid(dy, beta * x))


def logsigmoid(input: ArrayLike) -> Array:
    """Return log(sigmoid(x)) = -log(1 + e^-x)."""
    return -_softplus(-floating(input))


def logsigmoid_backward(dy: ArrayLike, output: ArrayLike) -> Array:
    """Return dy (1 - e^y)."""
    one_minus_exp: Array = -np.expm1(floating(output))
    return floating(dy) * one_minus_exp


# GELU. Hendrycks and Gimpel, 2016


def _normal(x: Array) -> tuple[Array, Array]:
    """Return the normal distribution function erfc(-x / sqrt 2) / 2 and its density, in longdouble.

    math.erfc takes a float64, and rounding its argument z costs up to z^2 ULP in the tail. There erfc' is
    -2 z erfc, all but a little, and the difference is made up for.
    """
    z = -_SQRT_HALF * x.astype(np.longdouble)
    near = z.astype(np.float64)
    erfc = np.asarray(_erfc(near), np.longdouble) * (1 - 2 * np.maximum(near, 0) * (z - near))
    return erfc / 2, np.exp(-z * z) / _SQRT_2_PI


def _tanh_exponent(x: Array) -> tuple[Array, Array]:
    """Return 2u = sqrt(8/pi) (x + 0.044715 x^3), the u of GELU's tanh, and its derivative."""
    c, cubic = _SQRT_8_OVER_PI.astype(x.dtype), _GELU_CUBIC.astype(x.dtype)
    return c * (x + cubic * x * x * x), c * (1 + 3 * cubic * x * x)


@quiet
def gelu(input: ArrayLike, approximate: str = "none") -> Array:
    """Return x Phi(x), Phi the normal distribution function: x erfc(-x / sqrt 2) / 2.

    approximate="tanh": x (1 + tanh u) / 2 with u = sqrt(2/pi) (x + 0.044715 x^3), written x sigmoid(2u). The
    relative error of e^2u grows with |u|. Another `approximate` raises ValueError.
    """
    x = floating(input)
    if approximate == "tanh":
        return times_sigmoid(_from_below(x), _tanh_exponent(x)[0])
    if approximate != "none":
        raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}")
    cdf, _ = _normal(np.clip(x, -_GELU_RANGE, _GELU_RANGE))
    return (np.maximum(x, -_GELU_RANGE) * cdf).astype(x.dtype)


def gelu_backward(dy: ArrayLike, input: ArrayLike, approximate: str = "none") -> Array:
    """Return dy (Phi(x) + x phi(x)), phi the normal density.

    approximate="tanh": dy s (1 + x (1 - s) 2u') with s = sigmoid(2u). Another one raises ValueError.
    """
    dy, x = floating(dy), np.clip(floating(input), -_GELU_RANGE, _GELU_RANGE)
    if approximate == "tanh":
        exponent, slope = _tanh_exponent(x)
        return dy * times_sigmoid(1 + x * sigmoid(-exponent) * slope, exponent)
    if approximate != "none":
        raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}")
    cdf, density = _normal(x)
    return dy * (cdf + x * density).astype(x.dtype)


# Algebraic functions, exp and what is left of tanh


def softsign(input: ArrayLike) -> Array:
    """Return x / (1 + |x|). Bergstra et al., 2009."""
    x = _bounded(floating(input))
    y: Array = x / (1 + np.abs(x))
    return y


def softsign_backward(dy: ArrayLike, input: ArrayLike) -> Array:
    """Return dy / (1 + |x|)^2, by two divisions, as the square may overflow."""
    d = 1 + np.abs(floating(input))
    dx: Array = floating(dy) / d / d
    return dx


@quiet
def tanhshrink(input: ArrayLike) -> Array:
    """Return x - tanh(x).

    For |x| < 1, where the two cancel, tanh(x) = x / (1 + q) with Lambert's continued fraction
    q = x^2 / (3 + x^2 / (5 + x^2 / (7 + ...))), so that x - tanh(x) = x q / (1 + q).
    """
    x = floating(input)
    q = np.zeros_like(x)
    for odd in range(21, 1, -2):
        q = x * x / (odd + q)
    return np.where(np.abs(x) < 1, x * q / (1 + q), x - np.tanh(x))


def tanhshrink_backward(dy: ArrayLike, input: ArrayLike) -> Array:
    """Return dy tanh(x)^2."""
    t = np.tanh(floating(input))
    return floating(dy) * t * t


@quiet
def squareplus(input: ArrayLike, b: float = 4.0) -> Array:
    """Return (x + sqrt(x^2 + b)) / 2, b >= 0; for x < 0, where they cancel, b / (2 (sqrt(x^2 + b) - x)).

    Barron, 2021.
    """
    x = floating(input)
    half_root = np.hypot(x, np.sqrt(x.dtype.type(b))) / 2
    return np.where(x < 0, b / 4 / (half_root - x / 2), x / 2 + half_root)


@quiet
def squareplus_backward(dy: ArrayLike, input: ArrayLike, b: float = 4.0) -> Array:
    """Return dy (1 + x / sqrt(x^2 + b)) / 2, as dy y / sqrt(x^2 + b) for its digits; 0 for x = b = 0."""
    x = _bounded(floating(input))
    root = np.hypot(x, np.sqrt(x.dtype.type(b)))
    return floating(dy) * np.where(root == 0, 0, squareplus(x, b) / root)


@quiet
def square(input: ArrayLike) -> Array:
    """Return x^2."""
    x = floating(input)
    return x * x


@quiet
def square_backward(dy: ArrayLike, input: ArrayLike) -> Array:
    """Return 2 x dy."""
    return 2 * floating(input) * floating(dy)


@quiet
def exp(input: ArrayLike) -> Array:
    """Return e^x."""
    return np.exp(floating(input))


def exp_backward(dy: ArrayLike, output: ArrayLike) -> Array:
    """Return dy y."""
    return floating(dy) * floating(output)
