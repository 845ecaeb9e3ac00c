"""Embeddings: rows of a table by their numbers, and the sums of gradients for each row."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fastnn import _kernels
from fastnn._core import arrays
from fastnn._core.dispatch import takes_tensors
from fastnn._core.typing import Array

__all__ = [
    "embedding",
    "embedding_backward",
]


def padding_row(padding_idx: int | None, rows: int) -> int | None:
    """padding_idx as a row's number; from the end where it is negative."""
    if padding_idx is None:
        return None
    index = arrays.integer("padding_idx", padding_idx)
    if not -rows <= index < rows:
        raise ValueError(f"padding_idx must be in [{-rows}, {rows}), a row of the table, got {index}")
    return index % rows


def _indices(input: ArrayLike, rows: int) -> Array:
    """The numbers of rows in int64, after they were checked."""
    given = arrays.as_array("input", input)
    if given.dtype.kind not in "iu":
        raise TypeError(
            f"input must be integers, numbers of rows of the table, got an array of {given.dtype}"
        )
    indices = np.require(given, np.dtype(np.int64), ["C", "A"])
    bad = _kernels.wrong_row(indices, rows)  # an unsigned number from 2^63 on has become negative
    if bad is not None:
        index = tuple(map(int, np.unravel_index(bad, given.shape)))
        name = f"input[{', '.join(map(str, index))}]" if index else "input"
        raise ValueError(f"{name} must be a row of the table, from 0 to {rows - 1}, got {given[index]}")
    return indices


@takes_tensors(like="weight")
def embedding(
    input: ArrayLike, weight: ArrayLike, padding_idx: int | None = None, *, out: Array | None = None
) -> Array:
    """y = weight[x], the rows of these numbers.

    input (x): integers from 0 to N - 1, any shape; weight: (N, D), dtypes as for relu. The result has shape
    (*input.shape, D) and the dtype of weight. padding_idx: a row whose gradient is 0; here it is only
    checked. out: as for relu. Raises TypeError for input that is no integers, ValueError that names the first
    number that is no row, and for other shapes.
    """
    table = arrays.ready("weight", weight)
    if table.ndim != 2:
        raise ValueError(f"weight must have shape (N, D), got {table.shape}")
    padding_row(padding_idx, len(table))
    indices = _indices(input, len(table))
    target = arrays.target_for(out, (*indices.shape, table.shape[1]), table.dtype)
    place = target if target.flags.c_contiguous and target.flags.aligned else np.empty_like(target, order="C")
    table, indices = np.require(table, None, ["C", "A"]), arrays.apart(indices, place)
    _kernels.take_rows(arrays.apart(table, place), indices, place)
    return arrays.deliver(arrays.deliver(place, target), out)


@takes_tensors
def embedding_backward(
    dy: ArrayLike,
    input: ArrayLike,
    num_embeddings: int,
    padding_idx: int | None = None,
    *,
    out: Array | None = None,
) -> Array:
    """dweight = the sum of dy over the places at which x is the row's number; 0 for row padding_idx.

    dy: (*input.shape, D), dtypes as for relu; input as for embedding; num_embeddings: the rows, N. The
    result, (N, D), has the dtype of dy; out: for it. Sums are in float64, those of float64 compensated
    (Knuth's two-sum), in the order of x, whatever the number of threads. Raises TypeError and ValueError as
    embedding.
    """
    g, rows = arrays.ready("dy", dy), arrays.integer("num_embeddings", num_embeddings)
    if not 0 <= rows < 2**48:
        raise ValueError(f"num_embeddings must be in [0, 2^48), got {rows}")
    padding = padding_row(padding_idx, rows)
    indices = _indices(input, rows)
    if g.ndim == 0 or g.shape[:-1] != indices.shape:
        raise ValueError(
            f"dy must have shape (*input.shape, D), input's being {indices.shape}, got {g.shape}"
        )
    target = arrays.target_for(out, (rows, g.shape[-1]), g.dtype)
    place = arrays.plain_target(target)
    g, indices = arrays.apart(arrays.plain(g), place), arrays.apart(indices, place)
    _kernels.add_rows(g, indices, -1 if padding is None else padding, place)
    return arrays.deliver(arrays.deliver(place, target), out)
