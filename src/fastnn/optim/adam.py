"""Adam and its family: moving averages of the gradient and of its square, corrected for their start at 0."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Unpack

from fastnn.optim._options import Options
from fastnn.optim.optimizer import Counters, Group, Optimizer, Params, Rule

Betas = tuple[float, float]


def averaging(group: Group) -> tuple[float, float, float]:
    """Return the numbers by which the kernels average: 1 - beta1, beta2, 1 - beta2."""
    beta1, beta2 = group["betas"]
    return 1 - beta1, beta2, 1 - beta2


def corrections(group: Group, step: float) -> tuple[float, float]:
    """Return what m and v of `step` are divided by: 1 - beta1^t, 1 - beta2^t."""
    beta1, beta2 = group["betas"]
    return 1 - beta1**step, 1 - beta2**step


def adam_rule(group: Group, step: float) -> Rule:
    """Return the kernel and the numbers of Adam's rule without AMSGrad."""
    first, second = corrections(group, step)
    return "adam", (group["lr"] / first, *averaging(group), 1 / math.sqrt(second), group["eps"])


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015), AMSGrad (Reddi, Kale and Kumar, 2018), by PyTorch's rule.

    With g = grad + weight_decay p: m <- beta1 m + (1 - beta1) g, v <- beta2 v + (1 - beta2) g^2, then
    p <- p - lr m^ / (sqrt(v^) + eps), with m^ = m / (1 - beta1^t), v^ = v / (1 - beta2^t). `amsgrad` takes
    the largest v so far. `decoupled_weight_decay`: g = grad, p is multiplied by 1 - lr weight_decay first.
    """

    _state_names = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        decoupled_weight_decay: bool = False,
        **options: Unpack[Options],
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        super().__init__(params, {**defaults, "decoupled_weight_decay": decoupled_weight_decay}, options)

    def _group_state_names(self, group: Group) -> tuple[str, ...]:
        return (*self._state_names, "max_exp_avg_sq") if group["amsgrad"] else self._state_names

    def _rule(self, group: Group, counters: Counters) -> Rule:
        rule, numbers = adam_rule(group, counters[0])
        return "adam_amsgrad" if group["amsgrad"] else rule, numbers


class AdamW(Adam):
    """Adam with decoupled weight decay: p is multiplied by 1 - lr weight_decay. Loshchilov, Hutter, 2019."""

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, decoupled_weight_decay=True, **options
        )


class Adamax(Optimizer):
    """Adamax (Kingma and Ba, 2015), by PyTorch's rule.

    With g = grad + weight_decay p: m <- beta1 m + (1 - beta1) g, u <- max(beta2 u, |g| + eps), then
    p <- p - lr / (1 - beta1^t) m / u.
    """

    _state_names = ("exp_avg", "exp_inf")

    def __init__(
        self,
        params: Params,
        lr: float = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}, options
        )

    def _rule(self, group: Group, counters: Counters) -> Rule:
        beta1, beta2 = group["betas"]
        return "adamax", (group["lr"] / (1 - beta1 ** counters[0]), 1 - beta1, beta2, group["eps"])


class NAdam(Optimizer):
    """Adam with Nesterov's momentum (Dozat, 2016), by PyTorch's rule.

    m and v as Adam's. With mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2), M_t the product of mu_1 ... mu_t:
    p <- p - lr ((1 - mu_t) / (1 - M_t) g + mu_(t+1) / (1 - M_(t+1)) m) / (sqrt(v^) + eps).
    """

    _state_names = ("exp_avg", "exp_avg_sq")
    _counters: Mapping[str, float] = {"step": 0, "mu_product": 1.0}

    def __init__(
        self,
        params: Params,
        lr: float = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        **options: Unpack[Options],
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        more = {"momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, {**defaults, **more}, options)

    def _momentum(self, group: Group, step: float) -> float:
        return float(group["betas"][0] * (1 - 0.5 * 0.96 ** (step * group["momentum_decay"])))

    def _next_counters(self, group: Group, counters: Counters) -> Counters:
        step, product = counters
        return step + 1, product * self._momentum(group, step + 1)

    def _rule(self, group: Group, counters: Counters) -> Rule:
        step, product = counters
        now, later = self._momentum(group, step), self._momentum(group, step + 1)
        of_g, of_m = (1 - now) / (1 - product), later / (1 - product * later)
        root = math.sqrt(corrections(group, step)[1])
        return "nadam", (group["lr"] * of_g, *averaging(group), 1 / root, group["eps"], of_m / of_g)


class RAdam(Optimizer):
    """Rectified Adam (Liu, Jiang, He, Chen, Liu, Gao and Han, 2020), by PyTorch's rule.

    m and v as Adam's. With r_oo = 2 / (1 - beta2) - 1, r = r_oo - 2 t beta2^t / (1 - beta2^t): while r <= 5
    p <- p - lr m^, then p <- p - lr m^ R sqrt(1 - beta2^t) / (sqrt(v) + eps), with
    R^2 = (r - 4) (r - 2) r_oo / ((r_oo - 4) (r_oo - 2) r).
    """

    _state_names = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        **options: Unpack[Options],
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "decoupled_weight_decay": decoupled_weight_decay}, options)

    def _rule(self, group: Group, counters: Counters) -> Rule:
        step, beta2 = counters[0], group["betas"][1]
        first, second = corrections(group, step)
        size = group["lr"] / first
        most = 2 / (1 - beta2) - 1
        length = most - 2 * step * beta2**step / second
        if length <= 5:
            return "radam_start", (size, *averaging(group))
        rectified = math.sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length))
        return "radam", (size * rectified * math.sqrt(second), *averaging(group), group["eps"])


class Lion(Optimizer):
    """Lion (Chen, Liang, Huang, Real, Wang, Liu, Pham, Dong, Luong, Hsieh, Lu and Le, 2023).

    p <- (1 - lr weight_decay) p - lr sign(beta1 m + (1 - beta1) g), then m <- beta2 m + (1 - beta2) g. The
    step is larger than Adam's: the paper takes a learning rate 3 to 10 times smaller, a decay as much larger.
    """

    _state_names = ("exp_avg",)
    _decouples_decay = True

    def __init__(
        self,
        params: Params,
        lr: float = 1e-4,
        betas: Betas = (0.9, 0.99),
        weight_decay: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay}, options)

    def _rule(self, group: Group, counters: Counters) -> Rule:
        beta1, beta2 = group["betas"]
        return "lion", (group["lr"], 1 - beta1, 1 - beta2)
