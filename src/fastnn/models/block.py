"""The residual block of ResNets, under torchvision's parameter names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

from fastnn import stages
from fastnn._chain.fuse import FusedChain, fuse, fusion
from fastnn._core.typing import Array
from fastnn.nn import Module, Sequential, SyncBatchNorm
from fastnn.nn._hooks import has_hooks
from fastnn.nn._places import name_place
from fastnn.nn.batchnorm import BatchNorm2d
from fastnn.nn.module import NOT_NEEDED, without_input_grad

SHORTCUT = "downsample"

_addition = fuse(stages.Add())


@lru_cache
def _end(*norm: stages.BatchNorm) -> FusedChain:
    """What ends a block: the last norm, if it can be computed with the rest, the addition and the ReLU."""
    return fuse(*norm, stages.Add(), stages.Activation("relu"))


class ResidualBlock(Sequential):
    """y = relu(layers(x) + downsample(x)); without an item of the name "downsample", layers(x) + x.

    An OrderedDict gives them, under torchvision's names: conv1, bn1, relu, conv2, bn2, downsample. The last
    batch norm, the addition and the ReLU are one pass over memory. Raises ValueError without layers, and
    where layers and downsample do not return the same shape. He, Zhang, Ren and Sun, "Deep Residual Learning
    for Image Recognition", 2016.
    """

    _registered: ClassVar = (*Sequential._registered, "_last", "_shortcut")
    _last: tuple[Module, ...]  # in tuples, so that they count as items alone
    _shortcut: tuple[Module, ...]

    def _in_line(self, items: Mapping[str, Module]) -> Mapping[str, Module]:
        return {name: layer for name, layer in items.items() if name != SHORTCUT}

    def _replace(self, items: Mapping[str, Module]) -> None:
        if not self._in_line(items):
            raise ValueError("ResidualBlock must have layers beside downsample, got none")
        super()._replace(items)
        self._layers, self._last = self._layers[:-1], self._layers[-1:]
        self._shortcut = (items[SHORTCUT],) if SHORTCUT in items else ()

    @property
    def last(self) -> Any:
        """The layer before the addition, a norm as a rule."""
        return self._last[0]

    def forward(self, x: Array) -> Array:
        """Return relu(layers(x) + downsample(x))."""
        y, last, shortcut = super().forward(x), self.last, self._shortcut
        is_fused = type(last) in (BatchNorm2d, SyncBatchNorm) and fusion.enabled and not has_hooks(last)
        if not is_fused:
            y = last(y)
        for layer in shortcut:
            x = layer(x)
        if is_fused:
            chain, arguments = _end(last.stage()), last.stage_arguments(y)
        else:
            chain, arguments = _end(), {}
        out, saved = chain.forward(y, residual=x, **arguments)
        self._saved = chain, saved, last, is_fused, shortcut
        return out

    def backward(self, dy: Array) -> Array:
        """Return the sum of both ways' gradients for x."""
        chain, saved, last, is_fused, shortcut = self._take_saved()
        gradients = chain.backward(dy, saved)
        dx, around = gradients.input, gradients.residual
        try:
            with without_input_grad([] if self.needs_input_grad else shortcut):
                if is_fused:
                    last.take_gradients(gradients)
                else:
                    dx = last.backward(dx)
                dx = super().backward(dx)
                for layer in shortcut:
                    around = layer.backward(around)
        except Exception as error:
            name_place(error, self)
            raise
        return _addition.forward(dx, residual=around)[0] if self.needs_input_grad else NOT_NEEDED
