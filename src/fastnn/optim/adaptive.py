"""Rules that divide the gradient by a running root mean square of itself: Adagrad, RMSprop, Adadelta."""

from __future__ import annotations

from typing import Unpack

from fastnn.optim._options import Options
from fastnn.optim.optimizer import Counters, Group, Optimizer, Params, Rule


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan and Singer, 2011), by PyTorch's rule.

    With g = grad + weight_decay p: s <- s + g^2, from s = initial_accumulator_value, then
    p <- p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps).
    """

    _state_names = ("sum",)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        **options: Unpack[Options],
    ) -> None:
        defaults = {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay}
        super().__init__(
            params, {**defaults, "initial_accumulator_value": initial_accumulator_value}, options
        )

    def _initial_value(self, group: Group) -> float:
        return float(group["initial_accumulator_value"])

    def _rule(self, group: Group, counters: Counters) -> Rule:
        return "adagrad", (group["lr"] / (1 + (counters[0] - 1) * group["lr_decay"]), group["eps"])


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton, 2012; centered: Graves, 2013), by PyTorch's rule.

    With g = grad + weight_decay p: s <- alpha s + (1 - alpha) g^2 and d = g / (sqrt(s) + eps); `centered`
    takes s - a^2 under the root, with a <- alpha a + (1 - alpha) g. Then p <- p - lr d, or with momentum
    v <- momentum v + d and p <- p - lr v.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        **options: Unpack[Options],
    ) -> None:
        defaults = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "momentum": momentum, "centered": centered}, options)

    def _group_state_names(self, group: Group) -> tuple[str, ...]:
        optional = (("centered", "grad_avg"), ("momentum", "momentum_buffer"))
        return ("square_avg", *(name for option, name in optional if group[option]))

    def _rule(self, group: Group, counters: Counters) -> Rule:
        name = "rmsprop" + "_centered" * bool(group["centered"]) + "_momentum" * bool(group["momentum"])
        alpha = group["alpha"]
        return name, (group["lr"], alpha, 1 - alpha, group["eps"], group["momentum"])


class Adadelta(Optimizer):
    """Adadelta (Zeiler, 2012), by PyTorch's rule.

    With g = grad + weight_decay p: s <- rho s + (1 - rho) g^2, d = sqrt(u + eps) / sqrt(s + eps) g,
    u <- rho u + (1 - rho) d^2, p <- p - lr d.
    """

    _state_names = ("square_avg", "acc_delta")

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay}, options)

    def _rule(self, group: Group, counters: Counters) -> Rule:
        return "adadelta", (group["lr"], group["rho"], 1 - group["rho"], group["eps"])
