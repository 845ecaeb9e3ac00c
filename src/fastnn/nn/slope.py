"""Layers of the activations whose slopes are learned or drawn, and Maxout."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

import fastnn.functional as F
from fastnn._core.arrays import integer, real_number, rounded
from fastnn._core.devices import alike
from fastnn._core.typing import Array
from fastnn.nn._checks import check_counts
from fastnn.nn._fixed import Fixed
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter
from fastnn.random import Generator, given_or_default


class PReLU(Module):
    """x where x > 0, else weight[c] x, with a learned slope for all channels or for each (axis 1).

    `weight` has shape (num_parameters,), 1 or the number of channels, and starts at `init`. Raises ValueError
    for another num_parameters. He, Zhang, Ren and Sun, 2015.
    """

    num_parameters = Fixed[int]()  # type: ignore[assignment]  # torch's name, for what the method would return

    def __init__(self, num_parameters: int = 1, init: float = 0.25, dtype: DTypeLike = np.float32) -> None:
        check_counts("PReLU", num_parameters=num_parameters)
        self.num_parameters = num_parameters
        weight = rounded(np.full(num_parameters, real_number("init", init)), dtype)
        if weight.dtype.kind != "f" and weight.dtype.name != "bfloat16":
            raise TypeError(f"PReLU: dtype must be a floating dtype, got {weight.dtype}")
        self.weight = Parameter(weight)

    def forward(self, x: Array) -> Array:
        """Return F.prelu of `x`."""
        self._saved = x
        return F.prelu(x, self.weight.data)

    def backward(self, dy: Array) -> Array:
        """Return F.prelu_backward's dx; adds dweight."""
        dx, dweight = F.prelu_backward(dy, self._take_saved(), self.weight.data)
        self.weight.accumulate(alike(dweight, self.weight.data))
        return dx

    def extra_repr(self) -> str:
        """Return the number of slopes."""
        return f"num_parameters={self.num_parameters}"


class RReLU(Module):
    """x where x > 0, else a x; a is drawn from (lower, upper) in training, and their mean in evaluation.

    generator: where keys come from; None: fastnn's default generator. inplace is taken, and the result is a
    new array all the same, as backward needs the input. Raises ValueError unless 0 <= lower <= upper <= 1.
    Xu, Wang, Chen and Li, 2015.
    """

    def __init__(
        self,
        lower: float = 1 / 8,
        upper: float = 1 / 3,
        inplace: bool = False,
        *,
        generator: Generator | None = None,
    ) -> None:
        F.rrelu(np.empty(0, np.float32), lower, upper)  # bad bounds are reported here
        given_or_default(generator)  # and what is no generator
        self.lower, self.upper, self.inplace, self.generator = lower, upper, inplace, generator

    def forward(self, x: Array) -> Array:
        """Return F.rrelu of `x`."""
        key = given_or_default(self.generator).key() if self.training else None
        self._saved = x, key
        return F.rrelu(x, self.lower, self.upper, key is not None, key=key)

    def backward(self, dy: Array) -> Array:
        """Return dy times the slopes of the last forward pass."""
        x, key = self._take_saved()
        return F.rrelu_backward(dy, x, self.lower, self.upper, key is not None, key=key)

    def extra_repr(self) -> str:
        """Return the bounds."""
        return f"lower={self.lower}, upper={self.upper}" + ", inplace=True" * self.inplace


class Maxout(Module):
    """The largest of each k neighbours along dim; backward needs only their indices, saved as bits.

    Behind a Linear of k n outputs it is a maxout layer of n units. Raises ValueError where dim's length is no
    multiple of k. Goodfellow, Warde-Farley, Mirza, Courville and Bengio, 2013.
    """

    def __init__(self, k: int, dim: int = 1) -> None:
        check_counts("Maxout", k=k)
        integer("Maxout: dim", dim)
        self.k, self.dim = k, dim

    def forward(self, x: Array) -> Array:
        """Return F.maxout of `x`; dim is k times shorter."""
        y, self._saved = F.maxout(x, self.k, self.dim)
        return y

    def backward(self, dy: Array) -> Array:
        """Return dy where an element was the largest of its k, 0 for the others."""
        return F.maxout_backward(dy, self._take_saved())

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"k={self.k}, dim={self.dim}"
