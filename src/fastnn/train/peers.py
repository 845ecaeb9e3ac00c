"""What the ranks of a run do together: begin alike, add up gradients, make the optimizer's step, end.

It knows models, optimizers and ranks, and neither data nor losses. All of it is nothing for a process alone.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fastnn._core.ranks import Ranks
from fastnn._core.typing import Array
from fastnn.nn import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, Module
from fastnn.nn._norm_bases import RunningNorm
from fastnn.nn.parameter import Parameter
from fastnn.optim import Optimizer
from fastnn.random import Generator
from fastnn.train.diagnosis import Diverged
from fastnn.train.gradients import Gradients
from fastnn.train.sharded import ShardedState


class UnlikeError(ValueError):
    """What is not the same on all ranks; all of them raise it."""


class Peers:
    """The model and the optimizer of this rank, as one of several that stay alike.

    Raises ValueError for a layer whose running statistics would be those of one rank's rows.
    """

    def __init__(self, model: Module, optimizer: Optimizer, ranks: Ranks) -> None:
        self._model, self._optimizer, self._ranks = model, optimizer, ranks
        self._gradients: Gradients | None = None
        self._trained: list[Parameter] = []
        self._state = ShardedState(optimizer, ranks) if ranks.shard_optimizer and ranks.size > 1 else None
        if ranks.size > 1:
            _check_norms(model)

    @contextmanager
    def joined(self, settings: Mapping[str, Any]) -> Iterator[None]:
        """Return a context that begins with rank 0's weights on all ranks, and ends all where one fails.

        Raises ValueError on all ranks where settings, models or optimizers are not the same.
        """
        if self._ranks.size == 1:
            yield
            return
        self._check_alike(settings)
        for array in (*(p.data for p in self._model.parameters()), *self._model.buffers()):
            spread(self._ranks, array)
        try:
            yield
        except (Diverged, UnlikeError):  # which all ranks raise
            raise
        except Exception as error:
            traceback.print_exc()
            self._ranks.end(f"it has failed ({type(error).__name__}), and the others would wait for it")
        finally:
            if self._gradients is not None:
                self._gradients.release()

    def agree(self, generators: Sequence[Generator]) -> None:
        """Set generators to the state of rank 0's."""
        if self._ranks.size > 1:
            states = self._ranks.first(lambda: [generator.get_state() for generator in generators])
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)

    def check_mark(self, mark: int | None) -> None:
        """ValueError on all ranks where a batch is not the same on them."""
        if mark is not None and len({*self._ranks.gather(mark)}) > 1:
            raise UnlikeError(
                "data must give all ranks the same batches, of which each takes its rows, got others on some:"
                " seed what shuffles them, or let it have set_epoch()"
            )

    # ---- a step --------------------------------------------------------------------------------------------

    def begin(self, *, whole: bool) -> None:
        """Before the first backward pass of a step. whole: it is the only one."""
        if self._ranks.size == 1:
            return
        trained = [p for group in self._optimizer.param_groups for p in group["params"] if p.requires_grad]
        if self._gradients is None or trained != self._trained:
            if self._gradients is not None:
                self._gradients.release()
            self._gradients, self._trained = Gradients(trained, self._ranks), trained
        self._gradients.begin(whole=whole)

    def add_gradients(self) -> None:
        """Make each parameter's grad the sum of all ranks'."""
        if self._gradients is not None:
            self._gradients.finish()

    def step(self) -> None:
        """Make the optimizer's step."""
        if self._state is None:
            self._optimizer.step()
        else:
            self._state.step()

    # ---- states --------------------------------------------------------------------------------------------

    def optimizer_state(self) -> dict[str, Any]:
        """Return the optimizer's whole state_dict, on all ranks."""
        return self._optimizer.state_dict() if self._state is None else self._state.state_dict()

    def load_optimizer_state(self, state: Mapping[str, Any]) -> None:
        """Load a whole state_dict."""
        self._optimizer.load_state_dict(state)
        if self._state is not None:
            self._state.drop_others()

    # ---- checks --------------------------------------------------------------------------------------------

    def _check_alike(self, settings: Mapping[str, Any]) -> None:
        groups = [
            {name: value for name, value in group.items() if name not in ("params", "param_names")}
            for group in self._optimizer.param_groups
        ]
        mine = {
            **settings,
            "model": [
                (name, p.shape, str(p.dtype), p.requires_grad) for name, p in self._model.named_parameters()
            ],
            "optimizer": [type(self._optimizer).__name__, *groups],
        }
        found = self._ranks.gather({name: str(value) for name, value in mine.items()})
        for rank, other in enumerate(found):
            for name, value in other.items():
                if value != found[0][name]:
                    was = f"{_cut(value)} on rank {rank}, and {_cut(found[0][name])} on rank 0"
                    raise UnlikeError(f"{name} must be the same on all ranks, got {was}")


def spread(ranks: Ranks, array: Array, root: int = 0) -> None:
    """Give an array, of any strides, the elements that it has on one rank."""
    if array.flags.c_contiguous:
        ranks.spread(array, root)
    else:
        copy = array.copy("C")
        ranks.spread(copy, root)
        array[...] = copy


def _check_norms(model: Module) -> None:
    for name, layer in model.named_modules():
        if not isinstance(layer, RunningNorm) or layer.frozen or getattr(layer, "ranks", None) is not None:
            continue
        kind, where = type(layer).__name__, name or "model"
        if not isinstance(layer, InstanceNorm1d | InstanceNorm2d | InstanceNorm3d):
            raise ValueError(
                f"{where} must be a SyncBatchNorm with ranks, each of which has some rows alone, got {kind}:"
                " nn.SyncBatchNorm.convert(model, ranks)"
            )
        if layer.running_mean is not None:
            raise ValueError(f"{where} must have track_running_stats=False with ranks, got {kind}")


def _cut(text: str) -> str:
    return text if len(text) < 200 else f"{text[:200]}..."
