"""The assignments' im2col.py: windows as columns and back, in NumPy, for code that calls it by itself.

A column matrix has one row for each element (c, i, j) of a window and one column for each place and sample
(row, column, n), the last index running fastest. fastnn's own convolution does not use it.
"""

from __future__ import annotations

import numpy as np

from fastnn._core.typing import Array

__all__ = ["col2im_indices", "get_im2col_indices", "im2col_indices", "np"]

Shape = tuple[int, int, int, int]


def get_im2col_indices(
    x_shape: Shape, field_height: int, field_width: int, padding: int = 1, stride: int = 1
) -> tuple[Array, Array, Array]:
    """Return (k, i, j), the channel, row and column in the padded x of each element of each window.

    x_shape: (N, C, H, W). i and j have shape (C field_height field_width, windows), k that with 1 window.
    Raises ValueError where the windows do not fill the padded x.
    """
    rows, columns = _places(x_shape, field_height, field_width, padding, stride)
    k, i, j = np.indices((x_shape[1], field_height, field_width)).reshape(3, -1, 1)
    row, column = stride * np.indices((rows, columns)).reshape(2, 1, -1)
    return k, i + row, j + column


def im2col_indices(x: Array, field_height: int, field_width: int, padding: int = 1, stride: int = 1) -> Array:
    """Return the windows of x, (N, C, H, W), as a new array (C field_height field_width, places N).

    Raises ValueError where the windows do not fill the padded x.
    """
    _places(x.shape, field_height, field_width, padding, stride)
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (field_height, field_width), (2, 3))
    columns = windows[:, :, ::stride, ::stride].transpose(1, 4, 5, 2, 3, 0)
    return columns.reshape(x.shape[1] * field_height * field_width, -1)


def col2im_indices(
    cols: Array,
    x_shape: Shape,
    field_height: int = 3,
    field_width: int = 3,
    padding: int = 1,
    stride: int = 1,
) -> Array:
    """Return the sum of all windows at their places, (N, C, H, W): im2col_indices' transpose.

    Raises ValueError where the windows do not fill the padded x, or cols has another size.
    """
    n, channels, height, width = x_shape
    rows, columns = _places(x_shape, field_height, field_width, padding, stride)
    windows = cols.reshape(channels, field_height, field_width, rows, columns, n)
    padded = np.zeros((n, channels, height + 2 * padding, width + 2 * padding), cols.dtype)
    for i in range(field_height):
        for j in range(field_width):
            places = slice(i, i + stride * rows, stride), slice(j, j + stride * columns, stride)
            padded[:, :, *places] += windows[:, i, j].transpose(3, 0, 1, 2)
    return padded[:, :, padding : padding + height, padding : padding + width]


def _places(x_shape: tuple[int, ...], height: int, width: int, padding: int, stride: int) -> tuple[int, int]:
    """The number of windows down and across."""
    _, _, *size = x_shape
    room = [length + 2 * padding - field for length, field in zip(size, (height, width), strict=True)]
    if min(room) < 0 or any(free % stride for free in room):
        raise ValueError(
            f"windows of {height} by {width} with stride {stride} must fill x, of shape {x_shape} with"
            f" padding {padding}"
        )
    return room[0] // stride + 1, room[1] // stride + 1
