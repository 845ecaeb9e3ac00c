"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from fastnn.optim._options import Options
from fastnn.optim.optimizer import Counters, Group, Optimizer, Params, Rule


class SGD(Optimizer):
    """Stochastic gradient descent with momentum (Polyak, 1964; Nesterov, 1983), by PyTorch's rule.

    With g = grad + weight_decay p, each step does v <- momentum v + (1 - dampening) g (v = g the first time),
    then p <- p - lr v, with `nesterov` p <- p - lr (g + momentum v); without momentum p <- p - lr g.
    """

    # PyTorch's SGD does not count its steps, and only the first one differs.
    _loaded_counters: Mapping[str, float] = {"step": 1}

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        **options: Unpack[Options],
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "dampening": dampening}
        super().__init__(params, {**defaults, "weight_decay": weight_decay, "nesterov": nesterov}, options)

    def _check(self, options: Mapping[str, Any], prefix: str = "") -> None:
        super()._check(options, prefix)
        if options["nesterov"] and (options["momentum"] <= 0 or options["dampening"] != 0):
            raise ValueError(
                f"{prefix}momentum must be above 0 and dampening 0 with nesterov, got momentum"
                f" {options['momentum']} and dampening {options['dampening']}"
            )

    def _group_state_names(self, group: Group) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def _rule(self, group: Group, counters: Counters) -> Rule:
        if not group["momentum"]:
            return "sgd", (group["lr"],)
        taken = 1.0 if counters[0] == 1 else 1 - group["dampening"]
        return "sgd_nesterov" if group["nesterov"] else "sgd_momentum", (
            group["lr"],
            group["momentum"],
            taken,
        )
