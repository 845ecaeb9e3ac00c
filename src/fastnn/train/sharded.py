"""An optimizer whose state is divided over ranks: each has that of its parameters, and updates these alone.

Rajbhandari, Rasley, Ruwase and He, "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models",
2020, stage 1; by whole parameters, as rules with a norm of each parameter need them.
"""

from __future__ import annotations

from typing import Any

from fastnn._core.ranks import Ranks
from fastnn.nn.parameter import Parameter
from fastnn.optim import Optimizer


class ShardedState:
    """Makes the steps of an optimizer by parts: a parameter is updated on one rank and spread from there."""

    def __init__(self, optimizer: Optimizer, ranks: Ranks) -> None:
        self._optimizer, self._ranks = optimizer, ranks
        self._owners: dict[Parameter, int] = {}
        loads = [0] * ranks.size
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for parameter in sorted(parameters, key=lambda p: -p.size):  # the largest first, to the least laden
            owner = min(range(ranks.size), key=loads.__getitem__)
            self._owners[parameter] = owner
            loads[owner] += parameter.size
        self.drop_others()

    def drop_others(self) -> None:
        """Forget the states of the parameters of other ranks."""
        for parameter in [p for p in self._optimizer.state if not self._is_mine(p)]:
            del self._optimizer.state[parameter]

    def step(self) -> None:
        """Update the parameters of this rank, and take those of the others from them."""
        gradients = {p: p.grad for p in self._owners}
        for parameter in self._owners:
            if not self._is_mine(parameter):
                parameter.grad = None
        self._optimizer.step()
        arrays = [p.data if p.data.flags.c_contiguous else p.data.copy("C") for p in self._owners]
        owners = self._owners.values()
        requests = [self._ranks.start_spreading(a, root) for a, root in zip(arrays, owners, strict=True)]
        for request in requests:
            self._ranks.wait(request)
        for (parameter, gradient), array in zip(gradients.items(), arrays, strict=True):
            parameter.grad = gradient
            if array is not parameter.data:
                parameter.data[...] = array

    def state_dict(self) -> dict[str, Any]:
        """Return the whole state_dict, on all ranks."""
        whole = self._optimizer.state_dict()
        for state in self._ranks.gather(whole["state"]):
            whole["state"] |= state
        whole["state"] = dict(sorted(whole["state"].items()))
        return whole

    def _is_mine(self, parameter: Parameter) -> bool:
        return self._owners.get(parameter, 0) == self._ranks.rank
