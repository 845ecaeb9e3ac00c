"""What x and y have to be for training a classifier. Knows nothing of files."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastnn._core.typing import Array

AT_LEAST = 5  # samples: one in five is held out


def check_x(x: Array) -> Array:
    """Return `x`; ValueError unless it is (samples, features...), of numbers that are finite in float32."""
    if x.dtype.kind not in "biuf":
        raise ValueError(f"x has dtype {x.dtype}; it takes whole or floating-point numbers")
    if x.ndim < 2 or x.size == 0:
        raise ValueError(f"x has shape {x.shape}; it takes (samples, features), none of them 0")
    bad = too_large(x)
    if bad.any():
        index = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), x.shape))
        raise ValueError(
            f"x holds {np.count_nonzero(bad)} values that are NaN, infinite or too large"
            f" for float32; the first is {x[index]} at {index}"
        )
    return x


def too_large(x: Array) -> NDArray[np.bool_]:
    """Return where `x` is NaN, infinite or beyond float32."""
    if x.dtype.kind != "f":
        return np.zeros(x.shape, bool)
    return ~(np.abs(x) <= np.finfo(np.float32).max)  # with <=, NaN is too large


def check_y(y: Array, samples: int, kinds: str = "biu") -> Array:
    """Return `y`; ValueError unless it has a label for each sample, of these kinds, and two classes."""
    if y.dtype.kind not in kinds:
        raise ValueError(f"y has dtype {y.dtype}; it takes whole numbers, the class labels")
    if y.shape != (samples,):
        raise ValueError(f"y has shape {y.shape}; it takes ({samples},), one label for each sample of x")
    if samples < AT_LEAST:
        raise ValueError(f"x and y hold {samples} samples; it takes at least {AT_LEAST}")
    if (y == y[0]).all():
        raise ValueError(f"y holds one class only, {y[0]}; it takes at least 2")
    return y
