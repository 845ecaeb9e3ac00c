"""Dropout and its relatives in plain NumPy.

Element i takes draw i of `philox.random_draws`, counted from the key's row on.
It must not know the C kernels. A dropped value is dropped whatever it is, NaN and infinities included.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .activation import floating, quiet
from .philox import Key, draws_of_samples

__all__ = [
    "alpha_dropout",
    "alpha_dropout_backward",
    "drop_connect",
    "drop_connect_backward",
    "drop_path",
    "drop_path_backward",
    "dropout",
    "dropout1d",
    "dropout1d_backward",
    "dropout2d",
    "dropout2d_backward",
    "dropout3d",
    "dropout3d_backward",
    "dropout_backward",
    "dropout_mask",
]

Array = NDArray[np.floating[Any]]

_SELU_LIMIT = np.longdouble("-1.7580993408473768599402175208123")  # -alpha * scale


def _kept(shape: tuple[int, ...], p: float, key: Key | None, samples: int | None = None) -> NDArray[np.bool_]:
    """Return what is kept; samples: how many there are, None for the length of the first axis."""
    if key is None:
        raise ValueError("key must be (seed, offset) or (seed, offset, row) in training, got None")
    samples = (*shape, 1)[0] if samples is None else samples
    draws = draws_of_samples(samples, math.prod(shape) // max(1, samples), key).reshape(shape)
    return draws < round((1 - p) * 2**16)


def _masked(x: Array, kept: NDArray[np.bool_], scale: Any, shift: Any = 0, dropped: Any = 0) -> Array:
    """Return scale x + shift where kept, else dropped; kept has x's leading axes."""
    everywhere = np.broadcast_to(kept.reshape(kept.shape + (1,) * (x.ndim - kept.ndim)), x.shape)
    return np.where(everywhere, x * x.dtype.type(scale) + x.dtype.type(shift), x.dtype.type(dropped))


@quiet
def _inverted(array: ArrayLike, p: float, training: bool, key: Key | None, axes: int | None = None) -> Array:
    """Return inverted dropout with a draw for each index into the first `axes` axes (None: all of them)."""
    x = floating(array)
    if not training:
        return x.copy()
    unbatched = axes is not None and x.ndim + axes == 1  # (C, ...), one sample
    kept = _kept(x.shape[:axes], p, key, 1 if unbatched else None)
    return _masked(x, kept, 1 / (1 - np.longdouble(p)) if p < 1 else 0)


@quiet
def dropout(
    input: ArrayLike, p: float = 0.5, training: bool = True, *, key: Key | None = None, scale: str = "train"
) -> Array:
    """Return x / (1 - p) where kept, else 0; with scale="test" x where kept, and (1 - p) x in evaluation."""
    x = floating(input)
    if scale == "train":
        return _inverted(x, p, training, key)
    return _masked(x, _kept(x.shape, p, key), 1) if training else x * x.dtype.type(1 - np.longdouble(p))


def dropout_backward(
    dy: ArrayLike, p: float = 0.5, training: bool = True, *, key: Key | None = None, scale: str = "train"
) -> Array:
    """Return the gradient: dropout is linear, so it is dropout of dy."""
    return dropout(dy, p, training, key=key, scale=scale)


def dropout_mask(
    shape: SupportsIndex | Sequence[SupportsIndex],
    p: float = 0.5,
    *,
    key: Key | None = None,
    packed: bool = False,
) -> NDArray[Any]:
    """Return which elements are kept, as booleans or as bits, least significant first."""
    sizes = tuple(np.empty(shape, np.uint8).shape)
    kept = _kept(sizes, p, key)
    return np.packbits(kept, bitorder="little") if packed else kept


def dropout1d(input: ArrayLike, p: float = 0.5, training: bool = True, *, key: Key | None = None) -> Array:
    """Return dropout of whole channels, x having 1 axis after the channels'."""
    return _inverted(input, p, training, key, axes=-1)


def dropout1d_backward(
    dy: ArrayLike, p: float = 0.5, training: bool = True, *, key: Key | None = None
) -> Array:
    """Return the gradient: dropout1d of dy."""
    return dropout1d(dy, p, training, key=key)


def dropout2d(input: ArrayLike, p: float = 0.5, training: bool = True, *, key: Key | None = None) -> Array:
    """Return dropout of whole channels, x having 2 axes after the channels'."""
    return _inverted(input, p, training, key, axes=-2)


def dropout2d_backward(
    dy: ArrayLike, p: float = 0.5, training: bool = True, *, key: Key | None = None
) -> Array:
    """Return the gradient: dropout2d of dy."""
    return dropout2d(dy, p, training, key=key)


def dropout3d(input: ArrayLike, p: float = 0.5, training: bool = True, *, key: Key | None = None) -> Array:
    """Return dropout of whole channels, x having 3 axes after the channels'."""
    return _inverted(input, p, training, key, axes=-3)


def dropout3d_backward(
    dy: ArrayLike, p: float = 0.5, training: bool = True, *, key: Key | None = None
) -> Array:
    """Return the gradient: dropout3d of dy."""
    return dropout3d(dy, p, training, key=key)


def _alpha_scale(p: float) -> Any:
    return 1 / np.sqrt((1 - np.longdouble(p)) * (1 + p * _SELU_LIMIT**2))


@quiet
def alpha_dropout(
    input: ArrayLike, p: float = 0.5, training: bool = True, *, key: Key | None = None
) -> Array:
    """Return a x + b where kept, else a limit + b, for SELU. Klambauer et al., 2017."""
    x = floating(input)
    if not training:
        return x.copy()
    kept = _kept(x.shape, p, key)
    if p == 1:
        return np.zeros_like(x)
    a = _alpha_scale(p)
    b = -a * p * _SELU_LIMIT
    return _masked(x, kept, a, b, a * _SELU_LIMIT + b)


@quiet
def alpha_dropout_backward(
    dy: ArrayLike, p: float = 0.5, training: bool = True, *, key: Key | None = None
) -> Array:
    """Return a dy where kept, else 0."""
    g = floating(dy)
    if not training:
        return g.copy()
    return _masked(g, _kept(g.shape, p, key), _alpha_scale(p) if p < 1 else 0)


def drop_connect(
    weight: ArrayLike, p: float = 0.5, training: bool = True, *, key: Key | None = None
) -> Array:
    """Return dropout of a layer's weights, whatever the row of the samples. Wan et al., 2013."""
    return _inverted(weight, p, training, None if key is None else key[:2])


def drop_connect_backward(
    dy: ArrayLike, p: float = 0.5, training: bool = True, *, key: Key | None = None
) -> Array:
    """Return the gradient for the weights."""
    return drop_connect(dy, p, training, key=key)


def drop_path(input: ArrayLike, p: float = 0.5, training: bool = True, *, key: Key | None = None) -> Array:
    """Return dropout of whole samples. Huang et al., 2016."""
    return _inverted(input, p, training, key, axes=1)


def drop_path_backward(
    dy: ArrayLike, p: float = 0.5, training: bool = True, *, key: Key | None = None
) -> Array:
    """Return the gradient: drop_path of dy."""
    return drop_path(dy, p, training, key=key)
