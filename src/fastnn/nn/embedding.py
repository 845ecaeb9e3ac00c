"""Embedding: a learned row for each number."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

import fastnn.functional as F
from fastnn._core.typing import Array
from fastnn.functional.embedding import padding_row
from fastnn.nn._checks import check_counts, check_dtype, check_weight
from fastnn.nn._fixed import Fixed
from fastnn.nn.module import NOT_NEEDED, Module
from fastnn.nn.parameter import Parameter
from fastnn.random import Generator, given_or_default


class Embedding(Module):
    """F.embedding of integers of any shape: the rows of a learned table, (num_embeddings, embedding_dim).

    The table is `weight`; it starts as draws of the standard normal distribution, from `generator`, or from
    fastnn's default. padding_idx: a row that starts as zeros and gets no gradient; counted from the end where
    it is negative. `dtype` is the weight's, float32 or float64. PyTorch's max_norm and sparse gradients are
    not there. Raises ValueError for counts below 1 and for numbers that are no rows, TypeError for input that
    is no integers.
    """

    num_embeddings, embedding_dim = Fixed[int](), Fixed[int]()
    padding_idx = Fixed[int | None]()

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        dtype: DTypeLike = np.float32,
        *,
        generator: Generator | None = None,
    ) -> None:
        shape = num_embeddings, embedding_dim
        check_counts("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        check_weight("Embedding", "num_embeddings and embedding_dim", shape)
        check_dtype("Embedding", dtype)
        self.num_embeddings, self.embedding_dim = shape
        self.padding_idx = padding_row(padding_idx, num_embeddings)
        self.weight = Parameter(given_or_default(generator).numpy().standard_normal(shape).astype(dtype))
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx] = 0

    def forward(self, x: Array) -> Array:
        """Return F.embedding of `x`, of shape (*x.shape, embedding_dim)."""
        y = F.embedding(x, self.weight.data, self.padding_idx)
        self._saved = x
        return y

    def backward(self, dy: Array) -> Array:
        """Add F.embedding_backward of `dy`; integers have no gradient, so that there is none to return."""
        x = self._take_saved()
        if self.weight.requires_grad:
            dweight = F.embedding_backward(dy, x, self.num_embeddings, self.padding_idx)
            self.weight.accumulate(dweight)
        return NOT_NEEDED

    def extra_repr(self) -> str:
        """Return the constructor's arguments, as PyTorch writes them."""
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        return text if self.padding_idx is None else f"{text}, padding_idx={self.padding_idx}"
