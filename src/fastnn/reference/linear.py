"""The product with a weight matrix in plain NumPy, from the definition."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .activation import Array, floating, quiet

__all__ = [
    "linear",
    "linear_backward",
]


@quiet
def linear(input: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None) -> Array:
    """Return the sum of weight[o, i] x[..., i] over i, plus bias[o]."""
    y: Array = np.einsum("oi,...i->...o", floating(weight), floating(input))
    return y if bias is None else y + floating(bias)


@quiet
def linear_backward(
    dy: ArrayLike,
    input: ArrayLike,
    weight: ArrayLike,
    *,
    needs_input: bool = True,
    needs_weight: bool = True,
    needs_bias: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """Return (dx, dweight, dbias): each element's part in `linear`, times dy; None for unwanted ones."""
    x, w, g = floating(input), floating(weight), floating(dy)
    others = "abcdefg"[: g.ndim - 1]
    return (
        np.einsum(f"zy,{others}z->{others}y", w, g) if needs_input else None,
        np.einsum(f"{others}z,{others}y->zy", g, x) if needs_weight else None,
        np.einsum(f"{others}z->z", g) if needs_bias else None,
    )
