"""Initialisers that draw from a distribution whose parameters do not depend on the tensor's shape."""

from __future__ import annotations

import math

import numpy as np

from fastnn._core.arrays import probability, real_number
from fastnn._core.typing import Array
from fastnn.init.target import Draws, T, array_of, at_least_zero, fill, matrix_of, numbers


def normal_(tensor: T, mean: float = 0.0, std: float = 1.0, generator: Draws = None) -> T:
    """Normal distribution. Raises ValueError for std below 0."""
    mean, std = real_number("mean", mean), at_least_zero("std", std)
    return fill(tensor, numbers(generator).normal(mean, std, array_of(tensor).shape))


def uniform_(tensor: T, a: float = 0.0, b: float = 1.0, generator: Draws = None) -> T:
    """Uniform distribution on [a, b]. Raises ValueError unless a <= b."""
    _check_interval(a, b)
    return fill(tensor, numbers(generator).uniform(a, b, array_of(tensor).shape))


def trunc_normal_(
    tensor: T, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Draws = None
) -> T:
    """Normal distribution of this mean and std, given that the value is in [a, b].

    a and b are values, not multiples of std, as in PyTorch; mean may be far outside of them. Raises
    ValueError for std below 0 and unless a <= b.
    """
    mean, std = real_number("mean", mean), at_least_zero("std", std)
    _check_interval(a, b)
    array = array_of(tensor)
    if std == 0 or a == b:
        return fill(tensor, min(max(mean, a), b))
    values = truncated(numbers(generator), array.size, (a - mean) / std, (b - mean) / std)
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
            accepted = draw.random(values.size) < np.exp((nearest - values) * (nearest + values) / 2)
        parts.append(values[accepted][:missing])
        missing -= parts[-1].size
    return np.concatenate(parts) if parts else np.empty(0)


def orthogonal_(tensor: T, gain: float = 1.0, generator: Draws = None) -> T:
    """A random matrix, (first dimension, all others), whose rows or columns are orthonormal, times `gain`.

    The shorter side is orthonormal. Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics
    of learning", 2014. Raises ValueError for fewer than 2 dimensions.
    """
    array = array_of(tensor)
    if array.ndim < 2:
        raise ValueError(f"tensor must have at least 2 dimensions, got shape {array.shape}")
    if not array.size:
        return tensor
    rows, columns = array.shape[0], array.size // array.shape[0]
    q, r = np.linalg.qr(numbers(generator).standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)  # else the distribution would not be uniform
    return fill(tensor, real_number("gain", gain) * (q.T if rows < columns else q).reshape(array.shape))


def sparse_(tensor: T, sparsity: float, std: float = 0.01, generator: Draws = None) -> T:
    """Normal distribution of mean 0, with a share `sparsity` (rounded up) of each column set to 0.

    Martens, "Deep learning via Hessian-free optimization", 2010. Raises ValueError unless the tensor has 2
    dimensions and sparsity is in [0, 1].
    """
    rows, columns = matrix_of(tensor).shape
    zeros = math.ceil(probability("sparsity", sparsity) * rows)
    draw = numbers(generator)
    values = draw.normal(0.0, at_least_zero("std", std), (rows, columns))
    places = np.argsort(draw.random((rows, columns)), axis=0)[:zeros]
    np.put_along_axis(values, places, 0.0, axis=0)
    return fill(tensor, values)


def _check_interval(a: float, b: float) -> None:
    if not real_number("a", a) <= real_number("b", b):
        raise ValueError(f"a must be at most b, {b}, got {a}")
