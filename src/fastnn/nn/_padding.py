"""Padding of images by their own elements, and its gradient: what a convolution's padding_mode does.

It knows no layer. Arrays may be NumPy's, or CuPy's on a GPU: only methods that both have are called.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastnn._core.typing import Array

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")

Widths = Sequence[tuple[int, int]]  # (before, after) of rows and columns


def check_room(layer: str, mode: str, sizes: Sequence[int], widths: Widths) -> None:
    """ValueError unless images of these rows and columns have the elements that the padding repeats."""
    for size, width in zip(sizes, widths, strict=True):
        most = {"reflect": size - 1, "circular": size}.get(mode, max(width) if size else 0)
        if max(width) > most:
            raise ValueError(
                f"{layer}: padding must be at most {most} with padding_mode={mode!r} for rows and columns of"
                f" {size}, got {max(width)}"
            )


def sources(size: int, before: int, after: int, mode: str) -> list[int]:
    """Which element of a row each element of the padded row is."""
    place = np.arange(-before, size + after)
    if mode == "circular":
        place %= size
    elif mode == "replicate":
        place = np.clip(place, 0, size - 1)
    else:
        place = size - 1 - abs(size - 1 - abs(place))
    return place.tolist()  # CuPy takes no indices in NumPy's arrays


def pad(x: Array, widths: Widths, mode: str) -> Array:
    """The images (..., H, W) with the padding around them."""
    for axis, (before, after) in zip((-2, -1), widths, strict=True):
        x = x.take(sources(x.shape[axis], before, after, mode), axis=axis)
    return x


def pad_backward(dpadded: Array, widths: Widths, mode: str) -> Array:
    """The gradient for the images: each element's own, and those of its copies in the padding."""
    columns_first = np.swapaxes(dpadded, -2, -1)
    inner = _fold(columns_first, *widths[1], mode)
    return _fold(np.swapaxes(inner, -2, -1), *widths[0], mode)


def _fold(dpadded: Array, before: int, after: int, mode: str) -> Array:
    """The gradient for what was padded along the rows' axis, -2."""
    size = dpadded.shape[-2] - before - after
    dx = dpadded[..., before : before + size, :].copy()
    source = sources(size, before, after, mode)
    for place in (*range(before), *range(before + size, before + size + after)):
        dx[..., source[place], :] += dpadded[..., place, :]
    return dx
