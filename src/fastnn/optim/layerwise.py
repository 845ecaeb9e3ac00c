"""LARS and LAMB: each tensor's step is scaled by a trust ratio, of the weights' norm and the step's.

A step takes two passes: the norms of each tensor and of its direction, then the scaled update. Biases and the
weights of norms take the rule without a trust ratio, in one pass.
"""

from __future__ import annotations

import math
from typing import Unpack

from fastnn.optim._options import Options
from fastnn.optim.adam import Betas, adam_rule, averaging, corrections
from fastnn.optim.optimizer import Counters, Group, Optimizer, Params, Rule


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling (You, Gitman and Ginsburg, 2017).

    For each tensor r = trust_coefficient |p| / (|g| + weight_decay |p|), or 1 where |p| or |g| is 0; then
    v <- momentum v + lr r (g + weight_decay p), p <- p - v.

    Parameters of fewer than two dimensions, as biases and the weights of norms, have r = 1 and no weight
    decay; with `adapt_vectors` they are adapted as all others.
    """

    _state_names = ("momentum_buffer",)
    _decay_is_in_rule = True

    def __init__(
        self,
        params: Params,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 1e-3,
        *,
        adapt_vectors: bool = False,
        **options: Unpack[Options],
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        trust = {"trust_coefficient": trust_coefficient, "adapt_vectors": adapt_vectors}
        super().__init__(params, {**defaults, **trust}, options)

    def _trust(self, group: Group) -> tuple[float, float]:
        return group["trust_coefficient"], group["weight_decay"]

    def _rule(self, group: Group, counters: Counters) -> Rule:
        return "lars", (group["lr"], group["momentum"], group["weight_decay"])

    def _vector_rule(self, group: Group, counters: Counters) -> Rule:
        return "lars", (group["lr"], group["momentum"], 0.0)


class LAMB(Optimizer):
    """LAMB (You, Li, Reddi, Hseu, Kumar, Bhojanapalli, Song, Demmel, Keutzer and Hsieh, 2020).

    m^ and v^ as Adam's, u = m^ / (sqrt(v^) + eps) + weight_decay p, and for each tensor
    p <- p - lr |p| / |u| u; the ratio is 1 where |p| or |u| is 0.

    Parameters of fewer than two dimensions, as biases and the weights of norms, have the ratio 1 and no
    weight decay, which is Adam's step; with `adapt_vectors` they are adapted as all others.
    """

    _state_names = ("exp_avg", "exp_avg_sq")
    _decay_is_in_rule = True

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        adapt_vectors: bool = False,
        **options: Unpack[Options],
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "adapt_vectors": adapt_vectors}, options)

    def _trust(self, group: Group) -> tuple[float, float]:
        return 1.0, 0.0

    def _rule(self, group: Group, counters: Counters) -> Rule:
        first, second = corrections(group, counters[0])
        root = math.sqrt(second)
        numbers = (group["lr"], *averaging(group), 1 / root, group["eps"], 1 / first, group["weight_decay"])
        return "lamb", numbers

    def _vector_rule(self, group: Group, counters: Counters) -> Rule:
        return adam_rule(group, counters[0])
