"""An exponential moving average of weights."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fastnn._core.arrays import as_array
from fastnn._core.tensor_lists import (
    NO_PENALTIES,
    TensorList,
    assign,
    computing_copy,
    copy_of,
    make_lists,
    to_host,
)
from fastnn._core.typing import Array
from fastnn.nn.parameter import Parameter
from fastnn.optim._options import check_options, check_parameters


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
        self._params = list(params)
        check_parameters(self._params)
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

    def _update(self, lists: Sequence[TensorList]) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.warm_up else self.decay
        for each in lists:
            each.update("average", NO_PENALTIES, (1 - decay,))

    def apply(self) -> None:
        """Write the averages into the parameters, in place, until `restore` is called."""
        if self._weights is not None:
            raise RuntimeError("the averages are applied already: call restore first")
        self._weights = [copy_of(parameter.data) for parameter in self._params]
        for parameter, average in zip(self._params, self.averages, strict=True):
            parameter.data[...] = average

    def restore(self) -> None:
        """Write the weights that `apply` replaced back into the parameters."""
        if self._weights is None:
            raise RuntimeError("the averages are not applied: call apply before restore")
        for parameter, weights in zip(self._params, self._weights, strict=True):
            parameter.data[...] = weights
        self._weights = None

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Return a context in which the parameters are the averages."""
        self.apply()
        try:
            yield
        finally:
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
        for average, value in zip(self.averages, given, strict=True):
            assign(average, value)
        self.decay, self.warm_up = state_dict["decay"], state_dict["warm_up"]
        self.updates = state_dict["updates"]
