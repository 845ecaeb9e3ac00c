"""Convolution of images in plain NumPy, from the definition; it must not know the C kernels.

The result is a sum over the kernel's elements (i, j): each is a weight for every input and output channel,
times the image's elements that lie under it, one for each result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from .activation import Array, floating, quiet

__all__ = [
    "conv1d",
    "conv1d_backward",
    "conv2d",
    "conv2d_backward",
]

Pair = int | Sequence[int]


def _pair(value: Pair) -> tuple[int, int]:
    first, second = np.broadcast_to(value, 2)
    return int(first), int(second)


def _paddings(padding: Pair | str, taps: tuple[int, ...], dilation: tuple[int, int]) -> list[tuple[int, int]]:
    """Return (before, after) for rows and columns."""
    if padding == "valid":
        return [(0, 0), (0, 0)]
    if padding == "same":
        missing = [d * (k - 1) for d, k in zip(dilation, taps, strict=True)]
        return [(m // 2, m - m // 2) for m in missing]
    if isinstance(padding, str):
        raise ValueError(f"padding must be 'same', 'valid' or numbers, got {padding!r}")
    return [(p, p) for p in _pair(padding)]


class _Images:
    """Padded images, (N, groups, C / groups, H, W), and what of them lies under a kernel's elements."""

    def __init__(
        self, x: Array, weight: Array, stride: Pair, padding: Pair | str, dilation: Pair, groups: int
    ) -> None:
        self.stride, self.dilation, self.taps = _pair(stride), _pair(dilation), weight.shape[2:]
        paddings = _paddings(padding, self.taps, self.dilation)
        padded = np.pad(x.reshape(-1, *x.shape[-3:]), [(0, 0), (0, 0), *paddings])
        self.inside = tuple(
            slice(before, before + n) for (before, _), n in zip(paddings, x.shape[-2:], strict=True)
        )
        self.data = padded.reshape(len(padded), groups, -1, *padded.shape[2:])
        self.size = tuple(
            (n - d * (k - 1) - 1) // s + 1
            for n, k, s, d in zip(padded.shape[2:], self.taps, self.stride, self.dilation, strict=True)
        )
        if min(self.size) < 1:
            raise ValueError(f"input of shape {x.shape} is smaller than the kernel, {self.taps}")

    def under(self) -> Iterator[tuple[int, int, Array]]:
        """Yield (i, j, the elements under them); these are views."""
        for i, j in np.ndindex(*self.taps):
            rows, columns = (
                slice(t * d, t * d + s * (n - 1) + 1, s)
                for t, d, s, n in zip((i, j), self.dilation, self.stride, self.size, strict=True)
            )
            yield i, j, self.data[..., rows, columns]


@quiet
def conv2d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """Return the sum of weight[o, c, i, j] x[n, c, stride p + dilation i, ...] over c, i, j, plus bias[o].

    x is padded with zeros. LeCun et al., 1998.
    """
    x, w = floating(input), floating(weight)
    images = _Images(x, w, stride, padding, dilation, groups)
    grouped = w.reshape(groups, -1, *w.shape[1:])
    y = sum(np.einsum("goc,ngcyx->ngoyx", grouped[..., i, j], under) for i, j, under in images.under())
    y = np.asarray(y).reshape(*x.shape[:-3], len(w), *images.size)
    return y if bias is None else y + floating(bias)[:, None, None]


@quiet
def conv2d_backward(
    dy: ArrayLike,
    input: ArrayLike,
    weight: ArrayLike,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    needs_input: bool = True,
    needs_weight: bool = True,
    needs_bias: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """Return (dx, dweight, dbias): each element's part in `conv2d`, times dy; None for unwanted ones."""
    x, w, g = floating(input), floating(weight), floating(dy)
    images = _Images(x, w, stride, padding, dilation, groups)
    gradients = _Images(np.zeros_like(x, np.result_type(g, w)), w, stride, padding, dilation, groups)
    g = g.reshape(len(images.data), groups, -1, *images.size)
    grouped = w.reshape(groups, -1, *w.shape[1:])
    dweight = np.zeros(grouped.shape, np.result_type(g, x))
    for (i, j, under), (_, _, dunder) in zip(images.under(), gradients.under(), strict=True):
        dunder += np.einsum("goc,ngoyx->ngcyx", grouped[..., i, j], g)
        dweight[..., i, j] = np.einsum("ngoyx,ngcyx->goc", g, under)
    dx = gradients.data[..., images.inside[0], images.inside[1]].reshape(x.shape)
    dbias = g.sum(axis=(0, 3, 4)).reshape(-1)
    return (
        dx if needs_input else None,
        dweight.reshape(w.shape) if needs_weight else None,
        dbias if needs_bias else None,
    )


def _row(value: Pair) -> tuple[int, int]:
    return 1, int(np.reshape(value, -1)[0])


def _padding(padding: Pair | str) -> Pair | str:
    return padding if isinstance(padding, str) else (0, _row(padding)[1])


def conv1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """Return `conv2d` of images with one row."""
    x, w = (floating(array)[..., None, :] for array in (input, weight))
    return conv2d(x, w, bias, _row(stride), _padding(padding), _row(dilation), groups)[..., 0, :]


def conv1d_backward(
    dy: ArrayLike,
    input: ArrayLike,
    weight: ArrayLike,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    needs_input: bool = True,
    needs_weight: bool = True,
    needs_bias: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """Return `conv2d_backward` of images with one row."""
    g, x, w = (floating(array)[..., None, :] for array in (dy, input, weight))
    numbers = _row(stride), _padding(padding), _row(dilation), groups
    wanted = {"needs_input": needs_input, "needs_weight": needs_weight, "needs_bias": needs_bias}
    dx, dweight, dbias = conv2d_backward(g, x, w, *numbers, **wanted)
    return (
        None if dx is None else dx[..., 0, :],
        None if dweight is None else dweight[..., 0, :],
        dbias,
    )
