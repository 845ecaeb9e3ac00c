"""Embeddings in plain NumPy, from the definition."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .activation import Array, floating

__all__ = [
    "embedding",
    "embedding_backward",
]


def embedding(input: ArrayLike, weight: ArrayLike, padding_idx: int | None = None) -> Array:
    """Return the rows of the table that have these numbers."""
    rows: Array = floating(weight)[np.asarray(input)]
    return rows


def embedding_backward(
    dy: ArrayLike, input: ArrayLike, num_embeddings: int, padding_idx: int | None = None
) -> Array:
    """Return the sum of dy over the places of each row's number; 0 for row padding_idx."""
    g, x = floating(dy), np.asarray(input)
    dweight = np.zeros((num_embeddings, g.shape[-1]), g.dtype)
    np.add.at(dweight, x, g)
    if padding_idx is not None:
        dweight[padding_idx] = 0
    return dweight
