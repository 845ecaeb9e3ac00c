"""Flatten: several axes as one; Unflatten: one as several."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fastnn._core.arrays import integer
from fastnn._core.typing import Array
from fastnn.nn._checks import MAX_DIMS
from fastnn.nn.module import Module


def _axis(name: str, axis: int, ndim: int) -> int:
    if not -ndim <= axis < ndim:
        raise IndexError(f"{name} must be in [{-ndim}, {ndim}) for an input of {ndim} dimensions, got {axis}")
    return axis % ndim


class _Reshaped(Module):
    """What gives the input another shape, which forward saves beside the input's."""

    def backward(self, dy: Array) -> Array:
        """Return `dy` in the shape of the input; ValueError where it has not the output's shape."""
        given, shape = self._take_saved()
        if dy.shape != shape:
            name = type(self).__name__
            raise ValueError(f"{name}: dy must have the shape of forward's result, {shape}, got {dy.shape}")
        return dy.reshape(given)


class Flatten(_Reshaped):
    """The axes start_dim to end_dim (both counted) as one, in C order; a view where memory allows it.

    As a rule (N, C, H, W) becomes (N, C H W). Raises IndexError for axes that the input does not have,
    ValueError for an end_dim before start_dim, TypeError for what is no integer.
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        integer("Flatten: start_dim", start_dim)
        integer("Flatten: end_dim", end_dim)
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Array) -> Array:
        """Return `x` in its new shape."""
        start = _axis("Flatten: start_dim", self.start_dim, x.ndim)
        end = _axis("Flatten: end_dim", self.end_dim, x.ndim)
        if end < start:
            raise ValueError(
                f"Flatten: end_dim must not be before start_dim, {self.start_dim}, got {self.end_dim}"
            )
        shape = (*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :])
        self._saved = x.shape, shape
        return x.reshape(shape)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(_Reshaped):
    """The axis `dim` as several of these sizes, in C order; one size may be -1, what is left. A view.

    Unflatten(1, (C, H, W)) undoes Flatten() of images. Raises IndexError for an axis that the input does not
    have, ValueError for sizes that do not make its length, TypeError for what is no integer.
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        self.dim = integer("Unflatten: dim", dim)
        if not isinstance(unflattened_size, Sequence) or isinstance(unflattened_size, str):
            raise TypeError(
                f"Unflatten: unflattened_size must be a tuple of integers, got {unflattened_size!r}"
            )
        self.unflattened_size = tuple(integer("Unflatten: unflattened_size", n) for n in unflattened_size)
        sizes = self.unflattened_size
        if not sizes or min(sizes) < -1 or sizes.count(-1) > 1:
            raise ValueError(
                f"Unflatten: unflattened_size must be sizes of at least 0, one of them may be -1, got {sizes}"
            )

    def forward(self, x: Array) -> Array:
        """Return `x` in its new shape."""
        sizes, axis = self.unflattened_size, _axis("Unflatten: dim", self.dim, x.ndim)
        known, length = math.prod(n for n in sizes if n != -1), x.shape[axis]
        if -1 in sizes and known and length % known == 0:
            sizes = tuple(length // known if n == -1 else n for n in sizes)
        if -1 in sizes or math.prod(sizes) != length:
            raise ValueError(
                f"Unflatten: x must have a length along dim {self.dim} that is the product of"
                f" unflattened_size, {self.unflattened_size}, got shape {x.shape}"
            )
        shape = (*x.shape[:axis], *sizes, *x.shape[axis + 1 :])
        if len(shape) > MAX_DIMS:
            raise ValueError(
                f"Unflatten: unflattened_size must give at most {MAX_DIMS} dimensions, got {len(shape)}"
            )
        self._saved = x.shape, shape
        return x.reshape(shape)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
