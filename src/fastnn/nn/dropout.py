"""Dropout as layers. The draws are fastnn.functional's; this file adds no mathematics.

In training, forward takes a key from the generator, and backward needs nothing but that key. In evaluation a
layer returns its argument itself, without a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

import fastnn.functional as F
from fastnn import stages
from fastnn._core.typing import Array
from fastnn.nn.linear import Linear
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter
from fastnn.random import Generator, Key, given_or_default

_stage = lru_cache(stages.Dropout)


class _Drawing(Module):
    """The base of layers that drop: the probability, the generator, and the key of the last forward pass."""

    def __init__(self, p: float, generator: Generator | None) -> None:
        F.dropout(np.empty(0, np.float32), p, training=False)  # a bad p is reported here
        given_or_default(generator)  # what is no generator is reported here
        self.p = p
        self.generator = generator

    def _next_key(self) -> Key | None:
        """Return the key for a forward pass, which backward uses again; None in evaluation."""
        generator = given_or_default(self.generator)
        key = generator.key() if self.training else None
        self._saved = (key,)
        return key

    def _last_key(self) -> Key | None:
        """Return the key of the last forward pass."""
        (key,) = self._take_saved()
        return key  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """Return the probability."""
        return f"p={self.p}"


class _Dropout(_Drawing):
    _writes_input = True
    _forward: ClassVar[Callable[..., Array]]
    _backward: ClassVar[Callable[..., Array]]

    def __init_subclass__(cls, function: str | None = None) -> None:
        if function is not None:
            cls._forward = staticmethod(getattr(F, function))
            cls._backward = staticmethod(getattr(F, f"{function}_backward"))

    def __init__(self, p: float = 0.5, inplace: bool = False, *, generator: Generator | None = None) -> None:
        super().__init__(p, generator)
        self.inplace = inplace

    def forward(self, x: Array) -> Array:
        """Return `x` with elements dropped, in evaluation `x` itself.

        inplace: the result is in `x`, but not in a Sequential, as the layer before may need `x`.
        """
        key = self._next_key()
        return x if key is None else self._forward(x, self.p, key=key, out=x if self.inplace else None)

    def backward(self, dy: Array) -> Array:
        """Return `dy` with the same elements dropped; `dy` itself where forward ran in evaluation."""
        key = self._last_key()
        return dy if key is None else self._backward(dy, self.p, key=key)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout, function="dropout"):
    """x / (1 - p) where an element is kept, else 0. F.dropout has the details.

    generator: where keys come from; None: fastnn's default generator. Raises ValueError for a p outside
    [0, 1]. Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, 2014.
    """

    def stage(self) -> stages.Stage | None:
        """Return the same dropout as a stage; in evaluation one that drops nothing."""
        return _stage(self.p if self.training else 0.0)

    def stage_arguments(self, x: Array) -> dict[str, Any]:
        """Return the next key."""
        return {"key": self._next_key()}


class Dropout1d(_Dropout, function="dropout1d"):
    """Dropout of whole channels of (N, C, L) or (C, L). Arguments as for Dropout."""


class Dropout2d(_Dropout, function="dropout2d"):
    """Dropout of whole channels of (N, C, H, W). Arguments as for Dropout."""


class Dropout3d(_Dropout, function="dropout3d"):
    """Dropout of whole channels of (N, C, D, H, W) or (C, D, H, W). Arguments as for Dropout."""


class AlphaDropout(_Dropout, function="alpha_dropout"):
    """Dropout for SELU, which keeps mean 0 and variance 1. Arguments as for Dropout; F.alpha_dropout."""


class DropPath(_Dropout, function="drop_path"):
    """Dropout of whole samples (N, ...): stochastic depth. Arguments as for Dropout; F.drop_path."""


class DropConnect(_Drawing):
    """A Linear layer that drops weights in training: y = x W'^T + b with W' = F.drop_connect(W, p).

    p and generator as for Dropout. The layer's own forward and backward do the work, with W' in W's place;
    W' is drawn again in backward, and W.grad gets the gradient of what was kept. Wan, Zeiler, Zhang, LeCun
    and Fergus, 2013. Raises TypeError for a layer that is no Linear.
    """

    def __init__(self, linear: Linear, p: float = 0.5, *, generator: Generator | None = None) -> None:
        if not isinstance(linear, Linear):
            raise TypeError(f"DropConnect: linear must be an nn.Linear, got {type(linear).__name__}")
        super().__init__(p, generator)
        self.linear = linear

    def forward(self, x: Array) -> Array:
        """Return x W'^T + b, of shape (..., out_features); with W itself in evaluation."""
        with self._dropped_weight(self._next_key()):
            return self.linear(x)

    def backward(self, dy: Array) -> Array:
        """Return dx = dy W'; adds the gradients of W and b."""
        key = self._last_key()
        with self._dropped_weight(key) as weight:
            dx = self.linear.backward(dy)
        if key is not None and weight.grad is not None:
            gradient = F.drop_connect_backward(weight.grad, self.p, key=key, out=weight.grad)
            self.linear.weight.accumulate(gradient)
        return dx

    @contextmanager
    def _dropped_weight(self, key: Key | None) -> Iterator[Parameter]:
        """Within the context, the linear layer's weight is W'; W itself without a key."""
        whole = self.linear.weight
        if key is not None:
            self.linear.weight = Parameter(F.drop_connect(whole.data, self.p, key=key))
        try:
            yield self.linear.weight
        finally:
            self.linear.weight = whole
