"""Weight and bias of norms of rows, as kernels take them."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastnn._core.dtypes import computing_name
from fastnn.cuda._core import device_arrays, overlap
from fastnn.cuda._runtime.dtypes import WIDTH
from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.cuda.kernels.common.division import magic


class Parameters(NamedTuple):
    """Weight and bias as kernels take them: of one dtype, which loads to what x is computed in."""

    weight: DeviceArray | None
    bias: DeviceArray | None
    dtype: str

    def addresses(self) -> tuple[int, int]:
        """Of both; 0 for None."""
        weight, bias = self.weight, self.bias
        return 0 if weight is None else weight.address, 0 if bias is None else bias.address

    def aligned(self, length: int) -> bool:
        """Whether each group's `length` parameters begin at a multiple of 16 bytes."""
        return length % WIDTH[self.dtype] == 0 and all(address % 16 == 0 for address in self.addresses())


def parameter(name: str, value: Any, shape: tuple[int, ...]) -> DeviceArray | None:
    """What the user gave as weight or bias, in C order; ValueError for another shape."""
    if value is None:
        return None
    array = device_arrays.ready(name, value)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    return device_arrays.contiguous(array)


def joined(weight: DeviceArray | None, bias: DeviceArray | None, target: DeviceArray) -> Parameters:
    """Both in one dtype, and apart from the target; ValueError where they are on another GPU than it."""
    named = [(name, array) for name, array in (("weight", weight), ("bias", bias)) if array is not None]
    device_arrays.same_device([("input", target), *named])
    dtypes, wide = {array.dtype for _, array in named}, computing_name(target.dtype)
    dtype = target.dtype if not dtypes else dtypes.pop() if len(dtypes) == 1 else wide
    if computing_name(dtype) != wide:
        dtype = wide
    fitting = {name: overlap.apart(device_arrays.astype(array, dtype), target) for name, array in named}
    return Parameters(fitting.get("weight"), fitting.get("bias"), dtype)


def row_words(blocks: tuple[int, int, int]) -> tuple[int, ...]:
    """The words that kernels of rows take: groups of rows, channels of a row, elements of a channel."""
    groups, channels, inner = blocks
    return groups, magic(groups), channels, magic(inner)


def weighted_by(blocks: tuple[int, int, int]) -> str:
    """What has a weight of its own: each element of a row, each channel of it, or the row."""
    _, channels, inner = blocks
    return "row" if channels == 1 else "element" if inner == 1 else "channel"
