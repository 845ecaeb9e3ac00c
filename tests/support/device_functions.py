"""fastnn.functional with NumPy arrays in and out, computed on the GPU: for tests that the CPU passes too."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastnn.functional as F


class OnDevice:
    """OnDevice(cupy).batch_norm(...) copies arrays to the GPU, in their layout, and back what was updated."""

    def __init__(self, cupy: Any) -> None:
        self.cupy = cupy

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            given = [*args, *kwargs.values()]
            moved = [self._there(value) for value in given]
            result = getattr(F, name)(
                *moved[: len(args)], **dict(zip(kwargs, moved[len(args) :], strict=True))
            )
            for value, device in zip(given, moved, strict=True):
                if isinstance(value, np.ndarray) and value.flags.writeable:
                    value[...] = device.get()
            if isinstance(result, tuple):
                return tuple(map(self._back, result))
            return self._back(result)

        return call

    def _there(self, value: Any) -> Any:
        return there(self.cupy, value) if isinstance(value, np.ndarray) else value

    def _back(self, value: Any) -> Any:
        return value.get() if isinstance(value, self.cupy.ndarray) else value


def there(cupy: Any, array: np.ndarray[Any, Any]) -> Any:
    """A copy on the GPU with its axes in the same order in memory."""
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    return cupy.asarray(array.transpose(order).copy()).transpose(
        [order.index(axis) for axis in range(array.ndim)]
    )
