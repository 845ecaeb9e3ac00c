"""The stages of a fused chain: descriptions whose parameters are checked when they are made.

`fastnn.fuse` makes chains of them. They know the table of activations, neither arrays nor what runs a chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fastnn import _kernels
from fastnn._core import arrays
from fastnn._core.ranks import Ranks, as_ranks

__all__ = ["Activation", "Add", "BatchNorm", "Bias", "Dropout", "ScaleShift"]


class _Stage:
    """The base of all stages. `takes` names the arguments of forward that they use, `needs` required ones."""

    takes: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()

    def _become(self, name: str, number: float) -> None:
        """Sets a parameter to the float that was given as a number of any type: kernels take no others."""
        object.__setattr__(self, name, number)


@dataclass(frozen=True)
class Bias(_Stage):
    """y = x + bias, channel by channel (axis 1)."""

    takes = needs = ("bias",)


@dataclass(frozen=True)
class ScaleShift(_Stage):
    """y = x weight + bias, channel by channel (axis 1)."""

    takes = ("weight", "bias")
    needs = ("weight",)


@dataclass(frozen=True)
class BatchNorm(_Stage):
    """y = (x - mean) / sqrt(var + eps) weight + bias, channel by channel; as fastnn.functional.batch_norm.

    ranks: in training the batch is that of all these processes, as for fastnn.nn.SyncBatchNorm; a
    communicator of mpi4py, or None for this process alone.
    """

    takes = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")

    eps: float = 1e-5
    momentum: float | None = 0.1
    training: bool = True
    biased_running_var: bool = False
    skip_nonfinite: bool = True
    ranks: Ranks | None = None

    def __post_init__(self) -> None:
        self._become("eps", arrays.real_number("eps", self.eps))
        if not self.eps >= 0:
            raise ValueError(f"eps must be at least 0, got {self.eps}")
        if self.momentum is not None:
            self._become("momentum", arrays.real_number("momentum", self.momentum))
        ranks = as_ranks("ranks", self.ranks)
        object.__setattr__(self, "ranks", ranks if ranks.size > 1 else None)


class Activation(_Stage):
    """An activation of fastnn.functional, by name, with its parameters: Activation("elu", alpha=0.5).

    Those with arrays of their own or with several inputs (prelu, rrelu, glu, swiglu, maxout) cannot be in a
    chain: ValueError.
    """

    def __init__(self, name: str, **parameters: float | str) -> None:
        self.name, self.parameters = name, parameters
        row, given = name, dict(parameters)
        if name == "gelu" and (approximate := given.pop("approximate", "none")) != "none":
            if approximate != "tanh":
                raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}")
            row = "gelu_tanh"
        table = _kernels.activations()
        names = [row for row in table if row != "gelu_tanh"]
        if name not in names:
            raise ValueError(f"no activation of a chain is called {name!r}; there are: {', '.join(names)}")
        _, defaults = table[row]
        if unknown := given.keys() - defaults.keys():
            raise TypeError(
                f"{name} has no parameter {', '.join(sorted(unknown))}; it has: {', '.join(defaults)}"
            )
        values = {key: given.get(key, default) for key, default in defaults.items()}
        for key, value in values.items():
            if value is None:
                raise TypeError(f"{name} needs its parameter {key}")
        #: The activation's index in the table of kernels, and its two parameters.
        self.row = list(table).index(row)
        numbers = [arrays.real_number(key, value) for key, value in values.items()]
        self.values = tuple([*numbers, 0.0, 0.0][:2])

    def __repr__(self) -> str:
        return (
            f"Activation({', '.join([repr(self.name), *(f'{k}={v!r}' for k, v in self.parameters.items())])})"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Activation) and (self.row, self.values) == (other.row, other.values)

    def __hash__(self) -> int:
        return hash((self.row, self.values))


@dataclass(frozen=True)
class Dropout(_Stage):
    """y = x / (1 - p) where the element is kept, else 0; as fastnn.functional.dropout in training.

    With p = 0 no key is taken.
    """

    takes = ("key",)

    p: float = 0.5

    def __post_init__(self) -> None:
        self._become("p", arrays.probability("p", self.p))


@dataclass(frozen=True)
class Add(_Stage):
    """y = x + residual."""

    takes = needs = ("residual",)


Head = Bias | ScaleShift | BatchNorm
Stage = Head | Activation | Dropout | Add


def checked(stages: Sequence[Stage]) -> tuple[Head | None, tuple[Stage, ...]]:
    """The first stage if it works channel by channel, or None; and the others. An error if any is wrong."""
    for stage in stages:
        if not isinstance(stage, Stage):
            raise TypeError(f"a stage must be one of fastnn.stages, got {type(stage).__name__}")
    if not stages:
        raise ValueError("a chain needs at least one stage")
    head, rest = (stages[0], tuple(stages[1:])) if isinstance(stages[0], Head) else (None, tuple(stages))
    for stage in rest:
        if isinstance(stage, Head):
            raise ValueError(f"{type(stage).__name__} must be the first stage of a chain")
    for once in (Dropout, Add):
        if sum(isinstance(stage, once) for stage in rest) > 1:
            raise ValueError(f"a chain has at most one {once.__name__}")
    if len(rest) > _kernels.MAX_STAGES:
        raise ValueError(f"a chain has at most {_kernels.MAX_STAGES} stages after the first, got {len(rest)}")
    return head, rest
