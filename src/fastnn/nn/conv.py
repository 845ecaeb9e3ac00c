"""The convolution layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

import fastnn.functional as F
from fastnn._core.typing import Array
from fastnn.functional.conv import Pair, paddings, pair, single
from fastnn.nn._checks import check_array, check_counts, check_dtype, check_weight
from fastnn.nn._fixed import Fixed
from fastnn.nn._padding import PADDING_MODES, check_room, pad, pad_backward
from fastnn.nn.module import NOT_NEEDED, Module
from fastnn.nn.parameter import Parameter
from fastnn.random import Generator, given_or_default


class _Conv(Module):
    """What convolutions of images and of lines share."""

    in_channels, out_channels, groups = Fixed[int](), Fixed[int](), Fixed[int]()
    kernel_size, padding_mode = Fixed[tuple[int, ...]](), Fixed[str]()
    _groups: int
    _dims: ClassVar[int]
    _forward: ClassVar[Callable[..., Array]]
    _backward: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair | str = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        dtype: DTypeLike = np.float32,
        *,
        generator: Generator | None = None,
    ) -> None:
        name = type(self).__name__
        check_counts(name, in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: groups must divide in_channels, {in_channels}, and out_channels, {out_channels},"
                f" got {groups}"
            )
        if not (isinstance(padding_mode, str) and padding_mode in PADDING_MODES):
            modes = ", ".join(map(repr, PADDING_MODES))
            raise ValueError(
                f"{type(self).__name__}: padding_mode must be one of {modes}, got {padding_mode!r}"
            )
        check_dtype(name, dtype)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = self._numbers("kernel_size", kernel_size, 1)
        self.stride = self._numbers("stride", stride, 1)
        self.dilation = self._numbers("dilation", dilation, 1)
        self.padding = padding if isinstance(padding, str) else self._numbers("padding", padding, 0)
        self.padding_mode = padding_mode
        self._widths()  # a bad name is reported here
        shape = out_channels, in_channels // groups, *self.kernel_size
        check_weight(name, "in_channels, out_channels and kernel_size", shape)
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        draw = given_or_default(generator).numpy()
        self.weight = Parameter(draw.uniform(-bound, bound, shape).astype(dtype))
        self.bias = Parameter(draw.uniform(-bound, bound, out_channels).astype(dtype)) if bias else None

    def forward(self, x: Array) -> Array:
        """Return the function of `x` with the layer's weight and bias."""
        check_array(type(self).__name__, "x", x, self.weight.data)
        bias = None if self.bias is None else self.bias.data
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            x, padding = self._padded(x), 0
        y = self._forward(x, self.weight.data, bias, self.stride, padding, self.dilation, self._groups)
        self._saved = x
        return y

    def backward(self, dy: Array) -> Array:
        """Return the gradient for the input, if it is needed; adds those of weight and bias."""
        x = self._take_saved()
        check_array(type(self).__name__, "dy", dy, self.weight.data)
        dx, dweight, dbias = self._backward(
            dy,
            x,
            self.weight.data,
            self.stride,
            self.padding if self.padding_mode == "zeros" else 0,
            self.dilation,
            self._groups,
            needs_input=self.needs_input_grad,
            needs_weight=self.weight.requires_grad,
            needs_bias=self.bias is not None and self.bias.requires_grad,
        )
        if dweight is not None:
            self.weight.accumulate(dweight)
        if self.bias is not None and dbias is not None:
            self.bias.accumulate(dbias)
        if dx is None:
            return NOT_NEEDED
        return dx if self.padding_mode == "zeros" else pad_backward(dx, self._widths(), self.padding_mode)

    def _widths(self) -> list[tuple[int, int]]:
        """Return (before, after) of rows and columns; lines get none of rows, which stand for channels."""
        widths = paddings(self.padding, self.kernel_size, self.stride, self.dilation)
        return [(0, 0), widths[-1]] if self._dims == 1 else widths

    def _numbers(self, name: str, value: Pair, least: int) -> tuple[int, ...]:
        """Return a number for each dimension of an image or line."""
        return (single(name, value, least),) if self._dims == 1 else pair(name, value, least)

    def _padded(self, x: Array) -> Array:
        """Return the images with a padding of their own elements."""
        widths = self._widths()
        if x.ndim in (self._dims + 1, self._dims + 2):  # the function says what is wrong with others
            check_room(type(self).__name__, self.padding_mode, x.shape[-2:], widths)
            x = pad(x, widths, self.padding_mode)
        return x

    def extra_repr(self) -> str:
        """Return the constructor's arguments, as PyTorch writes them."""
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        )
        text += f", padding={self.padding}" if self.padding != (0,) * self._dims else ""
        text += f", dilation={self.dilation}" if self.dilation != (1,) * self._dims else ""
        text += f", groups={self.groups}" if self.groups != 1 else ""
        text += ", bias=False" if self.bias is None else ""
        return text + (f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else "")


class Conv2d(_Conv):
    """F.conv2d of images (N, in_channels, H, W) or (in_channels, H, W) with a learned weight and bias.

    weight: (out_channels, in_channels / groups, kH, kW). kernel_size, stride, padding and dilation: an
    integer, or one for rows and one for columns; padding may be 'same' or 'valid'. padding_mode: "zeros",
    or what the padding repeats of the image: "reflect" what is beside the edge, "replicate" the edge,
    "circular" the other side. Weight and bias start uniform in +-1/sqrt(fan_in), fan_in = in_channels /
    groups kH kW (He et al., "Delving deep into rectifiers", 2015, with a = sqrt(5): PyTorch's default), drawn
    from `generator`, or from fastnn's default. `dtype` is float32 or float64, and x has to have the same.
    Raises ValueError for parameters and shapes that do not fit, for a padding larger than what it repeats,
    TypeError for a wrong dtype.
    """

    _dims = 2
    _forward, _backward = staticmethod(F.conv2d), staticmethod(F.conv2d_backward)


class Conv1d(_Conv):
    """F.conv1d of lines (N, in_channels, L) or (in_channels, L) with a learned weight and bias.

    weight: (out_channels, in_channels / groups, k). kernel_size, stride, padding and dilation: an integer;
    padding may be 'same' or 'valid'. All else is as for Conv2d: padding_mode, the first weights, dtype and
    errors.
    """

    _dims = 1
    _forward, _backward = staticmethod(F.conv1d), staticmethod(F.conv1d_backward)
