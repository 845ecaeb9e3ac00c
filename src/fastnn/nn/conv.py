"""The convolution layer."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

import fastnn.functional as F
from fastnn._core.typing import Array
from fastnn.functional.conv import Pair, paddings, pair
from fastnn.nn._checks import check_array, check_counts, check_dtype, check_weight
from fastnn.nn._fixed import Fixed
from fastnn.nn._padding import PADDING_MODES, check_room, pad, pad_backward
from fastnn.nn.module import NOT_NEEDED, Module
from fastnn.nn.parameter import Parameter
from fastnn.random import Generator, given_or_default


class Conv2d(Module):
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

    in_channels, out_channels, groups = Fixed[int](), Fixed[int](), Fixed[int]()
    kernel_size, padding_mode = Fixed[tuple[int, int]](), Fixed[str]()
    _groups: int

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
        check_counts("Conv2d", in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d: groups must divide in_channels, {in_channels}, and out_channels, {out_channels},"
                f" got {groups}"
            )
        if not (isinstance(padding_mode, str) and padding_mode in PADDING_MODES):
            modes = ", ".join(map(repr, PADDING_MODES))
            raise ValueError(f"Conv2d: padding_mode must be one of {modes}, got {padding_mode!r}")
        check_dtype("Conv2d", dtype)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = pair("kernel_size", kernel_size, 1)
        self.stride = pair("stride", stride, 1)
        self.dilation = pair("dilation", dilation, 1)
        self.padding = padding if isinstance(padding, str) else pair("padding", padding, 0)
        self.padding_mode = padding_mode
        self._widths()  # a bad name is reported here
        shape = out_channels, in_channels // groups, *self.kernel_size
        check_weight("Conv2d", "in_channels, out_channels and kernel_size", shape)
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        draw = given_or_default(generator).numpy()
        self.weight = Parameter(draw.uniform(-bound, bound, shape).astype(dtype))
        self.bias = Parameter(draw.uniform(-bound, bound, out_channels).astype(dtype)) if bias else None

    def forward(self, x: Array) -> Array:
        """Return F.conv2d of `x` with the layer's weight and bias."""
        check_array("Conv2d", "x", x, self.weight.data)
        bias = None if self.bias is None else self.bias.data
        padding: Pair | str = self.padding
        if self.padding_mode != "zeros":
            x, padding = self._padded(x), 0
        y = F.conv2d(x, self.weight.data, bias, self.stride, padding, self.dilation, self._groups)
        self._saved = x
        return y

    def backward(self, dy: Array) -> Array:
        """Return F.conv2d_backward's dx, if it is needed; adds dweight and dbias."""
        x = self._take_saved()
        check_array("Conv2d", "dy", dy, self.weight.data)
        dx, dweight, dbias = F.conv2d_backward(
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
        """Return (before, after) of rows and columns."""
        return paddings(self.padding, self.kernel_size, self.stride, self.dilation)

    def _padded(self, x: Array) -> Array:
        """Return the images with a padding of their own elements."""
        widths = self._widths()
        if x.ndim in (3, 4):  # F.conv2d says what is wrong with others
            check_room("Conv2d", self.padding_mode, x.shape[-2:], widths)
            x = pad(x, widths, self.padding_mode)
        return x

    def extra_repr(self) -> str:
        """Return the constructor's arguments, as PyTorch writes them."""
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        )
        text += f", padding={self.padding}" if self.padding != (0, 0) else ""
        text += f", dilation={self.dilation}" if self.dilation != (1, 1) else ""
        text += f", groups={self.groups}" if self.groups != 1 else ""
        text += ", bias=False" if self.bias is None else ""
        return text + (f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else "")
