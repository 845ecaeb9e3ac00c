"""Pooling layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fastnn.functional as F
from fastnn._core.typing import Array
from fastnn.functional.conv import Pair, pair
from fastnn.functional.pool import adaptive_numbers, fractional_numbers, line_numbers, window_numbers
from fastnn.nn.module import Module
from fastnn.random import Generator, given_or_default


def _numbers_repr(layer: Any) -> str:
    return f"kernel_size={layer.kernel_size}, stride={layer.stride}, padding={layer.padding}"


def _windows_repr(layer: Any) -> str:
    return f"{_numbers_repr(layer)}, dilation={layer.dilation}, ceil_mode={layer.ceil_mode}"


class MaxPool2d(Module):
    """The largest element of each window of images (N, C, H, W) or (C, H, W): F.max_pool2d.

    stride=None is kernel_size. For backward a byte for each result is saved. return_indices: forward returns
    (y, indices), which say where in its plane of x each element of y is, row by row. Raises ValueError for
    parameters and shapes that do not fit.
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        dilation: Pair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        window_numbers(kernel_size, stride, padding, dilation)  # bad parameters are reported here
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode
        self.return_indices = return_indices

    def forward(self, x: Array) -> Any:
        """Return F.max_pool2d of `x`; with return_indices (y, indices)."""
        numbers = self.kernel_size, self.stride, self.padding, self.dilation
        y, saved = F.max_pool2d(x, *numbers, self.ceil_mode)
        self._saved = saved
        return (y, saved.indices()) if self.return_indices else y

    def backward(self, dy: Array) -> Array:
        """Return F.max_pool2d_backward of `dy`."""
        return F.max_pool2d_backward(dy, self._take_saved())

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return _windows_repr(self)


class AvgPool2d(Module):
    """The mean of each window of images (N, C, H, W) or (C, H, W): F.avg_pool2d.

    stride=None is kernel_size. Raises ValueError for parameters and shapes that do not fit.
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        window_numbers(kernel_size, stride, padding)  # bad parameters are reported here
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, x: Array) -> Array:
        """Return F.avg_pool2d of `x`."""
        numbers = self.kernel_size, self.stride, self.padding
        rest = self.ceil_mode, self.count_include_pad, self.divisor_override
        y, self._saved = F.avg_pool2d(x, *numbers, *rest)
        return y

    def backward(self, dy: Array) -> Array:
        """Return F.avg_pool2d_backward of `dy`."""
        return F.avg_pool2d_backward(dy, self._take_saved())

    def extra_repr(self) -> str:
        """Return the windows' numbers."""
        return _numbers_repr(self)


class AdaptiveAvgPool2d(Module):
    """Means of windows of images (N, C, H, W) or (C, H, W), output_size of them: F.adaptive_avg_pool2d.

    output_size: (oH, oW), or one number for both; None is the input's. Raises ValueError and TypeError for
    parameters and shapes that do not fit.
    """

    def __init__(self, output_size: int | Sequence[int | None] | None) -> None:
        adaptive_numbers(output_size)  # bad parameters are reported here
        self.output_size = output_size

    def forward(self, x: Array) -> Array:
        """Return F.adaptive_avg_pool2d of `x`."""
        y, self._saved = F.adaptive_avg_pool2d(x, self.output_size)
        return y

    def backward(self, dy: Array) -> Array:
        """Return F.adaptive_avg_pool2d_backward of `dy`."""
        return F.adaptive_avg_pool2d_backward(dy, self._take_saved())

    def extra_repr(self) -> str:
        """Return the output's size."""
        return f"output_size={self.output_size}"


class AdaptiveMaxPool2d(Module):
    """The largest elements of the regions of AdaptiveAvgPool2d: F.adaptive_max_pool2d.

    output_size as there, return_indices as for MaxPool2d. Raises ValueError and TypeError for parameters and
    shapes that do not fit.
    """

    def __init__(self, output_size: int | Sequence[int | None] | None, return_indices: bool = False) -> None:
        adaptive_numbers(output_size)  # bad parameters are reported here
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, x: Array) -> Any:
        """Return F.adaptive_max_pool2d of `x`; with return_indices (y, indices)."""
        y, saved = F.adaptive_max_pool2d(x, self.output_size)
        self._saved = saved
        return (y, saved.indices()) if self.return_indices else y

    def backward(self, dy: Array) -> Array:
        """Return F.adaptive_max_pool2d_backward of `dy`."""
        return F.adaptive_max_pool2d_backward(dy, self._take_saved())

    def extra_repr(self) -> str:
        """Return the output's size."""
        return f"output_size={self.output_size}"


