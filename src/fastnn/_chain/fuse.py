"""Fused chains: batch norm, activations, dropout and a residual addition in one pass over memory.

It joins stages, which are descriptions (fastnn.stages), to chains that can be run. It knows no layers.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnn._chain import run
from fastnn._chain.running import Running
from fastnn._chain.saved import Gradients, Saved
from fastnn._core.switch import Switch
from fastnn._core.typing import Array
from fastnn.random import Key
from fastnn.stages import Stage, checked

_ARGUMENTS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked", "key", "residual")


class FusedChain:
    """Stages that are computed together; `fastnn.fuse` makes one."""

    def __init__(self, *stages: Stage) -> None:
        self.stages = stages
        self._head, self._rest = checked(stages)
        self._takes = {name for stage in stages for name in stage.takes}
        self._needs = {name for stage in stages for name in stage.needs}

    def __repr__(self) -> str:
        return f"fuse({', '.join(map(repr, self.stages))})"

    def forward(
        self,
        input: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        bias: ArrayLike | None = None,
        running_mean: Array | None = None,
        running_var: Array | None = None,
        num_batches_tracked: NDArray[np.integer[Any]] | None = None,
        key: Key | None = None,
        residual: ArrayLike | None = None,
        out: Array | None = None,
    ) -> tuple[Array, Saved]:
        """Return (y, saved): the stages one after the other, and what `backward` takes.

        input: any shape, or (N, C, ...) if the first stage works channel by channel. weight, bias,
        running_mean, running_var and num_batches_tracked are that stage's, as for
        fastnn.functional.batch_norm; key is Dropout's, as for fastnn.functional.dropout (None: the default
        generator's next), residual is Add's, of input's shape. out may be the input.

        Memory that is read and written: input once and y once, and residual once. Batch norm in training
        reads the input a second time where a channel (in the usual layout) has more than 2 MB, or the
        channels are last. Raises ValueError or TypeError for what does not fit or is missing, and then has
        written nothing.
        """
        values = (weight, bias, running_mean, running_var, num_batches_tracked, key, residual)
        self._check({name for name, value in zip(_ARGUMENTS, values, strict=True) if value is not None})
        running = Running(running_mean, running_var, num_batches_tracked)
        return run.forward(
            self._head,
            self._rest,
            input,
            weight=weight,
            bias=bias,
            running=running,
            key=key,
            residual=residual,
            out=out,
        )

    def _check(self, given: set[str]) -> None:
        """ValueError for an argument that no stage takes, and for a missing one."""
        if unused := given - self._takes:
            raise ValueError(f"no stage of {self!r} takes {', '.join(sorted(unused))}")
        if missing := self._needs - given:
            raise ValueError(f"{', '.join(sorted(missing))} must be given for {self!r}")

    def backward(self, dy: ArrayLike, saved: Saved, *, out: Array | None = None) -> Gradients:
        """Return the gradients for input, weight, bias and residual, None for what the chain does not have.

        The inputs of the stages are computed again from the chain's input, and dropout's mask is drawn again.
        Memory that is read and written: dy and the input once and dx once, and the residual's gradient; batch
        norm in training reads them a second time where forward does. out: for dx, may be dy. Raises
        ValueError for a dy of another shape.
        """
        return run.backward(dy, saved, out=out)


def fuse(*stages: Stage) -> FusedChain:
    """Return the chain of these stages (fastnn.stages), computed together while a tile is in the first cache.

    At most one of Bias, ScaleShift and BatchNorm, as the first stage; then activations, one Dropout and one
    Add in any order. Results are those of the functions called one after the other, to the last bit for y
    in float32 and float64. Raises ValueError for stages that do not fit together.

        chain = fuse(stages.BatchNorm(), stages.Activation("relu"), stages.Dropout(0.5))
        y, saved = chain.forward(x, weight=weight, bias=bias)
        gradients = chain.backward(dy, saved)
    """
    return FusedChain(*stages)


class fusion(Switch):  # noqa: N801
    """fusion(False) makes nn.Sequential run layers one by one; fusion(True), the default, fuses them again.

    It holds for all threads. As a context manager (`with fastnn.fusion(False):`) it restores the setting at
    the end.
    """

    enabled: ClassVar[bool] = True
