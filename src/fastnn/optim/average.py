"""An exponential moving average of weights."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

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


class ExponentialMovingAverage:
    """Averages of parameters that change: a <- decay a + (1 - decay) p at each `update`, from a = p.

    They often do better than the last weights themselves (Polyak and Juditsky, 1992). With `warm_up` the
    decay of update t is at most (1 + t) / (10 + t), so that the weights of the start soon count for little.
    `averages` has the arrays, in float64 for float64 parameters, in float32 for all others.

    Call `update` after each step of the optimizer, and use the averages in `with average.applied():`, or
    between `apply` and `restore`. Raises ValueError for a decay outside [0, 1], TypeError for what is no
    parameter.
    """

    def __init__(self, params: Iterable[Parameter], decay: float = 0.999, warm_up: bool = False) -> None:
        check_options({"decay": decay})
        self.decay, self.warm_up = decay, warm_up
        self.updates = 0
        self._params = listed(params)
        check_parameters(self._params)
        for index, parameter in enumerate(self._params):
            if not is_real(parameter.data.dtype):
                got = parameter.data.dtype
                raise TypeError(f"params[{index}].data must be of real numbers, got {got}")
        self.averages = [computing_copy(parameter.data) for parameter in self._params]
        self._weights: list[Array] | None = None  # while the averages are applied

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
        decay = min(self.decay, (1 + updates) / (10 + updates)) if self.warm_up else self.decay
        moves = [call for each in lists for call in each.calls(Move("average", (1 - decay,)))]
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
        """Return {"decay", "warm_up", "updates", "averages"}; the arrays are copies."""
        return {
            "decay": self.decay,
            "warm_up": self.warm_up,
            "updates": self.updates,
            "averages": [to_host(average) for average in self.averages],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned. ValueError for another form, with nothing changed."""
        if not {"decay", "warm_up", "updates", "averages"} <= {*state_dict}:
            raise ValueError(f"state_dict must have what state_dict() gives, got only {sorted(state_dict)}")
        check_options({"decay": state_dict["decay"]})
        given = [as_array("averages", average) for average in state_dict["averages"]]
        shapes, own = [average.shape for average in given], [average.shape for average in self.averages]
        if shapes != own:
            raise ValueError(f"state_dict has averages of shapes {shapes}, the parameters are {own}")
        for value in given:
            if not is_real(value.dtype):
                raise ValueError(f"state_dict must have averages of real numbers, got {value.dtype}")
        numbers = {name: state_dict[name] for name in ("decay", "warm_up", "updates")}
        writes = [assignment(average, value) for average, value in zip(self.averages, given, strict=True)]
        uninterrupted([*writes, (vars(self).update, numbers)])