class FractionalMaxPool2d(Module):
    """The largest elements of windows at random places in images (N, C, H, W) or (C, H, W).

    kernel_size, and one of output_size and output_ratio, as for F.fractional_max_pool2d; return_indices as
    for MaxPool2d. Every forward pass
    draws other places, in evaluation too, as PyTorch does. generator: where keys come from; None: fastnn's
    default generator. Raises ValueError for parameters and shapes that do not fit. Graham, "Fractional
    max-pooling", 2014.
    """

    def __init__(
        self,
        kernel_size: Pair,
        output_size: Pair | None = None,
        output_ratio: float | Sequence[float] | None = None,
        return_indices: bool = False,
        *,
        generator: Generator | None = None,
    ) -> None:
        self.kernel_size = pair("kernel_size", kernel_size, 1)
        self.output_size, self.output_ratio = fractional_numbers(output_size, output_ratio)
        given_or_default(generator)  # what is no generator is reported here
        self.return_indices, self.generator = return_indices, generator

    def forward(self, x: Array) -> Any:
        """Return F.fractional_max_pool2d of `x`, with the generator's next key; maybe (y, indices)."""
        key = given_or_default(self.generator).key()
        places = self.output_size, self.output_ratio
        y, saved = F.fractional_max_pool2d(x, self.kernel_size, *places, key=key)
        self._saved = saved
        return (y, saved.indices()) if self.return_indices else y

    def backward(self, dy: Array) -> Array:
        """Return F.fractional_max_pool2d_backward of `dy`."""
        return F.fractional_max_pool2d_backward(dy, self._take_saved())


def _check_line(kernel_size: Pair, stride: Pair | None, **rest: Pair) -> None:
    """Report bad parameters of windows of lines."""
    numbers: Any = line_numbers(kernel_size, stride, **rest)
    window_numbers(*numbers)


class MaxPool1d(Module):
    """The largest element of each window of lines (N, C, L) or (C, L): F.max_pool1d.

    Arguments are MaxPool2d's, each an integer. Raises ValueError and TypeError for parameters and shapes that
    do not fit.
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        dilation: Pair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        _check_line(kernel_size, stride, padding=padding, dilation=dilation)
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode
        self.return_indices = return_indices

    def forward(self, x: Array) -> Any:
        """Return F.max_pool1d of `x`; with return_indices (y, indices)."""
        numbers = self.kernel_size, self.stride, self.padding, self.dilation
        y, saved = F.max_pool1d(x, *numbers, self.ceil_mode)
        self._saved = saved
        return (y, saved.indices()[..., 0, :]) if self.return_indices else y

    def backward(self, dy: Array) -> Array:
        """Return F.max_pool1d_backward of `dy`."""
        return F.max_pool1d_backward(dy, self._take_saved())

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return _windows_repr(self)


class AvgPool1d(Module):
    """The mean of each window of lines (N, C, L) or (C, L): F.avg_pool1d.

    Arguments are AvgPool2d's, each an integer. Raises ValueError and TypeError for parameters and shapes that
    do not fit.
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        _check_line(kernel_size, stride, padding=padding)
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad

    def forward(self, x: Array) -> Array:
        """Return F.avg_pool1d of `x`."""
        numbers = self.kernel_size, self.stride, self.padding
        y, self._saved = F.avg_pool1d(x, *numbers, self.ceil_mode, self.count_include_pad)
        return y

    def backward(self, dy: Array) -> Array:
        """Return F.avg_pool1d_backward of `dy`."""
        return F.avg_pool1d_backward(dy, self._take_saved())

    def extra_repr(self) -> str:
        """Return the windows' numbers."""
        return _numbers_repr(self)
