"""Initialisers that draw from a distribution whose parameters do not depend on the tensor's shape."""

from __future__ import annotations

import math

import numpy as np

from fastnn._core.arrays import probability, real_number
from fastnn._core.typing import Array
from fastnn.init.target import Draws, T, array_of, at_least_zero, fill, finite, matrix_of, numbers


def normal_(tensor: T, mean: float = 0.0, std: float = 1.0, generator: Draws = None) -> T:
    """Normal distribution. Raises ValueError for std below 0, and unless both are finite."""
    mean, std = finite("mean", mean), at_least_zero("std", std)
    return fill(tensor, numbers(generator).normal(mean, std, array_of(tensor).shape))


def uniform_(tensor: T, a: float = 0.0, b: float = 1.0, generator: Draws = None) -> T:
    """Uniform distribution on [a, b]. Raises ValueError unless a <= b, and both and b - a are finite."""
    a, b = finite("a", a), finite("b", b)
    _check_interval(a, b)
    finite("b - a", b - a)
    return fill(tensor, numbers(generator).uniform(a, b, array_of(tensor).shape))


def trunc_normal_(
    tensor: T, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Draws = None
) -> T:
    """Normal distribution of this mean and std, given that the value is in [a, b].

    a and b are values, not multiples of std, as in PyTorch; mean may be far outside of them, and a may be
    -inf and b inf. Raises ValueError for std below 0, unless a <= b, and unless mean and std are finite.
    """
    mean, std = finite("mean", mean), at_least_zero("std", std)
    a, b = real_number("a", a), real_number("b", b)
    _check_interval(a, b)
    if a == math.inf or b == -math.inf:
        raise ValueError(f"a and b must have finite numbers between them, got {a} and {b}")
    array = array_of(tensor)
    low, high = ((a - mean) / std, (b - mean) / std) if std else (0.0, 0.0)
    if low == high:  # nothing is left of the distribution but the value nearest to its mean
        return fill(tensor, min(max(mean, a), b))
    values = truncated(numbers(generator), array.size, low, high)
    with np.errstate(over="ignore"):  # std times a value, before b brings it back
        return fill(tensor, np.clip(mean + std * values, a, b).reshape(array.shape))


def truncated(draw: np.random.Generator, size: int, low: float, high: float) -> Array:
    """Standard normal values given that they are in [low, high], by rejection.

    Proposals are normal where that hits often; else they are uniform on the part of the interval where the
    density is not below e^-40 of its maximum there, and accepted with the density over that maximum. One in
    40 is, at worst.
    """
    nearest = min(max(0.0, low), high)  # to 0, where the density is greatest
    reach = math.hypot(nearest, math.sqrt(80))
    left, right = max(low, -reach), min(high, reach)
    hits = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
    parts: list[Array] = []
    missing = size
    while missing:
        if hits > 0.25:
            values = draw.standard_normal(int(1.1 * missing / hits) + 8)
            accepted = (values >= low) & (values <= high)
        else:
            values = draw.uniform(left, right, 4 * missing + 8)
            accepted = draw.random(values.size) < np.exp((nearest - values) * (nearest / 2 + values / 2))
        parts.append(values[accepted][:missing])
        missing -= parts[-1].size
    return np.concatenate(parts) if parts else np.empty(0)


def orthogonal_(tensor: T, gain: float = 1.0, generator: Draws = None) -> T:
    """A random matrix, (first dimension, all others), whose rows or columns are orthonormal, times `gain`.

    The shorter side is orthonormal. Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics
    of learning", 2014. Raises ValueError for fewer than 2 dimensions, and unless gain is finite.
    """
    array, gain = array_of(tensor), finite("gain", gain)
    if array.ndim < 2:
        raise ValueError(f"tensor must have at least 2 dimensions, got shape {array.shape}")
    if not array.size:
        return tensor
    rows, columns = array.shape[0], array.size // array.shape[0]
    q, r = np.linalg.qr(numbers(generator).standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)  # else the distribution would not be uniform
    return fill(tensor, gain * (q.T if rows < columns else q).reshape(array.shape))


def sparse_(tensor: T, sparsity: float, std: float = 0.01, generator: Draws = None) -> T:
    """Normal distribution of mean 0, with a share `sparsity` (rounded up) of each column set to 0.

    Martens, "Deep learning via Hessian-free optimization", 2010. Raises ValueError unless the tensor has 2
    dimensions and sparsity is in [0, 1], and for a std that is not finite or below 0.
    """
    rows, columns = matrix_of(tensor).shape
    std = at_least_zero("std", std)
    zeros = math.ceil(probability("sparsity", sparsity) * rows)
    draw = numbers(generator)
    values = draw.normal(0.0, std, (rows, columns))
    places = np.argsort(draw.random((rows, columns)), axis=0)[:zeros]
    np.put_along_axis(values, places, 0.0, axis=0)
    return fill(tensor, values)


def _check_interval(a: float, b: float) -> None:
    if not a <= b:
        raise ValueError(f"a must be at most b, {b}, got {a}")
