"""What the passes of a chain have in common: its stages as kernels know them, the input, and how it is cut.

It knows the descriptions of fastnn.stages, and not what users give.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from fastnn import _kernels, stages
from fastnn._chain.layout import Layout
from fastnn.cuda._chain import cooperative
from fastnn.cuda._runtime import launch, memory
from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.cuda.kernels.chain import channels, moments
from fastnn.cuda.kernels.random import draws
from fastnn.random import Key, keep_scale, keep_threshold
from fastnn.stages import BatchNorm, Head, Stage

#: Weight and bias of each channel.
Parameters = tuple[DeviceArray | None, DeviceArray | None]


class Stages(NamedTuple):
    """The stages of a chain as kernels know them."""

    steps: tuple[tuple[str, ...], ...]
    numbers: tuple[float, ...]
    threshold: int  # of dropout; -1 without
    adds: bool


@functools.cache
def _rows() -> list[str]:
    return list(_kernels.activations())


@functools.lru_cache(1024)
def known(given: tuple[Stage, ...]) -> Stages:
    steps: list[tuple[str, ...]] = []
    numbers: list[float] = []
    threshold = -1
    for stage in given:
        if isinstance(stage, stages.Activation):
            steps.append(("activation", _rows()[stage.row]))
            numbers += stage.values
        elif isinstance(stage, stages.Dropout) and stage.p > 0:
            steps.append(("dropout",))
            numbers += (keep_scale(stage.p), 0.0)
            threshold = keep_threshold(stage.p)
        elif isinstance(stage, stages.Add):
            steps.append(("add",))
            numbers += (0.0, 0.0)
    return Stages(tuple(steps), tuple(numbers), threshold, ("add",) in steps)


def kind_of(head: Head | None) -> str:
    if isinstance(head, BatchNorm):
        return "batch" if head.training else "running"
    return "none" if head is None else "scale"


def dtype_of(array: DeviceArray | None, absent: str = "float32") -> str:
    """The dtype; of what is not there, whose address is 0, one that most have: a kernel less."""
    return absent if array is None else array.dtype


def address_of(array: DeviceArray | None) -> int:
    return 0 if array is None else array.address


class Problem(NamedTuple):
    """What forward and backward passes have in common: the input, how it is cut, and the stages."""

    x: DeviceArray
    form: Layout
    stages: Stages
    key: Key | None

    @property
    def draws(self) -> str:
        """How dropout counts elements."""
        if self.stages.threshold < 0:
            return ""
        return "memory" if self.form.usual else "channels last"

    @property
    def words(self) -> list[int]:
        """Those of its draws, as kernels take them."""
        key = Key(0, 0) if self.key is None else self.key
        return [*map(launch.signed, draws.key_words(key, max(self.stages.threshold, 0), self.x))]

    @property
    def is_elementwise(self) -> bool:
        """Whether a chain without a head can go over memory in the order of addresses."""
        return self.draws != "channels last"

    def cut(self, *arrays: DeviceArray | None) -> channels.Cut:
        """How these arrays are cut, of which all have the input's layout."""
        together = 0
        for array in arrays:
            together |= address_of(array)
        return channels.cut(self.x.dtype, *self.form[1:], together % 16 == 0)

    def launch(self, template: Any, key: Any, grid: Any, block: int, *arguments: Any) -> None:
        """Launch a kernel on the input's device and stream."""
        launch.run(template, key, self.x, grid, block, *arguments)

    def launch_at_once(self, template: Any, key: Any, plan: cooperative.Plan, *arguments: Any) -> None:
        """Launch a kernel whose blocks wait for each other."""
        sizes, shared = (plan.blocks, channels.THREADS), plan.turns * plan.slab
        launch.run(template, key, self.x, *sizes, *arguments, shared=shared, cooperative=True)

    def empty(self, shape: tuple[int, ...], dtype: str) -> DeviceArray:
        """A new array beside the input."""
        return memory.empty(self.x, shape, dtype)

    def of_channels(self, count: int) -> int:
        """The blocks in which warps take a channel each."""
        return -(-count // moments.WARPS)
