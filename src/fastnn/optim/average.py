"""Averages of weights over training: exponential moving ones, and the equal one of SWA."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from fastnn._core.arrays import as_array
from fastnn._core.dtypes import is_real
from fastnn._core.tensor_lists import (
    Move,
    TensorList,
    assignment,
    computing_copy,
    copy_of,
    make_lists,
    to_host,
)
from fastnn._core.typing import Array
from fastnn._core.uninterrupted import Call, uninterrupted
from fastnn.nn.parameter import Parameter
from fastnn.optim._options import check_options, check_parameters, listed


class WeightAverage:
    """The base of all averages: a <- a + s (p - a) at each `update`, from a = p; `share` gives s.

    `averages` has the arrays, in float64 for float64 parameters, in float32 for all others; `updates` is how
    many there were. Use the averages in `with average.applied():`, or between `apply` and `restore`. Raises
    TypeError for what is no parameter.
    """

    _options: ClassVar[tuple[str, ...]] = ()  # attributes that are part of the state

    def __init__(self, params: Iterable[Parameter]) -> None:
        self.updates = 0
        self._params = listed(params)
        check_parameters(self._params)
        for index, parameter in enumerate(self._params):
            if not is_real(parameter.data.dtype):
                got = parameter.data.dtype
                raise TypeError(f"params[{index}].data must be of real numbers, got {got}")
        self.averages = [computing_copy(parameter.data) for parameter in self._params]
        self._weights: list[Array] | None = None  # while the averages are applied

    def share(self, update: int) -> float:
        """Return the share s that the present weights get at update number `update`, from 1."""
        raise NotImplementedError(f"{type(self).__name__} does not define share")

    def update(self) -> None:
        """Update the averages with the present weights."""
        if self._weights is not None:
            raise RuntimeError("the averages are applied: call restore before update")
        tensors = dict(enumerate(zip(self.averages, (p.data for p in self._params), strict=True)))
        lists = make_lists(tensors, "params", ("", "data"))
        for first in lists[:1]:  # one step for all lists, which are on one device
            first.perform(functools.partial(self._update, lists))

    def _update(self, lists: Sequence[TensorList]) -> list[Call]:
        updates = self.updates + 1
        share = self.share(updates)
        if share == 1:  # to the last bit, which a + (p - a) need not be
            data = zip(self.averages, self._params, strict=True)
            moves: list[Call] = [(operator.setitem, average, ..., p.data) for average, p in data]
        else:
            moves = [call for each in lists for call in each.calls(Move("average", (share,)))]
        return [*moves, (setattr, self, "updates", updates)]

    def apply(self) -> None:
        """Write the averages into the parameters, in place, until `restore` is called."""
        self._check_not_applied()
        weights = [copy_of(parameter.data) for parameter in self._params]
        self._exchange(self.averages, weights)

    def restore(self) -> None:
        """Write the weights that `apply` replaced back into the parameters."""
        if self._weights is None:
            raise RuntimeError("the averages are not applied: call apply before restore")
        self._exchange(self._weights, None)

    def _exchange(self, arrays: Sequence[Array], replaced: list[Array] | None) -> None:
        """Write arrays into the parameters, and keep what they replace."""
        data = [parameter.data for parameter in self._params]
        for index, array in enumerate(data):
            if isinstance(array, np.ndarray) and not array.flags.writeable:
                raise ValueError(f"params[{index}].data must be writable, got a read-only array")
        writes = [(operator.setitem, target, ..., new) for target, new in zip(data, arrays, strict=True)]
        with np.errstate(all="ignore"):  # an average of float32 may not fit into float16
            uninterrupted([*writes, (setattr, self, "_weights", replaced)])

    def _check_not_applied(self) -> None:
        if self._weights is not None:
            raise RuntimeError("the averages are applied already: call restore first")

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Return a context in which the parameters are the averages."""
        self._check_not_applied()
        try:
            self.apply()
            yield
        finally:
            if self._weights is not None:
                self.restore()

    def state_dict(self) -> dict[str, Any]:
        """Return options, "updates" and "averages" by name; the arrays are copies."""
        numbers = {name: getattr(self, name) for name in (*self._options, "updates")}
        return numbers | {"averages": [to_host(average) for average in self.averages]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned. ValueError for another form, with nothing changed."""
        names = (*self._options, "updates")
        if not {*names, "averages"} <= {*state_dict}:
            raise ValueError(f"state_dict must have what state_dict() gives, got only {sorted(state_dict)}")
        check_options({name: state_dict[name] for name in self._options})
        given = [as_array("averages", average) for average in state_dict["averages"]]
        shapes, own = [average.shape for average in given], [average.shape for average in self.averages]
        if shapes != own:
            raise ValueError(f"state_dict has averages of shapes {shapes}, the parameters are {own}")
        for value in given:
            if not is_real(value.dtype):
                raise ValueError(f"state_dict must have averages of real numbers, got {value.dtype}")
        numbers = {name: state_dict[name] for name in names}
        writes = [assignment(average, value) for average, value in zip(self.averages, given, strict=True)]
        uninterrupted([*writes, (vars(self).update, numbers)])


class ExponentialMovingAverage(WeightAverage):
    """Averages of parameters that change: a <- decay a + (1 - decay) p at each `update`, from a = p.

    They often do better than the last weights themselves (Polyak and Juditsky, 1992). With `warm_up` the
    decay of update t is at most (1 + t) / (10 + t), so that the weights of the start soon count for little.
    Call `update` after each step of the optimizer. Raises ValueError for a decay outside [0, 1].
    """

    _options = ("decay", "warm_up")

    def __init__(self, params: Iterable[Parameter], decay: float = 0.999, warm_up: bool = False) -> None:
        check_options({"decay": decay})
        self.decay, self.warm_up = decay, warm_up
        super().__init__(params)

    def share(self, update: int) -> float:
        """Return 1 - decay, more at the start with `warm_up`."""
        return 1 - (min(self.decay, (1 + update) / (10 + update)) if self.warm_up else self.decay)


class StochasticWeightAverage(WeightAverage):
    """The equal average of all weights that it was updated with: a <- a + (p - a) / n at update n.

    Call `update` at the end of each epoch, or cycle, of a late phase with a high constant or cyclic rate
    (`lr_scheduler.SWALR`); the average lies in a wider minimum than the last weights. What PyTorch's
    `swa_utils.AveragedModel` does without an averaging function of its own. Batch norms need the statistics
    of the averaged weights: nn.utils.update_bn. Izmailov et al., "Averaging Weights Leads to Wider Optima and
    Better Generalization", 2018.
    """

    def share(self, update: int) -> float:
        """Return 1 / n at update n."""
        return 1 / update
